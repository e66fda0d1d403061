/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/tensor.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

VitroTensor vitro_tensor(void *data, VitroDtype dtype, int rank, const int64_t *dim)
{
    assert(rank >= 1 && rank <= VITRO_MAX_RANK);
    VitroTensor t = {.data = data, .dtype = dtype, .rank = rank};
    for (int i = 0; i < rank; i++)
        t.dim[i] = dim[i];
    return t;
}

int64_t vitro_tensor_count(const VitroTensor *t)
{
    int64_t n = t->rank ? 1 : 0;
    for (int i = 0; i < t->rank; i++)
        n *= t->dim[i];
    return n;
}

size_t vitro_tensor_bytes(const VitroTensor *t)
{
    return (size_t)vitro_tensor_count(t) * vitro_dtype_size(t->dtype);
}

int64_t vitro_tensor_rows(const VitroTensor *t)
{
    int64_t n = 1;
    for (int i = 0; i + 1 < t->rank; i++)
        n *= t->dim[i];
    return n;
}

VitroTensor vitro_tensor_part(VitroTensor t, int64_t first, int64_t n)
{
    if (!t.data)
        return VITRO_NO_TENSOR;
    assert(first >= 0 && n >= 0 && first + n <= t.dim[0]);
    t.data = (uint8_t *)t.data + vitro_tensor_bytes(&t) / (size_t)t.dim[0] * (size_t)first;
    t.dim[0] = n;
    return t;
}

VitroTensor vitro_tensor_as_rows(VitroTensor t)
{
    return vitro_tensor2(t.data, t.dtype, vitro_tensor_rows(&t), vitro_tensor_cols(&t));
}

char *vitro_tensor_shape_text(char *out, size_t size, int rank, const int64_t *dim)
{
    size_t at = 0;
    int n = snprintf(out, size, "[");
    for (int i = 0; i < rank && n >= 0; i++) {
        at += (size_t)n;
        if (at >= size)
            return out;
        n = snprintf(out + at, size - at, "%s%" PRId64, i ? ", " : "", dim[i]);
    }
    at += n > 0 ? (size_t)n : 0;
    if (at < size)
        snprintf(out + at, size - at, "]");
    return out;
}
