/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Switches from the PVH entry (32-bit protected mode, EBX = start info; Xen's docs/misc/pvh.pandoc) to long
 * mode and calls guest_main. Further processors switch from their start-up IPI to long mode and call
 * processor_main.
 *
 * The first 4 GiB are identity-mapped in 2 MiB pages. The last GiB of them is uncached, because it holds the
 * devices. Addresses above 4 GiB are mapped on request.
 */

#define PROCESSORS 64
#define STACK_SIZE 8192
#define TRAMPOLINE 0x50000	/* conventional memory that no loader of these guests uses; SIPI vector 0x50 */

#define CODE32 0x08
#define DATA 0x10
#define CODE64 0x18

	.section .note.Xen, "a", @note
	.align 4
	.long 4, 4, 18		/* name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long pvh_start

/* Switches from protected mode to long mode with the page tables at page_map. Clobbers EAX, ECX, EDX. */
.macro enter_long_mode target
	mov %cr4, %eax
	or $(1 << 5), %eax	/* PAE */
	mov %eax, %cr4
	mov $page_map, %eax
	mov %eax, %cr3
	mov $0xC0000080, %ecx	/* IA32_EFER */
	rdmsr
	or $(1 << 8), %eax	/* LME */
	wrmsr
	mov %cr0, %eax
	or $(1 << 31 | 1 << 0), %eax
	mov %eax, %cr0
	ljmp $CODE64, $\target
.endm

.macro load_data_segments
	mov $DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
.endm

	.text
	.code32
	.globl pvh_start
pvh_start:
	cld
	cli
	lgdt gdt_pointer
	ljmp $CODE32, $1f
1:	load_data_segments
	mov $(stacks + STACK_SIZE), %esp

	/* Fill the PML4 and the PDPT, then map 2048 pages of 2 MiB. */
	movl $(page_directories_pointer + 3), page_map
	mov $page_directories_pointer, %edi
	mov $(page_directories + 3), %eax
	mov $4, %ecx
2:	mov %eax, (%edi)
	add $4096, %eax
	add $8, %edi
	loop 2b
	mov $page_directories, %edi
	mov $0x83, %eax		/* present, writable, 2 MiB */
	mov $2048, %ecx
3:	cmp $512, %ecx
	jne 4f
	or $0x18, %eax		/* the last GiB: write-through and uncached */
4:	mov %eax, (%edi)
	add $0x200000, %eax
	add $8, %edi
	loop 3b
	enter_long_mode start64

	.code64
start64:
	load_data_segments
	mov $(stacks + STACK_SIZE), %rsp
	mov %ebx, %edi
	call guest_main
5:	hlt
	jmp 5b

/* Copied to TRAMPOLINE. A start-up IPI enters the copy in real mode with CS = TRAMPOLINE >> 4. */
	.code16
	.globl trampoline_start, trampoline_end
trampoline_start:
	cli
	mov %cs, %ax
	mov %ax, %ds
	lgdtl (trampoline_gdt - trampoline_start)
	mov %cr0, %eax
	or $1, %eax
	mov %eax, %cr0
	ljmpl $CODE32, $(TRAMPOLINE + trampoline32 - trampoline_start)
	.code32
trampoline32:
	load_data_segments
	enter_long_mode processor64
trampoline_gdt:
	.word gdt_end - gdt - 1
	.long gdt
trampoline_end:

	.code64
processor64:
	load_data_segments
	mov $1, %eax
	cpuid
	shr $24, %ebx		/* initial APIC ID */
	cmp $PROCESSORS, %ebx
	jae 6f
	mov %ebx, %edi
	lea 1(%rbx), %rsp
	imul $STACK_SIZE, %rsp
	add $stacks, %rsp
	call processor_main
6:	cli
	hlt
	jmp 6b

/*
 * An entry of 16 bytes for each vector. It pushes 0 if the processor pushes no error code for the vector,
 * then the vector.
 */
	.globl interrupt_entries
	.align 16
interrupt_entries:
vector = 0
	.rept 96
	.align 16
	.if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
	push $0
	.endif
	push $vector
	jmp interrupt_common
vector = vector + 1
	.endr

	.align 16
interrupt_common:
	push %rax
	push %rcx
	push %rdx
	push %rsi
	push %rdi
	push %r8
	push %r9
	push %r10
	push %r11
	mov %rsp, %rdi
	cld
	call interrupt
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rdi
	pop %rsi
	pop %rdx
	pop %rcx
	pop %rax
	add $16, %rsp
	iretq

	.data
	.align 8
gdt:	.quad 0
	.quad 0x00CF9B000000FFFF	/* CODE32 */
	.quad 0x00CF93000000FFFF	/* DATA */
	.quad 0x00AF9B000000FFFF	/* CODE64 */
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt

	.bss
	.align 4096
	.globl page_map
page_map:
	.skip 4096
page_directories_pointer:
	.skip 4096
page_directories:
	.skip 4 * 4096
stacks:	.skip PROCESSORS * STACK_SIZE
