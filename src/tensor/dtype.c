/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/dtype.h"

#include <assert.h>

static const struct {
    const char *name;
    size_t size;
    bool is_float;
} dtypes[] = {
    [VITRO_F32] = {"F32", 4, true},   [VITRO_F16] = {"F16", 2, true},
    [VITRO_BF16] = {"BF16", 2, true}, [VITRO_F64] = {"F64", 8, true},
    [VITRO_U8] = {"U8", 1, false},    [VITRO_I8] = {"I8", 1, false},
    [VITRO_I16] = {"I16", 2, false},  [VITRO_I32] = {"I32", 4, false},
    [VITRO_I64] = {"I64", 8, false},  [VITRO_BOOL] = {"BOOL", 1, false},
};

static bool is_known(VitroDtype dtype)
{
    return (size_t)dtype < sizeof(dtypes) / sizeof(dtypes[0]);
}

size_t vitro_dtype_size(VitroDtype dtype)
{
    return is_known(dtype) ? dtypes[dtype].size : 0;
}

const char *vitro_dtype_name(VitroDtype dtype)
{
    return is_known(dtype) ? dtypes[dtype].name : "?";
}

bool vitro_dtype_is_float(VitroDtype dtype)
{
    return is_known(dtype) && dtypes[dtype].is_float;
}

/* memcpy of one element is how C says "unaligned load"; it costs nothing. */
#define CONVERT(out_type, in_type, expression)                                                     \
    do {                                                                                           \
        for (int64_t i = 0; i < n; i++) {                                                          \
            in_type x;                                                                             \
            memcpy(&x, (const char *)in + (size_t)i * sizeof(x), sizeof(x));                       \
            out_type y = (out_type)(expression);                                                   \
            memcpy((char *)out + (size_t)i * sizeof(y), &y, sizeof(y));                            \
        }                                                                                          \
    } while (0)

void vitro_f32_from(float *restrict out, const void *restrict in, VitroDtype dtype, int64_t n)
{
    assert(vitro_dtype_is_float(dtype));
    if (dtype == VITRO_F32 && n)
        memcpy(out, in, (size_t)n * sizeof(float));
    else if (dtype == VITRO_F16)
        CONVERT(float, uint16_t, vitro_f32_from_f16(x));
    else if (dtype == VITRO_BF16)
        CONVERT(float, uint16_t, vitro_f32_from_bf16(x));
    else if (dtype == VITRO_F64)
        CONVERT(float, double, x);
}

void vitro_f32_to(void *restrict out, VitroDtype dtype, const float *restrict in, int64_t n)
{
    assert(vitro_dtype_is_float(dtype));
    if (dtype == VITRO_F32 && n)
        memcpy(out, in, (size_t)n * sizeof(float));
    else if (dtype == VITRO_F16)
        CONVERT(uint16_t, float, vitro_f16_from_f32(x));
    else if (dtype == VITRO_BF16)
        CONVERT(uint16_t, float, vitro_bf16_from_f32(x));
    else if (dtype == VITRO_F64)
        CONVERT(double, float, x);
}
