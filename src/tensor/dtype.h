/* SPDX-License-Identifier: Apache-2.0 */
/* Element types: conversions between float32 and the other floats. Sizes and names are public
 * (vitro/checkpoint.h). Widening is exact; narrowing rounds to nearest, ties to even, overflows to
 * infinity and keeps NaN a NaN, as PyTorch's `to()` does. */
#ifndef VITRO_TENSOR_DTYPE_H
#define VITRO_TENSOR_DTYPE_H

#include "base/status.h"
#include "vitro/checkpoint.h"

#include <string.h>

static inline uint32_t vitro_f32_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    return bits;
}

static inline float vitro_f32_from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

static inline float vitro_f32_from_bf16(uint16_t b)
{
    return vitro_f32_from_bits((uint32_t)b << 16);
}

/* Without branches, so that loops over it are vectorised. */
static inline uint16_t vitro_bf16_from_f32(float f)
{
    uint32_t bits = vitro_f32_bits(f);
    uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
}

static inline float vitro_f32_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, body = h & 0x7fff;
    uint32_t normal = (body << 13) + (112u << 23); /* the exponent bias: 127 for 15 */
    uint32_t special = body << 13 | 0x7f800000;    /* infinity and NaN */
    uint32_t small = vitro_f32_bits((float)(int)body * 0x1p-24f);
    uint32_t bits = body >= 0x7c00 ? special : normal;
    return vitro_f32_from_bits(sign | (body < 0x400 ? small : bits));
}

static inline uint16_t vitro_f16_from_f32(float f)
{
    uint32_t bits = vitro_f32_bits(f), sign = bits >> 16 & 0x8000, body = bits & 0x7fffffff;
    uint32_t normal = (body - (112u << 23) + 0xfff + (body >> 13 & 1)) >> 13;
    /* Below 2^-14 an f16 is a multiple of 2^-24, the last place of a float in [0.5, 1): adding 0.5
     * makes the processor round there. */
    uint32_t small = vitro_f32_bits(vitro_f32_from_bits(body) + 0.5f) - 0x3f000000;
    uint32_t large = body > 0x7f800000 ? 0x7e00 : 0x7c00;
    uint32_t finite = body < 0x38800000 ? small : normal;
    return (uint16_t)(sign | (body >= 0x47800000 ? large : finite));
}

/* n elements of a float dtype at `in`, which need not be aligned, to float32. */
void vitro_f32_from(float *out, const void *in, VitroDtype dtype, int64_t n);
/* n float32 to elements of a float dtype at `out`, which need not be aligned. */
void vitro_f32_to(void *out, VitroDtype dtype, const float *in, int64_t n);

/* ---- rows of floats as bytes -------------------------------------------------------------------
 */

/* Symmetric, without a zero point: byte = round(x * factor), and x is about byte * scale. */
typedef struct VitroByteRule {
    float factor; /* 127 / the largest magnitude; 0 where that is infinite or no number */
    float scale;  /* the largest magnitude / 127; 0 where the factor overflowed and all bytes are 0;
                   * infinite or NaN where an element is */
} VitroByteRule;

VitroByteRule vitro_byte_rule(const float *row, int64_t n);
void vitro_bytes_from_f32(int8_t *out, const float *in, float factor, int64_t n);
/* In order: `in` may lie in `out` where no float is written over a byte that is still to be read.
 */
void vitro_f32_from_bytes(float *out, const int8_t *in, float scale, int64_t n);

#endif
