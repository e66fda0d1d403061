/* SPDX-License-Identifier: Apache-2.0 */
/* layernorm, head_norm and their backward passes of every back end against ref. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "harness/vt.h"

#define LIMIT 2e-6
#define EPS   1e-6

static void run_forward(VtCase *c, VtTensor *y, VtTensor *mean, VtTensor *rstd, VtTensor *x,
                        VtTensor *gamma, VtTensor *beta)
{
    for (int s = 0; s < VT_SIDES; s++)
        vt_ok(c, c->dev[s]->ops->layernorm(c->dev[s], y->t[s], mean->t[s], rstd->t[s], x->t[s],
                                           gamma->t[s], beta->t[s], EPS));
}

/* Rows far from zero punish a variance computed as E[x^2] - E[x]^2. */
static void shift(VtCase *c, VtTensor *x, double by)
{
    int64_t n = vitro_tensor_count(&x->t[0]);
    float *values = malloc((size_t)n * sizeof *values);
    assert_non_null(values);
    vt_ok(c, vitro_device_read_f32(c->dev[VT_ORACLE], values, x->t[VT_ORACLE]));
    for (int64_t i = 0; i < n; i++)
        values[i] += (float)by;
    vt_set(c, x, values);
    free(values);
}

static void forward(VtCase *c, int64_t M, int64_t D, bool stats, double offset)
{
    VtTensor *x = vt_input(c, "x", 2, (int64_t[]){M, D});
    VtTensor *gamma = vt_input(c, "gamma", 1, (int64_t[]){D});
    VtTensor *beta = vt_input(c, "beta", 1, (int64_t[]){D});
    VtTensor *y = vt_output(c, "y", 2, (int64_t[]){M, D});
    VtTensor *mean = stats ? vt_output(c, "mean", 1, (int64_t[]){M}) : vt_absent();
    VtTensor *rstd = stats ? vt_output(c, "rstd", 1, (int64_t[]){M}) : vt_absent();
    shift(c, x, offset);
    run_forward(c, y, mean, rstd, x, gamma, beta);
    /* A mean rounded to float32 is off by |mean| 2^-24, and so is each x - mean. */
    double limit = LIMIT * (1 + fabs(offset) / 8);
    vt_check(c, y, limit);
    /* The sum's rounding goes with the size of the elements, here 1, and the means of one or two
     * rows may all be a hundredth of that. */
    vt_check(c, mean, 10 * LIMIT);
    vt_check(c, rstd, limit);
}

typedef enum Add { ADD_NONE, ADD_OTHER, ADD_IN_PLACE } Add;
static const char *const add_name[] = {"", " add", " add=dx"};

static void backward(VtCase *c, int64_t M, int64_t D, Add add, bool frozen)
{
    int64_t md[] = {M, D};
    VtTensor *x = vt_input(c, "x", 2, md), *dy = vt_input(c, "dy", 2, md);
    VtTensor *gamma = vt_input(c, "gamma", 1, (int64_t[]){D});
    VtTensor *beta = vt_input(c, "beta", 1, (int64_t[]){D});
    VtTensor *y = vt_output(c, "y", 2, md);
    VtTensor *mean = vt_output(c, "mean", 1, (int64_t[]){M});
    VtTensor *rstd = vt_output(c, "rstd", 1, (int64_t[]){M});
    run_forward(c, y, mean, rstd, x, gamma, beta);
    vt_settle(c, mean);
    vt_settle(c, rstd);

    VtTensor *other = add == ADD_OTHER ? vt_input(c, "add", 2, md) : vt_absent();
    VtTensor *dx = add == ADD_IN_PLACE ? vt_inout(c, "dx", 2, md) : vt_output(c, "dx", 2, md);
    VtTensor *dgamma = frozen ? vt_absent() : vt_inout(c, "dgamma", 1, (int64_t[]){D});
    VtTensor *dbeta = frozen ? vt_absent() : vt_inout(c, "dbeta", 1, (int64_t[]){D});
    for (int s = 0; s < VT_SIDES; s++)
        vt_ok(c, c->dev[s]->ops->layernorm_backward(c->dev[s], dx->t[s], dgamma->t[s], dbeta->t[s],
                                                    add == ADD_IN_PLACE ? dx->t[s] : other->t[s],
                                                    dy->t[s], x->t[s], mean->t[s], rstd->t[s],
                                                    gamma->t[s]));
    vt_check(c, dx, 2 * LIMIT);
    vt_check(c, dgamma, 2 * LIMIT);
    vt_check(c, dbeta, 2 * LIMIT);
}

static void cases_of_shape(VtCase *c, int64_t M, int64_t D)
{
    static const double offsets[] = {0, 30};
    for (int i = 0; i < 2; i++)
        for (int stats = 0; stats < 2; stats++)
            if (vt_begin(c, "layernorm M=%d D=%d offset=%g%s", (int)M, (int)D, offsets[i],
                         stats ? " stats" : "")) {
                forward(c, M, D, stats, offsets[i]);
                vt_end(c);
            }
    if (D == 2) /* x-hat is +-1 whatever x is: the gradient is rounding error */
        return;
    for (int add = ADD_NONE; add <= ADD_IN_PLACE; add++)
        for (int frozen = 0; frozen < 2; frozen++)
            if (vt_begin(c, "layernorm_backward M=%d D=%d%s%s", (int)M, (int)D, add_name[add],
                         frozen ? " frozen" : "")) {
                backward(c, M, D, (Add)add, frozen);
                vt_end(c);
            }
}

