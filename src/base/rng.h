/* SPDX-License-Identifier: Apache-2.0 */
/* Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as
 * 1, 2, 3", SC11). A number is a function of (seed, purpose, a, b, index) and of nothing else, so
 * results do not depend on how many threads drew them, or in which order. */
#ifndef VITRO_BASE_RNG_H
#define VITRO_BASE_RNG_H

#include <math.h>
#include <stdint.h>

/* One Philox4x32-10 block: counter and key to four words. */
static inline void vitro_philox(uint32_t out[4], const uint32_t counter[4], uint64_t key)
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* What a number is for. The values are part of what a seed means: never renumber. */
typedef enum VitroRngPurpose {
    VITRO_RNG_INIT = 1,    /* a = parameter index */
    VITRO_RNG_SHUFFLE = 2, /* a = epoch */
    VITRO_RNG_AUGMENT = 3, /* a = epoch, b = sample */
    VITRO_RNG_DROPOUT = 4  /* see nn/drop.h: drawn element-wise in the kernels */
} VitroRngPurpose;

/* A stream of numbers for one (seed, purpose, a, b). */
typedef struct VitroRng {
    uint64_t key;
    uint32_t counter[4];
    uint32_t word[4];
    int used; /* words of `word` already given out; 4 = none left */
} VitroRng;

static inline VitroRng vitro_rng(uint64_t seed, VitroRngPurpose purpose, uint32_t a, uint32_t b)
{
    return (VitroRng){
        .key = seed + (uint64_t)purpose * 0x9E3779B97F4A7C15u, .counter = {0, 0, a, b}, .used = 4};
}

static inline uint32_t vitro_rng_u32(VitroRng *r)
{
    if (r->used == 4) {
        vitro_philox(r->word, r->counter, r->key);
        if (++r->counter[0] == 0)
            r->counter[1]++;
        r->used = 0;
    }
    return r->word[r->used++];
}

/* Uniform in [0, 1), a multiple of 2^-24 (what torch.rand gives for float32). */
static inline float vitro_rng_float(VitroRng *r)
{
    return (float)(vitro_rng_u32(r) >> 8) * 0x1p-24f;
}

/* Uniform in [0, 1), 53 bits. */
static inline double vitro_rng_double(VitroRng *r)
{
    uint64_t hi = vitro_rng_u32(r) >> 5, lo = vitro_rng_u32(r) >> 6;
    return (double)(hi << 26 | lo) * 0x1p-53;
}

/* Uniform in [0, n), n >= 1, without bias (Lemire 2019). */
static inline uint32_t vitro_rng_below(VitroRng *r, uint32_t n)
{
    uint64_t m = (uint64_t)vitro_rng_u32(r) * n;
    if ((uint32_t)m < n)
        for (uint32_t t = -n % n; (uint32_t)m < t;)
            m = (uint64_t)vitro_rng_u32(r) * n;
    return (uint32_t)(m >> 32);
}

/* Two independent standard normals (Box-Muller). */
static inline void vitro_rng_normal2(VitroRng *r, double out[2])
{
    double radius = sqrt(-2.0 * log(1.0 - vitro_rng_double(r)));
    double angle = 6.283185307179586476925 * vitro_rng_double(r);
    out[0] = radius * cos(angle);
    out[1] = radius * sin(angle);
}

static inline double vitro_rng_normal(VitroRng *r)
{
    double two[2];
    vitro_rng_normal2(r, two);
    return two[0];
}

#endif
