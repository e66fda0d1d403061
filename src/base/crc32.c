/* SPDX-License-Identifier: Apache-2.0 */
/* By carry-less multiplication where the CPU has it: "Fast CRC Computation for Generic Polynomials
 * Using PCLMULQDQ Instruction" (Gopal et al., Intel, 2009). zlib does the rest: the ends, and all
 * of it on other CPUs. */
#include "base/crc32.h"

#include "base/cpu.h"

#include <zlib.h>

#if defined(__x86_64__)

#include <immintrin.h>

#define CLMUL __attribute__((target("pclmul,sse2")))

/* Moves the 128 bits of x forward by the distance that k is for, onto `next`. */
CLMUL static inline __m128i fold(__m128i x, __m128i k, __m128i next)
{
    __m128i low = _mm_clmulepi64_si128(x, k, 0x00), high = _mm_clmulepi64_si128(x, k, 0x11);
    return _mm_xor_si128(next, _mm_xor_si128(low, high));
}

CLMUL static inline __m128i load(const uint8_t *p)
{
    return _mm_loadu_si128((const void *)p);
}

/* n is a multiple of 64, and not 0. Four sums lie 512 bits apart; the last 128 bits that they are
 * folded into have the checksum of everything before. */
CLMUL static uint32_t crc32_clmul(uint32_t crc, const uint8_t *p, size_t n)
{
    /* x^(d+64) and x^d modulo the polynomial, bits reflected, for d = 512 - 32 and d = 128 - 32 */
    const __m128i by_512 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);
    const __m128i by_128 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
    __m128i a = _mm_xor_si128(load(p), _mm_cvtsi32_si128((int)~crc));
    __m128i b = load(p + 16), c = load(p + 32), d = load(p + 48);
    for (p += 64, n -= 64; n; p += 64, n -= 64) {
        a = fold(a, by_512, load(p));
        b = fold(b, by_512, load(p + 16));
        c = fold(c, by_512, load(p + 32));
        d = fold(d, by_512, load(p + 48));
    }
    uint8_t rest[16];
    _mm_storeu_si128((void *)rest, fold(fold(fold(a, by_128, b), by_128, c), by_128, d));
    return (uint32_t)crc32_z(0xffffffff, rest, sizeof(rest)); /* from a register of zeros */
}

uint32_t vitro_crc32(uint32_t crc, const void *data, size_t n)
{
    const uint8_t *p = data;
    size_t bulk = n & ~(size_t)63;
    if (bulk && vitro_cpu_flags() & VITRO_CPU_CLMUL) {
        crc = crc32_clmul(crc, p, bulk);
        p += bulk;
        n -= bulk;
    }
    return n ? (uint32_t)crc32_z(crc, p, n) : crc;
}

#else

uint32_t vitro_crc32(uint32_t crc, const void *data, size_t n)
{
    return n ? (uint32_t)crc32_z(crc, data, n) : crc;
}

#endif
