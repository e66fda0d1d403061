/* SPDX-License-Identifier: Apache-2.0 */
/* The training step: ten steps of a small ViT against PyTorch, and what the trainer promises. */
#include "harness/vt.h"
#include "model/model.h"
#include "train/golden.h"
#include "vitro/train.h"

#include <math.h>
#include <stdlib.h>

/* SMALL in make_train_fixtures.py */
enum { CHANNELS = 3, SIDE = 10, PIXELS = CHANNELS * SIDE * SIDE, CLASSES = 5, BATCH = 4 };

static VitroConfig small_config(void)
{
    VitroConfig cfg;
    assert_int_equal(vitro_config_preset(&cfg, "vit_tiny_patch16_224"), VITRO_OK);
    cfg.img_height = cfg.img_width = SIDE;
    cfg.patch_size = 4;
    cfg.in_channels = CHANNELS;
    cfg.num_classes = CLASSES;
    cfg.embed_dim = 8;
    cfg.depth = 2;
    cfg.num_heads = 2;
    cfg.mlp_ratio = 2.5;
    cfg.representation_size = 6;
    return cfg;
}

static VitroDevice *open_device(const char *name)
{
    VitroDevice *dev;
    VitroDeviceOptions options = {.name = name, .threads = 1};
    assert_int_equal(vitro_device_open(&dev, &options), VITRO_OK);
    return dev;
}

static VitroModel *make_model(VitroDevice *dev, const VitroConfig *cfg)
{
    VitroModel *m;
    assert_int_equal(vitro_model_create(&m, dev, cfg), VITRO_OK);
    assert_int_equal(vitro_model_init(m, 7), VITRO_OK);
    return m;
}

static VitroTrainOptions small_options(void)
{
    VitroTrainOptions o = vitro_train_options_default();
    o.lr = 0.05;
    o.epochs = 1;
    o.lrf = 1;
    o.batch_size = BATCH;
    return o;
}

/* ---- pictures that PyTorch saw ----------------------------------------------------------------
 */

typedef struct Pictures {
    int64_t count;
    float *images;   /* [count,CHANNELS,SIDE,SIDE] */
    int32_t *labels; /* [count] */
} Pictures;

static Pictures read_pictures(const VitroCheckpoint *g)
{
    Pictures p;
    uint8_t *bytes = golden_read(g, "images", VITRO_U8, NULL);
    p.labels = golden_read(g, "labels", VITRO_I32, &p.count);
    p.images = vitro_calloc((size_t)p.count * PIXELS, sizeof(float));
    for (int64_t i = 0; i < p.count * PIXELS; i++)
        p.images[i] = ((float)bytes[i] / 255.0f - 0.5f) / 0.5f;
    vitro_free(bytes);
    return p;
}

static VitroBatch batch_of(const Pictures *p, int64_t b)
{
    int64_t first = b * BATCH, left = p->count - first;
    return (VitroBatch){.count = left < BATCH ? left : BATCH,
                        .images = p->images + first * PIXELS,
                        .labels = p->labels + first};
}

static void free_pictures(Pictures *p)
{
    vitro_free(p->images);
    vitro_free(p->labels);
}

/* ---- against PyTorch --------------------------------------------------------------------------
 */

static char *prefixed(const char *prefix, const char *name)
{
    char *s = vitro_asprintf("%s.%s", prefix, name);
    assert_non_null(s);
    return s;
}

static void load_start(VitroModel *m, const VitroCheckpoint *g)
{
    for (int64_t i = 0; i < vitro_model_param_count(m); i++) {
        VitroParamInfo info = vitro_model_param(m, i);
        int64_t n;
        char *name = prefixed("start", info.name);
        float *values = golden_read(g, name, VITRO_F32, &n);
        assert_int_equal(n, info.count);
        assert_int_equal(vitro_model_param_set(m, i, values), VITRO_OK);
        vitro_free(values);
        vitro_free(name);
    }
}

/* Compares with tensor `prefix.name` within `limit` of its largest element; a parameter that
 * PyTorch did not train has none and must still be what it was. */
