/*
 * Ends lustre-agent at one of its steps, as kill -9 does. Preloaded into it by tests.
 *
 * A step is a write to a file or a disk, a sync (before it and behind it), a program that is started (before and behind) or
 * an unmount (the same). They are counted over all threads from when the file in KILL_ARMED exists, listed in the file in
 * KILL_STEPS, and at the one in KILL_AT the process is gone. With KILL_WHAT only steps of that name count.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long steps;

static void step(const char *when, const char *what)
{
	const char *armed = getenv("KILL_ARMED"), *at = getenv("KILL_AT"), *list = getenv("KILL_STEPS");
	const char *only = getenv("KILL_WHAT");
	int saved = errno;

	if (only && strcmp(only, what))
		return;
	if (armed && at && list && !strcmp(program_invocation_short_name, "lustre-agent") && !access(armed, F_OK)) {
		long number = ++steps;
		char line[256];
		int length = snprintf(line, sizeof line, "%ld %s %s\n", number, when, what);
		int file = open(list, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

		if (file < 0 || write(file, line, length) != length)
			abort();
		close(file);
		if (number == atol(at)) {
			kill(getpid(), SIGKILL);
			for (;;)
				pause();
		}
	}
	errno = saved;
}

#define AROUND(type, name, parameters, arguments, what)                                                                \
	type name parameters                                                                                           \
	{                                                                                                              \
		type (*real) parameters = (type(*) parameters)dlsym(RTLD_NEXT, #name);                                 \
		type result;                                                                                           \
		step("before", what);                                                                                  \
		result = real arguments;                                                                               \
		step("behind", what);                                                                                  \
		return result;                                                                                         \
	}

AROUND(int, fdatasync, (int fd), (fd), "fdatasync")
AROUND(int, fsync, (int fd), (fd), "fsync")
AROUND(int, umount2, (const char *place, int flags), (place, flags), "umount2")
AROUND(int, posix_spawnp,
       (pid_t * pid, const char *program, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
	char *const words[], char *const environment[]),
       (pid, program, actions, attributes, words, environment), program)

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset)
{
	ssize_t (*real)(int, const void *, size_t, off64_t) =
		(ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");

	step("before", "pwrite64");
	return real(fd, bytes, length, offset);
}
