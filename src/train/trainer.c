/* SPDX-License-Identifier: Apache-2.0 */
/* The training step: forward, loss, backward and, at the end of a group of batches, the update.
 *
 * Parameters, gradients and moments are flat ranges in the order of named_parameters(). What is
 * trained is a suffix of it: everything, or pre_logits and head. Everything is allocated when the
 * trainer is made; a step allocates nothing. */
#include "train/trainer.h"

#include "base/alloc.h"
#include "train/clip.h"
#include "train/options.h"

#include <inttypes.h>
#include <math.h>

/* ---- create and free --------------------------------------------------------------------------
 */

static VitroStatus check_arguments(const VitroModel *m, const VitroTrainOptions *o,
                                   int64_t batches_per_epoch)
{
    VITRO_TRY(vitro_train_options_validate(o));
    VITRO_TRY(vitro_model_check_may_change(m));
    if (m->dev->precision == VITRO_PRECISION_INT8)
        return vitro_fail(VITRO_E_ARG, "int8 is for inference: a device that trains takes FP32 or "
                                       "BF16");
    if (m->cfg.num_classes < 1)
        return vitro_fail(VITRO_E_ARG, "the model has no head (num_classes is 0): there is nothing "
                                       "that labels could train");
    if (batches_per_epoch < 1)
        return vitro_fail(VITRO_E_ARG, "batches_per_epoch: %" PRId64 ", at least 1 was expected",
                          batches_per_epoch);
    return VITRO_OK;
}

static VitroSchedule make_schedule(const VitroTrainOptions *o, int64_t batches_per_epoch)
{
    int64_t updates = (batches_per_epoch + o->accumulate - 1) / o->accumulate;
    return (VitroSchedule){.lr = o->lr,
                           .lrf = o->lrf,
                           .epochs = o->epochs,
                           .warmup_steps = (int64_t)rint(o->warmup_epochs * (double)updates)};
}

/* The trained parameters in the model, and gradients in the same layout. */
static VitroStatus place_gradients(VitroTrainer *t)
{
    VitroModel *m = t->model;
    t->first_param = t->options.freeze ? m->params.head_first : 0;
    int64_t n = vitro_params_flat_count(&m->params, t->first_param);
    int64_t before = vitro_tensor_count(&m->flat) - n;
    size_t element = vitro_dtype_size(t->dev->dtype);
    t->param = vitro_tensor1((uint8_t *)m->flat.data + (size_t)before * element, t->dev->dtype, n);
    VITRO_TRY(vitro_params_init(&t->grad, &m->cfg, t->dev->dtype));
    t->by_parts = vitro_train_by_parts(&t->options);
    VitroTensor flat =
        vitro_tensor1(NULL, t->dev->dtype, vitro_train_grad_count(&t->options, &t->grad));
    VITRO_TRY(t->dev->ops->alloc(t->dev, &flat.data, vitro_tensor_bytes(&flat)));
    t->grad_flat = flat;
    if (!t->by_parts)
        vitro_params_place(&t->grad, t->first_param, flat);
    return t->dev->ops->zero(t->dev, flat.data, vitro_tensor_bytes(&flat));
}

/* Of labels, losses and best guesses on the device. */
static int64_t result_bytes(int64_t batch_size)
{
    const VitroTrainer *t = NULL;
    return batch_size * (int64_t)(sizeof(*t->labels) + sizeof(*t->losses) + sizeof(*t->best));
}

static VitroStatus allocate_results(VitroTrainer *t)
{
    VitroDevice *dev = t->dev;
    size_t n = (size_t)t->options.batch_size;
    void *p;
    VITRO_TRY(dev->ops->alloc(dev, &p, n * sizeof(*t->labels)));
    t->labels = p;
    VITRO_TRY(dev->ops->alloc(dev, &p, n * (sizeof(*t->losses) + sizeof(*t->best))));
    t->losses = p;
    t->best = (int32_t *)(void *)(t->losses + n);
    t->host_losses = vitro_calloc(n, sizeof(*t->host_losses) + sizeof(*t->host_best));
    if (!t->host_losses)
        return VITRO_NOMEM;
    t->host_best = (int32_t *)(void *)(t->host_losses + n);
    return VITRO_OK;
}

