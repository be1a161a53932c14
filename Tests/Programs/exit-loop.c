/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The minimal program that runs a guest of Guests/ on KVM: one vCPU, memory, and a loop that answers port and
 * device-memory accesses. Sluice's loop is compared with it. Usage: exit-loop GUEST COMMAND-LINE
 */
#include <elf.h>
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MEMORY = 128 << 20, START_INFO = 0x6000, COMMAND_LINE = 0x20000, COM1 = 0x3F8, DEBUG_EXIT = 0xF4 };

static uint8_t *memory;

/* Loads a PVH kernel and returns its entry point. The guests' linker script makes e_entry the PVH entry. */
static uint64_t load(const char *path)
{
	Elf64_Ehdr header;
	Elf64_Phdr segment;
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0 || pread(file, &header, sizeof header, 0) != sizeof header)
		err(1, "%s", path);
	for (int i = 0; i < header.e_phnum; i++) {
		if (pread(file, &segment, sizeof segment, header.e_phoff + i * sizeof segment) != sizeof segment)
			err(1, "%s", path);
		if (segment.p_type != PT_LOAD)
			continue;
		if (segment.p_paddr > MEMORY || segment.p_filesz > MEMORY - segment.p_paddr)
			errx(1, "%s: load: segment outside of memory", path);
		if (pread(file, memory + segment.p_paddr, segment.p_filesz, segment.p_offset) !=
		    (ssize_t)segment.p_filesz)
			err(1, "%s", path);
	}
	close(file);
	return header.e_entry;
}

static int call(int file, unsigned long request, void *argument, const char *name)
{
	int result = ioctl(file, request, argument);
	if (result < 0)
		err(1, "%s", name);
	return result;
}

/* Sets the vCPU to flat 32-bit protected mode, as the PVH protocol requires. */
static void set_processor(int system, int vcpu, uint64_t entry)
{
	struct { struct kvm_cpuid2 head; struct kvm_cpuid_entry2 entries[256]; } cpuid = { .head.nent = 256 };
	call(system, KVM_GET_SUPPORTED_CPUID, &cpuid, "KVM_GET_SUPPORTED_CPUID");
	call(vcpu, KVM_SET_CPUID2, &cpuid, "KVM_SET_CPUID2");

	struct kvm_sregs sregs;
	call(vcpu, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
	struct kvm_segment data = { .limit = ~0u, .selector = 0x10, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1 };
	sregs.ds = sregs.es = sregs.ss = data;
	sregs.cs = data;
	sregs.cs.selector = 8;
	sregs.cs.type = 11;
	sregs.cr0 = 1;
	call(vcpu, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
	struct kvm_regs regs = { .rip = entry, .rbx = START_INFO, .rflags = 2 };
	call(vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");
}

/* Answers a port access. */
static void port(struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	if (run->io.direction == KVM_EXIT_IO_IN) {
		/* The transmitter of COM1 is always empty. Other ports read all-ones. */
		memset(data, run->io.port == COM1 + 5 ? 0x60 : 0xFF, run->io.size);
	} else if (run->io.port == COM1) {
		putchar(*data);
	} else if (run->io.port == DEBUG_EXIT) {
		exit(*data << 1 | 1);
	}
}

int main(int count, char **arguments)
{
	if (count != 3)
		errx(2, "usage: exit-loop GUEST COMMAND-LINE");
	int system = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (system < 0)
		err(1, "/dev/kvm");
	int vm = call(system, KVM_CREATE_VM, 0, "KVM_CREATE_VM");
	call(vm, KVM_CREATE_IRQCHIP, 0, "KVM_CREATE_IRQCHIP");
	memory = mmap(0, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		err(1, "mmap");
	struct kvm_userspace_memory_region slot = { .memory_size = MEMORY, .userspace_addr = (uint64_t)memory };
	call(vm, KVM_SET_USER_MEMORY_REGION, &slot, "KVM_SET_USER_MEMORY_REGION");
	int vcpu = call(vm, KVM_CREATE_VCPU, 0, "KVM_CREATE_VCPU");
	size_t size = (size_t)call(system, KVM_GET_VCPU_MMAP_SIZE, 0, "KVM_GET_VCPU_MMAP_SIZE");
	struct kvm_run *run = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		err(1, "mmap");
	set_processor(system, vcpu, load(arguments[1]));
	/* hvm_start_info: magic, version 0, and the command line's address. */
	*(uint32_t *)(memory + START_INFO) = 0x336EC578;
	*(uint64_t *)(memory + START_INFO + 24) = COMMAND_LINE;
	strncpy((char *)memory + COMMAND_LINE, arguments[2], 4095);

	for (;;) {
		call(vcpu, KVM_RUN, 0, "KVM_RUN");
		switch (run->exit_reason) {
		case KVM_EXIT_IO:
			port(run);
			break;
		case KVM_EXIT_MMIO:
			if (!run->mmio.is_write)
				memset(run->mmio.data, 0xFF, run->mmio.len);
			break;
		default:
			errx(1, "exit %u", run->exit_reason);
		}
	}
}
