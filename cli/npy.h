/* SPDX-License-Identifier: Apache-2.0 */
/* A float32 array [N,C,height,width] as numpy's .npy, row by row: N is known at the end. */
#ifndef VITRO_CLI_NPY_H
#define VITRO_CLI_NPY_H

#include "out_file.h"

typedef struct NpyFile {
    OutFile file;
    int channels, height, width;
    int64_t rows;
} NpyFile;

int npy_open(NpyFile *n, const char *path, int channels, int height, int width);
/* Appends [C,height,width]. */
void npy_append(NpyFile *n, const float *row);
int npy_commit(NpyFile *n);
/* Forgets the file; harmless after a commit or on a zeroed NpyFile. */
void npy_abort(NpyFile *n);

#endif