static VitroStatus allocate(VitroTrainer *t)
{
    VITRO_TRY(vitro_acts_create(&t->acts, t->model, t->options.batch_size, t->mode));
    VITRO_TRY(place_gradients(t));
    VITRO_TRY(vitro_optim_init(&t->optim, t->dev, &t->options, t->param.dim[0]));
    return allocate_results(t);
}

VitroStatus vitro_trainer_create(VitroTrainer **out, VitroModel *model,
                                 const VitroTrainOptions *options, int64_t batches_per_epoch)
{
    VITRO_TRY(check_arguments(model, options, batches_per_epoch));
    VitroTrainer *t = vitro_calloc(1, sizeof(*t));
    if (!t)
        return VITRO_NOMEM;
    t->model = model;
    t->dev = model->dev;
    t->options = *options;
    t->schedule = make_schedule(options, batches_per_epoch);
    t->mode = vitro_train_mode(options);
    t->batches_per_epoch = batches_per_epoch;
    t->drop.seed = options->seed;
    VitroStatus st = allocate(t);
    if (st != VITRO_OK) {
        vitro_trainer_free(t);
        return st;
    }
    *out = t;
    return VITRO_OK;
}

void vitro_trainer_free(VitroTrainer *t)
{
    if (!t)
        return;
    const VitroBackendOps *ops = t->dev->ops;
    vitro_acts_free(t->acts);
    vitro_optim_deinit(&t->optim);
    vitro_params_deinit(&t->grad);
    ops->free(t->dev, t->grad_flat.data);
    ops->free(t->dev, t->labels);
    ops->free(t->dev, t->losses);
    vitro_free(t->host_losses);
    vitro_free(t);
}

/* ---- the step ---------------------------------------------------------------------------------
 */

static VitroStepGroup group_of(const VitroTrainer *t, int64_t batch)
{
    int64_t full = t->options.accumulate;
    int64_t first = batch / full * full, left = t->batches_per_epoch - first;
    return (VitroStepGroup){first, left < full ? left : full};
}

static bool ends_with(VitroStepGroup group, int64_t batch)
{
    return batch == group.first + group.size - 1;
}

static VitroStatus check_batch(const VitroTrainer *t, const VitroBatch *batch)
{
    if (t->batch >= t->batches_per_epoch)
        return vitro_fail(VITRO_E_ARG, "epoch %" PRIu32 " has only %" PRId64 " batches", t->epoch,
                          t->batches_per_epoch);
    if (batch->count < 1 || batch->count > t->options.batch_size)
        return vitro_fail(VITRO_E_ARG,
                          "a batch of %" PRId64 " images, 1 to %" PRId64 " were planned",
                          batch->count, t->options.batch_size);
    for (int64_t i = 0; i < batch->count; i++)
        if (batch->labels[i] < 0 || batch->labels[i] >= t->model->cfg.num_classes)
            return vitro_fail(VITRO_E_ARG, "label %" PRId32 ": the model has classes 0 to %d",
                              batch->labels[i], t->model->cfg.num_classes - 1);
    return VITRO_OK;
}

static VitroStatus load_batch(VitroTrainer *t, const VitroBatch *batch)
{
    VitroDevice *dev = t->dev;
    size_t label_bytes = (size_t)batch->count * sizeof(*t->labels);
    t->knows_inputs = t->knows_inputs && t->acts->batch == batch->count;
    VITRO_TRY(vitro_acts_set_batch(t->acts, t->model, batch->count));
    VITRO_TRY(vitro_device_write_f32(dev, t->acts->images, batch->images));
    VITRO_TRY(dev->ops->upload(dev, t->labels, batch->labels, label_bytes));
    VITRO_TRY(dev->ops->upload(dev, t->acts->drop, &t->drop, sizeof(t->drop)));
    t->drop.step++;
    return VITRO_OK;
}

/* The forward pass, the losses, and the gradient of the group's mean loss into acts->dout. */
static VitroStatus run_forward(void *user)
{
    VitroTrainer *t = user;
    VitroActs *a = t->acts;
    VITRO_TRY(vitro_model_forward(t->model, a));
    t->knows_inputs = true;
    return t->dev->ops->cross_entropy(t->dev, t->losses, t->best, a->dout, a->out, t->labels,
                                      t->options.label_smoothing,
                                      1.0 / ((double)a->batch * (double)t->group.size));
}

