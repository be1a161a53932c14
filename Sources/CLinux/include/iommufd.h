/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iommufd and the VFIO device cdev (Linux include/uapi/linux/iommufd.h and vfio.h, since 6.6). Debian 12 has no
 * headers for them. The structures are the first versions: the kernel accepts these in every later version.
 */
#pragma once

#include <linux/vfio.h>
#include <stddef.h>
#include <string.h>

#include "calls.h"

enum : unsigned long {
	IOC_IOMMU_DESTROY = _IO(';', 0x80),
	IOC_IOMMU_IOAS_ALLOC = _IO(';', 0x81),
	IOC_IOMMU_IOAS_IOVA_RANGES = _IO(';', 0x84),
	IOC_IOMMU_IOAS_MAP = _IO(';', 0x85),
	IOC_IOMMU_IOAS_UNMAP = _IO(';', 0x86),
	IOC_VFIO_DEVICE_BIND_IOMMUFD = _IO(VFIO_TYPE, VFIO_BASE + 18),
	IOC_VFIO_DEVICE_ATTACH_IOMMUFD_PT = _IO(VFIO_TYPE, VFIO_BASE + 19),
};

enum {
	CL_IOMMU_MAP_FIXED_IOVA = 1,
	CL_IOMMU_MAP_WRITEABLE = 2,
	CL_IOMMU_MAP_READABLE = 4,
	CL_VFIO_BIND_TOKEN = 1, /* VFIO_DEVICE_BIND_FLAG_TOKEN, Linux 7.x */
};

struct cl_iommu_destroy {
	uint32_t size, id;
};

struct cl_iommu_ioas_alloc {
	uint32_t size, flags, out_ioas_id;
};

struct cl_iommu_iova_range {
	uint64_t start, last;
};

struct cl_iommu_ioas_iova_ranges {
	uint32_t size, ioas_id, num_iovas, reserved;
	uint64_t allowed_iovas, out_iova_alignment;
};

struct cl_iommu_ioas_map {
	uint32_t size, flags, ioas_id, reserved;
	uint64_t user_va, length, iova;
};

struct cl_iommu_ioas_unmap {
	uint32_t size, ioas_id;
	uint64_t iova, length;
};

struct cl_vfio_bind {
	uint32_t argsz, flags;
	int32_t iommufd;
	uint32_t out_devid;
	uint64_t token_uuid_ptr;
};

struct cl_vfio_attach {
	uint32_t argsz, flags, pt_id;
};

/* Creates an I/O address space. Returns its ID or -errno. */
static inline int64_t cl_ioas_alloc(int iommufd)
{
	struct cl_iommu_ioas_alloc alloc = { .size = sizeof alloc };
	if (ioctl(iommufd, IOC_IOMMU_IOAS_ALLOC, &alloc) < 0)
		return -(int64_t)errno;
	return alloc.out_ioas_id;
}

static inline int cl_iommu_destroy_object(int iommufd, uint32_t id)
{
	struct cl_iommu_destroy destroy = { .size = sizeof destroy, .id = id };
	return (int)CL_RESULT(ioctl(iommufd, IOC_IOMMU_DESTROY, &destroy));
}

/* Stores up to `capacity` usable ranges. Returns the number that the kernel has, or -errno. */
static inline int64_t cl_ioas_ranges(int iommufd, uint32_t ioas, struct cl_iommu_iova_range *ranges,
				     uint32_t capacity)
{
	struct cl_iommu_ioas_iova_ranges query = { .size = sizeof query,
						   .ioas_id = ioas,
						   .num_iovas = capacity,
						   .allowed_iovas = (uintptr_t)ranges };
	if (ioctl(iommufd, IOC_IOMMU_IOAS_IOVA_RANGES, &query) < 0 && errno != EMSGSIZE)
		return -(int64_t)errno;
	return query.num_iovas;
}

static inline int cl_ioas_map(int iommufd, uint32_t ioas, uint64_t iova, uint64_t length, uint64_t host)
{
	struct cl_iommu_ioas_map map = { .size = sizeof map,
					 .flags = CL_IOMMU_MAP_FIXED_IOVA | CL_IOMMU_MAP_WRITEABLE |
						  CL_IOMMU_MAP_READABLE,
					 .ioas_id = ioas,
					 .user_va = host,
					 .length = length,
					 .iova = iova };
	return (int)CL_RESULT(ioctl(iommufd, IOC_IOMMU_IOAS_MAP, &map));
}

/* Returns the number of bytes that were mapped, or -errno. */
static inline int64_t cl_ioas_unmap(int iommufd, uint32_t ioas, uint64_t iova, uint64_t length)
{
	struct cl_iommu_ioas_unmap unmap = {
		.size = sizeof unmap, .ioas_id = ioas, .iova = iova, .length = length
	};
	if (ioctl(iommufd, IOC_IOMMU_IOAS_UNMAP, &unmap) < 0)
		return -(int64_t)errno;
	return (int64_t)unmap.length;
}

/*
 * VFIO_DEVICE_BIND_IOMMUFD. `token` is a UUID of 16 bytes, or NULL. Returns the device's ID in the iommufd, or
 * -errno.
 */
static inline int64_t cl_vfio_bind_iommufd(int device, int iommufd, const uint8_t *token)
{
	struct cl_vfio_bind bind = { .argsz = token ? sizeof bind : offsetof(struct cl_vfio_bind, token_uuid_ptr),
				     .flags = token ? CL_VFIO_BIND_TOKEN : 0,
				     .iommufd = iommufd,
				     .token_uuid_ptr = (uintptr_t)token };
	if (ioctl(device, IOC_VFIO_DEVICE_BIND_IOMMUFD, &bind) < 0)
		return -(int64_t)errno;
	return bind.out_devid;
}

static inline int cl_vfio_attach_ioas(int device, uint32_t ioas)
{
	struct cl_vfio_attach attach = { .argsz = sizeof attach, .pt_id = ioas };
	return (int)CL_RESULT(ioctl(device, IOC_VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach));
}
