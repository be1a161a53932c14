/* SPDX-License-Identifier: Apache-2.0 */
/* Process state that is inherited from a parent or kept by the kernel: signals, terminal, descriptors. */
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "calls.h"

/*
 * The signal that interrupts KVM_RUN. It is a standard signal, which is delivered even if the user's signal
 * queue is full (RLIMIT_SIGPENDING). A real-time signal would fail with EAGAIN. The default action ignores
 * the signal, so that a signal from another process is harmless at any time.
 */
enum { CL_KICK = SIGURG };

/*
 * Replaces the calling thread's signal mask, whatever the parent blocked, and returns a descriptor that reads
 * the signals. Signals that the parent ignored stay ignored.
 */
int cl_take_signals(void);

/* Unblocks every signal in the calling thread, including signals that the parent blocked. */
int cl_unblock_signals(void);

/* Blocks every signal except fault signals in the calling thread. Other threads receive the signals. */
int cl_block_signals(void);

/*
 * Blocks the two signals that glibc reserves (pthread_cancel, setuid). Sluice does not use them. glibc
 * unblocks them when it creates threads.
 */
int cl_block_library_signals(void);

/* Unblocks CL_KICK in the calling thread. */
int cl_accept_kick(void);

/*
 * Installs handlers for SIGSEGV and the other fault signals. They restore the terminal. A fault of this
 * process then has its default action. A signal from another process signals `event` (an eventfd).
 */
int cl_install_fault_handlers(int event);

/* Returns the last signal from another process that a fault handler received, or 0. */
int cl_foreign_signal(void);

/*
 * Records a signal from another process. A signal handler calls this. Returns false if the kernel or this
 * process sent the signal.
 */
bool cl_record_foreign_signal(int signal, const siginfo_t *info);

/*
 * Makes the terminal on standard input raw and returns 1. Returns 0 if standard input is not a terminal, or
 * if this process is in the background, where the settings belong to another process. The settings before the
 * first call are kept.
 */
int cl_terminal_enter(void);

/* Restores the terminal's settings from before cl_terminal_enter; async-signal-safe. */
void cl_terminal_restore(void);

/* Restores the settings unless this process is in the background. */
void cl_terminal_leave(void);

/* Closes the descriptors from 3 on, except `count` of them in ascending order (close_range, Linux 5.9). */
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

/* Raises the soft limit on descriptors to the hard limit. */
static inline int cl_raise_descriptor_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	limit.rlim_cur = limit.rlim_max;
	return (int)CL_RESULT(setrlimit(RLIMIT_NOFILE, &limit));
}

/* Returns the soft limit on descriptors, or -errno. */
static inline int64_t cl_descriptor_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	return limit.rlim_cur > INT64_MAX ? INT64_MAX : (int64_t)limit.rlim_cur;
}

/* Returns the soft limit on locked memory in bytes, INT64_MAX if there is none, or -errno. */
static inline int64_t cl_memlock_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		return -errno;
	return limit.rlim_cur > INT64_MAX ? INT64_MAX : (int64_t)limit.rlim_cur;
}

/*
 * Removes the limit on locked memory. A thread without CAP_SYS_RESOURCE raises the soft limit to the hard
 * limit.
 */
static inline int cl_raise_memlock_limit(void)
{
	struct rlimit limit = { .rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY };
	if (setrlimit(RLIMIT_MEMLOCK, &limit) == 0)
		return 0;
	if (errno != EPERM || getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		return -errno;
	limit.rlim_cur = limit.rlim_max;
	return (int)CL_RESULT(setrlimit(RLIMIT_MEMLOCK, &limit));
}

/* A signal handler that does nothing. It makes the signal interrupt KVM_RUN. */
static inline void cl_ignore(int signal) { (void)signal; }

static inline int cl_install_kick(void)
{
	struct sigaction action = { .sa_handler = cl_ignore };
	sigemptyset(&action.sa_mask);
	return (int)CL_RESULT(sigaction(CL_KICK, &action, NULL));
}

/* Interrupts a call of a thread of this process. */
static inline void cl_kick(int process, int thread) { syscall(SYS_tgkill, process, thread, CL_KICK); }

static inline int cl_set_variable(const char *name, const char *value)
{
	return (int)CL_RESULT(setenv(name, value, 1));
}

/* Sets the supplementary groups of the process. */
static inline int cl_set_groups(const uint32_t *groups, int count)
{
	_Static_assert(sizeof(gid_t) == sizeof *groups, "gid_t");
	return (int)CL_RESULT(setgroups((size_t)count, groups));
}

/*
 * Set the real and the effective ID, and keep the saved ID, which is root's at the start. The system calls
 * affect only the calling thread.
 */
static inline int cl_set_group(uint32_t group)
{
	return (int)CL_RESULT(syscall(SYS_setresgid, group, group, -1));
}

static inline int cl_set_user(uint32_t user)
{
	return (int)CL_RESULT(syscall(SYS_setresuid, user, user, -1));
}

/* Executes a program, which it finds on the PATH. Returns -errno. */
static inline int cl_execute(char *const *arguments)
{
	execvp(arguments[0], arguments);
	return -errno;
}

/* Sets the soft and the hard limit on locked memory, in bytes. */
static inline int cl_set_memlock_limit(uint64_t bytes)
{
	struct rlimit limit = { .rlim_cur = bytes, .rlim_max = bytes };
	return (int)CL_RESULT(setrlimit(RLIMIT_MEMLOCK, &limit));
}

/* The effective user of the calling thread. */
static inline unsigned cl_user_id(void) { return geteuid(); }

/* The effective group of the calling thread. */
static inline unsigned cl_group_id(void) { return getegid(); }

static inline void cl_sleep_microseconds(unsigned time) { usleep(time); }

static inline int cl_process_id(void) { return getpid(); }

static inline int cl_thread_id(void) { return (int)syscall(SYS_gettid); }

/* Creates a child process of a process with one thread. Returns 0 in the child. */
static inline pid_t cl_fork(void) { return (pid_t)CL_RESULT(fork()); }

/*
 * Begins the life of a child: keeps the descriptor `fd` alone, as number 0, and blocks every signal that can be
 * blocked, because the terminal sends signals to the parent's process group.
 */
static inline int cl_begin_child(int fd, const char *name)
{
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_NAME, name);
	if (fd != 0 && dup2(fd, 0) < 0)
		return -errno;
	return (int)CL_RESULT(syscall(SYS_close_range, 1, ~0U, 0));
}

/* Ends a child without the exit handlers of its parent. */
static inline void cl_end_child(int status) { _exit(status); }
