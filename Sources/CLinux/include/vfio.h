/* SPDX-License-Identifier: Apache-2.0 */
/* VFIO groups and containers with a type1v2 IOMMU (Linux include/uapi/linux/vfio.h). */
#pragma once

#include <linux/vfio.h>
#include <string.h>
#include <stdbool.h>

#include "calls.h"

enum : unsigned long {
	IOC_VFIO_GET_API_VERSION = VFIO_GET_API_VERSION,
	IOC_VFIO_CHECK_EXTENSION = VFIO_CHECK_EXTENSION,
	IOC_VFIO_SET_IOMMU = VFIO_SET_IOMMU,
	IOC_VFIO_GROUP_GET_STATUS = VFIO_GROUP_GET_STATUS,
	IOC_VFIO_GROUP_SET_CONTAINER = VFIO_GROUP_SET_CONTAINER,
	IOC_VFIO_GROUP_GET_DEVICE_FD = VFIO_GROUP_GET_DEVICE_FD,
	IOC_VFIO_DEVICE_GET_INFO = VFIO_DEVICE_GET_INFO,
	IOC_VFIO_DEVICE_GET_REGION_INFO = VFIO_DEVICE_GET_REGION_INFO,
	IOC_VFIO_DEVICE_GET_IRQ_INFO = VFIO_DEVICE_GET_IRQ_INFO,
	IOC_VFIO_DEVICE_SET_IRQS = VFIO_DEVICE_SET_IRQS,
	IOC_VFIO_DEVICE_RESET = VFIO_DEVICE_RESET,
	IOC_VFIO_DEVICE_GET_PCI_HOT_RESET_INFO = VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
	IOC_VFIO_DEVICE_PCI_HOT_RESET = VFIO_DEVICE_PCI_HOT_RESET,
	IOC_VFIO_IOMMU_GET_INFO = VFIO_IOMMU_GET_INFO,
	IOC_VFIO_IOMMU_MAP_DMA = VFIO_IOMMU_MAP_DMA,
	IOC_VFIO_IOMMU_UNMAP_DMA = VFIO_IOMMU_UNMAP_DMA,
};

static inline int cl_vfio_number(int fd, unsigned long request, unsigned long argument)
{
	return (int)CL_RESULT(ioctl(fd, request, argument));
}

static inline int cl_vfio_group_status(int group)
{
	struct vfio_group_status status = { .argsz = sizeof status };
	if (ioctl(group, VFIO_GROUP_GET_STATUS, &status) < 0)
		return -errno;
	return (int)status.flags;
}

static inline int cl_vfio_set_container(int group, int container)
{
	return (int)CL_RESULT(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
}

static inline int cl_vfio_device_fd(int group, const char *name)
{
	return (int)CL_RESULT(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name));
}

static inline int cl_vfio_device_info(int device, struct vfio_device_info *info)
{
	memset(info, 0, sizeof *info);
	info->argsz = sizeof *info;
	return (int)CL_RESULT(ioctl(device, VFIO_DEVICE_GET_INFO, info));
}

/*
 * VFIO_DEVICE_GET_REGION_INFO with its capabilities. `info` has room for
 * `capacity` bytes. Returns the number of bytes that it needs, or -errno.
 */
static inline int cl_vfio_region_info(int device, uint32_t index, struct vfio_region_info *info,
				      uint32_t capacity)
{
	memset(info, 0, capacity);
	info->argsz = capacity;
	info->index = index;
	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, info) < 0)
		return -errno;
	return (int)info->argsz;
}

static inline int cl_vfio_irq_info(int device, uint32_t index, struct vfio_irq_info *info)
{
	memset(info, 0, sizeof *info);
	info->argsz = sizeof *info;
	info->index = index;
	return (int)CL_RESULT(ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, info));
}

