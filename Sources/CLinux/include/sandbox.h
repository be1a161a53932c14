/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The confinement of a process and of its threads: namespaces, capabilities, new privileges, Landlock, seccomp
 * and the allocator.
 */
#pragma once

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <sys/mount.h>
#include <sys/prctl.h>

#include "calls.h"

/* The namespaces of a VM: user, mount, network, IPC and UTS. */
enum { CL_NAMESPACES = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS };

static inline int cl_unshare(int flags) { return (int)CL_RESULT(syscall(SYS_unshare, flags)); }

/* Stops the propagation of mounts between the calling thread's mount namespace and others. */
static inline int cl_mount_private(void)
{
	return (int)CL_RESULT(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
}

/* Mounts an empty file system that cannot be written. */
static inline int cl_mount_empty(const char *path)
{
	unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
	return (int)CL_RESULT(mount("none", path, "tmpfs", flags, "size=4k,nr_inodes=1,mode=555"));
}

static inline int cl_change_directory(const char *path) { return (int)CL_RESULT(chdir(path)); }

/* Makes the working directory's file system the root, and stacks the old root on it. */
static inline int cl_pivot_root(void) { return (int)CL_RESULT(syscall(SYS_pivot_root, ".", ".")); }

/* Unmounts the file system that is stacked on the working directory, with all mounts below it. */
static inline int cl_unmount_old_root(void) { return (int)CL_RESULT(umount2(".", MNT_DETACH)); }

/*
 * The first member is in every version of struct landlock_ruleset_attr, the second since ABI 4, the third
 * since ABI 6 (include/uapi/linux/landlock.h). The headers of Debian 12 have only the first.
 */
struct cl_landlock_rights {
	uint64_t files;
	uint64_t network;
	uint64_t scopes;
};

/* Returns the kernel's ABI of Landlock, or -errno. */
static inline int cl_landlock_abi(void)
{
	return (int)CL_RESULT(syscall(444 /* landlock_create_ruleset */, NULL, 0, 1));
}

/*
 * Takes rights from the calling thread and from the threads that it creates later. The thread must have
 * no_new_privs. `size` is the size of the kernel's struct.
 */
static inline int cl_landlock_restrict(struct cl_landlock_rights rights, size_t size)
{
	long set = syscall(444 /* landlock_create_ruleset */, &rights, size, 0);
	if (set < 0)
		return -errno;
	long result = CL_RESULT(syscall(446 /* landlock_restrict_self */, (int)set, 0));
	close((int)set);
	return (int)result;
}

_Static_assert(sizeof(struct cl_landlock_rights) == 24, "landlock_ruleset_attr of ABI 6");

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
	for (unsigned long capability = 0; capability < 64; capability++) {
		int present = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
		if (present < 0)
			return errno == EINVAL ? 0 : -errno; /* beyond the kernel's last capability */
		if (present && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
			return -errno;
	}
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
