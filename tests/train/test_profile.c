/* SPDX-License-Identifier: Apache-2.0 */
/* Time by operator: what a small model's passes call, how often, and that nothing else changes. */
#include "backend/backend.h"
#include "base/alloc.h"
#include "vitro/train.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "harness/vt.h"

enum {
    B = 3,
    S = 8,
    P = 4,
    N = 4, /* (S/P)^2 */
    T = 5,
    D = 8,
    MLP = 16,
    DEPTH = 3,
    K = 5,
    PIXELS = 3 * S * S
};

typedef struct Rig {
    VitroDevice *dev;
    VitroModel *model;
    float images[B * PIXELS];
    int32_t labels[B];
} Rig;

static void open_rig(Rig *r, const char *backend)
{
    VitroConfig cfg;
    VitroDeviceOptions options = {.name = backend, .threads = 1};
    assert_int_equal(vitro_device_open(&r->dev, &options), VITRO_OK);
    assert_int_equal(vitro_config_preset(&cfg, "vit_tiny_patch16_224"), VITRO_OK);
    cfg.img_height = cfg.img_width = S;
    cfg.patch_size = P;
    cfg.num_classes = K;
    cfg.embed_dim = D;
    cfg.depth = DEPTH;
    cfg.num_heads = 2;
    cfg.mlp_ratio = (double)MLP / D;
    assert_int_equal(vitro_model_create(&r->model, r->dev, &cfg), VITRO_OK);
    assert_int_equal(vitro_model_init(r->model, 7), VITRO_OK);
    for (int i = 0; i < B * PIXELS; i++)
        r->images[i] = (float)(i % 17) / 8 - 1;
    for (int i = 0; i < B; i++)
        r->labels[i] = i % K;
}

static void close_rig(Rig *r)
{
    vitro_model_free(r->model);
    vitro_device_close(r->dev);
}

/* The rows whose op is `op` (and whose shape is `shape`, where one is given), added up. */
static VitroProfileRow total(const Rig *r, const char *op, const char *shape)
{
    VitroProfileRow sum = {.op = op}, row;
    for (int i = 0; i < vitro_device_profile_count(r->dev); i++) {
        assert_int_equal(vitro_device_profile_get(r->dev, i, &row), VITRO_OK);
        if (strcmp(row.op, op) != 0 || (shape && strcmp(row.shape, shape) != 0))
            continue;
        assert_true(row.seconds >= 0 && row.calls > 0);
        sum.calls += row.calls;
        sum.seconds += row.seconds;
        sum.flops += row.flops;
        sum.bytes += row.bytes;
    }
    return sum;
}

static void check_calls(const Rig *r, const char *op, const char *shape, int64_t calls)
{
    const int64_t found = total(r, op, shape).calls;
    if (found != calls)
        fail_msg("%s %s: %d calls, expected %d", op, shape ? shape : "", (int)found, (int)calls);
}

static int64_t all_calls(const Rig *r)
{
    VitroProfileRow row;
    int64_t calls = 0;
    for (int i = 0; i < vitro_device_profile_count(r->dev); i++) {
        assert_int_equal(vitro_device_profile_get(r->dev, i, &row), VITRO_OK);
        calls += row.calls;
    }
    return calls;
}

/* ---- prediction -------------------------------------------------------------------------------
 */

/* Multiply-adds of a pass as it is done: the last block has one query, and one row of its MLP. */
static double forward_macs(void)
{
    const double whole = 4.0 * T * D * D + 2.0 * T * D * MLP;
    const double last = 2.0 * T * D * D + 2.0 * D * D + 2.0 * D * MLP;
    return B * (N * (3.0 * P * P) * D + (DEPTH - 1) * whole + last + (double)D * K);
}

