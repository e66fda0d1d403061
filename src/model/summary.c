/* SPDX-License-Identifier: Apache-2.0 */
/* The layer table of a configuration, and the memory that running it takes. Nothing is run, and no
 * device is asked. */
#include "base/alloc.h"
#include "model/acts.h"

#include <inttypes.h>
#include <stdio.h>

#define BATCH_MAX 4096 /* times the 2^50 of vitro_config_validate is what fits 64 bits */

/* A walk over the layers, which are told to `fn` in the order in which a picture meets them. */
typedef struct Walk {
    const VitroConfig *cfg;
    int64_t B, T, D;
    VitroLayerFn fn;
    void *user;
    int block; /* -1 outside the blocks */
} Walk;

typedef struct Shape {
    int rank;
    int64_t dim[4];
} Shape;

static void tell(const Walk *w, VitroLayerKind kind, const char *name, Shape out, int64_t params,
                 VitroFlops flops)
{
    char full[40];
    if (w->block >= 0)
        snprintf(full, sizeof(full), "blocks.%d.%s", w->block, name);
    VitroLayerInfo info = {.name = w->block >= 0 ? full : name,
                           .kind = kind,
                           .block = w->block,
                           .rank = out.rank,
                           .params = params,
                           .flops = flops};
    for (int k = 0; k < out.rank; k++)
        info.dim[k] = out.dim[k];
    w->fn(w->user, &info);
}

static Shape tokens(const Walk *w, int64_t width)
{
    return (Shape){3, {w->B, w->T, width}};
}

static int64_t elements(const Shape *s)
{
    int64_t n = 1;
    for (int k = 0; k < s->rank; k++)
        n *= s->dim[k];
    return n;
}

static int64_t weight_params(const VitroWeight *p)
{
    return vitro_tensor_count(&p->w) + vitro_tensor_count(&p->b);
}

/* `rows` of a product with p->w: each element of it is multiplied once per row. */
static void linear(const Walk *w, const char *name, const VitroWeight *p, Shape out)
{
    int64_t rows = elements(&out) / out.dim[out.rank - 1];
    VitroFlops flops = {.linear = rows * vitro_tensor_count(&p->w)};
    tell(w, VITRO_LAYER_LINEAR, name, out, weight_params(p), flops);
}

static void norm(const Walk *w, const char *name, const VitroLayerNormParams *p, Shape out)
{
    int64_t params = vitro_tensor_count(&p->gamma) + vitro_tensor_count(&p->beta);
    tell(w, VITRO_LAYER_NORM, name, out, params, (VitroFlops){.layer_norm = 5 * elements(&out)});
}

static void embed_layers(const Walk *w, const VitroEmbedParams *p)
{
    int64_t P = w->cfg->patch_size, down = w->cfg->img_height / P, across = w->cfg->img_width / P;
    int64_t N = down * across;
    Shape map = {4, {w->B, w->D, down, across}}, cls = {3, {w->B, 1, w->D}};
    VitroFlops conv = {.conv = w->B * N * vitro_tensor_count(&p->proj.w)};
    tell(w, VITRO_LAYER_CONV, "patch_embed.proj", map, weight_params(&p->proj), conv);
    if (w->cfg->patch_norm)
        norm(w, "patch_embed.norm", &p->norm, (Shape){3, {w->B, N, w->D}});
    tell(w, VITRO_LAYER_PARAM, "cls_token", cls, vitro_tensor_count(&p->cls_token),
         (VitroFlops){0});
    tell(w, VITRO_LAYER_PARAM, "pos_embed", tokens(w, w->D), vitro_tensor_count(&p->pos_embed),
         (VitroFlops){0});
}

