/* SPDX-License-Identifier: Apache-2.0 */
/* The geometry of a checkpoint's ViT, read from its tensors' shapes, its card, and what the caller
 * states. Tensors are facts; the card and the caller may add to them, never contradict. */
#include "base/status.h"
#include "model/card.h"
#include "model/keymap.h"
#include "model/names.h"
#include "model/params.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* What tensors alone tell. */
typedef struct Shapes {
    int64_t D, C, P;        /* C and P are 0 where the patch embedding is a flat [D,C*P*P] */
    int64_t patch_elements; /* C*P*P */
    int64_t tokens;         /* T */
    int64_t depth, mlp_width, R, K;
    bool qkv_bias, patch_norm;
} Shapes;

static const VitroTensorInfo *find(const VitroCheckpoint *ckpt, const char *name)
{
    int64_t i = vitro_checkpoint_find(ckpt, name);
    return i < 0 ? NULL : vitro_checkpoint_info(ckpt, i);
}

/* The tensor `name`, which must have one of two ranks. */
static VitroStatus need(const VitroTensorInfo **out, const VitroCheckpoint *ckpt, const char *name,
                        int rank, int or_rank)
{
    const VitroTensorInfo *info = find(ckpt, name);
    if (!info)
        return vitro_refuse_names(ckpt, name);
    char shape[128];
    if (info->rank != rank && info->rank != or_rank)
        return vitro_fail(VITRO_E_FORMAT, "%s has shape %s: %d dimensions were expected", name,
                          vitro_tensor_shape_text(shape, sizeof(shape), info->rank, info->dim),
                          rank);
    for (int i = 0; i < info->rank; i++)
        if (info->dim[i] < 1 || info->dim[i] > INT32_MAX)
            return vitro_fail(VITRO_E_FORMAT, "%s has shape %s: each dimension must be positive",
                              name,
                              vitro_tensor_shape_text(shape, sizeof(shape), info->rank, info->dim));
    *out = info;
    return VITRO_OK;
}

static int64_t count_blocks(const VitroCheckpoint *ckpt)
{
    char name[64];
    for (int64_t n = 0;; n++) {
        snprintf(name, sizeof(name), "blocks.%" PRId64 ".attn.qkv.weight", n);
        if (!find(ckpt, name))
            return n;
    }
}

static VitroStatus read_shapes(Shapes *s, const VitroCheckpoint *ckpt)
{
    const VitroTensorInfo *t;
    *s = (Shapes){0};
    VITRO_TRY(need(&t, ckpt, "patch_embed.proj.weight", 4, 2));
    s->D = t->dim[0];
    s->patch_elements = t->count / s->D;
    if (t->rank == 4) {
        s->C = t->dim[1];
        s->P = t->dim[2];
        if (t->dim[2] != t->dim[3])
            return vitro_fail(VITRO_E_UNSUPPORTED,
                              "patch_embed.proj.weight has patches of %" PRId64 " x %" PRId64
                              " pixels: only square ones are supported",
                              t->dim[2], t->dim[3]);
    }
    VITRO_TRY(need(&t, ckpt, "cls_token", 3, 3));
    VITRO_TRY(need(&t, ckpt, "pos_embed", 3, 3));
    s->tokens = t->dim[1];
    s->depth = count_blocks(ckpt);
    VITRO_TRY(need(&t, ckpt, "blocks.0.attn.qkv.weight", 2, 2));
    if (t->dim[0] != 3 * s->D)
        return vitro_fail(VITRO_E_UNSUPPORTED,
                          "blocks.0.attn.qkv.weight has %" PRId64 " rows: the width of q, k and v "
                          "must be the tokens' %" PRId64,
                          t->dim[0], s->D);
    VITRO_TRY(need(&t, ckpt, "blocks.0.mlp.fc1.weight", 2, 2));
    s->mlp_width = t->dim[0];
    s->qkv_bias = find(ckpt, "blocks.0.attn.qkv.bias") != NULL;
    s->patch_norm = find(ckpt, "patch_embed.norm.weight") != NULL;
    if (find(ckpt, "pre_logits.fc.weight")) {
        VITRO_TRY(need(&t, ckpt, "pre_logits.fc.weight", 2, 2));
        s->R = t->dim[0];
    }
    if (find(ckpt, "head.weight")) {
        VITRO_TRY(need(&t, ckpt, "head.weight", 2, 2));
        s->K = t->dim[0];
    }
    return VITRO_OK;
}

