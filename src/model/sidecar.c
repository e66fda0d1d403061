/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files come from strangers as weights do: every field is checked before it is used,
 * unknown ones are left alone, and null is what is not there. */
#include "model/sidecar.h"

#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "ckpt/format.h"
#include "model/card.h"
#include "model/json.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_FILE ((size_t)32 << 20)
#define MAX_SIDE 16384

#define COUNT(names) ((int)(sizeof(names) / sizeof((names)[0])))

/* In the order of VitroFilter. */
static const char *const filter_names[] = {"bilinear", "bicubic", "lanczos",
                                           "box",      "hamming", "nearest"};

/* ---- fields ---------------------------------------------------------------------------------- */

/* Python's None is the same as no entry. */
static void drop_nulls(json_t *object)
{
    const char *key;
    json_t *value;
    void *next;
    json_object_foreach_safe(object, next, key, value) if (json_is_null(value))
        json_object_del(object, key);
}

static VitroStatus take_int(VitroCard *card, json_t *object, const char *key, int least, int *field,
                            uint32_t bit)
{
    bool has;
    VITRO_TRY(vitro_json_int(object, key, least, INT_MAX, field, &has));
    card->config_known |= has ? bit : 0;
    return VITRO_OK;
}

static VitroStatus take_image_size(VitroCard *card, json_t *object, const char *key)
{
    bool has;
    VitroConfig *c = &card->config;
    VITRO_TRY(vitro_json_size(object, key, 1, MAX_SIDE, &c->img_height, &c->img_width, &has));
    card->config_known |= has ? VITRO_CFG_IMG_SIZE : 0;
    return VITRO_OK;
}

static VitroStatus take_patch_size(VitroCard *card, json_t *object)
{
    bool has;
    int height = 0, width = 0;
    VITRO_TRY(vitro_json_size(object, "patch_size", 1, MAX_SIDE, &height, &width, &has));
    if (height != width)
        return vitro_fail(VITRO_E_UNSUPPORTED,
                          "\"patch_size\" is [%d, %d]: only square patches are supported", height,
                          width);
    card->config.patch_size = has ? height : card->config.patch_size;
    card->config_known |= has ? VITRO_CFG_PATCH_SIZE : 0;
    return VITRO_OK;
}

static VitroStatus take_bool(VitroCard *card, json_t *object, const char *key, bool *field,
                             uint32_t bit)
{
    bool has;
    VITRO_TRY(vitro_json_bool(object, key, field, &has));
    card->config_known |= has ? bit : 0;
    return VITRO_OK;
}

static VitroStatus take_real(VitroCard *card, json_t *object, const char *key, double *field,
                             uint32_t bit)
{
    bool has;
    VITRO_TRY(vitro_json_real(object, key, field, &has));
    card->config_known |= has ? bit : 0;
    return VITRO_OK;
}

/* The activations' names in transformers/activations.py and in timm. */
static VitroStatus take_act(VitroCard *card, json_t *object, const char *key)
{
    static const struct {
        const char *name;
        VitroAct act;
    } acts[] = {{"gelu", VITRO_ACT_GELU},
                {"gelu_python", VITRO_ACT_GELU},
                {"gelu_new", VITRO_ACT_GELU_TANH},
                {"gelu_fast", VITRO_ACT_GELU_TANH},
                {"gelu_tanh", VITRO_ACT_GELU_TANH},
                {"gelu_pytorch_tanh", VITRO_ACT_GELU_TANH},
                {"quick_gelu", VITRO_ACT_GELU_QUICK}};
    json_t *value = json_object_get(object, key);
    const char *name = json_string_value(value);
    if (!value)
        return VITRO_OK;
    for (int i = 0; name && i < COUNT(acts); i++)
        if (strcmp(name, acts[i].name) == 0) {
            card->config.act = acts[i].act;
            card->config_known |= VITRO_CFG_ACT;
            return VITRO_OK;
        }
    if (!name)
        return vitro_fail(VITRO_E_FORMAT, "\"%s\" is not a string", key);
    return vitro_fail(VITRO_E_UNSUPPORTED,
                      "\"%s\" is \"%.40s\": gelu, exact or by tanh, and quick_gelu are supported",
                      key, name);
}

