/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files of other libraries. Small models as transformers and timm saved them, from
 * the picture to the logits, at their own size and at others
 * (tests/golden/make_config_fixtures.py); and what files say that no library wrote. */
#include "base/alloc.h"
#include "base/fs.h"
#include "ckpt/format.h"
#include "harness/temp.h"
#include "model/card.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROOT "tests/golden/configs/"

static char *dir;

static void ok(VitroStatus st)
{
    if (st != VITRO_OK)
        fail_msg("%s: %s", vitro_status_name(st), vitro_last_error());
}

/* ---- what the libraries give ------------------------------------------------------------------
 */

/* Picture to logits [K], as a program does it that is told nothing but the file. */
static void predict(float *logits, const char *weights, int height, int width, const char *picture,
                    int K)
{
    VitroDevice *dev;
    VitroCheckpoint *ckpt;
    VitroCard card;
    VitroConfig cfg;
    VitroModel *model;
    VitroPredictor *predictor;
    VitroImage image = {0};
    char path[256], note[256];
    snprintf(path, sizeof(path), ROOT "%s", weights);
    ok(vitro_device_open(&dev, NULL));
    ok(vitro_checkpoint_open(&ckpt, path));
    ok(vitro_card_read(&card, ckpt));
    ok(vitro_checkpoint_adopt_names(ckpt, NULL));
    ok(vitro_config_from_checkpoint(&cfg, note, sizeof(note), ckpt, &card, NULL, 0));
    assert_string_equal(note, ""); /* the heads are no guess */
    assert_true(card.has_transform);
    if (height) {
        ok(vitro_checkpoint_set_size(ckpt, &cfg, height, width, 0, vitro_pos_embed_rule_of(ckpt),
                                     note, sizeof(note)));
        vitro_transform_set_size(&card.transform, height, width);
    }
    assert_int_equal(card.transform.height, cfg.img_height);
    assert_int_equal(card.transform.width, cfg.img_width);
    assert_int_equal(vitro_config_outputs(&cfg), K);
    ok(vitro_model_open(&model, dev, &cfg, ckpt, NULL, NULL));
    ok(vitro_predictor_create(&predictor, model, 1));
    snprintf(path, sizeof(path), "tests/golden/image/%s", picture);
    ok(vitro_image_read(&image, path, 3, false));
    float *input = malloc(sizeof(float) * 3 * (size_t)cfg.img_height * (size_t)cfg.img_width);
    assert_non_null(input);
    ok(vitro_transform_apply(input, &image, &card.transform));
    ok(vitro_predictor_run(predictor, input, 1, logits));
    free(input);
    vitro_image_deinit(&image);
    vitro_predictor_free(predictor);
    vitro_model_free(model);
    vitro_card_deinit(&card);
    vitro_checkpoint_close(ckpt);
    vitro_device_close(dev);
}

static double spread(const float *v, int n)
{
    double mean = 0, sum = 0;
    for (int i = 0; i < n; i++)
        mean += (double)v[i] / n;
    for (int i = 0; i < n; i++)
        sum += ((double)v[i] - mean) * ((double)v[i] - mean);
    return sqrt(sum / n);
}

static void models_give_their_logits(void **state)
{
    (void)state;
    FILE *f = fopen(ROOT "expected.txt", "r");
    assert_non_null(f);
    char weights[64], picture[64];
    int height, width, K, cases = 0;
    assert_int_equal(fscanf(f, "#%*[^\n]"), 0);
    while (fscanf(f, "%63s %d %d %63s %d", weights, &height, &width, picture, &K) == 5) {
        float wanted[8], found[8] = {NAN, NAN, NAN};
        assert_true(K > 0 && K <= 8);
        for (int i = 0; i < K; i++)
            assert_int_equal(fscanf(f, "%f", &wanted[i]), 1);
        predict(found, weights, height, width, picture, K);
        for (int i = 0; i < K; i++)
            if (!(fabs((double)found[i] - (double)wanted[i]) <= 5e-5 * spread(wanted, K)))
                fail_msg("%s at %dx%d: logit %d is %.9g, not %.9g", weights, height, width, i,
                         (double)found[i], (double)wanted[i]);
        cases++;
    }
    fclose(f);
    assert_true(cases >= 11);
}

