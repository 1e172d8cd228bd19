/* SPDX-License-Identifier: BSD-2-Clause
 *
 * The real clock, SHIFT seconds on: preloaded into every program by tests/anywhere.py.
 *
 * Files older than BASE, the start of the run, keep their times: on a day SHIFT seconds on
 * they are that much older. What is written from then on was written at the shifted time.
 * Times between, which a test may give a file, are held FAR away, so that each can be read
 * back. Elapsed time (CLOCK_MONOTONIC) runs as ever.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#define FAR 6000000000L
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define IS_REAL(clock) ((clock) == CLOCK_REALTIME || (clock) == CLOCK_REALTIME_COARSE)

static long shown(long t) { return t >= FAR ? t - FAR : t >= BASE ? t + SHIFT : t; }
static long kept(long t) { return t >= BASE + SHIFT ? t - SHIFT : t >= BASE ? t + FAR : t; }

int clock_gettime(clockid_t clock, struct timespec *at)
{
	static __typeof__(&clock_gettime) next;
	int failed;

	if (!next)
		next = NEXT(clock_gettime);
	failed = next(clock, at);
	if (!failed && IS_REAL(clock))
		at->tv_sec += SHIFT;
	return failed;
}

time_t time(time_t *to)
{
	struct timespec at;

	clock_gettime(CLOCK_REALTIME, &at);
	if (to)
		*to = at.tv_sec;
	return at.tv_sec;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	at->tv_sec = now.tv_sec;
	at->tv_usec = now.tv_nsec / 1000;
	return 0;
}

int timespec_get(struct timespec *at, int base)
{
	return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, at) ? base : 0;
}

/* Waiting until an instant of the clock. */

static const struct timespec *until(const struct timespec *at, struct timespec *real)
{
	/* A condition does not tell by which clock it waits: no machine runs 30 years. */
	if (!at || at->tv_sec < 1000000000L)
		return at;
	*real = *at;
	real->tv_sec -= SHIFT;
	return real;
}

int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict at)
{
	struct timespec real;

	return NEXT(sem_timedwait)(sem, until(at, &real));
}

int sem_clockwait(sem_t *restrict sem, clockid_t clock, const struct timespec *restrict at)
{
	struct timespec real;

	return NEXT(sem_clockwait)(sem, clock, until(at, &real));
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
    const struct timespec *restrict at)
{
	struct timespec real;

	return NEXT(pthread_cond_timedwait)(cond, mutex, until(at, &real));
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *at, struct timespec *left)
{
	struct timespec real;

	return NEXT(clock_nanosleep)(clock, flags,
	    IS_REAL(clock) && flags & TIMER_ABSTIME ? until(at, &real) : at, left);
}

/* Times of files, read. */

static int dated(int failed, struct stat *of)
{
	if (!failed) {
		of->st_atim.tv_sec = shown(of->st_atim.tv_sec);
		of->st_mtim.tv_sec = shown(of->st_mtim.tv_sec);
		of->st_ctim.tv_sec = shown(of->st_ctim.tv_sec);
	}
	return failed;
}

int fstatat(int folder, const char *restrict path, struct stat *restrict of, int flags)
{
	return dated(syscall(SYS_newfstatat, folder, path, of, flags), of);
}

int fstat(int file, struct stat *of) { return dated(syscall(SYS_fstat, file, of), of); }
int stat(const char *restrict path, struct stat *restrict of)
{
	return fstatat(AT_FDCWD, path, of, 0);
}
int lstat(const char *restrict path, struct stat *restrict of)
{
	return fstatat(AT_FDCWD, path, of, AT_SYMLINK_NOFOLLOW);
}

/* The same by other names: of large files, and of programs built with an older libc. */
#define ALIAS(name, of) __attribute__((alias(#of)))
int fstatat64() ALIAS(, fstatat);
int fstat64() ALIAS(, fstat);
int stat64() ALIAS(, stat);
int lstat64() ALIAS(, lstat);
int __fxstatat(int v, int folder, const char *path, struct stat *of, int flags)
{
	return (void)v, fstatat(folder, path, of, flags);
}
int __fxstat(int v, int file, struct stat *of) { return (void)v, fstat(file, of); }
int __xstat(int v, const char *path, struct stat *of) { return (void)v, stat(path, of); }
int __lxstat(int v, const char *path, struct stat *of) { return (void)v, lstat(path, of); }
int __fxstatat64() ALIAS(, __fxstatat);
int __fxstat64() ALIAS(, __fxstat);
int __xstat64() ALIAS(, __xstat);
int __lxstat64() ALIAS(, __lxstat);

int statx(int folder, const char *restrict path, int flags, unsigned mask,
    struct statx *restrict of)
{
	int failed = syscall(SYS_statx, folder, path, flags, mask, of);

	if (!failed) {
		of->stx_atime.tv_sec = shown(of->stx_atime.tv_sec);
		of->stx_btime.tv_sec = shown(of->stx_btime.tv_sec);
		of->stx_ctime.tv_sec = shown(of->stx_ctime.tv_sec);
		of->stx_mtime.tv_sec = shown(of->stx_mtime.tv_sec);
	}
	return failed;
}

/* Times of files, set. */

static int set(int folder, const char *path, const struct timespec times[2], int flags)
{
	struct timespec real[2];
	int index;

	for (index = 0; times && index < 2; index++) {
		real[index] = times[index];
		real[index].tv_sec = kept(times[index].tv_sec);
	}
	return syscall(SYS_utimensat, folder, path, times ? real : NULL, flags);
}

static int in_us(int folder, const char *path, const struct timeval times[2], int flags)
{
	struct timespec real[2];
	int index;

	for (index = 0; times && index < 2; index++) {
		real[index].tv_sec = times[index].tv_sec;
		real[index].tv_nsec = times[index].tv_usec * 1000;
	}
	return set(folder, path, times ? real : NULL, flags);
}

int utimensat(int folder, const char *path, const struct timespec times[2], int flags)
{
	return set(folder, path, times, flags);
}
int futimens(int file, const struct timespec times[2]) { return set(file, NULL, times, 0); }
int futimes(int file, const struct timeval times[2]) { return in_us(file, NULL, times, 0); }
int utimes(const char *path, const struct timeval times[2])
{
	return in_us(AT_FDCWD, path, times, 0);
}
int lutimes(const char *path, const struct timeval times[2])
{
	return in_us(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
}
int futimesat(int folder, const char *path, const struct timeval times[2])
{
	return in_us(folder, path, times, 0);
}
int utime(const char *path, const struct utimbuf *times)
{
	struct timeval both[2] = {{0, 0}, {0, 0}};

	if (times) {
		both[0].tv_sec = times->actime;
		both[1].tv_sec = times->modtime;
	}
	return in_us(AT_FDCWD, path, times ? both : NULL, 0);
}
