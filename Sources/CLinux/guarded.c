/* SPDX-License-Identifier: Apache-2.0 */
/* SIGBUS: memory of a disabled device, or lost memory. */
#define _GNU_SOURCE
#include <ucontext.h>

#include "CLinux.h"

extern const char cl_guarded_load_access[] __attribute__((visibility("hidden")));
extern const char cl_guarded_store_access[] __attribute__((visibility("hidden")));
extern const char cl_guarded_fault[] __attribute__((visibility("hidden")));

static int failure_status;

static void on_bus_error(int signal, siginfo_t *info, void *context)
{
	greg_t *rip = &((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	if (*rip == (greg_t)cl_guarded_load_access || *rip == (greg_t)cl_guarded_store_access) {
		*rip = (greg_t)cl_guarded_fault;
		return;
	}
	cl_terminal_restore();
	if (cl_record_foreign_signal(signal, info))
		return;
	char text[] = "sluice: SIGBUS at host address 0x0000000000000000: the address has no memory "
		      "(a memory error, no free huge page, or a truncated file); the VM ends\n";
	char *digit = strstr(text, "0x") + 17;
	for (uint64_t rest = (uint64_t)info->si_addr; rest; rest >>= 4)
		*digit-- = "0123456789abcdef"[rest & 15];
	/* The process ends here whether or not the line can be written. */
	if (write(2, text, sizeof text - 1) < 0)
		_exit(failure_status);
	_exit(failure_status);
}

int cl_install_guard(int status)
{
	failure_status = status;
	struct sigaction action = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO };
	sigemptyset(&action.sa_mask);
	return (int)CL_RESULT(sigaction(SIGBUS, &action, NULL));
}
