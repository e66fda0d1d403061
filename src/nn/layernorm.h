/* SPDX-License-Identifier: Apache-2.0 */
/* torch.nn.LayerNorm over the last dimension. */
#ifndef VITRO_NN_LAYERNORM_H
#define VITRO_NN_LAYERNORM_H

#include "backend/backend.h"

typedef struct VitroLayerNormParams {
    VitroTensor gamma, beta; /* [D] */
} VitroLayerNormParams;

typedef struct VitroLayerNormActs {
    VitroTensor x;          /* [rows,D] borrowed */
    VitroTensor out;        /* [rows,D] */
    VitroTensor mean, rstd; /* [rows]; absent in inference */
    double eps;
} VitroLayerNormActs;

static inline VitroStatus vitro_layernorm_forward(VitroDevice *dev, VitroLayerNormActs *a,
                                                  const VitroLayerNormParams *p, VitroTensor x)
{
    a->x = x;
    return dev->ops->layernorm(dev, a->out, a->mean, a->rstd, x, p->gamma, p->beta, a->eps);
}

/* a->out once more, where others have used its memory since. */
static inline VitroStatus vitro_layernorm_again(VitroDevice *dev, const VitroLayerNormActs *a,
                                                const VitroLayerNormParams *p)
{
    return dev->ops->layernorm(dev, a->out, a->mean, a->rstd, a->x, p->gamma, p->beta, a->eps);
}

/* dx = add + gradient; `add` is what reached x along the residual connection, if any. */
static inline VitroStatus vitro_layernorm_backward(VitroDevice *dev, VitroTensor dx,
                                                   VitroLayerNormParams *grad, VitroTensor add,
                                                   VitroTensor dy, const VitroLayerNormActs *a,
                                                   const VitroLayerNormParams *p)
{
    return dev->ops->layernorm_backward(dev, dx, grad->gamma, grad->beta, add, dy, a->x, a->mean,
                                        a->rstd, p->gamma);
}

#endif