static VitroStatus run_backward(void *user)
{
    VitroTrainer *t = user;
    if (!t->knows_inputs) /* the device had remembered the forward pass, but not this one */
        VITRO_TRY(run_forward(t));
    if (t->batch == t->group.first)
        VITRO_TRY(t->dev->ops->zero(t->dev, t->grad_flat.data, vitro_tensor_bytes(&t->grad_flat)));
    return vitro_model_backward(t->model, &t->grad, t->acts);
}

/* What both of them do depends on nothing else. */
static VitroSequence sequence_of(const VitroTrainer *t, int part)
{
    return (VitroSequence){.owner = t,
                           .part = part,
                           .count = t->acts->batch,
                           .variant = 2 * t->group.size + (t->batch == t->group.first)};
}

static size_t results_bytes(const VitroTrainer *t)
{
    return (size_t)result_bytes(t->options.batch_size) -
           (size_t)t->options.batch_size * sizeof(*t->labels);
}

/* Loss and hits into *result: waits for the forward pass, where the device can tell. */
static VitroStatus read_results(VitroTrainer *t, const VitroBatch *batch, VitroStepResult *result)
{
    const VitroBackendOps *ops = t->dev->ops;
    VITRO_TRY(ops->download_end
                  ? ops->download_end(t->dev, t->host_losses, results_bytes(t))
                  : ops->download(t->dev, t->host_losses, t->losses, results_bytes(t)));
    double sum = 0;
    for (int64_t i = 0; i < batch->count; i++) {
        sum += t->host_losses[i];
        result->correct += t->host_best[i] == batch->labels[i];
    }
    result->loss = sum / (double)batch->count;
    if (isfinite(result->loss))
        return VITRO_OK;
    return vitro_fail(VITRO_E_NUMERIC, "epoch %" PRIu32 ", batch %" PRId64 ": the loss is %s",
                      t->epoch, t->batch, isnan(result->loss) ? "nan" : "infinite");
}

static VitroStatus update(VitroTrainer *t, double lr)
{
    double scale = 1;
    if (t->options.clip_grad > 0) {
        double squares;
        VITRO_TRY(t->dev->ops->sum_of_squares(t->dev, &squares, t->grad_flat));
        if (!isfinite(squares))
            return vitro_fail(VITRO_E_NUMERIC,
                              "epoch %" PRIu32 ", batch %" PRId64
                              ": the norm of the gradient is %s",
                              t->epoch, t->batch, isnan(squares) ? "nan" : "infinite");
        scale = vitro_clip_scale(squares, t->options.clip_grad);
    }
    VITRO_TRY(vitro_optim_update(&t->optim, 0, t->param, t->grad_flat, lr, scale));
    vitro_optim_end(&t->optim);
    return VITRO_OK;
}

/* Backward pass and update in one: each part's gradients change its parameters at once, and the
 * next part's take their place. */
static VitroStatus backward_by_parts(VitroTrainer *t, double lr)
{
    VitroParams *grad = &t->grad;
    int64_t first = t->param.dim[0];
    if (!t->knows_inputs)
        VITRO_TRY(run_forward(t));
    for (int part = t->model->cfg.depth + 1; part >= 0; part--) {
        VitroParamRange range = vitro_params_part(grad, part);
        int64_t n = vitro_params_range_count(grad, range);
        VitroTensor flat = vitro_tensor_part(t->grad_flat, 0, n);
        first -= n;
        vitro_params_place_range(grad, range, flat);
        VITRO_TRY(t->dev->ops->zero(t->dev, flat.data, vitro_tensor_bytes(&flat)));
        VITRO_TRY(vitro_model_backward_part(t->model, grad, t->acts, part));
        VITRO_TRY(vitro_optim_update(&t->optim, first, vitro_tensor_part(t->param, first, n), flat,
                                     lr, 1));
    }
    vitro_optim_end(&t->optim);
    return VITRO_OK;
}

/* Both passes and the update. The device may still be at the backward pass when the losses of the
 * forward pass are read, and at the update when this returns. */
