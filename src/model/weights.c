/* SPDX-License-Identifier: Apache-2.0 */
/* A model's parameters from and to a checkpoint, with the report that PyTorch's load_state_dict
 * gives. */
#include "base/alloc.h"
#include "base/buf.h"
#include "ckpt/format.h"
#include "model/card.h"
#include "model/model.h"

#include <string.h>

void vitro_load_report_deinit(VitroLoadReport *r)
{
    for (int64_t i = 0; i < r->missing_count; i++)
        vitro_free(r->missing[i]);
    for (int64_t i = 0; i < r->unexpected_count; i++)
        vitro_free(r->unexpected[i]);
    vitro_free(r->missing);
    vitro_free(r->unexpected);
    *r = (VitroLoadReport){0};
}

static VitroStatus append_name(char ***names, int64_t *count, const char *name)
{
    char **p = vitro_realloc(*names, (size_t)*count + 1, sizeof(*p));
    if (!p)
        return VITRO_NOMEM;
    *names = p;
    p[*count] = vitro_strdup(name);
    if (!p[*count])
        return VITRO_NOMEM;
    ++*count;
    return VITRO_OK;
}

static bool is_skipped(const char *name, const VitroLoadOptions *o)
{
    return (o->skip_head &&
            (strncmp(name, "head.", 5) == 0 || strncmp(name, "head_dist.", 10) == 0)) ||
           (o->skip_pre_logits && strncmp(name, "pre_logits.", 11) == 0);
}

/* The file's shape is the model's, or that of the equal linear layer: [D,C*P*P] for [D,C,P,P]. */
static bool shape_fits(const VitroParam *e, const VitroTensorInfo *info)
{
    if (info->rank == e->rank &&
        memcmp(info->dim, e->dim, (size_t)e->rank * sizeof(e->dim[0])) == 0)
        return true;
    return e->init == VITRO_INIT_CONV && info->rank == 2 && info->dim[0] == e->slot->dim[0] &&
           info->dim[1] == e->slot->dim[1];
}

static VitroStatus add_mismatch(VitroBuf *text, const VitroParam *e, const VitroTensorInfo *info)
{
    char found[128], wanted[128];
    return vitro_buf_printf(text, "%ssize mismatch for %s: the file has shape %s, the model %s",
                            text->len ? "; " : "", e->name,
                            vitro_tensor_shape_text(found, sizeof(found), info->rank, info->dim),
                            vitro_tensor_shape_text(wanted, sizeof(wanted), e->rank, e->dim));
}

static VitroStatus check_scales(const VitroCheckpoint *ckpt, int64_t k)
{
    float *scale;
    VITRO_TRY(vitro_ckpt_read_scales(&scale, ckpt, k));
    vitro_free(scale);
    return VITRO_OK;
}

/* source[i] = the file's tensor for parameter i, or -1; fills the report; lists every wrong shape.
 */
static VitroStatus find_sources(int64_t *source, VitroLoadReport *report, const VitroParams *p,
                                const VitroCheckpoint *ckpt, const VitroLoadOptions *o)
{
    VitroBuf text;
    vitro_buf_init(&text, 1 << 20);
    VitroStatus st = VITRO_OK;
    for (int64_t i = 0; i < p->count; i++) {
        const VitroParam *e = &p->list[i];
        int64_t k = is_skipped(e->name, o) ? -1 : vitro_checkpoint_find(ckpt, e->name);
        source[i] = k;
        if (k < 0) {
            VITRO_GOTO(append_name(&report->missing, &report->missing_count, e->name));
        } else {
            report->loaded_count++;
            const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, k);
            if (!shape_fits(e, info))
                VITRO_GOTO(add_mismatch(&text, e, info));
            if (info->dtype == VITRO_I8) {
                VITRO_GOTO(check_scales(ckpt, k));
            } else if (!vitro_dtype_is_float(info->dtype)) {
                st = vitro_fail(VITRO_E_UNSUPPORTED, "%s has elements of type %s, not a float",
                                e->name, vitro_dtype_name(info->dtype));
                goto done;
            }
        }
    }
    if (text.len) {
        const char *all;
        VITRO_GOTO(vitro_buf_cstr(&text, &all));
        st = vitro_fail(VITRO_E_SHAPE, "%s", all);
    }
