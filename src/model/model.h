/* SPDX-License-Identifier: Apache-2.0 */
/* A ViT made of layers: the structure behind the public VitroModel, and its two passes. */
#ifndef VITRO_MODEL_MODEL_H
#define VITRO_MODEL_MODEL_H

#include "model/acts.h"

#include <pthread.h>

/* Where an opened model has a parameter from. */
typedef struct VitroOrigin {
    int64_t tensor; /* of the checkpoint; -1: it has none, the elements are 0 */
    bool ready;     /* what depends on it is prepared */
    void *copy;     /* device memory, owned, where products still need it and the file's own bytes
                     * will not do; else NULL */
    float *scale;   /* owned: of bytes that products still need; else NULL */
} VitroOrigin;

struct VitroModel {
    VitroDevice *dev; /* borrowed */
    VitroConfig cfg;
    VitroParams params;
    VitroTensor flat;             /* the one range that holds them all; see `origin` */
    pthread_mutex_t prepare_lock; /* weights are prepared by whoever plans first */
    const VitroCheckpoint *ckpt;  /* borrowed; NULL: a model that may change */
    /* [params.count] NULL: `flat` holds all. Else it holds what is small, and the weights' w is in
     * the file, or nowhere but in the back end's prepared form. */
    VitroOrigin *origin;
};

struct VitroPredictor {
    VitroModel *model; /* borrowed */
    VitroActs *acts;
};

/* images [B,C,height,width] are in a->images, B = a->batch -> a->out [B,K]. */
VitroStatus vitro_model_forward(const VitroModel *m, VitroActs *a);
/* From a->dout [B,K]: grad += for every parameter that `a->mode` trains. The forward pass of the
 * same batch must have come before. */
VitroStatus vitro_model_backward(const VitroModel *m, VitroParams *grad, VitroActs *a);
/* The same in parts, which vitro_params_part numbers: from depth + 1 down to 0. After a part
 * nothing below looks at its parameters or its gradients any more. Not for VITRO_MODE_TRAIN_HEAD.
 */
VitroStatus vitro_model_backward_part(const VitroModel *m, VitroParams *grad, VitroActs *a,
                                      int part);
/* model.c: all but the parameters' memory. */
VitroStatus vitro_model_new(VitroModel **out, VitroDevice *dev, const VitroConfig *cfg);
/* VITRO_E_ARG for a model that was opened: nothing may change its parameters. */
VitroStatus vitro_model_check_may_change(const VitroModel *m);

/* open.c: vitro_params_each_weight for a model with origins, whose elements are there meanwhile.
 * Those of a weight that is ready may be gone: `fn` is weight_prepare. */
VitroStatus vitro_model_each_origin(VitroModel *m, VitroWeightFn fn, void *user);

/* weights.c: source[i] = the tensor of `ckpt` for parameter i, or -1; fills *report, which is the
 * caller's to free, also after a failure. Errors: as vitro_model_load. */
VitroStatus vitro_params_match(int64_t *source, VitroLoadReport *report, const VitroParams *p,
                               const VitroCheckpoint *ckpt, const VitroLoadOptions *options);
/* Reads tensor k into parameter e; `room` has space for its elements. */
VitroStatus vitro_model_read_param(VitroModel *m, const VitroParam *e, const VitroCheckpoint *ckpt,
                                   int64_t k, float *room);

/* After parameters were written: their prepared forms follow. */
VitroStatus vitro_model_refresh(VitroModel *m);

#endif
