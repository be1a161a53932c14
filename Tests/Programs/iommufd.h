/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of iommufd and of the VFIO device files. The headers of Linux 6.1 lack them. Linux documents them in
 * userspace-api/iommufd.rst and driver-api/vfio.rst.
 */
#pragma once
#include <stdint.h>
#include <sys/ioctl.h>

/* Linux 6.6 include/uapi/linux/vfio.h: VFIO_BASE is 100. */
struct bind {
	uint32_t argsz, flags;
	int32_t iommufd;
	uint32_t out_devid;
};
_Static_assert(sizeof(struct bind) == 16, "VFIO_DEVICE_BIND_IOMMUFD");
#define BIND_IOMMUFD _IO(';', 118)

struct attach {
	uint32_t argsz, flags, pt_id;
};
_Static_assert(sizeof(struct attach) == 12, "VFIO_DEVICE_ATTACH_IOMMUFD_PT");
#define ATTACH_IOMMUFD_PT _IO(';', 119)

/* Linux 6.6 include/uapi/linux/iommufd.h */
struct ioas_alloc {
	uint32_t size, flags, out_ioas_id;
};
_Static_assert(sizeof(struct ioas_alloc) == 12, "IOMMU_IOAS_ALLOC");
#define IOAS_ALLOC _IO(';', 0x81)

struct range {
	uint64_t start, last;
};

struct ioas_ranges {
	uint32_t size, ioas_id, num, reserved;
	uint64_t ranges, out_alignment;
};
_Static_assert(sizeof(struct ioas_ranges) == 32, "IOMMU_IOAS_IOVA_RANGES");
#define IOAS_IOVA_RANGES _IO(';', 0x84)

struct ioas_map {
	uint32_t size, flags, ioas_id, reserved;
	uint64_t user_va, length, iova;
};
_Static_assert(sizeof(struct ioas_map) == 40, "IOMMU_IOAS_MAP");
#define IOAS_MAP _IO(';', 0x85)
#define MAP_FIXED_IOVA 1
#define MAP_WRITEABLE 2
#define MAP_READABLE 4

struct ioas_unmap {
	uint32_t size, ioas_id;
	uint64_t iova, length;
};
_Static_assert(sizeof(struct ioas_unmap) == 24, "IOMMU_IOAS_UNMAP");
#define IOAS_UNMAP _IO(';', 0x86)

/* Linux 6.19 include/uapi/linux/iommufd.h */
struct ioas_map_file {
	uint32_t size, flags, ioas_id;
	int32_t fd;
	uint64_t start, length, iova;
};
_Static_assert(sizeof(struct ioas_map_file) == 40, "IOMMU_IOAS_MAP_FILE");
#define IOAS_MAP_FILE _IO(';', 0x8f)

/* Linux 6.19 include/uapi/linux/vfio.h: VFIO_DEVICE_FEATURE with one range of a region. */
struct get_dma_buf {
	uint32_t argsz, flags;
	uint32_t region_index, open_flags, dma_buf_flags, nr_ranges;
	uint64_t offset, length;
};
_Static_assert(sizeof(struct get_dma_buf) == 40, "VFIO_DEVICE_FEATURE_DMA_BUF");
#define DEVICE_FEATURE _IO(';', 117)
#define FEATURE_GET (1U << 16)
#define FEATURE_DMA_BUF 11U
