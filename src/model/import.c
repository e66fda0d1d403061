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
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What tensors alone tell. */
typedef struct Shapes {
    int64_t D, C, P;        /* C and P are 0 where the patch embedding is a flat [D,C*P*P] */
    int64_t patch_elements; /* C*P*P */
    int64_t positions;      /* rows of pos_embed */
    int64_t depth, mlp_width, R, K, reg_tokens;
    bool qkv_bias, patch_norm;
    bool has_class, distilled, pre_norm, norm, fc_norm, layer_scale, qk_norm, proj_bias, latent;
    bool patch_pre_norm;
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
    VITRO_TRY(vitro_check_features(ckpt));
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
    VITRO_TRY(need(&t, ckpt, "pos_embed", 3, 3));
    s->positions = t->dim[1];
    if (find(ckpt, "reg_token")) {
        VITRO_TRY(need(&t, ckpt, "reg_token", 3, 3));
        s->reg_tokens = t->dim[1];
    }
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
    const struct {
        bool *there;
        const char *name;
    } shown[] = {{&s->has_class, "cls_token"},
                 {&s->distilled, "dist_token"},
                 {&s->patch_pre_norm, "patch_embed.pre_norm.weight"},
                 {&s->patch_norm, "patch_embed.norm.weight"},
                 {&s->pre_norm, "norm_pre.weight"},
                 {&s->norm, "norm.weight"},
                 {&s->fc_norm, "fc_norm.weight"},
                 {&s->latent, "attn_pool.latent"},
                 {&s->layer_scale, "blocks.0.ls1.gamma"},
                 {&s->qk_norm, "blocks.0.attn.q_norm.weight"},
                 {&s->proj_bias, "blocks.0.attn.proj.bias"}};
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
        *shown[i].there = find(ckpt, shown[i].name) != NULL;
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

static const char *const field_names[] = {"img_size",
                                          "patch_size",
                                          "in_channels",
                                          "num_classes",
                                          "embed_dim",
                                          "depth",
                                          "num_heads",
                                          "mlp_ratio",
                                          "qkv_bias",
                                          "qk_scale",
                                          "representation_size",
                                          "patch_norm",
                                          "norm_eps",
                                          "act",
                                          "drop_ratio",
                                          "attn_drop_ratio",
                                          "drop_path_ratio",
                                          "init_values",
                                          "global_pool",
                                          "pool_include_prefix",
                                          "class_token",
                                          "reg_tokens",
                                          "no_embed_class",
                                          "distilled",
                                          "pre_norm",
                                          "final_norm",
                                          "fc_norm",
                                          "qk_norm",
                                          "proj_bias",
                                          "patch_pre_norm"};

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
    case VITRO_CFG_INIT_VALUES:
        return c->init_values != 0; /* only whether there is LayerScale */
    case VITRO_CFG_GLOBAL_POOL:
        return c->global_pool;
    case VITRO_CFG_POOL_INCLUDE_PREFIX:
        return c->pool_include_prefix;
    case VITRO_CFG_CLASS_TOKEN:
        return !c->no_class_token;
    case VITRO_CFG_REG_TOKENS:
        return c->reg_tokens;
    case VITRO_CFG_NO_EMBED_CLASS:
        return c->no_embed_class;
    case VITRO_CFG_DISTILLED:
        return c->distilled;
    case VITRO_CFG_PRE_NORM:
        return c->pre_norm;
    case VITRO_CFG_FINAL_NORM:
        return !c->no_final_norm;
    case VITRO_CFG_FC_NORM:
        return c->fc_norm;
    case VITRO_CFG_QK_NORM:
        return c->qk_norm;
    case VITRO_CFG_PROJ_BIAS:
        return !c->no_proj_bias;
    case VITRO_CFG_PATCH_PRE_NORM:
        return c->patch_pre_norm;
    default:
        return c->drop_path_ratio;
    }
}

