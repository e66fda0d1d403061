/* SPDX-License-Identifier: Apache-2.0 */
/* The sums of the resampler for AVX2 and AVX-512: the bytes of resize_kernels.c, from pairs of
 * 16-bit products (pmaddwd) with the high and the low part of each weight. Across, a 128-bit lane
 * holds a row; down, a vector holds neighbours of one row. */
#include "image/resize.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#define AVX2   __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2")))
#define HALF   (1 << (VITRO_RESIZE_BITS - 1))

/* From four pixels RGBRGBRGBRGB: 16-bit pairs (R0,R1) (G0,G1) (B0,B1), and the same of 2 and 3. */
#define PAIR_01 0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1
#define PAIR_23 6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1

static inline int pair_at(const int16_t *weights)
{
    int v;
    memcpy(&v, weights, sizeof(v));
    return v;
}

/* ---- AVX2 ------------------------------------------------------------------------------------ */

AVX2 static inline __m256i finish_256(__m256i high, __m256i low)
{
    __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, VITRO_RESIZE_LOW_BITS), low);
    return _mm256_srai_epi32(sum, VITRO_RESIZE_BITS);
}

AVX2 static inline __m256i two_rows(const uint8_t *a, const uint8_t *b)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)a)),
                                   _mm_loadu_si128((const void *)b), 1);
}

AVX2 static void across_rgb_256(uint8_t *const out[2], const uint8_t *const in[2],
                                const VitroTaps *taps)
{
    const __m256i pair_01 = _mm256_broadcastsi128_si256(_mm_setr_epi8(PAIR_01));
    const __m256i pair_23 = _mm256_broadcastsi128_si256(_mm_setr_epi8(PAIR_23));
    for (int x = 0; x < taps->n; x++) {
        const int16_t *h = taps->high + (size_t)x * (size_t)taps->stride;
        const int16_t *l = taps->low + (size_t)x * (size_t)taps->stride;
        size_t at = (size_t)taps->first[x] * 3;
        __m256i high = _mm256_setzero_si256(), low = _mm256_set1_epi32(HALF);
        for (int j = 0; j < taps->count[x]; j += 4, at += 12) {
            __m256i v = two_rows(in[0] + at, in[1] + at);
            __m256i a = _mm256_shuffle_epi8(v, pair_01), b = _mm256_shuffle_epi8(v, pair_23);
            high = _mm256_add_epi32(high, _mm256_madd_epi16(a, _mm256_set1_epi32(pair_at(h + j))));
            high =
                _mm256_add_epi32(high, _mm256_madd_epi16(b, _mm256_set1_epi32(pair_at(h + j + 2))));
            low = _mm256_add_epi32(low, _mm256_madd_epi16(a, _mm256_set1_epi32(pair_at(l + j))));
            low =
                _mm256_add_epi32(low, _mm256_madd_epi16(b, _mm256_set1_epi32(pair_at(l + j + 2))));
        }
        __m256i v = finish_256(high, low);
        v = _mm256_packs_epi32(v, v);
        v = _mm256_packus_epi16(v, v);
        int rgb[2] = {_mm256_extract_epi32(v, 0), _mm256_extract_epi32(v, 4)};
        memcpy(out[0] + (size_t)x * 3, &rgb[0], 3);
        memcpy(out[1] + (size_t)x * 3, &rgb[1], 3);
    }
}

AVX2 static void across_grey_256(uint8_t *const out[2], const uint8_t *const in[2],
                                 const VitroTaps *taps)
{
    for (int x = 0; x < taps->n; x++) {
        const int16_t *h = taps->high + (size_t)x * (size_t)taps->stride;
        const int16_t *l = taps->low + (size_t)x * (size_t)taps->stride;
        size_t at = (size_t)taps->first[x];
        __m256i high = _mm256_setzero_si256(), low = _mm256_setzero_si256();
        for (int j = 0; j < taps->count[x]; j += 8) {
            __m128i a = _mm_loadl_epi64((const void *)(in[0] + at + (size_t)j));
            __m128i b = _mm_loadl_epi64((const void *)(in[1] + at + (size_t)j));
            __m256i v = _mm256_cvtepu8_epi16(_mm_unpacklo_epi64(a, b));
            __m256i wh = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)(h + j)));
            __m256i wl = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)(l + j)));
            high = _mm256_add_epi32(high, _mm256_madd_epi16(v, wh));
            low = _mm256_add_epi32(low, _mm256_madd_epi16(v, wl));
        }
        __m256i v = _mm256_add_epi32(_mm256_slli_epi32(high, VITRO_RESIZE_LOW_BITS), low);
        v = _mm256_add_epi32(v, _mm256_shuffle_epi32(v, 0x4E));
        v = _mm256_add_epi32(v, _mm256_shuffle_epi32(v, 0xB1));
        v = _mm256_srai_epi32(_mm256_add_epi32(v, _mm256_set1_epi32(HALF)), VITRO_RESIZE_BITS);
        v = _mm256_packs_epi32(v, v);
        v = _mm256_packus_epi16(v, v);
        out[0][x] = (uint8_t)_mm256_extract_epi8(v, 0);
        out[1][x] = (uint8_t)_mm256_extract_epi8(v, 16);
    }
}

