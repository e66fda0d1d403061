/* SPDX-License-Identifier: Apache-2.0 */
/* The only file that knows libarchive, which parses the archive; what may be written where is
 * decided here, by comparing names with a list: no path of the archive reaches the file system. */
#include "data/unpack.h"

#if VITRO_HAVE_ARCHIVE

#include "base/late.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { MAX_ENTRIES = 64, MAX_MEMBERS = 32, CHUNK = 64 << 10 };

#define ARCHIVE_FUNCTIONS(F)                                                                       \
    F(archive_entry_filetype)                                                                      \
    F(archive_entry_hardlink)                                                                      \
    F(archive_entry_pathname)                                                                      \
    F(archive_errno)                                                                               \
    F(archive_error_string)                                                                        \
    F(archive_read_data)                                                                           \
    F(archive_read_free)                                                                           \
    F(archive_read_new)                                                                            \
    F(archive_read_next_header)                                                                    \
    F(archive_read_open_fd)                                                                        \
    F(archive_read_support_filter_gzip)                                                            \
    F(archive_read_support_format_tar)                                                             \
    F(archive_version_string)

static struct {
    ARCHIVE_FUNCTIONS(VITRO_LATE_MEMBER)
} lib;
static const char *const function_names[] = {ARCHIVE_FUNCTIONS(VITRO_LATE_NAME)};
static VitroLate late = {.file = VITRO_ARCHIVE_FILE,
                         .names = function_names,
                         .count = sizeof(function_names) / sizeof(function_names[0]),
                         .table = &lib};

typedef struct Unpack {
    const VitroUnpackRules *rules;
    int dir_fd;
    struct archive *a;
    bool seen[MAX_MEMBERS];
} Unpack;

const char *vitro_unpack_library(void)
{
    return vitro_late_load(&late) == VITRO_OK ? lib.archive_version_string()
                                              : "libarchive not found";
}

VitroStatus vitro_unpack_supported(const char *archive)
{
    VitroStatus st = vitro_late_load(&late);
    return st == VITRO_OK ? st : vitro_fail_prefix(st, "%s", archive);
}

static VitroStatus fail_archive(const Unpack *u)
{
    const char *text = lib.archive_error_string(u->a);
    if (lib.archive_errno(u->a) == ENOMEM)
        return vitro_fail(VITRO_E_NOMEM, "%s: libarchive has no memory", u->rules->archive);
    return vitro_fail(VITRO_E_FORMAT, "%s: damaged archive: %s", u->rules->archive,
                      text ? text : "no reason given");
}

/* ---- may this entry be there? ---------------------------------------------------------------- */

static const char *type_name(struct archive_entry *e)
{
    if (lib.archive_entry_hardlink(e))
        return "a hard link";
    switch (lib.archive_entry_filetype(e)) {
    case AE_IFREG:
        return "a file";
    case AE_IFDIR:
        return "a folder";
    case AE_IFLNK:
        return "a symbolic link";
    default:
        return "a special file";
    }
}

/* What follows "top/" in `path`; NULL where it does not start so. */
static const char *below_top(const Unpack *u, const char *path)
{
    size_t n = strlen(u->rules->top);
    return strncmp(path, u->rules->top, n) == 0 && path[n] == '/' ? path + n + 1 : NULL;
}

/* *index: the member that a regular file is; -1: the top folder itself. */
static VitroStatus identify(const Unpack *u, int *index, struct archive_entry *e)
{
    const VitroUnpackRules *r = u->rules;
    const char *path = lib.archive_entry_pathname(e);
    if (!path)
        return vitro_fail(VITRO_E_FORMAT, "%s: an entry's name cannot be read", r->archive);
    bool plain = !lib.archive_entry_hardlink(e);
    const char *rest = below_top(u, path);
    *index = -1;
    if (plain && lib.archive_entry_filetype(e) == AE_IFDIR &&
        (strcmp(path, r->top) == 0 || (rest && !*rest)))
        return VITRO_OK;
    if (plain && lib.archive_entry_filetype(e) == AE_IFREG && rest)
        for (size_t i = 0; i < r->member_count; i++)
            if (strcmp(rest, r->members[i].name) == 0)
                *index = (int)i;
    if (*index < 0)
        return vitro_fail(VITRO_E_FORMAT,
                          "%s: holds %s \"%.200s\", expected only the data set's files in %s/",
                          r->archive, type_name(e), path, r->top);
    if (u->seen[*index])
        return vitro_fail(VITRO_E_FORMAT, "%s: holds \"%.200s\" twice", r->archive, path);
    return VITRO_OK;
}

/* ---- one member ------------------------------------------------------------------------------ */

