/* SPDX-License-Identifier: Apache-2.0 */
/* Files of weights as bytes: on a device that multiplies bytes they give the very logits of the
 * file that they were made of, elsewhere they are bytes times scales, and what is wrong with their
 * scales is told. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/cpu.h"
#include "harness/temp.h"
#include "tensor/dtype.h"
#include "vitro/vitro.h"

enum { BATCH = 3, OUTPUTS_MAX = 256, PATH_MAX_BYTES = 512, TENSORS_MAX = 128 };

static char *dir;
static char whole[PATH_MAX_BYTES], bytes[PATH_MAX_BYTES], other[PATH_MAX_BYTES];

static int make_dir(void **state)
{
    (void)state;
    dir = vt_temp_make();
    snprintf(whole, sizeof(whole), "%s/whole.safetensors", dir);
    snprintf(bytes, sizeof(bytes), "%s/bytes.safetensors", dir);
    snprintf(other, sizeof(other), "%s/other.safetensors", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    vt_temp_remove(dir);
    return 0;
}

static void ok(VitroStatus st)
{
    if (st != VITRO_OK)
        fail_msg("%s: %s", vitro_status_name(st), vitro_last_error());
}

/* The file is named, and what is wrong with it. */
static void refused(VitroStatus st, VitroStatus expected, const char *path, const char *text)
{
    if (st != expected || strncmp(vitro_last_error(), path, strlen(path)) != 0 ||
        !strstr(vitro_last_error(), text))
        fail_msg("expected \"%s\" and %s, got %s: %s", text, vitro_status_name(expected),
                 vitro_status_name(st), st ? vitro_last_error() : "");
}

static VitroConfig small_config(void)
{
    VitroConfig cfg;
    ok(vitro_config_preset(&cfg, "vit_tiny_patch4_32"));
    cfg.img_height = cfg.img_width = 12;
    cfg.embed_dim = 192; /* fewer inputs stay bf16 */
    cfg.mlp_ratio = 1;
    cfg.depth = 2;
    cfg.num_heads = 2;
    cfg.num_classes = 7;
    return cfg;
}

static float noise(uint32_t *random)
{
    *random = *random * 1664525u + 1013904223u;
    return (float)(*random >> 8) * 0x1p-23f - 1;
}

static VitroDevice *open_device(const char *name, VitroPrecision precision)
{
    VitroDevice *dev;
    ok(vitro_device_open(
        &dev, &(VitroDeviceOptions){.name = name, .precision = precision, .threads = 2}));
    return dev;
}

static float *get_param(const VitroModel *m, int64_t i)
{
    float *values = calloc((size_t)vitro_model_param(m, i).count, sizeof(*values));
    assert_non_null(values);
    ok(vitro_model_param_get(m, i, values));
    return values;
}

/* Writes `whole`: no bias is 0, rows of one weight are larger than others', and of another all 0,
 * or so small that 127 divided by them is infinite. */
static void write_whole(const VitroConfig *cfg)
{
    VitroDevice *dev = open_device("cpu", VITRO_FP32);
    VitroModel *m;
    uint32_t random = 5;
    ok(vitro_model_create(&m, dev, cfg));
    ok(vitro_model_init(m, 3));
    for (int64_t i = 0; i < vitro_model_param_count(m); i++) {
        VitroParamInfo info = vitro_model_param(m, i);
        float *values = get_param(m, i);
        for (int64_t k = 0; k < info.count; k++) {
            values[k] += 0.1f * noise(&random);
            if (strcmp(info.name, "blocks.0.mlp.fc1.weight") == 0) {
                const int64_t row = k / info.dim[1];
                values[k] *= row == 1 ? 0 : row == 2 ? 1e-39f : (float)(1 + row);
            }
        }
        ok(vitro_model_param_set(m, i, values));
        free(values);
    }
    ok(vitro_model_save(m, whole, VITRO_FORMAT_SAFETENSORS, NULL));
    vitro_model_free(m);
    vitro_device_close(dev);
}

/* Writes `bytes`, made of `from`. */
static void write_bytes(const char *from, const VitroConfig *cfg)
{
    VitroCheckpoint *ckpt;
    const VitroDtype dtype = VITRO_I8;
    ok(vitro_checkpoint_open(&ckpt, from));
    ok(vitro_checkpoint_convert_model(ckpt, bytes, VITRO_FORMAT_SAFETENSORS, &dtype, cfg, NULL));
    vitro_checkpoint_close(ckpt);
}