static void read_card(VitroCard *card, const char *path)
{
    VitroCheckpoint *ckpt;
    ok(vitro_checkpoint_open(&ckpt, path));
    ok(vitro_card_read(card, ckpt));
    vitro_checkpoint_close(ckpt);
}

static void names_come_along(void **state)
{
    (void)state;
    VitroCard card;
    read_card(&card, ROOT "hf/model.safetensors");
    assert_string_equal(card.source, "config.json and preprocessor_config.json");
    assert_int_equal(card.class_count, 3);
    assert_string_equal(card.class_names[2], "a bird");
    vitro_card_deinit(&card);
    read_card(&card, ROOT "timm");
    assert_string_equal(card.source, "config.json");
    assert_int_equal(card.class_count, 3);
    assert_string_equal(card.class_names[0], "tench");
    assert_string_equal(card.class_names[1], "n02"); /* it has no description */
    assert_true(fabs(card.transform.crop_pct - 0.9) < 1e-12);
    vitro_card_deinit(&card);
    read_card(&card, ROOT "training.pth");
    assert_string_equal(card.source, "its training's arguments");
    assert_int_equal(card.transform.filter, VITRO_BILINEAR);
    assert_int_equal(card.transform.resize_width, 40);
    vitro_card_deinit(&card);
}

/* ---- what files may say -----------------------------------------------------------------------
 */

static void write(const char *name, const char *text)
{
    vt_write(dir, name, text, strlen(text));
}

/* A checkpoint without a word of its own, beside config.json and preprocessor_config.json (NULL:
 * none). */
static VitroStatus read_beside(VitroCard *card, const char *config, const char *preprocessor)
{
    static const float value;
    const VitroTensorSource t = {"x", VITRO_F32, 1, {1}, &value};
    char *path = vitro_path_join(dir, "model.safetensors");
    char *paths[] = {vitro_path_join(dir, "config.json"),
                     vitro_path_join(dir, "preprocessor_config.json")};
    remove(paths[0]);
    remove(paths[1]);
    ok(vitro_checkpoint_write(path, VITRO_FORMAT_SAFETENSORS, &t, 1, NULL));
    if (config)
        write("config.json", config);
    if (preprocessor)
        write("preprocessor_config.json", preprocessor);
    VitroCheckpoint *ckpt;
    ok(vitro_checkpoint_open(&ckpt, path));
    VitroStatus st = vitro_card_read(card, ckpt);
    vitro_checkpoint_close(ckpt);
    vitro_free(path);
    vitro_free(paths[0]);
    vitro_free(paths[1]);
    return st;
}

#define VIT(fields) "{\"model_type\": \"vit\", " fields "}"
#define TIMM(fields)                                                                               \
    "{\"architecture\": \"vit_tiny_patch16_224\", \"pretrained_cfg\": {" fields "}}"

