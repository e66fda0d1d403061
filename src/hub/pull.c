/* SPDX-License-Identifier: Apache-2.0 */
/* Brings a checkpoint into the cache. Everything waits in a folder beside its place,
 * "<name>@<revision>.part", which is renamed when all is whole. The bytes of a transfer that broke
 * off stay there for the next one; bytes that are wrong, or of another commit, are removed. */
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "data/http.h"
#include "hub/hub_int.h"
#include "vitro/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define HUB "https://huggingface.co"
enum { MAX_ANSWER = 16 << 20 }; /* bytes of the hub's list of files, or of an index of shards */

typedef struct Pull {
    const VitroPullOptions *options;
    VitroHubName name;
    char *endpoint;    /* without '/' at its end */
    const char *token; /* NULL: none */
    char *dir, *part;  /* the checkpoint's place, and where it waits */
    int part_fd;       /* of `part`, locked; -1 */
    const char *file;  /* being fetched; NULL: the list of files */
    VitroHubIndex index;
    char weights[64]; /* the weight file's name */
} Pull;

/* ---- folders --------------------------------------------------------------------------------- */

/* Removes the files of a folder, but `keep` (may be NULL). */
static void sweep(int fd, const char *keep)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));)
        if (!keep || strcmp(e->d_name, keep) != 0)
            unlinkat(fd, e->d_name, 0); /* "." and ".." it refuses */
    closedir(d);
}

static void remove_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    sweep(fd, NULL);
    close(fd);
    rmdir(path);
}

