/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that one process passes to another. */
#pragma once

#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "calls.h"
#include "iommufd.h"

/* Returns the bits of S_IFMT, or -errno. The C library's fstat may use another system call, which no filter allows. */
static inline int cl_file_type(int fd)
{
	struct stat status;
	return syscall(SYS_fstat, fd, &status) < 0 ? -errno : (int)(status.st_mode & S_IFMT);
}

/* Returns O_RDONLY, O_WRONLY or O_RDWR, or -errno. */
static inline int cl_access_mode(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	return flags < 0 ? -errno : flags & O_ACCMODE;
}

static inline int cl_close_on_exec(int fd, bool closes)
{
	return (int)CL_RESULT(fcntl(fd, F_SETFD, closes ? FD_CLOEXEC : 0));
}

/*
 * The seals that make memory constant: SEAL, SHRINK, GROW, WRITE. The C library defines these names only with
 * _GNU_SOURCE (include/uapi/linux/fcntl.h).
 */
enum { CL_SEALS = 0xf, CL_ADD_SEALS = 1033, CL_GET_SEALS = 1034 };

static inline int cl_seal(int fd) { return (int)CL_RESULT(fcntl(fd, CL_ADD_SEALS, CL_SEALS)); }

/* Makes the size of memory constant: SEAL, SHRINK, GROW. */
static inline int cl_seal_size(int fd) { return (int)CL_RESULT(fcntl(fd, CL_ADD_SEALS, 0x7)); }

static inline bool cl_is_sealed(int fd)
{
	int seals = fcntl(fd, CL_GET_SEALS);
	return seals >= 0 && (seals & CL_SEALS) == CL_SEALS;
}

/* Makes `to` a second number of `fd`, which is not closed at an exec. */
static inline int cl_duplicate(int fd, int to) { return (int)CL_RESULT(dup2(fd, to)); }

/* Returns a second number of `fd`, at least `least`, which is closed at an exec. */
static inline int cl_duplicate_above(int fd, int least)
{
	return (int)CL_RESULT(fcntl(fd, F_DUPFD_CLOEXEC, least));
}

static inline bool cl_is_kvm(int fd) { return ioctl(fd, KVM_GET_API_VERSION, 0) > 0; }

/* iommufd answers VFIO_GET_API_VERSION too, for programs that expect a container. */
static inline bool cl_is_container(int fd)
{
	return ioctl(fd, VFIO_GET_API_VERSION) == VFIO_API_VERSION && !cl_is_iommufd(fd);
}

static inline bool cl_is_vfio_group(int fd)
{
	struct vfio_group_status status = { .argsz = sizeof status };
	return ioctl(fd, VFIO_GROUP_GET_STATUS, &status) == 0;
}

static inline bool cl_is_unbound_device(int fd)
{
	struct vfio_device_info info = { .argsz = sizeof info };
	return cl_file_type(fd) == S_IFCHR &&
	       ioctl(fd, VFIO_DEVICE_GET_INFO, &info) < 0 && errno == EINVAL;
}
