/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iommufd-probe PATH
 *
 * Binds the VFIO device file PATH to iommufd, attaches the device to a new I/O address space, and maps and
 * unmaps 64 MiB of memory there. Each step prints one line with its result. A failed step prints its error to
 * standard error, and the exit status is 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "iommufd.h"

#define LENGTH (64UL << 20)

static void fail(const char *step)
{
	fprintf(stderr, "iommufd-probe: %s: %s\n", step, strerror(errno));
	exit(1);
}

static void call(int fd, const char *step, unsigned long request, void *argument)
{
	if (ioctl(fd, request, argument) < 0)
		fail(step);
}

int main(int count, char **arguments)
{
	if (count != 2) {
		fprintf(stderr, "iommufd-probe PATH\n");
		return 2;
	}
	int iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (iommufd < 0)
		fail("/dev/iommu");
	int device = open(arguments[1], O_RDWR | O_CLOEXEC);
	if (device < 0)
		fail(arguments[1]);
	printf("open: /dev/iommu, %s\n", arguments[1]);

	struct bind bind = { .argsz = sizeof bind, .iommufd = iommufd };
	call(device, "BIND_IOMMUFD", BIND_IOMMUFD, &bind);
	printf("BIND_IOMMUFD: device id %" PRIu32 "\n", bind.out_devid);

	struct ioas_alloc alloc = { .size = sizeof alloc };
	call(iommufd, "IOAS_ALLOC", IOAS_ALLOC, &alloc);
	printf("IOAS_ALLOC: id %" PRIu32 "\n", alloc.out_ioas_id);

	struct attach attach = { .argsz = sizeof attach, .pt_id = alloc.out_ioas_id };
	call(device, "ATTACH_IOMMUFD_PT", ATTACH_IOMMUFD_PT, &attach);
	printf("ATTACH_IOMMUFD_PT: page table id %" PRIu32 "\n", attach.pt_id);

	struct range list[16] = { 0 };
	struct ioas_ranges ranges = { .size = sizeof ranges,
				      .ioas_id = alloc.out_ioas_id,
				      .num = sizeof list / sizeof *list,
				      .ranges = (uintptr_t)list };
	call(iommufd, "IOAS_IOVA_RANGES", IOAS_IOVA_RANGES, &ranges);
	printf("IOAS_IOVA_RANGES:");
	for (uint32_t i = 0; i < ranges.num; i++)
		printf(" [%#" PRIx64 ", %#" PRIx64 "]", list[i].start, list[i].last);
	printf(", alignment %" PRIu64 "\n", ranges.out_alignment);

	if (ranges.num == 0 || list[0].last - list[0].start < 2 * LENGTH) {
		errno = ENOSPC;
		fail("IOAS_IOVA_RANGES: first range");
	}
	/* An IOVA above the start of the range shows that the kernel uses the requested IOVA. */
	uint64_t iova = list[0].start + (1 << 20);
	void *memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		fail("mmap");
	struct ioas_map map = { .size = sizeof map,
				.flags = MAP_FIXED_IOVA | MAP_WRITEABLE | MAP_READABLE,
				.ioas_id = alloc.out_ioas_id,
				.user_va = (uintptr_t)memory,
				.length = LENGTH,
				.iova = iova };
	call(iommufd, "IOAS_MAP", IOAS_MAP, &map);
	printf("IOAS_MAP: %" PRIu64 " bytes at %#" PRIx64 "\n", map.length, map.iova);

	struct ioas_unmap unmap = { .size = sizeof unmap,
				    .ioas_id = alloc.out_ioas_id,
				    .iova = iova,
				    .length = LENGTH };
	call(iommufd, "IOAS_UNMAP", IOAS_UNMAP, &unmap);
	if (unmap.length != LENGTH) {
		fprintf(stderr, "iommufd-probe: IOAS_UNMAP: %" PRIu64 " bytes, expected %lu\n", unmap.length,
			LENGTH);
		return 1;
	}
	printf("IOAS_UNMAP: %" PRIu64 " bytes\n", unmap.length);
	return 0;
}
