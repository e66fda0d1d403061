/* SPDX-License-Identifier: Apache-2.0 */
/* Brings a published data set into a folder: fetch (http.c), check the sums, unpack (unpack.c), and
 * only then give the files their names. Until then everything lies in one folder, "cifar-100.part",
 * which is renamed as a whole. That a transfer can be continued is worth keeping its bytes; bytes
 * with a wrong sum are worth nothing and go. */
#include "data/download.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/md5.h"
#include "data/dataset.h"
#include "data/http.h"
#include "data/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_MEMBERS (sizeof(((VitroDownloadSet *)0)->members) / sizeof(VitroDownloadFile))

typedef struct Download {
    const VitroDownloadSet *set;
    const VitroDownloadOptions *options;
    char md5[VITRO_MD5_HEX]; /* options->md5 in lower case; "": the set's own */
    char *part;              /* path of the folder that all waits in */
    int part_fd;             /* that folder, locked; -1 when closed */
    const char *file;        /* being fetched */
} Download;

static bool is_archive(const VitroDownloadSet *set)
{
    return set->members[0].name != NULL;
}

/* ---- the folder that all waits in ------------------------------------------------------------ */

/* Opens and locks it. A folder that another process has just renamed or removed is not ours. */
static VitroStatus open_part(Download *d)
{
    struct stat here, named;
    VITRO_TRY(vitro_fs_mkdirs(d->options->path));
    d->part = vitro_path_join(d->options->path, d->set->part);
    if (!d->part)
        return VITRO_NOMEM;
    if (mkdir(d->part, 0777) != 0 && errno != EEXIST)
        return vitro_fail_errno("%s: cannot make directory", d->part);
    d->part_fd = open(d->part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (d->part_fd < 0)
        return vitro_fail_errno("%s: cannot open", d->part);
    bool locked = flock(d->part_fd, LOCK_EX | LOCK_NB) == 0;
    if (!locked && errno != EWOULDBLOCK)
        return vitro_fail_errno("%s: cannot lock", d->part);
    if (!locked || fstat(d->part_fd, &here) != 0 || lstat(d->part, &named) != 0 ||
        here.st_dev != named.st_dev || here.st_ino != named.st_ino) {
        close(d->part_fd);
        d->part_fd = -1; /* its files are the other process's */
        return vitro_fail(VITRO_E_IO, "%s: another process downloads into it", d->part);
    }
    return VITRO_OK;
}

/* Removes what was unpacked, and what was fetched: all of it, or only the empty files. */
static void sweep_part(const Download *d, bool keep_fetched)
{
    for (const VitroDownloadFile *m = d->set->members; m->name; m++)
        unlinkat(d->part_fd, m->name, 0);
    for (const VitroDownloadFile *f = d->set->files; f->name; f++) {
        struct stat s;
        bool empty = fstatat(d->part_fd, f->name, &s, AT_SYMLINK_NOFOLLOW) == 0 && s.st_size == 0;
        if (!keep_fetched || empty)
            unlinkat(d->part_fd, f->name, 0);
    }
}

/* ---- one file -------------------------------------------------------------------------------- */

static bool show_progress(void *user, int64_t done, int64_t total)
{
    const Download *d = user;
    return !d->options->progress || d->options->progress(d->options->user, d->file, done, total);
}

static int value_or(int value, int standard)
{
    return value > 0 ? value : standard;
}

/* Where options->url stands for the folder, the file's name is added to it. vitro_free it. */
static char *make_url(const Download *d, const char *name)
{
    const char *base = d->options->url ? d->options->url : d->set->base;
    if (d->options->url && is_archive(d->set))
        return vitro_strdup(base);
    return vitro_path_join(base, name);
}

static VitroStatus transfer(const Download *d, int fd, const char *url)
{
    const VitroDownloadOptions *o = d->options;
    VitroHttpRequest request = {.url = url,
                                .max_bytes = d->set->max_bytes,
                                .connect_timeout_ms = value_or(o->connect_timeout_ms, 30000),
                                .stall_timeout_s = value_or(o->stall_timeout_s, 30),
                                .tries = value_or(o->tries, 6),
                                .retry_delay_ms = value_or(o->retry_delay_ms, 500),
                                .progress = show_progress,
                                .user = (void *)d};
    return vitro_http_get(fd, &request);
}

/* Fetches what is missing of the file behind `fd`, and checks its sum. Where the first bytes are an
 * earlier run's, a wrong sum may be their fault: then, once, everything is fetched anew. */
static VitroStatus fetch_checked(const Download *d, int fd, const VitroDownloadFile *f,
                                 const char *url)
{
    const char *expected = d->md5[0] ? d->md5 : f->md5;
    char found[VITRO_MD5_HEX];
    struct stat s;
    if (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode))
        return vitro_fail(VITRO_E_IO, "%s/%s: a regular file was expected", d->part, f->name);
    bool from_earlier_run = s.st_size > 0;
    if (from_earlier_run) {
        VITRO_TRY(vitro_md5_file(found, fd, f->name));
        if (strcmp(found, expected) == 0)
            return VITRO_OK;
    }
    VITRO_TRY(transfer(d, fd, url));
    VITRO_TRY(vitro_md5_file(found, fd, f->name));
    if (strcmp(found, expected) != 0 && from_earlier_run) {
        vitro_log(VITRO_LOG_WARN, "%s: the bytes of an earlier download do not fit: once more",
                  f->name);
        if (ftruncate(fd, 0) != 0)
            return vitro_fail_errno("%s/%s: cannot cut", d->part, f->name);
        VITRO_TRY(transfer(d, fd, url));
        VITRO_TRY(vitro_md5_file(found, fd, f->name));
    }
    if (strcmp(found, expected) != 0)
        return vitro_fail(VITRO_E_FORMAT,
                          "%s: found a file with MD5 %s, expected %s: it is not the published one",
                          url, found, expected);
    if (fsync(fd) != 0 && errno != EINVAL)
        return vitro_fail_errno("%s/%s: cannot sync", d->part, f->name);
    return VITRO_OK;
}