/* What a model, opened, says of some pictures, one of them in a batch of its own. */
static void run(float *out, VitroDevice *dev, const VitroConfig *cfg, const VitroCheckpoint *ckpt)
{
    const int64_t n = (int64_t)cfg->in_channels * cfg->img_height * cfg->img_width;
    const int64_t outputs = vitro_config_outputs(cfg);
    float *images = calloc((size_t)(BATCH * n), sizeof(*images));
    VitroModel *m;
    VitroPredictor *p;
    uint32_t random = 9;
    assert_non_null(images);
    assert_true(outputs <= OUTPUTS_MAX);
    for (int64_t i = 0; i < BATCH * n; i++)
        images[i] = noise(&random);
    memset(out, 0xff, BATCH * OUTPUTS_MAX * sizeof(*out));
    ok(vitro_model_open(&m, dev, cfg, ckpt, NULL, NULL));
    ok(vitro_predictor_create(&p, m, BATCH - 1));
    ok(vitro_predictor_run(p, images, BATCH - 1, out));
    ok(vitro_predictor_run(p, images + (BATCH - 1) * n, 1, out + (BATCH - 1) * outputs));
    vitro_predictor_free(p);
    vitro_model_free(m);
    free(images);
    for (int64_t i = 0; i < BATCH * outputs; i++)
        assert_true(isfinite(out[i]));
}

static void run_file(float *out, VitroPrecision precision, const VitroConfig *cfg, const char *path)
{
    VitroDevice *dev = open_device("cpu", precision);
    VitroCheckpoint *ckpt;
    ok(vitro_checkpoint_open(&ckpt, path));
    run(out, dev, cfg, ckpt);
    vitro_checkpoint_close(ckpt);
    vitro_device_close(dev);
}

/* ---- the same bits -------------------------------------------------------------------------- */

static void same_logits_on_every_mask(const VitroConfig *cfg)
{
    static const unsigned masks[] = {0, 1, ~0u};
    for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
        float expected[BATCH * OUTPUTS_MAX], got[BATCH * OUTPUTS_MAX], exact[BATCH * OUTPUTS_MAX];
        vitro_cpu_set_mask(masks[i]);
        run_file(expected, VITRO_PRECISION_INT8, cfg, whole);
        run_file(got, VITRO_PRECISION_INT8, cfg, bytes);
        assert_memory_equal(got, expected, sizeof(got));
        run_file(exact, VITRO_FP32, cfg, whole); /* bytes were multiplied indeed */
        assert_memory_not_equal(got, exact, sizeof(got));
    }
    vitro_cpu_set_mask(~0u);
}

/* fc2 alone has enough inputs. */
static VitroConfig narrow_config(void)
{
    VitroConfig cfg = small_config();
    cfg.embed_dim = 48;
    cfg.mlp_ratio = 4;
    return cfg;
}

static void same_logits(void **state)
{
    (void)state;
    VitroConfig cfg = small_config();
    cfg.patch_norm = true;
    cfg.mlp_ratio = 0.5; /* fc2 alone stays bf16 */
    cfg.representation_size = 11;
    write_whole(&cfg);
    write_bytes(whole, &cfg);
    same_logits_on_every_mask(&cfg);

    cfg = small_config(); /* no depth of a product fills its words */
    cfg.in_channels = 1;
    cfg.patch_size = 3;
    cfg.embed_dim = 195;
    cfg.num_heads = 3;
    cfg.mlp_ratio = 1.25;
    cfg.qkv_bias = false;
    cfg.num_classes = 3;
    write_whole(&cfg);
    write_bytes(whole, &cfg);
    same_logits_on_every_mask(&cfg);

    cfg = small_config(); /* no rest anywhere; features come out */
    cfg.depth = 1;
    cfg.embed_dim = 256;
    cfg.num_classes = 0;
    write_whole(&cfg);
    write_bytes(whole, &cfg);
    same_logits_on_every_mask(&cfg);

    cfg = narrow_config();
    write_whole(&cfg);
    write_bytes(whole, &cfg);
    same_logits_on_every_mask(&cfg);
}

/* Other types and containers: rounded on the way, the bytes are those of the rounded file. */
static void same_logits_from_other_files(void **state)
{
    (void)state;
    const VitroConfig cfg = small_config();
    write_whole(&cfg);
    for (int dtype = VITRO_F16; dtype <= VITRO_BF16; dtype++)
        for (int format = VITRO_FORMAT_PTH; format <= VITRO_FORMAT_NPZ; format++) {
            const VitroDtype to = (VitroDtype)dtype;
            float expected[BATCH * OUTPUTS_MAX], got[BATCH * OUTPUTS_MAX];
            VitroCheckpoint *ckpt;
            ok(vitro_checkpoint_open(&ckpt, whole));
            ok(vitro_checkpoint_convert(ckpt, other, (VitroCheckpointFormat)format, &to, NULL));
            vitro_checkpoint_close(ckpt);
            write_bytes(other, &cfg);
            run_file(expected, VITRO_PRECISION_INT8, &cfg, other);
            run_file(got, VITRO_PRECISION_INT8, &cfg, bytes);
            assert_memory_equal(got, expected, sizeof(got));
            /* The bytes in any container. */
            ok(vitro_checkpoint_open(&ckpt, bytes));
            ok(vitro_checkpoint_convert(ckpt, other, (VitroCheckpointFormat)format, NULL, NULL));
            vitro_checkpoint_close(ckpt);
            run_file(got, VITRO_PRECISION_INT8, &cfg, other);
            assert_memory_equal(got, expected, sizeof(got));
        }
}