/* One number for all channels, or one each. Absent: `fallback` for each. */
static VitroStatus take_channels(float *out, int channels, json_t *object, const char *key,
                                 const double *fallback, bool positive)
{
    json_t *value = json_object_get(object, key);
    bool one = json_is_number(value) || (json_is_array(value) && json_array_size(value) == 1);
    if (!value) {
        for (int c = 0; c < channels; c++)
            out[c] = (float)fallback[c];
        return VITRO_OK;
    }
    if (!one)
        return vitro_json_floats(object, key, out, channels, positive);
    double v = json_number_value(json_is_array(value) ? json_array_get(value, 0) : value);
    if (!isfinite(v) || !isfinite((float)v) || (positive && !((float)v > 0)))
        return vitro_fail(VITRO_E_FORMAT, "\"%s\" is not a %s number", key,
                          positive ? "positive" : "finite");
    for (int c = 0; c < channels; c++)
        out[c] = (float)v;
    return VITRO_OK;
}

static const double imagenet_mean[] = {0.485, 0.456, 0.406}, imagenet_std[] = {0.229, 0.224, 0.225};
static const double half[] = {0.5, 0.5, 0.5};

/* Pictures have 1 or 3 channels; a model of others has no transform. */
static bool has_pictures(const VitroCard *card, int *channels)
{
    *channels = card->config_known & VITRO_CFG_IN_CHANNELS ? card->config.in_channels : 3;
    return *channels == 1 || *channels == 3;
}

/* ---- Hugging Face's config.json -------------------------------------------------------------- */

static bool is_text(json_t *value, const char *const *names, int count)
{
    const char *text = json_string_value(value);
    for (int i = 0; text && i < count; i++)
        if (strcmp(text, names[i]) == 0)
            return true;
    return false;
}

/* transformers gives every configuration names for two classes, unless its author has others. */
static bool is_placeholder(json_t *id2label)
{
    const char *key;
    json_t *value;
    json_object_foreach(id2label, key, value)
    {
        char name[64];
        snprintf(name, sizeof(name), "LABEL_%s", key);
        const char *text = json_string_value(value);
        if (!text || strcmp(text, name) != 0)
            return false;
    }
    return true;
}

static VitroStatus read_hugging_face(VitroCard *card, json_t *root)
{
    VitroConfig *c = &card->config;
    int mlp = 0;
    bool has_mlp;
    VITRO_TRY(take_int(card, root, "hidden_size", 1, &c->embed_dim, VITRO_CFG_EMBED_DIM));
    VITRO_TRY(take_int(card, root, "num_hidden_layers", 1, &c->depth, VITRO_CFG_DEPTH));
    VITRO_TRY(take_int(card, root, "num_attention_heads", 1, &c->num_heads, VITRO_CFG_NUM_HEADS));
    VITRO_TRY(take_int(card, root, "num_channels", 1, &c->in_channels, VITRO_CFG_IN_CHANNELS));
    VITRO_TRY(take_image_size(card, root, "image_size"));
    VITRO_TRY(take_patch_size(card, root));
    VITRO_TRY(take_bool(card, root, "qkv_bias", &c->qkv_bias, VITRO_CFG_QKV_BIAS));
    VITRO_TRY(take_real(card, root, "layer_norm_eps", &c->norm_eps, VITRO_CFG_NORM_EPS));
    VITRO_TRY(take_act(card, root, "hidden_act"));
    VITRO_TRY(take_real(card, root, "mlp_ratio", &c->mlp_ratio, VITRO_CFG_MLP_RATIO));
    VITRO_TRY(vitro_json_int(root, "intermediate_size", 1, INT_MAX, &mlp, &has_mlp));
    if (has_mlp && card->config_known & VITRO_CFG_EMBED_DIM) {
        c->mlp_ratio = vitro_mlp_ratio_of(c->embed_dim, mlp);
        card->config_known |= VITRO_CFG_MLP_RATIO;
    }
    json_t *names = json_object_get(root, "id2label");
    return names && !(json_is_object(names) && is_placeholder(names))
               ? vitro_card_classes_from_json(card, names)
               : VITRO_OK;
}

