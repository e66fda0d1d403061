/* SPDX-License-Identifier: Apache-2.0 */
/* The layer table against fvcore's figures, and the memory that is told against what is taken. */
#include "base/alloc.h"
#include "model/model.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LAYERS_MAX 8192

typedef struct Table {
    char name[LAYERS_MAX][40];
    VitroLayerInfo info[LAYERS_MAX];
    int count;
} Table;

static Table table; /* of the model at hand */

static void add(void *user, const VitroLayerInfo *info)
{
    Table *t = user;
    assert_true(t->count < LAYERS_MAX);
    snprintf(t->name[t->count], sizeof(t->name[0]), "%s", info->name);
    t->info[t->count++] = *info;
}

static VitroFlops sum_of(const Table *t)
{
    VitroFlops s = {0};
    for (int i = 0; i < t->count; i++) {
        s.conv += t->info[i].flops.conv;
        s.linear += t->info[i].flops.linear;
        s.matmul += t->info[i].flops.matmul;
        s.layer_norm += t->info[i].flops.layer_norm;
    }
    return s;
}

/* Of a module with all that is inside it; "." is the whole model. */
static int64_t module_flops(const Table *t, const char *module)
{
    size_t n = strlen(module);
    int64_t sum = 0;
    for (int i = 0; i < t->count; i++) {
        const VitroFlops *f = &t->info[i].flops;
        bool inside =
            strncmp(t->name[i], module, n) == 0 && (t->name[i][n] == 0 || t->name[i][n] == '.');
        if (inside || strcmp(module, ".") == 0)
            sum += f->conv + f->linear + f->matmul + f->layer_norm;
    }
    return sum;
}

static void count_param(void *user, const VitroParamInfo *info)
{
    int64_t *counts = user;
    counts[0] += info->count;
    if (strstr(info->name, "head") || strstr(info->name, "pre_logits"))
        counts[1] += info->count;
}

/* "model ..." of the fixture; see make_flops_fixtures.py. */
static VitroConfig read_model(const char *line, int64_t *batch)
{
    VitroConfig c = {.norm_eps = 1e-6, .act = VITRO_ACT_GELU};
    int qkv_bias, patch_norm;
    int n =
        sscanf(line, "model %d %d %d %d %d %d %d %lf %d %d %d %" SCNd64, &c.img_height,
               &c.patch_size, &c.in_channels, &c.num_classes, &c.embed_dim, &c.depth, &c.num_heads,
               &c.mlp_ratio, &qkv_bias, &c.representation_size, &patch_norm, batch);
    assert_int_equal(n, 12);
    c.img_width = c.img_height;
    c.qkv_bias = qkv_bias;
    c.patch_norm = patch_norm;
    table.count = 0;
    assert_int_equal(vitro_config_each_layer(&c, *batch, add, &table), VITRO_OK);
    return c;
}

static void check_params(const char *line, const VitroConfig *cfg)
{
    int64_t all, frozen, counts[2] = {0}, sum = 0;
    assert_int_equal(sscanf(line, "params %" SCNd64 " %" SCNd64, &all, &frozen), 2);
    assert_int_equal(vitro_config_each_param(cfg, count_param, counts), VITRO_OK);
    assert_int_equal(counts[0], all);
    assert_int_equal(counts[1], frozen);
    for (int i = 0; i < table.count; i++)
        sum += table.info[i].params;
    assert_int_equal(sum, all);
}

static void check_flops(const char *line, const VitroConfig *cfg, int64_t batch)
{
    VitroFlops want, found = sum_of(&table), closed = vitro_config_flops(cfg);
    int n = sscanf(line, "flops %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd64, &want.conv,
                   &want.linear, &want.matmul, &want.layer_norm);
    assert_int_equal(n, 4);
    assert_memory_equal(&found, &want, sizeof(want));
    closed = (VitroFlops){closed.conv * batch, closed.linear * batch, closed.matmul * batch,
                          closed.layer_norm * batch};
    assert_memory_equal(&closed, &want, sizeof(want));
}

static void as_fvcore_counts(void **state)
{
    (void)state;
    FILE *f = fopen("tests/golden/model/flops.txt", "r");
    assert_non_null(f);
    char line[256], module[64];
    VitroConfig cfg = {0};
    int64_t batch = 0, want;
    int models = 0, modules = 0;
    while (fgets(line, sizeof(line), f)) {
        if (strncmp(line, "model ", 6) == 0) {
            cfg = read_model(line, &batch);
            models++;
        } else if (strncmp(line, "params ", 7) == 0) {
            check_params(line, &cfg);
        } else if (strncmp(line, "flops ", 6) == 0) {
            check_flops(line, &cfg, batch);
        } else {
            assert_int_equal(sscanf(line, "module %63s %" SCNd64, module, &want), 2);
            if (module_flops(&table, module) != want)
                fail_msg("model %d, %s: %" PRId64 " FLOPs, fvcore has %" PRId64, models, module,
                         module_flops(&table, module), want);
            modules++;
        }
    }
    fclose(f);
    assert_int_equal(models, 11);
    assert_true(modules > 200);
}