/* A second conversion changes nothing. */
static void bytes_stay_bytes(void **state)
{
    (void)state;
    const VitroConfig cfg = small_config();
    VitroCheckpoint *a, *b;
    const VitroDtype dtype = VITRO_I8;
    write_whole(&cfg);
    write_bytes(whole, &cfg);
    ok(vitro_checkpoint_open(&a, bytes));
    ok(vitro_checkpoint_convert_model(a, other, VITRO_FORMAT_SAFETENSORS, &dtype, &cfg, NULL));
    ok(vitro_checkpoint_open(&b, other));
    assert_int_equal(vitro_checkpoint_count(a), vitro_checkpoint_count(b));
    for (int64_t i = 0; i < vitro_checkpoint_count(a); i++) {
        const VitroTensorInfo *x = vitro_checkpoint_info(a, i), *y = vitro_checkpoint_info(b, i);
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->dtype, y->dtype);
        assert_memory_equal(vitro_checkpoint_data(a, i), vitro_checkpoint_data(b, i),
                            (size_t)x->count * vitro_dtype_size(x->dtype));
    }
    vitro_checkpoint_close(a);
    vitro_checkpoint_close(b);
}

/* ---- what the file holds -------------------------------------------------------------------- */

static bool ends_with(const char *name, const char *end)
{
    const size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

/* The bytes of each row reach from -127 or to 127, and none is further from its weight than half a
 * step. */
static void check_bytes(const VitroCheckpoint *ckpt, int64_t i, const float *exact)
{
    const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, i);
    const int8_t *byte = vitro_checkpoint_data(ckpt, i);
    const int64_t k = vitro_checkpoint_scale_of(ckpt, i), K = info->dim[1];
    assert_true(k >= 0);
    assert_int_equal(vitro_checkpoint_info(ckpt, k)->dtype, VITRO_F32);
    assert_int_equal(vitro_checkpoint_info(ckpt, k)->rank, 1);
    assert_int_equal(vitro_checkpoint_info(ckpt, k)->dim[0], info->dim[0]);
    const float *scale = vitro_checkpoint_data(ckpt, k);
    for (int64_t n = 0; n < info->dim[0]; n++) {
        int largest = 0;
        for (int64_t at = n * K; at < (n + 1) * K; at++) {
            const double step = (double)scale[n];
            largest = abs(byte[at]) > largest ? abs(byte[at]) : largest;
            assert_true(fabs(exact[at] - step * byte[at]) <= 0.50001 * step + 1e-37);
        }
        assert_int_equal(largest, scale[n] > 0 ? 127 : 0);
    }
}

static void check_types(VitroConfig cfg, const char *pattern, int64_t expected_wide)
{
    VitroCheckpoint *from, *to;
    int64_t as_bytes = 0, wide = 0;
    cfg.representation_size = 12;
    write_whole(&cfg);
    write_bytes(whole, &cfg);
    ok(vitro_checkpoint_open(&from, whole));
    ok(vitro_checkpoint_open(&to, bytes));
    for (int64_t i = 0; i < vitro_checkpoint_count(from); i++) {
        const VitroTensorInfo *a = vitro_checkpoint_info(from, i);
        const int64_t k = vitro_checkpoint_find(to, a->name);
        assert_true(k >= 0);
        const VitroTensorInfo *b = vitro_checkpoint_info(to, k);
        const float *values = vitro_checkpoint_data(from, i);
        assert_int_equal(a->rank, b->rank);
        assert_memory_equal(a->dim, b->dim, sizeof(a->dim));
        if (strstr(a->name, pattern) && a->rank == 2) {
            assert_int_equal(b->dtype, VITRO_I8);
            check_bytes(to, k, values);
            as_bytes++;
        } else if (ends_with(a->name, ".weight") && a->rank > 1) {
            const uint16_t *halves = vitro_checkpoint_data(to, k);
            assert_int_equal(b->dtype, VITRO_BF16);
            for (int64_t e = 0; e < a->count; e++)
                assert_int_equal(halves[e], vitro_bf16_from_f32(values[e]));
            wide++;
        } else {
            assert_int_equal(b->dtype, VITRO_F32);
            assert_memory_equal(vitro_checkpoint_data(to, k), values,
                                (size_t)a->count * sizeof(float));
        }
    }
    assert_int_equal(as_bytes + wide, 4 * cfg.depth + 3);
    assert_int_equal(wide, expected_wide);
    assert_int_equal(vitro_checkpoint_count(to), vitro_checkpoint_count(from) + as_bytes);
    assert_string_equal(vitro_checkpoint_metadata(to), vitro_checkpoint_metadata(from));
    vitro_checkpoint_close(from);
    vitro_checkpoint_close(to);
}

