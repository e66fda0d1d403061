/* SPDX-License-Identifier: Apache-2.0 */
/* Training that keeps only the blocks' inputs and computes the rest again takes less memory and
 * gives the same bits: every loss, gradient and weight, with every kind of dropout. */
#include "base/alloc.h"
#include "base/rng.h"
#include "vitro/train.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { BATCH = 4, STEPS = 7 };

static const VitroConfig base_config = {.img_height = 12,
                                        .img_width = 12,
                                        .patch_size = 4,
                                        .in_channels = 2,
                                        .num_classes = 5,
                                        .embed_dim = 12,
                                        .depth = 4,
                                        .num_heads = 3,
                                        .mlp_ratio = 2.5,
                                        .qkv_bias = true,
                                        .norm_eps = 1e-6,
                                        .act = VITRO_ACT_GELU};

static void ok(VitroStatus st)
{
    if (st != VITRO_OK)
        fail_msg("%s: %s", vitro_status_name(st), vitro_last_error());
}

/* One of the two runs that are compared. */
typedef struct Run {
    VitroModel *model;
    VitroTrainer *trainer;
} Run;

static Run begin(VitroDevice *dev, const VitroConfig *cfg, const VitroTrainOptions *options,
                 bool recompute)
{
    Run r;
    VitroTrainOptions o = *options;
    o.recompute = recompute;
    ok(vitro_model_create(&r.model, dev, cfg));
    ok(vitro_model_init(r.model, 3));
    ok(vitro_trainer_create(&r.trainer, r.model, &o, STEPS));
    return r;
}

static void end(Run *r)
{
    vitro_trainer_free(r->trainer);
    vitro_model_free(r->model);
}

/* Weights, and where b has them (where they are not used up by parts), gradients. */
static void compare(const Run *a, const Run *b, int step, bool gradients)
{
    for (int64_t i = 0; i < vitro_model_param_count(a->model); i++) {
        VitroParamInfo info = vitro_model_param(a->model, i);
        size_t n = (size_t)info.count;
        float *x = vitro_calloc(n, sizeof(float)), *y = vitro_calloc(n, sizeof(float));
        assert_non_null(x);
        assert_non_null(y);
        ok(vitro_model_param_get(a->model, i, x));
        ok(vitro_model_param_get(b->model, i, y));
        if (memcmp(x, y, n * sizeof(float)) != 0)
            fail_msg("step %d: %s differs", step, info.name);
        memset(y, 0xff, n * sizeof(float));
        ok(vitro_trainer_grad(a->trainer, i, x));
        VitroStatus st = vitro_trainer_grad(b->trainer, i, y);
        assert_int_equal(st, gradients ? VITRO_OK : VITRO_E_UNSUPPORTED);
        if (gradients) {
            if (memcmp(x, y, n * sizeof(float)) != 0)
                fail_msg("step %d: the gradient of %s differs", step, info.name);
        }
        vitro_free(x);
        vitro_free(y);
    }
}

/* Batches of BATCH and of fewer pictures. */
static void train(const VitroConfig *cfg, bool gradients, Run *a, Run *b)
{
    int64_t pixels = (int64_t)cfg->in_channels * cfg->img_height * cfg->img_width;
    float *images = vitro_calloc((size_t)(BATCH * pixels), sizeof(float));
    assert_non_null(images);
    VitroRng rng = vitro_rng(5, VITRO_RNG_INIT, 0, 0);
    for (int step = 0; step < STEPS; step++) {
        int32_t labels[BATCH];
        for (int64_t i = 0; i < BATCH * pixels; i++)
            images[i] = (float)vitro_rng_normal(&rng);
        for (int i = 0; i < BATCH; i++)
            labels[i] = (i + step) % cfg->num_classes;
        VitroBatch batch = {
            .count = step % 3 == 1 ? BATCH - 1 : BATCH, .images = images, .labels = labels};
        VitroStepResult x, y;
        ok(vitro_trainer_step(a->trainer, &batch, &x));
        ok(vitro_trainer_step(b->trainer, &batch, &y));
        assert_memory_equal(&x.loss, &y.loss, sizeof(x.loss));
        assert_int_equal(x.correct, y.correct);
        assert_int_equal(x.updated, y.updated);
        compare(a, b, step, gradients);
    }
    vitro_free(images);
}

static void same_bits(const VitroConfig *cfg, const VitroTrainOptions *options)
{
    static const VitroDeviceOptions devices[] = {{.name = "ref", .precision = VITRO_FP64},
                                                 {.name = "ref", .threads = 1},
                                                 {.name = "cpu", .threads = 2}};
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        VitroDevice *dev;
        ok(vitro_device_open(&dev, &devices[i]));
        Run kept = begin(dev, cfg, options, false), again = begin(dev, cfg, options, true);
        if (cfg->depth > 3)
            assert_true(vitro_trainer_bytes(again.trainer) < vitro_trainer_bytes(kept.trainer));
        train(cfg, options->accumulate > 1 || options->clip_grad > 0, &kept, &again);
        end(&kept);
        end(&again);
        vitro_device_close(dev);
    }
}

