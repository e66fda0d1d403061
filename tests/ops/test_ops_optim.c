/* SPDX-License-Identifier: Apache-2.0 */
/* sgd, adamw and sum_of_squares of every back end against ref. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "harness/vt.h"

#define LIMIT 1e-6

static void sgd(VtCase *c, int64_t n, const VitroOptimStep *step)
{
    VtTensor *param = vt_inout(c, "param", 1, &n), *momentum = vt_inout(c, "momentum", 1, &n);
    VtTensor *grad = vt_input(c, "grad", 1, &n);
    for (int s = 0; s < VT_SIDES; s++) {
        const VitroOptimStep *where = vt_raw(c, s, step, sizeof *step);
        vt_ok(c, c->dev[s]->ops->sgd(c->dev[s], param->t[s], grad->t[s], momentum->t[s], where));
    }
    vt_check(c, param, LIMIT);
    vt_check(c, momentum, LIMIT);
}

/* Second moments are never negative; every seventh is 0, as in the first step. */
static void make_second_moment(VtCase *c, VtTensor *v)
{
    int64_t n = vitro_tensor_count(&v->t[0]);
    float *values = malloc((size_t)n * sizeof *values);
    assert_non_null(values);
    vt_ok(c, vitro_device_read_f32(c->dev[VT_ORACLE], values, v->t[VT_ORACLE]));
    for (int64_t i = 0; i < n; i++)
        values[i] = i % 7 == 6 ? 0 : values[i] * values[i];
    vt_set(c, v, values);
    free(values);
}

static void adamw(VtCase *c, int64_t n, const VitroOptimStep *step)
{
    VtTensor *param = vt_inout(c, "param", 1, &n), *grad = vt_input(c, "grad", 1, &n);
    VtTensor *m = vt_inout(c, "m", 1, &n), *v = vt_inout(c, "v", 1, &n);
    make_second_moment(c, v);
    for (int s = 0; s < VT_SIDES; s++) {
        const VitroOptimStep *where = vt_raw(c, s, step, sizeof *step);
        vt_ok(c,
              c->dev[s]->ops->adamw(c->dev[s], param->t[s], grad->t[s], m->t[s], v->t[s], where));
    }
    vt_check(c, param, 4 * LIMIT); /* a quotient: the errors of m and of sqrt(v) meet */
    vt_check(c, m, LIMIT);
    vt_check(c, v, LIMIT);
}

static void sum_of_squares(VtCase *c, int64_t n)
{
    VtTensor *g = vt_input(c, "g", 1, &n);
    double sum[VT_SIDES] = {NAN, NAN, NAN};
    for (int s = 0; s < VT_SIDES; s++)
        vt_ok(c, c->dev[s]->ops->sum_of_squares(c->dev[s], &sum[s], g->t[s]));
    if (!(fabs(sum[VT_TESTED] - sum[VT_ORACLE]) <= LIMIT * sum[VT_ORACLE]))
        vt_fail(c, "got %.17g, expected %.17g", sum[VT_TESTED], sum[VT_ORACLE]);
    if (sum[VT_TESTED] != sum[VT_AGAIN])
        vt_fail(c, "the second call gave %.17g after %.17g", sum[VT_AGAIN], sum[VT_TESTED]);
}

static void cases(VtCase *c)
{
    static const int64_t counts[] = {1, 7, 8, 9, 15, 16, 17, 31, 33, 1000, 100003};
    static const VitroOptimStep sgd_steps[] = {
        {.lr = 0.01, .grad_scale = 1},
        {.lr = 0.1, .weight_decay = 5e-5, .grad_scale = 0.37, .momentum = 0.9}};
    static const VitroOptimStep adamw_steps[] = {{.lr = 1e-3,
                                                  .grad_scale = 1,
                                                  .beta1 = 0.9,
                                                  .beta2 = 0.999,
                                                  .eps = 1e-8,
                                                  .correction1 = 0.1,
                                                  .correction2 = 0.001},
                                                 {.lr = 0.01,
                                                  .weight_decay = 0.05,
                                                  .grad_scale = 0.37,
                                                  .beta1 = 0.8,
                                                  .beta2 = 0.95,
                                                  .eps = 1e-6,
                                                  .correction1 = 0.672,
                                                  .correction2 = 0.2262}};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        int64_t n = counts[i];
        for (int j = 0; j < 2; j++) {
            if (vt_begin(c, "sgd n=%d setting=%d", (int)n, j)) {
                sgd(c, n, &sgd_steps[j]);
                vt_end(c);
            }
            if (vt_begin(c, "adamw n=%d setting=%d", (int)n, j)) {
                adamw(c, n, &adamw_steps[j]);
                vt_end(c);
            }
        }
        if (vt_begin(c, "sum_of_squares n=%d", (int)n)) {
            sum_of_squares(c, n);
            vt_end(c);
        }
    }
}

static void test_optim(void **state)
{
    (void)state;
    assert_int_equal(vt_each_device(cases), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_optim)};
    return cmocka_run_group_tests_name("ops/optim", tests, NULL, NULL);
}
