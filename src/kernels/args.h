/* SPDX-License-Identifier: Apache-2.0 */
/* What the ops are told besides their tensors: dropout, weights, epilogues, attention's shape, an
 * optimizer step's numbers. Kernels and back ends share these; no op is declared here. */
#ifndef VITRO_KERNELS_ARGS_H
#define VITRO_KERNELS_ARGS_H

#include "tensor/tensor.h"
#include "vitro/model.h" /* VitroAct */

/* ---- randomness ------------------------------------------------------------------------------ */

/* The counters behind dropout. They live in device memory, so that a captured step can be replayed
 * with other values. */
typedef struct VitroDropState {
    uint64_t seed;
    uint32_t step;    /* forward passes so far */
    uint32_t sample0; /* number of the batch's first image within the step */
} VitroDropState;

/* Element-wise dropout. Element e (row-major) of sample b of the tensor is kept where u >= ratio
 * and then scaled by 1/(1-ratio), with u = (word >> 8) * 2^-24 and word = vitro_philox(counter,
 * key)[e % 4], counter = {e / 4, sample0 + b, site, step}, key = seed + VITRO_RNG_DROPOUT *
 * 0x9E3779B97F4A7C15. The mask is recomputed in the backward pass, never stored. */
typedef struct VitroDropout {
    double ratio;                /* [0, 1); 0: the identity */
    uint32_t site;               /* which dropout of the model this is */
    const VitroDropState *state; /* NULL: the identity (evaluation) */
} VitroDropout;

static inline bool vitro_dropout_on(const VitroDropout *d)
{
    return d->state && d->ratio > 0;
}

/* ---- products -------------------------------------------------------------------------------- */

typedef struct VitroPrepared VitroPrepared; /* a back end's own packed form of a weight */

/* A linear layer's parameters: y = x w^T + b. */
typedef struct VitroWeight {
    VitroTensor w;     /* [N,K] of the device's dtype, or I8 */
    VitroTensor b;     /* [N], or absent */
    VitroTensor scale; /* [N] float32: row n of an I8 w stands for scale[n] w[n]; else absent */
    int trained;       /* by so many trainers: never prepared while that is not 0 */
    bool wide;         /* stays in bf16 where the device multiplies bytes */
    VitroPrepared *prepared; /* owned by the back end: weight_prepare .. weight_release */
} VitroWeight;

/* What happens to x w^T + b before it is stored, in this order: activation, dropout, scale, drop
 * path, residual. `rows_per_sample` (T for [B,T,*],
 * 1 for [B,*]) tells which rows of the product belong to one image. */
typedef struct VitroEpilogue {
    VitroAct act;
    VitroTensor pre;      /* [rows,N] receives x w^T + b, for the backward pass; may be absent */
    VitroDropout dropout; /* element-wise */
    VitroTensor scale;    /* [N] LayerScale: multiplies each column; absent: 1 */
    VitroDropout path;    /* drop path: one draw, that of element 0, for a sample's whole branch */
    VitroTensor residual; /* [rows,N] added last; may be y itself, or absent */
    int64_t rows_per_sample;
} VitroEpilogue;

/* Whether the way back through an epilogue does more than copy. */
static inline bool vitro_epilogue_changes_gradient(const VitroEpilogue *e)
{
    return e->act != VITRO_ACT_NONE || e->scale.data || vitro_dropout_on(&e->dropout) ||
           vitro_dropout_on(&e->path);
}

/* ---- attention ------------------------------------------------------------------------------- */

/* ctx = dropout(softmax(scale q k^T)) v per image and head. qkv is [B,T,3D], its last dimension
 * laid out (3, H, D/H) as PyTorch's reshape(B, N, 3, heads, D/heads) reads it. Where the class
 * token alone asks, its q is [B,D] and kv is [B,T,2D], laid out (2, H, D/H). */
typedef struct VitroAttentionShape {
    int64_t heads;
    double scale;
    VitroDropout dropout; /* of the probabilities; element e = (h*T + i)*T + j */
} VitroAttentionShape;

/* ---- optimizers ------------------------------------------------------------------------------ */

/* One optimizer step's numbers; in device memory, like VitroDropState. */
typedef struct VitroOptimStep {
    double lr, weight_decay;
    double grad_scale;               /* multiplies every gradient first (clipping) */
    double momentum;                 /* SGD */
    double beta1, beta2, eps;        /* AdamW */
    double correction1, correction2; /* 1 - beta^t */
} VitroOptimStep;

#endif