static VitroStatus write_all(int fd, const char *name, const uint8_t *data, size_t n)
{
    while (n) {
        ssize_t k = write(fd, data, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return vitro_fail_errno("%s: cannot write", name);
        data += k;
        n -= (size_t)k;
    }
    return VITRO_OK;
}

/* Reads the entry's data to its end; fd -1: to nowhere. */
static VitroStatus copy_data(const Unpack *u, int fd, const char *name)
{
    uint8_t chunk[CHUNK];
    int64_t total = 0;
    for (;;) {
        la_ssize_t n = lib.archive_read_data(u->a, chunk, sizeof(chunk));
        if (n < 0)
            return fail_archive(u);
        if (n == 0)
            return VITRO_OK;
        total += n;
        if (total > u->rules->max_bytes)
            return vitro_fail(VITRO_E_FORMAT, "%s: %s has more than %lld bytes", u->rules->archive,
                              name, (long long)u->rules->max_bytes);
        if (fd >= 0)
            VITRO_TRY(write_all(fd, name, chunk, (size_t)n));
    }
}

static VitroStatus unpack_member(Unpack *u, int index)
{
    const VitroUnpackMember *m = &u->rules->members[index];
    u->seen[index] = true;
    if (!m->wanted)
        return copy_data(u, -1, m->name);
    int fd = openat(u->dir_fd, m->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0)
        return vitro_fail_errno("%s: cannot create", m->name);
    VitroStatus st = copy_data(u, fd, m->name);
    if (st == VITRO_OK && fsync(fd) != 0 && errno != EINVAL)
        st = vitro_fail_errno("%s: cannot sync", m->name);
    if (close(fd) != 0 && st == VITRO_OK)
        st = vitro_fail_errno("%s: cannot close", m->name);
    return st;
}

/* ---- the archive ----------------------------------------------------------------------------- */

static VitroStatus unpack_entries(Unpack *u)
{
    for (int entries = 0;; entries++) {
        struct archive_entry *e;
        int rc = lib.archive_read_next_header(u->a, &e);
        if (rc == ARCHIVE_EOF)
            break;
        if (rc != ARCHIVE_OK) /* a warning, too: the published archives give none */
            return fail_archive(u);
        if (entries == MAX_ENTRIES)
            return vitro_fail(VITRO_E_FORMAT, "%s: more than %d entries", u->rules->archive,
                              MAX_ENTRIES);
        int index;
        VITRO_TRY(identify(u, &index, e));
        if (index >= 0)
            VITRO_TRY(unpack_member(u, index));
    }
    for (size_t i = 0; i < u->rules->member_count; i++)
        if (u->rules->members[i].wanted && !u->seen[i])
            return vitro_fail(VITRO_E_FORMAT, "%s: lacks %s/%s", u->rules->archive, u->rules->top,
                              u->rules->members[i].name);
    return VITRO_OK;
}

VitroStatus vitro_unpack(int dir_fd, int archive_fd, const VitroUnpackRules *rules)
{
    VITRO_TRY(vitro_unpack_supported(rules->archive));
    Unpack u = {.rules = rules, .dir_fd = dir_fd, .a = lib.archive_read_new()};
    if (!u.a)
        return vitro_fail(VITRO_E_NOMEM, "%s: libarchive has no memory", rules->archive);
    VitroStatus st;
    if (rules->member_count > MAX_MEMBERS)
        st = vitro_fail(VITRO_E_INTERNAL, "%zu members, at most %d", rules->member_count,
                        MAX_MEMBERS);
    else if (lseek(archive_fd, 0, SEEK_SET) != 0)
        st = vitro_fail_errno("%s: cannot read", rules->archive);
    /* No more than is needed: every further format is more code that reads hostile bytes. */
    else if (lib.archive_read_support_filter_gzip(u.a) != ARCHIVE_OK ||
             lib.archive_read_support_format_tar(u.a) != ARCHIVE_OK ||
             lib.archive_read_open_fd(u.a, archive_fd, CHUNK) != ARCHIVE_OK)
        st = fail_archive(&u);
    else
        st = unpack_entries(&u);
    lib.archive_read_free(u.a);
    return st;
}

#else

const char *vitro_unpack_library(void)
{
    return "libarchive none";
}

VitroStatus vitro_unpack_supported(const char *archive)
{
    return vitro_fail(
        VITRO_E_UNSUPPORTED,
        "%s: this build cannot unpack: it was made without libarchive. Build it again with "
        "libarchive's development package, or fetch and unpack the file yourself",
        archive);
}

VitroStatus vitro_unpack(int dir_fd, int archive_fd, const VitroUnpackRules *rules)
{
    (void)dir_fd, (void)archive_fd;
    return vitro_unpack_supported(rules->archive);
}

#endif
