/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes cards. What is read comes from strangers: every value is checked here. */
#include "model/card.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "model/json.h"
#include "model/sidecar.h"

#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#define VERSION     1 /* of the card */
#define MAX_CLASSES 10000000
#define MAX_SIDE    16384
#define MAX_RESIZE  1000000
#define MAX_JSON    ((size_t)256 << 20)

void vitro_card_deinit(VitroCard *card)
{
    for (int64_t i = 0; i < card->class_count; i++)
        vitro_free(card->class_names[i]);
    vitro_free(card->class_names);
    vitro_free(card->source);
    *card = (VitroCard){0};
}

VitroStatus vitro_card_set_classes(VitroCard *card, const char *const *names, int64_t count)
{
    char **copy = count ? vitro_calloc((size_t)count, sizeof(*copy)) : NULL;
    if (count && !copy)
        return VITRO_NOMEM;
    VitroCard old = {.class_names = card->class_names, .class_count = card->class_count};
    VitroCard made = {.class_names = copy};
    for (int64_t i = 0; i < count; i++) {
        copy[i] = vitro_strdup(names[i]);
        if (!copy[i]) {
            vitro_card_deinit(&made);
            return VITRO_NOMEM;
        }
        made.class_count++;
    }
    vitro_card_deinit(&old);
    card->class_names = copy;
    card->class_count = count;
    return VITRO_OK;
}

/* ---- writing -----------------------------------------------------------------------------------
 */

static const char *const act_names[] = {"none", "gelu", "gelu_tanh", NULL, "quick_gelu"};
static const char *const pool_names[] = {"token", "avg", "map"};
static const char *const rule_names[] = {"short", "squash", "long"};
static const char *const crop_names[] = {"even", "floor"};
static const char *const filter_names[] = {"bilinear", "bicubic", "lanczos",
                                           "box",      "hamming", "nearest"};
enum {
    RULES = sizeof(rule_names) / sizeof(rule_names[0]),
    CROPS = sizeof(crop_names) / sizeof(crop_names[0]),
    FILTERS = sizeof(filter_names) / sizeof(filter_names[0])
};

/* One number for a square, else [height, width]. */
static json_t *size_to_json(int height, int width)
{
    return height == width ? json_integer(height) : json_pack("[ii]", height, width);
}

/* The arguments that are timm's, of which most models have none: only those that are not 0 are
 * written. Where `negated`, the field says that there is none of what the key names. */
typedef struct Switch {
    const char *key;
    size_t field; /* a bool */
    uint32_t bit;
    bool negated;
} Switch;

static const Switch switches[] = {
    {"pool_include_prefix", offsetof(VitroConfig, pool_include_prefix),
     VITRO_CFG_POOL_INCLUDE_PREFIX, false},
    {"class_token", offsetof(VitroConfig, no_class_token), VITRO_CFG_CLASS_TOKEN, true},
    {"no_embed_class", offsetof(VitroConfig, no_embed_class), VITRO_CFG_NO_EMBED_CLASS, false},
    {"distilled", offsetof(VitroConfig, distilled), VITRO_CFG_DISTILLED, false},
    {"pre_norm", offsetof(VitroConfig, pre_norm), VITRO_CFG_PRE_NORM, false},
    {"final_norm", offsetof(VitroConfig, no_final_norm), VITRO_CFG_FINAL_NORM, true},
    {"fc_norm", offsetof(VitroConfig, fc_norm), VITRO_CFG_FC_NORM, false},
    {"qk_norm", offsetof(VitroConfig, qk_norm), VITRO_CFG_QK_NORM, false},
    {"proj_bias", offsetof(VitroConfig, no_proj_bias), VITRO_CFG_PROJ_BIAS, true},
    {"patch_pre_norm", offsetof(VitroConfig, patch_pre_norm), VITRO_CFG_PATCH_PRE_NORM, false}};
enum { SWITCHES = sizeof(switches) / sizeof(switches[0]) };

