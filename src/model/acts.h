/* SPDX-License-Identifier: Apache-2.0 */
/* Every activation of a model for (device, largest batch, mode), planned once and placed in one
 * block of device memory. */
#ifndef VITRO_MODEL_ACTS_H
#define VITRO_MODEL_ACTS_H

#include "model/params.h"

struct VitroModel;

/* DeiT's two heads: each has a token, and the output is the mean of what they give. */
typedef struct VitroPairActs {
    VitroTensor token[2];      /* [B,D] class, distillation */
    VitroLinearActs head_dist; /* out [B,K]; that of the other is VitroActs.head */
    VitroTensor both;          /* [B,2,K] */
    /* backward */
    VitroTensor dboth;  /* [B,2,K] */
    VitroTensor dhead;  /* [B,K] of either head's output */
    VitroTensor dtoken; /* [B,D] */
} VitroPairActs;

typedef struct VitroActs {
    VitroMode mode;
    int64_t batch; /* B now; the tensors below have it as first dimension */
    int64_t max_batch;
    VitroDevice *dev;
    struct VitroModel *model; /* borrowed */
    VitroTensor images;       /* [B,C,height,width] */
    VitroEmbedActs embed;
    VitroBlockActs *block;   /* [full_blocks] */
    int full_blocks;         /* depth, or depth - 1 where the last one has the short form */
    VitroLastBlockActs last; /* absent where it has not */
    VitroPoolActs pool;
    VitroLinearActs pre_logits; /* out [B,R]; absent unless representation_size */
    VitroLinearActs head;       /* out [B,K]; absent if num_classes is 0 */
    VitroPairActs pair;         /* absent unless distilled */
    VitroTensor features; /* what the head takes, [B,R] or [B,D]; the forward pass sets it. Of a
                           * distilled model [B,2,D] */
    VitroTensor out;      /* [B,K], or the features: head's, pre_logits' or the pool's output */

    /* backward */
    VitroTensor dout;        /* [B,K] the caller fills it */
    VitroTensor dpre_logits; /* [B,R] */
    VitroTensor dpool;       /* [B,D], or [B,2,D] if distilled */
    VitroTensor dcls; /* [B,D] that of the last block's output in its short form; else absent */
    VitroTensor dx;   /* [B,T,D] */
    /* These share memory. */
    VitroPoolScratch pool_scratch;
    VitroLastBlockScratch last_scratch;
    VitroBlockScratch block_scratch;
    VitroEmbedScratch embed_scratch;

    VitroDropState *drop; /* in device memory; NULL in inference */
    void *memory;
    size_t bytes; /* of `memory` */
} VitroActs;

/* Plans, allocates, and prepares the model's weights, but for those that `mode` trains. */
VitroStatus vitro_acts_create(VitroActs **out, struct VitroModel *model, int64_t max_batch,
                              VitroMode mode);
void vitro_acts_free(VitroActs *a); /* NULL is fine */
/* Bytes that the plan takes, whose memory is then not there. */
VitroStatus vitro_acts_measure(size_t *bytes, const VitroConfig *cfg, VitroPrecision precision,
                               int64_t max_batch, VitroMode mode);
/* Lays the same memory out for `batch` <= max_batch images. Allocates nothing. */
VitroStatus vitro_acts_set_batch(VitroActs *a, const struct VitroModel *model, int64_t batch);

#endif