static void types_and_values(void **state)
{
    (void)state;
    check_types(small_config(), "blocks.", 3); /* the patch embedding, pre_logits, the head */
    const VitroConfig narrow = narrow_config();
    check_types(narrow, ".mlp.fc2", 3 + 3 * narrow.depth);
}

/* ---- as floats ------------------------------------------------------------------------------ */

/* Parameter i of a model of `ckpt`: bytes times scales, to the last bit. */
static void check_param(const VitroModel *m, int64_t i, const VitroCheckpoint *ckpt)
{
    const VitroParamInfo info = vitro_model_param(m, i);
    const int64_t k = vitro_checkpoint_find(ckpt, info.name);
    const int64_t s = vitro_checkpoint_scale_of(ckpt, k), row = info.count / info.dim[0];
    float *values = get_param(m, i), *expected = calloc((size_t)info.count, sizeof(*expected));
    assert_non_null(expected);
    if (s < 0) {
        ok(vitro_checkpoint_read_f32(ckpt, k, expected));
    } else {
        const int8_t *byte = vitro_checkpoint_data(ckpt, k);
        const float *scale = vitro_checkpoint_data(ckpt, s);
        for (int64_t e = 0; e < info.count; e++)
            expected[e] = (float)byte[e] * scale[e / row];
    }
    assert_memory_equal(values, expected, (size_t)info.count * sizeof(*values));
    free(expected);
    free(values);
}

static void dequantised(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        VitroPrecision precision;
    } devices[] = {{"cpu", VITRO_FP32},
                   {"cpu", VITRO_PRECISION_BF16},
                   {"cpu", VITRO_PRECISION_INT8},
                   {"ref", VITRO_FP32},
                   {"ref", VITRO_FP64}};
    const VitroConfig cfg = small_config();
    VitroCheckpoint *ckpt, *floats;
    const VitroDtype f32 = VITRO_F32;
    write_whole(&cfg);
    write_bytes(whole, &cfg);
    ok(vitro_checkpoint_open(&ckpt, bytes));
    ok(vitro_checkpoint_convert(ckpt, other, VITRO_FORMAT_PTH, &f32, NULL));
    ok(vitro_checkpoint_open(&floats, other));
    for (size_t d = 0; d < sizeof(devices) / sizeof(devices[0]); d++) {
        float expected[BATCH * OUTPUTS_MAX], got[BATCH * OUTPUTS_MAX];
        VitroDevice *dev = open_device(devices[d].name, devices[d].precision);
        VitroModel *opened, *loaded;
        VitroLoadReport report = {0};
        ok(vitro_model_open(&opened, dev, &cfg, ckpt, NULL, NULL));
        ok(vitro_model_create(&loaded, dev, &cfg));
        ok(vitro_model_load(loaded, ckpt, &(VitroLoadOptions){.strict = false}, &report));
        assert_int_equal(report.loaded_count, vitro_model_param_count(loaded));
        assert_int_equal(report.missing_count + report.unexpected_count, 0);
        for (int64_t i = 0; i < vitro_model_param_count(opened); i++) {
            check_param(opened, i, ckpt);
            check_param(loaded, i, ckpt);
        }
        vitro_load_report_deinit(&report);
        vitro_model_free(opened);
        vitro_model_free(loaded);
        if (devices[d].precision != VITRO_PRECISION_INT8) { /* there bytes are bytes */
            run(got, dev, &cfg, ckpt);
            run(expected, dev, &cfg, floats);
            assert_memory_equal(got, expected, sizeof(got));
        }
        vitro_device_close(dev);
    }
    vitro_checkpoint_close(floats);
    vitro_checkpoint_close(ckpt);
}

/* Back to floats: of the original's names and shapes, and no scales. */
static void converted_back(void **state)
{
    (void)state;
    const VitroConfig cfg = small_config();
    write_whole(&cfg);
    write_bytes(whole, &cfg);
    for (int dtype = VITRO_F32; dtype <= VITRO_BF16; dtype++) {
        const VitroDtype to = (VitroDtype)dtype;
        VitroCheckpoint *from, *back;
        ok(vitro_checkpoint_open(&from, bytes));
        ok(vitro_checkpoint_convert(from, other, VITRO_FORMAT_NPZ, &to, NULL));
        ok(vitro_checkpoint_open(&back, other));
        VitroDevice *dev = open_device("cpu", VITRO_FP32);
        VitroModel *m;
        ok(vitro_model_create(&m, dev, &cfg));
        assert_int_equal(vitro_checkpoint_count(back), vitro_model_param_count(m));
        ok(vitro_model_load(m, back, NULL, NULL));
        for (int64_t i = 0; i < vitro_checkpoint_count(back); i++) {
            const VitroTensorInfo *info = vitro_checkpoint_info(back, i);
            float *a = calloc((size_t)info->count, sizeof(*a));
            float *b = calloc((size_t)info->count, sizeof(*b));
            uint16_t *narrow = calloc((size_t)info->count, sizeof(*narrow));
            assert_true(a && b && narrow);
            assert_int_equal(info->dtype, to);
            ok(vitro_checkpoint_read_f32(back, i, a));
            ok(vitro_checkpoint_read_f32(from, vitro_checkpoint_find(from, info->name), b));
            if (to != VITRO_F32) {
                vitro_f32_to(narrow, to, b, info->count);
                vitro_f32_from(b, narrow, to, info->count);
            }
            assert_memory_equal(a, b, (size_t)info->count * sizeof(*a));
            free(a);
            free(b);
            free(narrow);
        }
        vitro_model_free(m);
        vitro_device_close(dev);
        vitro_checkpoint_close(back);
        vitro_checkpoint_close(from);
    }
}

