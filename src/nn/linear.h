/* SPDX-License-Identifier: Apache-2.0 */
/* y = epilogue(x w^T + b): torch.nn.Linear and what follows it. */
#ifndef VITRO_NN_LINEAR_H
#define VITRO_NN_LINEAR_H

#include "backend/backend.h"

typedef struct VitroLinearActs {
    VitroTensor x;   /* [rows,K] borrowed from the layer below; kept for the backward pass */
    VitroTensor out; /* [rows,N] */
    VitroEpilogue epilogue;
} VitroLinearActs;

static inline VitroStatus vitro_linear_forward(VitroDevice *dev, VitroLinearActs *a,
                                               const VitroWeight *p, VitroTensor x)
{
    a->x = x;
    return dev->ops->linear(dev, a->out, x, p, &a->epilogue);
}

/* From dpre, the gradient of x w^T + b: grad +=, and dx = (absent: not wanted). Where `below` is
 * the linear layer whose output x is, dx is taken through its epilogue too. */
static inline VitroStatus vitro_linear_backward(VitroDevice *dev, VitroTensor dx, VitroWeight *grad,
                                                VitroTensor dpre, const VitroLinearActs *a,
                                                const VitroWeight *p, const VitroLinearActs *below)
{
    return dev->ops->linear_backward(dev, dx, grad, dpre, a->x, p, below ? &below->epilogue : NULL);
}

/* Back through the epilogue at a branch's end, with LayerScale's gradient (absent: it has none):
 * *dpre is `room`, or dy itself where there is nothing to do. */
static inline VitroStatus vitro_branch_backward(VitroDevice *dev, VitroTensor *dpre,
                                                VitroTensor dscale, VitroTensor dy,
                                                const VitroEpilogue *e, VitroTensor room)
{
    *dpre = dy;
    if (dscale.data)
        VITRO_TRY(dev->ops->scale_backward(dev, dscale, dy, e));
    if (!vitro_epilogue_changes_gradient(e))
        return VITRO_OK;
    *dpre = room;
    return dev->ops->epilogue_backward(dev, room, dy, e);
}

#endif
