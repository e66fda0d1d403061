/* SPDX-License-Identifier: Apache-2.0 */
/* From the last block's tokens to what the head sees: the final norm and the pooling, in timm's
 * order. Where the class token alone is looked at, only it comes here; Eq. 4. */
#ifndef VITRO_NN_POOL_H
#define VITRO_NN_POOL_H

#include "nn/attention.h"
#include "nn/layernorm.h"
#include "nn/mlp.h"

/* timm's AttentionPoolLatent: one query for all images, which attends to the tokens of each. */
typedef struct VitroAttnPoolParams {
    VitroTensor latent; /* [D] */
    VitroWeight q, kv;  /* w [D,D], b [D]; w [2D,D], b [2D] */
    VitroWeight proj;   /* w [D,D], b [D] */
    VitroLayerNormParams norm;
    VitroMlpParams mlp;
} VitroAttnPoolParams;

typedef struct VitroAttnPoolActs {
    VitroTensor latent; /* [B,1,D] */
    VitroLinearActs q;  /* out [B,D] */
    VitroLinearActs kv; /* out [B,n,2D] */
    VitroTensor ctx;    /* [B,D] */
    VitroTensor lse;    /* [B,H]; absent in inference */
    VitroAttentionShape shape;
    VitroLinearActs proj;    /* out [B,D] */
    VitroLayerNormActs norm; /* out [B,D] */
    VitroMlpActs mlp;        /* of [B,1,D]; out [B,D] */
} VitroAttnPoolActs;

typedef struct VitroPoolParams {
    VitroLayerNormParams norm; /* absent if no_final_norm */
    VitroAttnPoolParams attn;  /* absent unless VITRO_POOL_MAP */
} VitroPoolParams;

typedef struct VitroPoolActs {
    VitroTensor chosen; /* [B,2,D] if distilled; [B,n,D] if attention leaves prefix tokens out */
    VitroLayerNormActs norm; /* out [B,T,D], or of the same shape as `out` */
    VitroTensor mean;        /* [B,D]; absent unless VITRO_POOL_AVG */
    VitroAttnPoolActs attn;
    VitroTensor out; /* [B,D]; [B,2,D] if distilled */
} VitroPoolActs;

/* Buffers of the backward pass; contents are dead afterwards. */
typedef struct VitroPoolScratch {
    VitroTensor dpooled; /* [B,D] gradient before a norm that comes after pooling */
    VitroTensor dchosen; /* as `chosen` */
    VitroTensor dnormed; /* [B,T,D] gradient behind a norm that comes before pooling */
    /* attention pooling */
    VitroTensor dmlp, dproj, dctx, dq, dlatent; /* [B,D]; dlatent [B,1,D] */
    VitroTensor dkv;                            /* [B,n,2D] */
    VitroMlpScratch mlp;
} VitroPoolScratch;

/* Whether the class token is all that is looked at of the last block. */
static inline bool vitro_pools_class_alone(const VitroConfig *cfg)
{
    return cfg->global_pool == VITRO_POOL_TOKEN && !cfg->distilled;
}

/* What plan_scratch plans is for full training; head-only training goes no further than `out`. */
void vitro_pool_plan(VitroPoolActs *a, VitroPlan *plan);
void vitro_pool_plan_scratch(VitroPoolScratch *s, VitroPlan *plan);
/* x [B,T,D], or the class token [B,D] -> a->out */
VitroStatus vitro_pool_forward(VitroDevice *dev, VitroPoolActs *a, const VitroPoolParams *p,
                               const VitroConfig *cfg, VitroTensor x);
/* dx, the gradient of x, from dout, that of a->out, which is lost. */
VitroStatus vitro_pool_backward(VitroDevice *dev, VitroTensor dx, VitroPoolParams *grad,
                                VitroTensor dout, const VitroPoolActs *a, const VitroPoolParams *p,
                                const VitroConfig *cfg, const VitroPoolScratch *s);

#endif