static VitroStatus open_part(Pull *p)
{
    struct stat here, named;
    char *parent = vitro_path_dir(p->dir);
    VitroStatus st = parent ? vitro_fs_mkdirs(parent) : VITRO_NOMEM;
    vitro_free(parent);
    VITRO_TRY(st);
    if (mkdir(p->part, 0777) != 0 && errno != EEXIST)
        return vitro_fail_errno("%s: cannot make directory", p->part);
    p->part_fd = open(p->part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (p->part_fd < 0)
        return vitro_fail_errno("%s: cannot open", p->part);
    if (flock(p->part_fd, LOCK_EX | LOCK_NB) == 0 && fstat(p->part_fd, &here) == 0 &&
        lstat(p->part, &named) == 0 && here.st_dev == named.st_dev && here.st_ino == named.st_ino)
        return VITRO_OK;
    close(p->part_fd);
    p->part_fd = -1; /* its files are the other process's */
    return vitro_fail(VITRO_E_IO, "%s: another process pulls into it", p->part);
}

/* ---- one file -------------------------------------------------------------------------------- */

static bool show_progress(void *user, int64_t done, int64_t total)
{
    const Pull *p = user;
    return !p->options->progress || !p->file ||
           p->options->progress(p->options->user, p->file, done, total);
}

static int value_or(int value, int standard)
{
    return value > 0 ? value : standard;
}

static VitroStatus transfer(const Pull *p, int fd, const char *url, int64_t max_bytes)
{
    const VitroPullOptions *o = p->options;
    VitroHttpRequest request = {.url = url,
                                .token = p->token,
                                .max_bytes = max_bytes,
                                .connect_timeout_ms = value_or(o->connect_timeout_ms, 30000),
                                .stall_timeout_s = value_or(o->stall_timeout_s, 30),
                                .tries = value_or(o->tries, 6),
                                .retry_delay_ms = value_or(o->retry_delay_ms, 500),
                                .progress = show_progress,
                                .user = (void *)p};
    return vitro_http_get(fd, &request);
}

static int open_file(const Pull *p, const char *name, int flags)
{
    return openat(p->part_fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | flags, 0666);
}

/* Whether the bytes behind `fd` are those that the hub stated. */
static VitroStatus check_bytes(const VitroHubFile *f, int fd, const char *url)
{
    char found[VITRO_SHA256_HEX];
    struct stat s;
    if (fstat(fd, &s) != 0)
        return vitro_fail_errno("%s: cannot be looked at", f->name);
    if (s.st_size != f->size)
        return vitro_fail(VITRO_E_FORMAT, "%s: found %" PRId64 " bytes, the hub states %" PRId64,
                          url, (int64_t)s.st_size, f->size);
    if (!f->sha256[0])
        return VITRO_OK;
    VITRO_TRY(vitro_sha256_file(found, fd, f->name));
    if (strcmp(found, f->sha256) != 0)
        return vitro_fail(VITRO_E_FORMAT, "%s: found a file with SHA-256 %s, the hub states %s",
                          url, found, f->sha256);
    return VITRO_OK;
}

/* Where the first bytes are an earlier run's, what is wrong may be their fault: then, once, all is
 * fetched anew. */
static VitroStatus fetch_checked(const Pull *p, int fd, const VitroHubFile *f, const char *url)
{
    struct stat s;
    if (fstat(fd, &s) != 0 || !S_ISREG(s.st_mode))
        return vitro_fail(VITRO_E_IO, "%s/%s: a regular file was expected", p->part, f->name);
    const bool from_earlier_run = s.st_size > 0;
    if (from_earlier_run && s.st_size == f->size && check_bytes(f, fd, url) == VITRO_OK)
        return VITRO_OK;
    VitroStatus st = transfer(p, fd, url, f->size);
    if (st == VITRO_OK)
        st = check_bytes(f, fd, url);
    if (st == VITRO_E_FORMAT && from_earlier_run) {
        vitro_log(VITRO_LOG_WARN, "%s: the bytes of an earlier run do not fit: once more", f->name);
        if (ftruncate(fd, 0) != 0)
            return vitro_fail_errno("%s/%s: cannot cut", p->part, f->name);
        st = transfer(p, fd, url, f->size);
        if (st == VITRO_OK)
            st = check_bytes(f, fd, url);
    }
    if (st == VITRO_OK && fsync(fd) != 0 && errno != EINVAL)
        st = vitro_fail_errno("%s/%s: cannot sync", p->part, f->name);
    if (st == VITRO_E_FORMAT)
        unlinkat(p->part_fd, f->name, 0);
    return st;
}

static VitroStatus fetch_file(Pull *p, const VitroHubFile *f)
{
    p->file = f->name;
    char *url = vitro_asprintf("%s/%s/%s/resolve/%s/%s", p->endpoint, p->name.owner, p->name.name,
                               p->index.commit, f->name);
    if (!url)
        return VITRO_NOMEM;
    VitroStatus st;
    int fd = open_file(p, f->name, 0);
    if (fd < 0) {
        st = vitro_fail_errno("%s/%s: cannot open", p->part, f->name);
    } else {
        st = fetch_checked(p, fd, f, url);
        close(fd);
    }
    vitro_free(url);
    return st;
}

static VitroStatus fetch_if_there(Pull *p, const char *name)
{
    const VitroHubFile *f = vitro_hub_index_find(&p->index, name);
    return f ? fetch_file(p, f) : VITRO_OK;
}

static VitroStatus read_part(VitroBuf *b, const Pull *p, const char *name)
{
    char *path = vitro_path_join(p->part, name);
    VitroStatus st = path ? vitro_fs_read(b, path) : VITRO_NOMEM;
    vitro_free(path);
    return st;
}

/* ---- what there is --------------------------------------------------------------------------- */

#define ANSWER ".answer.json"

/* Asks the hub which commit the revision is, and which files it has. */
static VitroStatus ask(Pull *p)
{
    VitroBuf b;
    vitro_buf_init(&b, MAX_ANSWER);
    p->file = NULL;
    char *url = vitro_asprintf("%s/api/models/%s/%s/revision/%s?blobs=true", p->endpoint,
                               p->name.owner, p->name.name, p->name.revision);
    int fd = url ? open_file(p, ANSWER, O_TRUNC) : -1;
    VitroStatus st = !url     ? VITRO_NOMEM
                     : fd < 0 ? vitro_fail_errno("%s/%s: cannot open", p->part, ANSWER)
                              : transfer(p, fd, url, MAX_ANSWER);
    if (st == VITRO_E_IO)
        st = vitro_fail_prefix(st, "%s/%s@%s", p->name.owner, p->name.name, p->name.revision);
    if (st == VITRO_OK)
        st = read_part(&b, p, ANSWER);
    if (st == VITRO_OK) {
        st = vitro_hub_index_parse(&p->index, b.data ? (const char *)b.data : "", b.len);
        if (st != VITRO_OK)
            st = vitro_fail_prefix(st, "%s: what came is no list of files", url);
    }
    if (fd >= 0)
        close(fd);
    unlinkat(p->part_fd, ANSWER, 0);
    vitro_buf_deinit(&b);
    vitro_free(url);
    return st;
}

/* Bytes of an earlier run are of use where they are of the same commit: the folder holds a file of
 * that name. */
static VitroStatus keep_same_commit(const Pull *p)
{
    struct stat s;
    int fd;
    if (fstatat(p->part_fd, p->index.commit, &s, AT_SYMLINK_NOFOLLOW) == 0)
        return VITRO_OK;
    sweep(p->part_fd, NULL);
    fd = open_file(p, p->index.commit, 0);
    if (fd < 0)
        return vitro_fail_errno("%s: cannot write", p->part);
    close(fd);
    return VITRO_OK;
}

/* ---- the weights ----------------------------------------------------------------------------- */

static void free_paths(char **paths, int count)
{
    for (int i = 0; paths && i < count; i++)
        vitro_free(paths[i]);
    vitro_free(paths);
}

static VitroStatus fetch_and_join(Pull *p, const int *shard, int count)
{
    char **paths = vitro_calloc((size_t)count, sizeof(*paths));
    char *joined = vitro_path_join(p->part, p->weights);
    VitroStatus st = paths && joined ? VITRO_OK : VITRO_NOMEM;
    for (int i = 0; i < count && st == VITRO_OK; i++) {
        st = fetch_file(p, &p->index.file[shard[i]]);
        paths[i] = vitro_path_join(p->part, p->index.file[shard[i]].name);
        if (st == VITRO_OK && !paths[i])
            st = VITRO_NOMEM;
    }
    if (st == VITRO_OK)
        st = vitro_hub_join(joined, (const char *const *)paths, count);
    for (int i = 0; i < count && st == VITRO_OK; i++)
        unlinkat(p->part_fd, p->index.file[shard[i]].name, 0);
    vitro_free(joined);
    free_paths(paths, paths ? count : 0);
    return st;
}

static VitroStatus fetch_shards(Pull *p, const char *index_name)
{
    VitroBuf b;
    int *shard = vitro_calloc(VITRO_HUB_FILES, sizeof(*shard)), count = 0;
    vitro_buf_init(&b, MAX_ANSWER);
    VitroStatus st = shard ? fetch_if_there(p, index_name) : VITRO_NOMEM;
    if (st == VITRO_OK)
        st = read_part(&b, p, index_name);
    if (st == VITRO_OK) {
        st = vitro_hub_shards(shard, &count, &p->index, b.data ? (const char *)b.data : "", b.len);
        if (st != VITRO_OK)
            st = vitro_fail_prefix(st, "%s", index_name);
    }
    snprintf(p->weights, sizeof(p->weights), "model.safetensors");
    if (st == VITRO_OK)
        st = fetch_and_join(p, shard, count);
    if (st == VITRO_OK)
        unlinkat(p->part_fd, index_name, 0);
    vitro_buf_deinit(&b);
    vitro_free(shard);
    return st;
}

/* The best form of the weights that there is. */
static VitroStatus fetch_weights(Pull *p)
{
    static const struct {
        const char *name;
        bool shards;
    } forms[] = {{"model.safetensors", false},
                 {"model.safetensors.index.json", true},
                 {"pytorch_model.bin", false},
                 {"pytorch_model.bin.index.json", true}};
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        const VitroHubFile *f = vitro_hub_index_find(&p->index, forms[i].name);
        if (!f)
            continue;
        if (forms[i].shards)
            return fetch_shards(p, forms[i].name);
        if (!f->sha256[0])
            vitro_log(VITRO_LOG_INFO,
                      "%s: the hub states no SHA-256: its size and form are checked", f->name);
        snprintf(p->weights, sizeof(p->weights), "%s", f->name);
        return fetch_file(p, f);
    }
    return vitro_fail(VITRO_E_FORMAT,
                      "%s/%s@%s: found no model.safetensors and no pytorch_model.bin%s%s",
                      p->name.owner, p->name.name, p->name.revision,
                      p->index.others[0] ? ", but " : "", p->index.others);
}

