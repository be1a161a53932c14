/* SPDX-License-Identifier: Apache-2.0 */
/* Restrictions of a thread besides system calls: capabilities, new privileges and the allocator. */
#pragma once

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <sys/prctl.h>

#include "calls.h"

/* Empties the effective, permitted, inheritable and ambient capability sets of the calling thread. */
static inline int cl_drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[2] = { 0 };
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	return (int)CL_RESULT(syscall(SYS_capset, &header, sets));
}

/* Returns 1 if the calling thread has a capability, else 0 or -errno. */
static inline int cl_has_capability(unsigned capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[2] = { 0 };
	if (syscall(SYS_capget, &header, sets) < 0)
		return -errno;
	return sets[capability / 32].effective >> capability % 32 & 1;
}

/*
 * Empties the bounding set of the calling thread and of threads that it creates later. A thread without
 * CAP_SETPCAP keeps the set (-EPERM). no_new_privs makes this harmless.
 */
static inline int cl_drop_bounding_set(void)
{
	for (unsigned long capability = 0; capability < 64; capability++)
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
			return errno == EINVAL ? 0 : -errno; /* beyond the kernel's last capability */
	return 0;
}

/* Prevents exec from giving the calling thread more privileges. */
static inline int cl_forbid_privileges(void)
{
	return (int)CL_RESULT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

/*
 * Limits malloc to one arena for all threads. With more arenas, glibc reads /sys/devices/system/cpu/online
 * when a ninth thread allocates, and /proc/sys/vm/overcommit_memory when free() shrinks an arena
 * (malloc/arena.c: arena_get2, shrink_heap). The main arena grows by brk or mmap.
 */
static inline int cl_settle_allocator(void) { return mallopt(M_ARENA_MAX, 1) == 1 ? 0 : CL_REFUSED; }

/* Loads a seccomp filter into the calling thread alone. */
static inline int cl_seccomp_load(const void *program, uint16_t instructions)
{
	struct sock_fprog filter = { .len = instructions,
				     .filter = (struct sock_filter *)(uintptr_t)program };
	return (int)CL_RESULT(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter));
}

_Static_assert(sizeof(struct sock_filter) == 8, "BPF instruction");
