/* SPDX-License-Identifier: Apache-2.0 */
/* Files, directories and terminals. */
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <termios.h>

#include "calls.h"

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

static inline long cl_pwrite(int fd, const void *buffer, size_t count, int64_t offset)
{
	return CL_RESULT(pwrite(fd, buffer, count, offset));
}

/* Writes the data of a file to its device (fdatasync). */
static inline int cl_sync_data(int fd) { return (int)CL_RESULT(fdatasync(fd)); }

/*
 * Returns the size of a regular file in bytes, -errno, or CL_KIND for another kind of file. A directory is
 * read, so that the error number is the kernel's.
 */
static inline int64_t cl_file_size(int fd)
{
	struct stat status;
	if (fstat(fd, &status) < 0)
		return -(int64_t)errno;
	if (S_ISDIR(status.st_mode)) {
		char byte;
		return CL_RESULT(read(fd, &byte, 1));
	}
	return S_ISREG(status.st_mode) ? status.st_size : CL_KIND;
}

static inline bool cl_is_regular(int fd)
{
	struct stat status;
	return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

/*
 * Read or write 1, 2, 4 or 8 bytes of a file as one little-endian number. A
 * VFIO region performs one access of that width.
 */
static inline int cl_pread_scalar(int fd, int64_t offset, unsigned width, uint64_t *value)
{
	uint64_t data = 0;
	ssize_t got = pread(fd, &data, width, offset);
	if (got < 0)
		return -errno;
	*value = data;
	return got == (ssize_t)width ? 0 : CL_SHORT;
}

static inline int cl_pwrite_scalar(int fd, int64_t offset, unsigned width, uint64_t value)
{
	ssize_t put = pwrite(fd, &value, width, offset);
	if (put < 0)
		return -errno;
	return put == (ssize_t)width ? 0 : CL_SHORT;
}

/*
 * Opens the pipe or terminal of fd again, for writes that return EAGAIN instead of waiting. O_NONBLOCK is a
 * property of the open file, which other processes share. It must therefore not be set on fd itself. Returns
 * CL_KIND for other files: a second open of a regular file would have a separate offset, and a socket cannot
 * be opened.
 */
static inline int cl_open_nonblocking(int fd)
{
	static const char digits[] = "0123456789";
	char path[] = "/proc/self/fd/0";
	struct stat status;
	if (fd < 0 || fd > 9)
		return CL_LIMIT;
	if (fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISFIFO(status.st_mode) && !(S_ISCHR(status.st_mode) && isatty(fd)))
		return CL_KIND;
	path[sizeof path - 2] = digits[fd];
	return (int)CL_RESULT(open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

static inline bool cl_is_terminal(int fd) { return isatty(fd) == 1; }

/*
 * Stores the names in a directory in `names`, each followed by NUL. Returns the
 * number of bytes used, -errno, or CL_LIMIT if `capacity` is too small.
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
			used = CL_LIMIT;
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

/*
 * Returns a datagram socket that is connected to a path, or to an abstract name if the text begins with '@'. It does
 * not block. Returns -errno, or CL_LIMIT for a name that is too long or of another kind.
 */
static inline int cl_connect_datagram(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = strlen(name);
	if ((name[0] != '/' && name[0] != '@') || length >= sizeof address.sun_path)
		return CL_LIMIT;
	memcpy(address.sun_path, name, length);
	if (name[0] == '@')
		address.sun_path[0] = 0;
	int fd = (int)CL_RESULT(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	if (fd < 0)
		return fd;
	int result = (int)CL_RESULT(connect(fd, (const struct sockaddr *)&address,
					    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)));
	if (result < 0)
		close(fd);
	return result < 0 ? result : fd;
}
