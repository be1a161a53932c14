/* SPDX-License-Identifier: Apache-2.0 */
/* System calls as functions that return a result or -errno. */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define CL_RESULT(call)                           \
	({                                        \
		long cl_result = (long)(call);    \
		cl_result < 0 ? -(long)errno : cl_result; \
	})

static inline int cl_open(const char *path, int flags, mode_t mode)
{
	return (int)CL_RESULT(open(path, flags, mode));
}

static inline int cl_close(int fd) { return (int)CL_RESULT(close(fd)); }

static inline long cl_read(int fd, void *buffer, size_t count)
{
	return CL_RESULT(read(fd, buffer, count));
}

static inline long cl_write(int fd, const void *buffer, size_t count)
{
	return CL_RESULT(write(fd, buffer, count));
}

static inline long cl_pread(int fd, void *buffer, size_t count, int64_t offset)
{
	return CL_RESULT(pread(fd, buffer, count, offset));
}

/* The size of the file behind fd, in bytes. */
static inline int64_t cl_file_size(int fd)
{
	struct stat status;
	if (fstat(fd, &status) < 0)
		return -(int64_t)errno;
	if (S_ISDIR(status.st_mode))
		return -EISDIR;
	return S_ISREG(status.st_mode) ? status.st_size : -EINVAL;
}

