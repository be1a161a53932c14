/* SPDX-License-Identifier: Apache-2.0 */
/* Eventfds, and functions that wait for descriptors. */
#pragma once

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#include "calls.h"

/* The only flags of eventfd2 that filters allow. */
enum { CL_EVENT_FLAGS = EFD_CLOEXEC | EFD_NONBLOCK };

static inline int cl_eventfd(void)
{
	return (int)CL_RESULT(eventfd(0, CL_EVENT_FLAGS));
}

/* Returns the count of an eventfd and sets it to 0. Returns 0 if the count is 0. */
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

/* Waits until fd is readable. Returns 1, or 0 after timeout milliseconds (-1: no timeout). */
static inline int cl_poll_readable(int fd, int timeout)
{
	struct pollfd one = { .fd = fd, .events = POLLIN };
	int ready;
	do
		ready = poll(&one, 1, timeout);
	while (ready < 0 && errno == EINTR);
	return ready < 0 ? -errno : ready > 0 && (one.revents & POLLIN);
}

/* Waits until one of two descriptors is readable. Returns bit 0 for the first, bit 1 for the second. */
static inline int cl_poll_either(int first, int second)
{
	struct pollfd both[] = { { .fd = first, .events = POLLIN }, { .fd = second, .events = POLLIN } };
	int ready;
	do
		ready = poll(both, 2, -1);
	while (ready < 0 && errno == EINTR);
	return ready < 0 ? -errno : (both[0].revents & POLLIN) | (both[1].revents & POLLIN) << 1;
}

/* Waits until fd accepts output or has an error. Returns 1, or 0 after timeout milliseconds. */
static inline int cl_poll_writable(int fd, int timeout)
{
	struct pollfd one = { .fd = fd, .events = POLLOUT };
	int ready;
	do
		ready = poll(&one, 1, timeout);
	while (ready < 0 && errno == EINTR);
	return ready < 0 ? -errno : ready > 0;
}

static inline int cl_epoll_create(void) { return (int)CL_RESULT(epoll_create1(EPOLL_CLOEXEC)); }

static inline int cl_epoll_control(int fd, int operation, int target, uint32_t events, uint64_t token)
{
	struct epoll_event event = { .events = events, .data.u64 = token };
	return (int)CL_RESULT(epoll_ctl(fd, operation, target, &event));
}

/* Waits for one event and stores its token. Returns 0, -errno, or -ETIMEDOUT after timeout ms (-1: none). */
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

/* Returns the next signal of a signalfd, or 0. */
static inline int cl_signalfd_read(int fd)
{
	struct signalfd_siginfo info;
	ssize_t got = read(fd, &info, sizeof info);
	if (got < 0)
		return errno == EAGAIN ? 0 : -errno;
	return (int)info.ssi_signo;
}