/* ---- Hugging Face's preprocessor_config.json ------------------------------------------------- */

/* What a field `key` says of a size: N, {"height", "width"}, or {"shortest_edge"}. */
typedef struct Size {
    int height, width; /* 0: not stated */
    int shortest;      /* 0: not stated */
} Size;

static VitroStatus read_size(Size *out, json_t *object, const char *key, bool number_is_shortest)
{
    json_t *value = json_object_get(object, key);
    bool has;
    *out = (Size){0};
    VitroStatus st = VITRO_OK;
    if (json_is_object(value)) {
        VITRO_GOTO(vitro_json_int(value, "height", 1, MAX_SIDE, &out->height, &has));
        VITRO_GOTO(vitro_json_int(value, "width", 1, MAX_SIDE, &out->width, &has));
        VITRO_GOTO(vitro_json_int(value, "shortest_edge", 1, MAX_SIDE, &out->shortest, &has));
        bool both = out->height && out->width, none = !out->height && !out->width;
        if (json_object_get(value, "longest_edge") || (!both && !none) || both == !!out->shortest)
            st = vitro_fail(VITRO_E_UNSUPPORTED,
                            "is neither height and width nor shortest_edge alone");
    } else if (value) {
        VITRO_TRY(vitro_json_size(object, key, 1, MAX_SIDE, &out->height, &out->width, &has));
        if (number_is_shortest && json_is_integer(value))
            *out = (Size){.shortest = out->height};
    }
done:
    return st == VITRO_OK ? st : vitro_fail_prefix(st, "\"%s\"", key);
}

/* The processors whose `size` of one number is that of the shorter side. */
static bool number_is_shortest(json_t *root)
{
    static const char *const names[] = {"CLIPImageProcessor",    "CLIPImageProcessorFast",
                                        "CLIPFeatureExtractor",  "BitImageProcessor",
                                        "BitImageProcessorFast", "ChineseCLIPImageProcessor"};
    return is_text(json_object_get(root, "image_processor_type"), names, COUNT(names)) ||
           is_text(json_object_get(root, "feature_extractor_type"), names, COUNT(names));
}

/* Resize and crop. */
static VitroStatus read_geometry(VitroTransform *t, json_t *root)
{
    static const VitroFilter filters[] = {VITRO_NEAREST, VITRO_LANCZOS, VITRO_BILINEAR,
                                          VITRO_BICUBIC, VITRO_BOX,     VITRO_HAMMING};
    Size size, crop = {0};
    bool has, do_resize = true, do_crop = json_object_get(root, "crop_size") != NULL;
    int code = 2; /* of PIL.Image.Resampling */
    if (json_object_get(root, "crop_pct"))
        return vitro_fail(VITRO_E_UNSUPPORTED, "\"crop_pct\": such a transform is not known here");
    VITRO_TRY(vitro_json_bool(root, "do_resize", &do_resize, &has));
    VITRO_TRY(vitro_json_bool(root, "do_center_crop", &do_crop, &has));
    VITRO_TRY(vitro_json_int(root, "resample", 0, COUNT(filters) - 1, &code, &has));
    VITRO_TRY(read_size(&size, root, "size", number_is_shortest(root)));
    if (do_crop)
        VITRO_TRY(read_size(&crop, root, "crop_size", false));
    if (do_crop && !crop.height)
        return vitro_fail(VITRO_E_FORMAT, "\"crop_size\" lacks height and width");
    if (!size.height && !size.shortest)
        size.height = size.width = 224;
    if (!crop.height && size.shortest)
        return vitro_fail(VITRO_E_UNSUPPORTED, "\"size\" has a shortest_edge and there is no "
                                               "\"crop_size\": pictures would be of many shapes");
    t->rule = size.shortest ? VITRO_RESIZE_SHORT : VITRO_RESIZE_SQUASH;
    t->crop = VITRO_CROP_FLOOR;
    t->filter = filters[code];
    t->resize_height = size.shortest ? size.shortest : size.height;
    t->resize_width = size.shortest ? size.shortest : size.width;
    t->height = crop.height ? crop.height : size.height;
    t->width = crop.height ? crop.width : size.width;
    if (!do_resize) /* pictures of that size are expected; resizing them changes nothing */
        t->keep_exact = true;
    return VITRO_OK;
}