void vitro_resize_across_avx2(uint8_t *const out[VITRO_RESIZE_ROWS],
                              const uint8_t *const in[VITRO_RESIZE_ROWS], int rows, int channels,
                              const VitroTaps *taps)
{
    for (int r = 0; r < rows; r += 2) {
        int last = r + 1 < rows ? r + 1 : r; /* a row without a partner is done twice */
        uint8_t *const to[2] = {out[r], out[last]};
        const uint8_t *const from[2] = {in[r], in[last]};
        if (channels == 3)
            across_rgb_256(to, from, taps);
        else
            across_grey_256(to, from, taps);
    }
}

AVX2 void vitro_resize_down_avx2(uint8_t *out, const uint8_t *in, size_t in_stride, size_t n,
                                 const VitroTaps *taps, int i)
{
    const int16_t *h = taps->high + (size_t)i * (size_t)taps->stride;
    const int16_t *l = taps->low + (size_t)i * (size_t)taps->stride;
    const uint8_t *column = in + (size_t)taps->first[i] * in_stride;
    int count = taps->count[i];
    size_t x = 0;
    for (; x + 16 <= n; x += 16, column += 16) {
        __m256i high_a = _mm256_setzero_si256(), high_b = high_a;
        __m256i low_a = _mm256_set1_epi32(HALF), low_b = low_a;
        for (int j = 0; j < count; j += 2) {
            const uint8_t *p = column + (size_t)j * in_stride;
            const uint8_t *q = j + 1 < count ? p + in_stride : p; /* the padding weighs 0 */
            __m256i u = _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)p));
            __m256i v = _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)q));
            __m256i a = _mm256_unpacklo_epi16(u, v), b = _mm256_unpackhi_epi16(u, v);
            __m256i wh = _mm256_set1_epi32(pair_at(h + j)), wl = _mm256_set1_epi32(pair_at(l + j));
            high_a = _mm256_add_epi32(high_a, _mm256_madd_epi16(a, wh));
            high_b = _mm256_add_epi32(high_b, _mm256_madd_epi16(b, wh));
            low_a = _mm256_add_epi32(low_a, _mm256_madd_epi16(a, wl));
            low_b = _mm256_add_epi32(low_b, _mm256_madd_epi16(b, wl));
        }
        __m256i v = _mm256_packs_epi32(finish_256(high_a, low_a), finish_256(high_b, low_b));
        v = _mm256_permute4x64_epi64(_mm256_packus_epi16(v, v), 0xD8);
        _mm_storeu_si128((void *)(out + x), _mm256_castsi256_si128(v));
    }
    vitro_resize_down_c(out + x, in + x, in_stride, n - x, taps, i);
}

/* ---- AVX-512 --------------------------------------------------------------------------------- */

AVX512 static inline __m512i finish_512(__m512i high, __m512i low)
{
    __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(high, VITRO_RESIZE_LOW_BITS), low);
    return _mm512_srai_epi32(sum, VITRO_RESIZE_BITS);
}

AVX512 static inline __m512i four_rows(const uint8_t *const in[4], size_t at)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(two_rows(in[0] + at, in[1] + at)),
                              two_rows(in[2] + at, in[3] + at), 1);
}

AVX512 static void across_rgb_512(uint8_t *const out[4], const uint8_t *const in[4],
                                  const VitroTaps *taps)
{
    const __m512i pair_01 = _mm512_broadcast_i32x4(_mm_setr_epi8(PAIR_01));
    const __m512i pair_23 = _mm512_broadcast_i32x4(_mm_setr_epi8(PAIR_23));
    for (int x = 0; x < taps->n; x++) {
        const int16_t *h = taps->high + (size_t)x * (size_t)taps->stride;
        const int16_t *l = taps->low + (size_t)x * (size_t)taps->stride;
        size_t at = (size_t)taps->first[x] * 3;
        __m512i high = _mm512_setzero_si512(), low = _mm512_set1_epi32(HALF);
        for (int j = 0; j < taps->count[x]; j += 4, at += 12) {
            __m512i v = four_rows(in, at);
            __m512i a = _mm512_shuffle_epi8(v, pair_01), b = _mm512_shuffle_epi8(v, pair_23);
            high = _mm512_add_epi32(high, _mm512_madd_epi16(a, _mm512_set1_epi32(pair_at(h + j))));
            high =
                _mm512_add_epi32(high, _mm512_madd_epi16(b, _mm512_set1_epi32(pair_at(h + j + 2))));
            low = _mm512_add_epi32(low, _mm512_madd_epi16(a, _mm512_set1_epi32(pair_at(l + j))));
            low =
                _mm512_add_epi32(low, _mm512_madd_epi16(b, _mm512_set1_epi32(pair_at(l + j + 2))));
        }
        __m512i v = finish_512(high, low);
        v = _mm512_packs_epi32(v, v);
        v = _mm512_packus_epi16(v, v);
        uint32_t lanes[16];
        _mm512_storeu_si512(lanes, v);
        for (int r = 0; r < 4; r++)
            memcpy(out[r] + (size_t)x * 3, &lanes[4 * r], 3);
    }
}

