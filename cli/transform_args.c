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
/* In the order of the enumerations. */
static const char *const filter_names[] = {"bilinear", "bicubic", "lanczos", "box",
                                           "hamming",  "nearest", NULL};
static const char *const mode_names[] = {"center", "squash", "border", NULL};

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
        .help = "side of the crop as a share of the resized picture's"),
    ROW("crop-mode", ARG_CHOICE, crop_mode, .choices = mode_names, .def_help = "the transform's",
        .help = "what is resized before the crop at the centre. center: the shorter side; squash: "
                "both sides, the aspect ratio lost; border: the longer side, and a border of the "
                "mean"),
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
    t->mode_given = args_given(args, "crop-mode");
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

/* floor(side / crop_pct), as timm does it. */
static void set_crop_pct(VitroTransform *t, double crop_pct)
{
    t->crop_pct = crop_pct;
    t->resize_height = (int)floor(t->height / crop_pct);
    t->resize_width = (int)floor(t->width / crop_pct);
    t->keep_exact = false;
}

static void set_preset(VitroTransform *t, int preset)
{
    VitroTransform torchvision = vitro_transform_default(t->height, t->width, t->channels);
    t->rule = preset == HUGGING_FACE ? VITRO_RESIZE_SQUASH : VITRO_RESIZE_SHORT;
    t->crop = preset == HUGGING_FACE ? VITRO_CROP_FLOOR : VITRO_CROP_EVEN;
    t->filter = preset == TIMM ? VITRO_BICUBIC : VITRO_BILINEAR;
    t->crop_pct = 0;
    t->keep_exact = false;
    t->resize_height = preset == TORCHVISION ? torchvision.resize_height : t->height;
    t->resize_width = preset == TORCHVISION ? torchvision.resize_width : t->width;
    if (preset == TIMM) /* timm's default for ViT: 0.9; 1.0 from 384 pixels on */
        set_crop_pct(t, t->height >= 384 ? 1.0 : 0.9);
}

static void set_mode(VitroTransform *t, VitroResizeRule rule)
{
    if (!t->resize_height || !t->resize_width) {
        t->resize_height = t->height;
        t->resize_width = t->width;
    }
    t->rule = rule;
    t->keep_exact = false;
}

int transform_args_make(const TransformArgs *t, const VitroCard *card, const VitroConfig *config,
                        VitroTransform *out)
{
    int channels = config->in_channels;
    if (channels != 1 && channels != 3)
        return cli_fail("the model takes %d channels: pictures have 1 or 3", channels);
    VitroTransform made = vitro_transform_default(config->img_height, config->img_width, channels);
    if (card->has_transform) {
        made = card->transform; /* of the model's size: model_file_open sees to it */
        if (made.channels != channels)
            return cli_fail("the file's transform makes pictures of %d channels, the model takes "
                            "%d",
                            made.channels, channels);
    }
    if (t->preset_given)
        set_preset(&made, t->preset);
    if (t->mode_given)
        set_mode(&made, (VitroResizeRule)t->crop_mode);
    if (t->crop_given)
        set_crop_pct(&made, t->crop_pct);
    if (t->interpolation_given)
        made.filter = (VitroFilter)t->interpolation;
    if (t->exif_given)
        made.exif = t->exif;
    int status = set_channels(made.mean, "mean", &t->mean, channels);
    if (!status)
        status = set_channels(made.std, "std", &t->std, channels);
    if (!status)
        *out = made;
    return status;
}

bool transform_args_rule_given(const TransformArgs *t)
{
    return t->preset_given || t->crop_given || t->mode_given;
}

bool transform_args_keep_exact(const TransformArgs *t, const VitroDataset *ds,
                               const VitroConfig *config)
{
    int side = vitro_dataset_fixed_size(ds);
    return side && side == config->img_height && side == config->img_width &&
           !transform_args_rule_given(t);
}

void transform_args_show(TransformArgs *t, const VitroTransform *made)
{
    t->interpolation = (int)made->filter;
    t->crop_mode = (int)made->rule;
    t->exif = made->exif;
    t->crop_pct = made->crop_pct;
    if (!(t->crop_pct > 0))
        t->crop_pct = made->resize_height ? (double)made->height / made->resize_height : 1;
    t->mean.count = t->std.count = made->channels;
    for (int c = 0; c < made->channels; c++) {
        t->mean.value[c] = made->mean[c];
        t->std.value[c] = made->std[c];
    }
}

const char *transform_filter_name(VitroFilter filter)
{
    return filter_names[filter];
}

const char *transform_rule_name(VitroResizeRule rule)
{
    return mode_names[rule];
}