/* ---- put together --------------------------------------------------------------------------- */

typedef struct Tensors {
    VitroTensorSource t[TENSORS_MAX];
    void *owned[TENSORS_MAX];
    char name[TENSORS_MAX][64];
    int64_t count;
} Tensors;

static void *add_tensor(Tensors *all, const char *name, VitroDtype dtype, int rank,
                        const int64_t *dim, const void *data)
{
    const int64_t i = all->count++;
    size_t size = vitro_dtype_size(dtype);
    assert_true(i < TENSORS_MAX);
    snprintf(all->name[i], sizeof(all->name[i]), "%s", name);
    all->t[i] = (VitroTensorSource){.name = all->name[i], .dtype = dtype, .rank = rank};
    for (int d = 0; d < rank; d++) {
        all->t[i].dim[d] = dim[d];
        size *= (size_t)dim[d];
    }
    all->owned[i] = calloc(size + 1, 1);
    assert_non_null(all->owned[i]);
    memcpy(all->owned[i], data, size);
    all->t[i].data = all->owned[i];
    return all->owned[i];
}

static Tensors *read_tensors(const char *path)
{
    VitroCheckpoint *ckpt;
    Tensors *all = calloc(1, sizeof(*all));
    assert_non_null(all);
    ok(vitro_checkpoint_open(&ckpt, path));
    for (int64_t i = 0; i < vitro_checkpoint_count(ckpt); i++) {
        const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, i);
        add_tensor(all, info->name, info->dtype, info->rank, info->dim,
                   vitro_checkpoint_data(ckpt, i));
    }
    vitro_checkpoint_close(ckpt);
    return all;
}

static int64_t find(const Tensors *all, const char *name)
{
    int64_t i = 0;
    while (i < all->count && strcmp(all->t[i].name, name) != 0)
        i++;
    assert_true(i < all->count);
    return i;
}

static void write_tensors(Tensors *all, const char *path)
{
    ok(vitro_checkpoint_write(path, VITRO_FORMAT_SAFETENSORS, all->t, all->count, NULL));
    for (int64_t i = 0; i < all->count; i++)
        free(all->owned[i]);
    free(all);
}

/* Bytes that lie nowhere in the file as they are multiplied: q, k and v joined by a key map, and
 * their scales. */
