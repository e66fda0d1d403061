/* SPDX-License-Identifier: Apache-2.0 */
/* Every parameter's gradient of whole models, in double precision on the reference back end,
 * against central differences of the forward pass: dropout, drop path, patch norm, pre_logits, no
 * head, frozen; timm's arguments, each alone and together. */
#include "base/alloc.h"
#include "base/rng.h"
#include "model/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

typedef struct Fixture {
    VitroDevice *dev;
    VitroModel *model;
    VitroActs *acts;
    VitroParams grad;
    VitroTensor grad_flat;
    double *out_weight; /* the loss is sum(out * out_weight) */
    int64_t B;
} Fixture;

static const VitroConfig base_config = {.img_height = 7, /* a remainder of 1 pixel */
                                        .img_width = 7,
                                        .patch_size = 3,
                                        .in_channels = 2,
                                        .num_classes = 3,
                                        .embed_dim = 8,
                                        .depth = 2,
                                        .num_heads = 2,
                                        .mlp_ratio = 1.6,
                                        .qkv_bias = true,
                                        .norm_eps = 1e-6,
                                        .act = VITRO_ACT_GELU};

static void ok(VitroStatus st)
{
    if (st != VITRO_OK)
        fail_msg("%s: %s", vitro_status_name(st), vitro_last_error());
}

static void fill(VitroTensor t, VitroRng *rng, double scale)
{
    double *x = t.data;
    for (int64_t i = 0; i < vitro_tensor_count(&t); i++)
        x[i] = scale * vitro_rng_normal(rng);
}

static void begin(Fixture *f, const VitroConfig *cfg, VitroMode mode)
{
    VitroDeviceOptions options = {.name = "ref", .precision = VITRO_FP64};
    VitroRng rng = vitro_rng(1, VITRO_RNG_INIT, 0, 0);
    memset(f, 0, sizeof(*f));
    f->B = 3;
    ok(vitro_device_open(&f->dev, &options));
    ok(vitro_model_create(&f->model, f->dev, cfg));
    ok(vitro_acts_create(&f->acts, f->model, f->B, mode));
    for (int64_t i = 0; i < f->model->params.count; i++)
        fill(*f->model->params.list[i].slot, &rng, 0.5);
    ok(vitro_model_refresh(f->model));
    fill(f->acts->images, &rng, 1);
    f->acts->drop->seed = 42;
    f->acts->drop->step = 7;

    ok(vitro_params_init(&f->grad, cfg, VITRO_F64));
    int64_t first = mode == VITRO_MODE_TRAIN ? 0 : f->grad.head_first;
    f->grad_flat = vitro_tensor1(NULL, VITRO_F64, vitro_params_flat_count(&f->grad, first));
    f->grad_flat.data = vitro_calloc(1, vitro_tensor_bytes(&f->grad_flat));
    assert_non_null(f->grad_flat.data);
    vitro_params_place(&f->grad, first, f->grad_flat);

    fill(f->acts->dout, &rng, 1);
    f->out_weight = vitro_malloc(vitro_tensor_bytes(&f->acts->dout));
    assert_non_null(f->out_weight);
    memcpy(f->out_weight, f->acts->dout.data, vitro_tensor_bytes(&f->acts->dout));
}

static void end(Fixture *f)
{
    vitro_free(f->out_weight);
    vitro_free(f->grad_flat.data);
    vitro_params_deinit(&f->grad);
    vitro_acts_free(f->acts);
    vitro_model_free(f->model);
    vitro_device_close(f->dev);
}

static double loss(Fixture *f)
{
    ok(vitro_model_forward(f->model, f->acts));
    const double *out = f->acts->out.data;
    double sum = 0;
    for (int64_t i = 0; i < vitro_tensor_count(&f->acts->out); i++)
        sum += out[i] * f->out_weight[i];
    return sum;
}

/* Compares a sample of elements of each trained parameter. */
static void check(Fixture *f)
{
    const double h = 1e-5;
    int64_t compared = 0;
    loss(f);
    memcpy(f->acts->dout.data, f->out_weight, vitro_tensor_bytes(&f->acts->dout));
    ok(vitro_model_backward(f->model, &f->grad, f->acts));
    for (int64_t i = 0; i < f->grad.count; i++) {
        const VitroParam *g = &f->grad.list[i];
        if (!g->slot->data)
            continue;
        double *w = f->model->params.list[i].slot->data;
        const double *dw = g->slot->data;
        int64_t n = vitro_tensor_count(g->slot), stride = n / 5 + 1;
        for (int64_t k = 0; k < n; k += stride) {
            double old = w[k];
            w[k] = old + h;
            ok(vitro_model_refresh(f->model));
            double plus = loss(f);
            w[k] = old - h;
            ok(vitro_model_refresh(f->model));
            double minus = loss(f);
            w[k] = old;
            double want = (plus - minus) / (2 * h);
            if (!(fabs(dw[k] - want) <= 1e-6 * (1 + fabs(want))))
                fail_msg("%s[%lld]: gradient %.12g, central difference %.12g", g->name,
                         (long long)k, dw[k], want);
            compared++;
        }
    }
    assert_true(compared > 5);
}

static void run(const VitroConfig *cfg, VitroMode mode)
{
    Fixture f;
    begin(&f, cfg, mode);
    check(&f);
    end(&f);
}

static void plain(void **state)
{
    (void)state;
    run(&base_config, VITRO_MODE_TRAIN);
}

static void every_option(void **state)
{
    (void)state;
    VitroConfig cfg = base_config;
    cfg.drop_ratio = 0.2;
    cfg.attn_drop_ratio = 0.3;
    cfg.drop_path_ratio = 0.4;
    cfg.patch_norm = true;
    cfg.representation_size = 5;
    cfg.qk_scale = 0.3;
    cfg.act = VITRO_ACT_GELU_TANH;
    run(&cfg, VITRO_MODE_TRAIN);
}

