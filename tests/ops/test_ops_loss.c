/* SPDX-License-Identifier: Apache-2.0 */
/* cross_entropy of every back end against ref. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "harness/vt.h"

#define LIMIT 1e-6

typedef enum Logits { LOGITS_USUAL, LOGITS_TIES, LOGITS_HUGE } Logits;
static const char *const logits_name[] = {"", " ties", " huge"};

static void shape_logits(VtCase *c, VtTensor *logits, Logits how)
{
    int64_t n = vitro_tensor_count(&logits->t[0]);
    float *values = malloc((size_t)n * sizeof *values);
    assert_non_null(values);
    vt_ok(c, vitro_device_read_f32(c->dev[VT_ORACLE], values, logits->t[VT_ORACLE]));
    for (int64_t i = 0; i < n; i++)
        values[i] = how == LOGITS_TIES ? rintf(values[i]) : 300 * values[i];
    vt_set(c, logits, values);
    free(values);
}

static void cross_entropy(VtCase *c, int64_t B, int64_t K, double smoothing, Logits how,
                          bool with_gradient)
{
    VtTensor *logits = vt_make(c, "logits", VT_INPUT, VITRO_F32, 2, 2, (int64_t[]){B, K});
    VtTensor *dlogits = with_gradient ? vt_output(c, "dlogits", 2, (int64_t[]){B, K}) : vt_absent();
    VtTensor *losses = vt_make(c, "losses", VT_OUTPUT, VITRO_F64, 0, 1, (int64_t[]){B});
    VtTensor *best = vt_make(c, "best", VT_OUTPUT, VITRO_I32, 0, 1, (int64_t[]){B});
    if (how != LOGITS_USUAL)
        shape_logits(c, logits, how);

    int32_t *labels = malloc((size_t)B * sizeof *labels);
    assert_non_null(labels);
    VitroRng rng = vitro_rng(c->seed, VITRO_RNG_SHUFFLE, (uint32_t)B, (uint32_t)K);
    for (int64_t b = 0; b < B; b++)
        labels[b] = (int32_t)vitro_rng_below(&rng, (uint32_t)K);
    for (int s = 0; s < VT_SIDES; s++) {
        const int32_t *where = vt_raw(c, s, labels, (size_t)B * sizeof *labels);
        vt_ok(c, c->dev[s]->ops->cross_entropy(c->dev[s], losses->t[s].data, best->t[s].data,
                                               dlogits->t[s], logits->t[s], where, smoothing,
                                               1.0 / (double)B));
    }
    free(labels);
    vt_check(c, losses, LIMIT);
    vt_check(c, best, 0);
    vt_check(c, dlogits, 2 * LIMIT);
}

static void cases_of_shape(VtCase *c, int64_t B, int64_t K)
{
    static const double smoothings[] = {0, 0.1};
    for (int i = 0; i < (K == 1 ? 1 : 2); i++) /* one class: nothing to smooth, the loss is 0 */
        for (int how = LOGITS_USUAL; how <= LOGITS_HUGE; how++)
            for (int gradient = 0; gradient < 2; gradient++)
                if (vt_begin(c, "cross_entropy B=%d K=%d smoothing=%g%s%s", (int)B, (int)K,
                             smoothings[i], logits_name[how], gradient ? " dlogits" : "")) {
                    cross_entropy(c, B, K, smoothings[i], (Logits)how, gradient);
                    vt_end(c);
                }
}

static void cases(VtCase *c)
{
    static const int64_t batches[] = {1, 2, 3, 17};
    static const int64_t classes[] = {1, 2, 5, 7, 8, 10, 16, 17, 100, 1000};
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++)
        for (size_t j = 0; j < sizeof classes / sizeof classes[0]; j++)
            cases_of_shape(c, batches[i], classes[j]);
    cases_of_shape(c, 2, 21843);
}

static void test_loss(void **state)
{
    (void)state;
    assert_int_equal(vt_each_device(cases), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_loss)};
    return cmocka_run_group_tests_name("ops/loss", tests, NULL, NULL);
}
