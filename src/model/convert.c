/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint as a file that says which ViT it is; on demand with its weights as bytes, those that
 * a device of VITRO_PRECISION_INT8 would make of them at each start. */
#include "base/alloc.h"
#include "ckpt/format.h"
#include "model/card.h"
#include "model/model.h"
#include "tensor/dtype.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- weights as bytes -------------------------------------------------------------------------
 */

/* What is to be written. */
typedef struct Output {
    VitroTensorSource *tensor; /* [2 parameters], as is the next: one and its scales */
    void **owned;              /* each one's elements */
    char (*scale_name)[48];    /* [parameters] "blocks.1023.mlp.fc1.weight_scale" */
    int64_t count, scale_count;
} Output;

/* The next tensor, with memory for its elements. */
static VitroStatus add(void **data, Output *out, const char *name, VitroDtype dtype, int rank,
                       const int64_t *dim)
{
    int64_t count;
    VitroTensorSource *t = &out->tensor[out->count];
    VITRO_TRY(vitro_ckpt_count(&count, name, dtype, rank, dim));
    *t = (VitroTensorSource){.name = name, .dtype = dtype, .rank = rank};
    memcpy(t->dim, dim, (size_t)rank * sizeof(*dim));
    t->data = *data = vitro_malloc((size_t)count * vitro_dtype_size(dtype));
    if (!*data)
        return VITRO_NOMEM;
    out->owned[out->count++] = *data;
    return VITRO_OK;
}

static VitroStatus check_finite(const float *values, int64_t n, const VitroCheckpoint *ckpt,
                                const char *name)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return vitro_fail(VITRO_E_NUMERIC,
                              "%s: %s: element %" PRId64 " is %g, and a file of bytes with scales "
                              "can hold finite numbers only",
                              ckpt->path, name, i, (double)values[i]);
    return VITRO_OK;
}

/* The matrix of a parameter as bytes, and its scales. What is bytes already stays as it is. */
static VitroStatus add_bytes(Output *out, const VitroParam *e, const VitroCheckpoint *ckpt,
                             int64_t k, float *room)
{
    const int64_t N = e->slot->dim[0], K = e->slot->dim[1];
    char *name = out->scale_name[out->scale_count++];
    void *bytes, *scales;
    snprintf(name, sizeof(*out->scale_name), "%s_scale", e->name);
    VITRO_TRY(add(&bytes, out, e->name, VITRO_I8, e->rank, e->dim));
    VITRO_TRY(add(&scales, out, name, VITRO_F32, 1, &N));
    if (vitro_checkpoint_info(ckpt, k)->dtype == VITRO_I8) {
        VITRO_TRY(vitro_checkpoint_read_raw(ckpt, k, bytes));
        return vitro_checkpoint_read_f32(ckpt, vitro_checkpoint_scale_of(ckpt, k), scales);
    }
    VITRO_TRY(vitro_checkpoint_read_f32(ckpt, k, room));
    VITRO_TRY(check_finite(room, N * K, ckpt, e->name));
    for (int64_t n = 0; n < N; n++) {
        const VitroByteRule rule = vitro_byte_rule(room + n * K, K);
        ((float *)scales)[n] = rule.scale;
        vitro_bytes_from_f32((int8_t *)bytes + n * K, room + n * K, rule.factor, K);
    }
    return VITRO_OK;
}

/* Any other parameter: a wide weight in bf16, as it is multiplied, the rest in float32. */
static VitroStatus add_floats(Output *out, const VitroParam *e, const VitroCheckpoint *ckpt,
                              int64_t k, float *room)
{
    const int64_t n = vitro_tensor_count(e->slot);
    const VitroDtype dtype = e->weight ? VITRO_BF16 : VITRO_F32;
    void *data;
    VITRO_TRY(add(&data, out, e->name, dtype, e->rank, e->dim));
    VITRO_TRY(vitro_checkpoint_read_f32(ckpt, k, room));
    VITRO_TRY(check_finite(room, n, ckpt, e->name));
    vitro_f32_to(data, dtype, room, n);
    return VITRO_OK;
}

/* The parameters in the file's order. */
static VitroStatus add_all(Output *out, const VitroParams *p, const int64_t *source,
                           const VitroCheckpoint *ckpt)
{
    const int64_t count = vitro_checkpoint_count(ckpt);
    const VitroParam **param = vitro_calloc((size_t)count, sizeof(*param));
    float *room = vitro_malloc((size_t)vitro_params_largest(p) * sizeof(*room));
    VitroStatus st = param && room ? VITRO_OK : VITRO_NOMEM;
    for (int64_t i = 0; i < p->count && st == VITRO_OK; i++)
        param[source[i]] = &p->list[i];
    for (int64_t k = 0; k < count && st == VITRO_OK; k++)
        if (param[k])
            st = vitro_param_is_bytes(param[k]) ? add_bytes(out, param[k], ckpt, k, room)
                                                : add_floats(out, param[k], ckpt, k, room);
    vitro_free(room);
    vitro_free(param);
    return st;
}

static void free_output(Output *out)
{
    for (int64_t i = 0; i < out->count; i++)
        vitro_free(out->owned[i]);
    vitro_free(out->owned);
    vitro_free(out->tensor);
    vitro_free(out->scale_name);
}

static VitroStatus write_bytes(const VitroCheckpoint *ckpt, const char *path,
                               const VitroConfig *cfg, const char *metadata)
{
    VitroParams p;
    VitroLoadReport report = {0};
    Output out = {0};
    VITRO_TRY(vitro_params_init(&p, cfg, VITRO_F32));
    VitroStatus st = VITRO_E_NOMEM;
    const size_t n = (size_t)p.count;
    int64_t *source = vitro_malloc(n * sizeof(*source));
    out.tensor = vitro_calloc(2 * n, sizeof(*out.tensor));
    out.owned = vitro_calloc(2 * n, sizeof(*out.owned));
    out.scale_name = vitro_calloc(n, sizeof(*out.scale_name));
    if (!source || !out.tensor || !out.owned || !out.scale_name)
        goto done;
    VITRO_GOTO(vitro_params_match(source, &report, &p, ckpt, NULL));
    VITRO_GOTO(add_all(&out, &p, source, ckpt));
    st = vitro_checkpoint_write(path, VITRO_FORMAT_SAFETENSORS, out.tensor, out.count, metadata);
done:
    free_output(&out);
    vitro_load_report_deinit(&report);
    vitro_free(source);
    vitro_params_deinit(&p);
    return st;
}

/* ---- with a card ------------------------------------------------------------------------------
 */

VitroStatus vitro_checkpoint_convert_model(const VitroCheckpoint *ckpt, const char *path,
                                           VitroCheckpointFormat format, const VitroDtype *floats,
                                           const VitroConfig *cfg, const VitroCard *card)
{
    const bool bytes = floats && *floats == VITRO_I8;
    char *metadata = NULL;
    if (bytes && format != VITRO_FORMAT_SAFETENSORS)
        return vitro_fail(VITRO_E_ARG, "%s: weights as bytes are for .safetensors files alone",
                          path);
    VITRO_TRY(vitro_card_write(&metadata, cfg, card));
    VitroStatus st = bytes ? write_bytes(ckpt, path, cfg, metadata)
                           : vitro_checkpoint_convert(ckpt, path, format, floats, metadata);
    vitro_free(metadata);
    return st;
}
