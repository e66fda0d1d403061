/* SPDX-License-Identifier: Apache-2.0 */
/* One pre-norm encoder block: x += attention(norm1(x)); x += mlp(norm2(x)). Eq. 2 and 3. */
#ifndef VITRO_NN_BLOCK_H
#define VITRO_NN_BLOCK_H

#include "nn/attention.h"
#include "nn/cls_attention.h"
#include "nn/layernorm.h"
#include "nn/mlp.h"

typedef struct VitroBlockParams {
    VitroLayerNormParams norm1;
    VitroAttentionParams attn;
    VitroLayerNormParams norm2;
    VitroMlpParams mlp;
} VitroBlockParams;

typedef struct VitroBlockActs {
    VitroLayerNormActs norm1;
    VitroAttentionActs attn;
    VitroLayerNormActs norm2;
    VitroMlpActs mlp;
    VitroTensor out; /* [B,T,D] */
} VitroBlockActs;

typedef struct VitroBlockScratch {
    VitroTensor dnorm; /* [B,T,D] */
    VitroAttentionScratch attn;
    VitroMlpScratch mlp; /* shares memory with attn */
} VitroBlockScratch;

/* `out` [B,T,D] is where the block's result goes: where plan->keep, a buffer of its own, else the
 * block's input, which is updated in place. The caller may give what this takes back to the arena
 * for the next block; to run backward, this block's forward or recompute must then be the last. */
void vitro_block_plan(VitroBlockActs *a, VitroPlan *plan, int block, VitroTensor out);
void vitro_block_plan_scratch(VitroBlockScratch *s, VitroPlan *plan);
VitroStatus vitro_block_forward(VitroDevice *dev, VitroBlockActs *a, const VitroBlockParams *p,
                                VitroTensor x);
/* What backward needs of that, once more: everything but a->out, which is left alone. */
VitroStatus vitro_block_recompute(VitroDevice *dev, VitroBlockActs *a, const VitroBlockParams *p,
                                  VitroTensor x);
/* dx [B,T,D]: in, the gradient of a->out; out, that of the block's input. */
VitroStatus vitro_block_backward(VitroDevice *dev, VitroTensor dx, VitroBlockParams *grad,
                                 const VitroBlockActs *a, const VitroBlockParams *p,
                                 const VitroBlockScratch *scratch);

/* ---- the last block ---------------------------------------------------------------------------
 * Only the class token of its result is looked at. Its keys and values are those of all tokens;
 * whatever comes after them is computed for the class token alone. */

typedef struct VitroLastBlockActs {
    VitroLayerNormActs norm1; /* of [B,T,D] */
    VitroTensor x;            /* [B,D] the class token, before and after attention is added */
    VitroClsAttentionActs attn;
    VitroLayerNormActs norm2; /* this and what follows: of [B,D] */
    VitroMlpActs mlp;
    VitroTensor out; /* [B,D] */
} VitroLastBlockActs;

typedef struct VitroLastBlockScratch {
    VitroTensor dnorm1; /* [B,T,D] */
    VitroTensor dnorm2; /* [B,D] */
    VitroClsAttentionScratch attn;
    VitroMlpScratch mlp; /* shares memory with attn */
} VitroLastBlockScratch;

void vitro_last_block_plan(VitroLastBlockActs *a, VitroPlan *plan, int block);
void vitro_last_block_plan_scratch(VitroLastBlockScratch *s, VitroPlan *plan);
/* x [B,T,D] -> a->out [B,D] */
VitroStatus vitro_last_block_forward(VitroDevice *dev, VitroLastBlockActs *a,
                                     const VitroBlockParams *p, VitroTensor x);
/* dx [B,T,D], the gradient of the block's input, from dout [B,D], that of a->out, which is lost. */
VitroStatus vitro_last_block_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dout,
                                      VitroBlockParams *grad, const VitroLastBlockActs *a,
                                      const VitroBlockParams *p,
                                      const VitroLastBlockScratch *scratch);

#endif
