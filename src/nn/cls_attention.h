/* SPDX-License-Identifier: Apache-2.0 */
/* The last block's attention. After it only the class token is looked at, so it alone asks: k and v
 * of all tokens, but one q, one context and one projection per image. The numbers are those of the
 * full layer: the class token's row with its dropout, and every gradient, as nothing that is left
 * out has one. */
#ifndef VITRO_NN_CLS_ATTENTION_H
#define VITRO_NN_CLS_ATTENTION_H

#include "nn/attention.h"

typedef struct VitroClsAttentionActs {
    VitroTensor x;                   /* [B,D] the class token of the layer's input */
    VitroLinearActs q;               /* out [B,D] */
    VitroLinearActs kv;              /* out [B,T,2D] */
    VitroTensor normed_q, normed_kv; /* what attention takes: as `normed` of the full layer */
    VitroHeadNormActs q_norm, k_norm;
    VitroTensor ctx; /* [B,D] */
    VitroTensor lse; /* [B,H]; absent in inference */
    VitroAttentionShape shape;
    double eps;           /* of q_norm and k_norm */
    VitroLinearActs proj; /* out [B,D] = residual + drop_path(dropout(ctx proj^T + b)) */
} VitroClsAttentionActs;

/* Buffers of the backward pass; contents are dead afterwards. */
typedef struct VitroClsAttentionScratch {
    VitroTensor dbranch; /* [B,D] gradient at the end of the branch */
    VitroTensor dctx;    /* [B,D] */
    VitroTensor dq;      /* [B,D] */
    VitroTensor dkv;     /* [B,T,2D] */
    VitroTensor dcls;    /* [B,D] what dq sends to the layer's input */
} VitroClsAttentionScratch;

/* `out` [B,D] is where the block's sum goes; it may be the residual itself. */
void vitro_cls_attention_plan(VitroClsAttentionActs *a, VitroPlan *plan, int block,
                              double drop_path, VitroTensor out);
void vitro_cls_attention_plan_scratch(VitroClsAttentionScratch *s, VitroPlan *plan);
/* x [B,T,D] (normalised), residual [B,D] -> a->proj.out = residual + branch(x). */
VitroStatus vitro_cls_attention_forward(VitroDevice *dev, VitroClsAttentionActs *a,
                                        const VitroAttentionParams *p, VitroTensor x,
                                        VitroTensor residual);
/* dy [B,D], the gradient of a->proj.out -> dx [B,T,D], that of x. */
VitroStatus vitro_cls_attention_backward(VitroDevice *dev, VitroTensor dx,
                                         VitroAttentionParams *grad, VitroTensor dy,
                                         const VitroClsAttentionActs *a,
                                         const VitroAttentionParams *p,
                                         const VitroClsAttentionScratch *scratch);

#endif
