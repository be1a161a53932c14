/* SPDX-License-Identifier: Apache-2.0 */
/* System calls as functions that return a result, -errno, or a cl_cause. */
#pragma once

#include <errno.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * Failures without an error number of the kernel. They are below every -errno: MAX_ERRNO is 4095
 * (include/linux/err.h).
 */
enum cl_cause {
	CL_SHORT = -5000, /* the kernel transferred fewer bytes than the access has */
	CL_KIND = -5001, /* the file is not of the required kind */
	CL_LIMIT = -5002, /* a number or a size is above a limit of the shim */
	CL_REFUSED = -5003, /* the kernel or the C library rejected the call */
	CL_NO_MEMORY = -5004 /* an access to mapped memory raised SIGBUS; guarded.S has the number, too */
};

#define CL_RESULT(call)                           \
	({                                        \
		long cl_result = (long)(call);    \
		cl_result < 0 ? -(long)errno : cl_result; \
	})
