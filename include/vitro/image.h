/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures: decode to 8-bit grey or RGB as Pillow's convert() does, resize with Pillow's integer
 * resampler, and turn into the float32 tensor that a model takes. */
#ifndef VITRO_IMAGE_H
#define VITRO_IMAGE_H

#include "vitro/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 8-bit samples, rows from top to bottom, channels interleaved, no padding:
 * [height,width,channels]. Owns `pixels`; zero-initialise before first use, end with
 * vitro_image_deinit. */
typedef struct VitroImage {
    int width, height; /* pixels, >= 1 */
    int channels;      /* 1 (grey) or 3 (RGB) */
    uint8_t *pixels;
} VitroImage;

/* A black picture, for callers that draw or decode their own: *image need not be initialised.
 * Errors: VITRO_E_ARG (channels), _FORMAT (a side below 1, or over 178 956 970 pixels), _NOMEM. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_image_init(VitroImage *image, int width, int height,
                                                        int channels);
VITRO_API void vitro_image_deinit(VitroImage *image);

/* Decodes JPEG, PNG, WebP, BMP, PPM, PGM or PBM (told apart by their first bytes, not by a name) to
 * `channels` = 1 or 3, as PIL.Image.open(f).convert("L" or "RGB"): first frame, alpha and colour
 * profile ignored; but 16-bit grey keeps its high byte where Pillow would clip it. EXIF orientation
 * is applied only where `exif`. `path` "-" is standard input. Truncated data is an error.
 * Errors: VITRO_E_IO, _FORMAT (damaged, or over 178 956 970 pixels), _UNSUPPORTED, _NOMEM. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_image_read(VitroImage *out, const char *path,
                                                        int channels, bool exif);
/* The same from memory; `name` stands in error texts. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_image_decode(VitroImage *out, const void *data,
                                                          size_t size, const char *name,
                                                          int channels, bool exif);

/* Pillow's filters: triangle (support 1), Keys' cubic with a = -0.5 (support 2), the sinc of three
 * lobes (support 3), the mean (1/2), Hamming's window (1), each widened by the scale when the
 * picture shrinks; and the nearest pixel. The values are pinned. */
typedef enum VitroFilter {
    VITRO_BILINEAR = 0,
    VITRO_BICUBIC = 1,
    VITRO_LANCZOS = 2,
    VITRO_BOX = 3,
    VITRO_HAMMING = 4,
    VITRO_NEAREST = 5
} VitroFilter;

/* A rectangle in pixels. */
typedef struct VitroBox {
    int left, top, width, height;
} VitroBox;

/* Crops `in` to `box` (NULL: the whole picture), then resizes to width x height: what
 * torchvision's resized_crop does, byte for byte with Pillow 9.4. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_image_resize(VitroImage *out, const VitroImage *in,
                                                          const VitroBox *box, int width,
                                                          int height, VitroFilter filter);

/* To which size a picture is resized before the centre crop. */
typedef enum VitroResizeRule {
    VITRO_RESIZE_SHORT = 0,  /* in proportion, to cover resize_height x resize_width: for a square
                              * the  shorter side to it (torchvision; timm's "center") */
    VITRO_RESIZE_SQUASH = 1, /* to resize_height x resize_width, aspect ratio lost (Hugging Face;
                              * timm's "squash") */
    VITRO_RESIZE_LONG = 2    /* in proportion, to fit into resize_height x resize_width (timm's
                              * "border"); what is missing gets the mean's colour */
} VitroResizeRule;

/* Where the centre crop begins if the margins are odd. */
typedef enum VitroCropRule {
    VITRO_CROP_EVEN = 0, /* at the even one of the two middle pixels (torchvision, timm) */
    VITRO_CROP_FLOOR = 1 /* at the lower one (Hugging Face) */
} VitroCropRule;

#define VITRO_MAX_CHANNELS 3

/* How a picture becomes [channels,height,width] float32: resize, centre crop, /255, (x-mean)/std.
 */
typedef struct VitroTransform {
    int width, height; /* of the model's input, pixels */
    int channels;      /* 1 or 3 */
    VitroResizeRule rule;
    int resize_width, resize_height; /* see `rule`, pixels; SQUASH and LONG: 0 is width, height */
    double crop_pct; /* height / resize_height, if its author gave this, for other sizes; else 0 */
    VitroCropRule crop;
    VitroFilter filter;
    bool keep_exact; /* a picture that already is width x height is taken as it is */
    bool exif;       /* turn by the EXIF orientation first; default false, as PIL */
    float mean[VITRO_MAX_CHANNELS], std[VITRO_MAX_CHANNELS]; /* std > 0 */
} VitroTransform;

/* The original program's eval transform for `height` x `width`: Resize(int(side*256/224)) bilinear,
 * CenterCrop, mean = std = 0.5. */
VITRO_API VitroTransform vitro_transform_default(int height, int width, int channels);
/* The same transform for an input of another size: what it resizes to grows in proportion, with a
 * crop_pct as timm computes it, floor(side / crop_pct). */
VITRO_API void vitro_transform_set_size(VitroTransform *t, int height, int width);

/* The 8-bit part of the eval transform: resize and centre crop, [height,width,channels]. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_transform_pixels(VitroImage *out, const VitroImage *in,
                                                              const VitroTransform *t);

/* ToTensor and Normalize: HWC bytes to CHW floats, ((v/255) - mean[c]) / std[c] in float32, in that
 * order. `in` must already be width x height x channels of `t`; `flip` mirrors it left to right. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_transform_normalize(float *out, const VitroImage *in,
                                                                 const VitroTransform *t,
                                                                 bool flip);

/* All of it: decoded picture to `out` [channels,height,width]. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_transform_apply(float *out, const VitroImage *in,
                                                             const VitroTransform *t);

/* Parameters of torchvision's RandomResizedCrop(scale 0.08..1, ratio 3/4..4/3) and
 * RandomHorizontalFlip(0.5) for sample `sample` of epoch `epoch`: a function of its arguments only.
 */
typedef struct VitroAugment {
    VitroBox crop;
    bool flip;
} VitroAugment;
VITRO_API VitroAugment vitro_augment_draw(uint64_t seed, uint32_t epoch, uint32_t sample, int width,
                                          int height);
/* resized_crop, flip, normalise: `out` [channels,height,width]. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_augment_apply(float *out, const VitroImage *in,
                                                           const VitroTransform *t,
                                                           const VitroAugment *a);

/* Writes `image` as PNG, 8-bit grey or RGB, whole or not at all; equal pixels give equal bytes. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_image_write_png(const char *path,
                                                             const VitroImage *image);

#ifdef __cplusplus
}
#endif
#endif