done:
    vitro_buf_deinit(&text);
    return st;
}

/* What a training state holds beside the parameters (train/state.c). */
static bool is_of_state(const VitroCheckpoint *ckpt, const char *name)
{
    static const char *const begin[] = {"momentum_buffer.", "exp_avg.", "exp_avg_sq.", "seal"};
    bool found = false;
    for (size_t i = 0; i < sizeof(begin) / sizeof(begin[0]); i++)
        found |= strncmp(name, begin[i], strlen(begin[i])) == 0;
    return found && vitro_checkpoint_metadata_key(ckpt, "trainer.version");
}

static VitroStatus find_unexpected(VitroLoadReport *report, const int64_t *source,
                                   const VitroParams *p, const VitroCheckpoint *ckpt,
                                   const VitroLoadOptions *o)
{
    int64_t n = vitro_checkpoint_count(ckpt);
    bool *used = vitro_calloc((size_t)n, sizeof(*used));
    if (!used)
        return VITRO_NOMEM;
    for (int64_t i = 0; i < p->count; i++) {
        int64_t scale = source[i] < 0 ? -1 : vitro_checkpoint_scale_of(ckpt, source[i]);
        if (source[i] >= 0)
            used[source[i]] = true;
        if (scale >= 0)
            used[scale] = true;
    }
    VitroStatus st = VITRO_OK;
    for (int64_t k = 0; k < n && st == VITRO_OK; k++) {
        const char *name = vitro_checkpoint_info(ckpt, k)->name;
        if (!used[k] && !is_skipped(name, o) && !is_of_state(ckpt, name))
            st = append_name(&report->unexpected, &report->unexpected_count, name);
    }
    vitro_free(used);
    return st;
}

static VitroStatus list_names(VitroBuf *text, const char *what, char **names, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        VITRO_TRY(vitro_buf_printf(text, "%s%s", i ? ", " : what, names[i]));
    return VITRO_OK;
}

static VitroStatus refuse_inexact(const VitroLoadReport *r)
{
    if (!r->missing_count && !r->unexpected_count)
        return VITRO_OK;
    VitroBuf text;
    const char *all;
    vitro_buf_init(&text, 1 << 24);
    VitroStatus st = VITRO_OK;
    VITRO_GOTO(list_names(&text, "missing tensors: ", r->missing, r->missing_count));
    if (r->missing_count && r->unexpected_count)
        VITRO_GOTO(vitro_buf_printf(&text, "; "));
    VITRO_GOTO(list_names(&text, "unexpected tensors: ", r->unexpected, r->unexpected_count));
    VITRO_GOTO(vitro_buf_cstr(&text, &all));
    st = vitro_fail(VITRO_E_FORMAT, "not this model's weights: %s", all);
done:
    vitro_buf_deinit(&text);
    return st;
}

/* Errors start with the checkpoint's path; those of its own functions do already. */
static VitroStatus with_path(VitroStatus st, const VitroCheckpoint *ckpt)
{
    const char *path = vitro_checkpoint_path(ckpt);
    if (st == VITRO_OK || strncmp(vitro_last_error(), path, strlen(path)) == 0)
        return st;
    return vitro_fail_prefix(st, "%s", path);
}

VitroStatus vitro_params_match(int64_t *source, VitroLoadReport *report, const VitroParams *p,
                               const VitroCheckpoint *ckpt, const VitroLoadOptions *options)
{
    VitroLoadOptions o = options ? *options : (VitroLoadOptions){.strict = true};
    VitroStatus st = find_sources(source, report, p, ckpt, &o);
    if (st == VITRO_OK)
        st = find_unexpected(report, source, p, ckpt, &o);
    if (st == VITRO_OK && o.strict)
        st = refuse_inexact(report);
    return with_path(st, ckpt);
}

