/* SPDX-License-Identifier: Apache-2.0 */
/* What an evaluation adds up: ranks, the confusion matrix, losses. */
#include "metrics/tally.h"
#include "metrics/topk.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void test_ranks(void **state)
{
    (void)state;
    const float s[] = {1, 3, 3, -2, 0, 2};
    const int64_t rank[] = {3, 0, 1, 5, 4, 2};
    assert_int_equal(vitro_argmax(s, 6), 1);
    for (int i = 0; i < 6; i++)
        assert_int_equal(vitro_rank_of(s, 6, i), rank[i]);
    const float odd[] = {1, NAN, INFINITY, NAN};
    assert_int_equal(vitro_argmax(odd, 4), 1);
    assert_int_equal(vitro_rank_of(odd, 4, 3), 1);
    assert_int_equal(vitro_rank_of(odd, 4, 2), 2);
    assert_int_equal(vitro_rank_of(odd, 4, 0), 3);
}

static void test_cross_entropy(void **state)
{
    (void)state;
    const float s[] = {0, 0, 0, 0}, big[] = {1000, 0}, lost[] = {1, INFINITY};
    assert_true(fabs(vitro_cross_entropy(s, 4, 2) - log(4)) < 1e-15);
    assert_true(vitro_cross_entropy(big, 2, 0) == 0);
    assert_true(vitro_cross_entropy(big, 2, 1) == 1000);
    assert_true(isnan(vitro_cross_entropy(lost, 2, 0)));
    const float one[] = {7};
    assert_true(vitro_cross_entropy(one, 1, 0) == 0);
}

static void test_tally(void **state)
{
    (void)state;
    VitroTally t;
    assert_int_equal(vitro_tally_init(&t, 6, true), VITRO_OK);
    assert_true(vitro_tally_loss(&t) == 0 && vitro_tally_top1(&t) == 0);
    const float logits[] = {
        5, 4, 3, 2, 1, 0, /* label 0: first */
        5, 4, 3, 2, 1, 0, /* label 4: fifth */
        5, 4, 3, 2, 1, 0, /* label 5: sixth */
    };
    const int32_t labels[] = {0, 4, 5}, bad[] = {0, 6}, negative[] = {-1};
    assert_int_equal(vitro_tally_add(&t, logits, labels, 2), VITRO_OK);
    assert_int_equal(vitro_tally_add(&t, logits + 12, labels + 2, 1), VITRO_OK);
    assert_int_equal(vitro_tally_add(&t, logits, bad, 2), VITRO_E_ARG);
    assert_int_equal(vitro_tally_add(&t, logits, negative, 1), VITRO_E_ARG);
    assert_int_equal(t.images, 3);
    assert_true(vitro_tally_top1(&t) == 1 / 3.0 && vitro_tally_top5(&t) == 2 / 3.0);
    assert_int_equal(t.confusion[0 * 6 + 0], 1);
    assert_int_equal(t.confusion[4 * 6 + 0], 1);
    assert_int_equal(t.confusion[5 * 6 + 0], 1);
    double z = log(1 + exp(-1) + exp(-2) + exp(-3) + exp(-4) + exp(-5));
    /* the mean of the batches' means, not of the images */
    assert_true(fabs(vitro_tally_loss(&t) - ((z + z + 4) / 2 + z + 5) / 2) < 1e-12);
    vitro_tally_deinit(&t);
    assert_int_equal(vitro_tally_init(&t, 0, true), VITRO_E_ARG);
    assert_int_equal(vitro_tally_init(&t, INT64_MAX, false), VITRO_E_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ranks),
                                       cmocka_unit_test(test_cross_entropy),
                                       cmocka_unit_test(test_tally)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
