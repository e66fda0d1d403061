/* SPDX-License-Identifier: Apache-2.0 */
/* What is bf16 on devices in bf16, of every back end that has it, against ref: operands and results
 * of products, LayerNorm's output, patches, attention. Inputs are numbers that bf16 has; sums are
 * float32, and what is rounded on the way to a result shows in the limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "harness/vt.h"

#define SUMS    4e-6 /* nothing is rounded but sums */
#define ROUNDED 6e-3 /* a bf16 on the way: 2^-9 of the largest, or two of them */

static const VitroDropState drop_state = {.seed = 77, .step = 3, .sample0 = 5};

typedef struct Shape {
    int64_t M, K, N, rows_per_sample;
} Shape;

/* What a product of the model looks like: which of its tensors are bf16, and its epilogue. */
typedef struct Kind {
    const char *name;
    VitroDtype in, out;
    VitroAct act;
    bool pre, drops, residual;
} Kind;

static const Kind kinds[] = {
    {"qkv", VITRO_BF16, VITRO_BF16, VITRO_ACT_NONE, false, false, false},
    {"proj", VITRO_BF16, VITRO_F32, VITRO_ACT_NONE, false, false, true},
    {"proj drops", VITRO_BF16, VITRO_F32, VITRO_ACT_NONE, false, true, true},
    {"fc1", VITRO_BF16, VITRO_BF16, VITRO_ACT_GELU, true, false, false},
    {"fc1 drops", VITRO_BF16, VITRO_BF16, VITRO_ACT_GELU, true, true, false},
    {"fc1 tanh", VITRO_BF16, VITRO_BF16, VITRO_ACT_GELU_TANH, true, false, false},
    {"fc1 inference", VITRO_BF16, VITRO_BF16, VITRO_ACT_GELU, false, false, false},
    {"pre_logits", VITRO_F32, VITRO_F32, VITRO_ACT_TANH, true, false, false},
    {"head", VITRO_F32, VITRO_F32, VITRO_ACT_NONE, false, false, false},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static VitroEpilogue epilogue_of(VtCase *c, int s, const Kind *k, int64_t rows_per_sample)
{
    VitroEpilogue e = {.act = k->act, .rows_per_sample = rows_per_sample};
    if (!k->drops)
        return e;
    const VitroDropState *state = vt_raw(c, s, &drop_state, sizeof drop_state);
    e.dropout = (VitroDropout){.ratio = 0.3, .site = 4, .state = state};
    e.path = (VitroDropout){.ratio = 0.2, .site = 6, .state = state};
    return e;
}

static VtTensor *weight_of(VtCase *c, const Shape *z)
{
    return vt_make(c, "w", VT_INPUT, VITRO_F32, 1 / sqrt((double)z->K), 2, (int64_t[]){z->N, z->K});
}

static void forward(VtCase *c, const Shape *z, const Kind *k, bool prepared)
{
    const int64_t mn[] = {z->M, z->N};
    VtTensor *x = vt_make(c, "x", VT_INPUT, k->in, 1, 2, (int64_t[]){z->M, z->K});
    VtTensor *w = weight_of(c, z), *b = vt_input(c, "b", 1, &z->N);
    VtTensor *pre = k->pre ? vt_make(c, "pre", VT_OUTPUT, k->out, 1, 2, mn) : vt_absent();
    VtTensor *y = vt_make(c, "y", k->residual ? VT_INOUT : VT_OUTPUT, k->out, 1, 2, mn);
    for (int s = 0; s < VT_SIDES; s++) {
        VitroDevice *dev = c->dev[s];
        VitroWeight weight = {.w = w->t[s], .b = b->t[s]};
        VitroEpilogue e = epilogue_of(c, s, k, z->rows_per_sample);
        e.pre = pre->t[s];
        if (k->residual)
            e.residual = y->t[s];
        if (prepared)
            vt_ok(c, dev->ops->weight_prepare(dev, &weight, z->M));
        vt_ok(c, dev->ops->linear(dev, y->t[s], x->t[s], &weight, &e));
        dev->ops->weight_release(dev, &weight);
    }
    vt_check(c, pre, SUMS);
    vt_check(c, y, k->act && k->out == VITRO_BF16 ? ROUNDED : SUMS);
}

/* From dpre, float32 where it comes along the residual stream; through the epilogue that made x. */
static void backward(VtCase *c, const Shape *z, const Kind *through, bool narrow, bool prepared)
{
    const int64_t mk[] = {z->M, z->K}, nk[] = {z->N, z->K};
    const VitroDtype dtype = narrow ? VITRO_BF16 : VITRO_F32;
    VtTensor *x = vt_make(c, "x", VT_INPUT, VITRO_BF16, 1, 2, mk);
    VtTensor *dpre = vt_make(c, "dpre", VT_INPUT, dtype, 1, 2, (int64_t[]){z->M, z->N});
    VtTensor *w = weight_of(c, z);
    VtTensor *pre = through->pre ? vt_make(c, "pre", VT_INPUT, VITRO_BF16, 1, 2, mk) : vt_absent();
    VtTensor *dx = vt_make(c, "dx", VT_OUTPUT, through->out, 1, 2, mk);
    VtTensor *dw = vt_inout(c, "dw", 2, nk), *db = vt_inout(c, "db", 1, &z->N);
    for (int s = 0; s < VT_SIDES; s++) {
        VitroDevice *dev = c->dev[s];
        VitroWeight weight = {.w = w->t[s]}, grad = {.w = dw->t[s], .b = db->t[s]};
        VitroEpilogue e = epilogue_of(c, s, through, z->rows_per_sample);
        e.pre = pre->t[s];
        if (prepared)
            vt_ok(c, dev->ops->weight_prepare(dev, &weight, z->M));
        vt_ok(c, dev->ops->linear_backward(dev, dx->t[s], &grad, dpre->t[s], x->t[s], &weight, &e));
        dev->ops->weight_release(dev, &weight);
    }
    vt_check(c, dx, through->act || through->drops ? ROUNDED : SUMS);
    vt_check(c, dw, SUMS);
    vt_check(c, db, SUMS);
}

static void back_through(VtCase *c, const Shape *z, const Kind *k)
{
    const int64_t mn[] = {z->M, z->N};
    VtTensor *dy = vt_input(c, "dy", 2, mn);
    VtTensor *pre = vt_make(c, "pre", VT_INPUT, VITRO_BF16, 1, 2, mn);
    VtTensor *dpre = vt_make(c, "dpre", VT_OUTPUT, VITRO_BF16, 1, 2, mn);
    for (int s = 0; s < VT_SIDES; s++) {
        VitroEpilogue e = epilogue_of(c, s, k, z->rows_per_sample);
        e.pre = pre->t[s];
        vt_ok(c, c->dev[s]->ops->epilogue_backward(c->dev[s], dpre->t[s], dy->t[s], &e));
    }
    vt_check(c, dpre, k->act ? 3e-4 : SUMS); /* the CPU has a shorter GELU for narrow results */
}

static void linear_cases(VtCase *c)
{
    static const Shape shapes[] = {{2, 3, 5, 2},      {7, 16, 64, 7},    {33, 31, 65, 11},
                                   {40, 64, 96, 20},  {1, 64, 1000, 1},  {64, 257, 17, 32},
                                   {70, 260, 150, 7}, {34, 768, 64, 17}, {34, 96, 768, 17}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const Shape *z = &shapes[i];
        for (int k = 0; k < KINDS; k++)
            if (vt_begin(c, "%s M=%d K=%d N=%d", kinds[k].name, (int)z->M, (int)z->K, (int)z->N)) {
                forward(c, z, &kinds[k], (i + (size_t)k) % 2);
                vt_end(c);
            }
        for (int k = 0; k < 6; k++)
            if (vt_begin(c, "backward through %s M=%d K=%d N=%d", kinds[k].name, (int)z->M,
                         (int)z->K, (int)z->N)) {
                backward(c, z, &kinds[k], (i + (size_t)k) % 3, k % 2);
                vt_end(c);
            }
        for (int k = 2; k < 6; k++)
            if (vt_begin(c, "epilogue of %s M=%d N=%d", kinds[k].name, (int)z->M, (int)z->N)) {
                back_through(c, z, &kinds[k]);
                vt_end(c);
            }
    }
}

/* ---- other ops with results of bf16
 * --------------------------------------------------------------
 */

static void layernorm(VtCase *c, int64_t M, int64_t D)
{
    const int64_t md[] = {M, D};
    VtTensor *x = vt_input(c, "x", 2, md), *gamma = vt_input(c, "gamma", 1, &D);
    VtTensor *beta = vt_input(c, "beta", 1, &D);
    VtTensor *y = vt_make(c, "y", VT_OUTPUT, VITRO_BF16, 1, 2, md);
    for (int s = 0; s < VT_SIDES; s++)
        vt_ok(c, c->dev[s]->ops->layernorm(c->dev[s], y->t[s], VITRO_NO_TENSOR, VITRO_NO_TENSOR,
                                           x->t[s], gamma->t[s], beta->t[s], 1e-6));
    vt_check(c, y, SUMS);
}

static void patches(VtCase *c, int64_t side, int64_t P)
{
    const int64_t n = side / P;
    VtTensor *images = vt_input(c, "images", 4, (int64_t[]){2, 3, side, side});
    VtTensor *out =
        vt_make(c, "patches", VT_OUTPUT, VITRO_BF16, 1, 3, (int64_t[]){2, n * n, 3 * P * P});
    for (int s = 0; s < VT_SIDES; s++)
        vt_ok(c, c->dev[s]->ops->patchify(c->dev[s], out->t[s], images->t[s], P));
    vt_check(c, out, 0);
}

static void class_token(VtCase *c, int64_t T, int64_t D)
{
    VtTensor *x = vt_make(c, "x", VT_INPUT, VITRO_BF16, 1, 3, (int64_t[]){3, T, D});
    VtTensor *cls = vt_make(c, "cls", VT_OUTPUT, VITRO_BF16, 1, 2, (int64_t[]){3, D});
    for (int s = 0; s < VT_SIDES; s++)
        vt_ok(c, c->dev[s]->ops->take_tokens(c->dev[s], cls->t[s], x->t[s], 0));
    vt_check(c, cls, 0);
}

static void other_cases(VtCase *c)
{
    static const int64_t widths[] = {1, 7, 64, 192, 257, 768, 1280, 2056};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        if (vt_begin(c, "layernorm D=%d", (int)widths[i])) {
            layernorm(c, 19, widths[i]);
            vt_end(c);
        }
        if (vt_begin(c, "take_cls D=%d", (int)widths[i])) {
            class_token(c, 5, widths[i]);
            vt_end(c);
        }
    }
    static const int64_t sides[][2] = {{32, 16}, {33, 8}, {28, 14}, {10, 3}};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++)
        if (vt_begin(c, "patchify side=%d P=%d", (int)sides[i][0], (int)sides[i][1])) {
            patches(c, sides[i][0], sides[i][1]);
            vt_end(c);
        }
}