/* `again`: backward passes, which make patches and the outer norms' outputs once more. */
static void check_forward(const Rig *r, int64_t passes, int64_t again)
{
    check_calls(r, "linear", NULL, passes * (1 + 4 * (DEPTH - 1) + 5 + 1));
    check_calls(r, "linear", "[12,8,48]", passes);                        /* patches */
    check_calls(r, "linear", "[15,24,8]", passes * (DEPTH - 1));          /* qkv */
    check_calls(r, "linear", "[15,8,8] residual", passes * (DEPTH - 1));  /* proj */
    check_calls(r, "linear", "[15,16,8] gelu", passes * (DEPTH - 1));     /* fc1 */
    check_calls(r, "linear", "[15,8,16] residual", passes * (DEPTH - 1)); /* fc2 */
    check_calls(r, "linear", "[3,5,8]", passes);                          /* head */
    check_calls(r, "layernorm", "[15,8]", passes * (2 * (DEPTH - 1) + 1) + again * 2 * (DEPTH - 1));
    check_calls(r, "layernorm", "[3,8]", passes * 2); /* norm2 of the last block, norm */
    check_calls(r, "attention", "[3,5,8]", passes * (DEPTH - 1));
    check_calls(r, "attention_cls", "[3,5,8]", passes);
    check_calls(r, "patchify", "[12,48]", passes + again);
    check_calls(r, "tokens", "[15,8]", passes);
    check_calls(r, "take_tokens", "[3,8]", passes * 2);
    const double macs = (double)passes * forward_macs();
    assert_true(total(r, "linear", NULL).flops == 2 * macs);
    assert_true(total(r, "attention", NULL).flops ==
                (double)passes * 2 * 2 * B * T * T * D * (DEPTH - 1));
    assert_true(total(r, "attention_cls", NULL).flops == (double)passes * 2 * 2 * B * T * D);
    /* x and y, gamma and beta */
    if (total(r, "cross_entropy", NULL).calls == 0)
        assert_true(total(r, "layernorm", "[15,8]").bytes ==
                    (double)passes * 4 * (2 * 15 * 8 + 2 * 8) * (2 * (DEPTH - 1) + 1));
}

static void predict(const char *backend)
{
    enum { PASSES = 2 };
    Rig rig, *r = &rig;
    float before[B * K], during[B * K], after[B * K];
    VitroPredictor *p;
    VitroProfileRow row;
    open_rig(r, backend);
    const VitroBackendOps *own = r->dev->ops;
    assert_int_equal(vitro_device_profile_count(r->dev), 0);
    assert_int_equal(vitro_device_profile_get(r->dev, 0, &row), VITRO_E_ARG);
    assert_int_equal(vitro_predictor_create(&p, r->model, B), VITRO_OK);
    assert_int_equal(vitro_predictor_run(p, r->images, B, before), VITRO_OK);

    assert_int_equal(vitro_device_profile(r->dev, true), VITRO_OK);
    assert_int_equal(vitro_device_profile_count(r->dev), 0);
    for (int i = 0; i < PASSES; i++)
        assert_int_equal(vitro_predictor_run(p, r->images, B, during), VITRO_OK);
    check_forward(r, PASSES, 0);
    check_calls(r, "upload", "", PASSES);
    check_calls(r, "download", "", PASSES);
    assert_true(total(r, "upload", NULL).bytes == 2.0 * PASSES * sizeof rig.images);

    /* Off: the back end's own table, and the counts stay to be read. */
    const int64_t calls = all_calls(r);
    assert_int_equal(vitro_device_profile(r->dev, false), VITRO_OK);
    assert_ptr_equal(r->dev->ops, own);
    assert_int_equal(vitro_predictor_run(p, r->images, B, after), VITRO_OK);
    assert_int_equal(all_calls(r), calls);
    assert_memory_equal(before, during, sizeof before);
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(vitro_device_profile_get(r->dev, -1, &row), VITRO_E_ARG);
    assert_int_equal(vitro_device_profile_get(r->dev, vitro_device_profile_count(r->dev), &row),
                     VITRO_E_ARG);

    /* On again: from zero, and without memory of its own. */
    const uint64_t allocations = vitro_alloc_count();
    assert_int_equal(vitro_device_profile(r->dev, true), VITRO_OK);
    assert_int_equal(vitro_predictor_run(p, r->images, B, during), VITRO_OK);
    assert_int_equal(vitro_alloc_count(), allocations);
    check_forward(r, 1, 0);
    vitro_predictor_free(p);
    close_rig(r); /* while the profile is on */
}

/* ---- training ---------------------------------------------------------------------------------
 */

