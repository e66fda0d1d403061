/* SPDX-License-Identifier: Apache-2.0 */
/* The pictures that a command line names: files, folders, lists, standard input. */
#ifndef VITRO_CLI_INPUTS_H
#define VITRO_CLI_INPUTS_H

#include "args.h"

typedef struct InputList {
    char **names; /* [count] paths; "-" is standard input */
    int64_t count, capacity;
    bool has_stdin; /* at most one name is "-" */
    bool whole_folders;
} InputList;

/* Every operand in its order:
 *   FOLDER   its pictures by name in byte order; where it has none, those of its sub-folders
 *            (class folders), in byte order too; not deeper
 *   @FILE    the lines of the file (@-: of standard input), each a file or a folder
 *   -        one picture on standard input
 *   else     a file, whether it exists or not
 * A folder or list without a picture is an error. */
int inputs_collect(InputList *list, const char *const *operands, int count);
/* The same, but of a folder every picture, whatever its depth, and of any format that a folder of
 * class folders takes for a picture; "-" is no picture here. */
int inputs_collect_all(InputList *list, const char *const *operands, int count);
void inputs_deinit(InputList *list);

/* The bytes of standard input, at most `max`; free() them. */
int read_stdin(void **data, size_t *size, size_t max);

#endif
