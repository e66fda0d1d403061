/* SPDX-License-Identifier: Apache-2.0 */
/* Presets, validation, and the sizes that follow from a configuration. */
#include "base/status.h"
#include "model/card.h"
#include "vitro/model.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define IN21K_CLASSES 21843
#define IN1K_CLASSES  1000

typedef struct Preset {
    const char *name;
    int side, patch_size, in_channels, num_classes;
    int embed_dim, depth, num_heads;
    bool has_logits;
} Preset;

static const Preset presets[] = {
    /* the original's factories */
    {"vit_base_patch16_224_in21k", 224, 16, 3, IN21K_CLASSES, 768, 12, 12, true},
    {"vit_base_patch32_224_in21k", 224, 32, 3, IN21K_CLASSES, 768, 12, 12, true},
    {"vit_large_patch16_224_in21k", 224, 16, 3, IN21K_CLASSES, 1024, 24, 16, true},
    {"vit_large_patch32_224_in21k", 224, 32, 3, IN21K_CLASSES, 1024, 24, 16, true},
    {"vit_huge_patch14_224_in21k", 224, 14, 3, IN21K_CLASSES, 1280, 32, 16, true},
    {"vit_tiny_patch16_224", 224, 16, 3, IN1K_CLASSES, 192, 12, 3, false},
    {"vit_small_patch16_224", 224, 16, 3, IN1K_CLASSES, 384, 12, 6, false},
    {"vit_base_patch16_224", 224, 16, 3, IN1K_CLASSES, 768, 12, 12, false},
    {"vit_base_patch32_224", 224, 32, 3, IN1K_CLASSES, 768, 12, 12, false},
    {"vit_large_patch16_224", 224, 16, 3, IN1K_CLASSES, 1024, 24, 16, false},
    {"vit_large_patch32_224", 224, 32, 3, IN1K_CLASSES, 1024, 24, 16, false},
    {"vit_huge_patch14_224", 224, 14, 3, IN1K_CLASSES, 1280, 32, 16, false},
    {"vit_tiny_patch4_32", 32, 4, 3, 100, 192, 12, 3, false}, /* CIFAR */
    {"vit_tiny_patch4_28", 28, 4, 1, 10, 192, 12, 3, false},  /* MNIST, Fashion-MNIST */
};

/* What a row of presets.inc says besides numbers. */
enum {
    NO_QKV_BIAS = 1 << 0,
    NO_EMBED_CLASS = 1 << 1,
    PRE_NORM = 1 << 2,
    FC_NORM = 1 << 3,
    INCLUDE_PREFIX = 1 << 4,
    QK_NORM = 1 << 5,
    DISTILLED = 1 << 6,
    NO_CLASS = 1 << 7,
    NO_PROJ_BIAS = 1 << 8,
    NO_FINAL_NORM = 1 << 9,
    AVG = 1 << 10,
    MAP = 1 << 11,
    GELU_TANH = 1 << 12,
    QUICK_GELU = 1 << 13,
    EPS_5 = 1 << 14
};

typedef struct TimmPreset {
    const char *name;
    int side, patch_size, num_classes;
    int embed_dim, depth, num_heads;
    double mlp_ratio, init_values;
    int reg_tokens;
    int flags;
} TimmPreset;

static const TimmPreset timm_presets[] = {
#include "model/presets.inc"
};

enum {
    OWN_COUNT = sizeof(presets) / sizeof(presets[0]),
    TIMM_COUNT = sizeof(timm_presets) / sizeof(timm_presets[0])
};

int vitro_preset_count(void)
{
    return OWN_COUNT + TIMM_COUNT;
}

const char *vitro_preset_name(int i)
{
    if (i < 0 || i >= vitro_preset_count())
        return NULL;
    return i < OWN_COUNT ? presets[i].name : timm_presets[i - OWN_COUNT].name;
}

static VitroConfig preset_config(const Preset *p)
{
    return (VitroConfig){.img_height = p->side,
                         .img_width = p->side,
                         .patch_size = p->patch_size,
                         .in_channels = p->in_channels,
                         .num_classes = p->num_classes,
                         .embed_dim = p->embed_dim,
                         .depth = p->depth,
                         .num_heads = p->num_heads,
                         .mlp_ratio = 4,
                         .qkv_bias = true,
                         .representation_size = p->has_logits ? p->embed_dim : 0,
                         .norm_eps = 1e-6,
                         .act = VITRO_ACT_GELU};
}