/* False: no memory for all of them. */
static bool add_timm_arguments(json_t *object, const VitroConfig *c)
{
    int bad = 0;
    if (c->init_values != 0)
        bad |= json_object_set_new(object, "init_values", json_real(c->init_values));
    if (c->global_pool != VITRO_POOL_TOKEN)
        bad |= json_object_set_new(object, "global_pool", json_string(pool_names[c->global_pool]));
    if (c->reg_tokens)
        bad |= json_object_set_new(object, "reg_tokens", json_integer(c->reg_tokens));
    for (int i = 0; i < SWITCHES; i++)
        if (*(const bool *)((const char *)c + switches[i].field))
            bad |= json_object_set_new(object, switches[i].key, json_boolean(!switches[i].negated));
    return !bad;
}

static json_t *plain_config_to_json(const VitroConfig *c)
{
    return json_pack("{so si si si si si si sf sb sf si sb sf ss sf sf sf}", /* */
                     "img_size", size_to_json(c->img_height, c->img_width), "patch_size",
                     c->patch_size, "in_channels", c->in_channels, "num_classes", c->num_classes,
                     "embed_dim", c->embed_dim, "depth", c->depth, "num_heads", c->num_heads,
                     "mlp_ratio", c->mlp_ratio, "qkv_bias", c->qkv_bias, "qk_scale", c->qk_scale,
                     "representation_size", c->representation_size, "patch_norm", c->patch_norm,
                     "norm_eps", c->norm_eps, "act", act_names[c->act], "drop_ratio", c->drop_ratio,
                     "attn_drop_ratio", c->attn_drop_ratio, "drop_path_ratio", c->drop_path_ratio);
}