static void fields_are_understood(void **state)
{
    (void)state;
    VitroCard card;
    ok(read_beside(&card, NULL, NULL));
    assert_null(card.source);
    assert_int_equal(card.config_known, 0);
    ok(read_beside(&card, VIT("\"hidden_size\": 12, \"intermediate_size\": 31, \"qkv_bias\": null"),
                   NULL));
    assert_int_equal(card.config_known, VITRO_CFG_EMBED_DIM | VITRO_CFG_MLP_RATIO);
    assert_int_equal((int)(12 * card.config.mlp_ratio), 31);
    assert_false(card.has_transform);
    vitro_card_deinit(&card);
    /* one number was the form of old files: the side of a square, but for CLIP and its kin */
    ok(read_beside(&card, NULL,
                   "{\"size\": 40, \"feature_extractor_type\": \"ViTFeatureExtractor\"}"));
    assert_int_equal(card.transform.rule, VITRO_RESIZE_SQUASH);
    assert_int_equal(card.transform.height, 40);
    assert_int_equal(card.transform.width, 40);
    vitro_card_deinit(&card);
    ok(read_beside(&card, NULL,
                   "{\"size\": 40, \"crop_size\": 32, \"image_processor_type\": "
                   "\"CLIPImageProcessor\", \"do_center_crop\": true}"));
    assert_int_equal(card.transform.rule, VITRO_RESIZE_SHORT);
    assert_int_equal(card.transform.crop, VITRO_CROP_FLOOR);
    assert_int_equal(card.transform.resize_height, 40);
    assert_int_equal(card.transform.height, 32);
    vitro_card_deinit(&card);
    ok(read_beside(&card, NULL,
                   "{\"size\": {\"shortest_edge\": 40}, \"crop_size\": {\"height\": 30,"
                   " \"width\": 20}, \"resample\": 0, \"do_rescale\": false}"));
    assert_int_equal(card.transform.width, 20);
    assert_int_equal(card.transform.filter, VITRO_NEAREST);
    assert_true(fabsf(card.transform.mean[0] - 0.5f / 255) < 1e-9f);
    vitro_card_deinit(&card);
    /* no crop after all */
    ok(read_beside(&card, NULL, "{\"size\": 40, \"crop_size\": 32, \"do_center_crop\": false}"));
    assert_int_equal(card.transform.height, 40);
    vitro_card_deinit(&card);
    /* timm's defaults, and its older form */
    ok(read_beside(&card, TIMM("\"input_size\": [3, 32, 48]"), NULL));
    assert_int_equal(card.config.num_heads, 3);
    assert_int_equal(card.config.img_width, 48);
    assert_int_equal(card.transform.resize_width, 54); /* floor(48/0.875) */
    assert_int_equal(card.transform.filter, VITRO_BICUBIC);
    assert_true(card.transform.mean[0] == 0.485f);
    vitro_card_deinit(&card);
    ok(read_beside(&card,
                   "{\"architecture\": \"x\", \"input_size\": [1, 28, 28], \"mean\": [0.5],"
                   " \"std\": 0.25, \"labels\": [\"a\"]}",
                   NULL));
    assert_int_equal(card.transform.channels, 1);
    assert_true(card.transform.std[0] == 0.25f);
    assert_int_equal(card.class_count, 1);
    vitro_card_deinit(&card);
    ok(read_beside(
        &card,
        "{\"architecture\": \"x\", \"global_pool\": \"avg\", \"model_args\": "
        "{\"class_token\": false, \"reg_tokens\": 4, \"init_values\": 1e-5, "
        "\"no_embed_class\": true, \"act_layer\": \"quick_gelu\", \"final_norm\": true}}",
        NULL));
    assert_int_equal(card.config.global_pool, VITRO_POOL_AVG);
    assert_true(card.config.no_class_token && card.config.no_embed_class);
    assert_false(card.config.no_final_norm);
    assert_int_equal(card.config.reg_tokens, 4);
    assert_int_equal(card.config.act, VITRO_ACT_GELU_QUICK);
    assert_int_equal(card.config_known, VITRO_CFG_GLOBAL_POOL | VITRO_CFG_CLASS_TOKEN |
                                            VITRO_CFG_REG_TOKENS | VITRO_CFG_INIT_VALUES |
                                            VITRO_CFG_NO_EMBED_CLASS | VITRO_CFG_ACT |
                                            VITRO_CFG_FINAL_NORM);
    vitro_card_deinit(&card);
    /* not our concern */
    ok(read_beside(&card, "{\"model_type\": \"bert\", \"hidden_size\": \"?\"}", "{\"size\": -1}"));
    assert_null(card.source);
    assert_int_equal(card.config_known, 0);
    ok(read_beside(&card, "{}", NULL));
    assert_null(card.source);
    /* names that transformers made up */
    ok(read_beside(&card, VIT("\"id2label\": {\"0\": \"LABEL_0\", \"1\": \"LABEL_1\"}"), NULL));
    assert_int_equal(card.class_count, 0);
    vitro_card_deinit(&card);
}

