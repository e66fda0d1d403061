/* SPDX-License-Identifier: Apache-2.0 */
/* The optimizer: its state, and one update of one flat range of parameters. The arithmetic is the
 * back end's; which numbers it is given is decided here. */
#ifndef VITRO_TRAIN_OPTIM_H
#define VITRO_TRAIN_OPTIM_H

#include "backend/backend.h"
#include "vitro/train.h"

typedef struct VitroOptim {
    VitroDevice *dev; /* borrowed */
    VitroTrainOptions options;
    VitroTensor m;   /* [n] SGD's momentum buffer, AdamW's first moment. Without momentum: [<= n], a
                      * piece that is used again and again, as nothing of it is remembered */
    VitroTensor v;   /* [n] AdamW's second moment; absent for SGD */
    int64_t updates; /* so far */
    VitroOptimStep *step; /* the update's numbers, in device memory, */
    VitroOptimStep told;  /* and what was last put there */
} VitroOptim;

/* Whether `m` outlives an update. */
bool vitro_optim_has_memory(const VitroTrainOptions *options);
/* Elements of `m` and `v` together for n parameters. */
int64_t vitro_optim_count(const VitroTrainOptions *options, int64_t n);

/* State for n parameters, all zero: PyTorch's SGD starts its buffer as a copy of the first
 * gradient, which is what momentum * 0 + g gives. */
VitroStatus vitro_optim_init(VitroOptim *o, VitroDevice *dev, const VitroTrainOptions *options,
                             int64_t n);
void vitro_optim_deinit(VitroOptim *o);
int64_t vitro_optim_bytes(const VitroOptim *o);

/* The numbers of update t = 1, 2, ...: bias corrections 1 - beta^t as torch.optim.AdamW's. */
VitroOptimStep vitro_optim_numbers(const VitroTrainOptions *options, int64_t t, double lr,
                                   double grad_scale);

/* Elements first.. of the parameters, which are param[count], change by their gradients grad[count]
 * times grad_scale. An update is over when all have changed: then vitro_optim_end. */
VitroStatus vitro_optim_update(VitroOptim *o, int64_t first, VitroTensor param, VitroTensor grad,
                               double lr, double grad_scale);
void vitro_optim_end(VitroOptim *o);

#endif
