/* SPDX-License-Identifier: Apache-2.0 */
/* Pillow's 8-bit resampler, in two passes of integer sums, and its kernels. Every variant of a
 * kernel gives the same bytes. Knows no file format and no model. */
#ifndef VITRO_IMAGE_RESIZE_H
#define VITRO_IMAGE_RESIZE_H

#include "base/status.h"
#include "vitro/image.h"

/* Bits behind the point of a weight (libImaging/Resample.c, PRECISION_BITS). */
#define VITRO_RESIZE_BITS 22
/* A weight is high * 2^12 + low, 0 <= low < 2^12: both fit the 16-bit multiply-add of SIMD, and the
 * sum of the two sums is the sum of the products, exactly. */
#define VITRO_RESIZE_LOW_BITS 12
/* Weights of an output are padded with zeros to a multiple of this. */
#define VITRO_RESIZE_PAD 8

/* Along one axis: output i is the sum over j < count[i] of weight[j] * input[first[i] + j]. */
typedef struct VitroTaps {
    int n;         /* outputs */
    int stride;    /* weights per output, a multiple of VITRO_RESIZE_PAD */
    int *first;    /* [n] */
    int *count;    /* [n] */
    int16_t *high; /* [n,stride] */
    int16_t *low;  /* [n,stride] */
} VitroTaps;

/* Bytes a kernel may read behind the last input it needs. */
#define VITRO_RESIZE_SLACK 64

/* A block of at most VITRO_RESIZE_ROWS rows across: in[r] are rows with VITRO_RESIZE_SLACK readable
 * bytes behind them, out[r] rows of taps->n pixels. */
#define VITRO_RESIZE_ROWS 4
typedef void (*VitroResizeAcrossFn)(uint8_t *const out[VITRO_RESIZE_ROWS],
                                    const uint8_t *const in[VITRO_RESIZE_ROWS], int rows,
                                    int channels, const VitroTaps *taps);
/* Output row i: out[n] from the rows in, in + in_stride, ..., which begin at row first[i]. */
typedef void (*VitroResizeDownFn)(uint8_t *out, const uint8_t *in, size_t in_stride, size_t n,
                                  const VitroTaps *taps, int i);

typedef struct VitroResizeKernels {
    VitroResizeAcrossFn across;
    VitroResizeDownFn down;
} VitroResizeKernels;

/* C first, then upward by CPU flag. */
VitroResizeKernels vitro_resize_kernels(void);

void vitro_resize_across_c(uint8_t *const out[VITRO_RESIZE_ROWS],
                           const uint8_t *const in[VITRO_RESIZE_ROWS], int rows, int channels,
                           const VitroTaps *taps);
void vitro_resize_down_c(uint8_t *out, const uint8_t *in, size_t in_stride, size_t n,
                         const VitroTaps *taps, int i);
#if defined(__x86_64__)
void vitro_resize_across_avx2(uint8_t *const out[VITRO_RESIZE_ROWS],
                              const uint8_t *const in[VITRO_RESIZE_ROWS], int rows, int channels,
                              const VitroTaps *taps);
void vitro_resize_down_avx2(uint8_t *out, const uint8_t *in, size_t in_stride, size_t n,
                            const VitroTaps *taps, int i);
void vitro_resize_across_avx512(uint8_t *const out[VITRO_RESIZE_ROWS],
                                const uint8_t *const in[VITRO_RESIZE_ROWS], int rows, int channels,
                                const VitroTaps *taps);
void vitro_resize_down_avx512(uint8_t *out, const uint8_t *in, size_t in_stride, size_t n,
                              const VitroTaps *taps, int i);
#endif

/* Crop and resize to width x height, of which only the rectangle `part` is computed: `out` is
 * part.width x part.height. Sizes may exceed what a picture may have; `part` may not. */
typedef struct VitroResizePlan {
    VitroBox box;          /* of the input */
    int64_t width, height; /* of the whole result */
    int64_t left, top;     /* of the part */
    int part_width, part_height;
    VitroFilter filter;
} VitroResizePlan;
VitroStatus vitro_image_resize_part(VitroImage *out, const VitroImage *in,
                                    const VitroResizePlan *plan);

#endif
