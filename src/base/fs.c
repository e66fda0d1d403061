/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fs.h"

#include "base/alloc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIPE_PATIENCE_MS 2000 /* until somebody writes to a named pipe */

VitroStatus vitro_map_open(VitroMap *map, const char *path)
{
    VitroStatus st = VITRO_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block here */
    if (fd < 0)
        return vitro_fail_errno("%s: cannot open", path);
    struct stat s;
    if (fstat(fd, &s) != 0) {
        st = vitro_fail_errno("%s: cannot stat", path);
    } else if (!S_ISREG(s.st_mode)) {
        st = vitro_fail(VITRO_E_IO, "%s: %s, a regular file was expected", path,
                        S_ISDIR(s.st_mode) ? "is a directory" : "is a special file");
    } else if (s.st_size == 0) {
        *map = (VitroMap){(const uint8_t *)"", 0};
    } else {
        void *p = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            st = vitro_fail_errno("%s: cannot map", path);
        else
            *map = (VitroMap){p, (size_t)s.st_size};
    }
    close(fd);
    return st;
}

void vitro_map_close(VitroMap *map)
{
    if (map->size)
        munmap((void *)map->data, map->size);
    *map = (VitroMap){0};
}

static bool is_in_map(const VitroMap *map, const void *p, size_t n)
{
    uintptr_t first = (uintptr_t)map->data, at = (uintptr_t)p;
    return at >= first && at - first <= map->size && n <= map->size - (at - first);
}

void vitro_map_forget(const VitroMap *map, const void *p, size_t n)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)p + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)p + n) & ~(page - 1);
    /* The file has all of it: nothing is ever written to the map. */
    if (end > first && is_in_map(map, p, n))
        (void)madvise((void *)first, end - first, MADV_DONTNEED);
}

/* Opens a file or a pipe. A device may never end, as /dev/zero. */
static VitroStatus open_to_read(int *out, bool *is_pipe, const char *path)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block here */
    if (fd < 0)
        return vitro_fail_errno("%s: cannot open", path);
    VitroStatus st = VITRO_OK;
    if (fstat(fd, &info) != 0)
        st = vitro_fail_errno("%s: cannot stat", path);
    else if (S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode))
        st = vitro_fail(VITRO_E_IO, "%s: is a device, a file was expected", path);
    if (st != VITRO_OK) {
        close(fd);
        return st;
    }
    *is_pipe = S_ISFIFO(info.st_mode);
    *out = fd;
    return VITRO_OK;
}

/* Appends all that `fd` gives. A pipe that nobody has opened to write looks as if at its end. */
static VitroStatus read_to_end(VitroBuf *b, int fd, bool is_pipe, const char *path)
{
    bool any = false;
    for (int waited_ms = 0;;) {
        uint8_t chunk[65536];
        ssize_t n = read(fd, chunk, sizeof(chunk));
        struct pollfd more = {.fd = fd, .events = POLLIN};
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return vitro_fail_errno("%s: cannot read", path);
        if (n < 0) {
            if (errno == EAGAIN)
                poll(&more, 1, -1);
        } else if (n > 0) {
            any = true;
            VitroStatus st = vitro_buf_append(b, chunk, (size_t)n);
            if (st != VITRO_OK)
                return vitro_fail_prefix(st, "%s", path);
        } else if (!is_pipe || any) {
            return VITRO_OK;
        } else if (waited_ms < PIPE_PATIENCE_MS) {
            waited_ms += 20;
            poll(NULL, 0, 20);
        } else {
            return vitro_fail(VITRO_E_IO, "%s: is a pipe that nobody writes to", path);
        }
    }
}

VitroStatus vitro_fs_read(VitroBuf *b, const char *path)
{
    bool is_stdin = strcmp(path, "-") == 0, is_pipe = false;
    int fd = STDIN_FILENO;
    if (!is_stdin)
        VITRO_TRY(open_to_read(&fd, &is_pipe, path));
    VitroStatus st = read_to_end(b, fd, is_pipe, path);
    if (!is_stdin)
        close(fd);
    return st;
}

