/* SPDX-License-Identifier: Apache-2.0 */
/* A model saved and opened again: weights, geometry, card; and cards that lie. */
#include "base/alloc.h"
#include "base/fs.h"
#include "model/card.h"
#include "model/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/vitro-test-XXXXXX";
static VitroDevice *dev;

static void ok(VitroStatus st)
{
    if (st != VITRO_OK)
        fail_msg("%s: %s", vitro_status_name(st), vitro_last_error());
}

static int set_up(void **state)
{
    (void)state;
    VitroDeviceOptions options = {.name = "ref"};
    return !mkdtemp(dir) || vitro_device_open(&dev, &options) != VITRO_OK;
}

static int tear_down(void **state)
{
    (void)state;
    VitroNameList list;
    if (vitro_fs_list(&list, dir) == VITRO_OK) {
        for (size_t i = 0; i < list.count; i++) {
            char *path = vitro_path_join(dir, list.names[i]);
            unlink(path);
            vitro_free(path);
        }
        vitro_list_free(&list);
    }
    rmdir(dir);
    vitro_device_close(dev);
    return 0;
}

static VitroConfig small_config(void)
{
    return (VitroConfig){.img_height = 11,
                         .img_width = 11,
                         .patch_size = 3,
                         .in_channels = 1,
                         .num_classes = 2,
                         .embed_dim = 10,
                         .depth = 2,
                         .num_heads = 5,
                         .mlp_ratio = 2.7,
                         .representation_size = 6,
                         .norm_eps = 1e-5,
                         .act = VITRO_ACT_GELU_TANH,
                         .qk_scale = 0.3,
                         .drop_path_ratio = 0.1};
}

static VitroModel *random_model(const VitroConfig *cfg)
{
    VitroModel *m;
    ok(vitro_model_create(&m, dev, cfg));
    ok(vitro_model_init(m, 5));
    return m;
}

static void expect_equal_weights(const VitroModel *a, const VitroModel *b)
{
    assert_int_equal(vitro_model_param_count(a), vitro_model_param_count(b));
    for (int64_t i = 0; i < vitro_model_param_count(a); i++) {
        size_t bytes = (size_t)vitro_model_param(a, i).count * sizeof(float);
        float *x = vitro_malloc(bytes), *y = vitro_malloc(bytes);
        ok(vitro_model_param_get(a, i, x));
        ok(vitro_model_param_get(b, i, y));
        assert_memory_equal(x, y, bytes);
        vitro_free(x);
        vitro_free(y);
    }
}

static void expect_equal_transforms(const VitroTransform *a, const VitroTransform *b)
{
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    assert_int_equal(a->channels, b->channels);
    assert_int_equal(a->rule, b->rule);
    assert_int_equal(a->resize_height, b->resize_height);
    assert_int_equal(a->resize_width, b->resize_width);
    assert_int_equal(a->filter, b->filter);
    assert_int_equal(a->keep_exact, b->keep_exact);
    assert_int_equal(a->exif, b->exif);
    assert_memory_equal(a->mean, b->mean, (size_t)a->channels * sizeof(float));
    assert_memory_equal(a->std, b->std, (size_t)a->channels * sizeof(float));
}

