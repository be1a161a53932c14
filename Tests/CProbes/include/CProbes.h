/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that Sluice never makes. Tests use them to show that the filters deny them. */
#pragma once

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * Sets a function that answers ioctl() in this program. It returns a result, -errno, or INT_MIN to forward
 * the call to the kernel.
 */
void probe_take_ioctls(int (*handler)(int fd, unsigned long request, void *argument));

static inline int probe_send(int process, int thread, int signal)
{
	return syscall(SYS_tgkill, process, thread, signal) < 0 ? -errno : 0;
}

static inline int probe_protect(uint64_t address, uint64_t size, int protection)
{
	return mprotect((void *)address, size, protection) < 0 ? -errno : 0;
}

static inline int probe_lock(uint64_t address, uint64_t size)
{
	return mlock((void *)address, size) < 0 ? -errno : 0;
}

static inline int probe_unlock(uint64_t address, uint64_t size)
{
	return munlock((void *)address, size) < 0 ? -errno : 0;
}

/* Calls FUTEX_REQUEUE and moves no waiter. */
static inline int probe_requeue(uint64_t page)
{
	return syscall(SYS_futex, page, FUTEX_REQUEUE_PRIVATE, 0, 0, page + 8, 0) < 0 ? -errno : 0;
}

static inline int probe_blocking_eventfd(void)
{
	int fd = eventfd(0, 0);
	return fd < 0 ? -errno : fd;
}

/* Calls accept4 with flags, and with the client's address. */
static inline int probe_accept(int fd, int flags, bool has_address)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof address;
	long result = syscall(SYS_accept4, fd, has_address ? &address : NULL, has_address ? &size : NULL, flags);
	return result < 0 ? -errno : (int)result;
}

/* Sends a byte to another address than the peer of a connected socket, which the kernel refuses. */
static inline int probe_send_elsewhere(int fd)
{
	struct sockaddr address = { .sa_family = AF_UNIX };
	char byte = 0;
	return sendto(fd, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT, &address, sizeof address) < 0 ? -errno : 0;
}

/* Sends a byte and a descriptor (SCM_RIGHTS). */
static inline int probe_send_descriptor(int fd, char byte, int passed)
{
	struct iovec piece = { .iov_base = &byte, .iov_len = 1 };
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .header = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control,
				  .msg_controllen = sizeof control };
	*(int *)CMSG_DATA(&control.header) = passed;
	return sendmsg(fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Returns 1 if a capability is in the bounding set, 0 if not, or -errno. */
static inline int probe_bounding(unsigned long capability)
{
	int result = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
	return result < 0 ? -errno : result;
}

/* Calls abort() without the compiler's knowledge that it does not return. */
static inline void probe_abort(void)
{
	void (*volatile end)(void) = abort;
	end();
}

/* Calls getpid of the 32-bit system calls. */
static inline int probe_int80(void)
{
	int result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory", "r8", "r9", "r10", "r11");
	return result;
}

/* True if the kernel supports 32-bit system calls. Without them the instruction faults. */
static inline bool probe_has_int80(void)
{
	int status = 0;
	pid_t child = fork();
	if (child == 0)
		_exit(probe_int80() > 0 ? 7 : 1);
	return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7;
}

/* Calls getpid of the x32 system calls. Returns its result, or -errno. */
static inline int probe_x32(void)
{
	long result = syscall(0x40000000 | SYS_getpid);
	return result < 0 ? -errno : (int)result;
}
