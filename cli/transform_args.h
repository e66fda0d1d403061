/* SPDX-License-Identifier: Apache-2.0 */
/* --transform, --mean, --std, --interpolation, --crop-pct, --crop-mode, --exif: how a picture
 * becomes a tensor. The preset says how to resize and crop; mean and std stay the file's own unless
 * they are given.
 */
#ifndef VITRO_CLI_TRANSFORM_ARGS_H
#define VITRO_CLI_TRANSFORM_ARGS_H

#include "args.h"

typedef struct TransformArgs {
    int preset;        /* index in torchvision, timm, hf */
    int interpolation; /* VitroFilter */
    int crop_mode;     /* VitroResizeRule */
    ArgReals mean, std;
    double crop_pct;
    bool exif;
    /* Written by transform_args_resolve. */
    bool preset_given, interpolation_given, crop_given, mode_given, exif_given;
} TransformArgs;

ArgGroup transform_args_group(TransformArgs *t);
int transform_args_resolve(TransformArgs *t, const Args *args);
/* The card's transform for the model's size, else the original's default, changed by what was
 * given.
 */
int transform_args_make(const TransformArgs *t, const VitroCard *card, const VitroConfig *config,
                        VitroTransform *out);
/* Whether pictures of the data set, which are all of one size, are taken as they are: it is the
 * model's, and no other resize or crop was asked for. */
bool transform_args_keep_exact(const TransformArgs *t, const VitroDataset *ds,
                               const VitroConfig *config);
bool transform_args_rule_given(const TransformArgs *t);
/* Writes `made` back, for args_print. */
void transform_args_show(TransformArgs *t, const VitroTransform *made);

/* As --interpolation and --crop-mode spell them. */
const char *transform_filter_name(VitroFilter filter);
const char *transform_rule_name(VitroResizeRule rule);

#endif
