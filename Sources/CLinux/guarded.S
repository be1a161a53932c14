/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One load or store of 8 bytes, which may fault. A SIGBUS at one of the two
 * access instructions continues at cl_guarded_fault (guarded.c).
 */
	.text

/* int cl_guarded_load(uint64_t address, uint64_t *value): 0 or CL_NO_MEMORY */
	.globl	cl_guarded_load
	.type	cl_guarded_load, @function
cl_guarded_load:
	.globl	cl_guarded_load_access
	.hidden	cl_guarded_load_access
cl_guarded_load_access:
	movq	(%rdi), %rax
	movq	%rax, (%rsi)
	xorl	%eax, %eax
	ret
	.size	cl_guarded_load, . - cl_guarded_load

/* int cl_guarded_store(uint64_t address, uint64_t value): 0 or CL_NO_MEMORY */
	.globl	cl_guarded_store
	.type	cl_guarded_store, @function
cl_guarded_store:
	.globl	cl_guarded_store_access
	.hidden	cl_guarded_store_access
cl_guarded_store_access:
	movq	%rsi, (%rdi)
	xorl	%eax, %eax
	ret
	.size	cl_guarded_store, . - cl_guarded_store

	.globl	cl_guarded_fault
	.hidden	cl_guarded_fault
	.type	cl_guarded_fault, @function
cl_guarded_fault:
	movl	$-5004, %eax	/* CL_NO_MEMORY */
	ret
	.size	cl_guarded_fault, . - cl_guarded_fault

	.section .note.GNU-stack, "", @progbits
