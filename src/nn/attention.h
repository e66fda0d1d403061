/* SPDX-License-Identifier: Apache-2.0 */
/* Multi-head self-attention: qkv, softmax(scale q k^T) v, proj. The paper's appendix A, Eq. 5-8. */
#ifndef VITRO_NN_ATTENTION_H
#define VITRO_NN_ATTENTION_H

#include "nn/layernorm.h"
#include "nn/linear.h"
#include "nn/plan.h"

typedef struct VitroAttentionParams {
    VitroWeight qkv; /* w [3D,D], b [3D] or absent */
    VitroWeight q;   /* its first D rows, */
    VitroWeight kv;  /* and the other 2D: the last block's, see cls_attention.h */
    VitroLayerNormParams q_norm, k_norm; /* [D/H]; absent unless qk_norm */
    VitroWeight proj;                    /* w [D,D], b [D] or absent */
    VitroTensor scale;                   /* [D] LayerScale, or absent */
} VitroAttentionParams;

/* LayerNorm of each head's q, or k. */
typedef struct VitroHeadNormActs {
    VitroTensor mean, rstd; /* [rows,H]; absent in inference */
} VitroHeadNormActs;

typedef struct VitroAttentionActs {
    VitroLinearActs qkv; /* out [B,T,3D] */
    VitroTensor normed;  /* [B,T,3D] what attention takes; qkv.out itself where nothing is kept, or
                          * unless qk_norm */
    VitroHeadNormActs q_norm, k_norm;
    VitroTensor ctx; /* [B,T,D] */
    VitroTensor lse; /* [B,H,T]; absent in inference */
    VitroAttentionShape shape;
    double eps;           /* of q_norm and k_norm */
    VitroLinearActs proj; /* out [B,T,D] = residual + drop_path(dropout(ctx proj^T + b)) */
} VitroAttentionActs;

/* Buffers of the backward pass; contents are dead afterwards. */
typedef struct VitroAttentionScratch {
    VitroTensor dbranch; /* [B,T,D] gradient at the end of the branch */
    VitroTensor dctx;    /* [B,T,D] */
    VitroTensor dqkv;    /* [B,T,3D] */
} VitroAttentionScratch;

/* What `block`'s configuration says of the two ops that have options. */
VitroAttentionShape vitro_attention_shape(const VitroPlan *plan, int block);
VitroEpilogue vitro_attention_epilogue(const VitroPlan *plan, int block, double drop_path);
/* Whether qk_norm keeps what it is given: where the backward pass needs both. */
bool vitro_head_norm_keeps(const VitroPlan *plan);
void vitro_head_norm_plan(VitroHeadNormActs *a, VitroPlan *plan, int64_t rows);
/* The heads of x from column `first` on, to y; other columns are copied where y is not x. */
VitroStatus vitro_head_norm_forward(VitroDevice *dev, const VitroHeadNormActs *a, VitroTensor y,
                                    VitroTensor x, const VitroLayerNormParams *p,
                                    const VitroAttentionShape *shape, double eps, int64_t first);
VitroStatus vitro_head_norm_backward(VitroDevice *dev, VitroTensor dx, VitroLayerNormParams *grad,
                                     const VitroHeadNormActs *a, VitroTensor x,
                                     const VitroLayerNormParams *p,
                                     const VitroAttentionShape *shape, int64_t first);

/* `out` [B,T,D] is where the block's sum goes; in inference it may be the residual itself. */
void vitro_attention_plan(VitroAttentionActs *a, VitroPlan *plan, int block, double drop_path,
                          VitroTensor out);
/* x [B,T,D] (normalised) -> a->proj.out = residual + branch(x). */
VitroStatus vitro_attention_forward(VitroDevice *dev, VitroAttentionActs *a,
                                    const VitroAttentionParams *p, VitroTensor x,
                                    VitroTensor residual);
/* dy [B,T,D], the gradient of a->proj.out -> dx [B,T,D], that of x. */
VitroStatus vitro_attention_backward(VitroDevice *dev, VitroTensor dx, VitroAttentionParams *grad,
                                     VitroTensor dy, const VitroAttentionActs *a,
                                     const VitroAttentionParams *p,
                                     const VitroAttentionScratch *scratch);

#endif