/* x * rescale_factor, (x - mean)/std: as (x/255 - mean')/std'. */
static VitroStatus read_levels(VitroTransform *t, json_t *root)
{
    bool has, do_rescale = true, do_normalize = true;
    double factor = 1.0 / 255;
    VITRO_TRY(vitro_json_bool(root, "do_rescale", &do_rescale, &has));
    VITRO_TRY(vitro_json_bool(root, "do_normalize", &do_normalize, &has));
    VITRO_TRY(vitro_json_real(root, "rescale_factor", &factor, &has));
    VITRO_TRY(take_channels(t->mean, t->channels, root, "image_mean", half, false));
    VITRO_TRY(take_channels(t->std, t->channels, root, "image_std", half, true));
    double scale = do_rescale ? factor * 255 : 255;
    if (!(scale > 1e-6 && scale < 1e6))
        return vitro_fail(VITRO_E_FORMAT, "\"rescale_factor\" is %g, not positive", factor);
    for (int c = 0; c < t->channels; c++) {
        double mean = do_normalize ? (double)t->mean[c] : 0,
               std = do_normalize ? (double)t->std[c] : 1;
        if (fabs(scale - 1) < 1e-9) /* the plain case, and its bits */
            scale = 1;
        t->mean[c] = (float)(mean / scale);
        t->std[c] = (float)(std / scale);
        if (!(t->std[c] > 0) || !isfinite(t->mean[c]) || !isfinite(t->std[c]))
            return vitro_fail(VITRO_E_FORMAT,
                              "\"image_std\"[%d] by \"rescale_factor\" is no number", c);
    }
    return VITRO_OK;
}

static VitroStatus read_preprocessor(VitroCard *card, json_t *root)
{
    VitroTransform t = {0};
    if (!has_pictures(card, &t.channels))
        return VITRO_OK;
    VITRO_TRY(read_geometry(&t, root));
    VITRO_TRY(read_levels(&t, root));
    card->transform = t;
    card->has_transform = true;
    return VITRO_OK;
}

/* ---- timm ------------------------------------------------------------------------------------ */

/* What timm.data.resolve_data_config makes of `object`; `mean` and `std` where it has none. */
static VitroStatus read_timm_transform(VitroCard *card, json_t *object, int height, int width,
                                       double crop_pct, const double *mean, const double *std)
{
    static const char *const modes[] = {"center", "squash", "border"}; /* VitroResizeRule */
    VitroTransform t = {.height = height, .width = width, .filter = VITRO_BICUBIC};
    int mode = VITRO_RESIZE_SHORT, filter = VITRO_BICUBIC;
    bool has;
    if (!has_pictures(card, &t.channels))
        return VITRO_OK;
    VITRO_TRY(vitro_json_real(object, "crop_pct", &crop_pct, &has));
    if (!(crop_pct >= 0.01 && crop_pct <= 1))
        return vitro_fail(VITRO_E_FORMAT, "\"crop_pct\" is %g, not in 0.01..1", crop_pct);
    VITRO_TRY(vitro_json_name(object, "crop_mode", modes, COUNT(modes), &mode, &has));
    VITRO_TRY(
        vitro_json_name(object, "interpolation", filter_names, COUNT(filter_names), &filter, &has));
    VITRO_TRY(take_channels(t.mean, t.channels, object, "mean", mean, false));
    VITRO_TRY(take_channels(t.std, t.channels, object, "std", std, true));
    t.rule = (VitroResizeRule)mode;
    t.filter = (VitroFilter)filter;
    t.crop_pct = crop_pct;
    t.resize_height = (int)floor(height / crop_pct);
    t.resize_width = (int)floor(width / crop_pct);
    card->transform = t;
    card->has_transform = true;
    return VITRO_OK;
}

