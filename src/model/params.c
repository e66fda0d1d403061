/* SPDX-License-Identifier: Apache-2.0 */
#include "model/params.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* Appends a parameter of shape dim[rank] to the table. The slot gets the shape [dim0, rest]; of
 * tokens, which have a leading dimension of 1, that without it. */
static void add(VitroParams *p, VitroTensor *slot, VitroDtype dtype, VitroInit init, int rank,
                const int64_t *dim, const char *name, ...) VITRO_PRINTF(7, 8);

static void add(VitroParams *p, VitroTensor *slot, VitroDtype dtype, VitroInit init, int rank,
                const int64_t *dim, const char *name, ...)
{
    VitroParam *e = &p->list[p->count++];
    *e = (VitroParam){.init = init, .rank = rank, .slot = slot};
    va_list ap;
    va_start(ap, name);
    vsnprintf(e->name, sizeof(e->name), name, ap);
    va_end(ap);
    for (int i = 0; i < rank; i++)
        e->dim[i] = dim[i];
    int skip = init == VITRO_INIT_TOKEN ? 1 : 0;
    if (rank - skip == 4)
        *slot = vitro_tensor2(NULL, dtype, dim[0], dim[1] * dim[2] * dim[3]);
    else
        *slot = vitro_tensor(NULL, dtype, rank - skip, dim + skip);
}

#define DIMS(...)                                                                                  \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[])                         \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

/* Rounding to bytes costs a product about a percent, whatever its size; narrow models feel it most
 * and have no time to gain, so fewer inputs than this stay bf16. */
enum { BYTES_FROM_INPUTS = 192 };

static void add_weight(VitroParams *p, VitroWeight *w, VitroDtype t, int64_t out, int64_t in,
                       bool bias, const char *name)
{
    add(p, &w->w, t, VITRO_INIT_LINEAR, DIMS(out, in), "%s.weight", name);
    p->list[p->count - 1].weight = w;
    if (bias)
        add(p, &w->b, t, VITRO_INIT_ZERO, DIMS(out), "%s.bias", name);
    w->wide = in < BYTES_FROM_INPUTS;
}

static void add_norm(VitroParams *p, VitroLayerNormParams *n, VitroDtype t, int64_t D,
                     const char *name)
{
    add(p, &n->gamma, t, VITRO_INIT_ONE, DIMS(D), "%s.weight", name);
    add(p, &n->beta, t, VITRO_INIT_ZERO, DIMS(D), "%s.bias", name);
}

/* One token, whose slot is [D]. */
static void add_token(VitroParams *p, VitroTensor *slot, VitroDtype t, int64_t D, const char *name)
{
    add(p, slot, t, VITRO_INIT_TOKEN, DIMS(1, 1, D), "%s", name);
    *slot = vitro_tensor1(NULL, t, D);
}

static void add_mlp(VitroParams *p, VitroMlpParams *mlp, VitroDtype t, int64_t D, int64_t M,
                    bool bias, const char *name)
{
    char part[40];
    snprintf(part, sizeof(part), "%s.fc1", name);
    add_weight(p, &mlp->fc1, t, M, D, bias, part);
    snprintf(part, sizeof(part), "%s.fc2", name);
    add_weight(p, &mlp->fc2, t, D, M, bias, part);
}

static void add_block(VitroParams *p, VitroBlockParams *b, VitroDtype t, const VitroConfig *cfg,
                      int i)
{
    int64_t D = cfg->embed_dim, M = vitro_config_mlp_width(cfg), Dh = D / cfg->num_heads;
    bool bias = !cfg->no_proj_bias;
    char name[32];
#define NAME(part) (snprintf(name, sizeof(name), "blocks.%d." part, i), name)
    add_norm(p, &b->norm1, t, D, NAME("norm1"));
    add_weight(p, &b->attn.qkv, t, 3 * D, D, cfg->qkv_bias, NAME("attn.qkv"));
    if (cfg->qk_norm) {
        add_norm(p, &b->attn.q_norm, t, Dh, NAME("attn.q_norm"));
        add_norm(p, &b->attn.k_norm, t, Dh, NAME("attn.k_norm"));
    }
    add_weight(p, &b->attn.proj, t, D, D, bias, NAME("attn.proj"));
    if (cfg->init_values != 0)
        add(p, &b->attn.scale, t, VITRO_INIT_SCALE, DIMS(D), "blocks.%d.ls1.gamma", i);
    add_norm(p, &b->norm2, t, D, NAME("norm2"));
    add_mlp(p, &b->mlp, t, D, M, bias, NAME("mlp"));
    if (cfg->init_values != 0)
        add(p, &b->mlp.scale, t, VITRO_INIT_SCALE, DIMS(D), "blocks.%d.ls2.gamma", i);
#undef NAME
}