static void check_tensor(const VitroCheckpoint *g, const char *prefix, VitroParamInfo info,
                         const float *got, double limit)
{
    char *name = prefixed(prefix, info.name);
    if (vitro_checkpoint_find(g, name) < 0) {
        vitro_free(name);
        name = prefixed("start", info.name);
        limit = 0;
    }
    float *want = golden_read(g, name, VITRO_F32, NULL);
    float largest = 0;
    for (int64_t i = 0; i < info.count; i++)
        largest = fmaxf(largest, fabsf(want[i]));
    for (int64_t i = 0; i < info.count; i++) {
        const double off = fabs((double)got[i] - want[i]);
        if (!(off <= limit * largest)) /* NaN too */
            fail_msg("%s: off by %.3g of its largest element, %.3g are allowed", name,
                     off / largest, limit);
    }
    vitro_free(want);
    vitro_free(name);
}

static void check_gradients(const VitroTrainer *t, const VitroModel *m, const VitroCheckpoint *g)
{
    for (int64_t i = 0; i < vitro_model_param_count(m); i++) {
        VitroParamInfo info = vitro_model_param(m, i);
        if (!vitro_trainer_trains(t, i))
            continue;
        float *grad = vitro_calloc((size_t)info.count, sizeof(float));
        assert_int_equal(vitro_trainer_grad(t, i, grad), VITRO_OK);
        check_tensor(g, "grad", info, grad, 1e-5);
        vitro_free(grad);
    }
}

static void check_weights(const VitroModel *m, const VitroCheckpoint *g)
{
    for (int64_t i = 0; i < vitro_model_param_count(m); i++) {
        VitroParamInfo info = vitro_model_param(m, i);
        float *values = vitro_calloc((size_t)info.count, sizeof(float));
        assert_int_equal(vitro_model_param_get(m, i, values), VITRO_OK);
        check_tensor(g, "end", info, values, 5e-5);
        vitro_free(values);
    }
}

static void replay(const char *backend, const char *run, const VitroTrainOptions *options)
{
    VitroCheckpoint *g = golden_open(run);
    int64_t batches;
    double *losses = golden_read(g, "losses", VITRO_F64, &batches);
    int32_t *correct = golden_read(g, "correct", VITRO_I32, NULL);
    Pictures pictures = read_pictures(g);
    VitroDevice *dev = open_device(backend);
    VitroConfig cfg = small_config();
    VitroModel *m = make_model(dev, &cfg);
    load_start(m, g);
    VitroTrainer *t;
    assert_int_equal(vitro_trainer_create(&t, m, options, batches), VITRO_OK);
    int64_t updates = 0;
    for (int64_t b = 0; b < batches; b++) {
        VitroStepResult r;
        VitroBatch batch = batch_of(&pictures, b);
        assert_int_equal(vitro_trainer_step(t, &batch, &r), VITRO_OK);
        if (b == 0)
            check_gradients(t, m, g);
        if (!(fabs(r.loss - losses[b]) <= 1e-5 * fabs(losses[b])))
            fail_msg("%s on %s, batch %d: loss %.9g, PyTorch has %.9g", run, backend, (int)b,
                     r.loss, losses[b]);
        assert_int_equal(r.correct, correct[b]);
        assert_true(r.updated == ((b + 1) % options->accumulate == 0 || b == batches - 1));
        updates += r.updated;
    }
    assert_int_equal(vitro_trainer_steps(t), updates);
    check_weights(m, g);
    vitro_trainer_free(t);
    vitro_model_free(m);
    vitro_device_close(dev);
    free_pictures(&pictures);
    vitro_free(losses);
    vitro_free(correct);
    vitro_checkpoint_close(g);
}

static void test_against_pytorch(void **state)
{
    (void)state;
    for (int b = 0; b < vitro_backend_count(); b++) {
        if (!vt_usable(vitro_backend_name(b)))
            continue;
        VitroTrainOptions sgd = small_options(), frozen = sgd, adamw = sgd;
        replay(vitro_backend_name(b), "run_sgd", &sgd);
        frozen.freeze = true;
        replay(vitro_backend_name(b), "run_frozen", &frozen);
        adamw.optimizer = VITRO_ADAMW;
        adamw.lr = 0.01;
        adamw.beta2 = 0.95;
        adamw.adam_eps = 1e-5;
        adamw.weight_decay = 0.05;
        adamw.label_smoothing = 0.1;
        adamw.clip_grad = 0.5;
        adamw.accumulate = 4;
        replay(vitro_backend_name(b), "run_adamw", &adamw);
    }
}