static const char *act_name(double act)
{
    return act == VITRO_ACT_GELU_TANH    ? "gelu_tanh"
           : act == VITRO_ACT_GELU_QUICK ? "quick_gelu"
                                         : "gelu";
}

static VitroStatus refuse_claim(int field, const char *who, double said, const char *against,
                                double is)
{
    uint32_t bit = 1u << field;
    if (bit == VITRO_CFG_ACT)
        return vitro_fail(VITRO_E_ARG, "act %s %s, but %s %s", who, act_name(said), against,
                          act_name(is));
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

/* How many of pos_embed's rows are for patches: all but those of prefix tokens, if these have any.
 * What is known of that decides, then the picture's size, then which of the two numbers is a
 * square. */
static int64_t find_patches(VitroConfig *cfg, const Shapes *s, uint32_t carded,
                            const VitroConfig *given, uint32_t given_fields)
{
    int64_t rest = s->positions - vitro_config_prefix(cfg);
    if ((carded | given_fields) & VITRO_CFG_NO_EMBED_CLASS)
        return cfg->no_embed_class ? s->positions : rest;
    VitroConfig wish = *cfg;
    wish.img_height = given->img_height;
    wish.img_width = given->img_width;
    bool carded_size = carded & VITRO_CFG_IMG_SIZE, wished = given_fields & VITRO_CFG_IMG_SIZE;
    bool shown = (carded_size && has_patches(cfg, s->positions)) ||
                 (!carded_size && wished && has_patches(&wish, s->positions));
    bool hidden = (carded_size && has_patches(cfg, rest)) ||
                  (!carded_size && wished && has_patches(&wish, rest));
    cfg->no_embed_class =
        shown || (!hidden && whole_root(rest) < 1 && whole_root(s->positions) > 0);
    return cfg->no_embed_class ? s->positions : rest;
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
    int64_t patches = find_patches(cfg, s, card->config_known, given, given_fields);
    if (patches < 1)
        return vitro_fail(VITRO_E_FORMAT,
                          "pos_embed has %" PRId64 " rows, and there are %" PRId64
                          " tokens before the patches",
                          s->positions, vitro_config_prefix(cfg));
    return solve_size(cfg, card, given, given_fields, patches);
}

/* ---- what tensors do not show ----------------------------------------------------------------
 */

/* Whether a preset's model has the same tensors, but for the size of pictures and the head. */
static bool has_same_tensors(const VitroConfig *p, const VitroConfig *c)
{
    return p->embed_dim == c->embed_dim && p->depth == c->depth && p->patch_size == c->patch_size &&
           vitro_config_mlp_width(p) == vitro_config_mlp_width(c) && p->qkv_bias == c->qkv_bias &&
           (p->init_values != 0) == (c->init_values != 0) &&
           (p->global_pool == VITRO_POOL_MAP) == (c->global_pool == VITRO_POOL_MAP) &&
           p->no_class_token == c->no_class_token && p->reg_tokens == c->reg_tokens &&
           p->no_embed_class == c->no_embed_class && p->distilled == c->distilled &&
           p->pre_norm == c->pre_norm && p->no_final_norm == c->no_final_norm &&
           p->fc_norm == c->fc_norm && p->qk_norm == c->qk_norm &&
           p->no_proj_bias == c->no_proj_bias && p->patch_norm == c->patch_norm &&
           p->patch_pre_norm == c->patch_pre_norm;
}

/* The i-th preset with these tensors: its name, or NULL. */
static const char *twin(VitroConfig *out, const VitroConfig *cfg, int i)
{
    for (int k = 0; k < vitro_preset_count(); k++)
        if (vitro_config_preset(out, vitro_preset_name(k)) == VITRO_OK &&
            has_same_tensors(out, cfg) && i-- == 0)
            return vitro_preset_name(k);
    return NULL;
}

static int preset_heads(const VitroConfig *cfg)
{
    VitroConfig p;
    if (twin(&p, cfg, 0))
        return p.num_heads;
    for (int i = 0; i < vitro_preset_count(); i++)
        if (vitro_config_preset(&p, vitro_preset_name(i)) == VITRO_OK &&
            p.embed_dim == cfg->embed_dim && p.depth == cfg->depth &&
            p.patch_size == cfg->patch_size)
            return p.num_heads;
    return 0;
}

/* One line for people, made of several remarks. */
typedef struct Note {
    char *text; /* NULL: nobody reads it */
    size_t size;
} Note;

static void remark(const Note *note, const char *fmt, ...) VITRO_PRINTF(2, 3);
static void remark(const Note *note, const char *fmt, ...)
{
    if (!note->text || !note->size)
        return;
    size_t at = strlen(note->text);
    if (at && at + 2 < note->size)
        at += (size_t)snprintf(note->text + at, note->size - at, "; ");
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(note->text + at, note->size - at, fmt, ap);
    va_end(ap);
}

/* `project`: there is attn.proj in a model that with one head would have none (vit-pytorch). */
static VitroStatus guess_heads(VitroConfig *cfg, const Note *note, bool project)
{
    int heads = preset_heads(cfg);
    const char *why = "that of the preset with this width, depth and patch size";
    if (!heads && cfg->embed_dim % 64 == 0) {
        heads = cfg->embed_dim / 64;
        why = "embed_dim / 64";
    }
    if (heads == 1 && project)
        return vitro_fail(VITRO_E_ARG, "the file does not say how many attention heads the model "
                                       "has, but for that it is more than one: state --num-heads");
    if (!heads)
        return vitro_fail(VITRO_E_ARG,
                          "the file does not say how many attention heads the model has, and "
                          "embed_dim %d is no multiple of 64: state --num-heads",
                          cfg->embed_dim);
    cfg->num_heads = heads;
    remark(note, "num_heads is not in the file: taking %d, %s", heads, why);
    return VITRO_OK;
}

/* Epsilon, activation and pooling of timm's model with these tensors, if there is one; where there
 * are several that differ, those of the first, and a remark. */
static void guess_arguments(VitroConfig *cfg, const Note *note, uint32_t known)
{
    VitroConfig first, other;
    const char *name = twin(&first, cfg, 0);
    uint32_t open = (VITRO_CFG_NORM_EPS | VITRO_CFG_ACT | VITRO_CFG_GLOBAL_POOL) & ~known;
    if (!name) {
        if (cfg->pre_norm && (open & VITRO_CFG_NORM_EPS))
            cfg->norm_eps = 1e-5; /* torch's, which all such models take */
        return;
    }
    vitro_config_apply(cfg, &first, open);
    uint32_t differ = 0;
    for (int i = 1; twin(&other, cfg, i); i++)
        differ |= (other.norm_eps != first.norm_eps ? VITRO_CFG_NORM_EPS : 0) |
                  (other.act != first.act ? VITRO_CFG_ACT : 0) |
                  (other.global_pool != first.global_pool ? VITRO_CFG_GLOBAL_POOL : 0);
    differ &= open;
    if (differ)
        remark(note, "the file does not say%s%s%s: taking that of %s, state --model-name",
               differ & VITRO_CFG_NORM_EPS ? " norm_eps" : "", differ & VITRO_CFG_ACT ? " act" : "",
               differ & VITRO_CFG_GLOBAL_POOL ? " global_pool" : "", name);
}

/* What tensors show of timm's arguments. */
static void take_arguments(VitroConfig *cfg, const Shapes *s, uint32_t known)
{
    cfg->no_class_token = !s->has_class;
    cfg->reg_tokens = (int)s->reg_tokens;
    cfg->distilled = s->distilled;
    cfg->patch_norm = s->patch_norm;
    cfg->patch_pre_norm = s->patch_pre_norm;
    cfg->pre_norm = s->pre_norm;
    cfg->no_final_norm = !s->norm && !s->fc_norm;
    cfg->fc_norm = s->fc_norm;
    cfg->qk_norm = s->qk_norm;
    cfg->no_proj_bias = !s->proj_bias;
    if (s->layer_scale && cfg->init_values == 0)
        cfg->init_values = 1e-5; /* what it began with, the tensors no longer show */
    else if (!s->layer_scale)
        cfg->init_values = 0;
    if (s->latent)
        cfg->global_pool = VITRO_POOL_MAP;
    else if (!(known & VITRO_CFG_GLOBAL_POOL))
        cfg->global_pool = !s->has_class || s->fc_norm ? VITRO_POOL_AVG : VITRO_POOL_TOKEN;
}

static VitroStatus combine(VitroConfig *cfg, const Note *note, const Shapes *s,
                           const VitroFamily *family, const VitroCard *card,
                           const VitroConfig *given, uint32_t given_fields)
{
    uint32_t facts = VITRO_CFG_NUM_CLASSES | VITRO_CFG_EMBED_DIM | VITRO_CFG_DEPTH |
                     VITRO_CFG_MLP_RATIO | VITRO_CFG_QKV_BIAS | VITRO_CFG_REPRESENTATION_SIZE |
                     VITRO_CFG_PATCH_NORM | VITRO_CFG_INIT_VALUES | VITRO_CFG_CLASS_TOKEN |
                     VITRO_CFG_REG_TOKENS | VITRO_CFG_DISTILLED | VITRO_CFG_PRE_NORM |
                     VITRO_CFG_FINAL_NORM | VITRO_CFG_FC_NORM | VITRO_CFG_QK_NORM |
                     VITRO_CFG_PROJ_BIAS | VITRO_CFG_PATCH_PRE_NORM;
    uint32_t carded = card->config_known;
    VITRO_TRY(vitro_config_preset(cfg, "vit_base_patch16_224")); /* eps, act, and no dropout */
    cfg->num_heads = 0;
    if (family && **family->map) {
        cfg->norm_eps = family->norm_eps;
        cfg->act = family->act;
    }
    vitro_config_apply(cfg, &card->config, carded);
    vitro_config_apply(cfg, given, given_fields & ~(uint32_t)SIZE_FIELDS);
    if (s->D > 65536 || s->depth > 1024 || s->mlp_width > 1048576 || s->K > 10000000 ||
        s->R > 1000000 || s->reg_tokens > 65536)
        return vitro_fail(VITRO_E_FORMAT, "a model this large is beyond what a ViT can be here");
    cfg->num_classes = (int)s->K;
    cfg->embed_dim = (int)s->D;
    cfg->depth = (int)s->depth;
    cfg->mlp_ratio = vitro_mlp_ratio_of(s->D, s->mlp_width);
    cfg->qkv_bias = s->qkv_bias;
    cfg->representation_size = (int)s->R;
    if (s->latent)
        facts |= VITRO_CFG_GLOBAL_POOL;
    take_arguments(cfg, s, carded | given_fields);
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
        VITRO_TRY(guess_heads(cfg, note, family && strcmp(family->name, "vit-pytorch") == 0));
    /* a card of this library's own says all, and leaves out what is 0 */
    const uint32_t own = VITRO_CFG_NORM_EPS | VITRO_CFG_ACT;
    if (family && !**family->map && (carded & own) != own)
        guess_arguments(cfg, note, carded | given_fields);
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
        st = combine(&cfg, &(Note){note, note_size}, &shapes,
                     vitro_family_named(vitro_checkpoint_naming(ckpt)), card ? card : &no_card,
                     given ? given : &nothing_given, given ? given_fields : 0);
    if (st != VITRO_OK)
        return vitro_fail_prefix(st, "%s", vitro_checkpoint_path(ckpt));
    *out = cfg;
    return VITRO_OK;
}