/* VFIO_DEVICE_SET_IRQS with `count` entries of the same eventfd (-1: none). */
static inline int cl_vfio_set_triggers(int device, uint32_t index, uint32_t start, uint32_t count,
				       int event)
{
	enum { MOST = 2048 }; /* the vectors of the largest MSI-X table (PCIe 6.0 §7.7.2.2) */
	_Alignas(8) char space[sizeof(struct vfio_irq_set) + MOST * sizeof(int32_t)];
	struct vfio_irq_set *set = (struct vfio_irq_set *)space;
	if (count > MOST)
		return CL_LIMIT;
	set->argsz = (uint32_t)(sizeof *set + count * sizeof(int32_t));
	set->flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
	set->index = index;
	set->start = start;
	set->count = count;
	for (uint32_t i = 0; i < count; i++)
		memcpy(set->data + i * sizeof event, &event, sizeof event);
	return (int)CL_RESULT(ioctl(device, VFIO_DEVICE_SET_IRQS, set));
}

/* VFIO_DEVICE_SET_IRQS: sets the eventfd that unmasks INTx. */
static inline int cl_vfio_set_unmask(int device, int event)
{
	_Alignas(8) char space[sizeof(struct vfio_irq_set) + sizeof(int32_t)];
	struct vfio_irq_set *set = (struct vfio_irq_set *)space;
	set->argsz = sizeof space;
	set->flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK;
	set->index = VFIO_PCI_INTX_IRQ_INDEX;
	set->start = 0;
	set->count = 1;
	memcpy(set->data, &event, sizeof event);
	return (int)CL_RESULT(ioctl(device, VFIO_DEVICE_SET_IRQS, set));
}

/*
 * VFIO_DEVICE_GET_PCI_HOT_RESET_INFO. `info` has room for `capacity` bytes.
 * Returns the number of bytes that it needs, or -errno.
 */
static inline int cl_vfio_hot_reset_info(int device, struct vfio_pci_hot_reset_info *info,
					 uint32_t capacity)
{
	memset(info, 0, capacity);
	info->argsz = capacity;
	if (ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info) < 0 && errno != ENOSPC)
		return -errno;
	return (int)(sizeof *info + info->count * sizeof(struct vfio_pci_dependent_device));
}

/* VFIO_DEVICE_PCI_HOT_RESET. The descriptors of `count` groups prove their ownership. */
static inline int cl_vfio_hot_reset(int device, const int32_t *groups, uint32_t count)
{
	enum { MOST = 256 };
	_Alignas(8) char space[sizeof(struct vfio_pci_hot_reset) + MOST * sizeof(int32_t)];
	struct vfio_pci_hot_reset *reset = (struct vfio_pci_hot_reset *)space;
	if (count > MOST)
		return CL_LIMIT;
	memset(reset, 0, sizeof *reset);
	reset->argsz = (uint32_t)(sizeof *reset + count * sizeof(int32_t));
	reset->count = count;
	memcpy(reset->group_fds, groups, count * sizeof *groups);
	return (int)CL_RESULT(ioctl(device, VFIO_DEVICE_PCI_HOT_RESET, reset));
}

/* VFIO_DEVICE_SET_IRQS: turns an interrupt index off. */
static inline int cl_vfio_disable_irqs(int device, uint32_t index)
{
	struct vfio_irq_set set = { .argsz = sizeof set,
				    .flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
				    .index = index };
	return (int)CL_RESULT(ioctl(device, VFIO_DEVICE_SET_IRQS, &set));
}

/* VFIO_IOMMU_GET_INFO with its capabilities. Returns the number of bytes that it needs, or -errno. */
static inline int cl_vfio_iommu_info(int container, struct vfio_iommu_type1_info *info,
				     uint32_t capacity)
{
	memset(info, 0, capacity);
	info->argsz = capacity;
	if (ioctl(container, VFIO_IOMMU_GET_INFO, info) < 0)
		return -errno;
	return (int)info->argsz;
}

static inline int cl_vfio_map_dma(int container, uint64_t iova, uint64_t size, uint64_t host)
{
	struct vfio_iommu_type1_dma_map map = { .argsz = sizeof map,
						.flags = VFIO_DMA_MAP_FLAG_READ |
							 VFIO_DMA_MAP_FLAG_WRITE,
						.vaddr = host,
						.iova = iova,
						.size = size };
	return (int)CL_RESULT(ioctl(container, VFIO_IOMMU_MAP_DMA, &map));
}

/* Returns the number of bytes that were mapped, or -errno. */
static inline int64_t cl_vfio_unmap_dma(int container, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof unmap, .iova = iova, .size = size };
	if (ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) < 0)
		return -errno;
	return (int64_t)unmap.size;
}
