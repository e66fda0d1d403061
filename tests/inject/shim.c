/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into a program (LD_PRELOAD), makes the n-th call of a kind fail once main has begun,
 * and tells afterwards how many there were. Calls of all libraries count, but for those of two that
 * do not come through it themselves: the OpenMP runtime ends the process where it gets no memory,
 * and fontconfig (with expat, which serves it) follows null pointers.
 *
 * INJECT_KIND: alloc (malloc and its kin), map (mmap), open (open, fopen, mkstemp, opendir), read
 * (read, pread), write (write, pwrite, and what stdio flushes), commit (fsync, rename, mkdir, and
 * closing a stream).
 *
 * INJECT_AT: which one, from 1; 0: none, count only.
 *
 * INJECT_MODE: fail (ENOMEM, EIO, ENOSPC, ...); short (half of the bytes) or eintr, each of which
 * hits every second call from that one on.
 *
 * INJECT_REPORT: the file that receives "CALLS LIVE ENDED". LIVE: blocks that the program itself,
 * not a library, allocated and has not freed when main returns. ENDED: 1 where it did not return;
 * where the process ended otherwise, 2: the failed call was Cairo's own, 3: Jansson's.
 *
 * INJECT_TRACE: if set, where the call comes from goes to standard error. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))

enum Kind { NONE, ALLOC, MAP, OPEN, READ, WRITE, COMMIT };
enum Mode { FAIL, SHORT, EINTR_ };

static enum Kind kind;
static enum Mode mode;
static unsigned long at;
static _Atomic unsigned long calls;
static _Atomic bool armed;
static atomic_bool returned;

typedef struct Range {
    uintptr_t from, to;
} Range;
/* Code: the program's, of three libraries that do not always look, of what is left in peace. */
static Range program, cairo, pixman, jansson, spared[8];
static int spared_count;

static bool lies_in(const Range *r, const void *p)
{
    return (uintptr_t)p >= r->from && (uintptr_t)p < r->to;
}

/* Does the call come out of a library that is spared, by whatever way? */
static bool is_spared(void)
{
    void *frame[48];
    int n = backtrace(frame, 48);
    for (int f = 0; f < n; f++)
        for (int i = 0; i < spared_count; i++)
            if (lies_in(&spared[i], frame[f]))
                return true;
    return false;
}

/* Is it this call's turn to go wrong? */
static void report(int ended);

static bool hit(enum Kind k)
{
    if (k != kind || !atomic_load_explicit(&armed, memory_order_relaxed) || is_spared())
        return false;
    unsigned long n = atomic_fetch_add(&calls, 1) + 1;
    if (!at)
        return false;
    if (n == at && (getenv("INJECT_TRACE") || kind == ALLOC)) {
        void *frame[48];
        int depth = backtrace(frame, 48);
        for (int i = 0; i < depth && i < 6; i++) {
            if (lies_in(&cairo, frame[i]) || lies_in(&pixman, frame[i]))
                report(2);
            else if (lies_in(&jansson, frame[i]))
                report(3);
        }
        if (getenv("INJECT_TRACE"))
            backtrace_symbols_fd(frame, depth, STDERR_FILENO);
    }
    return mode == FAIL ? n == at : n >= at && (n - at) % 2 == 0;
}

/* ---- what the program itself holds ------------------------------------------------------------
 */

enum { BLOCKS = 1 << 20 };
static uintptr_t block[BLOCKS]; /* open addressing; 1: was freed */
static atomic_flag busy = ATOMIC_FLAG_INIT;
static long live;

static size_t place(uintptr_t p)
{
    return (size_t)((p >> 4) * 0x9E3779B97F4A7C15u >> 44) % BLOCKS;
}

static void lock(void)
{
    while (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire))
        ;
}