/* ---- attention ---------------------------------------------------------------------------------
 */

typedef struct Heads {
    int64_t B, T, H, Dh;
    bool drops;
} Heads;

static VitroAttentionShape shape_of(VtCase *c, int s, const Heads *z)
{
    VitroAttentionShape shape = {.heads = z->H, .scale = 1 / sqrt((double)z->Dh)};
    if (z->drops)
        shape.dropout = (VitroDropout){
            .ratio = 0.25, .site = 1, .state = vt_raw(c, s, &drop_state, sizeof drop_state)};
    return shape;
}

/* Probabilities are rounded to bf16 before they are multiplied, and so are their gradients. */
static void attention(VtCase *c, const Heads *z)
{
    const int64_t B = z->B, T = z->T, D = z->H * z->Dh;
    const int64_t btd[] = {B, T, D}, bt3d[] = {B, T, 3 * D};
    VtTensor *qkv = vt_make(c, "qkv", VT_INPUT, VITRO_BF16, 1, 3, bt3d);
    VtTensor *ctx = vt_make(c, "ctx", VT_OUTPUT, VITRO_BF16, 1, 3, btd);
    VtTensor *lse = vt_output(c, "lse", 3, (int64_t[]){B, z->H, T});
    VtTensor *dctx = vt_make(c, "dctx", VT_INPUT, VITRO_BF16, 1, 3, btd);
    VtTensor *dqkv = vt_make(c, "dqkv", VT_OUTPUT, VITRO_BF16, 1, 3, bt3d);
    for (int s = 0; s < VT_SIDES; s++) {
        VitroDevice *dev = c->dev[s];
        const VitroAttentionShape shape = shape_of(c, s, z);
        vt_ok(c, dev->ops->attention(dev, ctx->t[s], lse->t[s], qkv->t[s], &shape));
        vt_ok(c, dev->ops->attention_backward(dev, dqkv->t[s], dctx->t[s], qkv->t[s], ctx->t[s],
                                              lse->t[s], &shape));
    }
    vt_check(c, lse, SUMS);
    vt_check(c, ctx, ROUNDED);
    vt_check(c, dqkv, 2 * ROUNDED);
}