/* [channels, height, width] */
static VitroStatus read_input_size(VitroCard *card, json_t *object, int *height, int *width)
{
    json_t *value = json_object_get(object, "input_size");
    int dim[3];
    if (!value)
        return VITRO_OK;
    for (size_t i = 0; i < 3; i++) {
        json_t *e = json_array_get(value, i);
        if (json_array_size(value) != 3 || !json_is_integer(e) || json_integer_value(e) < 1 ||
            json_integer_value(e) > MAX_SIDE)
            return vitro_fail(VITRO_E_FORMAT,
                              "\"input_size\" is not [channels, height, width], each in 1..%d",
                              MAX_SIDE);
        dim[i] = (int)json_integer_value(e);
    }
    card->config.in_channels = dim[0];
    card->config_known |= VITRO_CFG_IN_CHANNELS;
    *height = dim[1];
    *width = dim[2];
    return VITRO_OK;
}

/* What no tensor shows and the preset of that name says. */
static void take_preset(VitroCard *card, const char *name)
{
    const uint32_t hidden = VITRO_CFG_NUM_HEADS | VITRO_CFG_NORM_EPS | VITRO_CFG_ACT |
                            VITRO_CFG_GLOBAL_POOL | VITRO_CFG_POOL_INCLUDE_PREFIX;
    for (int i = 0; name && i < vitro_preset_count(); i++) {
        VitroConfig preset;
        if (strcmp(vitro_preset_name(i), name) == 0 &&
            vitro_config_preset(&preset, name) == VITRO_OK) {
            vitro_config_apply(&card->config, &preset, hidden);
            card->config_known |= hidden;
        }
    }
}

static VitroStatus take_pooling(VitroCard *card, json_t *object)
{
    static const char *const names[] = {"token", "avg", "map"}; /* VitroPooling */
    int pool = VITRO_POOL_TOKEN;
    bool has;
    VITRO_TRY(vitro_json_name(object, "global_pool", names, COUNT(names), &pool, &has));
    if (has) {
        card->config.global_pool = (VitroPooling)pool;
        card->config_known |= VITRO_CFG_GLOBAL_POOL;
    }
    return VITRO_OK;
}

/* The switches of timm's constructor; `negated`: our field says the opposite. */
static VitroStatus take_switches(VitroCard *card, json_t *args)
{
    VitroConfig *c = &card->config;
    const struct {
        const char *key;
        bool *field, negated;
        uint32_t bit;
    } all[] = {
        {"qkv_bias", &c->qkv_bias, false, VITRO_CFG_QKV_BIAS},
        {"class_token", &c->no_class_token, true, VITRO_CFG_CLASS_TOKEN},
        {"no_embed_class", &c->no_embed_class, false, VITRO_CFG_NO_EMBED_CLASS},
        {"pool_include_prefix", &c->pool_include_prefix, false, VITRO_CFG_POOL_INCLUDE_PREFIX},
        {"pre_norm", &c->pre_norm, false, VITRO_CFG_PRE_NORM},
        {"final_norm", &c->no_final_norm, true, VITRO_CFG_FINAL_NORM},
        {"fc_norm", &c->fc_norm, false, VITRO_CFG_FC_NORM},
        {"qk_norm", &c->qk_norm, false, VITRO_CFG_QK_NORM},
        {"proj_bias", &c->no_proj_bias, true, VITRO_CFG_PROJ_BIAS}};
    for (int i = 0; i < COUNT(all); i++) {
        bool value = false, has;
        VITRO_TRY(vitro_json_bool(args, all[i].key, &value, &has));
        if (has)
            *all[i].field = value != all[i].negated;
        card->config_known |= has ? all[i].bit : 0;
    }
    return VITRO_OK;
}