static void *remember(void *p, const void *caller)
{
    if (!p || !lies_in(&program, caller))
        return p;
    lock();
    size_t i = place((uintptr_t)p);
    while (block[i] > 1)
        i = (i + 1) % BLOCKS;
    block[i] = (uintptr_t)p;
    live++;
    atomic_flag_clear_explicit(&busy, memory_order_release);
    return p;
}

static void forget(void *p)
{
    if (!p)
        return;
    lock();
    for (size_t i = place((uintptr_t)p), n = 0; block[i] && n < BLOCKS; i = (i + 1) % BLOCKS, n++) {
        if (block[i] == (uintptr_t)p) {
            block[i] = 1;
            live--;
            break;
        }
    }
    atomic_flag_clear_explicit(&busy, memory_order_release);
}

/* ---- memory -----------------------------------------------------------------------------------
 */

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

static bool no_memory(void)
{
    if (!hit(ALLOC))
        return false;
    errno = ENOMEM;
    return true;
}

PUBLIC void *malloc(size_t n)
{
    const void *caller = __builtin_return_address(0);
    return no_memory() ? NULL : remember(__libc_malloc(n), caller);
}

PUBLIC void *calloc(size_t n, size_t size)
{
    const void *caller = __builtin_return_address(0);
    return no_memory() ? NULL : remember(__libc_calloc(n, size), caller);
}

PUBLIC void *realloc(void *p, size_t n)
{
    const void *caller = __builtin_return_address(0);
    if (no_memory())
        return NULL;
    forget(p);
    void *q = __libc_realloc(p, n);
    return remember(q ? q : n ? p : NULL, caller) == p && !q ? NULL : q;
}

PUBLIC void *aligned_alloc(size_t align, size_t n)
{
    const void *caller = __builtin_return_address(0);
    return no_memory() ? NULL : remember(__libc_memalign(align, n), caller);
}

PUBLIC void *memalign(size_t align, size_t n)
{
    const void *caller = __builtin_return_address(0);
    return no_memory() ? NULL : remember(__libc_memalign(align, n), caller);
}

PUBLIC int posix_memalign(void **out, size_t align, size_t n)
{
    const void *caller = __builtin_return_address(0);
    void *p = no_memory() ? NULL : remember(__libc_memalign(align, n), caller);
    if (p)
        *out = p;
    return p ? 0 : ENOMEM;
}

PUBLIC void free(void *p)
{
    forget(p);
    __libc_free(p);
}

/* ---- files ------------------------------------------------------------------------------------
 */

#define REAL(type, name, args)                                                                     \
    static type(*real) args;                                                                       \
    if (!real)                                                                                     \
    real = (type(*) args)dlsym(RTLD_NEXT, #name)

#define FAILS(kind_, errno_, result)                                                               \
    if (hit(kind_)) {                                                                              \
        errno = mode == EINTR_ ? EINTR : (errno_);                                                 \
        return result;                                                                             \
    }

#define DEFINE_MMAP(name)                                                                          \
    PUBLIC void *name(void *p, size_t n, int prot, int flags, int fd, off_t offset)                \
    {                                                                                              \
        REAL(void *, name, (void *, size_t, int, int, int, off_t));                                \
        FAILS(MAP, ENOMEM, MAP_FAILED)                                                             \
        return real(p, n, prot, flags, fd, offset);                                                \
    }
DEFINE_MMAP(mmap)
DEFINE_MMAP(mmap64)

#define DEFINE_OPEN(name)                                                                          \
    PUBLIC int name(const char *path, int flags, ...)                                              \
    {                                                                                              \
        va_list ap;                                                                                \
        va_start(ap, flags);                                                                       \
        int bits = flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, int) : 0;                          \
        va_end(ap);                                                                                \
        REAL(int, name, (const char *, int, ...));                                                 \
        FAILS(OPEN, EMFILE, -1)                                                                    \
        return real(path, flags, bits);                                                            \
    }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)