static void block_layers(const Walk *w, const VitroBlockParams *p)
{
    int64_t D = w->D, M = vitro_config_mlp_width(w->cfg);
    VitroFlops matmul = {.matmul = w->B * vitro_attention_flops(w->T, D, true).matmul};
    norm(w, "norm1", &p->norm1, tokens(w, D));
    linear(w, "attn.qkv", &p->attn.qkv, tokens(w, 3 * D));
    tell(w, VITRO_LAYER_MATMUL, "attn.matmul", tokens(w, D), 0, matmul);
    linear(w, "attn.proj", &p->attn.proj, tokens(w, D));
    norm(w, "norm2", &p->norm2, tokens(w, D));
    linear(w, "mlp.fc1", &p->mlp.fc1, tokens(w, M));
    linear(w, "mlp.fc2", &p->mlp.fc2, tokens(w, D));
}

static VitroStatus check_batch(int64_t batch)
{
    if (batch >= 1 && batch <= BATCH_MAX)
        return VITRO_OK;
    return vitro_fail(VITRO_E_ARG, "batch size is %" PRId64 ", not in 1..%d", batch, BATCH_MAX);
}

VitroStatus vitro_config_each_layer(const VitroConfig *cfg, int64_t batch, VitroLayerFn fn,
                                    void *user)
{
    VITRO_TRY(vitro_config_validate(cfg));
    VITRO_TRY(check_batch(batch));
    VitroParams p;
    VITRO_TRY(vitro_params_init(&p, cfg, VITRO_F32));
    Walk w = {.cfg = cfg,
              .B = batch,
              .T = vitro_config_tokens(cfg),
              .D = cfg->embed_dim,
              .fn = fn,
              .user = user,
              .block = -1};
    embed_layers(&w, &p.embed);
    for (w.block = 0; w.block < cfg->depth; w.block++)
        block_layers(&w, &p.block[w.block]);
    w.block = -1;
    /* The original normalises all tokens and then takes the first; so does the count. */
    norm(&w, "norm", &p.norm, tokens(&w, w.D));
    if (cfg->representation_size)
        linear(&w, "pre_logits.fc", &p.pre_logits, (Shape){2, {batch, cfg->representation_size}});
    if (cfg->num_classes)
        linear(&w, "head", &p.head, (Shape){2, {batch, cfg->num_classes}});
    vitro_params_deinit(&p);
    return VITRO_OK;
}

/* What a model that was opened holds: weights as their products take them. */
static int64_t prepared_bytes(const VitroParams *p, VitroPrecision precision)
{
    int64_t bytes = vitro_params_small_count(p) * (int64_t)vitro_dtype_size(VITRO_F32);
    for (int64_t i = 0; i < p->count; i++) {
        const VitroParam *e = &p->list[i];
        if (!e->weight)
            continue;
        const bool narrow = precision == VITRO_PRECISION_INT8 && vitro_param_is_bytes(e);
        bytes += vitro_tensor_count(e->slot) * (narrow ? 1 : 2);
        if (narrow) /* a scale and a sum for each output */
            bytes += e->slot->dim[0] * (int64_t)(sizeof(float) + sizeof(int32_t));
    }
    return bytes;
}

VitroStatus vitro_config_memory(VitroMemory *out, const VitroConfig *cfg, VitroPrecision precision,
                                VitroMode mode, int64_t batch)
{
    VITRO_TRY(vitro_config_validate(cfg));
    VitroDtype dtype = precision == VITRO_FP64 ? VITRO_F64 : VITRO_F32;
    int64_t element = (int64_t)vitro_dtype_size(dtype);
    size_t activations;
    VITRO_TRY(vitro_acts_measure(&activations, cfg, precision, batch, mode));
    VitroParams p;
    VITRO_TRY(vitro_params_init(&p, cfg, dtype));
    int64_t first = mode == VITRO_MODE_TRAIN_HEAD ? p.head_first : 0;
    *out = (VitroMemory){.params = vitro_params_flat_count(&p, 0) * element,
                         .activations = (int64_t)activations};
    if (mode == VITRO_MODE_INFER && vitro_precision_operand(precision) == VITRO_BF16)
        out->params = prepared_bytes(&p, precision);
    if (mode != VITRO_MODE_INFER)
        out->gradients = vitro_params_flat_count(&p, first) * element;
    vitro_params_deinit(&p);
    return VITRO_OK;
}
