/* SPDX-License-Identifier: Apache-2.0 */
/* Unix stream sockets (unix(7)). */
#pragma once

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "calls.h"

/* The only flags of accept4 and sendto that filters allow. */
enum { CL_ACCEPT_FLAGS = SOCK_CLOEXEC | SOCK_NONBLOCK, CL_SEND_FLAGS = MSG_NOSIGNAL | MSG_DONTWAIT };

/* SO_PEERCRED returns this struct, which the C library defines only with _GNU_SOURCE (linux/socket.h). */
struct cl_peer {
	int32_t process;
	uint32_t user;
	uint32_t group;
};

/* Stores the address of a path. Returns 0, or CL_LIMIT for a path that is empty or too long. */
static inline int cl_unix_address(const char *path, struct sockaddr_un *address)
{
	size_t length = strlen(path);
	memset(address, 0, sizeof *address);
	address->sun_family = AF_UNIX;
	if (length == 0 || length >= sizeof address->sun_path)
		return CL_LIMIT;
	memcpy(address->sun_path, path, length);
	return 0;
}

static inline int cl_unix_stream(int flags)
{
	return (int)CL_RESULT(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
}

/*
 * Returns a listening socket, whose file it creates. The file has the mode of the socket less the umask from its
 * creation on (net/unix/af_unix.c, unix_bind_bsd). Returns -EADDRINUSE if the path exists.
 */
static inline int cl_listen_unix(const char *path, mode_t mode, int backlog)
{
	struct sockaddr_un address;
	int result = cl_unix_address(path, &address);
	if (result < 0)
		return result;
	int fd = cl_unix_stream(SOCK_NONBLOCK);
	if (fd < 0)
		return fd;
	if (fchmod(fd, mode) < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) < 0)
		result = -errno;
	if (result == 0 && listen(fd, backlog) < 0) {
		result = -errno;
		unlink(path);
	}
	if (result < 0)
		close(fd);
	return result < 0 ? result : fd;
}

/* The type of a socket that connects without a wait. */
enum { CL_CONNECT_TYPE = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK };

/* Returns a socket that is connected to a path. With `waits` false, a listener with a full queue is -EAGAIN. */
static inline int cl_connect_unix(const char *path, bool waits)
{
	struct sockaddr_un address;
	int result = cl_unix_address(path, &address);
	if (result < 0)
		return result;
	int fd = cl_unix_stream(waits ? 0 : SOCK_NONBLOCK);
	if (fd < 0)
		return fd;
	result = (int)CL_RESULT(connect(fd, (const struct sockaddr *)&address, sizeof address));
	if (result < 0)
		close(fd);
	return result < 0 ? result : fd;
}

/* Removes the file of a socket. Returns CL_KIND for another kind of file. */
static inline int cl_remove_socket(const char *path)
{
	struct stat status;
	if (lstat(path, &status) < 0)
		return -errno;
	return S_ISSOCK(status.st_mode) ? (int)CL_RESULT(unlink(path)) : CL_KIND;
}

/* Returns a number that SOL_SOCKET has for an option, or -errno. */
static inline int cl_socket_option(int fd, int option)
{
	int value = 0;
	socklen_t size = sizeof value;
	return getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -errno : value;
}

static inline bool cl_is_unix_listener(int fd)
{
	return cl_socket_option(fd, SO_DOMAIN) == AF_UNIX && cl_socket_option(fd, SO_TYPE) == SOCK_STREAM &&
	       cl_socket_option(fd, SO_ACCEPTCONN) == 1;
}

/* True for a Unix stream socket that does not listen. */
static inline bool cl_is_connected_stream(int fd)
{
	return cl_socket_option(fd, SO_DOMAIN) == AF_UNIX && cl_socket_option(fd, SO_TYPE) == SOCK_STREAM &&
	       cl_socket_option(fd, SO_ACCEPTCONN) == 0;
}

/* True if a socket has a file that belongs to `user` or to root, and that no other user may connect to. */
static inline bool cl_is_private_socket(int fd, uint32_t user)
{
	struct sockaddr_un address = { 0 };
	socklen_t size = sizeof address - 1; /* a NUL remains at the end */
	struct stat status;
	return getsockname(fd, (struct sockaddr *)&address, &size) == 0 && address.sun_family == AF_UNIX &&
	       size > offsetof(struct sockaddr_un, sun_path) && address.sun_path[0] == '/' &&
	       lstat(address.sun_path, &status) == 0 && S_ISSOCK(status.st_mode) &&
	       (status.st_uid == user || status.st_uid == 0) && (status.st_mode & 077) == 0;
}

/* Makes calls with a file return instead of waiting, in every process that shares the open file. */
static inline int cl_stop_waiting(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	return flags < 0 ? -errno : (int)CL_RESULT(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

/* Returns the next client of a listener, or -EAGAIN. */
static inline int cl_accept(int fd)
{
	return (int)CL_RESULT(syscall(SYS_accept4, fd, NULL, NULL, CL_ACCEPT_FLAGS));
}

/* Returns the user of the process that has connected, as the caller's user namespace has it, or -errno. */
static inline int64_t cl_peer_user(int fd)
{
	struct cl_peer peer;
	socklen_t size = sizeof peer;
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ? -(int64_t)errno : (int64_t)peer.user;
}

/* Sends bytes without a signal. Returns the number of bytes that were accepted, or -errno. */
static inline long cl_send(int fd, const void *buffer, size_t count, bool waits)
{
	return CL_RESULT(send(fd, buffer, count, waits ? MSG_NOSIGNAL : CL_SEND_FLAGS));
}

_Static_assert(sizeof(struct cl_peer) == 12, "struct ucred");
