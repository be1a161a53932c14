/* SPDX-License-Identifier: Apache-2.0 */
/* Messages with descriptors on Unix stream sockets (unix(7), SCM_RIGHTS). */
#pragma once

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "calls.h"

/* The most descriptors of one message here. The kernel's limit is 253 (include/net/scm.h, SCM_MAX_FD). */
enum { CL_MOST_PASSED = 16 };

/* The only flags of sendmsg and recvmsg that filters allow. */
enum {
	CL_MESSAGE_SEND_FLAGS = MSG_NOSIGNAL | MSG_DONTWAIT,
	CL_MESSAGE_RECEIVE_FLAGS = MSG_DONTWAIT | MSG_CMSG_CLOEXEC
};

/* Sends bytes, and descriptors with the first byte, without waiting. Returns the number of bytes, or -errno. */
static inline long cl_send_message(int fd, const void *buffer, size_t count, const int *descriptors, int passed)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(CL_MOST_PASSED * sizeof(int))];
	} control;
	struct iovec part = { (void *)(uintptr_t)buffer, count };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	if (passed < 0 || passed > CL_MOST_PASSED)
		return CL_LIMIT;
	if (passed > 0) {
		memset(&control, 0, sizeof control);
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(passed * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(passed * sizeof(int));
		memcpy(CMSG_DATA(&control.header), descriptors, passed * sizeof(int));
	}
	return CL_RESULT(sendmsg(fd, &message, CL_MESSAGE_SEND_FLAGS));
}

/*
 * Receives bytes without waiting, and stores the descriptors that came with them; they are closed at an exec.
 * `descriptors` has room for CL_MOST_PASSED. Returns the number of bytes, 0 at the end, -errno, or CL_LIMIT if there
 * were more descriptors; none is then open.
 */
static inline long cl_receive_message(int fd, void *buffer, size_t count, int *descriptors, int *passed)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(CL_MOST_PASSED * sizeof(int))];
	} control;
	struct iovec part = { buffer, count };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
	};
	*passed = 0;
	long got = CL_RESULT(recvmsg(fd, &message, CL_MESSAGE_RECEIVE_FLAGS));
	if (got < 0)
		return got;
	for (struct cmsghdr *one = CMSG_FIRSTHDR(&message); one; one = CMSG_NXTHDR(&message, one)) {
		if (one->cmsg_level != SOL_SOCKET || one->cmsg_type != SCM_RIGHTS)
			continue;
		int more = (int)((one->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		if (more > CL_MOST_PASSED - *passed)
			more = CL_MOST_PASSED - *passed; /* the buffer has no room for more */
		memcpy(descriptors + *passed, CMSG_DATA(one), more * sizeof(int));
		*passed += more;
	}
	if (!(message.msg_flags & MSG_CTRUNC))
		return got;
	while (*passed > 0)
		close(descriptors[--*passed]);
	return CL_LIMIT;
}

/* Creates two connected sockets. */
static inline int cl_socket_pair(int *pair)
{
	return (int)CL_RESULT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
}

/* Ends both directions of a connection. Waiting calls of both processes return. */
static inline int cl_end_connection(int fd) { return (int)CL_RESULT(shutdown(fd, SHUT_RDWR)); }

/*
 * Waits until one of `count` descriptors has input, an error or the end of its file. A negative number is ignored.
 * Returns a bit per descriptor, 0 after `timeout` milliseconds (-1: none) or after a signal, or -errno.
 */
static inline int cl_poll_inputs(const int *descriptors, int count, int timeout)
{
	enum { MOST = 8 };
	struct pollfd all[MOST];
	if (count < 0 || count > MOST)
		return CL_LIMIT;
	for (int i = 0; i < count; i++)
		all[i] = (struct pollfd){ .fd = descriptors[i], .events = POLLIN };
	int ready = poll(all, (nfds_t)count, timeout);
	if (ready < 0)
		return errno == EINTR ? 0 : -errno;
	int bits = 0;
	for (int i = 0; i < count; i++)
		bits |= (all[i].revents != 0) << i;
	return bits;
}
