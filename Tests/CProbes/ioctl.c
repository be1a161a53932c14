/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "CProbes.h"

static int (*_Atomic handler)(int fd, unsigned long request, void *argument);

void probe_take_ioctls(int (*new_handler)(int fd, unsigned long request, void *argument))
{
	handler = new_handler;
}

/* Replaces the C library's ioctl() in the program that holds the tests. */
int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	int (*taken)(int, unsigned long, void *) = handler;
	int result = taken ? taken(fd, request, argument) : INT_MIN;
	if (result == INT_MIN)
		return (int)syscall(SYS_ioctl, fd, request, argument);
	if (result >= 0)
		return result;
	errno = -result;
	return -1;
}
