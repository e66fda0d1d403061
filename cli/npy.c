/* SPDX-License-Identifier: Apache-2.0 */
/* numpy's .npy, version 1.0: magic, length of the header, a Python dict padded with blanks. */
#include "npy.h"

#include <inttypes.h>
#include <string.h>

#define HEADER_BYTES 128 /* a multiple of 64, as numpy aligns the data */

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define FLOAT32 ">f4"
#else
#define FLOAT32 "<f4"
#endif

static void write_header(NpyFile *n)
{
    char header[HEADER_BYTES + 1];
    memset(header, ' ', HEADER_BYTES);
    memcpy(header, "\x93NUMPY\1\0", 8);
    header[8] = (char)(HEADER_BYTES - 10);
    header[9] = 0;
    int length = snprintf(header + 10, HEADER_BYTES - 10,
                          "{'descr': '" FLOAT32 "', 'fortran_order': False, 'shape': (%" PRId64
                          ", %d, %d, %d), }",
                          n->rows, n->channels, n->height, n->width);
    header[10 + length] = ' ';
    header[HEADER_BYTES - 1] = '\n';
    fwrite(header, 1, HEADER_BYTES, n->file.stream);
}

int npy_open(NpyFile *n, const char *path, int channels, int height, int width)
{
    *n = (NpyFile){.channels = channels, .height = height, .width = width};
    int status = out_file_open(&n->file, path);
    if (!status)
        write_header(n); /* a place for it; errors show at the commit */
    return status;
}

void npy_append(NpyFile *n, const float *row)
{
    size_t count = (size_t)n->channels * (size_t)n->height * (size_t)n->width;
    fwrite(row, sizeof(float), count, n->file.stream);
    n->rows++;
}

int npy_commit(NpyFile *n)
{
    rewind(n->file.stream);
    write_header(n);
    return out_file_commit(&n->file);
}

void npy_abort(NpyFile *n)
{
    out_file_abort(&n->file);
}