/* ---- files that appear whole or not at all ----------------------------------------------------
 */

#define TEMP_END      ".vitro-tmp"
#define PATIENCE_MS   2000 /* for a writer of the same file that is just ending */
#define PATIENCE_STEP 20

/* Takes the lock that tells the file of a living writer from what a dead one left behind. Where the
 * file system has no locks, nothing can be told. */
static bool lock_temp(int fd)
{
    for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited += PATIENCE_STEP) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return true;
        if (waited >= PATIENCE_MS)
            return false;
        poll(NULL, 0, PATIENCE_STEP);
    }
    return true;
}

/* Whether `fd` still is the file of that name: the one who held the lock may have renamed it. */
static bool is_named(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && lstat(path, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* In a folder that others may write to, somebody could have put a file of his own there. */
static bool is_ours(int fd)
{
    struct stat s;
    return fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_uid == geteuid() && s.st_nlink == 1;
}

/* The temporary file of a path has one name, so that whoever writes that path next clears what a
 * writer that died left there. */
static VitroStatus open_temp(VitroReplace *r)
{
    for (;;) {
        int fd = open(r->temp_path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
        if (fd < 0 && errno == EINTR)
            continue;
        if (fd < 0)
            return vitro_fail_errno("%s: cannot create", r->path);
        bool locked = lock_temp(fd);
        if (locked && !is_named(fd, r->temp_path)) {
            close(fd);
            continue;
        }
        VitroStatus st = VITRO_OK;
        if (!locked) {
            st = vitro_fail(VITRO_E_IO, "%s: is being written by another program", r->path);
        } else if (!is_ours(fd)) {
            st = vitro_fail(VITRO_E_IO, "%s: is in the way and cannot be used", r->temp_path);
        } else if (ftruncate(fd, 0) != 0) {
            st = vitro_fail_errno("%s: cannot create", r->path);
            unlink(r->temp_path);
        }
        if (st != VITRO_OK)
            close(fd);
        else
            r->fd = fd;
        return st;
    }
}

VitroStatus vitro_replace_begin(VitroReplace *r, const char *path)
{
    *r = (VitroReplace){.fd = -1};
    struct stat info;
    /* A rename would put a plain file in the place of a device, a pipe or an empty folder. */
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return vitro_fail(VITRO_E_IO, "%s: is %s, a file to write was expected", path,
                          S_ISDIR(info.st_mode) ? "a directory" : "a device or pipe");
    char *target = realpath(path, NULL); /* a link stays a link: what it names is replaced */
    r->path = vitro_strdup(target ? target : path);
    free(target); /* the system's own allocation */
    r->temp_path = r->path ? vitro_asprintf("%s" TEMP_END, r->path) : NULL;
    VitroStatus st = r->temp_path ? open_temp(r) : VITRO_NOMEM;
    if (st != VITRO_OK)
        vitro_replace_abort(r);
    return st;
}

VitroStatus vitro_replace_pwrite(VitroReplace *r, const void *data, size_t n, uint64_t offset)
{
    const uint8_t *p = data;
    while (n) {
        ssize_t k = pwrite(r->fd, p, n, (off_t)offset);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0) {
            errno = k ? errno : ENOSPC; /* nothing was taken, and nothing said why */
            return vitro_fail_errno("%s: cannot write", r->path);
        }
        p += k;
        n -= (size_t)k;
        offset += (uint64_t)k;
    }
    if (offset > r->written)
        r->written = offset;
    return VITRO_OK;
}

VitroStatus vitro_replace_write(VitroReplace *r, const void *data, size_t n)
{
    return vitro_replace_pwrite(r, data, n, r->written);
}

static int sync_file(int fd)
{
    int failed;
    do
        failed = fsync(fd);
    while (failed && errno == EINTR);
    return failed && errno != EINVAL ? -1 : 0; /* EINVAL: there is nothing to sync it to */
}

void vitro_fs_sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)sync_file(fd); /* some file systems cannot sync a directory: the rename still holds */
    close(fd);
}

