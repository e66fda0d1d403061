/* SPDX-License-Identifier: Apache-2.0 */
/* A small vocabulary of float vectors, so that a kernel is written once (body/<op>.inc) and
 * compiled once per instruction set. The file that includes this defines VITRO_SIMD to one of the
 * three values below first; all else follows from it. VITRO_BF16_DOTS and VITRO_INT8_DOTS, where
 * defined, say that the instruction set has these products too.
 *
 *   vf            a vector of VL floats (plain C: one float)
 *   vi            VL 32-bit words
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
#if defined(VITRO_BF16_DOTS)
#define VITRO_TARGET                                                                               \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")))
#elif defined(VITRO_INT8_DOTS)
#define VITRO_TARGET                                                                               \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")))
#else
#define VITRO_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#endif
#define VITRO_KERNELS_NAME  "AVX-512"
#define VITRO_KERNELS_TABLE vitro_kernels_avx512
#define VL                  16
typedef __m512 vf;
typedef __m512i vi;

#elif VITRO_SIMD == VITRO_SIMD_AVX2

#include <immintrin.h>
#define VITRO_TARGET        __attribute__((target("avx2,fma")))
#define VITRO_KERNELS_NAME  "AVX2"
#define VITRO_KERNELS_TABLE vitro_kernels_avx2
#define VL                  8
typedef __m256 vf;
typedef __m256i vi;

#else

#define VITRO_TARGET
#define VITRO_KERNELS_NAME  "plain C"
#define VITRO_KERNELS_TABLE vitro_kernels_c
#define VL                  1
typedef float vf;
typedef uint32_t vi;

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
/* 1 / a to a unit in the last place or two, for ordinary a */
FN vf reciprocal(vf a)
{
    const vf r = _mm512_rcp14_ps(a);
    return _mm512_mul_ps(r, _mm512_fnmadd_ps(a, r, _mm512_set1_ps(2.0f)));
}
/* to 2^-11, where the result becomes bf16 */
FN vf rough_reciprocal(vf a)
{
    return _mm512_rcp14_ps(a);
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
FN vf if_nan(vf a, vf x, vf y)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), y, x);
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

