/* SPDX-License-Identifier: Apache-2.0 */
/* Layouts that the kernel's ABI defines and that Swift code relies on. */
#include "CLinux.h"

#define LAYOUT(type, bytes) _Static_assert(sizeof(type) == (bytes), #type)
#define FIELD(type, field, at) _Static_assert(offsetof(type, field) == (at), #type "." #field)

LAYOUT(struct kvm_userspace_memory_region, 32);
LAYOUT(struct kvm_cpuid_entry2, 40);
LAYOUT(struct kvm_cpuid2, 8);
LAYOUT(struct kvm_regs, 144);
LAYOUT(struct kvm_sregs, 312);
LAYOUT(struct kvm_segment, 24);
LAYOUT(struct kvm_dtable, 16);
LAYOUT(struct kvm_msr_entry, 16);
LAYOUT(struct kvm_irqfd, 32);
LAYOUT(struct kvm_irq_routing_entry, 48);
LAYOUT(struct kvm_irq_routing, 8);
LAYOUT(struct kvm_pit_config, 64);
LAYOUT(struct kvm_create_device, 12);
LAYOUT(struct kvm_device_attr, 24);
LAYOUT(struct kvm_enable_cap, 104);
LAYOUT(struct kvm_vcpu_events, 64);
FIELD(struct kvm_run, immediate_exit, 1);
FIELD(struct kvm_run, exit_reason, 8);
FIELD(struct kvm_run, mmio, 32);
FIELD(struct kvm_run, mmio.data, 40);
FIELD(struct kvm_run, internal.data, 40);
FIELD(struct kvm_run, emulation_failure.flags, 40);
FIELD(struct kvm_run, io, 32);

LAYOUT(struct vfio_group_status, 8);
LAYOUT(struct vfio_region_info, 32);
FIELD(struct vfio_region_info, flags, 4);
FIELD(struct vfio_region_info, cap_offset, 12);
FIELD(struct vfio_region_info, size, 16);
FIELD(struct vfio_region_info, offset, 24);
LAYOUT(struct vfio_irq_info, 16);
LAYOUT(struct vfio_irq_set, 20);
LAYOUT(struct vfio_region_info_cap_sparse_mmap, 16);
FIELD(struct vfio_region_info_cap_sparse_mmap, nr_areas, 8);
FIELD(struct vfio_region_info_cap_sparse_mmap, areas, 16);
LAYOUT(struct vfio_region_sparse_mmap_area, 16);
FIELD(struct vfio_region_sparse_mmap_area, size, 8);
LAYOUT(struct vfio_info_cap_header, 8);
FIELD(struct vfio_info_cap_header, next, 4);
FIELD(struct vfio_iommu_type1_info, flags, 4);
FIELD(struct vfio_iommu_type1_info, cap_offset, 16);
LAYOUT(struct vfio_iommu_type1_dma_map, 32);
LAYOUT(struct vfio_iommu_type1_dma_unmap, 24);
LAYOUT(struct vfio_iova_range, 16);
FIELD(struct vfio_iova_range, end, 8);
LAYOUT(struct vfio_iommu_type1_info_dma_avail, 12);
FIELD(struct vfio_iommu_type1_info_dma_avail, avail, 8);
LAYOUT(struct vfio_pci_hot_reset_info, 12);
FIELD(struct vfio_pci_hot_reset_info, count, 8);
FIELD(struct vfio_pci_hot_reset_info, devices, 12);
LAYOUT(struct vfio_pci_dependent_device, 8);
FIELD(struct vfio_pci_dependent_device, segment, 4);
FIELD(struct vfio_pci_dependent_device, bus, 6);
FIELD(struct vfio_pci_dependent_device, devfn, 7);
LAYOUT(struct vfio_pci_hot_reset, 12);
FIELD(struct vfio_iommu_type1_info_cap_iova_range, nr_iovas, 8);
FIELD(struct vfio_iommu_type1_info_cap_iova_range, iova_ranges, 16);
LAYOUT(struct cl_route, 24);
LAYOUT(struct cl_access, 32);
_Static_assert(CL_NO_MEMORY == -5004, "the number in guarded.S");
LAYOUT(struct cl_iommu_destroy, 8);
LAYOUT(struct cl_iommu_ioas_alloc, 12);
LAYOUT(struct cl_iommu_iova_range, 16);
LAYOUT(struct cl_iommu_ioas_iova_ranges, 32);
LAYOUT(struct cl_iommu_ioas_map, 40);
LAYOUT(struct cl_iommu_ioas_copy, 40);
LAYOUT(struct cl_iommu_ioas_map_file, 40);
LAYOUT(struct cl_iommu_ioas_unmap, 24);
LAYOUT(struct cl_vfio_dma_buf, 40);
FIELD(struct cl_vfio_dma_buf, offset, 24);
LAYOUT(struct cl_vfio_bind, 24);
FIELD(struct cl_vfio_bind, token_uuid_ptr, 16);
LAYOUT(struct cl_vfio_attach, 12);
