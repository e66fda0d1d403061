/* SPDX-License-Identifier: Apache-2.0 */
/* torchvision 0.14's eval transform: Resize, CenterCrop, ToTensor, Normalize. Knows no file format
 * and no model. */
#include "image/decode.h"
#include "image/resize.h"

#include <math.h>
#include <string.h>

VitroTransform vitro_transform_default(int size, int channels)
{
    VitroTransform t = {.width = size,
                        .height = size,
                        .channels = channels,
                        .rule = VITRO_RESIZE_SHORT,
                        .resize = (int)((double)size * 256 / 224),
                        .filter = VITRO_BILINEAR};
    for (int c = 0; c < VITRO_MAX_CHANNELS; c++)
        t.mean[c] = t.std[c] = 0.5f;
    return t;
}

static VitroStatus check(const VitroImage *in, const VitroTransform *t)
{
    if (t->channels != 1 && t->channels != 3)
        return vitro_fail(VITRO_E_ARG, "%d channels, 1 or 3 expected", t->channels);
    if (in->channels != t->channels)
        return vitro_fail(VITRO_E_ARG, "the picture has %d channels, the transform expects %d",
                          in->channels, t->channels);
    if (t->width < 1 || t->height < 1)
        return vitro_fail(VITRO_E_ARG, "input size %d x %d, each side must be at least 1", t->width,
                          t->height);
    if (t->rule == VITRO_RESIZE_SHORT && t->resize < 1)
        return vitro_fail(VITRO_E_ARG, "resize to a shorter side of %d, at least 1 expected",
                          t->resize);
    for (int c = 0; c < t->channels; c++)
        if (!(t->std[c] > 0) || !isfinite(t->std[c]) || !isfinite(t->mean[c]))
            return vitro_fail(VITRO_E_ARG, "mean %g and std %g of channel %d: std must exceed 0",
                              (double)t->mean[c], (double)t->std[c], c);
    return VITRO_OK;
}

/* Resize(int): the shorter side to `resize`, the other to int(resize * long / short), one true
 * division and a truncation, as Python does it. */
static void resized_size(int64_t *width, int64_t *height, const VitroImage *in, int resize)
{
    int64_t w = in->width, h = in->height;
    int64_t longer =
        (int64_t)((double)((int64_t)resize * (w <= h ? h : w)) / (double)(w <= h ? w : h));
    *width = w <= h ? resize : longer;
    *height = w <= h ? longer : resize;
}

/* CenterCrop along one axis: `want` out of `have` begins at `from`; where there is too little, it
 * is all taken and lands at `to`, zeros around it. Python's round() is half to even. */
typedef struct Crop {
    int64_t from;
    int to, count;
} Crop;

static Crop center_crop(int64_t have, int want)
{
    if (have < want)
        return (Crop){0, (int)((want - have) / 2), (int)have};
    return (Crop){(int64_t)rint((double)(have - want) / 2.0), 0, want};
}

/* Puts `part` into a black picture. */
static VitroStatus pad(VitroImage *out, VitroImage *part, int width, int height, int left, int top)
{
    VitroImage image;
    VitroStatus st = vitro_image_alloc(&image, width, height, part->channels);
    if (st == VITRO_OK) {
        memset(image.pixels, 0, vitro_image_stride(&image) * (size_t)height);
        for (int y = 0; y < part->height; y++)
            memcpy(vitro_image_row(&image, top + y) + (size_t)left * (size_t)part->channels,
                   vitro_image_row(part, y), vitro_image_stride(part));
        *out = image;
    }
    vitro_image_deinit(part);
    return st;
}

VitroStatus vitro_transform_pixels(VitroImage *out, const VitroImage *in, const VitroTransform *t)
{
    VITRO_TRY(check(in, t));
    VitroResizePlan plan = {.box = {0, 0, in->width, in->height},
                            .width = t->width,
                            .height = t->height,
                            .part_width = t->width,
                            .part_height = t->height,
                            .filter = t->filter};
    bool exact = t->keep_exact && in->width == t->width && in->height == t->height;
    if (exact || t->rule == VITRO_RESIZE_SQUASH)
        return vitro_image_resize_part(out, in, &plan);
    resized_size(&plan.width, &plan.height, in, t->resize);
    Crop x = center_crop(plan.width, t->width), y = center_crop(plan.height, t->height);
    plan.left = x.from, plan.part_width = x.count;
    plan.top = y.from, plan.part_height = y.count;
    VitroImage part = {0};
    VITRO_TRY(vitro_image_resize_part(&part, in, &plan));
    if (part.width < t->width || part.height < t->height)
        return pad(out, &part, t->width, t->height, x.to, y.to);
    *out = part;
    return VITRO_OK;
}

VitroStatus vitro_transform_normalize(float *out, const VitroImage *in, const VitroTransform *t,
                                      bool flip)
{
    VITRO_TRY(check(in, t));
    if (in->width != t->width || in->height != t->height)
        return vitro_fail(VITRO_E_ARG, "the picture is %d x %d, the transform expects %d x %d",
                          in->width, in->height, t->width, t->height);
    size_t w = (size_t)in->width, h = (size_t)in->height, channels = (size_t)in->channels;
    for (size_t c = 0; c < channels; c++) {
        float level[256]; /* of each byte: exactly what the three operations give */
        for (int v = 0; v < 256; v++)
            level[v] = ((float)v / 255.0f - t->mean[c]) / t->std[c];
        for (size_t y = 0; y < h; y++) {
            const uint8_t *row = in->pixels + y * w * channels + c;
            float *dst = out + (c * h + y) * w;
            for (size_t x = 0; x < w; x++)
                dst[flip ? w - 1 - x : x] = level[row[x * channels]];
        }
    }
    return VITRO_OK;
}

VitroStatus vitro_transform_apply(float *out, const VitroImage *in, const VitroTransform *t)
{
    VitroImage pixels = {0};
    VITRO_TRY(vitro_transform_pixels(&pixels, in, t));
    VitroStatus st = vitro_transform_normalize(out, &pixels, t, false);
    vitro_image_deinit(&pixels);
    return st;
}
