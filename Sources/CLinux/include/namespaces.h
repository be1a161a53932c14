/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces, mounts and Landlock of the calling thread. */
#pragma once

#include <linux/sched.h>
#include <sys/mount.h>

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
