/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows that a multiboot (version 1) kernel starts. Checks the magic number, and writes memory sizes, the
 * command line, the module's content and the number of ranges in the memory map to COM1. Then writes 0 to the
 * debug exit port. Run by the lab case `multiboot`.
 *
 * The file is a 32-bit ELF file. With FLAT it is a flat binary, whose header contains the load address.
 */

#define MAGIC 0x1BADB002
#ifdef FLAT
#define FLAGS (1 << 16 | 1 << 1 | 1 << 0)
#else
#define FLAGS (1 << 1 | 1 << 0)
#endif

	.section .text
	.code32
	.globl start
header:
	.long MAGIC, FLAGS, -(MAGIC + FLAGS)
#ifdef FLAT
	.long header, header, end, bss_end, start
#endif
start:
	mov $stack_end, %esp
	mov %ebx, %ebp
	cmp $0x2BADB002, %eax
	mov $no_magic, %esi
	jne fail

	mov $memory, %esi
	call print
	mov 4(%ebp), %eax
	call number
	mov $plus, %esi
	call print
	mov 8(%ebp), %eax
	call number

	mov $command_line, %esi
	call print
	mov 16(%ebp), %esi
	call print

	mov $modules, %esi
	call print
	mov 20(%ebp), %eax
	call number
	cmpl $0, 20(%ebp)
	je 2f
	mov $space, %esi
	call print
	mov 24(%ebp), %edx
	mov (%edx), %esi
	mov 4(%edx), %edi
1:	cmp %edi, %esi
	jae 2f
	mov (%esi), %al
	inc %esi
	call character
	jmp 1b

	/* Each entry of the memory map begins with its length. */
2:	mov $ranges, %esi
	call print
	mov 48(%ebp), %esi
	mov %esi, %edi
	add 44(%ebp), %edi
	xor %ecx, %ecx
3:	cmp %edi, %esi
	jae 4f
	add (%esi), %esi
	add $4, %esi
	inc %ecx
	jmp 3b
4:	mov %ecx, %eax
	call number
	/* Memory beyond the file is zero. */
	mov $not_zero, %esi
	cmpl $0, zeros
	jne fail
	mov $done, %esi
	call print
	xor %eax, %eax
	jmp exit
fail:	call print
	mov $1, %eax
exit:	mov $0xF4, %dx
	out %eax, %dx
	hlt

/* Prints the string at ESI. */
print:	mov (%esi), %al
	inc %esi
	test %al, %al
	jz 5f
	call character
	jmp print
5:	ret

/* Prints the character in AL. Keeps AL, clobbers EDX. */
character:
	mov $0x3F8, %dx
	out %al, %dx
	ret

/* Prints EAX in decimal. Clobbers EAX, EBX, EDX. */
number:	xor %edx, %edx
	mov $10, %ebx
	div %ebx
	push %edx
	test %eax, %eax
	jz 6f
	call number
6:	pop %eax
	add $'0', %al
	jmp character

memory:	.asciz "memory "
plus:	.asciz " + "
command_line: .asciz " KiB\ncommand line "
modules: .asciz "\nmodules "
space:	.asciz " "
ranges:	.asciz "\nranges "
done:	.asciz "\ndone\n"
no_magic: .asciz "not the magic number\n"
not_zero: .asciz "\nnot zero\n"
end:

	.section .bss
zeros:	.skip 4
	.skip 4096
stack_end:
bss_end:
