/* SPDX-License-Identifier: Apache-2.0 */
/* fc1, GELU, dropout, fc2, dropout. */
#ifndef VITRO_NN_MLP_H
#define VITRO_NN_MLP_H

#include "nn/linear.h"
#include "nn/plan.h"

typedef struct VitroMlpParams {
    VitroWeight fc1;   /* w [M,D], b [M] */
    VitroWeight fc2;   /* w [D,M], b [D]; both may have no b */
    VitroTensor scale; /* [D] LayerScale, or absent */
} VitroMlpParams;

typedef struct VitroMlpActs {
    VitroLinearActs fc1; /* out [B,T,M] = dropout(gelu(x fc1^T + b)) */
    VitroLinearActs fc2; /* out [B,T,D] = residual + drop_path(dropout(fc1.out fc2^T + b)) */
} VitroMlpActs;

/* Buffers of the backward pass; contents are dead afterwards. */
typedef struct VitroMlpScratch {
    VitroTensor dbranch; /* [B,T,D] gradient at the end of the branch */
    VitroTensor dhidden; /* [B,T,M] */
} VitroMlpScratch;

/* `out` as for attention. */
void vitro_mlp_plan(VitroMlpActs *a, VitroPlan *plan, int block, double drop_path, VitroTensor out);
/* x [B,T,D] (normalised) -> a->fc2.out = residual + branch(x). */
VitroStatus vitro_mlp_forward(VitroDevice *dev, VitroMlpActs *a, const VitroMlpParams *p,
                              VitroTensor x, VitroTensor residual);
/* dy [B,T,D], the gradient of a->fc2.out -> dx [B,T,D], that of x. */
VitroStatus vitro_mlp_backward(VitroDevice *dev, VitroTensor dx, VitroMlpParams *grad,
                               VitroTensor dy, const VitroMlpActs *a, const VitroMlpParams *p,
                               const VitroMlpScratch *scratch);

#endif
