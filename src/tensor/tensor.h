/* SPDX-License-Identifier: Apache-2.0 */
/* VitroTensor: a by-value view of contiguous elements. It owns nothing: the memory is an arena's or
 * the caller's. The first dimension varies slowest, as in the paper and in PyTorch. (CUDA sources
 * read this, as C++.) */
#ifndef VITRO_TENSOR_TENSOR_H
#define VITRO_TENSOR_TENSOR_H

#include "base/status.h"
#include "vitro/checkpoint.h" /* VitroDtype */

#define VITRO_MAX_RANK 4

typedef struct VitroTensor {
    void *data; /* NULL: no tensor */
    VitroDtype dtype;
    int rank;
    int64_t dim[VITRO_MAX_RANK];
} VitroTensor;

#define VITRO_NO_TENSOR ((VitroTensor){0})

/* vitro_tensor(data, dtype, 2, (int64_t[]){B, D}) */
VitroTensor vitro_tensor(void *data, VitroDtype dtype, int rank, const int64_t *dim);
static inline VitroTensor vitro_tensor1(void *data, VitroDtype dtype, int64_t d0)
{
    const int64_t dim[] = {d0};
    return vitro_tensor(data, dtype, 1, dim);
}
static inline VitroTensor vitro_tensor2(void *data, VitroDtype dtype, int64_t d0, int64_t d1)
{
    const int64_t dim[] = {d0, d1};
    return vitro_tensor(data, dtype, 2, dim);
}
static inline VitroTensor vitro_tensor3(void *data, VitroDtype dtype, int64_t d0, int64_t d1,
                                        int64_t d2)
{
    const int64_t dim[] = {d0, d1, d2};
    return vitro_tensor(data, dtype, 3, dim);
}
static inline VitroTensor vitro_tensor4(void *data, VitroDtype dtype, int64_t d0, int64_t d1,
                                        int64_t d2, int64_t d3)
{
    const int64_t dim[] = {d0, d1, d2, d3};
    return vitro_tensor(data, dtype, 4, dim);
}

int64_t vitro_tensor_count(const VitroTensor *t); /* elements; 0 for VITRO_NO_TENSOR */
size_t vitro_tensor_bytes(const VitroTensor *t);
/* The last dimension, and the product of the others: a tensor seen as rows. */
static inline int64_t vitro_tensor_cols(const VitroTensor *t)
{
    return t->dim[t->rank - 1];
}
int64_t vitro_tensor_rows(const VitroTensor *t);
/* The elements [first, first + n) of dim[0]; no tensor's part is none. */
VitroTensor vitro_tensor_part(VitroTensor t, int64_t first, int64_t n);
/* The same elements as [rows, cols]. */
VitroTensor vitro_tensor_as_rows(VitroTensor t);
/* "[2, 3, 4]" into `out`; returns out. */
char *vitro_tensor_shape_text(char *out, size_t size, int rank, const int64_t *dim);

#endif