/* ---- promises ---------------------------------------------------------------------------------
 */

static Pictures random_pictures(int64_t count)
{
    Pictures p = {.count = count,
                  .images = vitro_calloc((size_t)count * PIXELS, sizeof(float)),
                  .labels = vitro_calloc((size_t)count, sizeof(int32_t))};
    uint32_t s = 1;
    for (int64_t i = 0; i < count * PIXELS; i++) {
        s = s * 1664525u + 1013904223u;
        p.images[i] = (float)(s >> 8) * 0x1p-23f - 1;
    }
    for (int64_t i = 0; i < count; i++)
        p.labels[i] = (int32_t)(i * 3 % CLASSES);
    return p;
}

/* A model, its trainer and a few pictures on the best back end. */
typedef struct Setup {
    VitroDevice *dev;
    VitroModel *model;
    VitroTrainer *trainer;
    Pictures pictures;
} Setup;

static Setup set_up(const VitroConfig *cfg, const VitroTrainOptions *o, int64_t batches)
{
    Setup s = {.dev = open_device(NULL), .pictures = random_pictures(8 * BATCH)};
    s.model = make_model(s.dev, cfg);
    assert_int_equal(vitro_trainer_create(&s.trainer, s.model, o, batches), VITRO_OK);
    return s;
}

static void tear_down(Setup *s)
{
    vitro_trainer_free(s->trainer);
    vitro_model_free(s->model);
    vitro_device_close(s->dev);
    free_pictures(&s->pictures);
}

static VitroStepResult step(Setup *s, int64_t b)
{
    VitroStepResult r;
    VitroBatch batch = batch_of(&s->pictures, b);
    assert_int_equal(vitro_trainer_step(s->trainer, &batch, &r), VITRO_OK);
    return r;
}

/* All parameters as one array. */
static float *snapshot(const VitroModel *m, int64_t *count)
{
    int64_t n = 0, at = 0;
    for (int64_t i = 0; i < vitro_model_param_count(m); i++)
        n += vitro_model_param(m, i).count;
    float *values = vitro_calloc((size_t)n, sizeof(float));
    for (int64_t i = 0; i < vitro_model_param_count(m); i++) {
        assert_int_equal(vitro_model_param_get(m, i, values + at), VITRO_OK);
        at += vitro_model_param(m, i).count;
    }
    *count = n;
    return values;
}

/* Dropout of every kind: two runs of one seed are equal bit for bit, another seed differs. */
static void test_repeatable(void **state)
{
    (void)state;
    VitroConfig cfg = small_config();
    cfg.drop_ratio = 0.1, cfg.attn_drop_ratio = 0.2, cfg.drop_path_ratio = 0.3;
    float *end[3];
    int64_t n = 0;
    for (int k = 0; k < 3; k++) {
        VitroTrainOptions o = small_options();
        o.seed = k == 2;
        Setup s = set_up(&cfg, &o, 8);
        for (int64_t b = 0; b < 4; b++)
            step(&s, b);
        end[k] = snapshot(s.model, &n);
        tear_down(&s);
    }
    assert_memory_equal(end[0], end[1], (size_t)n * sizeof(float));
    assert_true(memcmp(end[0], end[2], (size_t)n * sizeof(float)) != 0);
    for (int k = 0; k < 3; k++)
        vitro_free(end[k]);
}

/* A new forward pass draws new masks: the same pictures give another loss. */
static void test_dropout_moves_on(void **state)
{
    (void)state;
    VitroConfig cfg = small_config();
    cfg.drop_ratio = 0.3;
    VitroTrainOptions o = small_options();
    o.lr = 0;
    o.weight_decay = 0;
    Setup s = set_up(&cfg, &o, 8);
    assert_true(step(&s, 0).loss != step(&s, 0).loss);
    tear_down(&s);
}