static void bad_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *config, *preprocessor, *word;
    } bad[] = {
        {"", NULL, "config.json"},
        {"[]", NULL, "not a JSON object"},
        {"{\"model_type\": \"vit\"", NULL, "line 1"},
        {"{\"model_type\": \"vit\", \"model_type\": \"vit\"}", NULL, "duplicate"},
        {VIT("\"hidden_size\": \"768\""), NULL, "hidden_size"},
        {VIT("\"hidden_size\": 0"), NULL, "hidden_size"},
        {VIT("\"hidden_size\": 1e3"), NULL, "hidden_size"},
        {VIT("\"num_attention_heads\": 99999999999"), NULL, "num_attention_heads"},
        {VIT("\"image_size\": [224]"), NULL, "image_size"},
        {VIT("\"image_size\": [224, 224, 3]"), NULL, "image_size"},
        {VIT("\"image_size\": 1000000"), NULL, "image_size"},
        {VIT("\"patch_size\": [16, 8]"), NULL, "patch_size"},
        {VIT("\"layer_norm_eps\": \"1e-12\""), NULL, "layer_norm_eps"},
        {VIT("\"hidden_act\": \"relu\""), NULL, "relu"},
        {VIT("\"hidden_act\": [\"gelu\"]"), NULL, "hidden_act"},
        {VIT("\"qkv_bias\": 1"), NULL, "qkv_bias"},
        {VIT("\"id2label\": {\"0\": \"a\", \"2\": \"b\"}"), NULL, "class 1"},
        {VIT("\"id2label\": {\"0\": 5}"), NULL, "class 0"},
        {VIT("\"id2label\": \"cat\""), NULL, "class names"},
        {NULL, "{\"size\": 0}", "size"},
        {NULL, "{\"size\": {\"height\": 4}}", "size"},
        {NULL, "{\"size\": {\"shortest_edge\": 4}}", "many shapes"},
        {NULL, "{\"size\": {\"shortest_edge\": 4, \"longest_edge\": 9}}", "size"},
        {NULL, "{\"size\": {}}", "size"},
        {NULL, "{\"size\": 40, \"do_center_crop\": true}", "crop_size"},
        {NULL, "{\"size\": 40, \"crop_size\": {\"shortest_edge\": 3}}", "crop_size"},
        {NULL, "{\"size\": 40, \"crop_pct\": 0.9}", "crop_pct"},
        {NULL, "{\"resample\": 6}", "resample"},
        {NULL, "{\"resample\": \"bicubic\"}", "resample"},
        {NULL, "{\"image_mean\": [0.5, 0.5]}", "image_mean"},
        {NULL, "{\"image_std\": [0.5, 0, 0.5]}", "image_std"},
        {NULL, "{\"image_std\": -1}", "image_std"},
        {NULL, "{\"rescale_factor\": 0}", "rescale_factor"},
        {NULL, "{\"rescale_factor\": 1e300}", "rescale_factor"},
        {NULL, "{\"do_rescale\": \"yes\"}", "do_rescale"},
        {VIT("\"num_channels\": 1"), "{\"image_mean\": [0.5, 0.5, 0.5]}", "image_mean"},
        {VIT("\"image_size\": 32"), "{\"size\": 48}", "img_size is 32x32"},
        {"{\"architecture\": \"x\", \"pretrained_cfg\": 5}", NULL, "pretrained_cfg"},
        {TIMM("\"input_size\": [224, 224]"), NULL, "input_size"},
        {TIMM("\"input_size\": [3, 224, 0]"), NULL, "input_size"},
        {TIMM("\"crop_pct\": 0"), NULL, "crop_pct"},
        {TIMM("\"crop_pct\": 1.5"), NULL, "crop_pct"},
        {TIMM("\"crop_mode\": \"corner\""), NULL, "crop_mode"},
        {TIMM("\"interpolation\": \"random\""), NULL, "interpolation"},
        {TIMM("\"mean\": [0.5, 0.5, 1e999]"), NULL, "line 1"},
        {TIMM("\"std\": [0.5, \"a\", 0.5]"), NULL, "std"},
        {TIMM("\"label_names\": {\"a\": 1}"), NULL, "label_names"},
        {TIMM("\"label_names\": [\"a\", 1]"), NULL, "class 1"},
        {TIMM("\"num_classes\": 1, \"label_names\": [\"a\", \"b\"]"), NULL, "num_classes is 1"},
        {"{\"architecture\": \"x\", \"model_args\": []}", NULL, "model_args"},
        {"{\"architecture\": \"x\", \"global_pool\": \"avgmax\"}", NULL, "global_pool"},
        {"{\"architecture\": \"x\", \"model_args\": {\"class_token\": 0}}", NULL, "class_token"},
        {"{\"architecture\": \"x\", \"model_args\": {\"depth\": -1}}", NULL, "depth"},
        {"{\"architecture\": \"x\", \"model_args\": {\"act_layer\": \"silu\"}}", NULL, "silu"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        VitroCard card = {0};
        const char *text = bad[i].config ? bad[i].config : bad[i].preprocessor;
        VitroStatus st = read_beside(&card, bad[i].config, bad[i].preprocessor);
        if (st != VITRO_E_FORMAT && st != VITRO_E_UNSUPPORTED)
            fail_msg("case %d gives %s: %s", (int)i, vitro_status_name(st), text);
        if (!strstr(vitro_last_error(), bad[i].word) || !strstr(vitro_last_error(), dir))
            fail_msg("case %d, %s: %s", (int)i, text, vitro_last_error());
        assert_null(card.class_names);
        assert_null(card.source);
    }
}