VitroStatus vitro_replace_commit(VitroReplace *r)
{
    if (sync_file(r->fd) != 0)
        return vitro_fail_errno("%s: cannot sync", r->path);
    if (rename(r->temp_path, r->path) != 0)
        return vitro_fail_errno("%s: cannot replace", r->path);
    char *dir = vitro_path_dir(r->path);
    if (dir)
        vitro_fs_sync_dir(dir);
    vitro_free(dir);
    close(r->fd); /* and with it the lock: not before the temporary name is gone */
    vitro_free(r->temp_path);
    vitro_free(r->path);
    *r = (VitroReplace){.fd = -1};
    return VITRO_OK;
}

void vitro_replace_abort(VitroReplace *r)
{
    if (r->fd >= 0) {
        unlink(r->temp_path);
        close(r->fd);
    }
    vitro_free(r->temp_path);
    vitro_free(r->path);
    *r = (VitroReplace){.fd = -1};
}

VitroStatus vitro_fs_replace(const char *path, const void *data, size_t n)
{
    VitroReplace r;
    VITRO_TRY(vitro_replace_begin(&r, path));
    VitroStatus st = vitro_replace_write(&r, data, n);
    if (st == VITRO_OK)
        st = vitro_replace_commit(&r);
    vitro_replace_abort(&r);
    return st;
}

bool vitro_fs_is_dir(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

bool vitro_fs_is_file(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

VitroStatus vitro_fs_mkdirs(const char *path)
{
    if (!*path)
        return vitro_fail(VITRO_E_ARG, "the path of a directory to make is empty");
    char *p = vitro_strdup(path);
    if (!p)
        return VITRO_NOMEM;
    VitroStatus st = VITRO_OK;
    for (char *s = p + 1; st == VITRO_OK; s++) {
        if (*s && *s != '/')
            continue;
        char c = *s;
        *s = 0;
        if (*p && mkdir(p, 0777) != 0 && !(errno == EEXIST && vitro_fs_is_dir(p)))
            st = vitro_fail_errno("%s: cannot make directory", p);
        *s = c;
        if (!c)
            break;
    }
    vitro_free(p);
    return st;
}

char *vitro_path_join(const char *dir, const char *name)
{
    size_t n = strlen(dir);
    return vitro_asprintf("%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", name);
}

char *vitro_path_dir(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return vitro_strdup(".");
    return slash == path ? vitro_strdup("/") : vitro_strndup(path, (size_t)(slash - path));
}

const char *vitro_path_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool vitro_path_has_ext(const char *path, const char *ext)
{
    size_t n = strlen(path), k = strlen(ext);
    return n >= k && strcasecmp(path + n - k, ext) == 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

VitroStatus vitro_fs_list(VitroNameList *list, const char *dir)
{
    *list = (VitroNameList){0};
    DIR *d = opendir(dir);
    if (!d)
        return vitro_fail_errno("%s: cannot list", dir);
    VitroStatus st = VITRO_OK;
    size_t cap = 0;
    struct dirent *e;
    while (errno = 0, (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (list->count == cap) {
            size_t more = cap ? cap * 2 : 64;
            char **p = vitro_realloc(list->names, more, sizeof(*p));
            if (!p) {
                st = VITRO_NOMEM;
                break;
            }
            list->names = p;
            cap = more;
        }
        char *name = vitro_strdup(e->d_name);
        if (!name) {
            st = VITRO_NOMEM;
            break;
        }
        list->names[list->count++] = name;
    }
    if (st == VITRO_OK && errno)
        st = vitro_fail_errno("%s: cannot list", dir);
    closedir(d);
    if (st != VITRO_OK)
        vitro_list_free(list);
    else if (list->count)
        qsort(list->names, list->count, sizeof(*list->names), compare_names);
    return st;
}

void vitro_list_free(VitroNameList *list)
{
    for (size_t i = 0; i < list->count; i++)
        vitro_free(list->names[i]);
    vitro_free(list->names);
    *list = (VitroNameList){0};
}