static inline bool cl_is_regular(int fd)
{
	struct stat status;
	return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

/*
 * 1, 2, 4 or 8 bytes of a file as one little-endian number, and back. A VFIO
 * region turns each into one access of that width.
 */
static inline int cl_pread_scalar(int fd, int64_t offset, unsigned width, uint64_t *value)
{
	uint64_t data = 0;
	ssize_t got = pread(fd, &data, width, offset);
	if (got < 0)
		return -errno;
	*value = data;
	return got == (ssize_t)width ? 0 : -EIO;
}

static inline int cl_pwrite_scalar(int fd, int64_t offset, unsigned width, uint64_t value)
{
	ssize_t put = pwrite(fd, &value, width, offset);
	if (put < 0)
		return -errno;
	return put == (ssize_t)width ? 0 : -EIO;
}

/* The only flags of eventfd2 that filters allow. */
enum { CL_EVENT_FLAGS = EFD_CLOEXEC | EFD_NONBLOCK };

static inline int cl_eventfd(void)
{
	return (int)CL_RESULT(eventfd(0, CL_EVENT_FLAGS));
}

/* The count that was in an eventfd, which becomes 0; 0 where there was none. */
static inline int64_t cl_eventfd_take(int fd)
{
	uint64_t count;
	if (read(fd, &count, sizeof count) < 0)
		return errno == EAGAIN ? 0 : -(int64_t)errno;
	return (int64_t)(count & INT64_MAX);
}

static inline int cl_eventfd_add(int fd)
{
	uint64_t one = 1;
	return write(fd, &one, sizeof one) < 0 ? -errno : 0;
}

/* Waits until fd is readable: 1, or 0 after timeout milliseconds (-1: none). */
static inline int cl_poll_readable(int fd, int timeout)
{
	struct pollfd one = { .fd = fd, .events = POLLIN };
	int ready;
	do
		ready = poll(&one, 1, timeout);
	while (ready < 0 && errno == EINTR);
	return ready < 0 ? -errno : ready > 0 && (one.revents & POLLIN);
}

/* Waits until one of two descriptors is readable: bit 0 for the first, bit 1 for the second. */
static inline int cl_poll_either(int first, int second)
{
	struct pollfd both[] = { { .fd = first, .events = POLLIN }, { .fd = second, .events = POLLIN } };
	int ready;
	do
		ready = poll(both, 2, -1);
	while (ready < 0 && errno == EINTR);
	return ready < 0 ? -errno : (both[0].revents & POLLIN) | (both[1].revents & POLLIN) << 1;
}

/* Waits until fd takes output, or has an error: 1, or 0 after timeout milliseconds. */
static inline int cl_poll_writable(int fd, int timeout)
{
	struct pollfd one = { .fd = fd, .events = POLLOUT };
	int ready;
	do
		ready = poll(&one, 1, timeout);
	while (ready < 0 && errno == EINTR);
	return ready < 0 ? -errno : ready > 0;
}

/*
 * Opens the pipe or terminal behind fd again, for writes that return EAGAIN instead of waiting. O_NONBLOCK
 * is a property of the open file, which other processes share: it must not be set on fd itself. -EINVAL for
 * other files: a second open of a regular file would have its own offset, and a socket cannot be opened.
 */
static inline int cl_open_nonblocking(int fd)
{
	static const char digits[] = "0123456789";
	char path[] = "/proc/self/fd/0";
	struct stat status;
	if (fd < 0 || fd > 9)
		return -EINVAL;
	if (fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISFIFO(status.st_mode) && !(S_ISCHR(status.st_mode) && isatty(fd)))
		return -EINVAL;
	path[sizeof path - 2] = digits[fd];
	return (int)CL_RESULT(open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

static inline int cl_epoll_create(void) { return (int)CL_RESULT(epoll_create1(EPOLL_CLOEXEC)); }

static inline int cl_epoll_control(int fd, int operation, int target, uint32_t events, uint64_t token)
{
	struct epoll_event event = { .events = events, .data.u64 = token };
	return (int)CL_RESULT(epoll_ctl(fd, operation, target, &event));
}

/* Waits for one event and stores its token: 0, -ETIMEDOUT after timeout milliseconds (-1: none), or -errno. */
static inline int cl_epoll_wait(int fd, int timeout, uint64_t *token)
{
	struct epoll_event event;
	int ready;
	do
		ready = epoll_wait(fd, &event, 1, timeout);
	while (ready < 0 && errno == EINTR);
	if (ready < 0)
		return -errno;
	if (ready == 0)
		return -ETIMEDOUT;
	*token = event.data.u64;
	return 0;
}

/* The next signal of a signalfd, or 0. */
static inline int cl_signalfd_read(int fd)
{
	struct signalfd_siginfo info;
	ssize_t got = read(fd, &info, sizeof info);
	if (got < 0)
		return errno == EAGAIN ? 0 : -errno;
	return (int)info.ssi_signo;
}

static inline int cl_memfd(const char *name, unsigned flags)
{
	return (int)CL_RESULT(syscall(SYS_memfd_create, name, MFD_CLOEXEC | flags));
}

static inline int cl_truncate(int fd, int64_t size) { return (int)CL_RESULT(ftruncate(fd, size)); }

/* mmap: the address, or -errno. */
static inline int64_t cl_mmap(uint64_t address, uint64_t size, int protection, int flags, int fd,
			      int64_t offset)
{
	void *at = mmap((void *)address, size, protection, flags, fd, offset);
	return at == MAP_FAILED ? -(int64_t)errno : (int64_t)at;
}

static inline int cl_munmap(uint64_t address, uint64_t size)
{
	return (int)CL_RESULT(munmap((void *)address, size));
}

/* Since Linux 5.14; Debian 11's headers do not have it. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static inline int cl_madvise(uint64_t address, uint64_t size, int advice)
{
	return (int)CL_RESULT(madvise((void *)address, size, advice));
}

/* Where the program's own code is; the linker knows. */
struct cl_code {
	uint64_t start;
	uint64_t end;
};

static inline struct cl_code cl_program_code(void)
{
	extern const char __executable_start[], etext[];
	return (struct cl_code){ (uintptr_t)__executable_start, (uintptr_t)etext };
}

/* Naturally aligned loads and stores of memory that a guest changes underneath. */
static inline uint64_t cl_load(const void *from, unsigned width)
{
	uint64_t value = 0;
	memcpy(&value, from, width);
	return value;
}

static inline void cl_store(void *to, unsigned width, uint64_t value)
{
	memcpy(to, &value, width);
}

/* Copies between a buffer of this process and memory that a guest changes underneath. */
static inline void cl_copy_in(void *to, const void *from, size_t count)
{
	if (count)
		memcpy(to, from, count);
}

static inline void cl_copy_out(void *to, const void *from, size_t count)
{
	if (count)
		memcpy(to, from, count);
}

/*
 * mbind(2), MPOL_BIND: the pages that are first touched in a range from now on come from one NUMA
 * node and from nowhere else. The kernel wants the number of bits plus one.
 */
static inline int cl_bind_memory(uint64_t address, uint64_t size, unsigned node)
{
	enum { MOST = 1024 }; /* the largest MAX_NUMNODES (CONFIG_NODES_SHIFT = 10) */
	unsigned long mask[MOST / 64] = { 0 };
	if (node >= MOST)
		return -EINVAL;
	mask[node / 64] = 1UL << node % 64;
	return (int)CL_RESULT(syscall(SYS_mbind, address, size, MPOL_BIND, mask, MOST + 1UL, 0U));
}

/* Raises the soft limit on descriptors to the hard one. */
static inline int cl_raise_descriptor_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	limit.rlim_cur = limit.rlim_max;
	return (int)CL_RESULT(setrlimit(RLIMIT_NOFILE, &limit));
}

/* The soft limit on descriptors, or -errno. */
static inline int64_t cl_descriptor_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	return limit.rlim_cur > INT64_MAX ? INT64_MAX : (int64_t)limit.rlim_cur;
}

static inline bool cl_is_terminal(int fd) { return isatty(fd) == 1; }

/* Loads a seccomp filter into the calling thread alone. */
static inline int cl_seccomp_load(const void *program, uint16_t instructions)
{
	struct sock_fprog filter = { .len = instructions,
				     .filter = (struct sock_filter *)(uintptr_t)program };
	return (int)CL_RESULT(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter));
}

_Static_assert(sizeof(struct sock_filter) == 8, "BPF instruction");

/*
 * The names in a directory, separated by NUL, into `names`: the bytes used, or
 * -errno. Names beyond `capacity` are -ENOSPC and not cut off.
 */
static inline int64_t cl_list_directory(const char *path, char *names, size_t capacity)
{
	DIR *directory = opendir(path);
	if (!directory)
		return -(int64_t)errno;
	int64_t used = 0;
	for (struct dirent *entry; (entry = readdir(directory));) {
		size_t length = strlen(entry->d_name) + 1;
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (used + length > capacity) {
			used = -ENOSPC;
			break;
		}
		memcpy(names + used, entry->d_name, length);
		used += (int64_t)length;
	}
	closedir(directory);
	return used;
}

static inline long cl_readlink(const char *path, char *target, size_t capacity)
{
	return CL_RESULT(readlink(path, target, capacity));
}