#define DEFINE_OPENAT(name)                                                                        \
    PUBLIC int name(int dir, const char *path, int flags, ...)                                     \
    {                                                                                              \
        va_list ap;                                                                                \
        va_start(ap, flags);                                                                       \
        int bits = flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, int) : 0;                          \
        va_end(ap);                                                                                \
        REAL(int, name, (int, const char *, int, ...));                                            \
        FAILS(OPEN, EMFILE, -1)                                                                    \
        return real(dir, path, flags, bits);                                                       \
    }
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

#define DEFINE_FOPEN(name)                                                                         \
    PUBLIC FILE *name(const char *path, const char *how)                                           \
    {                                                                                              \
        REAL(FILE *, name, (const char *, const char *));                                          \
        FAILS(OPEN, EMFILE, NULL)                                                                  \
        return real(path, how);                                                                    \
    }
DEFINE_FOPEN(fopen)
DEFINE_FOPEN(fopen64)

#define DEFINE_MKSTEMP(name)                                                                       \
    PUBLIC int name(char *path)                                                                    \
    {                                                                                              \
        REAL(int, name, (char *));                                                                 \
        FAILS(OPEN, ENOSPC, -1)                                                                    \
        return real(path);                                                                         \
    }
DEFINE_MKSTEMP(mkstemp)
DEFINE_MKSTEMP(mkstemp64)

PUBLIC DIR *opendir(const char *path)
{
    REAL(DIR *, opendir, (const char *));
    FAILS(OPEN, EMFILE, NULL)
    return real(path);
}

static size_t shorter(enum Kind k, size_t n)
{
    return n > 1 && hit(k) ? n / 2 : n;
}

PUBLIC ssize_t read(int fd, void *p, size_t n)
{
    REAL(ssize_t, read, (int, void *, size_t));
    if (mode == SHORT)
        return real(fd, p, shorter(READ, n));
    FAILS(READ, EIO, -1)
    return real(fd, p, n);
}

#define DEFINE_PREAD(name)                                                                         \
    PUBLIC ssize_t name(int fd, void *p, size_t n, off_t offset)                                   \
    {                                                                                              \
        REAL(ssize_t, name, (int, void *, size_t, off_t));                                         \
        if (mode == SHORT)                                                                         \
            return real(fd, p, shorter(READ, n), offset);                                          \
        FAILS(READ, EIO, -1)                                                                       \
        return real(fd, p, n, offset);                                                             \
    }
DEFINE_PREAD(pread)
DEFINE_PREAD(pread64)

PUBLIC ssize_t write(int fd, const void *p, size_t n)
{
    REAL(ssize_t, write, (int, const void *, size_t));
    if (fd <= 2)
        return real(fd, p, n); /* what is told must be heard */
    if (mode == SHORT)
        return real(fd, p, shorter(WRITE, n));
    FAILS(WRITE, ENOSPC, -1)
    return real(fd, p, n);
}

#define DEFINE_PWRITE(name)                                                                        \
    PUBLIC ssize_t name(int fd, const void *p, size_t n, off_t offset)                             \
    {                                                                                              \
        REAL(ssize_t, name, (int, const void *, size_t, off_t));                                   \
        if (mode == SHORT)                                                                         \
            return real(fd, p, shorter(WRITE, n), offset);                                         \
        FAILS(WRITE, ENOSPC, -1)                                                                   \
        return real(fd, p, n, offset);                                                             \
    }
DEFINE_PWRITE(pwrite)
DEFINE_PWRITE(pwrite64)

PUBLIC int fflush(FILE *f)
{
    REAL(int, fflush, (FILE *));
    int result = real(f);
    if (f && f != stdout && f != stderr && mode == FAIL)
        FAILS(WRITE, ENOSPC, EOF)
    return result;
}

PUBLIC int fclose(FILE *f)
{
    REAL(int, fclose, (FILE *));
    bool standard = f == stdout || f == stderr;
    int result = real(f);
    if (!standard && mode == FAIL)
        FAILS(COMMIT, ENOSPC, EOF)
    return result;
}