static void train(const char *backend, VitroOptimizer optimizer, bool freeze)
{
    enum { STEPS = 2 };
    Rig rig, *r = &rig;
    VitroTrainer *t;
    VitroTrainOptions o = vitro_train_options_default();
    VitroStepResult result;
    o.batch_size = B;
    o.optimizer = optimizer;
    o.freeze = freeze;
    o.clip_grad = 1;
    open_rig(r, backend);
    assert_int_equal(vitro_trainer_create(&t, r->model, &o, STEPS), VITRO_OK);
    const VitroBatch batch = {.count = B, .images = r->images, .labels = r->labels};
    assert_int_equal(vitro_device_profile(r->dev, true), VITRO_OK);
    for (int i = 0; i < STEPS; i++)
        assert_int_equal(vitro_trainer_step(t, &batch, &result), VITRO_OK);

    check_calls(r, "linear", NULL, STEPS * (1 + 4 * (DEPTH - 1) + 5 + 1));
    check_calls(r, "cross_entropy", "[3,5]", STEPS);
    check_calls(r, "sum_of_squares", NULL, STEPS);
    check_calls(r, "sgd", NULL, optimizer == VITRO_SGD ? STEPS : 0);
    check_calls(r, "adamw", NULL, optimizer == VITRO_ADAMW ? STEPS : 0);
    check_calls(r, "zero", "", STEPS);
    if (freeze) {
        check_calls(r, "linear_backward", NULL, STEPS);
        check_calls(r, "linear_backward", "[3,5,8] dw", STEPS);
        check_calls(r, "layernorm_backward", NULL, 0);
        check_calls(r, "attention_backward", NULL, 0);
    } else {
        check_forward(r, STEPS, STEPS);
        check_calls(r, "linear_backward", NULL, STEPS * (1 + 4 * (DEPTH - 1) + 5 + 1));
        check_calls(r, "linear_backward", "[12,8,48] dw", STEPS); /* images want no gradient */
        check_calls(r, "linear_backward", "[15,8,16] gelu dw dx", STEPS * (DEPTH - 1)); /* fc2 */
        check_calls(r, "layernorm_backward", NULL, STEPS * (2 * DEPTH + 1));
        check_calls(r, "attention_backward", "[3,5,8]", STEPS * (DEPTH - 1));
        check_calls(r, "attention_cls_backward", "[3,5,8]", STEPS);
        check_calls(r, "tokens_backward", NULL, STEPS);
        check_calls(r, "add_tokens", NULL, STEPS * 2);
        /* two products for each of forward, but for the images' gradient */
        const double macs = 2 * forward_macs() - (double)B * N * (3.0 * P * P) * D;
        assert_true(total(r, "linear_backward", NULL).flops == 2 * STEPS * macs);
        assert_true(total(r, "attention_backward", NULL).flops ==
                    2 * total(r, "attention", NULL).flops);
    }
    vitro_trainer_free(t);
    close_rig(r);
}

static void test_prediction(void **state)
{
    (void)state;
    for (int i = 0; i < vitro_backend_count(); i++)
        if (vt_usable(vitro_backend_name(i)))
            predict(vitro_backend_name(i));
}

static void test_training(void **state)
{
    (void)state;
    for (int i = 0; i < vitro_backend_count(); i++) {
        if (!vt_usable(vitro_backend_name(i)))
            continue;
        train(vitro_backend_name(i), VITRO_SGD, false);
        train(vitro_backend_name(i), VITRO_ADAMW, false);
        train(vitro_backend_name(i), VITRO_SGD, true);
    }
}

/* ---- many shapes, no memory -------------------------------------------------------------------
 */

static void test_more_shapes_than_are_kept(void **state)
{
    (void)state;
    enum { MANY = 600 };
    VitroDevice *dev;
    VitroProfileRow row;
    float g[MANY] = {0};
    double squares;
    int64_t calls = 0, without_shape = 0;
    assert_int_equal(vitro_device_open(&dev, &(VitroDeviceOptions){.threads = 1}), VITRO_OK);
    assert_int_equal(vitro_device_profile(dev, true), VITRO_OK);
    for (int n = 1; n <= MANY; n++)
        assert_int_equal(dev->ops->sum_of_squares(dev, &squares, vitro_tensor1(g, VITRO_F32, n)),
                         VITRO_OK);
    for (int i = 0; i < vitro_device_profile_count(dev); i++) {
        assert_int_equal(vitro_device_profile_get(dev, i, &row), VITRO_OK);
        assert_string_equal(row.op, "sum_of_squares");
        calls += row.calls;
        if (!row.shape[0])
            without_shape = row.calls;
    }
    assert_int_equal(calls, MANY);
    assert_true(without_shape > 0 && without_shape < MANY);
    vitro_device_close(dev);
}

static void test_no_memory(void **state)
{
    (void)state;
    VitroDevice *dev;
    assert_int_equal(vitro_device_open(&dev, &(VitroDeviceOptions){.threads = 1}), VITRO_OK);
    const VitroBackendOps *own = dev->ops;
    vitro_alloc_fail_at(1);
    assert_int_equal(vitro_device_profile(dev, true), VITRO_E_NOMEM);
    vitro_alloc_fail_at(0);
    assert_ptr_equal(dev->ops, own);
    assert_int_equal(vitro_device_profile(dev, false), VITRO_OK); /* never begun */
    vitro_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prediction),
        cmocka_unit_test(test_training),
        cmocka_unit_test(test_more_shapes_than_are_kept),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("train/profile", tests, NULL, NULL);
}
