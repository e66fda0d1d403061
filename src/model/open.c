/* SPDX-License-Identifier: Apache-2.0 */
/* Models for inference alone. Such a model never holds its weights as the file has them: one by
 * one they are brought in, prepared by the back end, and let go of. So the process holds the
 * prepared forms and, for a moment, one weight of the file. */
#include "base/alloc.h"
#include "ckpt/format.h"
#include "model/model.h"

#include <string.h>

/* ---- opening -------------------------------------------------------------------------------- */

/* The parameters that are no weights, in memory of their own. */
static VitroStatus read_small(VitroModel *m)
{
    VitroDevice *dev = m->dev;
    m->flat = vitro_tensor1(NULL, dev->dtype, vitro_params_small_count(&m->params));
    VITRO_TRY(dev->ops->alloc(dev, &m->flat.data, vitro_tensor_bytes(&m->flat)));
    VITRO_TRY(dev->ops->zero(dev, m->flat.data, vitro_tensor_bytes(&m->flat)));
    vitro_params_place_small(&m->params, m->flat);
    float *room = vitro_malloc((size_t)vitro_params_largest(&m->params) * sizeof(*room));
    VitroStatus st = room ? VITRO_OK : VITRO_NOMEM;
    for (int64_t i = 0; i < m->params.count && st == VITRO_OK; i++)
        if (!vitro_param_is_weight(&m->params.list[i]) && m->origin[i].tensor >= 0)
            st = vitro_model_read_param(m, &m->params.list[i], m->ckpt, m->origin[i].tensor, room);
    vitro_free(room);
    return st;
}

static VitroStatus fill(VitroModel *m, const VitroLoadOptions *options, VitroLoadReport *report)
{
    size_t n = (size_t)m->params.count;
    m->origin = vitro_calloc(n, sizeof(*m->origin));
    int64_t *source = vitro_malloc(n * sizeof(*source));
    VitroStatus st = m->origin && source ? VITRO_OK : VITRO_NOMEM;
    if (st == VITRO_OK)
        st = vitro_model_match(source, report, m, m->ckpt, options);
    for (size_t i = 0; i < n && st == VITRO_OK; i++)
        m->origin[i].tensor = source[i];
    vitro_free(source);
    return st == VITRO_OK ? read_small(m) : st;
}

/* Where a back end's products read the weights themselves, in memory of the device's. */
static VitroStatus open_copied(VitroModel **out, VitroDevice *dev, const VitroConfig *cfg,
                               const VitroCheckpoint *ckpt, const VitroLoadOptions *options,
                               VitroLoadReport *report)
{
    VitroModel *m;
    VITRO_TRY(vitro_model_create(&m, dev, cfg));
    VitroStatus st = vitro_model_load(m, ckpt, options, report);
    if (st != VITRO_OK) {
        vitro_model_free(m);
        return st;
    }
    m->ckpt = ckpt;
    *out = m;
    return VITRO_OK;
}

VitroStatus vitro_model_open(VitroModel **out, VitroDevice *dev, const VitroConfig *cfg,
                             const VitroCheckpoint *ckpt, const VitroLoadOptions *options,
                             VitroLoadReport *report)
{
    if (!dev->ops->needs_source || dev->dtype != VITRO_F32)
        return open_copied(out, dev, cfg, ckpt, options, report);
    VitroModel *m;
    VitroLoadReport r = {0};
    VITRO_TRY(vitro_model_new(&m, dev, cfg));
    m->ckpt = ckpt;
    VitroStatus st = fill(m, options, &r);
    if (st == VITRO_OK && report)
        *report = r;
    else
        vitro_load_report_deinit(&r);
    if (st != VITRO_OK) {
        vitro_model_free(m);
        return st;
    }
    *out = m;
    return VITRO_OK;
}

/* ---- one weight at a time ------------------------------------------------------------------- */

/* Weights in the elements [first, end): one, or two, the views of the last block's qkv. */
typedef struct Range {
    VitroDevice *dev;
    const uint8_t *first, *end;
    VitroWeightFn fn;
    void *user;
    bool is_needed; /* they still are, when fn is done */
} Range;

static VitroStatus call_inside(void *user, VitroWeight *weight, int64_t rows_per_image)
{
    Range *r = user;
    const uint8_t *w = weight->w.data;
    if (!w || w < r->first || w >= r->end)
        return VITRO_OK;
    VITRO_TRY(r->fn(r->user, weight, rows_per_image));
    r->is_needed |= r->dev->ops->needs_source(r->dev, weight);
    return VITRO_OK;
}

/* The elements of parameter i: the file's own bytes, or in *room, which is made at need for the
 * largest parameter. */
static VitroStatus bring(void **out, VitroModel *m, int64_t i, void **room)
{
    const VitroParam *e = &m->params.list[i];
    const int64_t k = m->origin[i].tensor;
    const void *mapped = NULL;
    if (k >= 0 && vitro_checkpoint_info(m->ckpt, k)->dtype == VITRO_F32)
        mapped = vitro_checkpoint_data(m->ckpt, k);
    if (mapped) {
        *out = (void *)(uintptr_t)mapped; /* nobody writes there: weights do not change */
        return VITRO_OK;
    }
    if (!*room) {
        size_t bytes = (size_t)vitro_params_largest(&m->params) * sizeof(float);
        VITRO_TRY(m->dev->ops->alloc(m->dev, room, bytes));
    }
    *out = *room;
    if (k >= 0)
        return vitro_checkpoint_read_f32(m->ckpt, k, *room);
    return m->dev->ops->zero(m->dev, *room, vitro_tensor_bytes(e->slot));
}

static VitroStatus prepare_one(VitroModel *m, int64_t i, void **room, VitroWeightFn fn, void *user)
{
    const VitroParam *e = &m->params.list[i];
    VitroOrigin *o = &m->origin[i];
    void *data;
    VITRO_TRY(bring(&data, m, i, room));
    vitro_params_put_weight(&m->params, e, data);
    Range r = {.dev = m->dev, .first = data, .fn = fn, .user = user};
    r.end = r.first + vitro_tensor_bytes(e->slot);
    VitroStatus st = vitro_params_each_weight(&m->params, &m->cfg, false, call_inside, &r);
    o->ready = st == VITRO_OK;
    if (!o->ready || !r.is_needed) {
        vitro_params_put_weight(&m->params, e, NULL);
    } else if (data == *room) {
        o->copy = data;
        *room = NULL;
    }
    if (o->tensor >= 0)
        vitro_ckpt_forget(m->ckpt, o->tensor); /* bytes that are still needed come back by use */
    return st;
}

VitroStatus vitro_model_each_origin(VitroModel *m, VitroWeightFn fn, void *user)
{
    void *room = NULL;
    VitroStatus st = VITRO_OK;
    for (int64_t i = 0; i < m->params.count && st == VITRO_OK; i++)
        if (vitro_param_is_weight(&m->params.list[i]) && !m->origin[i].ready)
            st = prepare_one(m, i, &room, fn, user);
    m->dev->ops->free(m->dev, room);
    /* Those that were ready may have to be so for more rows. */
    return st == VITRO_OK ? vitro_params_each_weight(&m->params, &m->cfg, false, fn, user) : st;
}
