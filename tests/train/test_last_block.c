/* SPDX-License-Identifier: Apache-2.0 */
/* The last block computes only what the class token needs. Here the same model runs with a last
 * block that computes everything, built from the layers of the other blocks: outputs and all
 * gradients must agree, with every dropout, on every back end. */
#include "base/alloc.h"
#include "base/rng.h"
#include "model/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { B = 3 };

static const VitroConfig base_config = {.img_height = 12,
                                        .img_width = 12,
                                        .patch_size = 4,
                                        .in_channels = 2,
                                        .num_classes = 5,
                                        .embed_dim = 12,
                                        .depth = 3,
                                        .num_heads = 3,
                                        .mlp_ratio = 2.5,
                                        .qkv_bias = true,
                                        .norm_eps = 1e-6,
                                        .act = VITRO_ACT_GELU};

typedef struct Side {
    VitroParams grad;
    VitroTensor flat;
} Side;

typedef struct Fixture {
    VitroDevice *dev;
    VitroConfig cfg;
    VitroModel *model;
    VitroActs *acts;
    VitroRng rng;
    /* the last block in full */
    VitroBlockActs full;
    VitroBlockScratch scratch;
    VitroTensor cls, dx; /* [B,D], [B,T,D] */
    void *memory;
    Side brief, complete; /* gradients of the model, and of the model with `full` */
} Fixture;

static void ok(VitroStatus st)
{
    if (st != VITRO_OK)
        fail_msg("%s: %s", vitro_status_name(st), vitro_last_error());
}

/* Host memory is device memory here: both back ends are the CPU's. */
static double element(VitroTensor t, int64_t i)
{
    return t.dtype == VITRO_F64 ? ((double *)t.data)[i] : (double)((float *)t.data)[i];
}

static void fill(Fixture *f, VitroTensor t, double scale)
{
    for (int64_t i = 0; i < vitro_tensor_count(&t); i++) {
        double value = scale * vitro_rng_normal(&f->rng);
        if (t.dtype == VITRO_F64)
            ((double *)t.data)[i] = value;
        else
            ((float *)t.data)[i] = (float)value;
    }
}

/* ---- the full form ----------------------------------------------------------------------------
 */

static void plan_full(Fixture *f, VitroArena *arena, bool keep)
{
    VitroPlan plan = {.arena = arena,
                      .cfg = &f->cfg,
                      .dtype = f->dev->dtype,
                      .operand = f->dev->dtype,
                      .batch = B,
                      .tokens = vitro_config_tokens(&f->cfg),
                      .patches = vitro_config_patches(&f->cfg),
                      .keep = keep,
                      .drop = f->acts->drop};
    VitroTensor stream = vitro_plan3(&plan, B, plan.tokens, f->cfg.embed_dim);
    plan.norm = vitro_plan3(&plan, B, plan.tokens, f->cfg.embed_dim);
    vitro_block_plan(&f->full, &plan, f->cfg.depth - 1, stream);
    f->cls = vitro_plan2(&plan, B, f->cfg.embed_dim);
    f->dx = vitro_plan3(&plan, B, plan.tokens, f->cfg.embed_dim);
    vitro_block_plan_scratch(&f->scratch, &plan);
}

/* The class token after the last block, from the same input. */
static void full_forward(Fixture *f)
{
    int last = f->cfg.depth - 1;
    VitroTensor x = last ? f->acts->block[last - 1].out : f->acts->embed.out;
    ok(vitro_block_forward(f->dev, &f->full, &f->model->params.block[last], x));
    ok(f->dev->ops->take_tokens(f->dev, f->cls, f->full.out, 0));
}

/* As vitro_model_backward from the final norm down, with the full last block; dcls as there. */
static void full_backward(Fixture *f, VitroTensor dcls)
{
    VitroParams *p = &f->model->params, *grad = &f->complete.grad;
    VitroActs *a = f->acts;
    int last = f->cfg.depth - 1;
    memset(f->dx.data, 0, vitro_tensor_bytes(&f->dx));
    ok(f->dev->ops->add_tokens(f->dev, f->dx, dcls, 0));
    ok(vitro_block_backward(f->dev, f->dx, &grad->block[last], &f->full, &p->block[last],
                            &f->scratch));
    for (int l = last - 1; l >= 0; l--)
        ok(vitro_block_backward(f->dev, f->dx, &grad->block[l], &a->block[l], &p->block[l],
                                &a->block_scratch));
    ok(vitro_embed_backward(f->dev, &grad->embed, f->dx, &a->embed, &p->embed, &f->cfg,
                            &a->embed_scratch));
}

/* ---- one model, both ways ---------------------------------------------------------------------
 */