static void test_frozen_part_stays(void **state)
{
    (void)state;
    VitroConfig cfg = small_config();
    VitroTrainOptions o = small_options();
    Setup all = set_up(&cfg, &o, 8);
    o.freeze = true;
    Setup s = set_up(&cfg, &o, 8);
    int64_t n, at = 0;
    float *before = snapshot(s.model, &n);
    for (int64_t b = 0; b < 3; b++)
        step(&s, b);
    float *after = snapshot(s.model, &n);
    for (int64_t i = 0; i < vitro_model_param_count(s.model); i++) {
        VitroParamInfo info = vitro_model_param(s.model, i);
        bool is_head =
            strncmp(info.name, "head.", 5) == 0 || strncmp(info.name, "pre_logits.", 11) == 0;
        assert_true(vitro_trainer_trains(s.trainer, i) == is_head);
        bool same = memcmp(before + at, after + at, (size_t)info.count * sizeof(float)) == 0;
        assert_true(same == !is_head);
        at += info.count;
    }
    float unused;
    assert_int_equal(vitro_trainer_grad(s.trainer, 0, &unused), VITRO_E_ARG);
    assert_true(vitro_trainer_bytes(s.trainer) < vitro_trainer_bytes(all.trainer));
    vitro_free(before);
    vitro_free(after);
    tear_down(&s);
    tear_down(&all);
}

/* Two batches of one size accumulated are one batch of twice the size. */
static void test_accumulate(void **state)
{
    (void)state;
    VitroConfig cfg = small_config();
    VitroTrainOptions o = small_options();
    o.accumulate = 2;
    Setup two = set_up(&cfg, &o, 8);
    o.accumulate = 1;
    o.batch_size = 2 * BATCH;
    Setup one = set_up(&cfg, &o, 4);
    int64_t n;
    assert_false(step(&two, 0).updated);
    assert_true(step(&two, 1).updated);
    VitroStepResult r;
    VitroBatch batch = batch_of(&one.pictures, 0);
    batch.count = 2 * BATCH;
    assert_int_equal(vitro_trainer_step(one.trainer, &batch, &r), VITRO_OK);
    float *a = snapshot(two.model, &n), *b = snapshot(one.model, &n);
    for (int64_t i = 0; i < n; i++)
        assert_true(fabs(a[i] - b[i]) <= 1e-6);
    vitro_free(a);
    vitro_free(b);
    tear_down(&one);
    tear_down(&two);
}

static void test_no_allocation(void **state)
{
    (void)state;
    VitroConfig cfg = small_config();
    cfg.drop_ratio = 0.1;
    VitroTrainOptions o = small_options();
    o.optimizer = VITRO_ADAMW;
    o.clip_grad = 1;
    Setup s = set_up(&cfg, &o, 8);
    step(&s, 0);
    uint64_t before = vitro_alloc_count();
    for (int64_t b = 1; b < 6; b++)
        step(&s, b);
    vitro_trainer_end_epoch(s.trainer);
    step(&s, 0);
    assert_int_equal(vitro_alloc_count(), before);
    tear_down(&s);
}

static void test_learning_rates(void **state)
{
    (void)state;
    VitroConfig cfg = small_config();
    VitroTrainOptions o = small_options();
    o.lr = 0.1;
    o.lrf = 0.5;
    o.epochs = 2;
    o.accumulate = 2;
    o.warmup_epochs = 0.5; /* of 3 updates an epoch: 2, rounded to even */
    Setup s = set_up(&cfg, &o, 5);
    const double lr[] = {0.001, 0.001, 0.1 * (0.01 + 0.99 / 2), 0.1 * (0.01 + 0.99 / 2), 0.1};
    for (int64_t b = 0; b < 5; b++)
        assert_true(fabs(step(&s, b).lr - lr[b]) < 1e-15);
    VitroStepResult r;
    VitroBatch batch = batch_of(&s.pictures, 0);
    assert_int_equal(vitro_trainer_step(s.trainer, &batch, &r), VITRO_E_ARG); /* epoch is full */
    vitro_trainer_end_epoch(s.trainer);
    assert_int_equal(vitro_trainer_epoch(s.trainer), 1);
    assert_true(fabs(vitro_trainer_lr(s.trainer) - 0.075) < 1e-15);
    assert_true(step(&s, 0).lr == vitro_trainer_lr(s.trainer));
    tear_down(&s);
}

