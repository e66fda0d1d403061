/* SPDX-License-Identifier: Apache-2.0 */
/* torchvision 0.14's RandomResizedCrop and RandomHorizontalFlip with numbers of our own: same
 * distribution, and equal pixels for equal parameters. Knows no data set. */
#include "image/decode.h"
#include "image/resize.h"

#include "base/rng.h"

#include <math.h>

static const double min_ratio = 3.0 / 4.0, max_ratio = 4.0 / 3.0;
static const float min_scale = 0.08f, max_scale = 1.0f;
enum { TRIES = 10 };

/* torch.empty(1).uniform_(from, to), in float32. */
static float uniform(VitroRng *rng, float from, float to)
{
    return vitro_rng_float(rng) * (to - from) + from;
}

/* Where ten tries fail: the whole picture, or its middle where it is too long for the ratios. */
static VitroBox fallback(int width, int height)
{
    double ratio = (double)width / (double)height;
    int w = width, h = height;
    if (ratio < min_ratio)
        h = (int)rint(w / min_ratio);
    else if (ratio > max_ratio)
        w = (int)rint(h * max_ratio);
    return (VitroBox){(width - w) / 2, (height - h) / 2, w, h};
}

/* RandomResizedCrop.get_params; what torch computes in float32 is float here. */
static VitroBox draw_crop(VitroRng *rng, int width, int height)
{
    const float low = logf((float)min_ratio), high = logf((float)max_ratio);
    for (int i = 0; i < TRIES; i++) {
        double area = (double)height * width * (double)uniform(rng, min_scale, max_scale);
        double ratio = (double)expf(uniform(rng, low, high));
        double w = rint(sqrt(area * ratio)), h = rint(sqrt(area / ratio));
        if (!(w > 0 && w <= width && h > 0 && h <= height))
            continue;
        VitroBox box = {.width = (int)w, .height = (int)h};
        box.top = (int)vitro_rng_below(rng, (uint32_t)(height - box.height) + 1);
        box.left = (int)vitro_rng_below(rng, (uint32_t)(width - box.width) + 1);
        return box;
    }
    return fallback(width, height);
}

VitroAugment vitro_augment_draw(uint64_t seed, uint32_t epoch, uint32_t sample, int width,
                                int height)
{
    VitroRng rng = vitro_rng(seed, VITRO_RNG_AUGMENT, epoch, sample);
    VitroAugment a = {.crop = draw_crop(&rng, width, height)};
    a.flip = vitro_rng_float(&rng) < 0.5f;
    return a;
}

VitroStatus vitro_augment_apply(float *out, const VitroImage *in, const VitroTransform *t,
                                const VitroAugment *a)
{
    VitroImage pixels = {0};
    VITRO_TRY(vitro_image_resize(&pixels, in, &a->crop, t->width, t->height, t->filter));
    VitroStatus st = vitro_transform_normalize(out, &pixels, t, a->flip);
    vitro_image_deinit(&pixels);
    return st;
}