static void round_trip(const char *name, VitroCheckpointFormat format)
{
    VitroConfig cfg = small_config(), seen;
    const char *const classes[] = {"t\xc3\xbclip \"red\"", "rose"};
    VitroCard card = {.has_transform = true,
                      .transform = {.width = 11,
                                    .height = 11,
                                    .channels = 1,
                                    .rule = VITRO_RESIZE_SHORT,
                                    .resize_height = 12,
                                    .resize_width = 12,
                                    .filter = VITRO_BICUBIC,
                                    .keep_exact = true,
                                    .mean = {0.1307f},
                                    .std = {0.3081f}}};
    ok(vitro_card_set_classes(&card, classes, 2));
    VitroModel *a = random_model(&cfg), *b;
    char *path = vitro_path_join(dir, name);
    ok(vitro_model_save(a, path, format, &card));

    VitroCheckpoint *ckpt;
    VitroCard read;
    char note[256];
    ok(vitro_checkpoint_open(&ckpt, path));
    ok(vitro_card_read(&read, ckpt));
    expect_equal_transforms(&card.transform, &read.transform);
    assert_int_equal(read.class_count, 2);
    assert_string_equal(read.class_names[0], classes[0]);
    ok(vitro_config_from_checkpoint(&seen, note, sizeof(note), ckpt, &read, NULL, 0));
    assert_string_equal(note, "");
    assert_int_equal(seen.img_height, 11);
    assert_int_equal(seen.num_heads, 5);
    assert_int_equal(vitro_config_mlp_width(&seen), 27);
    assert_true(seen.norm_eps == 1e-5 && seen.qk_scale == 0.3 && seen.drop_path_ratio == 0.1);
    assert_int_equal(seen.act, VITRO_ACT_GELU_TANH);
    assert_false(seen.qkv_bias);

    ok(vitro_model_create(&b, dev, &seen));
    VitroLoadReport report;
    ok(vitro_model_load(b, ckpt, NULL, &report));
    assert_int_equal(report.loaded_count, vitro_model_param_count(a));
    vitro_load_report_deinit(&report);
    expect_equal_weights(a, b);

    vitro_model_free(a);
    vitro_model_free(b);
    vitro_card_deinit(&card);
    vitro_card_deinit(&read);
    vitro_checkpoint_close(ckpt);
    vitro_free(path);
}

/* A file holds float32 whatever the device computes with: the same bytes. */
static void saved_from_doubles(void **state)
{
    (void)state;
    VitroConfig cfg = small_config();
    VitroDevice *devices[2] = {dev};
    VitroMap map[2];
    ok(vitro_device_open(&devices[1],
                         &(VitroDeviceOptions){.name = "ref", .precision = VITRO_FP64}));
    for (int i = 0; i < 2; i++) {
        VitroModel *m;
        char *path = vitro_path_join(dir, i ? "double.safetensors" : "float.safetensors");
        ok(vitro_model_create(&m, devices[i], &cfg));
        ok(vitro_model_init(m, 5));
        ok(vitro_model_save(m, path, VITRO_FORMAT_SAFETENSORS, NULL));
        ok(vitro_map_open(&map[i], path));
        vitro_model_free(m);
        vitro_free(path);
    }
    assert_int_equal(map[0].size, map[1].size);
    assert_memory_equal(map[0].data, map[1].data, map[0].size);
    vitro_map_close(&map[0]);
    vitro_map_close(&map[1]);
    vitro_device_close(devices[1]);
}

static void through_pth(void **state)
{
    (void)state;
    round_trip("a.pth", VITRO_FORMAT_PTH);
}

static void through_safetensors(void **state)
{
    (void)state;
    round_trip("a.safetensors", VITRO_FORMAT_SAFETENSORS);
}

/* Writes the small model with `metadata` as its card; opens it. */
static VitroCheckpoint *with_metadata(const VitroConfig *cfg, const char *metadata)
{
    VitroModel *m = random_model(cfg);
    int64_t n = vitro_model_param_count(m);
    VitroTensorSource *sources = vitro_calloc((size_t)n, sizeof(*sources));
    for (int64_t i = 0; i < n; i++) {
        VitroParamInfo info = vitro_model_param(m, i);
        sources[i] = (VitroTensorSource){.name = info.name, .rank = info.rank};
        memcpy(sources[i].dim, info.dim, sizeof(info.dim));
        sources[i].data = m->params.list[i].slot->data;
    }
    char *path = vitro_path_join(dir, "m.safetensors");
    ok(vitro_checkpoint_write(path, VITRO_FORMAT_SAFETENSORS, sources, n, metadata));
    VitroCheckpoint *ckpt;
    ok(vitro_checkpoint_open(&ckpt, path));
    vitro_free(path);
    vitro_free(sources);
    vitro_model_free(m);
    return ckpt;
}

