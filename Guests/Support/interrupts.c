/* SPDX-License-Identifier: Apache-2.0 */
/* The interrupt descriptor table, and a count of interrupts per processor and vector. */
#include "Hardware.h"

enum { VECTORS = 96, CODE64 = 0x18 };

struct gate {
	uint16_t offset_low, selector;
	uint8_t stack, type;
	uint16_t offset_middle;
	uint32_t offset_high, reserved;
};

extern const char interrupt_entries[];
/* Report.swift */
void exception_report(uint64_t vector, uint64_t error, uint64_t rip, uint64_t cr2);

static struct gate idt[VECTORS];
static volatile uint64_t counts[PROCESSORS][VECTORS];
static void (*volatile handlers[VECTORS])(uint32_t vector);

static const uint64_t local_apic = 0xFEE00000;

uint64_t interrupt_count(uint32_t processor, uint32_t vector)
{
	return processor < PROCESSORS && vector < VECTORS ? counts[processor][vector] : 0;
}

void interrupt_handle(uint32_t vector, void (*handler)(uint32_t vector))
{
	if (vector < VECTORS)
		handlers[vector] = handler;
}

void interrupt(struct frame *frame)
{
	if (frame->vector < 32) {
		if (execution_trapped(frame))
			return;
		uint64_t cr2;
		__asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
		exception_report(frame->vector, frame->error, frame->rip, cr2);
	}
	if (frame->vector == SPURIOUS_VECTOR)
		return;
	void (*handler)(uint32_t) = handlers[frame->vector];
	if (handler)
		handler((uint32_t)frame->vector);
	counts[mmio_load32(local_apic + 0x20) >> 24 & (PROCESSORS - 1)][frame->vector]++;
	mmio_store32(local_apic + 0xB0, 0);
}

void interrupts_initialize(void)
{
	struct __attribute__((packed)) { uint16_t limit; uint64_t base; } pointer = {
		sizeof idt - 1, (uint64_t)idt
	};
	for (int i = 0; i < VECTORS; i++) {
		uint64_t entry = (uint64_t)interrupt_entries + 16 * i;
		/* Code at CPL 3 may execute INT3 (execute.c). */
		idt[i] = (struct gate){ .offset_low = (uint16_t)entry, .selector = CODE64,
					.type = i == 3 ? 0xEE : 0x8E,
					.offset_middle = (uint16_t)(entry >> 16),
					.offset_high = (uint32_t)(entry >> 32) };
	}
	__asm__ volatile("lidt %0" : : "m"(pointer));
}
