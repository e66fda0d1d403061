/* SPDX-License-Identifier: Apache-2.0 */
/* The option tables in other dress: manual pages, and completion for shells. They are made when
 * Vitro is built, by `vitro [COMMAND] --help=FORM`, so that they cannot disagree with the parser.
 */
#ifndef VITRO_CLI_MANUAL_H
#define VITRO_CLI_MANUAL_H

#include "args.h"

typedef struct Command {
    const char *name;
    const char *summary; /* "measure speed" */
    int (*run)(int argc, char **argv);
    bool computes; /* on several threads */
} Command;

/* vitro(1). `commands` ends with an empty one. */
void manual_program(const Command *commands, FILE *out);
/* vitro-COMMAND(1). */
void manual_command(const ArgSpec *spec, FILE *out);

/* A whole completion script; it asks each command for its part, as --help=bash or --help=zsh. */
void completion_bash(const Command *commands);
void completion_zsh(const Command *commands);
/* A command's part of it. */
void completion_bash_command(const ArgSpec *spec, FILE *out);
void completion_zsh_command(const ArgSpec *spec, FILE *out);

#endif
