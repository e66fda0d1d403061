/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into a program, this library numbers its calls that change files (open for writing,
 * write, ftruncate, fsync, rename, unlink, mkdir; standard streams aside) from 1 on and, as the
 * environment says, lets something happen at the n-th:
 *
 *     FAULT=kill:n     the process is killed before the call
 *     FAULT=enospc:n   this call and all later ones that would take space fail: the disk is full
 *     FAULT=eio:n      this call fails with EIO
 *     FAULT=eintr:n    this call and every third one after it fail with EINTR, once each
 *     FAULT=short:n    from this call on, writes take no more than 7 bytes
 *     FAULT_COUNT=FILE the number of calls is written to FILE when the program ends
 *
 * What the C library's streams write inside themselves is not seen. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#pragma GCC visibility push(default)

enum { SHORT_BYTES = 7 };

static long calls; /* one thread writes files */

static const char *kind(void)
{
    const char *fault = getenv("FAULT");
    return fault ? fault : "";
}

static long number(void)
{
    const char *colon = strchr(kind(), ':');
    return colon ? strtol(colon + 1, NULL, 10) : 0;
}

static int is_kind(const char *name)
{
    return strncmp(kind(), name, strlen(name)) == 0;
}

/* The errno that the call fails with; 0: it goes through. */
static int at_call(int takes_space, int may_be_interrupted)
{
    long n = ++calls, at = number();
    if (!at || n < at)
        return 0;
    if (is_kind("kill") && n == at)
        raise(SIGKILL);
    if (is_kind("enospc") && takes_space)
        return ENOSPC;
    if (is_kind("eio") && n == at)
        return EIO;
    if (is_kind("eintr") && may_be_interrupted && (n - at) % 3 == 0)
        return EINTR;
    return 0;
}

static int is_counted(int fd)
{
    struct stat s;
    return fd > STDERR_FILENO && fstat(fd, &s) == 0 && S_ISREG(s.st_mode);
}

static size_t shortened(size_t n)
{
    return is_kind("short") && calls >= number() && n > SHORT_BYTES ? SHORT_BYTES : n;
}

/* The function of that name that would have been called without this library. */
#define REAL(type, name, ...)                                                                      \
    type (*real)(__VA_ARGS__);                                                                     \
    *(void **)&real = dlsym(RTLD_NEXT, name)

#define FAIL(e)                                                                                    \
    do {                                                                                           \
        errno = (e);                                                                               \
        return -1;                                                                                 \
    } while (0)

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        REAL(int, #name, const char *, int, ...);                                                  \
        va_list ap;                                                                                \
        va_start(ap, flags);                                                                       \
        int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, int) : 0;                            \
        va_end(ap);                                                                                \
        int e = flags & (O_WRONLY | O_RDWR) ? at_call(flags & O_CREAT, 1) : 0;                     \
        if (e)                                                                                     \
            FAIL(e);                                                                               \
        return real(path, flags, mode);                                                            \
    }
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void *data, size_t n)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    int counted = is_counted(fd), e = counted ? at_call(1, 1) : 0;
    if (e)
        FAIL(e);
    return real(fd, data, counted ? shortened(n) : n);
}

#define PWRITE(name, offset_type)                                                                  \
    ssize_t name(int fd, const void *data, size_t n, offset_type offset)                           \
    {                                                                                              \
        REAL(ssize_t, #name, int, const void *, size_t, offset_type);                              \
        int e = at_call(1, 1);                                                                     \
        if (e)                                                                                     \
            FAIL(e);                                                                               \
        return real(fd, data, shortened(n), offset);                                               \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define WITH_FD(name)                                                                              \
    int name(int fd)                                                                               \
    {                                                                                              \
        REAL(int, #name, int);                                                                     \
        int e = at_call(1, 1);                                                                     \
        if (e)                                                                                     \
            FAIL(e);                                                                               \
        return real(fd);                                                                           \
    }
WITH_FD(fsync)
WITH_FD(fdatasync)

#define TRUNCATE(name, offset_type)                                                                \
    int name(int fd, offset_type size)                                                             \
    {                                                                                              \
        REAL(int, #name, int, offset_type);                                                        \
        int e = at_call(0, 0);                                                                     \
        if (e)                                                                                     \
            FAIL(e);                                                                               \
        return real(fd, size);                                                                     \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

int rename(const char *from, const char *to)
{
    REAL(int, "rename", const char *, const char *);
    int e = at_call(1, 0);
    if (e)
        FAIL(e);
    return real(from, to);
}

int unlink(const char *path)
{
    REAL(int, "unlink", const char *);
    int e = at_call(0, 0);
    if (e)
        FAIL(e);
    return real(path);
}

int mkdir(const char *path, mode_t mode)
{
    REAL(int, "mkdir", const char *, mode_t);
    int e = at_call(1, 0);
    if (e)
        FAIL(e);
    return real(path, mode);
}

__attribute__((destructor)) static void tell(void)
{
    const char *path = getenv("FAULT_COUNT");
    FILE *f = path ? fopen(path, "w") : NULL;
    if (f) {
        fprintf(f, "%ld\n", calls);
        fclose(f);
    }
}
