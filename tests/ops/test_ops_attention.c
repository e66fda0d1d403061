/* SPDX-License-Identifier: Apache-2.0 */
/* attention and attention_cls, with their backward passes, of every back end against ref. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "harness/vt.h"

#define LIMIT          4e-6
#define LIMIT_BACKWARD 8e-6

static const VitroDropState drop_state = {.seed = 42, .step = 9, .sample0 = 2};

typedef struct Shape {
    int64_t B, T, H, Dh;
    double scale; /* 0: Dh^-0.5 */
} Shape;

static VitroAttentionShape make_shape(VtCase *c, int s, const Shape *z, bool dropout)
{
    VitroAttentionShape shape = {.heads = z->H,
                                 .scale = z->scale != 0 ? z->scale : 1 / sqrt((double)z->Dh)};
    if (dropout)
        shape.dropout = (VitroDropout){
            .ratio = 0.25, .site = 7, .state = vt_raw(c, s, &drop_state, sizeof drop_state)};
    return shape;
}

/* Scores are off by their size times 2^-24 or so, and exp turns that into a relative error. */
static double factor(const Shape *z)
{
    return z->scale > 1 ? z->scale * 4 : 1;
}

static void run(VtCase *c, const Shape *z, bool dropout, bool with_lse, bool with_backward)
{
    int64_t B = z->B, T = z->T, H = z->H, D = H * z->Dh;
    VtTensor *qkv = vt_input(c, "qkv", 3, (int64_t[]){B, T, 3 * D});
    VtTensor *ctx = vt_output(c, "ctx", 3, (int64_t[]){B, T, D});
    VtTensor *lse = with_lse ? vt_output(c, "lse", 3, (int64_t[]){B, H, T}) : vt_absent();
    VitroAttentionShape shape[VT_SIDES];
    for (int s = 0; s < VT_SIDES; s++) {
        shape[s] = make_shape(c, s, z, dropout);
        vt_ok(c, c->dev[s]->ops->attention(c->dev[s], ctx->t[s], lse->t[s], qkv->t[s], &shape[s]));
    }
    vt_check(c, ctx, LIMIT * factor(z));
    vt_check(c, lse, LIMIT);
    if (!with_backward)
        return;

    vt_settle(c, ctx);
    vt_settle(c, lse);
    VtTensor *dctx = vt_input(c, "dctx", 3, (int64_t[]){B, T, D});
    VtTensor *dqkv = vt_output(c, "dqkv", 3, (int64_t[]){B, T, 3 * D});
    for (int s = 0; s < VT_SIDES; s++)
        vt_ok(c, c->dev[s]->ops->attention_backward(c->dev[s], dqkv->t[s], dctx->t[s], qkv->t[s],
                                                    ctx->t[s], lse->t[s], &shape[s]));
    vt_check(c, dqkv, LIMIT_BACKWARD * factor(z));
}

static void run_cls(VtCase *c, const Shape *z, bool dropout, bool with_lse, bool with_backward)
{
    int64_t B = z->B, T = z->T, H = z->H, D = H * z->Dh;
    VtTensor *q = vt_input(c, "q", 2, (int64_t[]){B, D});
    VtTensor *kv = vt_input(c, "kv", 3, (int64_t[]){B, T, 2 * D});
    VtTensor *ctx = vt_output(c, "ctx", 2, (int64_t[]){B, D});
    VtTensor *lse = with_lse ? vt_output(c, "lse", 2, (int64_t[]){B, H}) : vt_absent();
    VitroAttentionShape shape[VT_SIDES];
    for (int s = 0; s < VT_SIDES; s++) {
        shape[s] = make_shape(c, s, z, dropout);
        vt_ok(c, c->dev[s]->ops->attention_cls(c->dev[s], ctx->t[s], lse->t[s], q->t[s], kv->t[s],
                                               &shape[s]));
    }
    vt_check(c, ctx, LIMIT * factor(z));
    vt_check(c, lse, LIMIT);
    if (!with_backward)
        return;

    vt_settle(c, ctx);
    vt_settle(c, lse);
    VtTensor *dctx = vt_input(c, "dctx", 2, (int64_t[]){B, D});
    VtTensor *dq = vt_output(c, "dq", 2, (int64_t[]){B, D});
    VtTensor *dkv = vt_output(c, "dkv", 3, (int64_t[]){B, T, 2 * D});
    for (int s = 0; s < VT_SIDES; s++)
        vt_ok(c, c->dev[s]->ops->attention_cls_backward(c->dev[s], dq->t[s], dkv->t[s], dctx->t[s],
                                                        q->t[s], kv->t[s], ctx->t[s], lse->t[s],
                                                        &shape[s]));
    vt_check(c, dq, LIMIT_BACKWARD * factor(z));
    vt_check(c, dkv, LIMIT_BACKWARD * factor(z));
}

static void cases_of_shape(VtCase *c, const Shape *z)
{
    static const struct {
        bool dropout, lse, backward;
        const char *name;
    } variants[] = {{false, false, false, ""},
                    {false, true, true, " backward"},
                    {true, true, true, " backward dropout"}};
    static const struct {
        void (*run)(VtCase *c, const Shape *z, bool dropout, bool with_lse, bool with_backward);
        const char *name;
    } ops[] = {{run, "attention"}, {run_cls, "attention_cls"}};
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++)
        for (size_t o = 0; o < sizeof ops / sizeof ops[0]; o++)
            if (vt_begin(c, "%s B=%d T=%d H=%d Dh=%d scale=%g%s", ops[o].name, (int)z->B, (int)z->T,
                         (int)z->H, (int)z->Dh, z->scale, variants[i].name)) {
                ops[o].run(c, z, variants[i].dropout, variants[i].lse, variants[i].backward);
                vt_end(c);
            }
}

static void cases(VtCase *c)
{
    static const Shape small[] = {
        {1, 2, 1, 1, 0},    {1, 2, 3, 4, 0},    {2, 3, 2, 3, 0},    {3, 5, 2, 7, 0},
        {2, 7, 3, 8, 0},    {1, 8, 1, 16, 0},   {1, 9, 2, 17, 0},   {2, 17, 3, 20, 0},
        {1, 16, 2, 32, 0},  {1, 17, 12, 64, 0}, {1, 33, 1, 80, 0},  {2, 50, 3, 64, 0},
        {1, 5, 1, 97, 0},   {1, 65, 2, 48, 0},  {1, 10, 1, 130, 0}, {2, 17, 2, 16, 0.3},
        {1, 9, 2, 8, -0.5}, {1, 17, 2, 16, 3}}; /* the last: scores beyond what exp can take in
                                                   float32 */
    static const Shape large[] = {
        {1, 197, 3, 64, 0}, {1, 145, 2, 80, 0}, {3, 50, 12, 64, 0}, {1, 577, 2, 16, 0}};
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++)
        cases_of_shape(c, &small[i]);
    for (size_t i = 0; i < sizeof large / sizeof large[0] && !c->reduced; i++)
        cases_of_shape(c, &large[i]);
}

static void test_attention(void **state)
{
    (void)state;
    assert_int_equal(vt_each_device(cases), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_attention)};
    return cmocka_run_group_tests_name("ops/attention", tests, NULL, NULL);
}