/* Every allocation may fail: nothing leaks, and nothing is taken for a fault of the file. */
static void no_memory(void **state)
{
    (void)state;
    VitroCard card = {0};
    VitroStatus st = VITRO_E_NOMEM;
    VitroCheckpoint *ckpt;
    ok(vitro_checkpoint_open(&ckpt, ROOT "hf"));
    for (uint64_t n = 1; st != VITRO_OK; n++) {
        assert_true(n < 1000);
        vitro_alloc_fail_at(n);
        st = vitro_card_read(&card, ckpt);
        vitro_alloc_fail_at(0);
        assert_true(st == VITRO_OK || st == VITRO_E_NOMEM);
    }
    vitro_card_deinit(&card);
    vitro_checkpoint_close(ckpt);
}

static void folders_are_looked_into(void **state)
{
    (void)state;
    VitroCheckpoint *ckpt;
    VitroCard card;
    ok(read_beside(&card, VIT("\"hidden_size\": 3"), NULL));
    vitro_card_deinit(&card);
    ok(vitro_checkpoint_open(&ckpt, dir));
    assert_string_equal(vitro_path_name(vitro_checkpoint_path(ckpt)), "model.safetensors");
    vitro_checkpoint_close(ckpt);
    vt_mkdir(dir, "empty");
    char *empty = vitro_path_join(dir, "empty");
    assert_int_equal(vitro_checkpoint_open(&ckpt, empty), VITRO_E_IO);
    assert_non_null(strstr(vitro_last_error(), "model.safetensors"));
    vitro_free(empty);
}

/* ---- several files ----------------------------------------------------------------------------
 */

/* Two files, x in one, y and z in the other, and the index `text`. */
static VitroStatus open_shards(VitroCheckpoint **out, const char *text)
{
    static const float v[] = {1, 2, 3};
    const VitroTensorSource t[] = {{"model.x", VITRO_F32, 1, {1}, v},
                                   {"model.y", VITRO_F32, 1, {1}, v + 1},
                                   {"model.z", VITRO_F32, 1, {1}, v + 2}};
    vt_mkdir(dir, "shards");
    char *folder = vitro_path_join(dir, "shards");
    char *a = vitro_path_join(folder, "a.safetensors"),
         *b = vitro_path_join(folder, "b.safetensors");
    ok(vitro_checkpoint_write(a, VITRO_FORMAT_SAFETENSORS, t, 1, NULL));
    ok(vitro_checkpoint_write(b, VITRO_FORMAT_SAFETENSORS, t + 1, 2, NULL));
    write("shards/model.safetensors.index.json", text);
    VitroStatus st = vitro_checkpoint_open(out, folder);
    vitro_free(a);
    vitro_free(b);
    vitro_free(folder);
    return st;
}

#define MAP(entries) "{\"weight_map\": {" entries "}}"
#define X            "\"model.x\": \"a.safetensors\""
#define Y            "\"model.y\": \"b.safetensors\""
#define Z            "\"model.z\": \"b.safetensors\""