static void bad_cards_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "{\"config\": 3}",
        "{\"config\": {\"depth\": 2.5}}",
        "{\"config\": {\"depth\": -1}}",
        "{\"config\": {\"depth\": 1, \"depth\": 2}}",
        "{\"config\": {\"norm_eps\": \"x\"}}",
        "{\"config\": {\"norm_eps\": 1e999}}",
        "{\"config\": {\"act\": \"relu\"}}",
        "{\"config\": {\"qkv_bias\": 1}}",
        "{\"transform\": {}}",
        "{\"transform\": {\"width\": 1000000}}",
        "{\"transform\": {\"width\": 4, \"height\": 4, \"channels\": 1, \"rule\": \"short\","
        " \"resize\": 5, \"interpolation\": \"bilinear\", \"mean\": [0.5], \"std\": [0]}}",
        "{\"transform\": {\"width\": 4, \"height\": 4, \"channels\": 3, \"rule\": \"short\","
        " \"resize\": 5, \"interpolation\": \"bilinear\", \"mean\": [0.5], \"std\": [1]}}",
        "{\"format\": \"other\"}",
        "{\"version\": \"1\"}",
        "{\"version\": 0}",
        "{\"config\": {\"img_size\": 8}, \"transform\": {\"width\": 4, \"height\": 4,"
        " \"channels\": 1, \"rule\": \"short\", \"resize\": 5, \"interpolation\": \"bilinear\","
        " \"mean\": [0.5], \"std\": [1]}}",
        "{\"config\": {\"in_channels\": 3}, \"transform\": {\"width\": 4, \"height\": 4,"
        " \"channels\": 1, \"rule\": \"short\", \"resize\": 5, \"interpolation\": \"bilinear\","
        " \"mean\": [0.5], \"std\": [1]}}",
        "{\"config\": {\"num_classes\": 1}, \"classes\": [\"a\", \"b\"]}",
        "{\"classes\": 5}",
        "{\"classes\": []}",
        "{\"classes\": {\"0\": \"a\", \"2\": \"b\"}}",
        "{\"classes\": [\"a\", 7]}"};
    VitroConfig cfg = small_config();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        VitroCheckpoint *ckpt = with_metadata(&cfg, bad[i]);
        VitroCard card = {0};
        if (vitro_card_read(&card, ckpt) != VITRO_E_FORMAT)
            fail_msg("accepted: %s", bad[i]);
        assert_null(card.class_names);
        vitro_checkpoint_close(ckpt);
    }
    VitroCheckpoint *later = with_metadata(&cfg, "{\"format\": \"vitro\", \"version\": 2}");
    VitroCard card;
    assert_int_equal(vitro_card_read(&card, later), VITRO_E_UNSUPPORTED);
    vitro_checkpoint_close(later);
}

static VitroStatus infer(VitroConfig *out, const char *metadata, const VitroConfig *cfg,
                         const VitroConfig *given, uint32_t fields)
{
    VitroCheckpoint *ckpt = with_metadata(cfg, metadata);
    VitroCard card;
    char note[256];
    ok(vitro_card_read(&card, ckpt));
    VitroStatus st =
        vitro_config_from_checkpoint(out, note, sizeof(note), ckpt, &card, given, fields);
    vitro_card_deinit(&card);
    vitro_checkpoint_close(ckpt);
    return st;
}

static void contradictions_are_refused(void **state)
{
    (void)state;
    VitroConfig cfg = small_config(), out, given = small_config();
    given.num_heads = 2;
    given.depth = 3;
    given.norm_eps = 1e-3;
    given.img_height = given.img_width = 12;
    /* tensors against the card */
    assert_int_equal(infer(&out, "{\"config\": {\"depth\": 3, \"num_heads\": 5}}", &cfg, NULL, 0),
                     VITRO_E_ARG);
    assert_non_null(strstr(vitro_last_error(), "depth"));
    assert_int_equal(
        infer(&out, "{\"config\": {\"mlp_ratio\": 3, \"num_heads\": 5}}", &cfg, NULL, 0),
        VITRO_E_ARG);
    assert_int_equal(
        infer(&out, "{\"config\": {\"img_size\": 12, \"num_heads\": 5}}", &cfg, NULL, 0),
        VITRO_E_ARG);
    /* what is given against tensors and card */
    assert_int_equal(infer(&out, "{}", &cfg, &given, VITRO_CFG_DEPTH | VITRO_CFG_NUM_HEADS),
                     VITRO_E_ARG);
    assert_int_equal(
        infer(&out, "{\"config\": {\"num_heads\": 5}}", &cfg, &given, VITRO_CFG_NUM_HEADS),
        VITRO_E_ARG);
    assert_int_equal(infer(&out, "{\"config\": {\"num_heads\": 5, \"norm_eps\": 1e-5}}", &cfg,
                           &given, VITRO_CFG_NORM_EPS),
                     VITRO_E_ARG);
    /* heads that nobody states: 10 is no multiple of 64 */
    assert_int_equal(infer(&out, "{}", &cfg, NULL, 0), VITRO_E_ARG);
    assert_non_null(strstr(vitro_last_error(), "--num-heads"));
    assert_int_equal(infer(&out, "{}", &cfg, &given, VITRO_CFG_NUM_HEADS | VITRO_CFG_NORM_EPS),
                     VITRO_OK);
    assert_int_equal(out.num_heads, 2);
    assert_true(out.norm_eps == 1e-3);
    assert_int_equal(out.img_height, 9); /* the remainder leaves no trace in the tensors */
}

