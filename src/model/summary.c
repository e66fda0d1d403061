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
    if (w->cfg->patch_pre_norm)
        norm(w, "patch_embed.pre_norm", &p->pre_norm, (Shape){3, {w->B, N, p->proj.w.dim[1]}});
    VitroFlops conv = {.conv = w->B * N * vitro_tensor_count(&p->proj.w)};
    tell(w, VITRO_LAYER_CONV, "patch_embed.proj", map, weight_params(&p->proj), conv);
    if (w->cfg->patch_norm)
        norm(w, "patch_embed.norm", &p->norm, (Shape){3, {w->B, N, w->D}});
    if (!w->cfg->no_class_token)
        tell(w, VITRO_LAYER_PARAM, "cls_token", cls, vitro_tensor_count(&p->cls_token),
             (VitroFlops){0});
    if (w->cfg->reg_tokens || w->cfg->distilled)
        tell(w, VITRO_LAYER_PARAM, w->cfg->distilled ? "dist_token" : "reg_token",
             (Shape){3, {w->B, p->reg_token.dim[0], w->D}}, vitro_tensor_count(&p->reg_token),
             (VitroFlops){0});
    tell(w, VITRO_LAYER_PARAM, "pos_embed", tokens(w, w->D), vitro_tensor_count(&p->pos_embed),
         (VitroFlops){0});
    if (w->cfg->pre_norm)
        norm(w, "norm_pre", &p->norm_pre, tokens(w, w->D));
}

/* LayerNorm of each head's q, or k. */
static void head_norm(const Walk *w, const char *name, const VitroLayerNormParams *p)
{
    int64_t H = w->cfg->num_heads;
    norm(w, name, p, (Shape){4, {w->B, H, w->T, w->D / H}});
}

static void layer_scale(const Walk *w, const char *name, const VitroTensor *gamma)
{
    if (w->cfg->init_values != 0)
        tell(w, VITRO_LAYER_PARAM, name, tokens(w, w->D), vitro_tensor_count(gamma),
             (VitroFlops){0});
}

static void block_layers(const Walk *w, const VitroBlockParams *p)
{
    int64_t D = w->D, M = vitro_config_mlp_width(w->cfg);
    VitroFlops matmul = {.matmul = w->B * vitro_attention_flops(w->T, D, true).matmul};
    norm(w, "norm1", &p->norm1, tokens(w, D));
    linear(w, "attn.qkv", &p->attn.qkv, tokens(w, 3 * D));
    if (w->cfg->qk_norm) {
        head_norm(w, "attn.q_norm", &p->attn.q_norm);
        head_norm(w, "attn.k_norm", &p->attn.k_norm);
    }
    tell(w, VITRO_LAYER_MATMUL, "attn.matmul", tokens(w, D), 0, matmul);
    linear(w, "attn.proj", &p->attn.proj, tokens(w, D));
    layer_scale(w, "ls1", &p->attn.scale);
    norm(w, "norm2", &p->norm2, tokens(w, D));
    linear(w, "mlp.fc1", &p->mlp.fc1, tokens(w, M));
    linear(w, "mlp.fc2", &p->mlp.fc2, tokens(w, D));
    layer_scale(w, "ls2", &p->mlp.scale);
}

static void attn_pool_layers(const Walk *w, const VitroAttnPoolParams *p)
{
    int64_t D = w->D, M = vitro_config_mlp_width(w->cfg);
    int64_t n = w->cfg->pool_include_prefix ? w->T : vitro_config_patches(w->cfg);
    Shape one = {3, {w->B, 1, D}};
    tell(w, VITRO_LAYER_PARAM, "attn_pool.latent", one, vitro_tensor_count(&p->latent),
         (VitroFlops){0});
    linear(w, "attn_pool.q", &p->q, one);
    linear(w, "attn_pool.kv", &p->kv, (Shape){3, {w->B, n, 2 * D}});
    tell(w, VITRO_LAYER_MATMUL, "attn_pool.matmul", one, 0,
         (VitroFlops){.matmul = w->B * 2 * n * D});
    linear(w, "attn_pool.proj", &p->proj, one);
    norm(w, "attn_pool.norm", &p->norm, one);
    linear(w, "attn_pool.mlp.fc1", &p->mlp.fc1, (Shape){3, {w->B, 1, M}});
    linear(w, "attn_pool.mlp.fc2", &p->mlp.fc2, one);
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
    if (!cfg->no_final_norm && !cfg->fc_norm)
        norm(&w, "norm", &p.pool.norm, tokens(&w, w.D));
    if (cfg->global_pool == VITRO_POOL_MAP)
        attn_pool_layers(&w, &p.pool.attn);
    if (!cfg->no_final_norm && cfg->fc_norm)
        norm(&w, "fc_norm", &p.pool.norm, (Shape){2, {batch, w.D}});
    if (cfg->representation_size)
        linear(&w, "pre_logits.fc", &p.pre_logits, (Shape){2, {batch, cfg->representation_size}});
    if (cfg->num_classes)
        linear(&w, "head", &p.head, (Shape){2, {batch, cfg->num_classes}});
    if (cfg->num_classes && cfg->distilled)
        linear(&w, "head_dist", &p.head_dist, (Shape){2, {batch, cfg->num_classes}});
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
