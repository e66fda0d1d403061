/* SPDX-License-Identifier: Apache-2.0 */
/* Position embeddings for another grid of patches, patch embeddings for another patch size. Plain
 * arithmetic: knows no model and no file. */
#ifndef VITRO_MODEL_RESAMPLE_H
#define VITRO_MODEL_RESAMPLE_H

#include "base/status.h"
#include "vitro/model.h"

typedef struct VitroGrid {
    int64_t rows, cols;
} VitroGrid;

/* in [from.rows,from.cols,D] -> out [to.rows,to.cols,D]. Errors: VITRO_E_NOMEM. */
VitroStatus vitro_resample_grid(float *out, VitroGrid to, const float *in, VitroGrid from,
                                int64_t D, VitroPosEmbedRule rule);

#define VITRO_RESAMPLE_MAX_PATCH 256

/* in [n,from,from] -> out [n,to,to], the filters of a patch embedding: such that a patch enlarged
 * by `rule`'s resize gives, as far as possible, the product that it gave before. FlexiViT's
 * PI-resize, https://arxiv.org/abs/2212.08013, as timm's resample_patch_embed. 1 <= from, to <=
 * VITRO_RESAMPLE_MAX_PATCH. Errors: VITRO_E_NOMEM. */
VitroStatus vitro_resample_patches(float *out, int64_t to, const float *in, int64_t from, int64_t n,
                                   VitroPosEmbedRule rule);

#endif
