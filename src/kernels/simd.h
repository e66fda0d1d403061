/* SPDX-License-Identifier: Apache-2.0 */
/* A small vocabulary of float vectors, so that a kernel is written once (body/<op>.inc) and
 * compiled once per instruction set. The file that includes this defines VITRO_SIMD to one of the
 * three values below first; all else follows from it.
 *
 *   vf            a vector of VL floats (plain C: one float)
 *   load(p, w)    its first w floats, the others 0; w == VL is a plain load
 *   madd(a, b, c) a*b + c, in one rounding where the instruction set has it
 *
 * Comparisons and max/min hand a NaN in the *second* operand on. It knows no op. */
#ifndef VITRO_KERNELS_SIMD_H
#define VITRO_KERNELS_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define VITRO_SIMD_C      0
#define VITRO_SIMD_AVX2   1
#define VITRO_SIMD_AVX512 2

#if VITRO_SIMD == VITRO_SIMD_AVX512

#include <immintrin.h>
#define VITRO_TARGET        __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define VITRO_KERNELS_NAME  "AVX-512"
#define VITRO_KERNELS_TABLE vitro_kernels_avx512
#define VL                  16
typedef __m512 vf;

#elif VITRO_SIMD == VITRO_SIMD_AVX2

#include <immintrin.h>
#define VITRO_TARGET        __attribute__((target("avx2,fma")))
#define VITRO_KERNELS_NAME  "AVX2"
#define VITRO_KERNELS_TABLE vitro_kernels_avx2
#define VL                  8
typedef __m256 vf;

#else

#define VITRO_TARGET
#define VITRO_KERNELS_NAME  "plain C"
#define VITRO_KERNELS_TABLE vitro_kernels_c
#define VL                  1
typedef float vf;

#endif

#define FN static inline __attribute__((always_inline, unused)) VITRO_TARGET

/* Runs the statements for i = 0, VL, 2 VL, ... below n; w is how many of the vector's elements
 * exist: VL (known to the compiler) but in the last round. */
