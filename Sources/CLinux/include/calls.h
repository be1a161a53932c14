/* SPDX-License-Identifier: Apache-2.0 */
/* System calls as functions that return a result or -errno. */
#pragma once

#include <errno.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CL_RESULT(call)                           \
	({                                        \
		long cl_result = (long)(call);    \
		cl_result < 0 ? -(long)errno : cl_result; \
	})