typedef struct Heads {
    int64_t M, N, Dh, first, heads;
} Heads;

static void head_norm(VtCase *c, const Heads *z, bool stats, bool in_place)
{
    int64_t mn[] = {z->M, z->N}, mh[] = {z->M, z->heads}, dh[] = {z->Dh};
    VtTensor *x = in_place ? vt_inout(c, "x", 2, mn) : vt_input(c, "x", 2, mn);
    VtTensor *gamma = vt_input(c, "gamma", 1, dh), *beta = vt_input(c, "beta", 1, dh);
    VtTensor *y = in_place ? x : vt_output(c, "y", 2, mn);
    VtTensor *mean = stats ? vt_output(c, "mean", 2, mh) : vt_absent();
    VtTensor *rstd = stats ? vt_output(c, "rstd", 2, mh) : vt_absent();
    for (int s = 0; s < VT_SIDES; s++)
        vt_ok(c, c->dev[s]->ops->head_norm(c->dev[s], y->t[s], mean->t[s], rstd->t[s], x->t[s],
                                           gamma->t[s], beta->t[s], EPS, z->first, z->heads));
    vt_check(c, y, LIMIT);
    vt_check(c, mean, 10 * LIMIT);
    vt_check(c, rstd, LIMIT);
}

static void head_norm_backward(VtCase *c, const Heads *z, bool frozen)
{
    int64_t mn[] = {z->M, z->N}, mh[] = {z->M, z->heads}, dh[] = {z->Dh};
    VtTensor *x = vt_input(c, "x", 2, mn), *y = vt_output(c, "y", 2, mn);
    VtTensor *gamma = vt_input(c, "gamma", 1, dh), *beta = vt_input(c, "beta", 1, dh);
    VtTensor *mean = vt_output(c, "mean", 2, mh), *rstd = vt_output(c, "rstd", 2, mh);
    for (int s = 0; s < VT_SIDES; s++)
        vt_ok(c, c->dev[s]->ops->head_norm(c->dev[s], y->t[s], mean->t[s], rstd->t[s], x->t[s],
                                           gamma->t[s], beta->t[s], EPS, z->first, z->heads));
    vt_settle(c, mean);
    vt_settle(c, rstd);
    VtTensor *dx = vt_inout(c, "dx", 2, mn);
    VtTensor *dgamma = frozen ? vt_absent() : vt_inout(c, "dgamma", 1, dh);
    VtTensor *dbeta = frozen ? vt_absent() : vt_inout(c, "dbeta", 1, dh);
    for (int s = 0; s < VT_SIDES; s++)
        vt_ok(c, c->dev[s]->ops->head_norm_backward(c->dev[s], dx->t[s], dgamma->t[s], dbeta->t[s],
                                                    x->t[s], mean->t[s], rstd->t[s], gamma->t[s],
                                                    z->first, z->heads));
    vt_check(c, dx, 2 * LIMIT);
    vt_check(c, dgamma, 2 * LIMIT);
    vt_check(c, dbeta, 2 * LIMIT);
}

static void cases_of_heads(VtCase *c)
{
    static const Heads shapes[] = {{1, 24, 8, 0, 1},    {3, 30, 5, 10, 2},   {5, 36, 3, 0, 4},
                                   {70, 96, 16, 32, 2}, {2, 387, 129, 0, 1}, {17, 192, 32, 0, 6}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const Heads *z = &shapes[i];
        for (int option = 0; option < 4; option++) {
            bool a = option & 1, b = option & 2;
            if (vt_begin(c, "head_norm M=%d N=%d Dh=%d first=%d heads=%d%s%s", (int)z->M, (int)z->N,
                         (int)z->Dh, (int)z->first, (int)z->heads, a ? " stats" : "",
                         b ? " y=x" : "")) {
                head_norm(c, z, a, b);
                vt_end(c);
            }
        }
        for (int frozen = 0; frozen < 2; frozen++)
            if (vt_begin(c, "head_norm_backward M=%d N=%d Dh=%d first=%d heads=%d%s", (int)z->M,
                         (int)z->N, (int)z->Dh, (int)z->first, (int)z->heads,
                         frozen ? " frozen" : "")) {
                head_norm_backward(c, z, frozen);
                vt_end(c);
            }
    }
}

static void cases(VtCase *c)
{
    cases_of_heads(c);
    static const int64_t rows[] = {1, 2, 5, 17};
    static const int64_t cols[] = {1, 2, 7, 8, 9, 15, 16, 17, 33, 40, 97, 768};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t j = 0; j < sizeof cols / sizeof cols[0]; j++)
            cases_of_shape(c, rows[i], cols[j]);
    cases_of_shape(c, 394, 96);
    if (!c->reduced) {
        cases_of_shape(c, 197, 768);
        cases_of_shape(c, 50, 1280);
    }
}

static void test_layernorm(void **state)
{
    (void)state;
    assert_int_equal(vt_each_device(cases), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_layernorm)};
    return cmocka_run_group_tests_name("ops/layernorm", tests, NULL, NULL);
}