static VitroConfig timm_config(const TimmPreset *p)
{
    const int f = p->flags;
    return (VitroConfig){.img_height = p->side,
                         .img_width = p->side,
                         .patch_size = p->patch_size,
                         .in_channels = 3,
                         .num_classes = p->num_classes,
                         .embed_dim = p->embed_dim,
                         .depth = p->depth,
                         .num_heads = p->num_heads,
                         .mlp_ratio = p->mlp_ratio,
                         .qkv_bias = !(f & NO_QKV_BIAS),
                         .norm_eps = f & EPS_5 ? 1e-5 : 1e-6,
                         .act = f & GELU_TANH    ? VITRO_ACT_GELU_TANH
                                : f & QUICK_GELU ? VITRO_ACT_GELU_QUICK
                                                 : VITRO_ACT_GELU,
                         .init_values = p->init_values,
                         .global_pool = f & AVG   ? VITRO_POOL_AVG
                                        : f & MAP ? VITRO_POOL_MAP
                                                  : VITRO_POOL_TOKEN,
                         .pool_include_prefix = f & INCLUDE_PREFIX,
                         .no_class_token = f & NO_CLASS,
                         .reg_tokens = p->reg_tokens,
                         .no_embed_class = f & NO_EMBED_CLASS,
                         .distilled = f & DISTILLED,
                         .pre_norm = f & PRE_NORM,
                         .no_final_norm = f & NO_FINAL_NORM,
                         .fc_norm = f & FC_NORM,
                         .qk_norm = f & QK_NORM,
                         .no_proj_bias = f & NO_PROJ_BIAS};
}

/* Length of the common prefix: the nearest names are those that agree longest. */
static size_t agreement(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] && a[n] == b[n])
        n++;
    return n;
}

/* timm's names may have the tag of their pretrained weights behind a dot. */
static bool is_name(const char *preset, const char *name)
{
    size_t n = strlen(preset);
    return strncmp(preset, name, n) == 0 && (!name[n] || name[n] == '.');
}

VitroStatus vitro_config_preset(VitroConfig *out, const char *name)
{
    const char *nearest = vitro_preset_name(0);
    for (int i = 0; i < vitro_preset_count(); i++) {
        const char *preset = vitro_preset_name(i);
        if (is_name(preset, name)) {
            *out = i < OWN_COUNT ? preset_config(&presets[i])
                                 : timm_config(&timm_presets[i - OWN_COUNT]);
            return VITRO_OK;
        }
        if (agreement(preset, name) > agreement(nearest, name))
            nearest = preset;
    }
    return vitro_fail(VITRO_E_ARG, "no model is named \"%s\"; the nearest is %s", name, nearest);
}

void vitro_config_apply(VitroConfig *cfg, const VitroConfig *from, uint32_t fields)
{
#define APPLY(bit, field)                                                                          \
    if (fields & (bit))                                                                            \
    cfg->field = from->field
    APPLY(VITRO_CFG_IMG_SIZE, img_height);
    APPLY(VITRO_CFG_IMG_SIZE, img_width);
    APPLY(VITRO_CFG_PATCH_SIZE, patch_size);
    APPLY(VITRO_CFG_IN_CHANNELS, in_channels);
    APPLY(VITRO_CFG_NUM_CLASSES, num_classes);
    APPLY(VITRO_CFG_EMBED_DIM, embed_dim);
    APPLY(VITRO_CFG_DEPTH, depth);
    APPLY(VITRO_CFG_NUM_HEADS, num_heads);
    APPLY(VITRO_CFG_MLP_RATIO, mlp_ratio);
    APPLY(VITRO_CFG_QKV_BIAS, qkv_bias);
    APPLY(VITRO_CFG_QK_SCALE, qk_scale);
    APPLY(VITRO_CFG_REPRESENTATION_SIZE, representation_size);
    APPLY(VITRO_CFG_PATCH_NORM, patch_norm);
    APPLY(VITRO_CFG_NORM_EPS, norm_eps);
    APPLY(VITRO_CFG_ACT, act);
    APPLY(VITRO_CFG_DROP_RATIO, drop_ratio);
    APPLY(VITRO_CFG_ATTN_DROP_RATIO, attn_drop_ratio);
    APPLY(VITRO_CFG_DROP_PATH_RATIO, drop_path_ratio);
    APPLY(VITRO_CFG_INIT_VALUES, init_values);
    APPLY(VITRO_CFG_GLOBAL_POOL, global_pool);
    APPLY(VITRO_CFG_POOL_INCLUDE_PREFIX, pool_include_prefix);
    APPLY(VITRO_CFG_CLASS_TOKEN, no_class_token);
    APPLY(VITRO_CFG_REG_TOKENS, reg_tokens);
    APPLY(VITRO_CFG_NO_EMBED_CLASS, no_embed_class);
    APPLY(VITRO_CFG_DISTILLED, distilled);
    APPLY(VITRO_CFG_PRE_NORM, pre_norm);
    APPLY(VITRO_CFG_FINAL_NORM, no_final_norm);
    APPLY(VITRO_CFG_FC_NORM, fc_norm);
    APPLY(VITRO_CFG_QK_NORM, qk_norm);
    APPLY(VITRO_CFG_PROJ_BIAS, no_proj_bias);
    APPLY(VITRO_CFG_PATCH_PRE_NORM, patch_pre_norm);
#undef APPLY
}

