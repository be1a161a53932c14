/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions and memory that Swift cannot express. Addresses are guest-physical. */
#pragma once

#include <stdint.h>

/* I/O ports. */
#define PORT(width, type, letter, reg)                                                        \
	static inline type port_load##width(uint16_t port)                                    \
	{                                                                                     \
		type value;                                                                   \
		__asm__ volatile("in" letter " %w1, %" reg "0" : "=a"(value) : "Nd"(port));   \
		return value;                                                                 \
	}                                                                                     \
	static inline void port_store##width(uint16_t port, type value)                       \
	{                                                                                     \
		__asm__ volatile("out" letter " %" reg "0, %w1" : : "a"(value), "Nd"(port));  \
	}
PORT(8, uint8_t, "b", "b")
PORT(16, uint16_t, "w", "w")
PORT(32, uint32_t, "l", "k")

/*
 * Device memory: each access is exactly one plain MOV of the width. A hypervisor that decodes instructions
 * supports MOV.
 */
#define MMIO(width, type, letter)                                                             \
	static inline type mmio_load##width(uint64_t address)                                 \
	{                                                                                     \
		type value;                                                                   \
		__asm__ volatile("mov" letter " (%1), %0"                                     \
				 : "=r"(value) : "r"(address) : "memory");                    \
		return value;                                                                 \
	}                                                                                     \
	static inline void mmio_store##width(uint64_t address, type value)                    \
	{                                                                                     \
		__asm__ volatile("mov" letter " %0, (%1)"                                     \
				 : : "r"(value), "r"(address) : "memory");                    \
	}
MMIO(8, uint8_t, "b")
MMIO(16, uint16_t, "w")
MMIO(32, uint32_t, "l")
MMIO(64, uint64_t, "q")

static inline uint64_t time_stamp(void)
{
	uint32_t low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static inline uint32_t cpuid_edx(uint32_t leaf)
{
	uint32_t a = leaf, b, c = 0, d;
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return d;
}

static inline uint32_t cpuid_eax(uint32_t leaf)
{
	uint32_t a = leaf, b, c = 0, d;
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return a;
}

static inline void cpuid_all(uint32_t leaf, uint32_t part, uint32_t *a, uint32_t *b, uint32_t *c,
			     uint32_t *d)
{
	*a = leaf;
	*c = part;
	__asm__ volatile("cpuid" : "+a"(*a), "=b"(*b), "+c"(*c), "=d"(*d));
}

static inline void relax(void) { __asm__ volatile("pause" : : : "memory"); }
static inline void halt(void) { __asm__ volatile("hlt" : : : "memory"); }
static inline void interrupts_on(void) { __asm__ volatile("sti" : : : "memory"); }
static inline void interrupts_off(void) { __asm__ volatile("cli" : : : "memory"); }
/* Sleeps until an interrupt arrives. A pending interrupt is taken at once. */
static inline void wait_for_interrupt(void) { __asm__ volatile("sti; hlt" : : : "memory"); }
static inline void triple_fault(void)
{
	struct __attribute__((packed)) { uint16_t limit; uint64_t base; } none = { 0, 0 };
	__asm__ volatile("lidt %0; ud2" : : "m"(none));
}

/* The stack frame that interrupt_common in boot.S builds. */
struct frame {
	uint64_t r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax;
	uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

/* execute.c: runs single instructions on the calling processor. */
int execution_trapped(struct frame *frame);
uint32_t execution_has_avx(void);
/* Enables SSE, x87 and, if the processor has it, AVX. */
void execution_initialize(void);
/* Call it once, on the first processor, after the last change of the page map. */
void execution_allow_user(void);
void execution_clear(void);
void execution_append(uint8_t byte);
/* A value of is_user: runs at CPL 3, and raises exception 1 after a single instruction. */
enum { EXECUTION_STEP = 2 };
/* Runs the bytes. Returns the vector of the exception that they raise, or 0. */
uint64_t execution_run(uint32_t is_user, uint64_t rax, uint64_t rcx, uint64_t rdx, uint64_t rsi, uint64_t rdi);
/* A register after the run. Index 0 to 4: RAX, RCX, RDX, RSI, RDI; 5: RFLAGS; 6, 7: XMM0. */
uint64_t execution_register(uint32_t index);

/* interrupts.c */
enum { FIRST_VECTOR = 48, SPURIOUS_VECTOR = 95, PROCESSORS = 64 };
void interrupts_initialize(void);
/* Sets the function that runs for an interrupt before the EOI to the local APIC, or null. */
void interrupt_handle(uint32_t vector, void (*handler)(uint32_t vector));
uint64_t interrupt_count(uint32_t processor, uint32_t vector);

/* runtime.c */
enum { SHARED_WORDS = 256, DMA_PAGES = 16, LINE_SIZE = 200 };
/* Words that the processors share. Each access is a single load or store. */
uint64_t shared_load(uint32_t index);
void shared_store(uint32_t index, uint64_t value);
/* Returns the address of a page of memory for devices. */
uint64_t dma_page(uint32_t index);
/* Returns the address of a zeroed page for page tables, or 0 if all are in use. */
uint64_t table_page(void);
uint64_t page_map_address(void);
/* The buffer for the current line of output. */
void line_append(uint8_t character);
void line_clear(void);
uint32_t line_length(void);
uint8_t line_byte(uint32_t index);
/* Sets the function that a further processor runs. The processor reads it once. */
void processor_assign(uint32_t processor, void (*job)(uint32_t processor));
uint32_t processor_has_arrived(uint32_t processor);
/* Copies the start-up code to its page. Returns the vector of the start-up IPI that enters it. */
uint32_t processor_trampoline(void);