/* The constructor's arguments that differ from the architecture's own: object[key]. */
static VitroStatus read_model_args(VitroCard *card, json_t *object, const char *key)
{
    VitroConfig *c = &card->config;
    json_t *args = json_object_get(object, key);
    if (args && !json_is_object(args))
        return vitro_fail(VITRO_E_FORMAT, "\"%s\" is not an object", key);
    drop_nulls(args);
    VITRO_TRY(take_image_size(card, args, "img_size"));
    VITRO_TRY(take_patch_size(card, args));
    VITRO_TRY(take_int(card, args, "in_chans", 1, &c->in_channels, VITRO_CFG_IN_CHANNELS));
    VITRO_TRY(take_int(card, args, "embed_dim", 1, &c->embed_dim, VITRO_CFG_EMBED_DIM));
    VITRO_TRY(take_int(card, args, "depth", 1, &c->depth, VITRO_CFG_DEPTH));
    VITRO_TRY(take_int(card, args, "num_heads", 1, &c->num_heads, VITRO_CFG_NUM_HEADS));
    VITRO_TRY(take_real(card, args, "mlp_ratio", &c->mlp_ratio, VITRO_CFG_MLP_RATIO));
    VITRO_TRY(take_int(card, args, "reg_tokens", 0, &c->reg_tokens, VITRO_CFG_REG_TOKENS));
    VITRO_TRY(take_real(card, args, "init_values", &c->init_values, VITRO_CFG_INIT_VALUES));
    VITRO_TRY(take_pooling(card, args));
    VITRO_TRY(take_switches(card, args));
    return take_act(card, args, "act_layer");
}

/* "label_names": ["n01440764", ...], and perhaps "label_descriptions": {"n01440764": "tench"}. */
static VitroStatus read_labels(VitroCard *card, json_t *names, json_t *descriptions)
{
    if (!names)
        return VITRO_OK;
    if (!json_is_array(names))
        return vitro_fail(VITRO_E_FORMAT, "\"label_names\" is not an array");
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        json_t *said = name ? json_object_get(descriptions, name) : NULL;
        if (json_is_string(said))
            json_array_set(names, i, said);
    }
    return vitro_card_classes_from_json(card, names);
}

static json_t *either(json_t *a, json_t *b, const char *key)
{
    json_t *value = json_object_get(a, key);
    return value ? value : json_object_get(b, key);
}

static VitroStatus read_timm(VitroCard *card, json_t *root)
{
    VitroConfig *c = &card->config;
    json_t *cfg = json_object_get(root, "pretrained_cfg");
    int height = 224, width = 224;
    if (!cfg) /* before timm 0.9 all was in one object */
        cfg = root;
    if (!json_is_object(cfg))
        return vitro_fail(VITRO_E_FORMAT, "\"pretrained_cfg\" is not an object");
    drop_nulls(cfg);
    take_preset(card, json_string_value(either(root, cfg, "architecture")));
    VITRO_TRY(read_input_size(card, cfg, &height, &width));
    VITRO_TRY(take_int(card, json_object_get(root, "num_classes") ? root : cfg, "num_classes", 0,
                       &c->num_classes, VITRO_CFG_NUM_CLASSES));
    VITRO_TRY(take_pooling(card, root));
    VITRO_TRY(read_model_args(card, root, "model_args"));
    if (card->config_known & VITRO_CFG_IMG_SIZE) { /* input_size may be the architecture's */
        height = c->img_height;
        width = c->img_width;
    } else if (json_object_get(cfg, "input_size")) {
        c->img_height = height;
        c->img_width = width;
        card->config_known |= VITRO_CFG_IMG_SIZE;
    }
    json_t *names = either(root, cfg, "label_names");
    VITRO_TRY(read_labels(card, names ? names : json_object_get(cfg, "labels"),
                          either(root, cfg, "label_descriptions")));
    return read_timm_transform(card, cfg, height, width, 0.875, imagenet_mean, imagenet_std);
}

/* ---- the arguments of a training, in a .pth ---------------------------------------------------
 */

/* timm's and DeiT's scripts save their arguments; those of the model's own configuration that were
 * not given are those of its family. */
