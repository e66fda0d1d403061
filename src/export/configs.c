/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON files that transformers and timm read beside a weight file. */
#include "base/alloc.h"
#include "base/json.h"
#include "base/fs.h"
#include "base/log.h"
#include "export/names.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- JSON ------------------------------------------------------------------------------------ */

/* The double with the fewest digits that rounds to the float. */
static double shortest(float value)
{
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    return strtod(text, NULL);
}

/* The tree, or where a part of it could not be added nothing. */
static json_t *if_whole(json_t *root, int bad)
{
    if (!bad)
        return root;
    json_decref(root);
    return NULL;
}

static json_t *floats(const float *values, int count)
{
    json_t *array = json_array();
    int bad = 0;
    for (int i = 0; i < count; i++)
        bad |= json_array_append_new(array, json_real(shortest(values[i])));
    return if_whole(array, bad);
}

/* Writes the tree as dir/name and releases it. NULL, or text that is no UTF-8, is an error. */
static VitroStatus write_json(const char *dir, const char *name, json_t *root)
{
    char *dump = root ? vitro_json_text(root, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    char *text = dump ? vitro_asprintf("%s\n", dump) : NULL, *path = vitro_path_join(dir, name);
    VitroStatus st = VITRO_E_NOMEM;
    if (!root)
        st = vitro_fail(VITRO_E_FORMAT, "%s: no memory, or a class name is not valid UTF-8", name);
    else if (text && path)
        st = vitro_fs_replace(path, text, strlen(text));
    json_decref(root);
    vitro_free(dump);
    vitro_free(text);
    vitro_free(path);
    return st;
}

static const char *class_name(char room[32], const VitroCard *card, int64_t i)
{
    if (card && i < card->class_count)
        return card->class_names[i];
    snprintf(room, 32, "LABEL_%lld", (long long)i); /* as transformers does */
    return room;
}

/* ---- what both cannot say -------------------------------------------------------------------- */

/* What no tensor of `c` betrays. */
static const char *missing_feature(const VitroConfig *c, VitroNaming naming)
{
    const bool torchvision = naming == VITRO_NAMES_TORCHVISION, timm = naming == VITRO_NAMES_TIMM;
    const struct {
        bool there;
        const char *name;
    } features[] = {{!timm && c->global_pool != VITRO_POOL_TOKEN, "global_pool avg or map"},
                    {!timm && c->no_class_token, "class_token false"},
                    {!timm && c->no_embed_class, "no_embed_class"},
                    {!timm && c->pre_norm, "pre_norm"},
                    {!timm && c->no_final_norm, "final_norm false"},
                    {!timm && c->no_proj_bias, "proj_bias false"},
                    {!timm && c->distilled, "a distillation token"},
                    {torchvision && !c->qkv_bias, "qkv_bias false"},
                    {torchvision && c->act != VITRO_ACT_GELU, "another activation than gelu"},
                    {timm && c->patch_pre_norm, "patch_pre_norm"}};
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
        if (features[i].there)
            return features[i].name;
    return NULL;
}

static VitroStatus check(const VitroConfig *cfg, VitroNaming naming)
{
    const char *library = vitro_naming_library(naming), *missing = missing_feature(cfg, naming);
    const double scale = 1 / sqrt((double)cfg->embed_dim / cfg->num_heads);
    if (missing)
        return vitro_fail(VITRO_E_UNSUPPORTED, "%s has no place for %s", library, missing);
    if (cfg->qk_scale != 0 && fabs(cfg->qk_scale - scale) > 1e-9 * scale)
        return vitro_fail(VITRO_E_UNSUPPORTED, "%s has no place for qk_scale %g: it takes %g",
                          library, cfg->qk_scale, scale);
    if (naming != VITRO_NAMES_HUGGINGFACE && cfg->norm_eps != 1e-6)
        vitro_log(VITRO_LOG_WARN, "%s: norm_eps will be 1e-06, this model has %g", library,
                  cfg->norm_eps);
    return VITRO_OK;
}

/* The card's transform, or what takes its place here too. A picture that is taken as it is where it
 * fits must come through a resize to that size unchanged. */
static VitroTransform transform_of(const VitroConfig *cfg, const VitroCard *card)
{
    VitroTransform t = card && card->has_transform
                           ? card->transform
                           : vitro_transform_default(cfg->img_height, cfg->img_width,
                                                     cfg->in_channels == 1 ? 1 : 3);
    if (t.keep_exact || !t.resize_height || !t.resize_width) {
        t.resize_height = t.height;
        t.resize_width = t.width;
    }
    return t;
}

/* ---- transformers ---------------------------------------------------------------------------- */

static json_t *image_size(const VitroConfig *cfg)
{
    if (cfg->img_height == cfg->img_width)
        return json_integer(cfg->img_height);
    return json_pack("[i,i]", cfg->img_height, cfg->img_width);
}

static json_t *hf_config(const VitroConfig *cfg, const VitroCard *card)
{
    static const char *const acts[] = {
        [VITRO_ACT_GELU] = "gelu", [VITRO_ACT_GELU_TANH] = "gelu_pytorch_tanh"};
    json_t *id2label = json_object(), *label2id = json_object();
    char room[32], key[24];
    int bad = 0;
    for (int64_t i = 0; i < cfg->num_classes; i++) {
        const char *name = class_name(room, card, i);
        snprintf(key, sizeof(key), "%lld", (long long)i);
        bad |= json_object_set_new(id2label, key, json_string(name));
        bad |= json_object_set_new(label2id, name, json_integer(i));
    }
    id2label = if_whole(id2label, bad); /* json_pack refuses what is not there */
    return json_pack(
        "{s:[s], s:s, s:i, s:i, s:i, s:I, s:s, s:f, s:f, s:f, s:f, s:o, s:i, s:i, s:b, s:o, s:o}",
        "architectures", "ViTForImageClassification", "model_type", "vit", "hidden_size",
        cfg->embed_dim, "num_hidden_layers", cfg->depth, "num_attention_heads", cfg->num_heads,
        "intermediate_size", (json_int_t)vitro_config_mlp_width(cfg), "hidden_act", acts[cfg->act],
        "hidden_dropout_prob", 0.0, "attention_probs_dropout_prob", 0.0, "initializer_range", 0.02,
        "layer_norm_eps", cfg->norm_eps, "image_size", image_size(cfg), "patch_size",
        cfg->patch_size, "num_channels", cfg->in_channels, "qkv_bias", cfg->qkv_bias, "id2label",
        id2label, "label2id", label2id);
}

static json_t *hf_preprocessor(const VitroTransform *t)
{
    static const int pillow[] = {[VITRO_BILINEAR] = 2, [VITRO_BICUBIC] = 3, [VITRO_LANCZOS] = 1,
                                 [VITRO_BOX] = 4,      [VITRO_HAMMING] = 5, [VITRO_NEAREST] = 0};
    const bool squash = t->rule == VITRO_RESIZE_SQUASH;
    const bool crop = t->resize_height != t->height || t->resize_width != t->width;
    json_t *size = squash
                       ? json_pack("{si si}", "height", t->resize_height, "width", t->resize_width)
                       : json_pack("{si}", "shortest_edge", t->resize_height);
    json_t *root =
        json_pack("{ss sb so si sb sf sb so so}", "image_processor_type",
                  squash && !crop ? "ViTImageProcessor" : "CLIPImageProcessor", "do_resize", true,
                  "size", size, "resample", pillow[t->filter], "do_rescale", true, "rescale_factor",
                  1.0 / 255, "do_normalize", true, "image_mean", floats(t->mean, t->channels),
                  "image_std", floats(t->std, t->channels));
    int bad = 0;
    if (crop || !squash) {
        bad |= json_object_set_new(root, "do_center_crop", json_true());
        bad |= json_object_set_new(root, "crop_size",
                                   json_pack("{si si}", "height", t->height, "width", t->width));
    }
    bad |= json_object_set_new(root, "do_convert_rgb", json_boolean(t->channels == 3));
    return if_whole(root, bad);
}

static VitroStatus write_hf(const char *dir, const VitroConfig *cfg, const VitroCard *card)
{
    const VitroTransform t = transform_of(cfg, card);
    if (t.rule == VITRO_RESIZE_LONG)
        return vitro_fail(VITRO_E_UNSUPPORTED,
                          "Hugging Face's preprocessors do not resize by the longer side with a "
                          "border: state --transform hf or --crop-mode center");
    if (t.rule == VITRO_RESIZE_SHORT && t.resize_height != t.resize_width)
        return vitro_fail(VITRO_E_UNSUPPORTED,
                          "Hugging Face's preprocessors do not resize to cover %dx%d pixels: state "
                          "--transform hf",
                          t.resize_height, t.resize_width);
    VITRO_TRY(write_json(dir, "config.json", hf_config(cfg, card)));
    return write_json(dir, "preprocessor_config.json", hf_preprocessor(&t));
}

/* ---- timm ------------------------------------------------------------------------------------ */

/* The entry of timm's list that is nearest; what differs from it stands in model_args. */
static const char *timm_entry(const VitroConfig *cfg)
{
    static const struct {
        const char *name;
        int width, depth, heads, patch;
    } entries[] = {
        {"vit_tiny_patch16_224", 192, 12, 3, 16},    {"vit_small_patch16_224", 384, 12, 6, 16},
        {"vit_small_patch32_224", 384, 12, 6, 32},   {"vit_base_patch32_224", 768, 12, 12, 32},
        {"vit_large_patch16_224", 1024, 24, 16, 16}, {"vit_large_patch32_224", 1024, 24, 16, 32},
        {"vit_huge_patch14_224", 1280, 32, 16, 14}};
    if (cfg->distilled)
        return "deit_base_distilled_patch16_224"; /* another class of timm's */
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
        if (entries[i].width == cfg->embed_dim && entries[i].depth == cfg->depth &&
            entries[i].heads == cfg->num_heads && entries[i].patch == cfg->patch_size)
            return entries[i].name;
    return "vit_base_patch16_224";
}

/* The share with the fewest digits for which timm's floor(side / share) is what the transform
 * resizes to. */
static double crop_pct(const VitroTransform *t)
{
    const double exact = (double)t->height / t->resize_height;
    for (double unit = 10; unit < 1e15; unit *= 10) {
        const double share = floor(exact * unit) / unit;
        if (share > 0 && floor(t->height / share) == t->resize_height &&
            floor(t->width / share) == t->resize_width)
            return share;
    }
    return exact;
}

/* The ratio with the fewest digits for which int(D * ratio) is the MLP's width. */
static double mlp_ratio(const VitroConfig *cfg)
{
    char text[32];
    for (int digits = 1; digits < 16; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, cfg->mlp_ratio);
        const double ratio = strtod(text, NULL);
        if ((int64_t)(cfg->embed_dim * ratio) == vitro_config_mlp_width(cfg))
            return ratio;
    }
    return cfg->mlp_ratio;
}

