/* SPDX-License-Identifier: Apache-2.0 */
/* Files written whole or not at all: a temporary file, synced and renamed. */
#include "out_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int out_file_open(OutFile *f, const char *path)
{
    *f = (OutFile){0};
    struct stat info;
    /* A rename would put a plain file in the place of a device or a pipe. */
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return cli_fail("%s: found %s, expected a file to write", path,
                        S_ISDIR(info.st_mode) ? "a folder" : "a device or pipe");
    char *target = realpath(path, NULL); /* a link stays a link: what it names is replaced */
    f->path = cli_strdup(target ? target : path);
    free(target);
    f->temp_path = cli_format("%s.%ld.tmp", f->path, (long)getpid());
    int fd = open(f->temp_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    f->stream = fd < 0 ? NULL : fdopen(fd, "wb");
    if (f->stream)
        return CLI_OK;
    int reason = errno;
    if (fd >= 0) {
        close(fd);
        unlink(f->temp_path);
    }
    out_file_abort(f);
    return cli_fail("%s: cannot be written: %s", path, strerror(reason));
}

int out_file_commit(OutFile *f)
{
    int reason = 0;
    errno = 0;
    if (ferror(f->stream) || fflush(f->stream) || fsync(fileno(f->stream)))
        reason = errno ? errno : EIO;
    if (fclose(f->stream) && !reason)
        reason = errno;
    f->stream = NULL;
    if (!reason && rename(f->temp_path, f->path))
        reason = errno;
    int status = CLI_OK;
    if (reason) {
        unlink(f->temp_path);
        status = cli_fail("%s: cannot be written: %s", f->path, strerror(reason));
    }
    out_file_abort(f);
    return status;
}

void out_file_abort(OutFile *f)
{
    if (f->stream) {
        fclose(f->stream);
        unlink(f->temp_path);
    }
    free(f->path);
    free(f->temp_path);
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
