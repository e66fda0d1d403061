/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint as an ONNX file: the graph, the parameters of the checkpoint, and what it says of
 * itself. */
#include "base/status.h"
#include "vitro/export.h"

#if VITRO_HAVE_PROTOBUF_C

#include "base/alloc.h"
#include "base/json.h"
#include "ckpt/format.h"
#include "export/onnx_vit.h"
#include "model/card.h"
#include "model/model.h"

#include <jansson.h>
#include <stdlib.h>

/* ---- parameters ------------------------------------------------------------------------------ */

typedef struct Source {
    const VitroCheckpoint *ckpt;
    int64_t *tensor; /* [params.count] of the checkpoint */
} Source;

/* The file's own bytes, or a copy as float32. */
static VitroStatus load(void *user, int64_t i, size_t bytes, const void **data, void **owned)
{
    const Source *s = user;
    const int64_t k = s->tensor[i];
    if (i > 0)
        vitro_ckpt_forget(s->ckpt, s->tensor[i - 1]); /* it comes back where it is still needed */
    if (vitro_checkpoint_info(s->ckpt, k)->dtype == VITRO_F32)
        *data = vitro_checkpoint_data(s->ckpt, k);
    if (*data)
        return VITRO_OK;
    float *copy = vitro_malloc(bytes);
    if (!copy)
        return VITRO_NOMEM;
    *data = *owned = copy;
    return vitro_checkpoint_read_f32(s->ckpt, k, copy);
}

static VitroStatus add_params(VitroOnnx *g, const VitroParams *p)
{
    for (int64_t i = 0; i < p->count; i++)
        vitro_onnx_param(g, p->list[i].name, p->list[i].rank, p->list[i].dim);
    const char *unused = vitro_onnx_unused_param(g);
    if (vitro_onnx_status(g) == VITRO_OK && unused)
        return vitro_fail(VITRO_E_UNSUPPORTED, "the ONNX graph has no place for %s", unused);
    return vitro_onnx_status(g);
}

/* ---- metadata -------------------------------------------------------------------------------- */

/* A value of the card under a key of its own: text as it is, all else as JSON. */
static VitroStatus add_json(VitroOnnx *g, const char *key, const json_t *value)
{
    const char *plain = json_string_value(value);
    char *text = plain ? NULL : vitro_json_text(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
    if (!plain && !text)
        return vitro_fail(VITRO_E_NOMEM, "no memory for the metadata");
    vitro_onnx_metadata(g, key, plain ? plain : text);
    vitro_free(text);
    return vitro_onnx_status(g);
}

/* The card's transform and classes, for readers who do not know cards. */
static VitroStatus add_readable(VitroOnnx *g, const json_t *card)
{
    const json_t *classes = json_object_get(card, "classes");
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(card, "transform"), key, value)
        VITRO_TRY(add_json(g, key, value));
    return classes ? add_json(g, "class_names", classes) : VITRO_OK;
}

static VitroStatus add_metadata(VitroOnnx *g, const VitroConfig *cfg, const VitroCard *card)
{
    char *text;
    VITRO_TRY(vitro_card_write(&text, cfg, card));
    json_t *root = json_loads(text, 0, NULL);
    vitro_onnx_metadata(g, "vitro", text);
    vitro_free(text);
    vitro_onnx_metadata(
        g, "input_size",
        vitro_onnx_name(g, "[%d, %d, %d]", cfg->in_channels, cfg->img_height, cfg->img_width));
    VitroStatus st =
        root ? add_readable(g, root) : vitro_fail(VITRO_E_NOMEM, "no memory for the metadata");
    json_decref(root);
    return st == VITRO_OK ? vitro_onnx_status(g) : st;
}

/* ---- the file -------------------------------------------------------------------------------- */

static VitroStatus build(VitroOnnx **out, const VitroParams *p, const VitroConfig *cfg,
                         const VitroCard *card)
{
    VitroOnnx *g;
    VITRO_TRY(vitro_onnx_create(&g, "vit", "Vision Transformer, https://arxiv.org/abs/2010.11929"));
    VitroStatus st = vitro_onnx_add_vit(g, cfg);
    if (st == VITRO_OK)
        st = add_params(g, p);
    if (st == VITRO_OK)
        st = add_metadata(g, cfg, card);
    if (st != VITRO_OK)
        vitro_onnx_free(g);
    else
        *out = g;
    return st;
}

VitroStatus vitro_export_onnx(const VitroCheckpoint *ckpt, const char *path, const VitroConfig *cfg,
                              const VitroCard *card, bool external)
{
    VitroParams p;
    VitroLoadReport report = {0};
    VitroOnnx *g = NULL;
    VITRO_TRY(vitro_config_validate(cfg));
    VITRO_TRY(vitro_params_init(&p, cfg, VITRO_F32));
    Source source = {.ckpt = ckpt, .tensor = vitro_calloc((size_t)p.count, sizeof(int64_t))};
    VitroStatus st = source.tensor ? VITRO_OK : VITRO_NOMEM;
    if (st == VITRO_OK)
        st = vitro_params_match(source.tensor, &report, &p, ckpt, NULL);
    if (st == VITRO_OK)
        st = build(&g, &p, cfg, card);
    if (st == VITRO_OK)
        st = vitro_onnx_write(g, path, external, load, &source);
    vitro_onnx_free(g);
    vitro_load_report_deinit(&report);
    vitro_free(source.tensor);
    vitro_params_deinit(&p);
    return st;
}

#else

VitroStatus vitro_export_onnx(const VitroCheckpoint *ckpt, const char *path, const VitroConfig *cfg,
                              const VitroCard *card, bool external)
{
    (void)ckpt, (void)cfg, (void)card, (void)external;
    return vitro_fail(VITRO_E_UNSUPPORTED,
                      "%s: this build writes no ONNX files: libprotobuf-c and its compiler "
                      "protoc-c were not there when it was made",
                      path);
}

#endif