static json_t *timm_pretrained(const VitroConfig *cfg, const VitroTransform *t)
{
    static const char *const modes[] = {"center", "squash", "border"};
    static const char *const filters[] = {"bilinear", "bicubic", "lanczos",
                                          "box",      "hamming", "nearest"};
    return json_pack(
        "{s:b, s:[i,i,i], s:b, s:s, s:f, s:s, s:o, s:o, s:i, s:n, s:s, s:s}", "custom_load", false,
        "input_size", cfg->in_channels, cfg->img_height, cfg->img_width, "fixed_input_size", true,
        "interpolation", filters[t->filter], "crop_pct", crop_pct(t), "crop_mode", modes[t->rule],
        "mean", floats(t->mean, t->channels), "std", floats(t->std, t->channels), "num_classes",
        cfg->num_classes, "pool_size", "first_conv", "patch_embed.proj", "classifier", "head");
}

static const char *pooling_name(const VitroConfig *cfg)
{
    static const char *const names[] = {"token", "avg", "map"};
    return names[cfg->global_pool];
}

static json_t *timm_args(const VitroConfig *cfg)
{
    static const char *const acts[] = {[VITRO_ACT_GELU] = "gelu",
                                       [VITRO_ACT_GELU_TANH] = "gelu_tanh",
                                       [VITRO_ACT_GELU_QUICK] = "quick_gelu"};
    json_t *args =
        json_pack("{s:o, s:i, s:i, s:i, s:i, s:i, s:f, s:b, s:s}", "img_size", image_size(cfg),
                  "patch_size", cfg->patch_size, "in_chans", cfg->in_channels, "embed_dim",
                  cfg->embed_dim, "depth", cfg->depth, "num_heads", cfg->num_heads, "mlp_ratio",
                  mlp_ratio(cfg), "qkv_bias", cfg->qkv_bias, "act_layer", acts[cfg->act]);
    const struct {
        bool there;
        const char *name;
        json_t *value;
    } others[] = {{cfg->patch_norm, "embed_norm_layer", json_string("layernorm")},
                  {cfg->init_values != 0, "init_values", json_real(cfg->init_values)},
                  {true, "global_pool", json_string(pooling_name(cfg))},
                  {cfg->pool_include_prefix, "pool_include_prefix", json_true()},
                  {cfg->no_class_token, "class_token", json_false()},
                  {cfg->reg_tokens > 0, "reg_tokens", json_integer(cfg->reg_tokens)},
                  {cfg->no_embed_class, "no_embed_class", json_true()},
                  {cfg->pre_norm, "pre_norm", json_true()},
                  {cfg->no_final_norm, "final_norm", json_false()},
                  {true, "fc_norm", json_boolean(cfg->fc_norm)},
                  {cfg->qk_norm, "qk_norm", json_true()},
                  {cfg->no_proj_bias, "proj_bias", json_false()}};
    int bad = 0;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (others[i].there)
            bad |= json_object_set(args, others[i].name, others[i].value);
        json_decref(others[i].value);
    }
    return if_whole(args, bad);
}

