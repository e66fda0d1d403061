/* SPDX-License-Identifier: Apache-2.0 */
/* Create, initialise, free; walk the parameters; predict. */
#include "model/model.h"

#include "base/alloc.h"
#include "base/rng.h"

#include <inttypes.h>
#include <string.h>

VitroStatus vitro_model_new(VitroModel **out, VitroDevice *dev, const VitroConfig *cfg)
{
    VITRO_TRY(vitro_config_validate(cfg));
    VitroModel *m = vitro_calloc(1, sizeof(*m));
    if (!m)
        return VITRO_NOMEM;
    m->dev = dev;
    m->cfg = *cfg;
    pthread_mutex_init(&m->prepare_lock, NULL);
    VitroStatus st = vitro_params_init(&m->params, cfg, dev->dtype);
    if (st != VITRO_OK) {
        vitro_model_free(m);
        return st;
    }
    *out = m;
    return VITRO_OK;
}

VitroStatus vitro_model_create(VitroModel **out, VitroDevice *dev, const VitroConfig *cfg)
{
    VitroModel *m;
    VITRO_TRY(vitro_model_new(&m, dev, cfg));
    m->flat = vitro_tensor1(NULL, dev->dtype, vitro_params_flat_count(&m->params, 0));
    VitroStatus st = dev->ops->alloc(dev, &m->flat.data, vitro_tensor_bytes(&m->flat));
    if (st == VITRO_OK) {
        vitro_params_place(&m->params, 0, m->flat);
        st = dev->ops->zero(dev, m->flat.data, vitro_tensor_bytes(&m->flat));
    }
    if (st != VITRO_OK) {
        vitro_model_free(m);
        return st;
    }
    *out = m;
    return VITRO_OK;
}

static VitroStatus release(void *user, VitroWeight *weight, int64_t rows_per_image)
{
    (void)rows_per_image;
    VitroDevice *dev = user;
    dev->ops->weight_release(dev, weight);
    return VITRO_OK;
}

void vitro_model_free(VitroModel *m)
{
    if (!m)
        return;
    if (m->params.block)
        (void)!vitro_params_each_weight(&m->params, &m->cfg, false, release, m->dev);
    for (int64_t i = 0; m->origin && i < m->params.count; i++) {
        m->dev->ops->free(m->dev, m->origin[i].copy);
        vitro_free(m->origin[i].scale);
    }
    vitro_free(m->origin);
    m->dev->ops->free(m->dev, m->flat.data);
    vitro_params_deinit(&m->params);
    pthread_mutex_destroy(&m->prepare_lock);
    vitro_free(m);
}

VitroStatus vitro_model_check_may_change(const VitroModel *m)
{
    if (!m->ckpt)
        return VITRO_OK;
    return vitro_fail(VITRO_E_ARG,
                      "the model was opened for inference (vitro_model_open): its parameters are "
                      "those of %s; one that may change is made by vitro_model_create and "
                      "vitro_model_load",
                      vitro_checkpoint_path(m->ckpt));
}

const VitroConfig *vitro_model_config(const VitroModel *m)
{
    return &m->cfg;
}

/* ---- initialisation -------------------------------------------------------------------------- */

/* trunc_normal_ cuts at +-2 absolutely, which at these deviations never happens: a plain normal. */
static double init_std(const VitroParam *e)
{
    switch (e->init) {
    case VITRO_INIT_LINEAR:
        return 0.01;
    case VITRO_INIT_TOKEN:
        return 0.02;
    case VITRO_INIT_CONV: /* kaiming_normal_, fan_out = D*P*P */
        return sqrt(2.0 / (double)(e->dim[0] * e->dim[2] * e->dim[3]));
    default:
        return 0;
    }
}

static void draw(float *values, int64_t n, const VitroParam *e, const VitroConfig *cfg,
                 VitroRng rng)
{
    const float fixed = e->init == VITRO_INIT_ONE     ? 1
                        : e->init == VITRO_INIT_SCALE ? (float)cfg->init_values
                                                      : 0;
    double std = init_std(e), two[2] = {0};
    for (int64_t k = 0; k < n; k++) {
        if (std > 0 && k % 2 == 0)
            vitro_rng_normal2(&rng, two);
        values[k] = std > 0 ? (float)(std * two[k % 2]) : fixed;
    }
}

VitroStatus vitro_model_init(VitroModel *m, uint64_t seed)
{
    for (int64_t i = 0; i < m->params.count; i++) {
        const VitroParam *e = &m->params.list[i];
        int64_t n = vitro_tensor_count(e->slot);
        float *values = vitro_malloc((size_t)n * sizeof(float));
        if (!values)
            return VITRO_NOMEM;
        draw(values, n, e, &m->cfg, vitro_rng(seed, VITRO_RNG_INIT, (uint32_t)i, 0));
        VitroStatus st = vitro_model_param_set(m, i, values);
        vitro_free(values);
        VITRO_TRY(st);
    }
    return VITRO_OK;
}

/* ---- parameters -------------------------------------------------------------------------------
 */

int64_t vitro_model_param_count(const VitroModel *m)
{
    return m->params.count;
}

