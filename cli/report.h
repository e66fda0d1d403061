/* SPDX-License-Identifier: Apache-2.0 */
/* How results and progress are written: JSON pieces, Python's number format, the progress bar.
 * Knows no command. */
#ifndef VITRO_CLI_REPORT_H
#define VITRO_CLI_REPORT_H

#include "cli.h"

#include <stdio.h>

/* ---- JSON --------------------------------------------------------------------------------- */

/* A string in quotes, escaped; bytes that are no UTF-8 become U+FFFD. NULL prints null. */
void put_json_string(FILE *out, const char *s);
/* The shortest of 9 to 17 significant digits that reads back as the same double; null where it is
 * not finite. */
void put_json_number(FILE *out, double v);
/* 9 significant digits, which read back as the same float; null where it is not finite. */
void put_json_float(FILE *out, float v);
/* [v, v, ...] */
void put_json_floats(FILE *out, const float *v, int64_t n);

/* ---- numbers as the original prints them ---------------------------------------------------- */

#define PYTHON_FORMAT_BYTES 32
/* Python's format(v, '.3'): three significant digits, at least one digit behind the point (0.5,
 * 1.0, 0.987), an exponent below 1e-4 and from 100 on (1.23e-05, 1e+02). Returns `out`. */
const char *format_python_3(char out[PYTHON_FORMAT_BYTES], double v);

/* 12345678 as "12,345,678". Returns `out`. */
#define GROUPED_BYTES 32
const char *format_grouped(char out[GROUPED_BYTES], int64_t v);

/* Bytes as "512 B", "3.1 KiB", "45.6 MiB", "1.23 GiB". Returns `out`. */
#define MEMORY_BYTES 32
const char *format_memory(char out[MEMORY_BYTES], int64_t bytes);

/* ---- progress ----------------------------------------------------------------------------- */

/* Where stderr is a terminal, a bar in place, as tqdm draws it:
 *     [train epoch 0] loss: 4.123, acc: 0.056:  31%|###       | 12/39 [00:03<00:08, 3.21it/s]
 * elsewhere the same figures as a line every 10 s, and one at the end. */
typedef struct Progress {
    int64_t total;       /* steps or bytes; 0: unknown */
    int64_t first;       /* done before the clock started */
    bool bytes;          /* 12.3M/169M and 4.56MB/s in place of 12/39 and 3.21it/s */
    double began, drawn; /* cli_seconds() */
    bool terminal;
} Progress;

void progress_begin(Progress *p, int64_t total);
/* For bytes, of which `first` are there already. */
void progress_begin_bytes(Progress *p, int64_t first, int64_t total);
/* `done` steps are over; `text` stands in front. Draws at most ten times a second. */
void progress_update(Progress *p, int64_t done, const char *text);
/* The last state, which stays on its line. */
void progress_end(Progress *p, int64_t done, const char *text);

#endif