static void begin_side(Fixture *f, Side *s)
{
    ok(vitro_params_init(&s->grad, &f->cfg, f->dev->dtype));
    s->flat = vitro_tensor1(NULL, f->dev->dtype, vitro_params_flat_count(&s->grad, 0));
    s->flat.data = vitro_calloc(1, vitro_tensor_bytes(&s->flat));
    assert_non_null(s->flat.data);
    vitro_params_place(&s->grad, 0, s->flat);
}

static void begin(Fixture *f, const VitroConfig *cfg, const VitroDeviceOptions *options,
                  VitroMode mode)
{
    memset(f, 0, sizeof(*f));
    f->cfg = *cfg;
    f->rng = vitro_rng(3, VITRO_RNG_INIT, 0, 0);
    ok(vitro_device_open(&f->dev, options));
    ok(vitro_model_create(&f->model, f->dev, cfg));
    ok(vitro_acts_create(&f->acts, f->model, B, mode));
    for (int64_t i = 0; i < f->model->params.count; i++)
        fill(f, *f->model->params.list[i].slot, 0.4);
    ok(vitro_model_refresh(f->model));
    fill(f, f->acts->images, 1);
    if (f->acts->drop) {
        f->acts->drop->seed = 11;
        f->acts->drop->step = 5;
        f->acts->drop->sample0 = 6;
    }
    VitroArena arena = {0};
    plan_full(f, &arena, mode == VITRO_MODE_TRAIN);
    f->memory = vitro_malloc_aligned(arena.peak);
    assert_non_null(f->memory);
    arena = (VitroArena){.base = f->memory};
    plan_full(f, &arena, mode == VITRO_MODE_TRAIN);
    begin_side(f, &f->brief);
    begin_side(f, &f->complete);
}

static void end(Fixture *f)
{
    Side *sides[] = {&f->brief, &f->complete};
    for (int i = 0; i < 2; i++) {
        vitro_params_deinit(&sides[i]->grad);
        vitro_free(sides[i]->flat.data);
    }
    vitro_free(f->memory);
    vitro_acts_free(f->acts);
    vitro_model_free(f->model);
    vitro_device_close(f->dev);
}

/* Off by at most `limit` of the largest element; limit 0: equal numbers. */
static void same(const char *what, VitroTensor got, VitroTensor want, double limit)
{
    double largest = 0;
    for (int64_t i = 0; i < vitro_tensor_count(&want); i++)
        largest = fmax(largest, fabs(element(want, i)));
    for (int64_t i = 0; i < vitro_tensor_count(&want); i++)
        if (!(fabs(element(got, i) - element(want, i)) <= limit * largest))
            fail_msg("%s[%lld]: %.17g, in full %.17g", what, (long long)i, element(got, i),
                     element(want, i));
}

static void compare_gradients(Fixture *f, double limit)
{
    VitroParams *got = &f->brief.grad, *want = &f->complete.grad;
    int64_t moved = 0;
    for (int64_t i = 0; i < got->count; i++) {
        const char *name = got->list[i].name;
        if (!strncmp(name, "norm.", 5) || i >= got->head_first)
            continue; /* above the last block: nothing there is computed twice */
        if (strstr(name, "k_norm.bias"))
            continue; /* it moves all of a query's scores alike: its gradient is rounding error */
        VitroTensor g = *got->list[i].slot, w = *want->list[i].slot;
        same(name, g, w, limit);
        for (int64_t k = 0; k < vitro_tensor_count(&w); k++)
            moved += element(w, k) != 0;
    }
    assert_true(moved > vitro_tensor_count(&f->complete.flat) / 4);
}

/* `ref` computes both forms with the same sums in the same order, but for the gradient that q and
 * kv send to the block's input in two parts. */
static void compare(const VitroConfig *cfg, const VitroDeviceOptions *options, VitroMode mode,
                    double limit, double limit_gradient)
{
    Fixture f;
    begin(&f, cfg, options, mode);
    if (mode == VITRO_MODE_TRAIN) {
        ok(vitro_model_forward(f.model, f.acts));
        full_forward(&f);
        same("class token", f.acts->last.out, f.cls, limit);
        fill(&f, f.acts->dout, 1);
        ok(vitro_model_backward(f.model, &f.brief.grad, f.acts));
        /* dcls is lost by now: take it from the final norm once more */
        VitroTensor dnorm = f.acts->dpool;
        if (!cfg->num_classes && !cfg->representation_size)
            dnorm = f.acts->dout;
        ok(vitro_layernorm_backward(f.dev, f.acts->dcls, &f.complete.grad.pool.norm,
                                    VITRO_NO_TENSOR, dnorm, &f.acts->pool.norm,
                                    &f.model->params.pool.norm));
        full_backward(&f, f.acts->dcls);
        compare_gradients(&f, limit_gradient);
    } else {
        /* The other blocks work in place: the full last block goes second, on a copy of its
         * input, which the short form leaves as it was. */
        ok(vitro_model_forward(f.model, f.acts));
        memcpy(f.full.out.data, f.acts->embed.out.data, vitro_tensor_bytes(&f.full.out));
        int last = cfg->depth - 1;
        ok(vitro_block_forward(f.dev, &f.full, &f.model->params.block[last], f.full.out));
        ok(f.dev->ops->take_tokens(f.dev, f.cls, f.full.out, 0));
        same("class token", f.acts->last.out, f.cls, limit);
    }
    end(&f);
}