static void add_embed(VitroParams *p, VitroEmbedParams *e, VitroDtype t, const VitroConfig *cfg)
{
    int64_t C = cfg->in_channels, P = cfg->patch_size, D = cfg->embed_dim;
    if (!cfg->no_class_token)
        add_token(p, &e->cls_token, t, D, "cls_token");
    if (cfg->reg_tokens)
        add(p, &e->reg_token, t, VITRO_INIT_TOKEN, DIMS(1, cfg->reg_tokens, D), "reg_token");
    add(p, &e->pos_embed, t, VITRO_INIT_TOKEN, DIMS(1, vitro_config_positions(cfg), D),
        "pos_embed");
    if (cfg->distilled)
        add(p, &e->reg_token, t, VITRO_INIT_TOKEN, DIMS(1, 1, D), "dist_token");
    if (cfg->patch_pre_norm)
        add_norm(p, &e->pre_norm, t, C * P * P, "patch_embed.pre_norm");
    add(p, &e->proj.w, t, VITRO_INIT_CONV, DIMS(D, C, P, P), "patch_embed.proj.weight");
    p->list[p->count - 1].weight = &e->proj;
    if (!cfg->pre_norm)
        add(p, &e->proj.b, t, VITRO_INIT_ZERO, DIMS(D), "patch_embed.proj.bias");
    if (cfg->patch_norm)
        add_norm(p, &e->norm, t, D, "patch_embed.norm");
    if (cfg->pre_norm)
        add_norm(p, &e->norm_pre, t, D, "norm_pre");
}

static void add_attn_pool(VitroParams *p, VitroAttnPoolParams *a, VitroDtype t,
                          const VitroConfig *cfg)
{
    int64_t D = cfg->embed_dim;
    add_token(p, &a->latent, t, D, "attn_pool.latent");
    add_weight(p, &a->q, t, D, D, true, "attn_pool.q");
    add_weight(p, &a->kv, t, 2 * D, D, true, "attn_pool.kv");
    add_weight(p, &a->proj, t, D, D, true, "attn_pool.proj");
    add_norm(p, &a->norm, t, D, "attn_pool.norm");
    add_mlp(p, &a->mlp, t, D, vitro_config_mlp_width(cfg), true, "attn_pool.mlp");
}

VitroStatus vitro_params_init(VitroParams *p, const VitroConfig *cfg, VitroDtype t)
{
    enum { PER_BLOCK = 18, OTHERS = 32 };
    int64_t D = cfg->embed_dim, R = cfg->representation_size, K = cfg->num_classes;
    bool has_norm = !cfg->no_final_norm;
    *p = (VitroParams){.depth = cfg->depth};
    p->block = vitro_calloc((size_t)cfg->depth, sizeof(*p->block));
    p->list = vitro_calloc((size_t)cfg->depth * PER_BLOCK + OTHERS, sizeof(*p->list));
    if (!p->block || !p->list) {
        vitro_params_deinit(p);
        return VITRO_NOMEM;
    }
    add_embed(p, &p->embed, t, cfg);
    p->blocks_first = p->count;
    for (int i = 0; i < cfg->depth; i++)
        add_block(p, &p->block[i], t, cfg, i);
    p->norm_first = p->count;
    if (has_norm && !cfg->fc_norm)
        add_norm(p, &p->pool.norm, t, D, "norm");
    if (cfg->global_pool == VITRO_POOL_MAP)
        add_attn_pool(p, &p->pool.attn, t, cfg);
    if (has_norm && cfg->fc_norm)
        add_norm(p, &p->pool.norm, t, D, "fc_norm");
    p->head_first = p->count;
    if (R)
        add_weight(p, &p->pre_logits, t, R, D, true, "pre_logits.fc");
    if (K)
        add_weight(p, &p->head, t, K, R ? R : D, true, "head");
    if (K && cfg->distilled)
        add_weight(p, &p->head_dist, t, K, D, true, "head_dist");
    /* Where pixels come in and classes go out, bytes cost more digits than they save time. */
    p->embed.proj.wide = p->pre_logits.wide = p->head.wide = p->head_dist.wide = true;
    return VITRO_OK;
}

void vitro_params_deinit(VitroParams *p)
{
    vitro_free(p->block);
    vitro_free(p->list);
    *p = (VitroParams){0};
}

static int64_t padded(const VitroTensor *t)
{
    int64_t unit = VITRO_ALIGN / (int64_t)vitro_dtype_size(t->dtype);
    return (vitro_tensor_count(t) + unit - 1) / unit * unit;
}

VitroParamRange vitro_params_part(const VitroParams *p, int part)
{
    if (part > p->depth)
        return (VitroParamRange){p->norm_first, p->count};
    if (part == 0)
        return (VitroParamRange){0, p->blocks_first};
    int64_t per_block = (p->norm_first - p->blocks_first) / p->depth;
    int64_t first = p->blocks_first + (part - 1) * per_block;
    return (VitroParamRange){first, first + per_block};
}

int64_t vitro_params_range_count(const VitroParams *p, VitroParamRange range)
{
    int64_t n = 0;
    for (int64_t i = range.first; i < range.end; i++)
        n += padded(p->list[i].slot);
    return n;
}

