/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inject THREAD CALL REQUEST ERRNO WHEN PROGRAM...
 *
 * Runs a program and fails one system call of one of its threads with ERRNO. REQUEST is the ioctl request, or
 * 0 for another CALL. The call fails the WHEN-th time that a matching thread makes it. A thread matches if
 * its name begins with THREAD and it has loaded another seccomp filter. Reads and writes of eventfds are
 * excluded. Every other call continues in the kernel.
 *
 * The kernel notifies this process by a seccomp user notification (seccomp_unotify(2)). It takes precedence
 * over SECCOMP_RET_ALLOW of the program's filters. At the end a line `inject: N calls` on standard error
 * reports the number of matching calls. The exit status is the program's, or 128 plus the signal that ended
 * it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Since Linux 5.19: no signal, such as the kick of a vCPU, ends a notification after it is received. */
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

static const struct {
	const char *name;
	unsigned number;
} calls[] = {
	{ "ioctl", SYS_ioctl },	      { "pread64", SYS_pread64 },     { "pwrite64", SYS_pwrite64 },
	{ "eventfd2", SYS_eventfd2 }, { "poll", SYS_poll },	      { "read", SYS_read },
	{ "write", SYS_write },	      { "epoll_wait", SYS_epoll_wait }, { "epoll_ctl", SYS_epoll_ctl },
	{ "futex", SYS_futex },	      { "munmap", SYS_munmap },	      { "madvise", SYS_madvise },
	{ "close", SYS_close },	      { "tgkill", SYS_tgkill },	      { "sendmsg", SYS_sendmsg },
	{ "recvmsg", SYS_recvmsg },
};

static void fail(const char *what)
{
	fprintf(stderr, "inject: %s: %s\n", what, strerror(errno));
	exit(125);
}

/* Installs a filter that notifies for every matching call, and returns the listener. */
static int listen_to(unsigned number, unsigned request)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, request ? 3 : 1),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, request, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_filter any[] = {
		code[0], code[1], code[4], code[5],
	};
	struct sock_fprog program = request ? (struct sock_fprog){ 6, code } : (struct sock_fprog){ 4, any };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		fail("prctl");
	int listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
				    SECCOMP_FILTER_FLAG_NEW_LISTENER |
					    SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
				    &program);
	if (listener < 0)
		fail("seccomp");
	return listener;
}

/* Takes the listener that the child has installed. The child makes no call that could be the filtered one. */
static int take(pid_t child, const _Atomic int *installed)
{
	int process = (int)syscall(SYS_pidfd_open, child, 0);
	if (process < 0)
		fail("pidfd_open");
	while (*installed < 0) {
		if (waitpid(child, NULL, WNOHANG) != 0)
			exit(125);
		usleep(1000);
	}
	int fd = (int)syscall(SYS_pidfd_getfd, process, *installed, 0);
	if (fd < 0)
		fail("pidfd_getfd");
	close(process);
	return fd;
}

/* Copies the rest of the first line of /proc/TID/FILE that begins with `name`. An empty name matches all. */
static void line(unsigned tid, const char *file, const char *name, char *text, int size)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%u/%s", tid, file);
	FILE *stream = fopen(path, "r");
	text[0] = 0;
	if (!stream)
		return;
	char buffer[256];
	while (fgets(buffer, sizeof buffer, stream))
		if (!strncmp(buffer, name, strlen(name))) {
			snprintf(text, (size_t)size, "%s", buffer + strlen(name));
			break;
		}
	fclose(stream);
}

/* True if the call accesses an eventfd. It fails only if the count is zero (read) or has no room (write). */
static int is_event(const struct seccomp_notif *asked)
{
	char path[64], target[64];
	if (asked->data.nr != SYS_read && asked->data.nr != SYS_write)
		return 0;
	snprintf(path, sizeof path, "/proc/%u/fd/%d", asked->pid, (int)asked->data.args[0]);
	ssize_t length = readlink(path, target, sizeof target - 1);
	if (length < 0)
		return 0;
	target[length] = 0;
	return !strcmp(target, "anon_inode:[eventfd]");
}

/* True if the thread has the name and has loaded a filter after ours. */
static int is_meant(unsigned tid, const char *thread)
{
	char text[64];
	line(tid, "comm", "", text, sizeof text);
	if (strncmp(text, thread, strlen(thread)))
		return 0;
	line(tid, "status", "Seccomp_filters:", text, sizeof text);
	return atoi(text) > 1;
}

int main(int count, char **arguments)
{
	if (count < 7) {
		fprintf(stderr, "inject THREAD CALL REQUEST ERRNO WHEN PROGRAM...\n");
		return 125;
	}
	const char *thread = arguments[1];
	unsigned number = ~0U;
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		if (!strcmp(calls[i].name, arguments[2]))
			number = calls[i].number;
	if (number == ~0U) {
		fprintf(stderr, "inject: %s: unknown call\n", arguments[2]);
		return 125;
	}
	unsigned request = (unsigned)strtoul(arguments[3], NULL, 0);
	int error = atoi(arguments[4]);
	unsigned long when = strtoul(arguments[5], NULL, 0), seen = 0;
	/* The child's listener, then -2 after this process has taken it. */
	_Atomic int *installed = mmap(NULL, sizeof *installed, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (installed == MAP_FAILED)
		fail("mmap");
	*installed = -1;
	pid_t child = fork();
	if (child < 0)
		fail("fork");
	if (child == 0) {
		int own = listen_to(number, request);
		/* The listener closes at exec. A close() here would already wait for the parent. */
		fcntl(own, F_SETFD, FD_CLOEXEC);
		*installed = own;
		while (*installed >= 0) {}
		execvp(arguments[6], arguments + 6);
		fail(arguments[6]);
	}
	int listener = take(child, installed);
	*installed = -2;
	struct seccomp_notif_sizes sizes;
	if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0)
		fail("seccomp");
	struct seccomp_notif *asked = malloc(sizes.seccomp_notif);
	struct seccomp_notif_resp *answer = malloc(sizes.seccomp_notif_resp);
	if (!asked || !answer)
		fail("malloc");
	for (;;) {
		struct pollfd one = { .fd = listener, .events = POLLIN };
		if (poll(&one, 1, -1) < 0 && errno != EINTR)
			fail("poll");
		if (!(one.revents & POLLIN)) {
			if (one.revents & (POLLHUP | POLLERR))
				break;
			continue;
		}
		memset(asked, 0, sizes.seccomp_notif);
		/* ENOENT: the thread has ended, or a signal came first. */
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, asked) < 0)
			continue;
		memset(answer, 0, sizes.seccomp_notif_resp);
		answer->id = asked->id;
		answer->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		if (is_meant(asked->pid, thread) && !is_event(asked) && ++seen == when) {
			answer->flags = 0;
			answer->error = -error;
		}
		/* ENOENT as above. */
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, answer);
	}
	int status;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
	fprintf(stderr, "inject: %lu calls\n", seen);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