static void each_device(const VitroConfig *cfg)
{
    static const VitroMode modes[] = {VITRO_MODE_TRAIN, VITRO_MODE_TRAIN_HEAD, VITRO_MODE_INFER};
    for (int i = 0; i < 3; i++) {
        compare(cfg, &(VitroDeviceOptions){.name = "ref", .precision = VITRO_FP64}, modes[i], 0,
                1e-13);
        compare(cfg, &(VitroDeviceOptions){.name = "ref"}, modes[i], 0, 2e-6);
        compare(cfg, &(VitroDeviceOptions){.name = "cpu", .threads = 2}, modes[i], 4e-6, 1e-5);
    }
}

static void plain(void **state)
{
    (void)state;
    each_device(&base_config);
}

/* What timm adds to a block, with and without dropout. */
static void further_arguments(void **state)
{
    (void)state;
    VitroConfig cfg = base_config;
    cfg.init_values = 0.3;
    cfg.qk_norm = true;
    cfg.reg_tokens = 2;
    cfg.no_embed_class = true;
    cfg.pre_norm = true;
    each_device(&cfg);
    cfg.drop_ratio = 0.3;
    cfg.drop_path_ratio = 0.5;
    each_device(&cfg);
}

/* One kind at a time, so that none hides behind another, and then all. */
static void every_dropout(void **state)
{
    (void)state;
    for (int kind = 1; kind <= 7; kind++) {
        VitroConfig cfg = base_config;
        cfg.drop_ratio = kind & 1 ? 0.3 : 0;
        cfg.attn_drop_ratio = kind & 2 ? 0.4 : 0;
        cfg.drop_path_ratio = kind & 4 ? 0.5 : 0;
        each_device(&cfg);
    }
}

static void one_block(void **state)
{
    (void)state;
    VitroConfig cfg = base_config;
    cfg.depth = 1;
    each_device(&cfg);
    cfg.drop_ratio = 0.2;
    cfg.attn_drop_ratio = 0.2;
    cfg.img_height = cfg.img_width = 4; /* one patch: two tokens */
    each_device(&cfg);
}

static void shapes_of_model(void **state)
{
    (void)state;
    VitroConfig cfg = base_config;
    cfg.qkv_bias = false;
    cfg.patch_norm = true;
    cfg.qk_scale = 0.7;
    each_device(&cfg);
    cfg.num_classes = 0;
    each_device(&cfg);
    cfg.representation_size = 7;
    cfg.act = VITRO_ACT_GELU_TANH;
    each_device(&cfg);
}

/* Setting attn.qkv after the weights were prepared reaches the views of it that the last block
 * computes with. */
static void set_parameters_are_used(void **state)
{
    (void)state;
    static const char *const parts[] = {"blocks.0.attn.qkv.weight", "blocks.0.attn.qkv.bias"};
    VitroConfig cfg = base_config;
    cfg.depth = 1;
    for (int part = 0; part < 2; part++) {
        Fixture f;
        begin(&f, &cfg, &(VitroDeviceOptions){.name = "cpu", .threads = 1}, VITRO_MODE_INFER);
        for (int64_t i = 0; i < f.model->params.count; i++) {
            const VitroParam *e = &f.model->params.list[i];
            if (strcmp(e->name, parts[part]) != 0)
                continue;
            float values[3 * 12 * 12];
            for (int64_t k = 0; k < vitro_tensor_count(e->slot); k++)
                values[k] = (float)vitro_rng_normal(&f.rng);
            ok(vitro_model_param_set(f.model, i, values));
        }
        ok(vitro_model_forward(f.model, f.acts));
        full_forward(&f); /* reads attn.qkv itself, which nobody has prepared */
        same("class token", f.acts->last.out, f.cls, 4e-6);
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain),           cmocka_unit_test(further_arguments),
        cmocka_unit_test(every_dropout),   cmocka_unit_test(one_block),
        cmocka_unit_test(shapes_of_model), cmocka_unit_test(set_parameters_are_used),
    };
    return cmocka_run_group_tests_name("train/last_block", tests, NULL, NULL);
}