static VitroStatus check_int(const char *name, int64_t value, int64_t low, int64_t high)
{
    if (value >= low && value <= high)
        return VITRO_OK;
    return vitro_fail(VITRO_E_ARG, "%s is %" PRId64 ", not in %" PRId64 "..%" PRId64, name, value,
                      low, high);
}

static VitroStatus check_ratio(const char *name, double value)
{
    if (value >= 0 && value < 1) /* also false for NaN */
        return VITRO_OK;
    return vitro_fail(VITRO_E_ARG, "%s is %g, not in [0, 1)", name, value);
}

/* What tokens there are, and what is made of them. */
static VitroStatus check_tokens(const VitroConfig *cfg)
{
    VITRO_TRY(check_int("reg_tokens", cfg->reg_tokens, 0, 65536));
    if (!(cfg->init_values >= -1e6 && cfg->init_values <= 1e6))
        return vitro_fail(VITRO_E_ARG, "init_values is %g, not in [-1e6, 1e6]", cfg->init_values);
    if (cfg->global_pool != VITRO_POOL_TOKEN && cfg->global_pool != VITRO_POOL_AVG &&
        cfg->global_pool != VITRO_POOL_MAP)
        return vitro_fail(VITRO_E_ARG, "global_pool is %d: neither token nor avg nor map",
                          (int)cfg->global_pool);
    if (cfg->global_pool == VITRO_POOL_TOKEN && cfg->no_class_token)
        return vitro_fail(VITRO_E_ARG, "global_pool is token, but there is no class token");
    if (cfg->fc_norm && cfg->no_final_norm)
        return vitro_fail(VITRO_E_ARG, "fc_norm is the final norm, but there is to be none");
    if (cfg->distilled && (cfg->no_class_token || cfg->reg_tokens || cfg->representation_size ||
                           cfg->global_pool != VITRO_POOL_TOKEN))
        return vitro_fail(VITRO_E_ARG, "a distilled model has a class token, no registers, no "
                                       "pre_logits, and its global_pool is token");
    return VITRO_OK;
}

/* So many operations for one image that their number would not fit 64 bits for a batch of them. */
static VitroStatus check_work(const VitroConfig *cfg)
{
    double T = (double)vitro_config_tokens(cfg), D = cfg->embed_dim;
    double per_block = T * D * (4 * D + 2 * (double)vitro_config_mlp_width(cfg)) + 2 * T * T * D;
    double patches = T * D * cfg->in_channels * cfg->patch_size * cfg->patch_size;
    double work = cfg->depth * per_block + patches;
    if (work <= 0x1p50)
        return VITRO_OK;
    return vitro_fail(VITRO_E_ARG,
                      "the model needs %.3g multiply-adds per image (%.0f tokens, embed_dim %d, "
                      "depth %d), more than 2^50",
                      work, T, cfg->embed_dim, cfg->depth);
}

VitroStatus vitro_config_validate(const VitroConfig *cfg)
{
    VITRO_TRY(check_int("img_height", cfg->img_height, 1, 16384));
    VITRO_TRY(check_int("img_width", cfg->img_width, 1, 16384));
    VITRO_TRY(check_int("patch_size", cfg->patch_size, 1,
                        cfg->img_height < cfg->img_width ? cfg->img_height : cfg->img_width));
    VITRO_TRY(check_int("in_channels", cfg->in_channels, 1, 1024));
    VITRO_TRY(check_int("num_classes", cfg->num_classes, 0, 10000000));
    VITRO_TRY(check_int("embed_dim", cfg->embed_dim, 1, 65536));
    VITRO_TRY(check_int("depth", cfg->depth, 1, 1024));
    VITRO_TRY(check_int("num_heads", cfg->num_heads, 1, cfg->embed_dim));
    VITRO_TRY(check_int("representation_size", cfg->representation_size, 0, 1000000));
    if (cfg->embed_dim % cfg->num_heads)
        return vitro_fail(VITRO_E_ARG, "num_heads is %d, which does not divide embed_dim %d",
                          cfg->num_heads, cfg->embed_dim);
    double width = cfg->embed_dim * cfg->mlp_ratio;
    if (!(width >= 1 && width <= 1048576))
        return vitro_fail(VITRO_E_ARG, "mlp_ratio is %g: an MLP %g wide is not in 1..1048576",
                          cfg->mlp_ratio, width);
    if (!(cfg->norm_eps >= 0 && cfg->norm_eps <= 1))
        return vitro_fail(VITRO_E_ARG, "norm_eps is %g, not in [0, 1]", cfg->norm_eps);
    if (!(cfg->qk_scale >= -1e6 && cfg->qk_scale <= 1e6))
        return vitro_fail(VITRO_E_ARG, "qk_scale is %g, not in [-1e6, 1e6]", cfg->qk_scale);
    if (cfg->act != VITRO_ACT_GELU && cfg->act != VITRO_ACT_GELU_TANH &&
        cfg->act != VITRO_ACT_GELU_QUICK)
        return vitro_fail(VITRO_E_ARG, "act is %d: neither gelu nor gelu_tanh nor quick_gelu",
                          (int)cfg->act);
    VITRO_TRY(check_ratio("drop_ratio", cfg->drop_ratio));
    VITRO_TRY(check_ratio("attn_drop_ratio", cfg->attn_drop_ratio));
    VITRO_TRY(check_ratio("drop_path_ratio", cfg->drop_path_ratio));
    VITRO_TRY(check_tokens(cfg));
    return check_work(cfg);
}

