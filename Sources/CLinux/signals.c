/* SPDX-License-Identifier: Apache-2.0 */
/* The signals that end the VM, and their handlers. */
#define _GNU_SOURCE
#include "CLinux.h"

/* The kernel's struct sigaction. glibc's sigaction refuses signals 32 and 33, which glibc uses itself. */
struct kernel_sigaction {
	void *handler;
	unsigned long flags;
	void *restorer;
	uint64_t mask;
};

#define BIT(signal) (UINT64_C(1) << ((signal)-1))

/*
 * The kernel delivers fault signals even if they are blocked, and then skips their handlers. The other
 * signals here keep their default actions: STOP and KILL cannot be changed, TSTP stops, CHLD and WINCH are
 * ignored.
 */
static const uint64_t faults =
	BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGFPE) | BIT(SIGILL) | BIT(SIGTRAP) | BIT(SIGSYS) | BIT(SIGABRT);
static const uint64_t untouched =
	BIT(SIGKILL) | BIT(SIGSTOP) | BIT(SIGTSTP) | BIT(SIGCHLD) | BIT(SIGWINCH);

static int set_mask(int how, uint64_t mask)
{
	return (int)CL_RESULT(syscall(SYS_rt_sigprocmask, how, &mask, NULL, sizeof mask));
}

int cl_take_signals(void)
{
	uint64_t taken = ~(faults | untouched | BIT(CL_KICK));
	for (int signal = 1; signal <= 64; signal++) {
		struct kernel_sigaction inherited = { 0 };
		if (!(taken & BIT(signal)) || signal == SIGCONT)
			continue;
		if (syscall(SYS_rt_sigaction, signal, NULL, &inherited, sizeof inherited.mask) < 0)
			return -errno;
		if (inherited.handler == (void *)SIG_IGN)
			taken &= ~BIT(signal);
	}
	int result = set_mask(SIG_SETMASK, taken | BIT(CL_KICK));
	if (result < 0)
		return result;
	return (int)CL_RESULT(
		syscall(SYS_signalfd4, -1, &taken, sizeof taken, SFD_CLOEXEC | SFD_NONBLOCK));
}

int cl_block_signals(void) { return set_mask(SIG_SETMASK, ~faults); }

int cl_unblock_signals(void) { return set_mask(SIG_SETMASK, 0); }

int cl_block_library_signals(void) { return set_mask(SIG_BLOCK, BIT(32) | BIT(33)); }

int cl_accept_kick(void) { return set_mask(SIG_UNBLOCK, BIT(CL_KICK)); }

static pid_t process;
static int foreign_event = -1;
static _Atomic int foreign_signal;

bool cl_record_foreign_signal(int signal, const siginfo_t *info)
{
	if (info->si_code > 0 || info->si_pid == process || foreign_event < 0)
		return false;
	foreign_signal = signal;
	/* If the counter is full, the eventfd is already signalled. */
	(void)cl_eventfd_add(foreign_event);
	return true;
}

int cl_foreign_signal(void) { return foreign_signal; }

/*
 * SA_RESETHAND has restored the default action. The instruction of a fault executes again and triggers it. A
 * signal that this process sent to itself (abort) is sent again, and arrives when this function returns.
 */
static void on_fault(int signal, siginfo_t *info, void *context)
{
	(void)context;
	cl_terminal_restore();
	if (!cl_record_foreign_signal(signal, info) && info->si_code <= 0)
		syscall(SYS_tgkill, process, (int)syscall(SYS_gettid), signal);
}

int cl_install_fault_handlers(int event)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_RESETHAND };
	sigemptyset(&action.sa_mask);
	foreign_event = event;
	process = getpid();
	for (int signal = 1; signal <= 31; signal++)
		if ((faults & BIT(signal)) && signal != SIGBUS && sigaction(signal, &action, NULL) < 0)
			return -errno;
	return 0;
}
