/* SPDX-License-Identifier: Apache-2.0 */
#include "tensor/dtype.h"

#include "base/cpu.h"

#include <assert.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

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

#if defined(__x86_64__)
/* Files of halves are widened at every start. The other types' loops run at memory's speed as they
 * are. Returns how many elements it did. */
__attribute__((target("f16c"))) static int64_t f32_from_f16_eights(float *out, const char *in,
                                                                   int64_t n)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(in + 2 * i))));
    return i;
}
#endif

void vitro_f32_from(float *restrict out, const void *restrict in, VitroDtype dtype, int64_t n)
{
    assert(vitro_dtype_is_float(dtype));
#if defined(__x86_64__)
    if (dtype == VITRO_F16 && vitro_cpu_flags() & VITRO_CPU_AVX2) {
        int64_t done = f32_from_f16_eights(out, in, n);
        out += done;
        in = (const char *)in + 2 * done;
        n -= done;
    }
#endif
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