AVX512 static void across_grey_512(uint8_t *const out[4], const uint8_t *const in[4],
                                   const VitroTaps *taps)
{
    for (int x = 0; x < taps->n; x++) {
        const int16_t *h = taps->high + (size_t)x * (size_t)taps->stride;
        const int16_t *l = taps->low + (size_t)x * (size_t)taps->stride;
        size_t at = (size_t)taps->first[x];
        __m512i high = _mm512_setzero_si512(), low = _mm512_setzero_si512();
        for (int j = 0; j < taps->count[x]; j += 8, at += 8) {
            __m128i ab = _mm_unpacklo_epi64(_mm_loadl_epi64((const void *)(in[0] + at)),
                                            _mm_loadl_epi64((const void *)(in[1] + at)));
            __m128i cd = _mm_unpacklo_epi64(_mm_loadl_epi64((const void *)(in[2] + at)),
                                            _mm_loadl_epi64((const void *)(in[3] + at)));
            __m512i v = _mm512_cvtepu8_epi16(_mm256_set_m128i(cd, ab));
            __m512i wh = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)(h + j)));
            __m512i wl = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)(l + j)));
            high = _mm512_add_epi32(high, _mm512_madd_epi16(v, wh));
            low = _mm512_add_epi32(low, _mm512_madd_epi16(v, wl));
        }
        __m512i v = _mm512_add_epi32(_mm512_slli_epi32(high, VITRO_RESIZE_LOW_BITS), low);
        v = _mm512_add_epi32(v, _mm512_shuffle_epi32(v, _MM_PERM_BADC));
        v = _mm512_add_epi32(v, _mm512_shuffle_epi32(v, _MM_PERM_CDAB));
        v = _mm512_srai_epi32(_mm512_add_epi32(v, _mm512_set1_epi32(HALF)), VITRO_RESIZE_BITS);
        v = _mm512_packs_epi32(v, v);
        v = _mm512_packus_epi16(v, v);
        uint8_t lanes[64];
        _mm512_storeu_si512(lanes, v);
        for (int r = 0; r < 4; r++)
            out[r][x] = lanes[16 * r];
    }
}

void vitro_resize_across_avx512(uint8_t *const out[VITRO_RESIZE_ROWS],
                                const uint8_t *const in[VITRO_RESIZE_ROWS], int rows, int channels,
                                const VitroTaps *taps)
{
    uint8_t *to[4];
    const uint8_t *from[4];
    for (int r = 0; r < 4; r++) { /* missing rows: the last one again */
        to[r] = out[r < rows ? r : rows - 1];
        from[r] = in[r < rows ? r : rows - 1];
    }
    if (channels == 3)
        across_rgb_512(to, from, taps);
    else
        across_grey_512(to, from, taps);
}

AVX512 void vitro_resize_down_avx512(uint8_t *out, const uint8_t *in, size_t in_stride, size_t n,
                                     const VitroTaps *taps, int i)
{
    const int16_t *h = taps->high + (size_t)i * (size_t)taps->stride;
    const int16_t *l = taps->low + (size_t)i * (size_t)taps->stride;
    const uint8_t *column = in + (size_t)taps->first[i] * in_stride;
    int count = taps->count[i];
    size_t x = 0;
    for (; x + 32 <= n; x += 32, column += 32) {
        __m512i high_a = _mm512_setzero_si512(), high_b = high_a;
        __m512i low_a = _mm512_set1_epi32(HALF), low_b = low_a;
        for (int j = 0; j < count; j += 2) {
            const uint8_t *p = column + (size_t)j * in_stride;
            const uint8_t *q = j + 1 < count ? p + in_stride : p; /* the padding weighs 0 */
            __m512i u = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const void *)p));
            __m512i v = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const void *)q));
            __m512i a = _mm512_unpacklo_epi16(u, v), b = _mm512_unpackhi_epi16(u, v);
            __m512i wh = _mm512_set1_epi32(pair_at(h + j)), wl = _mm512_set1_epi32(pair_at(l + j));
            high_a = _mm512_add_epi32(high_a, _mm512_madd_epi16(a, wh));
            high_b = _mm512_add_epi32(high_b, _mm512_madd_epi16(b, wh));
            low_a = _mm512_add_epi32(low_a, _mm512_madd_epi16(a, wl));
            low_b = _mm512_add_epi32(low_b, _mm512_madd_epi16(b, wl));
        }
        __m512i v = _mm512_packs_epi32(finish_512(high_a, low_a), finish_512(high_b, low_b));
        v = _mm512_max_epi16(v, _mm512_setzero_si512());
        _mm256_storeu_si256((void *)(out + x), _mm512_cvtusepi16_epi8(v));
    }
    vitro_resize_down_avx2(out + x, in + x, in_stride, n - x, taps, i);
}

#endif