static VitroParamInfo describe(const VitroParam *e)
{
    VitroParamInfo info = {.name = e->name, .rank = e->rank, .count = 1};
    for (int k = 0; k < e->rank; k++) {
        info.dim[k] = e->dim[k];
        info.count *= e->dim[k];
    }
    return info;
}

VitroParamInfo vitro_model_param(const VitroModel *m, int64_t i)
{
    return describe(&m->params.list[i]);
}

VitroStatus vitro_config_each_param(const VitroConfig *cfg, VitroParamFn fn, void *user)
{
    VITRO_TRY(vitro_config_validate(cfg));
    VitroParams params;
    VITRO_TRY(vitro_params_init(&params, cfg, VITRO_F32));
    for (int64_t i = 0; i < params.count; i++) {
        VitroParamInfo info = describe(&params.list[i]);
        fn(user, &info);
    }
    vitro_params_deinit(&params);
    return VITRO_OK;
}

VitroStatus vitro_model_param_get(const VitroModel *m, int64_t i, float *out)
{
    const VitroTensor *slot = m->params.list[i].slot;
    if (!m->origin || !m->params.list[i].weight)
        return vitro_device_read_f32(m->dev, out, *slot);
    if (m->origin[i].tensor >= 0)
        return vitro_checkpoint_read_f32(m->ckpt, m->origin[i].tensor, out);
    memset(out, 0, (size_t)vitro_tensor_count(slot) * sizeof(*out));
    return VITRO_OK;
}

static VitroStatus refresh(void *user, VitroWeight *weight, int64_t rows_per_image)
{
    (void)rows_per_image;
    VitroDevice *dev = user;
    return weight->prepared ? dev->ops->weight_refresh(dev, weight) : VITRO_OK;
}

VitroStatus vitro_model_refresh(VitroModel *m)
{
    return vitro_params_each_weight(&m->params, &m->cfg, false, refresh, m->dev);
}

typedef struct SetTarget {
    VitroDevice *dev;
    const VitroTensor *slot;
} SetTarget;

static VitroStatus refresh_if_target(void *user, VitroWeight *weight, int64_t rows_per_image)
{
    const SetTarget *t = user;
    const uint8_t *set = t->slot->data, *w = weight->w.data; /* a part of it in the last block */
    bool hit = w >= set && w < set + vitro_tensor_bytes(t->slot);
    return hit ? refresh(t->dev, weight, rows_per_image) : VITRO_OK;
}

VitroStatus vitro_model_param_set(VitroModel *m, int64_t i, const float *in)
{
    VITRO_TRY(vitro_model_check_may_change(m));
    SetTarget target = {m->dev, m->params.list[i].slot};
    VITRO_TRY(vitro_device_write_f32(m->dev, *target.slot, in));
    return vitro_params_each_weight(&m->params, &m->cfg, false, refresh_if_target, &target);
}

/* ---- prediction -------------------------------------------------------------------------------
 */

VitroStatus vitro_predictor_create(VitroPredictor **out, VitroModel *model, int64_t max_batch)
{
    VitroPredictor *p = vitro_calloc(1, sizeof(*p));
    if (!p)
        return VITRO_NOMEM;
    p->model = model;
    VitroStatus st = vitro_acts_create(&p->acts, model, max_batch, VITRO_MODE_INFER);
    if (st != VITRO_OK) {
        vitro_free(p);
        return st;
    }
    *out = p;
    return VITRO_OK;
}

void vitro_predictor_free(VitroPredictor *p)
{
    if (!p)
        return;
    vitro_acts_free(p->acts);
    vitro_free(p);
}

static VitroStatus run_forward(void *user)
{
    const VitroPredictor *p = user;
    return vitro_model_forward(p->model, p->acts);
}

VitroStatus vitro_predictor_run(VitroPredictor *p, const float *images, int64_t count,
                                float *logits)
{
    VitroActs *a = p->acts;
    VITRO_TRY(vitro_acts_set_batch(a, p->model, count));
    VITRO_TRY(vitro_device_write_f32(p->model->dev, a->images, images));
    const VitroSequence key = {.owner = a, .count = count};
    VITRO_TRY(vitro_sequence(p->model->dev, &key, run_forward, p));
    return vitro_device_read_f32(p->model->dev, logits, a->out);
}

VitroStatus vitro_predictor_features(const VitroPredictor *p, float *features)
{
    VitroDevice *dev = p->model->dev;
    const VitroActs *a = p->acts;
    VitroTensor from = a->features;
    if (p->model->cfg.distilled && p->model->cfg.num_classes) {
        from = a->pair.token[0]; /* as without heads: the mean of both tokens; this one was used */
        VITRO_TRY(dev->ops->mean_tokens(dev, from, a->features, 0));
    } else if (p->model->cfg.distilled) {
        from = a->out;
    }
    return vitro_device_read_f32(dev, features, from);
}

void vitro_softmax(float *probs, const float *logits, int64_t n)
{
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        max = logits[i] > max ? logits[i] : max;
    for (int64_t i = 0; i < n; i++)
        sum += exp(logits[i] - max);
    for (int64_t i = 0; i < n; i++)
        probs[i] = (float)(exp(logits[i] - max) / sum);
}