static json_t *config_to_json(const VitroConfig *c)
{
    json_t *object = plain_config_to_json(c);
    if (object && !add_timm_arguments(object, c)) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* The double with the fewest digits that still rounds to the float: 0.13, not 0.12999999523162842.
 */
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

static json_t *floats_to_json(const float *values, int count)
{
    json_t *array = json_array();
    for (int i = 0; array && i < count; i++) {
        if (json_array_append_new(array, json_real(shortest(values[i]))) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* "squash" took a number once that meant nothing: a size is two there. */
static json_t *resize_to_json(const VitroTransform *t)
{
    if (t->rule == VITRO_RESIZE_SHORT)
        return size_to_json(t->resize_height, t->resize_width);
    return json_pack("[ii]", t->resize_height ? t->resize_height : t->height,
                     t->resize_width ? t->resize_width : t->width);
}

static json_t *transform_to_json(const VitroTransform *t)
{
    return json_pack("{si si si ss so sf ss ss sb sb so so}", "width", t->width, "height",
                     t->height, "channels", t->channels, "rule", rule_names[t->rule], "resize",
                     resize_to_json(t), "crop_pct", t->crop_pct, "crop", crop_names[t->crop],
                     "interpolation", filter_names[t->filter], "keep_exact", t->keep_exact, "exif",
                     t->exif, "mean", floats_to_json(t->mean, t->channels), "std",
                     floats_to_json(t->std, t->channels));
}

static json_t *classes_to_json(const VitroCard *card)
{
    json_t *array = json_array();
    for (int64_t i = 0; array && i < card->class_count; i++) {
        json_t *name = json_string(card->class_names[i]);
        if (!name || json_array_append_new(array, name) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* Prints a JSON tree and releases it; NULL, or a name that is no UTF-8, is an error. */
static VitroStatus dump(char **out, json_t *root, size_t flags)
{
    if (!root)
        return vitro_fail(VITRO_E_FORMAT,
                          "cannot write JSON: no memory, or a class name is not valid UTF-8");
    char *text = vitro_json_text(root, flags);
    json_decref(root);
    if (!text)
        return VITRO_NOMEM;
    *out = text;
    return VITRO_OK;
}

VitroStatus vitro_card_write(char **out, const VitroConfig *cfg, const VitroCard *card)
{
    json_t *root = json_pack("{ss si so}", "format", "vitro", "version", VERSION, "config",
                             config_to_json(cfg));
    bool ok = root != NULL;
    if (ok && card && card->has_transform)
        ok = json_object_set_new(root, "transform", transform_to_json(&card->transform)) == 0;
    if (ok && card && card->class_count)
        ok = json_object_set_new(root, "classes", classes_to_json(card)) == 0;
    if (!ok) {
        json_decref(root);
        root = NULL;
    }
    return dump(out, root, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
}

VitroStatus vitro_card_write_classes(const VitroCard *card, const char *path)
{
    json_t *root = json_object();
    bool ok = root != NULL;
    for (int64_t i = 0; ok && i < card->class_count; i++) {
        char key[24];
        snprintf(key, sizeof(key), "%lld", (long long)i);
        ok = json_object_set_new(root, key, json_string(card->class_names[i])) == 0;
    }
    if (!ok) {
        json_decref(root);
        root = NULL;
    }
    char *text;
    /* json.dumps(..., indent=4) escapes what is not ASCII, too */
    VITRO_TRY(dump(&text, root, JSON_INDENT(4) | JSON_ENSURE_ASCII));
    VitroStatus st = vitro_fs_replace(path, text, strlen(text));
    vitro_free(text);
    return st;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

static VitroStatus read_config(VitroConfig *c, uint32_t *known, json_t *object)
{
    bool has;
    *known = 0;
    if (!object)
        return VITRO_OK;
    if (!json_is_object(object))
        return vitro_fail(VITRO_E_FORMAT, "\"config\" is not an object");
    /* vitro_config_validate has the ranges; here numbers only have to fit */
    const struct {
        const char *key;
        int *field;
        uint32_t bit;
    } ints[] = {{"patch_size", &c->patch_size, VITRO_CFG_PATCH_SIZE},
                {"in_channels", &c->in_channels, VITRO_CFG_IN_CHANNELS},
                {"num_classes", &c->num_classes, VITRO_CFG_NUM_CLASSES},
                {"embed_dim", &c->embed_dim, VITRO_CFG_EMBED_DIM},
                {"depth", &c->depth, VITRO_CFG_DEPTH},
                {"num_heads", &c->num_heads, VITRO_CFG_NUM_HEADS},
                {"representation_size", &c->representation_size, VITRO_CFG_REPRESENTATION_SIZE},
                {"reg_tokens", &c->reg_tokens, VITRO_CFG_REG_TOKENS}};
    const struct {
        const char *key;
        double *field;
        uint32_t bit;
    } reals[] = {{"mlp_ratio", &c->mlp_ratio, VITRO_CFG_MLP_RATIO},
                 {"qk_scale", &c->qk_scale, VITRO_CFG_QK_SCALE},
                 {"norm_eps", &c->norm_eps, VITRO_CFG_NORM_EPS},
                 {"drop_ratio", &c->drop_ratio, VITRO_CFG_DROP_RATIO},
                 {"attn_drop_ratio", &c->attn_drop_ratio, VITRO_CFG_ATTN_DROP_RATIO},
                 {"drop_path_ratio", &c->drop_path_ratio, VITRO_CFG_DROP_PATH_RATIO},
                 {"init_values", &c->init_values, VITRO_CFG_INIT_VALUES}};
    const struct {
        const char *key;
        bool *field;
        uint32_t bit;
    } bools[] = {{"qkv_bias", &c->qkv_bias, VITRO_CFG_QKV_BIAS},
                 {"patch_norm", &c->patch_norm, VITRO_CFG_PATCH_NORM}};
    VITRO_TRY(vitro_json_size(object, "img_size", 0, INT_MAX, &c->img_height, &c->img_width, &has));
    *known |= has ? VITRO_CFG_IMG_SIZE : 0;
    for (size_t i = 0; i < sizeof(ints) / sizeof(ints[0]); i++) {
        VITRO_TRY(vitro_json_int(object, ints[i].key, 0, INT_MAX, ints[i].field, &has));
        *known |= has ? ints[i].bit : 0;
    }
    for (size_t i = 0; i < sizeof(reals) / sizeof(reals[0]); i++) {
        VITRO_TRY(vitro_json_real(object, reals[i].key, reals[i].field, &has));
        *known |= has ? reals[i].bit : 0;
    }
    for (size_t i = 0; i < sizeof(bools) / sizeof(bools[0]); i++) {
        VITRO_TRY(vitro_json_bool(object, bools[i].key, bools[i].field, &has));
        *known |= has ? bools[i].bit : 0;
    }
    for (int i = 0; i < SWITCHES; i++) {
        bool *field = (bool *)((char *)c + switches[i].field), value = false;
        VITRO_TRY(vitro_json_bool(object, switches[i].key, &value, &has));
        if (has)
            *field = value != switches[i].negated;
        *known |= has ? switches[i].bit : 0;
    }
    int pool = VITRO_POOL_TOKEN;
    VITRO_TRY(vitro_json_name(object, "global_pool", pool_names, 3, &pool, &has));
    c->global_pool = (VitroPooling)pool;
    *known |= has ? VITRO_CFG_GLOBAL_POOL : 0;
    int act = VITRO_ACT_GELU;
    VITRO_TRY(vitro_json_name(object, "act", act_names, 5, &act, &has));
    c->act = (VitroAct)act;
    *known |= has ? VITRO_CFG_ACT : 0;
    return VITRO_OK;
}

static VitroStatus read_transform(VitroTransform *t, json_t *object)
{
    bool has, all = true;
    int rule = 0, filter = 0, crop = 0;
    if (!json_is_object(object))
        return vitro_fail(VITRO_E_FORMAT, "\"transform\" is not an object");
    *t = (VitroTransform){0};
    VITRO_TRY(vitro_json_int(object, "width", 1, MAX_SIDE, &t->width, &has));
    all &= has;
    VITRO_TRY(vitro_json_int(object, "height", 1, MAX_SIDE, &t->height, &has));
    all &= has;
    VITRO_TRY(vitro_json_int(object, "channels", 1, VITRO_MAX_CHANNELS, &t->channels, &has));
    all &= has && t->channels != 2;
    VITRO_TRY(vitro_json_name(object, "rule", rule_names, RULES, &rule, &has));
    all &= has;
    t->rule = (VitroResizeRule)rule;
    VITRO_TRY(vitro_json_size(object, "resize", 0, MAX_RESIZE, &t->resize_height, &t->resize_width,
                              &has));
    if (t->rule == VITRO_RESIZE_SHORT)
        all &= has && t->resize_height > 0 && t->resize_width > 0;
    else if (!json_is_array(json_object_get(object, "resize")))
        t->resize_height = t->resize_width = 0;
    VITRO_TRY(vitro_json_name(object, "interpolation", filter_names, FILTERS, &filter, &has));
    all &= has;
    t->filter = (VitroFilter)filter;
    if (!all)
        return vitro_fail(VITRO_E_FORMAT, "\"transform\" lacks width, height, channels (1 or 3), "
                                          "rule, resize or interpolation");
    VITRO_TRY(vitro_json_real(object, "crop_pct", &t->crop_pct, &has));
    if (!(t->crop_pct >= 0 && t->crop_pct <= 1))
        return vitro_fail(VITRO_E_FORMAT, "\"crop_pct\" is %g, not in [0, 1]", t->crop_pct);
    VITRO_TRY(vitro_json_name(object, "crop", crop_names, CROPS, &crop, &has));
    t->crop = (VitroCropRule)crop;
    VITRO_TRY(vitro_json_bool(object, "keep_exact", &t->keep_exact, &has));
    VITRO_TRY(vitro_json_bool(object, "exif", &t->exif, &has));
    VITRO_TRY(vitro_json_floats(object, "mean", t->mean, t->channels, false));
    return vitro_json_floats(object, "std", t->std, t->channels, true);
}

/* The name of class i in ["a", "b"] or {"0": "a", "1": "b"}; NULL where there is none. */
static const char *class_name(json_t *classes, int64_t i)
{
    if (json_is_array(classes))
        return json_string_value(json_array_get(classes, (size_t)i));
    char key[24];
    snprintf(key, sizeof(key), "%lld", (long long)i);
    return json_string_value(json_object_get(classes, key));
}

VitroStatus vitro_card_classes_from_json(VitroCard *card, json_t *classes)
{
    size_t count = json_is_array(classes) ? json_array_size(classes) : json_object_size(classes);
    if ((!json_is_array(classes) && !json_is_object(classes)) || !count || count > MAX_CLASSES)
        return vitro_fail(VITRO_E_FORMAT,
                          "class names: expected {\"0\": \"name\", ...} or [\"name\", ...]");
    const char **names = vitro_calloc(count, sizeof(*names));
    if (!names)
        return VITRO_NOMEM;
    VitroStatus st = VITRO_OK;
    for (size_t i = 0; i < count && st == VITRO_OK; i++) {
        names[i] = class_name(classes, (int64_t)i);
        if (!names[i])
            st = vitro_fail(VITRO_E_FORMAT, "class names: no name for class %zu of %zu", i, count);
    }
    if (st == VITRO_OK)
        st = vitro_card_set_classes(card, names, (int64_t)count);
    vitro_free(names);
    return st;
}

/* A later version may mean other things by the same names. */
static VitroStatus check_version(json_t *root)
{
    json_t *format = json_object_get(root, "format"), *version = json_object_get(root, "version");
    const char *name = json_string_value(format);
    if (format && (!name || strcmp(name, "vitro") != 0))
        return vitro_fail(VITRO_E_FORMAT, "\"format\" is not \"vitro\"");
    if (version && (!json_is_integer(version) || json_integer_value(version) < 1))
        return vitro_fail(VITRO_E_FORMAT, "\"version\" is no whole number from 1 on");
    if (version && json_integer_value(version) > VERSION)
        return vitro_fail(VITRO_E_UNSUPPORTED, "\"version\" is %lld, at most %d is known",
                          (long long)json_integer_value(version), VERSION);
    return VITRO_OK;
}

/* The parts must tell of one model. Fewer names than classes are no fault: a head may have outputs
 * that its training data did not use. */
VitroStatus vitro_card_check(const VitroCard *card)
{
    const VitroConfig *c = &card->config;
    const VitroTransform *t = &card->transform;
    if (card->has_transform && (card->config_known & VITRO_CFG_IMG_SIZE) &&
        (t->width != c->img_width || t->height != c->img_height))
        return vitro_fail(VITRO_E_FORMAT,
                          "the transform makes pictures of %dx%d (height x width), img_size is "
                          "%dx%d",
                          t->height, t->width, c->img_height, c->img_width);
    if (card->has_transform && (card->config_known & VITRO_CFG_IN_CHANNELS) &&
        t->channels != c->in_channels)
        return vitro_fail(VITRO_E_FORMAT, "the transform makes %d channels, in_channels is %d",
                          t->channels, c->in_channels);
    if ((card->config_known & VITRO_CFG_NUM_CLASSES) && c->num_classes > 0 &&
        card->class_count > c->num_classes)
        return vitro_fail(VITRO_E_FORMAT, "%lld classes have names, num_classes is %d",
                          (long long)card->class_count, c->num_classes);
    return VITRO_OK;
}

static VitroStatus read_card(VitroCard *card, json_t *root)
{
    if (!json_is_object(root))
        return vitro_fail(VITRO_E_FORMAT, "not a JSON object");
    VITRO_TRY(check_version(root));
    VITRO_TRY(read_config(&card->config, &card->config_known, json_object_get(root, "config")));
    json_t *transform = json_object_get(root, "transform");
    if (transform) {
        VITRO_TRY(read_transform(&card->transform, transform));
        card->has_transform = true;
    }
    json_t *classes = json_object_get(root, "classes");
    if (classes)
        VITRO_TRY(vitro_card_classes_from_json(card, classes));
    return vitro_card_check(card);
}

VitroStatus vitro_card_read(VitroCard *out, const VitroCheckpoint *ckpt)
{
    VitroCard card = {0};
    const char *text = vitro_checkpoint_metadata(ckpt);
    if (text) {
        json_t *root = NULL;
        VitroStatus st = vitro_json_parse(&root, text, strlen(text));
        if (st == VITRO_OK)
            st = read_card(&card, root);
        json_decref(root);
        if (st != VITRO_OK) {
            vitro_card_deinit(&card);
            return vitro_fail_prefix(st, "%s: what the file says of itself",
                                     vitro_checkpoint_path(ckpt));
        }
    } else {
        VitroStatus st = vitro_sidecar_read(&card, ckpt);
        if (st != VITRO_OK) {
            vitro_card_deinit(&card);
            return st;
        }
    }
    *out = card;
    return VITRO_OK;
}

VitroStatus vitro_card_read_classes(VitroCard *card, const char *path)
{
    VitroBuf b;
    vitro_buf_init(&b, MAX_JSON);
    json_t *root = NULL;
    VitroStatus st = vitro_fs_read(&b, path);
    if (st == VITRO_OK) {
        st = vitro_json_parse(&root, (const char *)b.data, b.len);
        if (st == VITRO_OK)
            st = vitro_card_classes_from_json(card, root);
        if (st != VITRO_OK)
            st = vitro_fail_prefix(st, "%s", path);
    }
    json_decref(root);
    vitro_buf_deinit(&b);
    return st;
}
