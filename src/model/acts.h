/* SPDX-License-Identifier: Apache-2.0 */
/* Every activation of a model for (device, largest batch, mode), planned once and placed in one
 * block of device memory. */
#ifndef VITRO_MODEL_ACTS_H
#define VITRO_MODEL_ACTS_H

#include "model/params.h"

struct VitroModel;

typedef struct VitroActs {
    VitroMode mode;
    int64_t batch; /* B now; the tensors below have it as first dimension */
    int64_t max_batch;
    VitroDevice *dev;
    struct VitroModel *model; /* borrowed */
    VitroTensor images;       /* [B,C,height,width] */
    VitroEmbedActs embed;
    VitroBlockActs *block; /* [depth - 1] */
    VitroLastBlockActs last;
    VitroLayerNormActs norm;
    VitroLinearActs pre_logits; /* out [B,R]; absent unless representation_size */
    VitroLinearActs head;       /* out [B,K]; absent if num_classes is 0 */
    VitroTensor out;            /* [B,K], or the features: head's, pre_logits' or norm's output */

    /* backward */
    VitroTensor dout;        /* [B,K] the caller fills it */
    VitroTensor dpre_logits; /* [B,R] */
    VitroTensor dnorm, dcls; /* [B,D] */
    VitroTensor dx;          /* [B,T,D] */
    /* These share memory. */
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