static VitroTrainOptions base_options(void)
{
    VitroTrainOptions o = vitro_train_options_default();
    o.lr = 0.05;
    o.batch_size = BATCH;
    o.seed = 9;
    return o;
}

/* One kind at a time, so that none hides behind another, and then all. */
static void every_dropout(void **state)
{
    (void)state;
    VitroTrainOptions o = base_options();
    for (int kind = 0; kind <= 7; kind++) {
        VitroConfig cfg = base_config;
        cfg.drop_ratio = kind & 1 ? 0.3 : 0;
        cfg.attn_drop_ratio = kind & 2 ? 0.4 : 0;
        cfg.drop_path_ratio = kind & 4 ? 0.5 : 0;
        for (o.accumulate = 1; o.accumulate <= 2; o.accumulate++)
            same_bits(&cfg, &o);
    }
}

static void every_way_to_update(void **state)
{
    (void)state;
    VitroConfig cfg = base_config;
    cfg.drop_ratio = cfg.attn_drop_ratio = cfg.drop_path_ratio = 0.2;
    VitroTrainOptions o = base_options();
    o.accumulate = 3;
    same_bits(&cfg, &o);
    o.clip_grad = 0.5;
    o.label_smoothing = 0.1;
    same_bits(&cfg, &o);
    o = base_options();
    same_bits(&cfg, &o);
    o.momentum = 0;
    same_bits(&cfg, &o);
    o.optimizer = VITRO_ADAMW;
    same_bits(&cfg, &o);
}

static void every_geometry(void **state)
{
    (void)state;
    VitroTrainOptions o = base_options();
    o.accumulate = 2;
    VitroConfig cfg = base_config;
    for (cfg.depth = 1; cfg.depth <= 3; cfg.depth++)
        same_bits(&cfg, &o);
    cfg.qkv_bias = false;
    cfg.patch_norm = true;
    cfg.representation_size = 7;
    cfg.act = VITRO_ACT_GELU_TANH;
    same_bits(&cfg, &o);
    cfg.mlp_ratio = 0.3;                 /* the MLP is narrower than the tokens */
    cfg.img_height = cfg.img_width = 14; /* no multiple of the patch */
    cfg.drop_ratio = 0.3;
    same_bits(&cfg, &o);
    cfg = base_config;
    cfg.img_height = cfg.img_width = 5; /* one patch: two tokens */
    cfg.embed_dim = 7;
    cfg.num_heads = 1;
    cfg.drop_path_ratio = 0.3;
    same_bits(&cfg, &o);
}

/* What is told beforehand is what a trainer then takes. */
static void memory_is_what_is_taken(void **state)
{
    (void)state;
    VitroDevice *dev;
    VitroModel *m;
    ok(vitro_device_open(&dev, &(VitroDeviceOptions){.name = "cpu", .threads = 1}));
    ok(vitro_model_create(&m, dev, &base_config));
    for (int kind = 0; kind < 64; kind++) {
        VitroTrainOptions o = base_options();
        o.freeze = kind & 1;
        o.recompute = kind & 2;
        o.accumulate = kind & 4 ? 2 : 1;
        o.momentum = kind & 8 ? 0 : 0.9;
        o.optimizer = kind & 16 ? VITRO_ADAMW : VITRO_SGD;
        o.clip_grad = kind & 32 ? 1 : 0;
        VitroTrainMemory told;
        VitroTrainer *t;
        ok(vitro_train_memory(&told, &base_config, VITRO_FP32, &o));
        ok(vitro_trainer_create(&t, m, &o, STEPS));
        assert_int_equal(told.gradients + told.optimizer + told.activations,
                         vitro_trainer_bytes(t));
        assert_int_equal(told.total, told.params + vitro_trainer_bytes(t));
        vitro_trainer_free(t);
    }
    vitro_model_free(m);
    vitro_device_close(dev);
}

/* What a block of which only the input is kept leaves: its share of the plan is one buffer. */
static void a_block_costs_its_input(void **state)
{
    (void)state;
    VitroConfig cfg = base_config;
    int64_t bytes[2];
    for (int i = 0; i < 2; i++) {
        VitroMemory memory;
        cfg.depth = 10 + i;
        ok(vitro_config_memory(&memory, &cfg, VITRO_FP32, VITRO_MODE_TRAIN_RECOMPUTE, 16));
        bytes[i] = memory.activations;
    }
    assert_int_equal(bytes[1] - bytes[0],
                     16 * vitro_config_tokens(&cfg) * cfg.embed_dim * (int64_t)sizeof(float));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dropout),           cmocka_unit_test(every_way_to_update),
        cmocka_unit_test(every_geometry),          cmocka_unit_test(memory_is_what_is_taken),
        cmocka_unit_test(a_block_costs_its_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