static void joined_bytes(void **state)
{
    (void)state;
    const VitroConfig cfg = small_config();
    const int64_t D = cfg.embed_dim;
    float expected[BATCH * OUTPUTS_MAX], got[BATCH * OUTPUTS_MAX];
    char map[PATH_MAX_BYTES];
    write_whole(&cfg);
    write_bytes(whole, &cfg);
    run_file(expected, VITRO_PRECISION_INT8, &cfg, bytes);
    Tensors *all = read_tensors(bytes);
    for (int b = 0; b < cfg.depth; b++)
        for (int scale = 0; scale < 2; scale++) {
            char name[64];
            snprintf(name, sizeof(name), "blocks.%d.attn.qkv.weight%s", b, scale ? "_scale" : "");
            const int64_t i = find(all, name);
            const size_t third = scale ? (size_t)D * sizeof(float) : (size_t)(D * D);
            for (int part = 0; part < 3; part++) {
                snprintf(name, sizeof(name), "blocks.%d.%c%s", b, "qkv"[part],
                         scale ? "_scale" : "");
                add_tensor(all, name, all->t[i].dtype, all->t[i].rank, (int64_t[]){D, D},
                           (uint8_t *)all->owned[i] + (size_t)part * third);
            }
            free(all->owned[i]); /* the last one takes its place */
            const int64_t last = --all->count;
            memcpy(all->name[i], all->name[last], sizeof(all->name[i]));
            all->t[i] = all->t[last];
            all->t[i].name = all->name[i];
            all->owned[i] = all->owned[last];
        }
    write_tensors(all, other);
    snprintf(map, sizeof(map), "%s/keys.map", dir);
    FILE *f = fopen(map, "w");
    assert_non_null(f);
    fputs("blocks.*.q + blocks.*.k + blocks.*.v = blocks.*.attn.qkv.weight\n"
          "blocks.*.q_scale + blocks.*.k_scale + blocks.*.v_scale = "
          "blocks.*.attn.qkv.weight_scale\n",
          f);
    fclose(f);
    VitroCheckpoint *ckpt;
    VitroDevice *dev = open_device("cpu", VITRO_PRECISION_INT8);
    ok(vitro_checkpoint_open(&ckpt, other));
    ok(vitro_checkpoint_adopt_names(ckpt, map));
    assert_null(
        vitro_checkpoint_data(ckpt, vitro_checkpoint_find(ckpt, "blocks.0.attn.qkv.weight")));
    run(got, dev, &cfg, ckpt);
    assert_memory_equal(got, expected, sizeof(got));
    /* The same, as floats. */
    VitroModel *joined, *plain;
    VitroCheckpoint *as_it_was;
    ok(vitro_checkpoint_open(&as_it_was, bytes));
    ok(vitro_model_open(&joined, dev, &cfg, ckpt, NULL, NULL));
    ok(vitro_model_open(&plain, dev, &cfg, as_it_was, NULL, NULL));
    for (int64_t i = 0; i < vitro_model_param_count(plain); i++) {
        float *a = get_param(joined, i), *b = get_param(plain, i);
        assert_memory_equal(a, b, (size_t)vitro_model_param(plain, i).count * sizeof(*a));
        free(a);
        free(b);
    }
    vitro_model_free(plain);
    vitro_model_free(joined);
    vitro_checkpoint_close(as_it_was);
    vitro_checkpoint_close(ckpt);
    vitro_device_close(dev);
}

/* ---- what is wrong -------------------------------------------------------------------------- */

#define WEIGHT "blocks.1.mlp.fc2.weight"

/* `other` must be refused by all who would use its numbers, each in the same words. */
static void expect(VitroStatus status, const char *text)
{
    const VitroConfig cfg = small_config();
    static const VitroPrecision precisions[] = {VITRO_FP32, VITRO_PRECISION_INT8};
    const VitroDtype f32 = VITRO_F32, i8 = VITRO_I8;
    char path[PATH_MAX_BYTES];
    VitroCheckpoint *ckpt;
    snprintf(path, sizeof(path), "%s/never.safetensors", dir);
    ok(vitro_checkpoint_open(&ckpt, other));
    for (size_t i = 0; i < 2; i++) {
        VitroDevice *dev = open_device("cpu", precisions[i]);
        VitroModel *m = NULL;
        refused(vitro_model_open(&m, dev, &cfg, ckpt, NULL, NULL), status, other, text);
        assert_null(m);
        ok(vitro_model_create(&m, dev, &cfg));
        refused(vitro_model_load(m, ckpt, NULL, NULL), status, other, text);
        vitro_model_free(m);
        vitro_device_close(dev);
    }
    const int64_t k = vitro_checkpoint_find(ckpt, WEIGHT);
    float *values = calloc((size_t)vitro_checkpoint_info(ckpt, k)->count, sizeof(*values));
    assert_non_null(values);
    refused(vitro_checkpoint_read_f32(ckpt, k, values), status, other, text);
    free(values);
    refused(vitro_checkpoint_convert_model(ckpt, path, VITRO_FORMAT_SAFETENSORS, &i8, &cfg, NULL),
            status, other, text);
    if (vitro_checkpoint_scale_of(ckpt, k) >= 0) /* else it is a file of integers to `convert` */
        refused(vitro_checkpoint_convert(ckpt, path, VITRO_FORMAT_NPZ, &f32, NULL), status, other,
                text);
    assert_null(fopen(path, "rb"));
    vitro_checkpoint_close(ckpt);
}

static void write_with_scale(float value)
{
    Tensors *all = read_tensors(bytes);
    ((float *)all->owned[find(all, WEIGHT "_scale")])[3] = value;
    write_tensors(all, other);
}

