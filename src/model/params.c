/* SPDX-License-Identifier: Apache-2.0 */
#include "model/params.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* Appends a parameter of shape dim[rank] to the table. The slot gets the shape [dim0, rest], or,
 * for what has leading dimensions of 1 or just one dimension, that without them. */
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
    int skip = init == VITRO_INIT_TOKEN ? rank - (dim[rank - 2] == 1 ? 1 : 2) : 0;
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

static void add_block(VitroParams *p, VitroBlockParams *b, VitroDtype t, const VitroConfig *cfg,
                      int i)
{
    int64_t D = cfg->embed_dim, M = vitro_config_mlp_width(cfg);
    char name[32];
#define NAME(part) (snprintf(name, sizeof(name), "blocks.%d." part, i), name)
    add_norm(p, &b->norm1, t, D, NAME("norm1"));
    add_weight(p, &b->attn.qkv, t, 3 * D, D, cfg->qkv_bias, NAME("attn.qkv"));
    add_weight(p, &b->attn.proj, t, D, D, true, NAME("attn.proj"));
    add_norm(p, &b->norm2, t, D, NAME("norm2"));
    add_weight(p, &b->mlp.fc1, t, M, D, true, NAME("mlp.fc1"));
    add_weight(p, &b->mlp.fc2, t, D, M, true, NAME("mlp.fc2"));
#undef NAME
}

VitroStatus vitro_params_init(VitroParams *p, const VitroConfig *cfg, VitroDtype t)
{
    enum { PER_BLOCK = 12, OTHERS = 12 };
    int64_t C = cfg->in_channels, P = cfg->patch_size, D = cfg->embed_dim;
    int64_t R = cfg->representation_size;
    *p = (VitroParams){.depth = cfg->depth};
    p->block = vitro_calloc((size_t)cfg->depth, sizeof(*p->block));
    p->list = vitro_calloc((size_t)cfg->depth * PER_BLOCK + OTHERS, sizeof(*p->list));
    if (!p->block || !p->list) {
        vitro_params_deinit(p);
        return VITRO_NOMEM;
    }
    add(p, &p->embed.cls_token, t, VITRO_INIT_TOKEN, DIMS(1, 1, D), "cls_token");
    add(p, &p->embed.pos_embed, t, VITRO_INIT_TOKEN, DIMS(1, vitro_config_tokens(cfg), D),
        "pos_embed");
    add(p, &p->embed.proj.w, t, VITRO_INIT_CONV, DIMS(D, C, P, P), "patch_embed.proj.weight");
    add(p, &p->embed.proj.b, t, VITRO_INIT_ZERO, DIMS(D), "patch_embed.proj.bias");
    if (cfg->patch_norm)
        add_norm(p, &p->embed.norm, t, D, "patch_embed.norm");
    /* Where pixels come in and classes go out, bytes cost more digits than they save time. */
    p->embed.proj.wide = p->pre_logits.wide = p->head.wide = true;
    p->blocks_first = p->count;
    for (int i = 0; i < cfg->depth; i++)
        add_block(p, &p->block[i], t, cfg, i);
    p->norm_first = p->count;
    add_norm(p, &p->norm, t, D, "norm");
    p->head_first = p->count;
    if (R)
        add_weight(p, &p->pre_logits, t, R, D, true, "pre_logits.fc");
    if (cfg->num_classes)
        add_weight(p, &p->head, t, cfg->num_classes, R ? R : D, true, "head");
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
    VitroTensor w = a->qkv.w, b = a->qkv.b;
    int64_t D = w.dim[1];
    a->q.w = vitro_tensor_part(w, 0, D);
    a->q.b = vitro_tensor_part(b, 0, D);
    a->kv.w = vitro_tensor_part(w, D, 2 * D);
    a->kv.b = vitro_tensor_part(b, D, 2 * D);
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
        n += vitro_param_is_weight(&p->list[i]) ? 0 : padded(p->list[i].slot);
    return n;
}

void vitro_params_place_small(VitroParams *p, VitroTensor flat)
{
    uint8_t *at = flat.data;
    for (int64_t i = 0; i < p->count; i++)
        if (!vitro_param_is_weight(&p->list[i]))
            place(p->list[i].slot, &at);
    split_qkv(&p->block[p->depth - 1].attn);
}

void vitro_params_put_weight(VitroParams *p, const VitroParam *e, void *data)
{
    VitroAttentionParams *last = &p->block[p->depth - 1].attn;
    e->slot->data = data;
    if (e->slot != &last->qkv.w)
        return;
    if (data)
        split_qkv(last);
    else
        last->q.w.data = last->kv.w.data = NULL; /* they keep their shapes */
}

VitroStatus vitro_params_each_weight(VitroParams *p, const VitroConfig *cfg, bool head_only,
                                     VitroWeightFn fn, void *user)
{
    int64_t T = vitro_config_tokens(cfg);
    if (!head_only)
        VITRO_TRY(fn(user, &p->embed.proj, T - 1));
    for (int i = 0; i < cfg->depth && !head_only; i++) {
        VitroBlockParams *block = &p->block[i];
        bool last = i == cfg->depth - 1;
        int64_t rows = last ? 1 : T; /* the class token's, or all */
        if (last) {
            VITRO_TRY(fn(user, &block->attn.q, rows));
            VITRO_TRY(fn(user, &block->attn.kv, T));
        } else {
            VITRO_TRY(fn(user, &block->attn.qkv, rows));
        }
        VITRO_TRY(fn(user, &block->attn.proj, rows));
        VITRO_TRY(fn(user, &block->mlp.fc1, rows));
        VITRO_TRY(fn(user, &block->mlp.fc2, rows));
    }
    if (cfg->representation_size)
        VITRO_TRY(fn(user, &p->pre_logits, 1));
    return cfg->num_classes ? fn(user, &p->head, 1) : VITRO_OK;
}