VitroStatus vitro_model_read_param(VitroModel *m, const VitroParam *e, const VitroCheckpoint *ckpt,
                                   int64_t k, float *room)
{
    const float *values = NULL;
    if (vitro_checkpoint_info(ckpt, k)->dtype == VITRO_F32)
        values = vitro_checkpoint_data(ckpt, k);
    if (!values) {
        VITRO_TRY(vitro_checkpoint_read_f32(ckpt, k, room));
        values = room;
    }
    return vitro_device_write_f32(m->dev, *e->slot, values);
}

static VitroStatus copy_all(VitroModel *m, const VitroCheckpoint *ckpt, const int64_t *source)
{
    float *room = vitro_malloc((size_t)vitro_params_largest(&m->params) * sizeof(*room));
    if (!room)
        return VITRO_NOMEM;
    VitroStatus st = VITRO_OK;
    for (int64_t i = 0; i < m->params.count && st == VITRO_OK; i++)
        if (source[i] >= 0)
            st = vitro_model_read_param(m, &m->params.list[i], ckpt, source[i], room);
    vitro_free(room);
    VITRO_TRY(st);
    return vitro_model_refresh(m);
}

VitroStatus vitro_model_load(VitroModel *m, const VitroCheckpoint *ckpt,
                             const VitroLoadOptions *options, VitroLoadReport *report)
{
    VITRO_TRY(vitro_model_check_may_change(m));
    VitroLoadReport r = {0};
    int64_t *source = vitro_malloc((size_t)m->params.count * sizeof(*source));
    if (!source)
        return VITRO_NOMEM;
    VitroStatus st = vitro_params_match(source, &r, &m->params, ckpt, options);
    if (st == VITRO_OK)
        st = with_path(copy_all(m, ckpt, source), ckpt);
    vitro_free(source);
    if (st == VITRO_OK && report)
        *report = r;
    else
        vitro_load_report_deinit(&r);
    return st;
}

/* Whether the host can read parameters where they are, as the float32 that a file gets. */
static bool readable_in_place(const VitroModel *m)
{
    return !m->dev->ops->separate_memory && m->dev->dtype == VITRO_F32 && !m->origin;
}

VitroStatus vitro_model_save(const VitroModel *m, const char *path, VitroCheckpointFormat format,
                             const VitroCard *card)
{
    int64_t n = m->params.count, copied = 0;
    bool in_place = readable_in_place(m);
    for (int64_t i = 0; i < n && !in_place; i++)
        copied += vitro_tensor_count(m->params.list[i].slot);
    VitroTensorSource *sources = vitro_calloc((size_t)n, sizeof(*sources));
    float *values = in_place ? NULL : vitro_malloc((size_t)copied * sizeof(*values));
    char *metadata = NULL;
    VitroStatus st = sources && (values || in_place) ? VITRO_OK : VITRO_NOMEM;
    if (st != VITRO_OK)
        goto done;
    float *at = values;
    for (int64_t i = 0; i < n; i++) {
        const VitroParam *e = &m->params.list[i];
        sources[i] = (VitroTensorSource){.name = e->name,
                                         .dtype = VITRO_F32,
                                         .rank = e->rank,
                                         .data = in_place ? e->slot->data : at};
        memcpy(sources[i].dim, e->dim, sizeof(e->dim));
        if (in_place)
            continue;
        VITRO_GOTO(vitro_model_param_get(m, i, at));
        at += vitro_tensor_count(e->slot);
    }
    VITRO_GOTO(vitro_card_write(&metadata, &m->cfg, card));
    st = vitro_checkpoint_write(path, format, sources, n, metadata);
done:
    vitro_free(metadata);
    vitro_free(values);
    vitro_free(sources);
    return st;
}