#define EACH_VECTOR(n, ...)                                                                        \
    do {                                                                                           \
        int64_t i = 0;                                                                             \
        for (; i + VL <= (n); i += VL) {                                                           \
            enum { w = VL };                                                                       \
            __VA_ARGS__                                                                            \
        }                                                                                          \
        if (i < (n)) {                                                                             \
            const int w = (int)((n)-i);                                                            \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    } while (0)

#if VITRO_SIMD == VITRO_SIMD_AVX512

FN vf set1(float x)
{
    return _mm512_set1_ps(x);
}
FN vf load(const float *p, int w)
{
    return w == VL ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps((__mmask16)((1u << w) - 1), p);
}
FN void store(float *p, vf x, int w)
{
    if (w == VL)
        _mm512_storeu_ps(p, x);
    else
        _mm512_mask_storeu_ps(p, (__mmask16)((1u << w) - 1), x);
}
FN vf add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}
FN vf sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}
FN vf mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}
FN vf divide(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}
FN vf madd(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
FN vf maximum(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}
FN vf minimum(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}
FN vf square_root(vf a)
{
    return _mm512_sqrt_ps(a);
}
FN vf magnitude(vf a)
{
    return _mm512_abs_ps(a);
}
/* a < b ? x : y */
FN vf if_less(vf a, vf b, vf x, vf y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}
FN vf nearest(vf a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/* a * 2^n for an integral -126 <= n <= 127 */
FN vf scale2(vf a, vf n)
{
    return _mm512_scalef_ps(a, n);
}
/* The elements from w on become x's. */
FN vf keep_first(vf a, int w, vf x)
{
    return w == VL ? a : _mm512_mask_blend_ps((__mmask16)((1u << w) - 1), x, a);
}
FN float sum_across(vf a)
{
    return _mm512_reduce_add_ps(a);
}
FN float max_across(vf a)
{
    return _mm512_reduce_max_ps(a);
}

#elif VITRO_SIMD == VITRO_SIMD_AVX2

FN __m256i first_lanes(int w)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(w), lane);
}
FN vf set1(float x)
{
    return _mm256_set1_ps(x);
}
FN vf load(const float *p, int w)
{
    return w == VL ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, first_lanes(w));
}
FN void store(float *p, vf x, int w)
{
    if (w == VL)
        _mm256_storeu_ps(p, x);
    else
        _mm256_maskstore_ps(p, first_lanes(w), x);
}
FN vf add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}
FN vf sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}
FN vf mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}
FN vf divide(vf a, vf b)
{
    return _mm256_div_ps(a, b);
}
FN vf madd(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}
FN vf maximum(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}
FN vf minimum(vf a, vf b)
{
    return _mm256_min_ps(a, b);
}
FN vf square_root(vf a)
{
    return _mm256_sqrt_ps(a);
}
FN vf magnitude(vf a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
FN vf if_less(vf a, vf b, vf x, vf y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
FN vf nearest(vf a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
FN vf scale2(vf a, vf n)
{
    __m256i e =
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(a, _mm256_castsi256_ps(e));
}
FN vf keep_first(vf a, int w, vf x)
{
    return w == VL ? a : _mm256_blendv_ps(x, a, _mm256_castsi256_ps(first_lanes(w)));
}
FN float sum_across(vf a)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
FN float max_across(vf a)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

#else

FN vf set1(float x)
{
    return x;
}
FN vf load(const float *p, int w)
{
    (void)w;
    return *p;
}
FN void store(float *p, vf x, int w)
{
    (void)w;
    *p = x;
}
FN vf add(vf a, vf b)
{
    return a + b;
}
FN vf sub(vf a, vf b)
{
    return a - b;
}
FN vf mul(vf a, vf b)
{
    return a * b;
}
FN vf divide(vf a, vf b)
{
    return a / b;
}

FN vf madd(vf a, vf b, vf c)
{
    return a * b + c;
}
FN vf maximum(vf a, vf b)
{
    return a > b ? a : b;
}
FN vf minimum(vf a, vf b)
{
    return a < b ? a : b;
}
FN vf square_root(vf a)
{
    return sqrtf(a);
}
FN vf magnitude(vf a)
{
    return fabsf(a);
}
FN vf if_less(vf a, vf b, vf x, vf y)
{
    return a < b ? x : y;
}
FN vf nearest(vf a)
{
    return (a + 0x1.8p23f) - 0x1.8p23f; /* for |a| < 2^22 */
}
FN vf scale2(vf a, vf n)
{
    uint32_t e = (uint32_t)((int32_t)(n == n ? n : 0) + 127) << 23;
    float two_n;
    memcpy(&two_n, &e, sizeof two_n);
    return a * two_n;
}
FN vf keep_first(vf a, int w, vf x)
{
    (void)w, (void)x;
    return a;
}
FN float sum_across(vf a)
{
    return a;
}
FN float max_across(vf a)
{
    return a;
}

#endif

/* e^x to 2 units in the last place; below -87.3, where float32 would turn subnormal, 0. */
FN vf exponential(vf x)
{
    const vf lowest = set1(-87.3f);
    vf c = minimum(set1(88.3f), maximum(lowest, x));
    vf n = nearest(mul(c, set1(1.44269504f)));
    /* ln 2 in two parts, the first short enough for n * part to be exact */
    vf r = madd(n, set1(-0.693359375f), c);
    r = madd(n, set1(2.12194440e-4f), r);
    vf p = set1(1.985780102e-04f);
    p = madd(p, r, set1(1.393360440e-03f));
    p = madd(p, r, set1(8.333360724e-03f));
    p = madd(p, r, set1(4.166646547e-02f));
    p = madd(p, r, set1(1.666666653e-01f));
    p = madd(p, r, set1(0.5f));
    p = add(madd(mul(p, r), r, r), set1(1.0f));
    return if_less(x, lowest, set1(0.0f), scale2(p, n));
}

#endif
