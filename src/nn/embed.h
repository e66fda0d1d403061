/* SPDX-License-Identifier: Apache-2.0 */
/* From pictures to tokens: patch_embed (a convolution with stride = kernel, done as patches x
 * matrix), the class token and the position embedding. Eq. 1. */
#ifndef VITRO_NN_EMBED_H
#define VITRO_NN_EMBED_H

#include "nn/layernorm.h"
#include "nn/linear.h"
#include "nn/plan.h"

typedef struct VitroEmbedParams {
    VitroTensor cls_token;         /* [D]; absent if no_class_token */
    VitroTensor reg_token;         /* [R,D] registers, or DeiT's distillation token; or absent */
    VitroTensor pos_embed;         /* [T,D]; [N,D] if no_embed_class */
    VitroLayerNormParams pre_norm; /* [C*P*P]; absent unless patch_pre_norm */
    VitroWeight proj;              /* w [D,C*P*P], b [D] (absent if pre_norm) */
    VitroLayerNormParams norm;     /* absent unless patch_norm */
    VitroLayerNormParams norm_pre; /* [D]; absent unless pre_norm */
} VitroEmbedParams;

typedef struct VitroEmbedActs {
    VitroTensor
        images; /* [B,C,height,width] borrowed; patches are cut from them again in backward */
    VitroTensor patches;         /* [B,N,C*P*P] */
    VitroLayerNormActs pre_norm; /* out [B,N,C*P*P]; absent unless patch_pre_norm */
    VitroLinearActs proj;        /* out [B,N,D]; kept where patch_norm needs it */
    VitroLayerNormActs norm;     /* out [B,N,D]; absent unless patch_norm */
    VitroDropout pos_drop;
    VitroTensor tokens;          /* [B,T,D] with their positions; `out` itself unless pre_norm */
    VitroLayerNormActs norm_pre; /* out is `out`; absent unless pre_norm */
    VitroTensor out;             /* [B,T,D] */
} VitroEmbedActs;

/* Buffers of the backward pass; contents are dead afterwards. */
typedef struct VitroEmbedScratch {
    VitroTensor patches;    /* [B,N,C*P*P] */
    VitroTensor raw;        /* [B,N,C*P*P] the same before patch_pre_norm, or absent */
    VitroTensor dpixels[2]; /* [B,N,C*P*P] gradients behind and before patch_pre_norm, or absent */
    VitroTensor dtokens;    /* [B,T,D] gradient before norm_pre; absent unless pre_norm */
    VitroTensor demb;       /* [B,N,D] gradient of the tokens before the position embedding */
    VitroTensor dproj;      /* [B,N,D] the same before the norm; demb itself unless patch_norm */
} VitroEmbedScratch;

void vitro_embed_plan(VitroEmbedActs *a, VitroPlan *plan);
void vitro_embed_plan_scratch(VitroEmbedScratch *s, VitroPlan *plan);
/* images [B,C,height,width] -> a->out */
VitroStatus vitro_embed_forward(VitroDevice *dev, VitroEmbedActs *a, const VitroEmbedParams *p,
                                const VitroConfig *cfg, VitroTensor images);
/* dx [B,T,D], the gradient of a->out. */
VitroStatus vitro_embed_backward(VitroDevice *dev, VitroEmbedParams *grad, VitroTensor dx,
                                 const VitroEmbedActs *a, const VitroEmbedParams *p,
                                 const VitroConfig *cfg, const VitroEmbedScratch *scratch);

#endif
