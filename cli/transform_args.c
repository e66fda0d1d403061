/* SPDX-License-Identifier: Apache-2.0 */
/* The transform options and the transform that they lead to. */
#include "transform_args.h"

#include <math.h>
#include <stddef.h>

#define ROW(name_, type_, field_, ...)                                                             \
    {                                                                                              \
        .name = name_, .type = type_, .at = offsetof(TransformArgs, field_), __VA_ARGS__           \
    }

enum { TORCHVISION, TIMM, HUGGING_FACE };
static const char *const transform_names[] = {"torchvision", "timm", "hf", NULL};
static const char *const filter_names[] = {"bilinear", "bicubic", NULL};

static const ArgOption transform_options[] = {
    ROW("transform", ARG_CHOICE, preset, .def_help = "the file's own, else torchvision",
        .choices = transform_names,
        .help = "resize and crop rule: torchvision is Resize(int(S*256/224)) bilinear and "
                "CenterCrop(S), timm is Resize(floor(S/crop-pct)) bicubic and CenterCrop(S), hf is "
                "both sides to S, bilinear"),
    ROW("mean", ARG_REALS, mean, .min = -1e6, .max = 1e6, .def_help = "the file's own, else 0.5",
        .help = "one for all channels, or one each"),
    ROW("std", ARG_REALS, std, .min = 1e-6, .max = 1e6, .def_help = "the file's own, else 0.5",
        .help = "one for all channels, or one each"),
    ROW("interpolation", ARG_CHOICE, interpolation, .choices = filter_names,
        .def_help = "the transform's", .help = "filter of the resize"),
    ROW("crop-pct", ARG_REAL, crop_pct, .min = 0.01, .max = 1,
        .def_help = "0.9 with timm, 1.0 from S = 384 on",
        .help = "side of the crop as a share of the resized picture's shorter side"),
    ROW("exif", ARG_BOOL, exif, .def_help = "the file's own, else false, as PIL",
        .help = "turn by the EXIF orientation"),
};

ArgGroup transform_args_group(TransformArgs *t)
{
    return (ArgGroup){"Transform", transform_options, ARG_COUNT(transform_options), t};
}

int transform_args_resolve(TransformArgs *t, const Args *args)
{
    t->preset_given = args_given(args, "transform");
    t->interpolation_given = args_given(args, "interpolation");
    t->crop_given = args_given(args, "crop-pct");
    t->exif_given = args_given(args, "exif");
    if (t->crop_given && t->preset_given && t->preset == HUGGING_FACE)
        return cli_usage("options --crop-pct and --transform hf contradict each other: hf does not "
                         "crop");
    return CLI_OK;
}

/* mean and std of `channels` values; one value stands for all. */
static int set_channels(float *out, const char *option, const ArgReals *given, int channels)
{
    if (given->count > 1 && given->count != channels)
        return cli_usage("option --%s: found %d values, expected 1 or %d, one per channel of the "
                         "model",
                         option, given->count, channels);
    for (int c = 0; c < channels && given->count; c++)
        out[c] = (float)given->value[given->count == 1 ? 0 : c];
    return CLI_OK;
}

static void set_rule(VitroTransform *t, int preset, int side)
{
    t->rule = preset == HUGGING_FACE ? VITRO_RESIZE_SQUASH : VITRO_RESIZE_SHORT;
    t->filter = preset == TIMM ? VITRO_BICUBIC : VITRO_BILINEAR;
    t->keep_exact = false;
    if (preset == TORCHVISION)
        t->resize = vitro_transform_default(side, t->channels).resize;
    else if (preset == TIMM) /* timm's default for ViT: 0.9; 1.0 from 384 pixels on */
        t->resize = side >= 384 ? side : (int)floor(side / 0.9);
}

int transform_args_make(const TransformArgs *t, const VitroCard *card, const VitroConfig *config,
                        VitroTransform *out)
{
    int side = config->img_size, channels = config->in_channels;
    if (channels != 1 && channels != 3)
        return cli_fail("the model takes %d channels: pictures have 1 or 3", channels);
    VitroTransform made = vitro_transform_default(side, channels);
    if (card->has_transform) {
        made = card->transform;
        if (made.width != side || made.height != side || made.channels != channels)
            return cli_fail("the file's transform makes %dx%d pictures of %d channels, the model "
                            "takes %dx%d of %d",
                            made.width, made.height, made.channels, side, side, channels);
    }
    if (t->preset_given)
        set_rule(&made, t->preset, side);
    if (t->crop_given) {
        made.rule = VITRO_RESIZE_SHORT;
        made.resize = (int)floor(side / t->crop_pct);
        made.keep_exact = false;
    }
    if (t->interpolation_given)
        made.filter = t->interpolation == 1 ? VITRO_BICUBIC : VITRO_BILINEAR;
    if (t->exif_given)
        made.exif = t->exif;
    int status = set_channels(made.mean, "mean", &t->mean, channels);
    if (!status)
        status = set_channels(made.std, "std", &t->std, channels);
    if (!status)
        *out = made;
    return status;
}
