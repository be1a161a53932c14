/* SPDX-License-Identifier: Apache-2.0 */
/* Mappings, and memory that a guest changes concurrently. */
#pragma once

#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <string.h>
#include <sys/mman.h>

#include "calls.h"

static inline int cl_memfd(const char *name, unsigned flags)
{
	return (int)CL_RESULT(syscall(SYS_memfd_create, name, MFD_CLOEXEC | flags));
}

static inline int cl_truncate(int fd, int64_t size) { return (int)CL_RESULT(ftruncate(fd, size)); }

/* mmap: returns the address, or -errno. */
static inline int64_t cl_mmap(uint64_t address, uint64_t size, int protection, int flags, int fd,
			      int64_t offset)
{
	void *at = mmap((void *)address, size, protection, flags, fd, offset);
	return at == MAP_FAILED ? -(int64_t)errno : (int64_t)at;
}

static inline int cl_munmap(uint64_t address, uint64_t size)
{
	return (int)CL_RESULT(munmap((void *)address, size));
}

/* Since Linux 5.14. The headers of Debian 11 do not define it. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static inline int cl_madvise(uint64_t address, uint64_t size, int advice)
{
	return (int)CL_RESULT(madvise((void *)address, size, advice));
}

/* The range of the program's code. The linker defines its bounds. */
struct cl_code {
	uint64_t start;
	uint64_t end;
};

static inline struct cl_code cl_program_code(void)
{
	extern const char __executable_start[], etext[];
	return (struct cl_code){ (uintptr_t)__executable_start, (uintptr_t)etext };
}

/* Naturally aligned loads and stores of memory that a guest changes concurrently. */
static inline uint64_t cl_load(const void *from, unsigned width)
{
	uint64_t value = 0;
	memcpy(&value, from, width);
	return value;
}

static inline void cl_store(void *to, unsigned width, uint64_t value)
{
	memcpy(to, &value, width);
}

/* Copies between a buffer of this process and memory that a guest changes concurrently. */
static inline void cl_copy_in(void *to, const void *from, size_t count)
{
	if (count)
		memcpy(to, from, count);
}

static inline void cl_copy_out(void *to, const void *from, size_t count)
{
	if (count)
		memcpy(to, from, count);
}

/*
 * mbind(2), MPOL_BIND: pages of a range that are first touched from now on come only from one NUMA node. The
 * kernel expects the number of bits plus one.
 */
static inline int cl_bind_memory(uint64_t address, uint64_t size, unsigned node)
{
	enum { MOST = 1024 }; /* the largest MAX_NUMNODES (CONFIG_NODES_SHIFT = 10) */
	unsigned long mask[MOST / 64] = { 0 };
	/* The kernel rejects an empty mask with EINVAL. */
	if (node < MOST)
		mask[node / 64] = 1UL << node % 64;
	return (int)CL_RESULT(syscall(SYS_mbind, address, size, MPOL_BIND, mask, MOST + 1UL, 0U));
}