static VitroStatus fetch_file(Download *d, const VitroDownloadFile *f)
{
    d->file = f->name;
    char *url = make_url(d, f->name);
    if (!url)
        return VITRO_NOMEM;
    VitroStatus st;
    int fd = openat(d->part_fd, f->name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0) {
        st = vitro_fail_errno("%s/%s: cannot open", d->part, f->name);
    } else {
        st = fetch_checked(d, fd, f, url);
        close(fd);
    }
    vitro_free(url);
    return st;
}

/* ---- the archive ----------------------------------------------------------------------------- */

static VitroStatus check_member(const Download *d, const VitroDownloadFile *m)
{
    char found[VITRO_MD5_HEX];
    int fd = openat(d->part_fd, m->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return vitro_fail_errno("%s/%s: cannot open", d->part, m->name);
    VitroStatus st = vitro_md5_file(found, fd, m->name);
    close(fd);
    if (st == VITRO_OK && strcmp(found, m->md5) != 0)
        st = vitro_fail(VITRO_E_FORMAT, "%s/%s: unpacked with MD5 %s, expected %s",
                        d->set->files[0].name, m->name, found, m->md5);
    return st;
}

static VitroStatus unpack(const Download *d)
{
    VitroUnpackMember members[MAX_MEMBERS];
    VitroUnpackRules rules = {.archive = d->set->files[0].name,
                              .top = d->set->dir,
                              .members = members,
                              .max_bytes = d->set->max_bytes};
    for (const VitroDownloadFile *m = d->set->members; m->name; m++)
        members[rules.member_count++] = (VitroUnpackMember){m->name, m->md5 != NULL};
    int fd = openat(d->part_fd, rules.archive, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return vitro_fail_errno("%s/%s: cannot open", d->part, rules.archive);
    VitroStatus st = vitro_unpack(d->part_fd, fd, &rules);
    close(fd);
    /* An archive of the caller's sum may hold other files than the published one. */
    for (const VitroDownloadFile *m = d->set->members; st == VITRO_OK && m->name; m++)
        if (m->md5 && !d->md5[0])
            st = check_member(d, m);
    return st;
}

/* ---- giving the files their names ------------------------------------------------------------ */

/* The set's folder is there already, with a part of the files or with damaged ones. */
static VitroStatus move_files(const Download *d, const VitroDownloadFile *files, const char *to)
{
    for (const VitroDownloadFile *f = files; f->name; f++) {
        if (!f->md5)
            continue;
        char *path = vitro_path_join(to, f->name);
        if (!path)
            return VITRO_NOMEM;
        VitroStatus st = VITRO_OK;
        if (renameat(d->part_fd, f->name, AT_FDCWD, path) != 0)
            st = vitro_fail_errno("%s: cannot replace", path);
        vitro_free(path);
        VITRO_TRY(st);
    }
    return VITRO_OK;
}

static VitroStatus place(Download *d)
{
    const VitroDownloadSet *set = d->set;
    VitroStatus st = VITRO_OK;
    char *to = vitro_path_join(d->options->path, set->dir);
    char *parent = to ? vitro_path_dir(to) : NULL;
    if (!parent)
        VITRO_GOTO(VITRO_NOMEM);
    VITRO_GOTO(vitro_fs_mkdirs(parent));
    if (is_archive(set))
        unlinkat(d->part_fd, set->files[0].name, 0);
    fsync(d->part_fd); /* some file systems cannot sync a directory: the renames still hold */
    if (rename(d->part, to) == 0) {
        close(d->part_fd);
        d->part_fd = -1; /* it is the set's folder now: nothing in it is swept */
    } else {
        if (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR)
            st = move_files(d, is_archive(set) ? set->members : set->files, to);
        else
            st = vitro_fail_errno("%s: cannot rename to %s", d->part, to);
        vitro_fs_sync_dir(to);
    }
    vitro_fs_sync_dir(parent);
done:
    vitro_free(parent);
    vitro_free(to);
    return st;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static VitroStatus check_options(Download *d)
{
    const VitroDownloadOptions *o = d->options;
    if (!o->md5)
        return VITRO_OK;
    if (!is_archive(d->set))
        return vitro_fail(VITRO_E_ARG, "an MD5 was given, but %s is several files", d->set->dir);
    size_t n = strspn(o->md5, "0123456789abcdefABCDEF");
    if (n != VITRO_MD5_HEX - 1 || o->md5[n])
        return vitro_fail(VITRO_E_ARG, "found the MD5 \"%.80s\", expected 32 hexadecimal digits",
                          o->md5);
    for (size_t i = 0; i < n; i++)
        d->md5[i] =
            (char)(o->md5[i] >= 'A' && o->md5[i] <= 'F' ? o->md5[i] + ('a' - 'A') : o->md5[i]);
    return VITRO_OK;
}

static VitroStatus fetch_all(Download *d)
{
    if (is_archive(d->set)) /* better now than after 160 MB */
        VITRO_TRY(vitro_unpack_supported(d->set->files[0].name));
    sweep_part(d, true);
    for (const VitroDownloadFile *f = d->set->files; f->name; f++)
        VITRO_TRY(fetch_file(d, f));
    if (is_archive(d->set))
        VITRO_TRY(unpack(d));
    return place(d);
}

/* How many of the folders that lead to `path`, itself included, are not there yet. */
static VitroStatus count_missing(int *missing, const char *path)
{
    char *dir = vitro_strdup(path);
    for (*missing = 0; dir && !vitro_fs_is_dir(dir); ++*missing) {
        char *parent = vitro_path_dir(dir);
        vitro_free(dir);
        dir = parent;
    }
    vitro_free(dir);
    return dir ? VITRO_OK : VITRO_NOMEM;
}

/* Removes `count` folders from `path` upwards, as far as they are empty. */
static void remove_empty(const char *path, int count)
{
    char *dir = vitro_strdup(path);
    for (; dir && count > 0; count--) {
        rmdir(dir);
        char *parent = vitro_path_dir(dir);
        vitro_free(dir);
        dir = parent;
    }
    vitro_free(dir);
}

VitroStatus vitro_download_fetch(const VitroDownloadSet *set, const VitroDownloadOptions *options)
{
    Download d = {.set = set, .options = options, .part_fd = -1};
    VITRO_TRY(check_options(&d));
    int missing;
    VITRO_TRY(count_missing(&missing, options->path));
    VitroStatus st = open_part(&d);
    if (st == VITRO_OK)
        st = fetch_all(&d);
    if (d.part_fd >= 0) {
        sweep_part(&d, st != VITRO_OK && st != VITRO_E_FORMAT);
        rmdir(d.part); /* refused where something is left in it */
        close(d.part_fd);
    }
    if (st != VITRO_OK)
        remove_empty(options->path, missing);
    vitro_free(d.part);
    return st;
}

VitroStatus vitro_dataset_download(const VitroDownloadOptions *options)
{
    if (!options || !options->path || !*options->path)
        return vitro_fail(VITRO_E_ARG, "a download needs the folder that it goes to");
    const VitroDownloadSet *set = vitro_download_set(options->kind);
    if (!set)
        return vitro_fail(VITRO_E_UNSUPPORTED,
                          "a data set of class folders has no published address to download from");
    bool present = false;
    if (vitro_fs_is_dir(options->path))
        VITRO_TRY(vitro_data_present(&present, options->path, options->kind));
    return present ? VITRO_OK : vitro_download_fetch(set, options);
}
