/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint under the names that other libraries have for a ViT's tensors. Knows nothing of the
 * files that these libraries want beside it (configs.c). */
#include "export/names.h"

#include "base/alloc.h"
#include "ckpt/format.h"
#include "model/card.h"
#include "model/model.h"
#include "tensor/dtype.h"

#include <stdio.h>
#include <string.h>

enum { MAX_PARTS = 3, NAME_BYTES = 96 };

/* '*' is a block's number, '@' stands for "weight" or "bias". NULL: there is no such tensor. */
typedef struct Row {
    const char *ours;
    const char *hugging_face[MAX_PARTS]; /* more than one: equal parts along the first dimension */
    const char *torchvision;
} Row;

#define LAYER   "vit.encoder.layer.*."
#define ENCODER "encoder.layers.encoder_layer_*."

/* transformers/models/vit/modeling_vit.py, torchvision/models/vision_transformer.py */
static const Row rows[] = {
    {"cls_token", {"vit.embeddings.cls_token"}, "class_token"},
    {"pos_embed", {"vit.embeddings.position_embeddings"}, "encoder.pos_embedding"},
    {"patch_embed.proj.@", {"vit.embeddings.patch_embeddings.projection.@"}, "conv_proj.@"},
    {"blocks.*.norm1.@", {LAYER "layernorm_before.@"}, ENCODER "ln_1.@"},
    {"blocks.*.attn.qkv.@",
     {LAYER "attention.attention.query.@", LAYER "attention.attention.key.@",
      LAYER "attention.attention.value.@"},
     ENCODER "self_attention.in_proj_@"},
    {"blocks.*.attn.proj.@",
     {LAYER "attention.output.dense.@"},
     ENCODER "self_attention.out_proj.@"},
    {"blocks.*.norm2.@", {LAYER "layernorm_after.@"}, ENCODER "ln_2.@"},
    {"blocks.*.mlp.fc1.@", {LAYER "intermediate.dense.@"}, ENCODER "mlp.0.@"},
    {"blocks.*.mlp.fc2.@", {LAYER "output.dense.@"}, ENCODER "mlp.3.@"},
    {"norm.@", {"vit.layernorm.@"}, "encoder.ln.@"},
    {"pre_logits.fc.@", {NULL}, "heads.pre_logits.@"},
    {"head.@", {"classifier.@"}, "heads.head.@"},
};

const char *vitro_naming_library(VitroNaming naming)
{
    static const char *const names[] = {"Vitro", "timm", "Hugging Face's ViT", "torchvision"};
    return names[naming];
}

/* ---- names ----------------------------------------------------------------------------------- */

/* What '*' and '@' stand for. */
typedef struct Match {
    int block;
    const char *leaf;
} Match;

static bool matches(Match *m, const char *pattern, const char *name)
{
    *m = (Match){.leaf = ""};
    for (; *pattern; pattern++) {
        if (*pattern == '*') {
            const size_t digits = strspn(name, "0123456789");
            if (!digits || sscanf(name, "%d", &m->block) != 1)
                return false;
            name += digits;
        } else if (*pattern == '@') {
            m->leaf = name;
            return !strchr(name, '.');
        } else if (*pattern != *name++) {
            return false;
        }
    }
    return *name == 0;
}

static void put(char out[NAME_BYTES], const char *pattern, const Match *m)
{
    size_t n = 0;
    for (; *pattern && n < NAME_BYTES - 1; pattern++) {
        if (*pattern == '*')
            n += (size_t)snprintf(out + n, NAME_BYTES - n, "%d", m->block);
        else if (*pattern == '@')
            n += (size_t)snprintf(out + n, NAME_BYTES - n, "%s", m->leaf);
        else
            out[n++] = *pattern;
    }
    out[n < NAME_BYTES ? n : NAME_BYTES - 1] = 0;
}

/* The names of parameter `name` in `naming`; their number, or 0. */
static int names_of(char out[MAX_PARTS][NAME_BYTES], const char *name, VitroNaming naming)
{
    Match m;
    if (naming == VITRO_NAMES_VITRO || naming == VITRO_NAMES_TIMM) {
        snprintf(out[0], NAME_BYTES, "%s", name);
        return naming == VITRO_NAMES_VITRO || strncmp(name, "pre_logits.", 11) != 0;
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!matches(&m, rows[i].ours, name))
            continue;
        const char *one[MAX_PARTS] = {rows[i].torchvision};
        const char *const *list = naming == VITRO_NAMES_TORCHVISION ? one : rows[i].hugging_face;
        int count = 0;
        for (; count < MAX_PARTS && list[count]; count++)
            put(out[count], list[count], &m);
        return count;
    }
    return 0;
}