/* A file that cannot be opened is of no use, whoever made it. */
static VitroStatus check_weights(const Pull *p)
{
    VitroCheckpoint *ckpt;
    char *path = vitro_path_join(p->part, p->weights);
    VitroStatus st = path ? vitro_checkpoint_open(&ckpt, path) : VITRO_NOMEM;
    if (st == VITRO_OK)
        vitro_checkpoint_close(ckpt);
    else if (st == VITRO_E_FORMAT || st == VITRO_E_UNSUPPORTED)
        unlinkat(p->part_fd, p->weights, 0);
    vitro_free(path);
    return st;
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* Gives the folder its name. An older commit's makes room; for a moment nothing is there. */
static VitroStatus place(Pull *p)
{
    VitroStatus st = VITRO_OK;
    char *old = vitro_asprintf("%s.old", p->dir);
    if (!old)
        return VITRO_NOMEM;
    unlinkat(p->part_fd, p->index.commit, 0);
    fsync(p->part_fd); /* some file systems cannot sync a directory: the renames still hold */
    remove_folder(old);
    if (rename(p->dir, old) != 0 && errno != ENOENT)
        st = vitro_fail_errno("%s: cannot be moved out of the way", p->dir);
    else if (rename(p->part, p->dir) != 0) {
        st = vitro_fail_errno("%s: cannot rename to %s", p->part, p->dir);
        if (rename(old, p->dir) != 0 && errno != ENOENT)
            vitro_log(VITRO_LOG_WARN, "%s: the earlier checkpoint is there", old);
    } else
        remove_folder(old);
    vitro_free(old);
    return st;
}

static VitroStatus fetch_all(Pull *p)
{
    VITRO_TRY(keep_same_commit(p));
    VITRO_TRY(fetch_if_there(p, "config.json"));
    VITRO_TRY(fetch_if_there(p, "preprocessor_config.json"));
    VITRO_TRY(fetch_weights(p));
    VITRO_TRY(check_weights(p));
    VITRO_TRY(vitro_hub_write_record(p->part, &p->name, p->index.commit, p->weights));
    return place(p);
}

static VitroStatus run(Pull *p, VitroPulled *out)
{
    VitroHubRecord record;
    const bool cached = vitro_hub_read_record(&record, p->dir) == VITRO_OK;
    VITRO_TRY(open_part(p));
    VitroStatus st = ask(p);
    if (st == VITRO_E_IO && cached) {
        *out = VITRO_PULLED_OFFLINE;
        return VITRO_OK;
    }
    VITRO_TRY(st);
    if (cached && strcmp(record.commit, p->index.commit) == 0) {
        *out = VITRO_PULLED_ALREADY;
        return VITRO_OK;
    }
    VITRO_TRY(fetch_all(p));
    *out = VITRO_PULLED;
    return VITRO_OK;
}

static VitroStatus set_up(Pull *p)
{
    const VitroPullOptions *o = p->options;
    const char *endpoint = o->endpoint ? o->endpoint : getenv("HF_ENDPOINT");
    const char *token = o->token ? o->token : getenv("HF_TOKEN");
    if (!endpoint || !*endpoint)
        endpoint = HUB;
    size_t n = strlen(endpoint);
    while (n && endpoint[n - 1] == '/')
        n--;
    p->endpoint = vitro_strndup(endpoint, n);
    p->token = token && *token ? token : NULL;
    VITRO_TRY(vitro_hub_dir(&p->dir, &p->name));
    p->part = vitro_asprintf("%s.part", p->dir);
    return p->endpoint && p->part ? VITRO_OK : VITRO_NOMEM;
}

VitroStatus vitro_hub_pull(VitroPulled *out, const VitroPullOptions *options)
{
    Pull *p = vitro_calloc(1, sizeof(*p));
    if (!p)
        return VITRO_NOMEM;
    p->options = options;
    p->part_fd = -1;
    VitroStatus st = vitro_hub_parse(&p->name, options->name);
    if (st == VITRO_OK)
        st = set_up(p);
    if (st == VITRO_OK)
        st = run(p, out);
    if (p->part_fd >= 0) {
        if (p->index.commit[0] == 0 || st == VITRO_OK)
            rmdir(p->part); /* refused where something is left in it */
        close(p->part_fd);
    }
    vitro_free(p->part);
    vitro_free(p->dir);
    vitro_free(p->endpoint);
    vitro_free(p);
    return st;
}
