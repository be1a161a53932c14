/* SPDX-License-Identifier: Apache-2.0 */
/* Process state that a parent hands down or the kernel keeps: signals, the terminal, descriptors. */
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "calls.h"

/*
 * The signal that interrupts KVM_RUN. It is a standard signal: one is delivered even if the queue of the user's
 * signals is full (RLIMIT_SIGPENDING), while a real-time signal fails with EAGAIN. Its default action is to be
 * ignored, so that one from outside at any time does no harm.
 */
enum { CL_KICK = SIGURG };

/*
 * Sets the calling thread's mask, whatever the parent had blocked, and returns a descriptor that reads signals.
 * Those that the parent ignored stay ignored.
 */
int cl_take_signals(void);

/* Unblocks every signal in the calling thread, whatever the parent had blocked. */
int cl_unblock_signals(void);

/* Blocks the same signals and those that cl_take_signals leaves out, for a thread that handles none. */
int cl_block_signals(void);

/*
 * Blocks the two signals that glibc keeps for itself (pthread_cancel, setuid), which Sluice does not use: glibc
 * unblocks them when it creates threads.
 */
int cl_block_library_signals(void);

/* Lets the calling thread be interrupted by CL_KICK. */
int cl_accept_kick(void);

/*
 * Installs handlers for SIGSEGV and the other signals of a fault. They restore the terminal. A fault of this
 * process then has its default action; for a signal from outside, `event` (an eventfd) is signalled.
 */
int cl_install_fault_handlers(int event);

/* The last signal from outside that a fault handler has met, or 0. */
int cl_outside_signal(void);

/* Part of a handler: notes a signal that another process has sent. False if the kernel or this process did. */
bool cl_note_outside(int signal, const siginfo_t *info);

/*
 * Makes the terminal on standard input raw: 1. 0 if standard input is no terminal or this process is in its
 * background, whose settings belong to another one. The settings before the first call are kept.
 */
int cl_terminal_enter(void);

/* Restores the terminal's settings from before cl_terminal_enter; async-signal-safe. */
void cl_terminal_restore(void);

/* The same, if this process is not in the background. */
void cl_terminal_leave(void);

/* Closes all descriptors from 3 on, except `count` of them in ascending order (close_range, Linux 5.9). */
static inline int cl_close_others(const int *kept, int count)
{
	unsigned first = 3;
	for (int i = 0; i <= count; i++) {
		unsigned last = i < count ? (unsigned)kept[i] - 1 : ~0U;
		if (i < count && kept[i] < (int)first)
			continue;
		if (first <= last && syscall(436 /* close_range */, first, last, 0) < 0)
			return -errno;
		first = last + 2;
	}
	return 0;
}

/* Opens /dev/null for each standard descriptor that is closed. */
static inline int cl_fill_standard_descriptors(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_WRONLY : O_RDONLY) < 0)
			return -errno;
	return 0;
}

/* Raises the soft limit on descriptors to the hard one. */
static inline int cl_raise_descriptor_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	limit.rlim_cur = limit.rlim_max;
	return (int)CL_RESULT(setrlimit(RLIMIT_NOFILE, &limit));
}

/* The soft limit on descriptors, or -errno. */
static inline int64_t cl_descriptor_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	return limit.rlim_cur > INT64_MAX ? INT64_MAX : (int64_t)limit.rlim_cur;
}

/* A signal handler that does nothing: its use is to interrupt KVM_RUN. */
static inline void cl_ignore(int signal) { (void)signal; }

static inline int cl_install_kick(void)
{
	struct sigaction action = { .sa_handler = cl_ignore };
	sigemptyset(&action.sa_mask);
	return (int)CL_RESULT(sigaction(CL_KICK, &action, NULL));
}

/* Interrupts a call of a thread of this process. */
static inline void cl_kick(int process, int thread) { syscall(SYS_tgkill, process, thread, CL_KICK); }

static inline int cl_process_id(void) { return getpid(); }

static inline int cl_thread_id(void) { return (int)syscall(SYS_gettid); }
