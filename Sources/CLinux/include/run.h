/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of struct kvm_run, which a vCPU shares with KVM (Linux Documentation/virt/kvm/api.rst). */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline uint32_t cl_run_exit_reason(const struct kvm_run *run)
{
	return run->exit_reason;
}

/* Returns true if KVM_RUN returned for an access. The next KVM_RUN completes the access. */
static inline bool cl_run_is_access(const struct kvm_run *run)
{
	uint32_t reason = cl_run_exit_reason(run);
	return reason == KVM_EXIT_MMIO || reason == KVM_EXIT_IO;
}

/* One trapped access. Its data begins at `offset` in the mapping: `count` values of `width` bytes. */
struct cl_access {
	uint64_t address;
	uint64_t offset;
	uint32_t width;
	uint32_t count;
	bool write;
};

static inline struct cl_access cl_run_mmio(const struct kvm_run *run)
{
	return (struct cl_access){ .address = run->mmio.phys_addr,
				   .offset = offsetof(struct kvm_run, mmio.data),
				   .width = run->mmio.len,
				   .count = 1,
				   .write = run->mmio.is_write != 0 };
}

static inline struct cl_access cl_run_io(const struct kvm_run *run)
{
	return (struct cl_access){ .address = run->io.port,
				   .offset = run->io.data_offset,
				   .width = run->io.size,
				   .count = run->io.count,
				   .write = run->io.direction == KVM_EXIT_IO_OUT };
}

static inline uint64_t cl_run_hardware_exit(const struct kvm_run *run)
{
	return run->hw.hardware_exit_reason;
}

static inline uint32_t cl_run_suberror(const struct kvm_run *run)
{
	return run->internal.suberror;
}

static inline uint32_t cl_run_internal_count(const struct kvm_run *run)
{
	uint32_t count = run->internal.ndata;
	return count < 16 ? count : 16;
}

static inline uint64_t cl_run_internal_data(const struct kvm_run *run, uint32_t index)
{
	return run->internal.data[index & 15];
}

/*
 * Returns the GPA of the access for which KVM had to emulate an instruction that it cannot emulate, or
 * UINT64_MAX if KVM does not report it. KVM stores the processor's exit reason and its two words after the
 * flags and the bytes of the instruction (prepare_emulation_failure_exit in arch/x86/kvm/x86.c). These are
 * debug data. The caller therefore compares the address with its own addresses. On SVM, EXITINFO2 is the GPA
 * of a nested page fault (AMD APM vol. 2 §15.25.6). VMX has no such word.
 */
static inline uint64_t cl_run_emulation_address(const struct kvm_run *run)
{
	enum { SVM_EXIT_NPF = 0x400, INSTRUCTION_WORDS = 2 };
	bool has_bytes = run->emulation_failure.flags &
			 KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
	uint32_t first = 1 + (has_bytes ? INSTRUCTION_WORDS : 0);
	if (run->internal.ndata < first + 3 || run->internal.data[first] != SVM_EXIT_NPF)
		return UINT64_MAX;
	return run->internal.data[first + 2];
}

static inline uint32_t cl_run_system_event(const struct kvm_run *run)
{
	return run->system_event.type;
}

/* Makes the current or the next KVM_RUN return immediately. A signal must follow. */
static inline void cl_run_set_immediate_exit(struct kvm_run *run, bool on)
{
	__atomic_store_n(&run->immediate_exit, on, __ATOMIC_SEQ_CST);
}
