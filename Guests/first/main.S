/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes one byte to COM1 as its first act and ends the machine, so that the outside can time its first
 * instruction. Run by the lab's `bench`.
 *
 * The ELF file is a kernel for multiboot. With FLAT it is firmware, 64 KiB that end with the reset vector:
 * what a monitor starts before any kernel.
 */

#define COM1 0x3F8
#define DEBUG_EXIT 0xF4

	.section .text
	.globl start

#ifdef FLAT
	.code16
	.skip 0xFFF0, 0xF4	/* HLT */
#else
	.code32
	.long 0x1BADB002, 0, -0x1BADB002
#endif
start:
	mov $COM1, %dx
	mov $'!', %al
	out %al, %dx
	xor %al, %al
	out %al, $DEBUG_EXIT
1:	hlt
	jmp 1b
#ifdef FLAT
	.balign 16, 0xF4
#endif
