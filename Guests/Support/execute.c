/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs single instructions, given as bytes, at CPL 0 or 3, and records the registers afterwards. INT3 follows
 * the bytes. Any exception ends the run. The exception's vector is part of the result.
 */
#include "Hardware.h"

enum { CODE_BYTES = 64, STACK_BYTES = 2048, KERNEL_CODE = 0x18, KERNEL_DATA = 0x10 };
enum { USER_CODE = 0x20 | 3, USER_DATA = 0x28 | 3, TASK = 0x30, BREAKPOINT = 3 };

struct execution {
	/* execute_enter and execute_leave access the next two fields by offset. */
	uint64_t saved_stack;
	uint64_t registers[5]; /* RAX, RCX, RDX, RSI, RDI */
	uint64_t flags;
	uint64_t vector;
	uint32_t length;
	uint32_t is_active;
	uint8_t vector_register[16];
	uint8_t code[CODE_BYTES] __attribute__((aligned(64)));
	uint8_t stack[STACK_BYTES] __attribute__((aligned(16)));
};

static struct execution executions[PROCESSORS];
static uint8_t exception_stack[4096] __attribute__((aligned(16)));

static struct __attribute__((packed)) {
	uint32_t reserved;
	uint64_t stacks[3];
	uint64_t others[8];
	uint32_t rest[3];
} task;
_Static_assert(sizeof task == 104, "64-bit TSS (SDM vol. 3 §8.7)");

static uint64_t descriptors[8];

extern void execute_enter(struct execution *execution, uint64_t stack, uint64_t code, uint64_t code_segment,
			  uint64_t stack_segment, uint64_t flags);
extern const char execute_leave[];

__asm__(".text\n"
	".globl execute_enter\n"
	"execute_enter:\n"
	"	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
	"	mov %rsp, (%rdi)\n"
	"	mov %rdi, %rbx\n"
	"	push %r8\n"	/* SS */
	"	push %rsi\n"	/* RSP */
	"	push %r9\n"	/* RFLAGS */
	"	push %rcx\n"	/* CS */
	"	push %rdx\n"	/* RIP */
	"	mov 8(%rbx), %rax\n"
	"	mov 16(%rbx), %rcx\n"
	"	mov 24(%rbx), %rdx\n"
	"	mov 32(%rbx), %rsi\n"
	"	mov 40(%rbx), %rdi\n"
	"	iretq\n"
	".globl execute_leave\n"
	"execute_leave:\n"
	"	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbp\n	pop %rbx\n"
	"	ret\n");

static uint32_t this_processor(void)
{
	return mmio_load32(0xFEE00020) >> 24 & (PROCESSORS - 1);
}

/* Called by interrupts.c for an exception. Returns true if the exception ends a run. */
int execution_trapped(struct frame *frame)
{
	struct execution *execution = &executions[this_processor()];
	if (!execution->is_active)
		return 0;
	execution->is_active = 0;
	execution->registers[0] = frame->rax;
	execution->registers[1] = frame->rcx;
	execution->registers[2] = frame->rdx;
	execution->registers[3] = frame->rsi;
	execution->registers[4] = frame->rdi;
	execution->flags = frame->rflags;
	uint64_t end = (uint64_t)execution->code + execution->length + 1;
	execution->vector = frame->vector == BREAKPOINT && frame->rip == end ? 0 : frame->vector;
	frame->rip = (uint64_t)execute_leave;
	frame->cs = KERNEL_CODE;
	frame->ss = KERNEL_DATA;
	frame->rsp = execution->saved_stack;
	frame->rflags = 2;
	return 1;
}

/* Returns 1 if the processor has XSAVE and AVX (CPUID 1, ECX bits 26 and 28). */
uint32_t execution_has_avx(void)
{
	uint32_t a, b, c, d;
	cpuid_all(1, 0, &a, &b, &c, &d);
	return c >> 26 & c >> 28 & 1;
}

