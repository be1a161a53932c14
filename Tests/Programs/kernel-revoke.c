/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel-revoke EDU TARGET
 *
 * Shows that the kernel revokes the dma-buf of a BAR when the memory bit of its device goes off. The arguments
 * are the VFIO device files of an edu device and of a device with RAM in BAR 2. The edu device writes to the BAR
 * through the IOMMU. Each step prints `STEP: written` or `STEP: unchanged`. A failed request prints its error to
 * standard error, and the exit status is 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "iommufd.h"

#define PAGE 4096UL
#define WINDOW (1UL << 20)
#define RAM_IOVA 0x100000UL
#define TARGET_IOVA 0x40000000UL

/* QEMU's docs/specs/edu: the registers and the buffer of the DMA engine. */
#define EDU_SOURCE 0x80
#define EDU_DESTINATION 0x88
#define EDU_COUNT 0x90
#define EDU_COMMAND 0x98
#define EDU_START 1
#define EDU_TO_MEMORY 2
#define EDU_BUFFER 0x40000UL
#define LENGTH 64UL

#define COMMAND_MEMORY 2
#define COMMAND_MASTER 4

static int iommufd;
static uint32_t ioas;
static volatile uint8_t *edu;
static volatile uint8_t *target;

static void fail(const char *step)
{
	fprintf(stderr, "kernel-revoke: %s: %s\n", step, strerror(errno));
	exit(1);
}

static void call(int fd, const char *step, unsigned long request, void *argument)
{
	if (ioctl(fd, request, argument) < 0)
		fail(step);
}

static int open_device(const char *path)
{
	int device = open(path, O_RDWR | O_CLOEXEC);
	if (device < 0)
		fail(path);
	struct bind bind = { .argsz = sizeof bind, .iommufd = iommufd };
	call(device, "BIND_IOMMUFD", BIND_IOMMUFD, &bind);
	struct attach attach = { .argsz = sizeof attach, .pt_id = ioas };
	call(device, "ATTACH_IOMMUFD_PT", ATTACH_IOMMUFD_PT, &attach);
	return device;
}

static struct vfio_region_info region(int device, uint32_t index)
{
	struct vfio_region_info info = { .argsz = sizeof info, .index = index };
	call(device, "VFIO_DEVICE_GET_REGION_INFO", VFIO_DEVICE_GET_REGION_INFO, &info);
	return info;
}

static volatile uint8_t *map_bar(int device, uint32_t index)
{
	struct vfio_region_info info = region(device, index);
	void *bar = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, (off_t)info.offset);
	if (bar == MAP_FAILED)
		fail("mmap of a BAR");
	return bar;
}

/* Writes COMMAND. The kernel revokes dma-bufs before the write returns. */
static void set_command(int device, uint16_t command)
{
	off_t config = (off_t)region(device, VFIO_PCI_CONFIG_REGION_INDEX).offset;
	if (pwrite(device, &command, sizeof command, config + 4) != sizeof command)
		fail("COMMAND");
}

static void edu_write(unsigned offset, uint32_t value)
{
	*(volatile uint32_t *)(edu + offset) = value;
}

static void edu_dma(uint64_t source, uint64_t destination, uint32_t command)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	edu_write(EDU_SOURCE, (uint32_t)source);
	edu_write(EDU_DESTINATION, (uint32_t)destination);
	edu_write(EDU_COUNT, LENGTH);
	edu_write(EDU_COMMAND, command | EDU_START);
	for (int i = 0; i < 5000; i++) {
		if (!(*(volatile uint32_t *)(edu + EDU_COMMAND) & EDU_START))
			return;
		nanosleep(&pause, NULL);
	}
	errno = ETIMEDOUT;
	fail("DMA of the edu device");
}

/* Writes the edu device's buffer to a page of the BAR. */
static void write_page(unsigned page)
{
	edu_dma(EDU_BUFFER, TARGET_IOVA + page * PAGE, EDU_TO_MEMORY);
}

static void report(const char *step, unsigned page, uint8_t pattern)
{
	unsigned changed = 0;
	for (unsigned i = 0; i < LENGTH; i++)
		changed += target[page * PAGE + i] == pattern;
	printf("%s: %s\n", step, changed == LENGTH ? "written" : changed ? "partly written" : "unchanged");
}

static void map_dma_buf(int dma_buf)
{
	struct ioas_map_file map = { .size = sizeof map,
				     .flags = MAP_FIXED_IOVA | MAP_WRITEABLE | MAP_READABLE,
				     .ioas_id = ioas,
				     .fd = dma_buf,
				     .length = WINDOW,
				     .iova = TARGET_IOVA };
	call(iommufd, "IOAS_MAP_FILE", IOAS_MAP_FILE, &map);
}

int main(int count, char **arguments)
{
	const uint8_t pattern = 0xa5;
	if (count != 3) {
		fprintf(stderr, "kernel-revoke EDU TARGET\n");
		return 2;
	}
	iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (iommufd < 0)
		fail("/dev/iommu");
	struct ioas_alloc alloc = { .size = sizeof alloc };
	call(iommufd, "IOAS_ALLOC", IOAS_ALLOC, &alloc);
	ioas = alloc.out_ioas_id;
	int edu_device = open_device(arguments[1]);
	int target_device = open_device(arguments[2]);
	set_command(edu_device, COMMAND_MEMORY | COMMAND_MASTER);
	set_command(target_device, COMMAND_MEMORY);
	edu = map_bar(edu_device, VFIO_PCI_BAR0_REGION_INDEX);
	target = map_bar(target_device, VFIO_PCI_BAR2_REGION_INDEX);
	for (unsigned i = 0; i < 4 * PAGE; i++)
		target[i] = 0;

	void *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		fail("mmap");
	memset(memory, pattern, PAGE);
	struct ioas_map map = { .size = sizeof map,
				.flags = MAP_FIXED_IOVA | MAP_WRITEABLE | MAP_READABLE,
				.ioas_id = ioas,
				.user_va = (uintptr_t)memory,
				.length = PAGE,
				.iova = RAM_IOVA };
	call(iommufd, "IOAS_MAP", IOAS_MAP, &map);
	edu_dma(RAM_IOVA, EDU_BUFFER, 0);

	struct get_dma_buf get = { .argsz = sizeof get,
				   .flags = FEATURE_GET | FEATURE_DMA_BUF,
				   .region_index = VFIO_PCI_BAR2_REGION_INDEX,
				   .open_flags = O_RDWR | O_CLOEXEC,
				   .nr_ranges = 1,
				   .length = WINDOW };
	int dma_buf = ioctl(target_device, DEVICE_FEATURE, &get);
	if (dma_buf < 0)
		fail("VFIO_DEVICE_FEATURE_DMA_BUF");
	map_dma_buf(dma_buf);

	write_page(0);
	report("memory on", 0, pattern);

	set_command(target_device, 0);
	write_page(1);
	set_command(target_device, COMMAND_MEMORY);
	report("memory off", 1, pattern);
	/* The old mapping stays dead when the memory bit is set again. */
	write_page(2);
	report("memory on again", 2, pattern);

	struct ioas_unmap unmap = {
		.size = sizeof unmap, .ioas_id = ioas, .iova = TARGET_IOVA, .length = WINDOW
	};
	call(iommufd, "IOAS_UNMAP", IOAS_UNMAP, &unmap);
	map_dma_buf(dma_buf);
	write_page(3);
	report("mapped again", 3, pattern);
	return 0;
}