static void with_drops(VitroConfig cfg)
{
    run(&cfg, VITRO_MODE_TRAIN);
    cfg.drop_ratio = 0.2;
    cfg.attn_drop_ratio = 0.3;
    cfg.drop_path_ratio = 0.4;
    run(&cfg, VITRO_MODE_TRAIN);
}

static void layers_of_timm(void **state)
{
    (void)state;
    VitroConfig cfg = base_config;
    cfg.init_values = 0.1;
    with_drops(cfg);
    cfg = base_config;
    cfg.qk_norm = true;
    cfg.no_proj_bias = true;
    with_drops(cfg);
    cfg = base_config;
    cfg.pre_norm = true;
    cfg.patch_norm = true;
    cfg.act = VITRO_ACT_GELU_QUICK;
    with_drops(cfg);
    cfg = base_config;
    cfg.patch_pre_norm = true;
    cfg.patch_norm = true;
    with_drops(cfg);
    cfg.patch_norm = false;
    with_drops(cfg);
}

static void tokens_of_timm(void **state)
{
    (void)state;
    VitroConfig cfg = base_config;
    cfg.reg_tokens = 3;
    with_drops(cfg);
    cfg.no_embed_class = true;
    with_drops(cfg);
    cfg.no_class_token = true;
    cfg.global_pool = VITRO_POOL_AVG;
    with_drops(cfg);
    cfg.reg_tokens = 0;
    with_drops(cfg);
}

/* Every pooling with the final norm before it, behind it, and absent; with a head and without. */
static void poolings(void **state)
{
    (void)state;
    static const VitroPooling pools[] = {VITRO_POOL_TOKEN, VITRO_POOL_AVG, VITRO_POOL_MAP};
    for (int pool = 0; pool < 3; pool++)
        for (int norm = 0; norm < 3; norm++)
            for (int other = 0; other < 2; other++) {
                VitroConfig cfg = base_config;
                cfg.global_pool = pools[pool];
                cfg.fc_norm = norm == 1;
                cfg.no_final_norm = norm == 2;
                cfg.pool_include_prefix = other;
                cfg.num_classes = other ? 0 : 3;
                cfg.init_values = other ? 0.2 : 0;
                run(&cfg, VITRO_MODE_TRAIN);
            }
    VitroConfig cfg = base_config;
    cfg.global_pool = VITRO_POOL_MAP;
    cfg.representation_size = 4;
    with_drops(cfg);
    run(&cfg, VITRO_MODE_TRAIN_HEAD);
    cfg.global_pool = VITRO_POOL_AVG;
    run(&cfg, VITRO_MODE_TRAIN_HEAD);
}

static void distilled(void **state)
{
    (void)state;
    VitroConfig cfg = base_config;
    cfg.distilled = true;
    with_drops(cfg);
    run(&cfg, VITRO_MODE_TRAIN_HEAD);
    cfg.no_final_norm = true;
    with_drops(cfg);
    cfg.num_classes = 0;
    with_drops(cfg);
}

static void no_head(void **state)
{
    (void)state;
    VitroConfig cfg = base_config;
    cfg.num_classes = 0;
    cfg.qkv_bias = false;
    run(&cfg, VITRO_MODE_TRAIN);
    cfg.representation_size = 4;
    run(&cfg, VITRO_MODE_TRAIN);
}

static void no_square(void **state)
{
    (void)state;
    VitroConfig cfg = base_config;
    cfg.img_height = 3; /* 1 x 3 patches */
    cfg.img_width = 11;
    run(&cfg, VITRO_MODE_TRAIN);
}

static void frozen(void **state)
{
    (void)state;
    VitroConfig cfg = base_config;
    run(&cfg, VITRO_MODE_TRAIN_HEAD);
    cfg.representation_size = 4;
    cfg.drop_ratio = 0.2; /* a frozen part drops in training all the same */
    run(&cfg, VITRO_MODE_TRAIN_HEAD);
}

/* A smaller batch in a larger plan gives the numbers it gives alone; inference those of training.
 */
static void batches_and_modes_agree(void **state)
{
    (void)state;
    VitroConfig cfg = base_config;
    cfg.representation_size = 5;
    Fixture f;
    begin(&f, &cfg, VITRO_MODE_TRAIN);
    loss(&f);
    VitroPredictor *p;
    ok(vitro_predictor_create(&p, f.model, 5));
    int64_t n = vitro_tensor_count(&f.acts->images) / f.B, K = cfg.num_classes;
    float images[5 * 2 * 7 * 7], logits[5 * 3];
    for (int64_t i = 0; i < f.B * n; i++)
        images[i] = (float)((double *)f.acts->images.data)[i];
    ok(vitro_predictor_run(p, images, f.B, logits));
    for (int64_t i = 0; i < f.B * K; i++)
        assert_true(fabs(logits[i] - ((double *)f.acts->out.data)[i]) < 1e-5);
    ok(vitro_predictor_run(p, images + n, 1, logits));
    for (int64_t i = 0; i < K; i++)
        assert_true(fabs(logits[i] - ((double *)f.acts->out.data)[K + i]) < 1e-5);
    assert_int_equal(vitro_predictor_run(p, images, 6, logits), VITRO_E_ARG);
    vitro_predictor_free(p);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain),          cmocka_unit_test(every_option),
        cmocka_unit_test(layers_of_timm), cmocka_unit_test(tokens_of_timm),
        cmocka_unit_test(poolings),       cmocka_unit_test(distilled),
        cmocka_unit_test(no_head),        cmocka_unit_test(no_square),
        cmocka_unit_test(frozen),         cmocka_unit_test(batches_and_modes_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