static void heads_are_guessed(void **state)
{
    (void)state;
    VitroConfig cfg = small_config(), out;
    cfg.embed_dim = 192;
    cfg.num_heads = 3;
    cfg.depth = 12;
    cfg.patch_size = 4;
    cfg.img_height = cfg.img_width = 8;
    assert_int_equal(infer(&out, "{}", &cfg, NULL, 0), VITRO_OK);
    assert_int_equal(out.num_heads, 3);
    cfg.depth = 1;
    cfg.embed_dim = 128;
    cfg.num_heads = 4;
    assert_int_equal(infer(&out, "{}", &cfg, NULL, 0), VITRO_OK);
    assert_int_equal(out.num_heads, 2);
}

static void strictness(void **state)
{
    (void)state;
    VitroConfig cfg = small_config(), other = small_config();
    VitroCheckpoint *ckpt = with_metadata(&cfg, "{}");
    VitroLoadReport report;
    other.representation_size = 0;
    VitroModel *m = random_model(&other);
    assert_int_equal(vitro_model_load(m, ckpt, NULL, NULL), VITRO_E_SHAPE); /* head [2,6], [2,10] */
    VitroLoadOptions skip = {.skip_head = true, .skip_pre_logits = true, .strict = false};
    ok(vitro_model_load(m, ckpt, &skip, &report));
    assert_int_equal(report.missing_count, 2); /* head.weight, head.bias: as after del */
    assert_int_equal(report.unexpected_count, 0);
    vitro_load_report_deinit(&report);
    skip.skip_pre_logits = false;
    ok(vitro_model_load(m, ckpt, &skip, &report));
    assert_int_equal(report.unexpected_count, 2);
    assert_string_equal(report.unexpected[0], "pre_logits.fc.weight");
    vitro_load_report_deinit(&report);
    skip.strict = true;
    assert_int_equal(vitro_model_load(m, ckpt, &skip, &report), VITRO_E_FORMAT);
    assert_non_null(strstr(vitro_last_error(), "pre_logits.fc.weight"));
    vitro_model_free(m);
    vitro_checkpoint_close(ckpt);
}

static void class_files(void **state)
{
    (void)state;
    VitroCard card = {0}, back = {0};
    const char *const names[] = {"apple", "b\xc3\xa4r", "c"};
    ok(vitro_card_set_classes(&card, names, 3));
    char *path = vitro_path_join(dir, "class_indices.json");
    ok(vitro_card_write_classes(&card, path));
    VitroBuf b;
    const char *text;
    vitro_buf_init(&b, 1000);
    ok(vitro_fs_read(&b, path));
    ok(vitro_buf_cstr(&b, &text));
    assert_string_equal(text,
                        "{\n    \"0\": \"apple\",\n    \"1\": \"b\\u00E4r\",\n    \"2\": \"c\"\n}");
    ok(vitro_card_read_classes(&back, path));
    assert_int_equal(back.class_count, 3);
    assert_string_equal(back.class_names[1], names[1]);
    vitro_buf_deinit(&b);
    vitro_free(path);
    vitro_card_deinit(&card);
    vitro_card_deinit(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saved_from_doubles),
        cmocka_unit_test(through_pth),
        cmocka_unit_test(through_safetensors),
        cmocka_unit_test(bad_cards_are_refused),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(heads_are_guessed),
        cmocka_unit_test(strictness),
        cmocka_unit_test(class_files),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