static void attention_of_cls(VtCase *c, const Heads *z)
{
    const int64_t B = z->B, T = z->T, D = z->H * z->Dh;
    const int64_t bd[] = {B, D}, bt2d[] = {B, T, 2 * D};
    VtTensor *q = vt_make(c, "q", VT_INPUT, VITRO_BF16, 1, 2, bd);
    VtTensor *kv = vt_make(c, "kv", VT_INPUT, VITRO_BF16, 1, 3, bt2d);
    VtTensor *ctx = vt_make(c, "ctx", VT_OUTPUT, VITRO_BF16, 1, 2, bd);
    VtTensor *lse = vt_output(c, "lse", 2, (int64_t[]){B, z->H});
    VtTensor *dctx = vt_make(c, "dctx", VT_INPUT, VITRO_BF16, 1, 2, bd);
    VtTensor *dq = vt_make(c, "dq", VT_OUTPUT, VITRO_BF16, 1, 2, bd);
    VtTensor *dkv = vt_make(c, "dkv", VT_OUTPUT, VITRO_BF16, 1, 3, bt2d);
    for (int s = 0; s < VT_SIDES; s++) {
        VitroDevice *dev = c->dev[s];
        const VitroAttentionShape shape = shape_of(c, s, z);
        vt_ok(c, dev->ops->attention_cls(dev, ctx->t[s], lse->t[s], q->t[s], kv->t[s], &shape));
        vt_ok(c, dev->ops->attention_cls_backward(dev, dq->t[s], dkv->t[s], dctx->t[s], q->t[s],
                                                  kv->t[s], ctx->t[s], lse->t[s], &shape));
    }
    vt_check(c, lse, SUMS);
    vt_check(c, ctx, ROUNDED);
    vt_check(c, dq, 2 * ROUNDED);
    vt_check(c, dkv, 2 * ROUNDED);
}