static int64_t whole_root(int64_t n)
{
    int64_t r = (int64_t)llround(sqrt((double)n));
    return r * r == n ? r : -1;
}

/* ---- what is known, from whom ---------------------------------------------------------------- */

static const char *const field_names[] = {
    "img_size",       "patch_size", "in_channels",         "num_classes",
    "embed_dim",      "depth",      "num_heads",           "mlp_ratio",
    "qkv_bias",       "qk_scale",   "representation_size", "patch_norm",
    "norm_eps",       "act",        "drop_ratio",          "attn_drop_ratio",
    "drop_path_ratio"};

enum {
    FIELD_COUNT = sizeof(field_names) / sizeof(field_names[0]),
    /* dropout is a choice of the training at hand: no contradiction with how the file was trained;
     * what is said of the image's size is held against the grid */
    FREE_FIELDS = VITRO_CFG_DROP_RATIO | VITRO_CFG_ATTN_DROP_RATIO | VITRO_CFG_DROP_PATH_RATIO |
                  VITRO_CFG_IMG_SIZE,
    /* What may be given to be made so (vitro_checkpoint_set_size). Until then it helps where the
     * file leaves a question. */
    SIZE_FIELDS = VITRO_CFG_IMG_SIZE | VITRO_CFG_PATCH_SIZE
};

static double field_value(const VitroConfig *c, uint32_t bit)
{
    switch (bit) {
    case VITRO_CFG_PATCH_SIZE:
        return c->patch_size;
    case VITRO_CFG_IN_CHANNELS:
        return c->in_channels;
    case VITRO_CFG_NUM_CLASSES:
        return c->num_classes;
    case VITRO_CFG_EMBED_DIM:
        return c->embed_dim;
    case VITRO_CFG_DEPTH:
        return c->depth;
    case VITRO_CFG_NUM_HEADS:
        return c->num_heads;
    case VITRO_CFG_MLP_RATIO:
        return (double)vitro_config_mlp_width(c); /* only the width counts */
    case VITRO_CFG_QKV_BIAS:
        return c->qkv_bias;
    case VITRO_CFG_QK_SCALE:
        return c->qk_scale;
    case VITRO_CFG_REPRESENTATION_SIZE:
        return c->representation_size;
    case VITRO_CFG_PATCH_NORM:
        return c->patch_norm;
    case VITRO_CFG_NORM_EPS:
        return c->norm_eps;
    case VITRO_CFG_ACT:
        return c->act;
    case VITRO_CFG_DROP_RATIO:
        return c->drop_ratio;
    case VITRO_CFG_ATTN_DROP_RATIO:
        return c->attn_drop_ratio;
    default:
        return c->drop_path_ratio;
    }
}

static VitroStatus refuse_claim(int field, const char *who, double said, const char *against,
                                double is)
{
    uint32_t bit = 1u << field;
    if (bit == VITRO_CFG_ACT)
        return vitro_fail(VITRO_E_ARG, "act %s %s, but %s %s", who,
                          said == VITRO_ACT_GELU ? "gelu" : "gelu_tanh", against,
                          is == VITRO_ACT_GELU ? "gelu" : "gelu_tanh");
    const char *name = bit == VITRO_CFG_MLP_RATIO ? "the MLP's width" : field_names[field];
    return vitro_fail(VITRO_E_ARG, "%s %s %.9g, but %s %.9g", name, who, said, against, is);
}

/* Every field that `claims` states and `cfg` already has for a fact must agree. */
static VitroStatus check_claims(const VitroConfig *cfg, uint32_t facts, const VitroConfig *claims,
                                uint32_t stated, const char *who, const char *against)
{
    VitroConfig claimed = *claims;
    if (!(stated & VITRO_CFG_EMBED_DIM))
        claimed.embed_dim = cfg->embed_dim; /* the MLP's width needs it */
    for (int i = 0; i < FIELD_COUNT; i++) {
        uint32_t bit = 1u << i;
        if (!(facts & stated & bit & ~(uint32_t)FREE_FIELDS))
            continue;
        double is = field_value(cfg, bit), said = field_value(&claimed, bit);
        if (is != said)
            return refuse_claim(i, who, said, against, is);
    }
    return VITRO_OK;
}

