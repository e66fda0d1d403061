/* SPDX-License-Identifier: Apache-2.0 */
/* A ViT made of layers: the structure behind the public VitroModel, and its two passes. */
#ifndef VITRO_MODEL_MODEL_H
#define VITRO_MODEL_MODEL_H

#include "model/acts.h"

#include <pthread.h>

struct VitroModel {
    VitroDevice *dev; /* borrowed */
    VitroConfig cfg;
    VitroParams params;
    VitroTensor flat;             /* the one range that holds them all */
    pthread_mutex_t prepare_lock; /* weights are prepared by whoever plans first */
};

struct VitroPredictor {
    VitroModel *model; /* borrowed */
    VitroActs *acts;
};

/* images [B,C,S,S] are in a->images, B = a->batch -> a->out [B,K]. */
VitroStatus vitro_model_forward(const VitroModel *m, VitroActs *a);
/* From a->dout [B,K]: grad += for every parameter that `a->mode` trains. The forward pass of the
 * same batch must have come before. */
VitroStatus vitro_model_backward(const VitroModel *m, VitroParams *grad, VitroActs *a);
/* The same in parts, which vitro_params_part numbers: from depth + 1 down to 0. After a part
 * nothing below looks at its parameters or its gradients any more. Not for VITRO_MODE_TRAIN_HEAD.
 */
VitroStatus vitro_model_backward_part(const VitroModel *m, VitroParams *grad, VitroActs *a,
                                      int part);
/* After parameters were written: their prepared forms follow. */
VitroStatus vitro_model_refresh(VitroModel *m);

#endif
