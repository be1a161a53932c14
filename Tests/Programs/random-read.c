/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads 4 KiB at random places of a block device, with so many reads under way at once, and prints reads per
 * second. A guest's stand-in for fio, whose libraries are larger than the rest of the lab's initramfs.
 * Usage: random-read DEVICE DEPTH SECONDS
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, MAXIMUM = 256 };

static uint64_t blocks;

static uint64_t nanoseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* xorshift64: the same places in every run. */
static uint64_t next_place(void)
{
	static uint64_t state = 0x9E3779B97F4A7C15;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % blocks * BLOCK;
}

static void submit(aio_context_t context, struct iocb *block)
{
	block->aio_offset = (int64_t)next_place();
	if (syscall(SYS_io_submit, context, 1, &block) != 1)
		err(1, "io_submit");
}

int main(int count, char **arguments)
{
	if (count != 4)
		errx(2, "usage: random-read DEVICE DEPTH SECONDS");
	int depth = atoi(arguments[2]);
	uint64_t limit = (uint64_t)atoi(arguments[3]) * 1000000000;
	if (depth < 1 || depth > MAXIMUM || limit == 0)
		errx(2, "a depth from 1 to %d, and seconds", MAXIMUM);
	int file = open(arguments[1], O_RDONLY | O_DIRECT | O_CLOEXEC);
	uint64_t size;
	if (file < 0 || ioctl(file, BLKGETSIZE64, &size) != 0)
		err(1, "%s", arguments[1]);
	blocks = size / BLOCK;

	aio_context_t context = 0;
	if (syscall(SYS_io_setup, depth, &context) != 0)
		err(1, "io_setup");
	static struct iocb reads[MAXIMUM];
	char *buffers = aligned_alloc(BLOCK, (size_t)depth * BLOCK);
	if (!buffers)
		err(1, "aligned_alloc");
	uint64_t start = nanoseconds(), done = 0, time;
	for (int i = 0; i < depth; i++) {
		reads[i].aio_fildes = (uint32_t)file;
		reads[i].aio_lio_opcode = IOCB_CMD_PREAD;
		reads[i].aio_buf = (uint64_t)(buffers + i * BLOCK);
		reads[i].aio_nbytes = BLOCK;
		submit(context, &reads[i]);
	}
	while ((time = nanoseconds() - start) < limit) {
		struct io_event events[MAXIMUM];
		long ready = syscall(SYS_io_getevents, context, 1, depth, events, NULL);
		if (ready < 0)
			err(1, "io_getevents");
		for (long i = 0; i < ready; i++) {
			if (events[i].res != BLOCK)
				errx(1, "a read returned %lld", (long long)events[i].res);
			submit(context, (struct iocb *)events[i].obj);
		}
		done += (uint64_t)ready;
	}
	printf("%.1f\n", (double)done * 1e9 / (double)time);
	return 0;
}