static VitroStatus write_timm(const char *dir, const VitroConfig *cfg, const VitroCard *card)
{
    const VitroTransform t = transform_of(cfg, card);
    json_t *root =
        json_pack("{s:s, s:i, s:i, s:s, s:o, s:o}", "architecture", timm_entry(cfg), "num_classes",
                  cfg->num_classes, "num_features", cfg->embed_dim, "global_pool", "token",
                  "pretrained_cfg", timm_pretrained(cfg, &t), "model_args", timm_args(cfg));
    if (root && card && card->class_count) {
        json_t *names = json_array();
        int bad = 0;
        for (int64_t i = 0; i < card->class_count; i++)
            bad |= json_array_append_new(names, json_string(card->class_names[i]));
        bad |= json_object_set_new(root, "label_names", names);
        root = if_whole(root, bad);
    }
    return write_json(dir, "config.json", root);
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* A config.json that belongs to another file must not be lost. */
static VitroStatus check_beside(const char *dir, const char *path)
{
    char *config = vitro_path_join(dir, "config.json");
    if (!config)
        return VITRO_NOMEM;
    VitroStatus st = VITRO_OK;
    if (vitro_fs_is_file(config) && !vitro_fs_is_file(path))
        st = vitro_fail(VITRO_E_ARG,
                        "%s: belongs to another model: %s needs a folder of its own for its "
                        "config.json",
                        config, vitro_path_name(path));
    vitro_free(config);
    return st;
}

VitroStatus vitro_export_weights(const VitroCheckpoint *ckpt, const char *path,
                                 VitroCheckpointFormat format, const VitroDtype *floats,
                                 VitroNaming naming, const VitroConfig *cfg, const VitroCard *card)
{
    const bool beside = naming == VITRO_NAMES_TIMM || naming == VITRO_NAMES_HUGGINGFACE;
    if (floats && *floats != VITRO_F32 && *floats != VITRO_F16 && *floats != VITRO_BF16)
        return vitro_fail(VITRO_E_ARG, "%s: floats can become F32, F16 or BF16, not %s", path,
                          vitro_dtype_name(*floats));
    VITRO_TRY(vitro_config_validate(cfg));
    VitroCard whole = card ? *card : (VitroCard){0}; /* its strings stay the caller's */
    if (!whole.has_transform && (cfg->in_channels == 1 || cfg->in_channels == 3)) {
        whole.transform =
            vitro_transform_default(cfg->img_height, cfg->img_width, cfg->in_channels);
        whole.has_transform = true;
    }
    if (naming != VITRO_NAMES_VITRO)
        VITRO_TRY(check(cfg, naming));
    char *dir = vitro_path_dir(path);
    VitroStatus st = dir ? VITRO_OK : VITRO_NOMEM;
    if (st == VITRO_OK && beside)
        st = check_beside(dir, path);
    if (st == VITRO_OK)
        st = vitro_names_write(ckpt, path, format, floats, naming, cfg, &whole);
    if (st == VITRO_OK && beside)
        st = naming == VITRO_NAMES_TIMM ? write_timm(dir, cfg, &whole) : write_hf(dir, cfg, &whole);
    vitro_free(dir);
    return st;
}
