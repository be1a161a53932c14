/* SPDX-License-Identifier: Apache-2.0 */
/* KVM (Linux Documentation/virt/kvm/api.rst): request numbers and calls. */
#pragma once

#include <cpuid.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"

enum : unsigned long {
	IOC_KVM_GET_API_VERSION = KVM_GET_API_VERSION,
	IOC_KVM_CREATE_VM = KVM_CREATE_VM,
	IOC_KVM_CHECK_EXTENSION = KVM_CHECK_EXTENSION,
	IOC_KVM_GET_VCPU_MMAP_SIZE = KVM_GET_VCPU_MMAP_SIZE,
	IOC_KVM_CREATE_VCPU = KVM_CREATE_VCPU,
	IOC_KVM_SET_USER_MEMORY_REGION = KVM_SET_USER_MEMORY_REGION,
	IOC_KVM_SET_TSS_ADDR = KVM_SET_TSS_ADDR,
	IOC_KVM_CREATE_IRQCHIP = KVM_CREATE_IRQCHIP,
	IOC_KVM_SET_GSI_ROUTING = KVM_SET_GSI_ROUTING,
	IOC_KVM_SET_DEVICE_ATTR = KVM_SET_DEVICE_ATTR,
	IOC_KVM_IRQFD = KVM_IRQFD,
	IOC_KVM_RUN = KVM_RUN,
	IOC_KVM_GET_REGS = KVM_GET_REGS,
	IOC_KVM_GET_TSC_KHZ = KVM_GET_TSC_KHZ,
	IOC_KVM_GET_VCPU_EVENTS = KVM_GET_VCPU_EVENTS,
	IOC_KVM_SET_VCPU_EVENTS = KVM_SET_VCPU_EVENTS,
};

/* An ioctl with a number or no argument. */
static inline int cl_kvm_number(int fd, unsigned long request, unsigned long argument)
{
	return (int)CL_RESULT(ioctl(fd, request, argument));
}

/* KVM_SET_USER_MEMORY_REGION; size 0 deletes the slot. */
static inline int cl_kvm_set_memory_slot(int vm, uint32_t slot, uint32_t flags, uint64_t gpa,
					 uint64_t size, uint64_t host)
{
	struct kvm_userspace_memory_region region = { .slot = slot,
						      .flags = flags,
						      .guest_phys_addr = gpa,
						      .memory_size = size,
						      .userspace_addr = host };
	return (int)CL_RESULT(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region));
}

static inline int cl_kvm_set_identity_map(int vm, uint64_t address)
{
	return (int)CL_RESULT(ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &address));
}

static inline int cl_kvm_create_pit(int vm)
{
	struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };
	return (int)CL_RESULT(ioctl(vm, KVM_CREATE_PIT2, &config));
}

/* Masks all inputs of both 8259s. KVM resets them with all inputs unmasked. */
static inline int cl_kvm_mask_pics(int vm)
{
	for (uint32_t chip = KVM_IRQCHIP_PIC_MASTER; chip <= KVM_IRQCHIP_PIC_SLAVE; chip++) {
		struct kvm_irqchip state = { .chip_id = chip };
		if (ioctl(vm, KVM_GET_IRQCHIP, &state) < 0)
			return -errno;
		state.chip.pic.imr = 0xFF;
		if (ioctl(vm, KVM_SET_IRQCHIP, &state) < 0)
			return -errno;
	}
	return 0;
}

/* KVM_IRQFD; resample < 0 for none. */
static inline int cl_kvm_irqfd(int vm, int event, uint32_t gsi, uint32_t flags, int resample)
{
	struct kvm_irqfd irqfd = { .fd = (uint32_t)event, .gsi = gsi, .flags = flags };
	if (resample >= 0) {
		irqfd.flags |= KVM_IRQFD_FLAG_RESAMPLE;
		irqfd.resamplefd = (uint32_t)resample;
	}
	return (int)CL_RESULT(ioctl(vm, KVM_IRQFD, &irqfd));
}

/* One route of KVM_SET_GSI_ROUTING: a pin of an irqchip (chip >= 0) or an MSI. */
struct cl_route {
	uint32_t gsi;
	int32_t chip; /* KVM_IRQCHIP_*, or -1 for an MSI */
	uint32_t pin;
	uint32_t data;
	uint64_t address;
};

static inline int cl_kvm_set_routes(int vm, const struct cl_route *routes, uint32_t count)
{
	struct kvm_irq_routing *table =
		calloc(1, sizeof *table + count * sizeof(struct kvm_irq_routing_entry));
	if (!table)
		return -ENOMEM;
	table->nr = count;
	for (uint32_t i = 0; i < count; i++) {
		struct kvm_irq_routing_entry *entry = &table->entries[i];
		entry->gsi = routes[i].gsi;
		if (routes[i].chip >= 0) {
			entry->type = KVM_IRQ_ROUTING_IRQCHIP;
			entry->u.irqchip.irqchip = (uint32_t)routes[i].chip;
			entry->u.irqchip.pin = routes[i].pin;
		} else {
			entry->type = KVM_IRQ_ROUTING_MSI;
			entry->u.msi.address_lo = (uint32_t)routes[i].address;
			entry->u.msi.address_hi = (uint32_t)(routes[i].address >> 32);
			entry->u.msi.data = routes[i].data;
		}
	}
	int result = (int)CL_RESULT(ioctl(vm, KVM_SET_GSI_ROUTING, table));
	free(table);
	return result;
}