int64_t vitro_config_patches(const VitroConfig *cfg)
{
    return (int64_t)(cfg->img_height / cfg->patch_size) * (cfg->img_width / cfg->patch_size);
}

int64_t vitro_config_tokens(const VitroConfig *cfg)
{
    return vitro_config_prefix(cfg) + vitro_config_patches(cfg);
}

int64_t vitro_config_prefix(const VitroConfig *cfg)
{
    return !cfg->no_class_token + cfg->distilled + cfg->reg_tokens;
}

int64_t vitro_config_positions(const VitroConfig *cfg)
{
    return cfg->no_embed_class ? vitro_config_patches(cfg) : vitro_config_tokens(cfg);
}

int64_t vitro_config_mlp_width(const VitroConfig *cfg)
{
    return (int64_t)(cfg->embed_dim * cfg->mlp_ratio); /* Python's int() truncates too */
}

/* A ratio for which (int)(D * ratio) is M again, whatever the rounding. */
double vitro_mlp_ratio_of(int64_t D, int64_t M)
{
    double ratio = (double)M / (double)D;
    while ((int64_t)((double)D * ratio) < M)
        ratio = nextafter(ratio, INFINITY);
    return ratio;
}

int64_t vitro_config_features(const VitroConfig *cfg)
{
    return cfg->representation_size ? cfg->representation_size : cfg->embed_dim;
}

int64_t vitro_config_outputs(const VitroConfig *cfg)
{
    return cfg->num_classes ? cfg->num_classes : vitro_config_features(cfg);
}

VitroFlops vitro_attention_flops(int64_t tokens, int64_t dim, bool proj)
{
    return (VitroFlops){.linear = tokens * dim * (3 * dim + (proj ? dim : 0)),
                        .matmul = 2 * tokens * tokens * dim};
}

/* Attention pooling of n tokens. */
static VitroFlops attn_pool_flops(const VitroConfig *cfg, int64_t n)
{
    int64_t D = cfg->embed_dim, M = vitro_config_mlp_width(cfg);
    return (VitroFlops){
        .linear = 2 * D * D + 2 * n * D * D + 2 * D * M, .matmul = 2 * n * D, .layer_norm = 5 * D};
}

VitroFlops vitro_config_flops(const VitroConfig *cfg)
{
    int64_t N = vitro_config_patches(cfg), T = vitro_config_tokens(cfg), D = cfg->embed_dim;
    int64_t M = vitro_config_mlp_width(cfg), L = cfg->depth, R = cfg->representation_size;
    int64_t features = R ? R : D,
            pixels = (int64_t)cfg->in_channels * cfg->patch_size * cfg->patch_size;
    int64_t heads = cfg->distilled ? 2 : 1;
    int64_t final = cfg->no_final_norm ? 0 : cfg->fc_norm ? 1 : T; /* rows */
    VitroFlops attention = vitro_attention_flops(T, D, true);
    VitroFlops f = {
        .conv = N * D * pixels,
        .linear =
            L * (attention.linear + 2 * T * D * M) + D * R + heads * features * cfg->num_classes,
        .matmul = L * attention.matmul,
        .layer_norm = 5 * D * ((2 * L + cfg->pre_norm) * T + (cfg->patch_norm ? N : 0) + final) +
                      (cfg->qk_norm ? 5 * L * 2 * T * D : 0) +
                      (cfg->patch_pre_norm ? 5 * N * pixels : 0),
    };
    if (cfg->global_pool == VITRO_POOL_MAP) {
        VitroFlops pool = attn_pool_flops(cfg, cfg->pool_include_prefix ? T : N);
        f.linear += pool.linear;
        f.matmul += pool.matmul;
        f.layer_norm += pool.layer_norm;
    }
    return f;
}

int64_t vitro_config_macs(const VitroConfig *cfg)
{
    VitroFlops f = vitro_config_flops(cfg);
    return f.conv + f.linear + f.matmul;
}