/* ---- tensors --------------------------------------------------------------------------------- */

typedef struct Output {
    VitroTensorSource *tensor; /* [MAX_PARTS * parameters] */
    char (*name)[NAME_BYTES];  /* the same */
    int64_t count;
    void **owned; /* [parameters] */
} Output;

/* Tensor k of the checkpoint as elements of `to`: in the file, or in *owned. */
static VitroStatus load(const void **data, void **owned, const VitroCheckpoint *ckpt, int64_t k,
                        VitroDtype to)
{
    const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, k);
    const size_t count = (size_t)info->count;
    *data = to == info->dtype ? vitro_checkpoint_data(ckpt, k) : NULL;
    if (*data)
        return VITRO_OK;
    *data = *owned = vitro_malloc(count * vitro_dtype_size(to));
    if (!*owned)
        return VITRO_NOMEM;
    if (to == info->dtype)
        return vitro_checkpoint_read_raw(ckpt, k, *owned);
    if (to == VITRO_F32)
        return vitro_checkpoint_read_f32(ckpt, k, *owned);
    float *values = vitro_malloc(count * sizeof(*values));
    if (!values)
        return VITRO_NOMEM;
    VitroStatus st = vitro_checkpoint_read_f32(ckpt, k, values);
    if (st == VITRO_OK)
        vitro_f32_to(*owned, to, values, info->count);
    vitro_free(values);
    return st;
}

/* Parameter i under its other names. */
static VitroStatus add(Output *out, const VitroParam *e, int64_t i, const VitroCheckpoint *ckpt,
                       int64_t k, const VitroDtype *floats, VitroNaming naming)
{
    const VitroDtype in_file = vitro_checkpoint_info(ckpt, k)->dtype;
    const VitroDtype to = floats ? *floats : in_file == VITRO_I8 ? VITRO_F32 : in_file;
    const int parts = names_of(&out->name[out->count], e->name, naming);
    const void *data;
    if (!parts)
        return vitro_fail(VITRO_E_UNSUPPORTED, "%s has no place for %s",
                          vitro_naming_library(naming), e->name);
    VITRO_TRY(load(&data, &out->owned[i], ckpt, k, to));
    const int64_t step = vitro_tensor_count(e->slot) / parts;
    for (int part = 0; part < parts; part++) {
        VitroTensorSource *t = &out->tensor[out->count];
        *t = (VitroTensorSource){.name = out->name[out->count], .dtype = to, .rank = e->rank};
        memcpy(t->dim, e->dim, (size_t)e->rank * sizeof(e->dim[0]));
        t->dim[0] /= parts;
        t->data = (const uint8_t *)data + (size_t)(part * step) * vitro_dtype_size(to);
        out->count++;
    }
    return VITRO_OK;
}

VitroStatus vitro_names_write(const VitroCheckpoint *ckpt, const char *path,
                              VitroCheckpointFormat format, const VitroDtype *floats,
                              VitroNaming naming, const VitroConfig *cfg, const VitroCard *card)
{
    VitroParams p;
    VitroLoadReport report = {0};
    Output out = {0};
    char *metadata = NULL;
    VITRO_TRY(vitro_params_init(&p, cfg, VITRO_F32));
    VitroStatus st = VITRO_E_NOMEM;
    const size_t n = (size_t)p.count;
    int64_t *source = vitro_calloc(n, sizeof(*source));
    out.tensor = vitro_calloc(MAX_PARTS * n, sizeof(*out.tensor));
    out.name = vitro_calloc(MAX_PARTS * n, sizeof(*out.name));
    out.owned = vitro_calloc(n, sizeof(*out.owned));
    if (!source || !out.tensor || !out.name || !out.owned)
        goto done;
    VITRO_GOTO(vitro_params_match(source, &report, &p, ckpt, NULL));
    for (int64_t i = 0; i < p.count; i++)
        VITRO_GOTO(add(&out, &p.list[i], i, ckpt, source[i], floats, naming));
    VITRO_GOTO(vitro_card_write(&metadata, cfg, card));
    st = vitro_checkpoint_write(path, format, out.tensor, out.count, metadata);
done:
    vitro_free(metadata);
    for (size_t i = 0; out.owned && i < n; i++)
        vitro_free(out.owned[i]);
    vitro_free(out.owned);
    vitro_free(out.name);
    vitro_free(out.tensor);
    vitro_load_report_deinit(&report);
    vitro_free(source);
    vitro_params_deinit(&p);
    return st;
}