static void bad_scales(void **state)
{
    (void)state;
    const VitroConfig cfg = small_config();
    write_whole(&cfg);
    write_bytes(whole, &cfg);

    write_with_scale(-0.5f);
    expect(VITRO_E_FORMAT, "tensor \"" WEIGHT "_scale\": element 3 is -0.5, expected a finite");
    write_with_scale(NAN);
    expect(VITRO_E_FORMAT, "tensor \"" WEIGHT "_scale\": element 3 is nan, expected a finite");
    write_with_scale(INFINITY);
    expect(VITRO_E_FORMAT, "tensor \"" WEIGHT "_scale\": element 3 is inf, expected a finite");

    Tensors *all = read_tensors(bytes);
    all->t[find(all, WEIGHT "_scale")].dim[0] = 191;
    write_tensors(all, other);
    expect(VITRO_E_FORMAT, "tensor \"" WEIGHT "_scale\" is F32 [191], expected F32 [192]");

    all = read_tensors(bytes);
    int64_t i = find(all, WEIGHT "_scale");
    all->t[i].rank = 2;
    all->t[i].dim[1] = 1;
    write_tensors(all, other);
    expect(VITRO_E_FORMAT, "tensor \"" WEIGHT "_scale\" is F32 [192, 1], expected F32 [192]");

    all = read_tensors(bytes);
    all->t[find(all, WEIGHT "_scale")].dtype = VITRO_I8;
    write_tensors(all, other);
    expect(VITRO_E_FORMAT, "tensor \"" WEIGHT "_scale\" is I8 [192], expected F32 [192]");

    all = read_tensors(bytes);
    i = find(all, WEIGHT "_scale");
    all->t[i].rank = 0;
    write_tensors(all, other);
    expect(VITRO_E_FORMAT, "tensor \"" WEIGHT "_scale\" is F32 [], expected F32 [192]");

    all = read_tensors(bytes);
    snprintf(all->name[find(all, WEIGHT "_scale")], sizeof(all->name[0]), "elsewhere");
    write_tensors(all, other);
    expect(VITRO_E_UNSUPPORTED,
           "tensor \"" WEIGHT "\" is I8, not a float, and there is no tensor \"" WEIGHT "_scale\"");
}

/* The scales of what is no bytes are nobody's. */
static void unexpected_scales(void **state)
{
    (void)state;
    const VitroConfig cfg = small_config();
    VitroDevice *dev = open_device("cpu", VITRO_PRECISION_INT8);
    VitroCheckpoint *ckpt;
    VitroModel *m = NULL;
    VitroLoadReport report = {0};
    write_whole(&cfg);
    write_bytes(whole, &cfg);
    Tensors *all = read_tensors(bytes);
    const float ones[] = {1, 1, 1, 1, 1, 1, 1};
    add_tensor(all, "head.bias_scale", VITRO_F32, 1, (int64_t[]){7}, ones);
    write_tensors(all, other);
    ok(vitro_checkpoint_open(&ckpt, other));
    refused(vitro_model_open(&m, dev, &cfg, ckpt, NULL, NULL), VITRO_E_FORMAT, other,
            "unexpected tensors: head.bias_scale");
    ok(vitro_model_open(&m, dev, &cfg, ckpt, &(VitroLoadOptions){.strict = false}, &report));
    assert_int_equal(report.unexpected_count, 1);
    assert_string_equal(report.unexpected[0], "head.bias_scale");
    vitro_load_report_deinit(&report);
    vitro_model_free(m);
    vitro_checkpoint_close(ckpt);
    vitro_device_close(dev);
}

/* Bytes of -128 are as good as others, and those of a weight that stays in bf16, too. */
static void other_peoples_bytes(void **state)
{
    (void)state;
    const VitroConfig cfg = small_config();
    float expected[BATCH * OUTPUTS_MAX], got[BATCH * OUTPUTS_MAX];
    const VitroDtype f32 = VITRO_F32;
    VitroCheckpoint *ckpt;
    write_whole(&cfg);
    write_bytes(whole, &cfg);
    Tensors *all = read_tensors(bytes);
    const int64_t head = find(all, "head.weight");
    const int64_t *dim = all->t[head].dim;
    float scale[] = {0.5f, 0.25f, 0, 1, 0.125f, 2, 0.5f};
    int8_t *head_bytes = calloc((size_t)(dim[0] * dim[1]), 1);
    assert_non_null(head_bytes);
    for (int64_t k = 0; k < dim[0] * dim[1]; k++)
        head_bytes[k] = (int8_t)(k % 256 - 128);
    all->t[head].dtype = VITRO_I8;
    memcpy(all->owned[head], head_bytes, (size_t)(dim[0] * dim[1]));
    add_tensor(all, "head.weight_scale", VITRO_F32, 1, (int64_t[]){7}, scale);
    ((int8_t *)all->owned[find(all, WEIGHT)])[5] = -128;
    free(head_bytes);
    write_tensors(all, other);
    run_file(got, VITRO_PRECISION_INT8, &cfg, other);
    run_file(got, VITRO_FP32, &cfg, other);
    ok(vitro_checkpoint_open(&ckpt, other));
    ok(vitro_checkpoint_convert(ckpt, whole, VITRO_FORMAT_SAFETENSORS, &f32, NULL));
    vitro_checkpoint_close(ckpt);
    run_file(expected, VITRO_FP32, &cfg, whole);
    assert_memory_equal(got, expected, sizeof(got));
}

