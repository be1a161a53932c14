/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iommufd and the VFIO device cdev (Linux include/uapi/linux/iommufd.h and vfio.h, since 6.6). Debian 12 has no
 * headers for them. The structures are the first versions: the kernel accepts these in every later version.
 */
#pragma once

#include <fcntl.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "calls.h"

enum : unsigned long {
	IOC_IOMMU_DESTROY = _IO(';', 0x80),
	IOC_IOMMU_IOAS_ALLOC = _IO(';', 0x81),
	IOC_IOMMU_IOAS_COPY = _IO(';', 0x83),
	IOC_IOMMU_IOAS_IOVA_RANGES = _IO(';', 0x84),
	IOC_IOMMU_IOAS_MAP = _IO(';', 0x85),
	IOC_IOMMU_IOAS_UNMAP = _IO(';', 0x86),
	IOC_IOMMU_OPTION = _IO(';', 0x87),
	IOC_IOMMU_IOAS_MAP_FILE = _IO(';', 0x8f),
	IOC_VFIO_DEVICE_FEATURE = _IO(VFIO_TYPE, VFIO_BASE + 17),
	IOC_VFIO_DEVICE_BIND_IOMMUFD = _IO(VFIO_TYPE, VFIO_BASE + 18),
	IOC_VFIO_DEVICE_ATTACH_IOMMUFD_PT = _IO(VFIO_TYPE, VFIO_BASE + 19),
};

enum {
	CL_IOMMU_MAP_FIXED_IOVA = 1,
	CL_IOMMU_MAP_WRITEABLE = 2,
	CL_IOMMU_MAP_READABLE = 4,
	CL_IOMMU_MAP_ALL = CL_IOMMU_MAP_FIXED_IOVA | CL_IOMMU_MAP_WRITEABLE | CL_IOMMU_MAP_READABLE,
	CL_VFIO_BIND_TOKEN = 1, /* VFIO_DEVICE_BIND_FLAG_TOKEN, Linux 7.x */
	CL_VFIO_FEATURE_DMA_BUF = 11, /* VFIO_DEVICE_FEATURE_DMA_BUF, Linux 6.19 */
};

/* IOMMU_OPTION with IOMMU_OPTION_RLIMIT_MODE. */
struct cl_iommu_option {
	uint32_t size, option_id;
	uint16_t op, reserved;
	uint32_t object_id;
	uint64_t value;
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

struct cl_iommu_ioas_copy {
	uint32_t size, flags, dst_ioas_id, src_ioas_id;
	uint64_t length, dst_iova, src_iova;
};

struct cl_iommu_ioas_map_file {
	uint32_t size, flags, ioas_id;
	int32_t fd;
	uint64_t start, length, iova;
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

/* VFIO_DEVICE_FEATURE with VFIO_DEVICE_FEATURE_DMA_BUF and one range. */
struct cl_vfio_dma_buf {
	uint32_t argsz, feature;
	uint32_t region_index, open_flags, flags, nr_ranges;
	uint64_t offset, length;
};

/* True if `fd` is an iommufd: it answers IOMMU_OPTION_OP_GET. */
static inline bool cl_is_iommufd(int fd)
{
	struct cl_iommu_option option = { .size = sizeof option, .op = 1 };
	return ioctl(fd, IOC_IOMMU_OPTION, &option) == 0;
}

/* Counts pinned memory by process, not by user. The iommufd must have no object, and the thread CAP_SYS_RESOURCE. */
static inline int cl_iommu_count_by_process(int fd)
{
	struct cl_iommu_option option = { .size = sizeof option, .value = 1 };
	return (int)CL_RESULT(ioctl(fd, IOC_IOMMU_OPTION, &option));
}

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
					 .flags = CL_IOMMU_MAP_ALL,
					 .ioas_id = ioas,
					 .user_va = host,
					 .length = length,
					 .iova = iova };
	return (int)CL_RESULT(ioctl(iommufd, IOC_IOMMU_IOAS_MAP, &map));
}

/* Maps RAM of another address space at the same IOVA. Both share the pinned pages. */
static inline int cl_ioas_copy(int iommufd, uint32_t from, uint32_t to, uint64_t iova, uint64_t length)
{
	struct cl_iommu_ioas_copy copy = { .size = sizeof copy,
					   .flags = CL_IOMMU_MAP_ALL,
					   .dst_ioas_id = to,
					   .src_ioas_id = from,
					   .length = length,
					   .dst_iova = iova,
					   .src_iova = iova };
	return (int)CL_RESULT(ioctl(iommufd, IOC_IOMMU_IOAS_COPY, &copy));
}

/* Maps a dma-buf from its start. */
static inline int cl_ioas_map_file(int iommufd, uint32_t ioas, uint64_t iova, uint64_t length, int file)
{
	struct cl_iommu_ioas_map_file map = { .size = sizeof map,
					      .flags = CL_IOMMU_MAP_ALL,
					      .ioas_id = ioas,
					      .fd = file,
					      .length = length,
					      .iova = iova };
	return (int)CL_RESULT(ioctl(iommufd, IOC_IOMMU_IOAS_MAP_FILE, &map));
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

/* Returns 0 if the kernel exports BARs of the device as dma-bufs, or -errno. */
static inline int cl_vfio_probe_dma_buf(int device)
{
	struct cl_vfio_dma_buf probe = { .argsz = sizeof probe,
					 .feature = VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET |
						    CL_VFIO_FEATURE_DMA_BUF };
	return (int)CL_RESULT(ioctl(device, IOC_VFIO_DEVICE_FEATURE, &probe));
}

/* Returns the descriptor of a new dma-buf for a range of a BAR, or -errno. */
static inline int cl_vfio_export_dma_buf(int device, uint32_t region, uint64_t offset, uint64_t length)
{
	struct cl_vfio_dma_buf export = { .argsz = sizeof export,
					  .feature = VFIO_DEVICE_FEATURE_GET | CL_VFIO_FEATURE_DMA_BUF,
					  .region_index = region,
					  .open_flags = O_CLOEXEC | O_RDWR,
					  .nr_ranges = 1,
					  .offset = offset,
					  .length = length };
	return (int)CL_RESULT(ioctl(device, IOC_VFIO_DEVICE_FEATURE, &export));
}