static VitroStatus read_training(VitroCard *card, json_t *root, bool *used)
{
    json_t *args = json_object_get(root, "args");
    drop_nulls(args);
    const char *name = json_string_value(json_object_get(args, "model"));
    if (!name)
        name = json_string_value(json_object_get(root, "arch"));
    const bool deit = name && strncmp(name, "deit_", 5) == 0;
    int height = 0, width = 0, size = 0;
    bool has;
    *used = name && (deit || strncmp(name, "vit_", 4) == 0) && json_is_object(args);
    if (!*used)
        return VITRO_OK;
    char arch[64]; /* without the tag of its pretrained weights */
    snprintf(arch, sizeof(arch), "%.*s", (int)strcspn(name, "."), name);
    take_preset(card, arch);
    VITRO_TRY(read_model_args(card, args, "model_kwargs"));
    if (json_is_array(json_object_get(args, "input_size")))
        VITRO_TRY(read_input_size(card, args, &height, &width));
    else /* DeiT's is one number */
        VITRO_TRY(vitro_json_int(args, "input_size", 1, MAX_SIDE, &size, &has));
    VITRO_TRY(vitro_json_int(args, "img_size", 1, MAX_SIDE, &size, &has));
    if (!height && size)
        height = width = size;
    if (!height && card->config_known & VITRO_CFG_IMG_SIZE) {
        height = card->config.img_height;
        width = card->config.img_width;
    }
    if (!height)
        return VITRO_OK;
    card->config.img_height = height;
    card->config.img_width = width;
    card->config_known |= VITRO_CFG_IMG_SIZE;
    return read_timm_transform(card, args, height, width, height >= 384 ? 1.0 : 0.9,
                               deit ? imagenet_mean : half, deit ? imagenet_std : half);
}

/* ---- nothing but a naming ------------------------------------------------------------------- */

void vitro_card_assume_transform(VitroCard *card, const VitroCheckpoint *ckpt,
                                 const VitroConfig *cfg, char *note, size_t note_size)
{
    const char *naming = vitro_checkpoint_naming(ckpt);
    const bool torchvision = strcmp(naming, "torchvision") == 0;
    const bool squashed = strcmp(naming, "huggingface") == 0 || strcmp(naming, "flax") == 0;
    note[0] = 0;
    if (card->has_transform || cfg->in_channels != 3 || (!torchvision && !squashed))
        return;
    VitroTransform t = vitro_transform_default(cfg->img_height, cfg->img_width, 3);
    if (squashed) {
        t.rule = VITRO_RESIZE_SQUASH;
        t.crop = VITRO_CROP_FLOOR;
        t.resize_height = t.height;
        t.resize_width = t.width;
    } else {
        for (int c = 0; c < 3; c++) {
            t.mean[c] = (float)imagenet_mean[c];
            t.std[c] = (float)imagenet_std[c];
        }
        if (t.height != 224 || t.width != 224) { /* the weights of SWAG, the only larger ones */
            t.filter = VITRO_BICUBIC;
            t.resize_height = t.height;
            t.resize_width = t.width;
        }
    }
    card->transform = t;
    card->has_transform = true;
    snprintf(
        note, note_size,
        "no transform is in the file: taking that of %s: %s to %dx%d, %s, mean and std %s",
        torchvision ? "torchvision's own weights" : "Google's weights and Hugging Face's ports",
        squashed ? "both sides" : "the shorter side", t.resize_height, t.resize_width,
        t.filter == VITRO_BICUBIC ? "bicubic" : "bilinear", torchvision ? "of ImageNet" : "0.5");
}

/* ---- the files ------------------------------------------------------------------------------- */

/* *out stays NULL where there is no such file. */
static VitroStatus read_file(json_t **out, char **path, const char *dir, const char *name)
{
    VitroBuf text;
    *path = vitro_path_join(dir, name);
    if (!*path)
        return VITRO_NOMEM;
    if (!vitro_fs_is_file(*path))
        return VITRO_OK;
    vitro_buf_init(&text, MAX_FILE);
    VitroStatus st = vitro_fs_read(&text, *path); /* its texts start with the path */
    if (st == VITRO_OK &&
        (st = vitro_json_parse(out, (const char *)text.data, text.len)) != VITRO_OK)
        st = vitro_fail_prefix(st, "%s", *path);
    if (st == VITRO_OK && !json_is_object(*out))
        st = vitro_fail(VITRO_E_FORMAT, "%s: not a JSON object", *path);
    if (st == VITRO_OK)
        drop_nulls(*out);
    vitro_buf_deinit(&text);
    return st;
}