static VitroStatus run_step(VitroTrainer *t, const VitroBatch *batch, VitroStepResult *result)
{
    const VitroBackendOps *ops = t->dev->ops;
    const VitroSequence forward = sequence_of(t, 0), backward = sequence_of(t, 1);
    VITRO_TRY(vitro_sequence(t->dev, &forward, run_forward, t));
    if (ops->download_begin)
        VITRO_TRY(ops->download_begin(t->dev, t->losses, results_bytes(t)));
    if (t->by_parts) {
        VITRO_TRY(read_results(t, batch, result));
        return backward_by_parts(t, result->lr);
    }
    VITRO_TRY(vitro_sequence(t->dev, &backward, run_backward, t));
    VITRO_TRY(read_results(t, batch, result));
    return ends_with(t->group, t->batch) ? update(t, result->lr) : VITRO_OK;
}

VitroStatus vitro_trainer_step(VitroTrainer *t, const VitroBatch *batch, VitroStepResult *result)
{
    VITRO_TRY(check_batch(t, batch));
    t->group = group_of(t, t->batch);
    *result =
        (VitroStepResult){.lr = vitro_schedule_step_lr(&t->schedule, t->epoch, t->optim.updates)};
    VITRO_TRY(load_batch(t, batch));
    VITRO_TRY(run_step(t, batch, result));
    result->updated = ends_with(t->group, t->batch);
    t->batch++;
    return VITRO_OK;
}

void vitro_trainer_end_epoch(VitroTrainer *t)
{
    t->epoch++;
    t->batch = 0; /* gradients of a group that was cut short are dropped */
}

/* ---- inspection -------------------------------------------------------------------------------
 */

double vitro_trainer_lr(const VitroTrainer *t)
{
    return vitro_schedule_epoch_lr(&t->schedule, t->epoch);
}

uint32_t vitro_trainer_epoch(const VitroTrainer *t)
{
    return t->epoch;
}

int64_t vitro_trainer_batch(const VitroTrainer *t)
{
    return t->batch;
}

int64_t vitro_trainer_steps(const VitroTrainer *t)
{
    return t->optim.updates;
}

bool vitro_trainer_trains(const VitroTrainer *t, int64_t param)
{
    return param >= t->first_param && param < t->model->params.count;
}

int64_t vitro_trainer_bytes(const VitroTrainer *t)
{
    return (int64_t)(t->acts->bytes + vitro_tensor_bytes(&t->grad_flat)) +
           result_bytes(t->options.batch_size) + vitro_optim_bytes(&t->optim);
}

VitroStatus vitro_train_memory(VitroTrainMemory *out, const VitroConfig *cfg,
                               VitroPrecision precision, const VitroTrainOptions *options)
{
    VitroDtype dtype = precision == VITRO_FP64 ? VITRO_F64 : VITRO_F32;
    int64_t element = (int64_t)vitro_dtype_size(dtype);
    VitroMemory model;
    VITRO_TRY(vitro_train_options_validate(options));
    VITRO_TRY(vitro_config_memory(&model, cfg, precision, vitro_train_mode(options),
                                  options->batch_size));
    if (model.activations > INT64_MAX / 2)
        return vitro_fail(VITRO_E_NOMEM,
                          "training with batches of %" PRId64
                          " images needs more memory than can be addressed",
                          options->batch_size);
    VitroParams p;
    VITRO_TRY(vitro_params_init(&p, cfg, dtype));
    int64_t trained = vitro_params_flat_count(&p, options->freeze ? p.head_first : 0);
    VitroTrainMemory m = {
        .params = model.params,
        .gradients = element * vitro_train_grad_count(options, &p),
        .optimizer = element * vitro_optim_count(options, trained),
        .activations = model.activations + result_bytes(options->batch_size),
    };
    vitro_params_deinit(&p);
    m.total = m.params + m.gradients + m.optimizer + m.activations;
    *out = m;
    return VITRO_OK;
}

VitroStatus vitro_trainer_grad(const VitroTrainer *t, int64_t param, float *out)
{
    if (!vitro_trainer_trains(t, param))
        return vitro_fail(VITRO_E_ARG, "parameter %" PRId64 " is not trained", param);
    if (t->by_parts)
        return vitro_fail(VITRO_E_UNSUPPORTED, "with recompute, gradients are not kept unless "
                                               "batches are accumulated or gradients clipped");
    return vitro_device_read_f32(t->dev, out, *t->grad.list[param].slot);
}
