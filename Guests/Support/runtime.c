/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that the compilers call, and memory that has a fixed address or is shared. */
#include "Hardware.h"

#include <stddef.h>

void *memset(void *to, int value, size_t count)
{
	uint8_t *byte = to;
	while (count--)
		*byte++ = (uint8_t)value;
	return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t count)
{
	uint8_t *out = to;
	const uint8_t *in = from;
	while (count--)
		*out++ = *in++;
	return to;
}

void *memmove(void *to, const void *from, size_t count)
{
	uint8_t *out = to;
	const uint8_t *in = from;
	if (out <= in)
		return memcpy(to, from, count);
	while (count--)
		out[count] = in[count];
	return to;
}

static uint8_t dma[DMA_PAGES][4096] __attribute__((aligned(4096)));
static uint8_t tables[40][4096] __attribute__((aligned(4096)));
static uint32_t tables_used;
extern uint8_t page_map[];

uint64_t dma_page(uint32_t index) { return index < DMA_PAGES ? (uint64_t)dma[index] : 0; }

uint64_t table_page(void)
{
	return tables_used < sizeof tables / sizeof *tables ? (uint64_t)tables[tables_used++] : 0;
}

uint64_t page_map_address(void) { return (uint64_t)page_map; }

static volatile uint64_t shared[SHARED_WORDS];

uint64_t shared_load(uint32_t index) { return shared[index % SHARED_WORDS]; }
void shared_store(uint32_t index, uint64_t value) { shared[index % SHARED_WORDS] = value; }

static uint8_t line[LINE_SIZE];
static uint32_t line_end;

void line_append(uint8_t character)
{
	if (line_end < LINE_SIZE)
		line[line_end++] = character;
}

void line_clear(void) { line_end = 0; }
uint32_t line_length(void) { return line_end; }
uint8_t line_byte(uint32_t index) { return index < line_end ? line[index] : 0; }

static void (*volatile jobs[PROCESSORS])(uint32_t);
static volatile uint32_t arrived[PROCESSORS];
extern const uint8_t trampoline_start[], trampoline_end[];

void processor_assign(uint32_t processor, void (*job)(uint32_t)) { jobs[processor % PROCESSORS] = job; }
uint32_t processor_has_arrived(uint32_t processor) { return arrived[processor % PROCESSORS]; }

uint32_t processor_trampoline(void)
{
	const uint64_t place = 0x50000;	/* TRAMPOLINE in boot.S */
	for (uint64_t i = 0; i < (uint64_t)(trampoline_end - trampoline_start); i++)
		mmio_store8(place + i, trampoline_start[i]);
	return place >> 12;
}

/* Called in long mode, on the stack of the processor, with its APIC ID. */
void processor_main(uint32_t processor)
{
	interrupts_initialize();
	arrived[processor] = 1;
	while (!jobs[processor])
		relax();
	jobs[processor](processor);
}
