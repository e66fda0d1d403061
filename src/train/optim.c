/* SPDX-License-Identifier: Apache-2.0 */
#include "train/optim.h"

#include <math.h>
#include <string.h>

static VitroStatus zeros(VitroTensor *out, VitroDevice *dev, int64_t n)
{
    VitroTensor t = vitro_tensor1(NULL, dev->dtype, n);
    VITRO_TRY(dev->ops->alloc(dev, &t.data, vitro_tensor_bytes(&t)));
    VitroStatus st = dev->ops->zero(dev, t.data, vitro_tensor_bytes(&t));
    if (st != VITRO_OK) {
        dev->ops->free(dev, t.data);
        return st;
    }
    *out = t;
    return VITRO_OK;
}

/* Without momentum SGD's buffer is written and never needed: this much of it serves all. */
enum { PIECE = 1 << 18 };

bool vitro_optim_has_memory(const VitroTrainOptions *options)
{
    return options->optimizer == VITRO_ADAMW || options->momentum > 0;
}

int64_t vitro_optim_count(const VitroTrainOptions *options, int64_t n)
{
    if (!vitro_optim_has_memory(options))
        return n < PIECE ? n : PIECE;
    return options->optimizer == VITRO_ADAMW ? 2 * n : n;
}

VitroStatus vitro_optim_init(VitroOptim *o, VitroDevice *dev, const VitroTrainOptions *options,
                             int64_t n)
{
    *o = (VitroOptim){.dev = dev, .options = *options};
    void *step = NULL;
    VITRO_TRY(dev->ops->alloc(dev, &step, sizeof(*o->step)));
    o->step = step;
    VitroStatus st = dev->ops->upload(dev, o->step, &o->told, sizeof(o->told));
    if (st == VITRO_OK)
        st = zeros(&o->m, dev, vitro_optim_has_memory(options) || n < PIECE ? n : PIECE);
    if (st == VITRO_OK && options->optimizer == VITRO_ADAMW)
        st = zeros(&o->v, dev, n);
    if (st != VITRO_OK)
        vitro_optim_deinit(o);
    return st;
}

void vitro_optim_deinit(VitroOptim *o)
{
    if (o->m.data)
        o->dev->ops->free(o->dev, o->m.data);
    if (o->v.data)
        o->dev->ops->free(o->dev, o->v.data);
    if (o->step)
        o->dev->ops->free(o->dev, o->step);
    *o = (VitroOptim){0};
}

int64_t vitro_optim_bytes(const VitroOptim *o)
{
    return (int64_t)(vitro_tensor_bytes(&o->m) + vitro_tensor_bytes(&o->v));
}

VitroOptimStep vitro_optim_numbers(const VitroTrainOptions *options, int64_t t, double lr,
                                   double grad_scale)
{
    return (VitroOptimStep){.lr = lr,
                            .weight_decay = options->weight_decay,
                            .grad_scale = grad_scale,
                            .momentum = options->momentum,
                            .beta1 = options->beta1,
                            .beta2 = options->beta2,
                            .eps = options->adam_eps,
                            .correction1 = 1 - pow(options->beta1, (double)t),
                            .correction2 = 1 - pow(options->beta2, (double)t)};
}

/* The numbers of this update into o->step: once, however many parts it has. */
static VitroStatus tell(VitroOptim *o, double lr, double grad_scale)
{
    VitroOptimStep step = vitro_optim_numbers(&o->options, o->updates + 1, lr, grad_scale);
    if (memcmp(&step, &o->told, sizeof(step)) == 0) /* nothing but doubles: no padding */
        return VITRO_OK;
    o->told = step;
    return o->dev->ops->upload(o->dev, o->step, &o->told, sizeof(o->told));
}

static VitroStatus sgd_without_memory(VitroOptim *o, VitroTensor param, VitroTensor grad)
{
    int64_t n = param.dim[0], piece = o->m.dim[0];
    for (int64_t at = 0; at < n; at += piece) {
        int64_t count = n - at < piece ? n - at : piece;
        VITRO_TRY(o->dev->ops->zero(o->dev, o->m.data, vitro_tensor_bytes(&o->m)));
        VITRO_TRY(o->dev->ops->sgd(o->dev, vitro_tensor_part(param, at, count),
                                   vitro_tensor_part(grad, at, count),
                                   vitro_tensor_part(o->m, 0, count), o->step));
    }
    return VITRO_OK;
}

VitroStatus vitro_optim_update(VitroOptim *o, int64_t first, VitroTensor param, VitroTensor grad,
                               double lr, double grad_scale)
{
    const VitroBackendOps *ops = o->dev->ops;
    VITRO_TRY(tell(o, lr, grad_scale));
    if (!vitro_optim_has_memory(&o->options))
        return sgd_without_memory(o, param, grad);
    VitroTensor m = vitro_tensor_part(o->m, first, param.dim[0]);
    if (o->options.optimizer == VITRO_SGD)
        return ops->sgd(o->dev, param, grad, m, o->step);
    VitroTensor v = vitro_tensor_part(o->v, first, param.dim[0]);
    return ops->adamw(o->dev, param, grad, m, v, o->step);
}

void vitro_optim_end(VitroOptim *o)
{
    o->updates++;
}