FN vi words_of(vf a)
{
    return _mm512_castps_si512(a);
}
FN vf floats_of(vi a)
{
    return _mm512_castsi512_ps(a);
}
FN vi load_words(const void *p)
{
    return _mm512_loadu_si512(p);
}
FN void store_words(void *p, vi x)
{
    _mm512_storeu_si512(p, x);
}
FN vi set_word(uint32_t x)
{
    return _mm512_set1_epi32((int)x);
}
FN vi add_words(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}
FN vi and_words(vi a, vi b)
{
    return _mm512_and_si512(a, b);
}
FN vi or_words(vi a, vi b)
{
    return _mm512_or_si512(a, b);
}
FN vi shift_left(vi a, int n)
{
    return _mm512_slli_epi32(a, (unsigned)n);
}
FN vi shift_right(vi a, int n)
{
    return _mm512_srli_epi32(a, (unsigned)n);
}
/* To the nearest integer, ties to even. */
FN vi to_int(vf a)
{
    return _mm512_cvtps_epi32(a);
}
FN vf from_int(vi a)
{
    return _mm512_cvtepi32_ps(a);
}
/* The bf16 that `rounded` holds in the upper half of each word. */
FN void store_upper_halves(uint16_t *p, vi rounded)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}
FN vi load_upper_halves(const uint16_t *p)
{
    return _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16);
}
/* The low byte of each word. */
FN void store_bytes(uint8_t *p, vi a)
{
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(a));
}
/* The sums of products of the even and of the odd bytes of each 16 bits, unsigned by signed. */
FN vi dot_u8s8_by_parts(vi sum, vi a, vi b)
{
    const vi low = _mm512_set1_epi16(255);
    vi even =
        _mm512_madd_epi16(_mm512_and_si512(a, low), _mm512_srai_epi16(_mm512_slli_epi16(b, 8), 8));
    vi odd = _mm512_madd_epi16(_mm512_srli_epi16(a, 8), _mm512_srai_epi16(b, 8));
    return _mm512_add_epi32(sum, _mm512_add_epi32(even, odd));
}
/* x[j]'s element i becomes x[i]'s element j. */
FN void transpose_square(vi x[VL])
{
    vi t[VL];
#pragma GCC unroll 8
    for (int i = 0; i < VL; i += 2) {
        t[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < VL; i += 4) {
        x[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        x[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        x[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        x[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { /* 4x4 blocks within the quarters are done: now the quarters */
        vi a = _mm512_shuffle_i32x4(x[i], x[i + 4], 0x88);
        vi b = _mm512_shuffle_i32x4(x[i], x[i + 4], 0xdd);
        vi c = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0x88);
        vi d = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0xdd);
        x[i] = _mm512_shuffle_i32x4(a, c, 0x88);
        x[i + 4] = _mm512_shuffle_i32x4(b, d, 0x88);
        x[i + 8] = _mm512_shuffle_i32x4(a, c, 0xdd);
        x[i + 12] = _mm512_shuffle_i32x4(b, d, 0xdd);
    }
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
FN vf reciprocal(vf a)
{
    vf r = _mm256_rcp_ps(a); /* 11 bits */
    r = _mm256_mul_ps(r, _mm256_fnmadd_ps(a, r, _mm256_set1_ps(2.0f)));
    return _mm256_fmadd_ps(_mm256_fnmadd_ps(a, r, _mm256_set1_ps(1.0f)), r, r);
}
FN vf rough_reciprocal(vf a)
{
    return _mm256_rcp_ps(a);
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
FN vf if_nan(vf a, vf x, vf y)
{
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
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

FN vi words_of(vf a)
{
    return _mm256_castps_si256(a);
}
FN vf floats_of(vi a)
{
    return _mm256_castsi256_ps(a);
}
FN vi load_words(const void *p)
{
    return _mm256_loadu_si256(p);
}
FN void store_words(void *p, vi x)
{
    _mm256_storeu_si256(p, x);
}
FN vi set_word(uint32_t x)
{
    return _mm256_set1_epi32((int)x);
}
FN vi add_words(vi a, vi b)
{
    return _mm256_add_epi32(a, b);
}
FN vi and_words(vi a, vi b)
{
    return _mm256_and_si256(a, b);
}
FN vi or_words(vi a, vi b)
{
    return _mm256_or_si256(a, b);
}
FN vi shift_left(vi a, int n)
{
    return _mm256_slli_epi32(a, n);
}
FN vi shift_right(vi a, int n)
{
    return _mm256_srli_epi32(a, n);
}
FN vi to_int(vf a)
{
    return _mm256_cvtps_epi32(a);
}
FN vf from_int(vi a)
{
    return _mm256_cvtepi32_ps(a);
}
FN void store_upper_halves(uint16_t *p, vi rounded)
{
    vi halves = _mm256_srli_epi32(rounded, 16);
    vi packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(halves, halves), 0xd8);
    _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(packed));
}
FN vi load_upper_halves(const uint16_t *p)
{
    return _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16);
}
FN void store_bytes(uint8_t *p, vi a)
{
    const vi low = _mm256_set1_epi32(0x0c080400);
    vi b = _mm256_shuffle_epi8(a, low);
    uint32_t words[2] = {(uint32_t)_mm256_extract_epi32(b, 0),
                         (uint32_t)_mm256_extract_epi32(b, 4)};
    memcpy(p, words, sizeof words);
}
FN vi dot_u8s8_by_parts(vi sum, vi a, vi b)
{
    const vi low = _mm256_set1_epi16(255);
    vi even =
        _mm256_madd_epi16(_mm256_and_si256(a, low), _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
    vi odd = _mm256_madd_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));
    return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}
FN void transpose_square(vi x[VL])
{
    vi t[VL];
#pragma GCC unroll 4
    for (int i = 0; i < VL; i += 2) {
        t[i] = _mm256_unpacklo_epi32(x[i], x[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(x[i], x[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < VL; i += 4) {
        x[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        x[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
        x[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
        x[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        vi a = x[i], b = x[i + 4];
        x[i] = _mm256_permute2x128_si256(a, b, 0x20);
        x[i + 4] = _mm256_permute2x128_si256(a, b, 0x31);
    }
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
FN vf reciprocal(vf a)
{
    return 1.0f / a;
}
FN vf rough_reciprocal(vf a)
{
    return 1.0f / a;
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
FN vf if_nan(vf a, vf x, vf y)
{
    return a != a ? x : y;
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

FN vi words_of(vf a)
{
    vi x;
    memcpy(&x, &a, sizeof x);
    return x;
}
FN vf floats_of(vi a)
{
    vf x;
    memcpy(&x, &a, sizeof x);
    return x;
}
FN vi load_words(const void *p)
{
    vi x;
    memcpy(&x, p, sizeof x);
    return x;
}
FN void store_words(void *p, vi x)
{
    memcpy(p, &x, sizeof x);
}
FN vi set_word(uint32_t x)
{
    return x;
}
FN vi add_words(vi a, vi b)
{
    return a + b;
}
FN vi and_words(vi a, vi b)
{
    return a & b;
}
FN vi or_words(vi a, vi b)
{
    return a | b;
}
FN vi shift_left(vi a, int n)
{
    return a << n;
}
FN vi shift_right(vi a, int n)
{
    return a >> n;
}
FN vi to_int(vf a)
{
    return (uint32_t)(int32_t)rintf(a);
}
FN vf from_int(vi a)
{
    return (float)(int32_t)a;
}
FN void store_upper_halves(uint16_t *p, vi rounded)
{
    *p = (uint16_t)(rounded >> 16);
}
FN vi load_upper_halves(const uint16_t *p)
{
    return (uint32_t)*p << 16;
}
FN void store_bytes(uint8_t *p, vi a)
{
    *p = (uint8_t)a;
}
FN vi dot_u8s8_by_parts(vi sum, vi a, vi b)
{
    for (int i = 0; i < 32; i += 8)
        sum += (a >> i & 255) * (uint32_t)(int32_t)(int8_t)(b >> i & 255);
    return sum;
}
FN void transpose_square(vi x[VL])
{
    (void)x;
}

#endif

/* ---- products of words --------------------------------------------------------------------------
 * A word is one float, two bf16 or four bytes. */

/* Each word's two bf16 products, added. */
FN vf dot_bf16(vf sum, vi a, vi b)
{
#if defined(VITRO_BF16_DOTS)
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
#else
    const vi upper = set_word(0xffff0000u);
    sum = madd(floats_of(shift_left(a, 16)), floats_of(shift_left(b, 16)), sum);
    return madd(floats_of(and_words(a, upper)), floats_of(and_words(b, upper)), sum);
#endif
}

/* Each word's four products of an unsigned and a signed byte, added. */
FN vi dot_u8s8(vi sum, vi a, vi b)
{
#if defined(VITRO_INT8_DOTS)
    return _mm512_dpbusd_epi32(sum, a, b);
#else
    return dot_u8s8_by_parts(sum, a, b);
#endif
}

/* x rounded to bf16, ties to even, in the upper half of each word; the lower half is undefined. NaN
 * keeps its sign and its upper half, with a bit set so that it stays one. */
FN vi nearest_bf16(vf x)
{
    vi bits = words_of(x);
    vi odd = and_words(shift_right(bits, 16), set_word(1));
    vi rounded = add_words(bits, add_words(odd, set_word(0x7fff)));
    vi nan = or_words(bits, set_word(0x400000));
    return words_of(if_nan(x, floats_of(nan), floats_of(rounded)));
}

/* 2^t for t <= 0, or a rounding above it, to 2 units in the last place; below -126, 0. */
FN vf power_of_2(vf t)
{
    const vf lowest = set1(-126.0f), c = maximum(lowest, t), n = nearest(c), r = sub(c, n);
    vf p = set1(1.535335878e-04f);
    p = madd(p, r, set1(1.339887509e-03f));
    p = madd(p, r, set1(9.618437376e-03f));
    p = madd(p, r, set1(5.550332469e-02f));
    p = madd(p, r, set1(2.402264791e-01f));
    p = madd(p, r, set1(6.931472029e-01f));
    p = madd(p, r, set1(1.0f));
    return if_less(t, lowest, set1(0.0f), scale2(p, n));
}

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
