/* SPDX-License-Identifier: Apache-2.0 */
/* The name of the calling thread, and the processors that it may run on. */
#pragma once

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "calls.h"

/* Names the calling thread. `ps -L` and strace show the name. */
static inline void cl_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }

enum { CL_MOST_PROCESSORS = 8192 }; /* the largest NR_CPUS of an x86-64 kernel (CONFIG_MAXSMP) */

/* Binds the calling thread to one processor. */
static inline int cl_bind_thread(unsigned processor)
{
	unsigned long mask[CL_MOST_PROCESSORS / 64] = { 0 };
	/* The kernel rejects an empty mask with EINVAL. */
	if (processor < CL_MOST_PROCESSORS)
		mask[processor / 64] = 1UL << processor % 64;
	return (int)CL_RESULT(syscall(SYS_sched_setaffinity, 0, sizeof mask, mask));
}

/* Returns 1 if the calling thread may run on a processor, else 0 or -errno. */
static inline int cl_may_run_on(unsigned processor)
{
	unsigned long mask[CL_MOST_PROCESSORS / 64] = { 0 };
	if (processor >= CL_MOST_PROCESSORS)
		return 0;
	if (syscall(SYS_sched_getaffinity, 0, sizeof mask, mask) < 0)
		return -errno;
	return mask[processor / 64] >> processor % 64 & 1;
}

/* Returns the number of processors that the calling thread may run on, or -errno. */
static inline int cl_processor_count(void)
{
	unsigned long mask[CL_MOST_PROCESSORS / 64] = { 0 };
	int count = 0;
	if (syscall(SYS_sched_getaffinity, 0, sizeof mask, mask) < 0)
		return -errno;
	for (unsigned i = 0; i < CL_MOST_PROCESSORS / 64; i++)
		count += __builtin_popcountl(mask[i]);
	return count;
}
