/* SPDX-License-Identifier: Apache-2.0 */
/* Files that appear under their name whole or not at all, and the folders they lie in. */
#ifndef VITRO_CLI_OUT_FILE_H
#define VITRO_CLI_OUT_FILE_H

#include "cli.h"

#include <stdio.h>

typedef struct OutFile {
    FILE *stream; /* NULL when closed */
    VitroOutput *output;
    char *path;
} OutFile;

/* `path` is new or a regular file. Where it is neither, or cannot be made: CLI_FAILED. */
int out_file_open(OutFile *f, const char *path);
/* Puts the file in its place. After a failure nothing is left of it. */
int out_file_commit(OutFile *f);
/* Forgets the file; harmless after a commit or on a zeroed OutFile. */
void out_file_abort(OutFile *f);

/* Whether `path` can be opened as above: to be told so before the work, not after it. */
int out_file_check(const char *path);

/* Whether both name one existing file, by whatever way. */
bool same_file(const char *a, const char *b);

/* As mkdir -p. */
int make_folders(const char *path);

#endif