static void shards_are_one(void **state)
{
    (void)state;
    VitroCheckpoint *ckpt;
    ok(open_shards(&ckpt, MAP(Y ", " X ", " Z)));
    assert_int_equal(vitro_checkpoint_count(ckpt), 3);
    const char *const names[] = {"x", "y", "z"};
    for (int i = 0; i < 3; i++) {
        float v;
        int64_t k = vitro_checkpoint_find(ckpt, names[i]);
        assert_true(k >= 0);
        ok(vitro_checkpoint_read_f32(ckpt, k, &v));
        assert_true(v == (float)(i + 1));
        vitro_ckpt_forget(ckpt, k);
    }
    vitro_checkpoint_close(ckpt);
}

static void bad_indexes_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"weight_map\": []}",
        MAP(X ", " Y),                                     /* z is missing */
        MAP(X ", " Y ", " Z ", \"w\": \"a.safetensors\""), /* w is in no file */
        MAP(X ", " Y ", \"model.z\": \"a.safetensors\""),  /* it is in another */
        MAP(X ", " Y ", \"model.z\": 5"),
        MAP(X ", " Y ", \"model.z\": \"c.safetensors\""),
        MAP(X ", " Y ", \"model.z\": \"../model.safetensors\""),
        MAP(X ", " Y ", \"model.z\": \"/etc/passwd\""),
        MAP(X ", " Y ", \"model.z\": \"model.safetensors.index.json\""),
        MAP(X ", " Y ", \"model.z\": \"..safetensors\""),
        MAP(X ", " Y ", \"model.z\": \"\"")};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        VitroCheckpoint *ckpt;
        VitroStatus st = open_shards(&ckpt, bad[i]);
        if (st != VITRO_E_FORMAT && st != VITRO_E_IO)
            fail_msg("index %d gives %s: %s", (int)i, vitro_status_name(st), bad[i]);
        if (!strstr(vitro_last_error(), "model.safetensors.index.json"))
            fail_msg("index %d: %s", (int)i, vitro_last_error());
    }
}

static void assumed(VitroTransform *out, char *note, const char *golden, int side)
{
    VitroCheckpoint *ckpt;
    VitroCard card = {0};
    VitroConfig cfg = {.img_height = side, .img_width = side, .in_channels = 3};
    ok(vitro_checkpoint_open(&ckpt, golden));
    ok(vitro_checkpoint_adopt_names(ckpt, NULL));
    vitro_card_assume_transform(&card, ckpt, &cfg, note, 256);
    assert_int_equal(card.has_transform, note[0] != 0);
    *out = card.transform;
    vitro_checkpoint_close(ckpt);
}

static void namings_have_transforms(void **state)
{
    (void)state;
    VitroTransform t;
    char note[256];
    assumed(&t, note, "tests/golden/model/names_torchvision.npz", 224);
    assert_true(t.resize_height == 256 && t.filter == VITRO_BILINEAR && t.mean[1] == 0.456f);
    assumed(&t, note, "tests/golden/model/names_torchvision.npz", 384);
    assert_true(t.resize_height == 384 && t.filter == VITRO_BICUBIC && t.std[2] == 0.225f);
    assumed(&t, note, "tests/golden/model/names_huggingface.npz", 384);
    assert_true(t.rule == VITRO_RESIZE_SQUASH && t.mean[0] == 0.5f);
    assumed(&t, note, "tests/golden/model/names_flax.npz", 224);
    assert_true(t.rule == VITRO_RESIZE_SQUASH && t.filter == VITRO_BILINEAR);
    assumed(&t, note, "tests/golden/model/names_timm.npz", 224);
    assert_string_equal(note, "");
}

static int set_up(void **state)
{
    (void)state;
    dir = vt_temp_make();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    vt_temp_remove(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_give_their_logits),
        cmocka_unit_test(names_come_along),
        cmocka_unit_test(fields_are_understood),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(folders_are_looked_into),
        cmocka_unit_test(namings_have_transforms),
        cmocka_unit_test(shards_are_one),
        cmocka_unit_test(bad_indexes_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
