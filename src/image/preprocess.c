/* SPDX-License-Identifier: Apache-2.0 */
/* The eval transform of torchvision 0.14, timm and Hugging Face: resize, centre crop, ToTensor,
 * Normalize. Knows no file format and no model. */
#include "image/decode.h"
#include "image/resize.h"

#include <limits.h>
#include <math.h>
#include <string.h>

VitroTransform vitro_transform_default(int height, int width, int channels)
{
    VitroTransform t = {.width = width,
                        .height = height,
                        .channels = channels,
                        .rule = VITRO_RESIZE_SHORT,
                        .resize_width = (int)((double)width * 256 / 224),
                        .resize_height = (int)((double)height * 256 / 224),
                        .filter = VITRO_BILINEAR};
    for (int c = 0; c < VITRO_MAX_CHANNELS; c++)
        t.mean[c] = t.std[c] = 0.5f;
    return t;
}

static int scaled(int resize, int old_side, int side, double crop_pct)
{
    if (!resize)
        return 0;
    double to = crop_pct > 0 ? floor(side / crop_pct) : (double)side * resize / old_side;
    return to < 1 ? 1 : to < INT_MAX ? (int)to : INT_MAX;
}

void vitro_transform_set_size(VitroTransform *t, int height, int width)
{
    t->resize_height = scaled(t->resize_height, t->height, height, t->crop_pct);
    t->resize_width = scaled(t->resize_width, t->width, width, t->crop_pct);
    t->height = height;
    t->width = width;
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
    int least = t->rule == VITRO_RESIZE_SHORT ? 1 : 0;
    if (t->resize_width < least || t->resize_height < least)
        return vitro_fail(VITRO_E_ARG, "resize to %d x %d, each side must be at least %d",
                          t->resize_width, t->resize_height, least);
    for (int c = 0; c < t->channels; c++)
        if (!(t->std[c] > 0) || !isfinite(t->std[c]) || !isfinite(t->mean[c]))
            return vitro_fail(VITRO_E_ARG, "mean %g and std %g of channel %d: std must exceed 0",
                              (double)t->mean[c], (double)t->std[c], c);
    return VITRO_OK;
}

/* torchvision's Resize(int): the shorter side to `resize`, the other to int(resize * long / short),
 * one true division and a truncation, as Python does it. */
static void short_size(int64_t *width, int64_t *height, const VitroImage *in, int resize)
{
    int64_t w = in->width, h = in->height;
    int64_t longer =
        (int64_t)((double)((int64_t)resize * (w <= h ? h : w)) / (double)(w <= h ? w : h));
    *width = w <= h ? resize : longer;
    *height = w <= h ? longer : resize;
}

static int64_t at_least_1(double v)
{
    return v < 1 ? 1 : (int64_t)v;
}

/* timm's ResizeKeepRatio: round(side / ratio), half to even, the ratio that of the side that needs
 * more (`fit`) or less shrinking. */
static void ratio_size(int64_t *width, int64_t *height, const VitroImage *in, int to_width,
                       int to_height, bool fit)
{
    double across = (double)in->width / to_width, down = (double)in->height / to_height;
    double ratio = (across > down) == fit ? across : down;
    *width = at_least_1(rint(in->width / ratio));
    *height = at_least_1(rint(in->height / ratio));
}

static void resized_size(int64_t *width, int64_t *height, const VitroImage *in,
                         const VitroTransform *t)
{
    int to_width = t->resize_width ? t->resize_width : t->width;
    int to_height = t->resize_height ? t->resize_height : t->height;
    if (t->rule == VITRO_RESIZE_SHORT && to_width == to_height) {
        short_size(width, height, in, to_width);
    } else if (t->rule == VITRO_RESIZE_SQUASH) {
        *width = to_width;
        *height = to_height;
    } else {
        ratio_size(width, height, in, to_width, to_height, t->rule == VITRO_RESIZE_LONG);
    }
}

/* CenterCrop along one axis: `want` out of `have` begins at `from`; where there is too little, it
 * is all taken and lands at `to`, a border around it. */
typedef struct Crop {
    int64_t from;
    int to, count;
} Crop;

static Crop center_crop(int64_t have, int want, VitroCropRule rule)
{
    const int even = rule == VITRO_CROP_EVEN;
    if (have < want)
        return (Crop){0, (int)((want - have + !even) / 2), (int)have};
    /* Python's round() is half to even */
    return (Crop){even ? (int64_t)rint((double)(have - want) / 2.0) : (have - want) / 2, 0, want};
}

/* The border's colour: black, or the mean as timm rounds it. */
static void fill(VitroImage *image, const VitroTransform *t)
{
    const size_t channels = (size_t)image->channels;
    const size_t n = (size_t)image->width * (size_t)image->height * channels;
    for (size_t c = 0; c < channels; c++) {
        double mean = rint(255.0 * (double)t->mean[c]);
        double level = t->rule == VITRO_RESIZE_LONG ? fmin(fmax(mean, 0), 255) : 0;
        for (size_t i = c; i < n; i += channels)
            image->pixels[i] = (uint8_t)level;
    }
}

/* Puts `part` into a picture of the border's colour. */
static VitroStatus pad(VitroImage *out, VitroImage *part, const VitroTransform *t, int left,
                       int top)
{
    VitroImage image;
    VitroStatus st = vitro_image_alloc(&image, t->width, t->height, part->channels);
    if (st == VITRO_OK) {
        fill(&image, t);
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
    if (t->keep_exact && in->width == t->width && in->height == t->height)
        return vitro_image_resize_part(out, in, &plan);
    resized_size(&plan.width, &plan.height, in, t);
    Crop x = center_crop(plan.width, t->width, t->crop);
    Crop y = center_crop(plan.height, t->height, t->crop);
    plan.left = x.from, plan.part_width = x.count;
    plan.top = y.from, plan.part_height = y.count;
    VitroImage part = {0};
    VITRO_TRY(vitro_image_resize_part(&part, in, &plan));
    if (part.width < t->width || part.height < t->height)
        return pad(out, &part, t, x.to, y.to);
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