static void test_not_finite(void **state)
{
    (void)state;
    VitroConfig cfg = small_config();
    VitroTrainOptions o = small_options();
    Setup s = set_up(&cfg, &o, 8);
    step(&s, 0);
    int64_t n;
    float *before = snapshot(s.model, &n);
    VitroStepResult r;
    VitroBatch batch = batch_of(&s.pictures, 1);
    s.pictures.images[BATCH * PIXELS] = NAN;
    assert_int_equal(vitro_trainer_step(s.trainer, &batch, &r), VITRO_E_NUMERIC);
    assert_true(isnan(r.loss) && !r.updated);
    assert_string_equal(vitro_last_error(), "epoch 0, batch 1: the loss is nan");
    float *after = snapshot(s.model, &n);
    assert_memory_equal(before, after, (size_t)n * sizeof(float));
    vitro_free(before);
    vitro_free(after);
    tear_down(&s);
}

static void test_refusals(void **state)
{
    (void)state;
    VitroConfig cfg = small_config();
    VitroTrainOptions o = small_options();
    Setup s = set_up(&cfg, &o, 8);
    VitroStepResult r;
    VitroBatch batch = batch_of(&s.pictures, 0);
    batch.count = BATCH + 1;
    assert_int_equal(vitro_trainer_step(s.trainer, &batch, &r), VITRO_E_ARG);
    batch.count = 0;
    assert_int_equal(vitro_trainer_step(s.trainer, &batch, &r), VITRO_E_ARG);
    batch.count = BATCH;
    s.pictures.labels[2] = CLASSES;
    assert_int_equal(vitro_trainer_step(s.trainer, &batch, &r), VITRO_E_ARG);
    assert_string_equal(vitro_last_error(), "label 5: the model has classes 0 to 4");

    VitroTrainer *t = NULL;
    const VitroTrainOptions good = o;
    o.lr = NAN;
    assert_int_equal(vitro_trainer_create(&t, s.model, &o, 8), VITRO_E_ARG);
    o = good, o.label_smoothing = 1;
    assert_int_equal(vitro_trainer_create(&t, s.model, &o, 8), VITRO_E_ARG);
    assert_string_equal(vitro_last_error(), "label_smoothing: 1 is not in [0, 1)");
    o = good, o.accumulate = 0;
    assert_int_equal(vitro_trainer_create(&t, s.model, &o, 8), VITRO_E_ARG);
    o = good, o.weight_decay = INFINITY;
    assert_int_equal(vitro_trainer_create(&t, s.model, &o, 8), VITRO_E_ARG);
    assert_int_equal(vitro_trainer_create(&t, s.model, &good, 0), VITRO_E_ARG);
    cfg.num_classes = 0;
    VitroModel *headless = make_model(s.dev, &cfg);
    assert_int_equal(vitro_trainer_create(&t, headless, &good, 8), VITRO_E_ARG);
    assert_null(t);
    vitro_model_free(headless);
    tear_down(&s);
}

/* Whatever allocation fails, the trainer says so and leaks nothing (the sanitizer run looks). */
static void test_no_memory(void **state)
{
    (void)state;
    VitroConfig cfg = small_config();
    VitroTrainOptions o = small_options();
    o.optimizer = VITRO_ADAMW;
    VitroDevice *dev = open_device("ref");
    VitroModel *m = make_model(dev, &cfg);
    VitroTrainer *t = NULL;
    uint64_t n = 1;
    for (;; n++) {
        vitro_alloc_fail_at(n);
        VitroStatus st = vitro_trainer_create(&t, m, &o, 8);
        if (st == VITRO_OK)
            break;
        assert_int_equal(st, VITRO_E_NOMEM);
        assert_null(t);
    }
    vitro_alloc_fail_at(0);
    assert_true(n > 8);
    vitro_trainer_free(t);
    vitro_model_free(m);
    vitro_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_pytorch),  cmocka_unit_test(test_repeatable),
        cmocka_unit_test(test_dropout_moves_on), cmocka_unit_test(test_frozen_part_stays),
        cmocka_unit_test(test_accumulate),       cmocka_unit_test(test_no_allocation),
        cmocka_unit_test(test_learning_rates),   cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_refusals),         cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