static void order_and_shapes(void **state)
{
    (void)state;
    int64_t batch;
    VitroConfig cfg = read_model("model 35 8 1 7 24 2 3 2.5 0 10 1 3", &batch);
    const struct {
        const char *name;
        VitroLayerKind kind;
        int block, rank;
        int64_t dim[4];
    } want[] = {{"patch_embed.proj", VITRO_LAYER_CONV, -1, 4, {3, 24, 4, 4}},
                {"patch_embed.norm", VITRO_LAYER_NORM, -1, 3, {3, 16, 24}},
                {"cls_token", VITRO_LAYER_PARAM, -1, 3, {3, 1, 24}},
                {"pos_embed", VITRO_LAYER_PARAM, -1, 3, {3, 17, 24}},
                {"blocks.0.norm1", VITRO_LAYER_NORM, 0, 3, {3, 17, 24}},
                {"blocks.0.attn.qkv", VITRO_LAYER_LINEAR, 0, 3, {3, 17, 72}},
                {"blocks.0.attn.matmul", VITRO_LAYER_MATMUL, 0, 3, {3, 17, 24}},
                {"blocks.0.attn.proj", VITRO_LAYER_LINEAR, 0, 3, {3, 17, 24}},
                {"blocks.0.norm2", VITRO_LAYER_NORM, 0, 3, {3, 17, 24}},
                {"blocks.0.mlp.fc1", VITRO_LAYER_LINEAR, 0, 3, {3, 17, 60}},
                {"blocks.0.mlp.fc2", VITRO_LAYER_LINEAR, 0, 3, {3, 17, 24}}};
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
        assert_string_equal(table.name[i], want[i].name);
        assert_int_equal(table.info[i].kind, want[i].kind);
        assert_int_equal(table.info[i].block, want[i].block);
        assert_int_equal(table.info[i].rank, want[i].rank);
        assert_memory_equal(table.info[i].dim, want[i].dim, sizeof(want[i].dim));
    }
    assert_int_equal(table.count, 4 + 2 * 7 + 3);
    assert_string_equal(table.name[18], "norm");
    assert_string_equal(table.name[19], "pre_logits.fc");
    assert_string_equal(table.name[20], "head");
    assert_int_equal(table.info[20].dim[1], 7);
    assert_int_equal(vitro_config_each_layer(&cfg, 0, add, &table), VITRO_E_ARG);
    assert_int_equal(vitro_config_each_layer(&cfg, 4097, add, &table), VITRO_E_ARG);
    cfg.num_heads = 5;
    assert_int_equal(vitro_config_each_layer(&cfg, 1, add, &table), VITRO_E_ARG);
    assert_int_equal(table.count, 21); /* nothing was told */
}

/* For every mode: what is told beforehand is what a model and its plan then take. */
static void memory_is_what_is_taken(void **state)
{
    (void)state;
    int64_t batch;
    VitroConfig cfg = read_model("model 35 8 1 7 24 2 3 2.5 0 10 1 3", &batch);
    for (int precision = VITRO_FP32; precision <= VITRO_FP64; precision++) {
        VitroDeviceOptions options = {.name = "ref", .precision = precision};
        VitroDevice *dev;
        VitroModel *m;
        assert_int_equal(vitro_device_open(&dev, &options), VITRO_OK);
        assert_int_equal(vitro_model_create(&m, dev, &cfg), VITRO_OK);
        for (int mode = VITRO_MODE_INFER; mode <= VITRO_MODE_TRAIN_RECOMPUTE; mode++) {
            VitroMemory memory;
            VitroActs *acts;
            size_t element = vitro_dtype_size(dev->dtype);
            assert_int_equal(vitro_acts_create(&acts, m, batch, mode), VITRO_OK);
            assert_int_equal(vitro_config_memory(&memory, &cfg, precision, mode, batch), VITRO_OK);
            assert_int_equal(memory.activations, acts->bytes);
            assert_int_equal(memory.params, vitro_tensor_bytes(&m->flat));
            int64_t first = mode == VITRO_MODE_TRAIN_HEAD ? m->params.head_first : 0;
            int64_t trained = vitro_params_flat_count(&m->params, first) * (int64_t)element;
            assert_int_equal(memory.gradients, mode == VITRO_MODE_INFER ? 0 : trained);
            vitro_acts_free(acts);
        }
        vitro_model_free(m);
        vitro_device_close(dev);
    }
}

/* More than 2^64 bytes: the sum must not come round to a small number. */
static void memory_that_nobody_has(void **state)
{
    (void)state;
    int64_t batch;
    VitroConfig cfg = read_model("model 512 1 1 7 1 1024 1 1000000 0 0 0 1", &batch);
    VitroMemory memory;
    assert_int_equal(vitro_config_memory(&memory, &cfg, VITRO_FP64, VITRO_MODE_TRAIN, 1 << 20),
                     VITRO_E_NOMEM);
    assert_int_equal(vitro_config_memory(&memory, &cfg, VITRO_FP64, VITRO_MODE_TRAIN, 1), VITRO_OK);
    assert_int_equal(vitro_config_memory(&memory, &cfg, VITRO_FP32, VITRO_MODE_INFER, 0),
                     VITRO_E_ARG);
    assert_int_equal(
        vitro_config_memory(&memory, &cfg, VITRO_FP32, VITRO_MODE_INFER, (1 << 20) + 1),
        VITRO_E_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_fvcore_counts),
        cmocka_unit_test(order_and_shapes),
        cmocka_unit_test(memory_is_what_is_taken),
        cmocka_unit_test(memory_that_nobody_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
