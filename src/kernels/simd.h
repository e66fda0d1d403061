/* SPDX-License-Identifier: Apache-2.0 */
/* A small vocabulary of float vectors, so that a kernel is written once (body/<op>.inc) and
 * compiled once per instruction set. The file that includes this defines VITRO_SIMD to one of the
 * values below first; all else follows from it. VITRO_BF16_DOTS and VITRO_INT8_DOTS, where
 * defined, say that the instruction set has these products too. simd/ has a file for each set:
 *
 *   vf                       a vector of VL floats
 *   vi                       VL 32-bit words
 *   load(p, w)               its first w floats, the others 0; w == VL is a plain load
 *   madd(a, b, c)            a*b + c, in one rounding where the instruction set has it
 *   reciprocal(a)            1 / a to a unit in the last place or two, for ordinary a
 *   rough_reciprocal(a)      to 2^-11, where the result becomes bf16
 *   if_less(a, b, x, y)      a < b ? x : y
 *   scale2(a, n)             a * 2^n for an integral -126 <= n <= 127
 *   keep_first(a, w, x)      the elements from w on become x's
 *   to_int(a)                to the nearest integer, ties to even
 *   store_upper_halves(p, a) the bf16 that a holds in the upper half of each word
 *   store_bytes(p, a)        the low byte of each word
 *   transpose_square(x)      x[j]'s element i becomes x[i]'s element j
 *   dot_..._at_once          the products of VITRO_BF16_DOTS and VITRO_INT8_DOTS
 *
 * Comparisons with a NaN are false; max/min then give the *second* operand. It knows no op. */
#ifndef VITRO_KERNELS_SIMD_H
#define VITRO_KERNELS_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define VITRO_SIMD_C      0
#define VITRO_SIMD_AVX2   1
#define VITRO_SIMD_AVX512 2
#define VITRO_SIMD_NEON   3

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
#include "kernels/simd/avx512.inc"
#elif VITRO_SIMD == VITRO_SIMD_AVX2
#include "kernels/simd/avx2.inc"
#elif VITRO_SIMD == VITRO_SIMD_NEON
#include "kernels/simd/neon.inc"
#else
#include "kernels/simd/c.inc"
#endif

/* ---- products of words --------------------------------------------------------------------------
 * A word is one float, two bf16 or four bytes. */

/* Each word's two bf16 products, added. */
FN vf dot_bf16(vf sum, vi a, vi b)
{
#if defined(VITRO_BF16_DOTS)
    return dot_bf16_at_once(sum, a, b);
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
    return dot_u8s8_at_once(sum, a, b);
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
