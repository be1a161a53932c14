/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes one byte to COM1 with its first instructions and ends the machine, so that the host can time the
 * first instruction. Run by the lab's `bench`.
 *
 * The ELF file is a multiboot kernel. With FLAT the file is firmware: 64 KiB that end with the reset vector.
 * A VMM starts firmware before any kernel.
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