PUBLIC int fsync(int fd)
{
    REAL(int, fsync, (int));
    FAILS(COMMIT, EIO, -1)
    (void)real;
    (void)fd;
    return 0; /* thousands of runs need not wait for a disk */
}

PUBLIC int rename(const char *from, const char *to)
{
    REAL(int, rename, (const char *, const char *));
    if (mode == FAIL)
        FAILS(COMMIT, EACCES, -1)
    return real(from, to);
}

PUBLIC int mkdir(const char *path, mode_t bits)
{
    REAL(int, mkdir, (const char *, mode_t));
    if (mode == FAIL)
        FAILS(COMMIT, EACCES, -1)
    return real(path, bits);
}

/* ---- begin and end ----------------------------------------------------------------------------
 */

static Range range_of(const struct dl_phdr_info *info)
{
    Range r = {0, 0};
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t from = info->dlpi_addr + p->p_vaddr, to = from + p->p_memsz;
        if (p->p_type != PT_LOAD)
            continue;
        r.from = r.from && r.from < from ? r.from : from;
        r.to = r.to > to ? r.to : to;
    }
    return r;
}

static int add_range(struct dl_phdr_info *info, size_t size, void *user)
{
    static const char *const names[] = {"libgomp", "libomp", "libfontconfig", "libexpat"};
    bool *first = user;
    (void)size;
    if (*first) /* the program itself */
        program = range_of(info);
    for (int i = 0; i < 4 && !*first; i++)
        if (strstr(info->dlpi_name, names[i]) && spared_count < 8)
            spared[spared_count++] = range_of(info);
    if (strstr(info->dlpi_name, "libcairo.so"))
        cairo = range_of(info);
    if (strstr(info->dlpi_name, "libpixman"))
        pixman = range_of(info);
    if (strstr(info->dlpi_name, "libjansson"))
        jansson = range_of(info);
    *first = false;
    return 0;
}

static int index_of(const char *name, const char *const *names)
{
    for (int i = 0; name && names[i]; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return 0;
}

static void report(int ended)
{
    const char *path = getenv("INJECT_REPORT");
    char text[80];
    bool was_armed = atomic_exchange(&armed, false);
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
    if (fd < 0)
        return;
    int n = snprintf(text, sizeof(text), "%lu %ld %d\n", atomic_load(&calls), live, ended);
    if (write(fd, text, (size_t)n) != n)
        _exit(99);
    close(fd);
    atomic_store(&armed, was_armed && ended >= 2);
}

static int (*real_main)(int, char **, char **);

static int wrapped_main(int argc, char **argv, char **env)
{
    static const char *const kinds[] = {"none", "alloc", "map",    "open",
                                        "read", "write", "commit", 0};
    static const char *const modes[] = {"fail", "short", "eintr", NULL};
    bool first = true;
    kind = (enum Kind)index_of(getenv("INJECT_KIND"), kinds);
    mode = (enum Mode)index_of(getenv("INJECT_MODE"), modes);
    at = getenv("INJECT_AT") ? strtoul(getenv("INJECT_AT"), NULL, 10) : 0;
    dl_iterate_phdr(add_range, &first);
    live = 0;
    is_spared(); /* the first backtrace loads what it needs */
    atomic_store(&armed, true);
    int result = real_main(argc, argv, env);
    atomic_store(&returned, true);
    report(0);
    return result;
}

__attribute__((destructor)) static void at_exit(void)
{
    if (!atomic_load(&returned) && real_main)
        report(1);
}

PUBLIC int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv,
                             void (*init)(void), void (*fini)(void), void (*rtld_fini)(void),
                             void *stack_end)
{
    typedef int StartFn(int (*)(int, char **, char **), int, char **, void (*)(void),
                        void (*)(void), void (*)(void), void *);
    StartFn *start = (StartFn *)dlsym(RTLD_NEXT, "__libc_start_main");
    real_main = main;
    return start(wrapped_main, argc, argv, init, fini, rtld_fini, stack_end);
}