/* Whether an image of cfg's size has as many patches. */
static bool has_patches(const VitroConfig *cfg, int64_t patches)
{
    int64_t P = cfg->patch_size;
    return (cfg->img_height / P) * (cfg->img_width / P) == patches;
}

/* The image's size, which the tensors show but for remainders if the grid is square. */
static VitroStatus solve_size(VitroConfig *cfg, const VitroCard *card, const VitroConfig *given,
                              uint32_t given_fields, int64_t patches)
{
    VitroConfig wish = *cfg;
    wish.img_height = given->img_height;
    wish.img_width = given->img_width;
    bool wished = (given_fields & VITRO_CFG_IMG_SIZE) && has_patches(&wish, patches);
    int64_t side = whole_root(patches);
    const char *source = card->source;
    if (card->config_known & VITRO_CFG_IMG_SIZE) {
        if (has_patches(cfg, patches))
            return VITRO_OK;
        return vitro_fail(VITRO_E_ARG,
                          "img_size is in %s %dx%d, with a grid of %dx%d patches, "
                          "but its pos_embed is for %" PRId64 " patches",
                          source ? source : "the file's metadata", cfg->img_height, cfg->img_width,
                          cfg->img_height / cfg->patch_size, cfg->img_width / cfg->patch_size,
                          patches);
    }
    /* A square number of patches is taken for a square, unless another one is given. */
    if (wished && (side < 1 || given->img_height == given->img_width)) {
        *cfg = wish;
        return VITRO_OK;
    }
    if (side < 1)
        return vitro_fail(VITRO_E_ARG,
                          "pos_embed is for %" PRId64 " patches, which is no square number: state "
                          "the picture's height and width in the file, --img-size HxW",
                          patches);
    cfg->img_height = cfg->img_width = (int)(side * cfg->patch_size);
    return VITRO_OK;
}

/* Patch size, channels and image size: what a flat patch embedding hides is taken from the card, or
 * from what is given. */
static VitroStatus solve_geometry(VitroConfig *cfg, const Shapes *s, const VitroCard *card,
                                  const VitroConfig *given, uint32_t given_fields)
{
    int64_t C = s->C, P = s->P;
    uint32_t carded = card->config_known, known = carded | given_fields;
    if (!P) {
        if (carded & VITRO_CFG_PATCH_SIZE)
            P = cfg->patch_size;
        else if (given_fields & VITRO_CFG_PATCH_SIZE)
            P = given->patch_size;
        C = known & VITRO_CFG_IN_CHANNELS ? cfg->in_channels : P ? s->patch_elements / (P * P) : 3;
        if (!P)
            P = C > 0 ? whole_root(s->patch_elements / C) : -1;
        if (C < 1 || P < 1 || C * P * P != s->patch_elements)
            return vitro_fail(VITRO_E_ARG,
                              "patch_embed.proj.weight is flat, with %" PRId64
                              " elements a patch: state --patch-size and --in-channels",
                              s->patch_elements);
    }
    cfg->in_channels = (int)C;
    cfg->patch_size = (int)P;
    return solve_size(cfg, card, given, given_fields, s->tokens - 1);
}

static int preset_heads(const VitroConfig *cfg)
{
    for (int i = 0; i < vitro_preset_count(); i++) {
        VitroConfig p;
        if (vitro_config_preset(&p, vitro_preset_name(i)) == VITRO_OK &&
            p.embed_dim == cfg->embed_dim && p.depth == cfg->depth &&
            p.patch_size == cfg->patch_size)
            return p.num_heads;
    }
    return 0;
}