/* Creates a KVM device of `type` and returns its descriptor. */
static inline int cl_kvm_create_device(int vm, uint32_t type)
{
	struct kvm_create_device device = { .type = type };
	if (ioctl(vm, KVM_CREATE_DEVICE, &device) < 0)
		return -errno;
	return (int)device.fd;
}

/*
 * Adds a group or a cdev (6.6+) to KVM's VFIO device, for coherency and posted interrupts, or removes it. KVM holds
 * a reference to the file in between. KVM_DEV_VFIO_FILE_ADD and _DEL have the same numbers as GROUP_ADD and _DEL.
 */
static inline int cl_kvm_vfio_file(int device, int32_t file, bool add)
{
	struct kvm_device_attr attribute = { .group = KVM_DEV_VFIO_GROUP,
					     .attr = add ? KVM_DEV_VFIO_GROUP_ADD : KVM_DEV_VFIO_GROUP_DEL,
					     .addr = (uint64_t)(uintptr_t)&file };
	return (int)CL_RESULT(ioctl(device, KVM_SET_DEVICE_ATTR, &attribute));
}

/* KVM_GET_SUPPORTED_CPUID: stores up to `capacity` entries. Returns their number, or -errno. */
static inline int cl_kvm_supported_cpuid(int kvm, struct kvm_cpuid_entry2 *entries, uint32_t capacity)
{
	size_t bytes = capacity * sizeof *entries;
	struct kvm_cpuid2 *table = calloc(1, sizeof *table + bytes);
	if (!table)
		return -ENOMEM;
	table->nent = capacity;
	int result = (int)CL_RESULT(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, table));
	if (result >= 0) {
		result = (int)table->nent;
		memcpy(entries, table->entries, table->nent * sizeof *entries);
	}
	free(table);
	return result;
}

/* Stores the values of leaf `entry->function` of the host's processor. */
static inline void cl_host_cpuid(struct kvm_cpuid_entry2 *entry)
{
	__cpuid(entry->function, entry->eax, entry->ebx, entry->ecx, entry->edx);
}

static inline int cl_kvm_set_cpuid(int vcpu, const struct kvm_cpuid_entry2 *entries, uint32_t count)
{
	size_t bytes = count * sizeof *entries;
	struct kvm_cpuid2 *table = calloc(1, sizeof *table + bytes);
	if (!table)
		return -ENOMEM;
	table->nent = count;
	memcpy(table->entries, entries, bytes);
	int result = (int)CL_RESULT(ioctl(vcpu, KVM_SET_CPUID2, table));
	free(table);
	return result;
}

/* Sets one model-specific register. */
static inline int cl_kvm_set_msr(int vcpu, uint32_t index, uint64_t value)
{
	_Alignas(8) char space[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)] = { 0 };
	struct kvm_msrs *msrs = (struct kvm_msrs *)space;
	msrs->nmsrs = 1;
	msrs->entries[0].index = index;
	msrs->entries[0].data = value;
	int set = (int)CL_RESULT(ioctl(vcpu, KVM_SET_MSRS, msrs));
	return set == 1 ? 0 : set < 0 ? set : CL_REFUSED;
}

static inline int cl_kvm_get_sregs(int vcpu, struct kvm_sregs *sregs)
{
	return (int)CL_RESULT(ioctl(vcpu, KVM_GET_SREGS, sregs));
}

static inline int cl_kvm_set_sregs(int vcpu, const struct kvm_sregs *sregs)
{
	return (int)CL_RESULT(ioctl(vcpu, KVM_SET_SREGS, sregs));
}

static inline int cl_kvm_get_regs(int vcpu, struct kvm_regs *regs)
{
	return (int)CL_RESULT(ioctl(vcpu, KVM_GET_REGS, regs));
}

static inline int cl_kvm_set_regs(int vcpu, const struct kvm_regs *regs)
{
	return (int)CL_RESULT(ioctl(vcpu, KVM_SET_REGS, regs));
}

/* KVM_ENABLE_CAP of a VM, with one argument. */
static inline int cl_kvm_enable(int vm, uint32_t capability, uint64_t argument)
{
	struct kvm_enable_cap enable = { .cap = capability, .args = { argument } };
	return (int)CL_RESULT(ioctl(vm, KVM_ENABLE_CAP, &enable));
}

/* Queues #UD (vector 6, a fault without an error code) and leaves other events as they are. */
static inline int cl_kvm_inject_undefined(int vcpu)
{
	struct kvm_vcpu_events events;
	if (ioctl(vcpu, KVM_GET_VCPU_EVENTS, &events) < 0)
		return -errno;
	events.flags = 0;
	events.exception.injected = 1;
	events.exception.nr = 6;
	events.exception.has_error_code = 0;
	events.exception.error_code = 0;
	return (int)CL_RESULT(ioctl(vcpu, KVM_SET_VCPU_EVENTS, &events));
}

/* KVM_RUN: returns 0 or -errno. */
static inline int cl_kvm_run(int vcpu) { return (int)CL_RESULT(ioctl(vcpu, KVM_RUN, 0)); }
