/* SPDX-License-Identifier: Apache-2.0 */
/* Files written whole or not at all, through a stream. */
#include "out_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Files that are open now. Where there is no memory the program ends on the spot (cli_alloc): what
 * was begun must not lie about then. */
enum { MAX_OPEN = 4 };
static VitroOutput *unfinished[MAX_OPEN];

static void abort_unfinished(void)
{
    for (int i = 0; i < MAX_OPEN; i++)
        vitro_output_abort(unfinished[i]);
}

/* Puts `to` in the place of `from`. */
static void note_unfinished(const VitroOutput *from, VitroOutput *to)
{
    static bool registered;
    if (!registered)
        registered = atexit(abort_unfinished) == 0;
    for (int i = 0; i < MAX_OPEN; i++) {
        if (unfinished[i] == from) {
            unfinished[i] = to;
            return;
        }
    }
}

int out_file_open(OutFile *f, const char *path)
{
    *f = (OutFile){0};
    if (vitro_output_open(&f->output, path))
        return cli_fail_lib();
    note_unfinished(NULL, f->output);
    /* a descriptor of its own: fclose is how a stream tells of late failures */
    int fd = fcntl(vitro_output_fd(f->output), F_DUPFD_CLOEXEC, 0);
    f->stream = fd < 0 ? NULL : fdopen(fd, "wb");
    if (f->stream) {
        f->path = cli_strdup(path);
        return CLI_OK;
    }
    int reason = errno;
    if (fd >= 0)
        close(fd);
    out_file_abort(f);
    return cli_fail("%s: cannot write: %s", path, strerror(reason));
}

int out_file_commit(OutFile *f)
{
    errno = 0;
    bool bad = ferror(f->stream) || fflush(f->stream);
    int reason = bad && errno ? errno : EIO;
    if (fclose(f->stream) && !bad) {
        bad = true;
        reason = errno;
    }
    f->stream = NULL;
    int status = bad ? cli_fail("%s: cannot write: %s", f->path, strerror(reason)) : CLI_OK;
    VitroOutput *output = f->output;
    f->output = NULL;
    note_unfinished(output, NULL);
    if (bad)
        vitro_output_abort(output);
    else if (vitro_output_commit(output))
        status = cli_fail_lib();
    out_file_abort(f);
    return status;
}

void out_file_abort(OutFile *f)
{
    if (f->stream)
        fclose(f->stream);
    if (f->output)
        note_unfinished(f->output, NULL);
    vitro_output_abort(f->output);
    free(f->path);
    *f = (OutFile){0};
}

int out_file_check(const char *path)
{
    OutFile f;
    int status = out_file_open(&f, path);
    if (!status)
        out_file_abort(&f);
    return status;
}

bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int make_folders(const char *path)
{
    char *copy = cli_strdup(path);
    int reason = 0;
    for (char *c = copy + 1; !reason; c++) {
        if (*c && *c != '/')
            continue;
        char end = *c;
        *c = 0;
        if (mkdir(copy, 0777) && errno != EEXIST)
            reason = errno;
        *c = end;
        if (!end)
            break;
    }
    struct stat info;
    if (!reason && (stat(path, &info) || !S_ISDIR(info.st_mode)))
        reason = ENOTDIR;
    free(copy);
    return reason ? cli_fail("%s: the folder cannot be made: %s", path, strerror(reason)) : CLI_OK;
}
