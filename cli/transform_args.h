/* SPDX-License-Identifier: Apache-2.0 */
/* --transform, --mean, --std, --interpolation, --crop-pct, --exif: how a picture becomes a tensor.
 * The preset says how to resize and crop; mean and std stay the file's own unless they are given.
 */
#ifndef VITRO_CLI_TRANSFORM_ARGS_H
#define VITRO_CLI_TRANSFORM_ARGS_H

#include "args.h"

typedef struct TransformArgs {
    int preset;        /* index in torchvision, timm, hf */
    int interpolation; /* index in bilinear, bicubic */
    ArgReals mean, std;
    double crop_pct;
    bool exif;
    /* Written by transform_args_resolve. */
    bool preset_given, interpolation_given, crop_given, exif_given;
} TransformArgs;

ArgGroup transform_args_group(TransformArgs *t);
int transform_args_resolve(TransformArgs *t, const Args *args);
/* The card's transform, else the original's default, changed by what was given. */
int transform_args_make(const TransformArgs *t, const VitroCard *card, const VitroConfig *config,
                        VitroTransform *out);

#endif