int64_t vitro_params_flat_count(const VitroParams *p, int64_t first)
{
    return vitro_params_range_count(p, (VitroParamRange){first, p->count});
}

/* The rows of q, and those of k and v, as weights of their own. */
static void split_qkv(VitroAttentionParams *a)
{
    VitroTensor w = a->qkv.w, b = a->qkv.b, scale = a->qkv.scale;
    int64_t D = w.dim[1];
    a->q.w = vitro_tensor_part(w, 0, D);
    a->q.b = vitro_tensor_part(b, 0, D);
    a->q.scale = vitro_tensor_part(scale, 0, D);
    a->kv.w = vitro_tensor_part(w, D, 2 * D);
    a->kv.b = vitro_tensor_part(b, D, 2 * D);
    a->kv.scale = vitro_tensor_part(scale, D, 2 * D);
    a->q.wide = a->kv.wide = a->qkv.wide;
}

int64_t vitro_params_largest(const VitroParams *p)
{
    int64_t largest = 0;
    for (int64_t i = 0; i < p->count; i++) {
        int64_t n = vitro_tensor_count(p->list[i].slot);
        largest = n > largest ? n : largest;
    }
    return largest;
}

static void place(VitroTensor *t, uint8_t **at)
{
    t->data = *at;
    *at += (size_t)padded(t) * vitro_dtype_size(t->dtype);
}

void vitro_params_place_range(VitroParams *p, VitroParamRange range, VitroTensor flat)
{
    uint8_t *at = flat.data;
    for (int64_t i = range.first; i < range.end; i++)
        place(p->list[i].slot, &at);
    split_qkv(&p->block[p->depth - 1].attn);
}

void vitro_params_place(VitroParams *p, int64_t first, VitroTensor flat)
{
    vitro_params_place_range(p, (VitroParamRange){first, p->count}, flat);
}

int64_t vitro_params_small_count(const VitroParams *p)
{
    int64_t n = 0;
    for (int64_t i = 0; i < p->count; i++)
        n += p->list[i].weight ? 0 : padded(p->list[i].slot);
    return n;
}

void vitro_params_place_small(VitroParams *p, VitroTensor flat)
{
    uint8_t *at = flat.data;
    for (int64_t i = 0; i < p->count; i++)
        if (!p->list[i].weight)
            place(p->list[i].slot, &at);
    split_qkv(&p->block[p->depth - 1].attn);
}

void vitro_params_put_weight(VitroParams *p, const VitroParam *e, void *data, VitroDtype dtype,
                             float *scale)
{
    VitroAttentionParams *last = &p->block[p->depth - 1].attn;
    VitroWeight *weight = e->weight;
    weight->w.data = data;
    weight->w.dtype = dtype;
    weight->scale = vitro_tensor1(scale, VITRO_F32, weight->w.dim[0]);
    if (weight != &last->qkv)
        return;
    if (data)
        split_qkv(last);
    else
        last->q.w.data = last->kv.w.data = NULL; /* they keep their shapes */
}

/* The weights of the attention pool, which sees `tokens` tokens. */
static VitroStatus each_of_pool(VitroAttnPoolParams *a, int64_t tokens, VitroWeightFn fn,
                                void *user)
{
    VITRO_TRY(fn(user, &a->q, 1));
    VITRO_TRY(fn(user, &a->kv, tokens));
    VITRO_TRY(fn(user, &a->proj, 1));
    VITRO_TRY(fn(user, &a->mlp.fc1, 1));
    return fn(user, &a->mlp.fc2, 1);
}

VitroStatus vitro_params_each_weight(VitroParams *p, const VitroConfig *cfg, bool head_only,
                                     VitroWeightFn fn, void *user)
{
    int64_t T = vitro_config_tokens(cfg);
    if (!head_only)
        VITRO_TRY(fn(user, &p->embed.proj, vitro_config_patches(cfg)));
    for (int i = 0; i < cfg->depth && !head_only; i++) {
        VitroBlockParams *block = &p->block[i];
        bool brief = i == cfg->depth - 1 && vitro_pools_class_alone(cfg);
        int64_t rows = brief ? 1 : T; /* the class token's, or all */
        if (brief) {
            VITRO_TRY(fn(user, &block->attn.q, rows));
            VITRO_TRY(fn(user, &block->attn.kv, T));
        } else {
            VITRO_TRY(fn(user, &block->attn.qkv, rows));
        }
        VITRO_TRY(fn(user, &block->attn.proj, rows));
        VITRO_TRY(fn(user, &block->mlp.fc1, rows));
        VITRO_TRY(fn(user, &block->mlp.fc2, rows));
    }
    if (cfg->global_pool == VITRO_POOL_MAP && !head_only)
        VITRO_TRY(each_of_pool(&p->pool.attn, T, fn, user));
    if (cfg->representation_size)
        VITRO_TRY(fn(user, &p->pre_logits, 1));
    if (cfg->num_classes)
        VITRO_TRY(fn(user, &p->head, 1));
    return cfg->num_classes && cfg->distilled ? fn(user, &p->head_dist, 1) : VITRO_OK;
}
