/* SPDX-License-Identifier: Apache-2.0 */
/* The sums of the resampler in plain C, and the choice of a faster variant. */
#include "image/resize.h"

#include "base/cpu.h"

static inline int weight(const int16_t *high, const int16_t *low, int j)
{
    return high[j] * (1 << VITRO_RESIZE_LOW_BITS) + low[j];
}

static inline uint8_t round_and_clip(int sum)
{
    int v = sum >> VITRO_RESIZE_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

void vitro_resize_across_c(uint8_t *const out[VITRO_RESIZE_ROWS],
                           const uint8_t *const in[VITRO_RESIZE_ROWS], int rows, int channels,
                           const VitroTaps *taps)
{
    for (int r = 0; r < rows; r++) {
        for (int x = 0; x < taps->n; x++) {
            const int16_t *high = taps->high + (size_t)x * (size_t)taps->stride;
            const int16_t *low = taps->low + (size_t)x * (size_t)taps->stride;
            for (int c = 0; c < channels; c++) {
                const uint8_t *p = in[r] + (size_t)taps->first[x] * (size_t)channels + c;
                int sum = 1 << (VITRO_RESIZE_BITS - 1);
                for (int j = 0; j < taps->count[x]; j++)
                    sum += p[(size_t)j * (size_t)channels] * weight(high, low, j);
                out[r][(size_t)x * (size_t)channels + (size_t)c] = round_and_clip(sum);
            }
        }
    }
}

void vitro_resize_down_c(uint8_t *out, const uint8_t *in, size_t in_stride, size_t n,
                         const VitroTaps *taps, int i)
{
    const int16_t *high = taps->high + (size_t)i * (size_t)taps->stride;
    const int16_t *low = taps->low + (size_t)i * (size_t)taps->stride;
    const uint8_t *column = in + (size_t)taps->first[i] * in_stride;
    for (size_t x = 0; x < n; x++, column++) {
        int sum = 1 << (VITRO_RESIZE_BITS - 1);
        for (int j = 0; j < taps->count[i]; j++)
            sum += column[(size_t)j * in_stride] * weight(high, low, j);
        out[x] = round_and_clip(sum);
    }
}

VitroResizeKernels vitro_resize_kernels(void)
{
    VitroResizeKernels k = {vitro_resize_across_c, vitro_resize_down_c};
#if defined(__x86_64__)
    unsigned flags = vitro_cpu_flags();
    if (flags & VITRO_CPU_AVX2)
        k = (VitroResizeKernels){vitro_resize_across_avx2, vitro_resize_down_avx2};
    if (flags & VITRO_CPU_AVX512)
        k = (VitroResizeKernels){vitro_resize_across_avx512, vitro_resize_down_avx512};
#else
    (void)vitro_cpu_flags;
#endif
    return k;
}