/* *used: it is about a ViT; else the log tells why not. */
static VitroStatus read_config(VitroCard *card, json_t *root, const char *path, bool *used)
{
    static const char *const types[] = {"vit",     "deit",   "vit_mae",
                                        "vit_msn", "dinov2", "dinov2_with_registers"};
    json_t *type = json_object_get(root, "model_type");
    *used = true;
    if (json_object_get(root, "pretrained_cfg") || json_object_get(root, "architecture"))
        return read_timm(card, root);
    if (is_text(type, types, COUNT(types)))
        return read_hugging_face(card, root);
    *used = false;
    vitro_log(VITRO_LOG_WARN, "%s: about no ViT that is known here (model_type %.40s): not used",
              path, json_is_string(type) ? json_string_value(type) : "is missing");
    return VITRO_OK;
}

static VitroStatus note_source(VitroCard *card, const char *name)
{
    char text[256];
    snprintf(text, sizeof(text), "%s%s%s", card->source ? card->source : "",
             card->source ? " and " : "", name);
    char *copy = vitro_strdup(text);
    if (!copy)
        return VITRO_NOMEM;
    vitro_free(card->source);
    card->source = copy;
    return VITRO_OK;
}

static VitroStatus read_files(VitroCard *card, const char *dir)
{
    VitroStatus st;
    json_t *config = NULL, *preprocessor = NULL;
    char *config_path = NULL, *preprocessor_path = NULL;
    bool used = false;
    VITRO_GOTO(read_file(&config, &config_path, dir, "config.json"));
    VITRO_GOTO(read_file(&preprocessor, &preprocessor_path, dir, "preprocessor_config.json"));
    if (config && (st = read_config(card, config, config_path, &used)) != VITRO_OK) {
        st = vitro_fail_prefix(st, "%s", config_path);
        goto done;
    }
    if (used)
        VITRO_GOTO(note_source(card, "config.json"));
    if (!preprocessor || card->has_transform || (config && !used))
        goto done;
    if ((st = read_preprocessor(card, preprocessor)) != VITRO_OK) {
        st = vitro_fail_prefix(st, "%s", preprocessor_path);
        goto done;
    }
    VITRO_GOTO(note_source(card, "preprocessor_config.json"));
done:
    json_decref(config);
    json_decref(preprocessor);
    vitro_free(config_path);
    vitro_free(preprocessor_path);
    return st;
}

static VitroStatus read_inside(VitroCard *card, const VitroCheckpoint *ckpt)
{
    json_t *root = NULL;
    bool used = false;
    VitroStatus st = vitro_json_parse(&root, ckpt->training, strlen(ckpt->training));
    if (st == VITRO_OK)
        st = read_training(card, root, &used);
    json_decref(root);
    if (st == VITRO_OK && used)
        return note_source(card, "its training's arguments");
    return st == VITRO_OK ? st : vitro_fail_prefix(st, "%s: its training's arguments", ckpt->path);
}

VitroStatus vitro_sidecar_read(VitroCard *card, const VitroCheckpoint *ckpt)
{
    char *dir = vitro_path_dir(vitro_checkpoint_path(ckpt));
    if (!dir)
        return VITRO_NOMEM;
    VitroStatus st = read_files(card, dir);
    vitro_free(dir);
    if (st == VITRO_OK && !card->source && ckpt->training)
        st = read_inside(card, ckpt);
    if (st == VITRO_OK && card->source && (st = vitro_card_check(card)) != VITRO_OK)
        st = vitro_fail_prefix(st, "%s: %s", vitro_checkpoint_path(ckpt), card->source);
    return st;
}
