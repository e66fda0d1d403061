/* SPDX-License-Identifier: Apache-2.0 */
/* What every command of `vitro` shares: exit statuses, the one error line, notes, memory.
 *
 * Functions of the cli folder that can fail print their own line and return an exit status:
 * CLI_OK to go on, anything else to leave with. Results go to stdout, the rest to stderr. */
#ifndef VITRO_CLI_H
#define VITRO_CLI_H

#include "vitro/vitro.h"

#if defined(__GNUC__)
#define CLI_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define CLI_PRINTF(fmt, args)
#endif

enum {
    CLI_OK = 0,
    CLI_FAILED = 1, /* bad data, bad file, no memory, ... */
    CLI_USAGE = 2   /* the command line is wrong */
};

/* Prints "vitro: error: TEXT" on one line; control characters in TEXT become blanks. */
int cli_fail(const char *fmt, ...) CLI_PRINTF(1, 2);  /* returns CLI_FAILED */
int cli_usage(const char *fmt, ...) CLI_PRINTF(1, 2); /* returns CLI_USAGE */
int cli_fail_lib(void); /* the library's last error; returns CLI_FAILED */

/* Prints TEXT as one line on stderr. */
void cli_note(const char *fmt, ...) CLI_PRINTF(1, 2);

/* A progress bar stands on stderr without a newline: the next line printed here ends it first. */
void cli_line_open(bool open);

/* Zeroed memory, and copies; where there is none they end the program with the error line. Free
 * with free(). */
void *cli_alloc(size_t count, size_t size);
char *cli_strdup(const char *s);
char *cli_format(const char *fmt, ...) CLI_PRINTF(1, 2);

/* Copies `s` for a terminal: control characters become '?', at most `size` bytes with the NUL. */
const char *cli_clean(char *out, size_t size, const char *s);

/* Writes out what stdout holds; a full disk is an error that is told once. */
int cli_flush(void);

/* Monotonic time in seconds. */
double cli_seconds(void);

/* Threads that pay off where the user asked for none: min(cores, 8), 0 at batch size 1. */
int cli_default_workers(int64_t batch_size);

/* The commands. argv[0] is the command's name. They return the exit status. */
int cmd_train(int argc, char **argv);
int cmd_predict(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_summary(int argc, char **argv);
int cmd_pull(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_convert(int argc, char **argv);

#endif