static void refused_conversions(void **state)
{
    (void)state;
    static const char *const names[] = {WEIGHT, "head.weight", "blocks.0.norm1.bias"};
    static const float wrong[] = {NAN, INFINITY, -INFINITY};
    const VitroConfig cfg = small_config();
    const VitroDtype i8 = VITRO_I8;
    VitroCheckpoint *ckpt;
    for (int i = 0; i < 3; i++) {
        write_whole(&cfg);
        Tensors *all = read_tensors(whole);
        ((float *)all->owned[find(all, names[i])])[2] = wrong[i];
        write_tensors(all, other);
        ok(vitro_checkpoint_open(&ckpt, other));
        refused(
            vitro_checkpoint_convert_model(ckpt, bytes, VITRO_FORMAT_SAFETENSORS, &i8, &cfg, NULL),
            VITRO_E_NUMERIC, other, names[i]);
        vitro_checkpoint_close(ckpt);
    }
    ok(vitro_checkpoint_open(&ckpt, whole));
    for (int format = VITRO_FORMAT_PTH; format <= VITRO_FORMAT_NPZ; format++)
        if (format != VITRO_FORMAT_SAFETENSORS)
            refused(vitro_checkpoint_convert_model(ckpt, other, (VitroCheckpointFormat)format, &i8,
                                                   &cfg, NULL),
                    VITRO_E_ARG, other, ".safetensors");
    refused(vitro_checkpoint_convert(ckpt, other, VITRO_FORMAT_SAFETENSORS, &i8, NULL), VITRO_E_ARG,
            other, "F32, F16 or BF16");
    VitroConfig deeper = cfg;
    deeper.depth = 3;
    refused(
        vitro_checkpoint_convert_model(ckpt, other, VITRO_FORMAT_SAFETENSORS, &i8, &deeper, NULL),
        VITRO_E_FORMAT, whole, "missing tensors: blocks.2.norm1.weight");
    vitro_checkpoint_close(ckpt);
}

/* ---- memory --------------------------------------------------------------------------------- */

static VitroStatus whole_life(const VitroConfig *cfg, VitroPrecision precision)
{
    static const float image[3 * 12 * 12];
    VitroDevice *dev = NULL;
    VitroCheckpoint *ckpt = NULL;
    VitroModel *m = NULL;
    VitroPredictor *p = NULL;
    float out[OUTPUTS_MAX];
    const VitroDeviceOptions options = {.name = "cpu", .threads = 1, .precision = precision};
    const VitroDtype i8 = VITRO_I8;
    VitroStatus st = vitro_checkpoint_open(&ckpt, whole);
    if (st == VITRO_OK)
        st = vitro_checkpoint_convert_model(ckpt, bytes, VITRO_FORMAT_SAFETENSORS, &i8, cfg, NULL);
    vitro_checkpoint_close(ckpt);
    ckpt = NULL;
    if (st == VITRO_OK)
        st = vitro_device_open(&dev, &options);
    if (st == VITRO_OK)
        st = vitro_checkpoint_open(&ckpt, bytes);
    if (st == VITRO_OK)
        st = vitro_model_open(&m, dev, cfg, ckpt, NULL, NULL);
    if (st == VITRO_OK && (st = vitro_predictor_create(&p, m, 1)) == VITRO_E_NOMEM)
        st = vitro_predictor_create(&p, m, 1); /* goes on where the first had to stop */
    if (st == VITRO_OK)
        st = vitro_predictor_run(p, image, 1, out);
    vitro_predictor_free(p);
    vitro_model_free(m);
    vitro_checkpoint_close(ckpt);
    if (dev)
        vitro_device_close(dev);
    return st;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    VitroConfig cfg = small_config();
    uint64_t failures = 0;
    cfg.depth = 1;
    write_whole(&cfg);
    for (int k = 0; k < 2; k++) {
        uint64_t n = 0, used;
        VitroStatus st;
        do {
            const uint64_t before = vitro_alloc_count();
            vitro_alloc_fail_at(++n);
            st = whole_life(&cfg, k ? VITRO_PRECISION_INT8 : VITRO_FP32);
            used = vitro_alloc_count() - before;
            if (st != VITRO_OK)
                assert_int_equal(st, VITRO_E_NOMEM);
            failures += st != VITRO_OK;
        } while (used >= n); /* until the one to fail was never asked for */
        vitro_alloc_fail_at(0);
        assert_int_equal(st, VITRO_OK);
    }
    assert_true(failures > 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_logits),         cmocka_unit_test(same_logits_from_other_files),
        cmocka_unit_test(bytes_stay_bytes),    cmocka_unit_test(types_and_values),
        cmocka_unit_test(dequantised),         cmocka_unit_test(converted_back),
        cmocka_unit_test(joined_bytes),        cmocka_unit_test(bad_scales),
        cmocka_unit_test(unexpected_scales),   cmocka_unit_test(other_peoples_bytes),
        cmocka_unit_test(refused_conversions), cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("model/int8_file", tests, make_dir, remove_dir);
}