void execution_initialize(void)
{
	/* SSE and x87 (SDM vol. 3 §14.1): clear CR0.EM; set CR0.MP, CR4.OSFXSR and CR4.OSXMMEXCPT. */
	uint64_t value;
	__asm__ volatile("mov %%cr0, %0" : "=r"(value));
	__asm__ volatile("mov %0, %%cr0" : : "r"((value & ~4ull) | 2));
	__asm__ volatile("mov %%cr4, %0" : "=r"(value));
	__asm__ volatile("mov %0, %%cr4" : : "r"(value | 3 << 9));
	__asm__ volatile("fninit");
	if (!execution_has_avx())
		return;
	/* AVX (SDM vol. 1 §13.3): set CR4.OSXSAVE, then enable x87, SSE and AVX in XCR0. */
	__asm__ volatile("mov %%cr4, %0" : "=r"(value));
	__asm__ volatile("mov %0, %%cr4" : : "r"(value | 1 << 18));
	__asm__ volatile("xsetbv" : : "a"(7), "d"(0), "c"(0));
}

/* Prepares CPL 3 on this processor: sets up the task state and segments, and opens all pages to user code. */
void execution_allow_user(void)
{
	uint64_t base = (uint64_t)&task;
	task.stacks[0] = (uint64_t)exception_stack + sizeof exception_stack;
	task.rest[2] = sizeof task << 16;
	const uint64_t table[8] = {
		0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF, 0x00AF9B000000FFFF, 0x00AFFB000000FFFF,
		0x00CFF3000000FFFF,
		(sizeof task - 1) | (base & 0xFFFFFF) << 16 | 0x89ull << 40 | (base >> 24 & 0xFF) << 56, base >> 32,
	};
	for (int i = 0; i < 8; i++)
		descriptors[i] = table[i];
	struct __attribute__((packed)) { uint16_t limit; uint64_t base; } pointer = { sizeof descriptors - 1,
										      (uint64_t)descriptors };
	__asm__ volatile("lgdt %0" : : "m"(pointer));
	__asm__ volatile("ltr %w0" : : "r"(TASK));
	uint64_t *top = (uint64_t *)page_map_address();
	for (int i = 0; i < 512; i++) {
		if (!(top[i] & 1))
			continue;
		top[i] |= 4;
		uint64_t *pointers = (uint64_t *)(top[i] & 0xFFFFFFFFFF000);
		for (int j = 0; j < 512; j++) {
			if (!(pointers[j] & 1))
				continue;
			pointers[j] |= 4;
			if (pointers[j] & 0x80)
				continue;
			uint64_t *pages = (uint64_t *)(pointers[j] & 0xFFFFFFFFFF000);
			for (int k = 0; k < 512; k++)
				pages[k] |= pages[k] & 1 ? 4 : 0;
		}
	}
	__asm__ volatile("mov %%cr3, %%rax; mov %%rax, %%cr3" : : : "rax", "memory");
}

void execution_clear(void) { executions[this_processor()].length = 0; }

void execution_append(uint8_t byte)
{
	struct execution *execution = &executions[this_processor()];
	if (execution->length < CODE_BYTES - 1)
		execution->code[execution->length++] = byte;
}

uint64_t execution_run(uint32_t is_user, uint64_t rax, uint64_t rcx, uint64_t rdx, uint64_t rsi, uint64_t rdi)
{
	struct execution *execution = &executions[this_processor()];
	const uint64_t pattern[2] = { 0x8796A5B4C3D2E1F0, 0x0F1E2D3C4B5A6978 };
	execution->code[execution->length] = 0xCC;
	uint64_t values[5] = { rax, rcx, rdx, rsi, rdi };
	for (int i = 0; i < 5; i++)
		execution->registers[i] = values[i];
	execution->is_active = 1;
	uint64_t stack = (uint64_t)execution->stack + STACK_BYTES;
	__asm__ volatile("fninit; movups %0, %%xmm0" : : "m"(pattern));
	/* RFLAGS.IF is clear. With RFLAGS.TF only one instruction runs, whatever the bytes are. */
	execute_enter(execution, stack, (uint64_t)execution->code, is_user ? USER_CODE : KERNEL_CODE,
		      is_user ? USER_DATA : KERNEL_DATA, is_user == EXECUTION_STEP ? 0x102 : 2);
	__asm__ volatile("movups %%xmm0, %0" : "=m"(execution->vector_register));
	return execution->vector;
}

uint64_t execution_register(uint32_t index)
{
	struct execution *execution = &executions[this_processor()];
	if (index < 5)
		return execution->registers[index];
	return index == 5 ? execution->flags : ((uint64_t *)(void *)execution->vector_register)[index & 1];
}