static void attention_case(VtCase *c, const Heads *z)
{
    static const struct {
        void (*run)(VtCase *c, const Heads *z);
        const char *name;
    } ops[] = {{attention, "attention"}, {attention_of_cls, "attention_cls"}};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (vt_begin(c, "%s B=%d T=%d H=%d Dh=%d%s", ops[i].name, (int)z->B, (int)z->T, (int)z->H,
                     (int)z->Dh, z->drops ? " dropout" : "")) {
            ops[i].run(c, z);
            vt_end(c);
        }
}

static void attention_cases(VtCase *c)
{
    static const Heads shapes[] = {
        {1, 2, 1, 2, false},   {2, 5, 3, 4, true},     {2, 17, 3, 64, false}, {1, 50, 2, 64, true},
        {1, 65, 2, 48, false}, {1, 197, 3, 64, false}, {1, 33, 1, 80, true},  {2, 64, 2, 32, false},
        {1, 19, 1, 130, true}, {1, 128, 1, 128, false}};
    /* About where kernels change: 16 tokens, 208, head widths. */
    static const Heads more[] = {
        {1, 2, 2, 64, true},    {1, 16, 2, 8, true},   {1, 208, 1, 64, true},
        {1, 209, 2, 64, false}, {1, 225, 1, 64, true}, {1, 577, 1, 64, false},
        {1, 150, 1, 120, true}, {1, 577, 1, 16, true}, {1, 40, 1, 256, false}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        attention_case(c, &shapes[i]);
    for (size_t i = 0; i < sizeof more / sizeof *more && !c->reduced; i++)
        attention_case(c, &more[i]);
}

static void test_linear(void **state)
{
    (void)state;
    assert_int_equal(vt_each_bf16_device(linear_cases), 0);
}

static void test_others(void **state)
{
    (void)state;
    assert_int_equal(vt_each_bf16_device(other_cases), 0);
}

static void test_attention(void **state)
{
    (void)state;
    assert_int_equal(vt_each_bf16_device(attention_cases), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_linear), cmocka_unit_test(test_others),
                                       cmocka_unit_test(test_attention)};
    return cmocka_run_group_tests_name("ops/bf16", tests, NULL, NULL);
}
