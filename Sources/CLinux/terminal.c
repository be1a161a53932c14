/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal on standard input. This file keeps its settings, because signal handlers restore them. */
#define _GNU_SOURCE
#include <errno.h>
#include "CLinux.h"

static struct termios saved, raw;
static _Atomic bool is_saved, is_raw;

/*
 * glibc's termios is the kernel's structure, followed by the speeds. TCGETS and TCSETS go to the kernel
 * directly: tcsetattr makes further calls, which no seccomp filter would otherwise need. The kernel reads and
 * writes the first 36 bytes.
 */
_Static_assert(offsetof(struct termios, c_cc) == 17, "struct ktermios");

/*
 * Job control applies only to the controlling terminal. Any other terminal always belongs to this process
 * (tiocgpgrp: ENOTTY).
 */
static bool is_in_foreground(void)
{
	pid_t group;
	struct termios settings;
	if (ioctl(STDIN_FILENO, TIOCGPGRP, &group) == 0)
		return group == getpgrp();
	return errno == ENOTTY && ioctl(STDIN_FILENO, TCGETS, &settings) == 0;
}

int cl_terminal_enter(void)
{
	if (!is_in_foreground())
		return 0;
	if (!is_saved) {
		if (ioctl(STDIN_FILENO, TCGETS, &saved) < 0)
			return 0;
		raw = saved;
		cfmakeraw(&raw);
		is_saved = true;
	}
	is_raw = true;
	return ioctl(STDIN_FILENO, TCSETS, &raw) == 0;
}

void cl_terminal_restore(void)
{
	int error = errno;
	/* A terminal that no longer exists needs no restoring. */
	if (is_raw)
		(void)ioctl(STDIN_FILENO, TCSETS, &saved);
	errno = error;
}

void cl_terminal_leave(void)
{
	if (is_in_foreground())
		cl_terminal_restore();
}