static VitroStatus guess_heads(VitroConfig *cfg, char *note, size_t note_size)
{
    int heads = preset_heads(cfg);
    const char *why = "that of the preset with this width, depth and patch size";
    if (!heads && cfg->embed_dim % 64 == 0) {
        heads = cfg->embed_dim / 64;
        why = "embed_dim / 64";
    }
    if (!heads)
        return vitro_fail(VITRO_E_ARG,
                          "the file does not say how many attention heads the model has, and "
                          "embed_dim %d is no multiple of 64: state --num-heads",
                          cfg->embed_dim);
    cfg->num_heads = heads;
    if (note && note_size)
        snprintf(note, note_size, "num_heads is not in the file: taking %d, %s", heads, why);
    return VITRO_OK;
}

static VitroStatus combine(VitroConfig *cfg, char *note, size_t note_size, const Shapes *s,
                           const VitroFamily *family, const VitroCard *card,
                           const VitroConfig *given, uint32_t given_fields)
{
    uint32_t facts = VITRO_CFG_NUM_CLASSES | VITRO_CFG_EMBED_DIM | VITRO_CFG_DEPTH |
                     VITRO_CFG_MLP_RATIO | VITRO_CFG_QKV_BIAS | VITRO_CFG_REPRESENTATION_SIZE |
                     VITRO_CFG_PATCH_NORM;
    uint32_t carded = card->config_known;
    VITRO_TRY(vitro_config_preset(cfg, "vit_base_patch16_224")); /* eps, act, and no dropout */
    cfg->num_heads = 0;
    if (family)
        cfg->norm_eps = family->norm_eps;
    vitro_config_apply(cfg, &card->config, carded);
    vitro_config_apply(cfg, given, given_fields & ~(uint32_t)SIZE_FIELDS);
    if (s->D > 65536 || s->depth > 1024 || s->mlp_width > 1048576 || s->K > 10000000 ||
        s->R > 1000000)
        return vitro_fail(VITRO_E_FORMAT, "a model this large is beyond what a ViT can be here");
    cfg->num_classes = (int)s->K;
    cfg->embed_dim = (int)s->D;
    cfg->depth = (int)s->depth;
    cfg->mlp_ratio = vitro_mlp_ratio_of(s->D, s->mlp_width);
    cfg->qkv_bias = s->qkv_bias;
    cfg->representation_size = (int)s->R;
    cfg->patch_norm = s->patch_norm;
    VITRO_TRY(solve_geometry(cfg, s, card, given, given_fields));
    given_fields &= ~(uint32_t)SIZE_FIELDS;
    facts |= VITRO_CFG_PATCH_SIZE | VITRO_CFG_IN_CHANNELS;
    char card_says[288], card_has[288];
    snprintf(card_says, sizeof(card_says), "is in %s",
             card->source ? card->source : "the file's metadata");
    snprintf(card_has, sizeof(card_has), "in %s it is",
             card->source ? card->source : "the file's metadata");
    VITRO_TRY(check_claims(cfg, facts, &card->config, carded, card_says, "in its tensors it is"));
    VITRO_TRY(check_claims(cfg, facts, given, given_fields, "was given as",
                           "in the file's tensors it is"));
    VITRO_TRY(check_claims(&card->config, carded, given, given_fields, "was given as", card_has));
    if (!((carded | given_fields) & VITRO_CFG_NUM_HEADS))
        VITRO_TRY(guess_heads(cfg, note, note_size));
    return vitro_config_validate(cfg);
}

VitroStatus vitro_config_from_checkpoint(VitroConfig *out, char *note, size_t note_size,
                                         const VitroCheckpoint *ckpt, const VitroCard *card,
                                         const VitroConfig *given, uint32_t given_fields)
{
    static const VitroCard no_card;
    VitroConfig cfg, nothing_given = {0};
    Shapes shapes;
    if (note && note_size)
        note[0] = 0;
    VitroStatus st = read_shapes(&shapes, ckpt);
    if (st == VITRO_OK)
        st = combine(&cfg, note, note_size, &shapes,
                     vitro_family_named(vitro_checkpoint_naming(ckpt)), card ? card : &no_card,
                     given ? given : &nothing_given, given ? given_fields : 0);
    if (st != VITRO_OK)
        return vitro_fail_prefix(st, "%s", vitro_checkpoint_path(ckpt));
    *out = cfg;
    return VITRO_OK;
}
