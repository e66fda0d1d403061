/* SPDX-License-Identifier: Apache-2.0 */
/* Philox against its authors' test vectors, the distributions drawn from it, and the dropout masks
 * that are part of what a seed means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "kernels/ref/ref.h"

/* kat_vectors of Random123 (Salmon et al.): philox4x32, 10 rounds. */
static void test_philox(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } vectors[] = {{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
                   {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                    {0xffffffff, 0xffffffff},
                    {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
                   {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                    {0xa4093822, 0x299f31d0},
                    {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
    for (int i = 0; i < 3; i++) {
        uint32_t got[4];
        vitro_philox(got, vectors[i].counter,
                     vectors[i].key[0] | (uint64_t)vectors[i].key[1] << 32);
        for (int k = 0; k < 4; k++)
            assert_int_equal(got[k], vectors[i].want[k]);
    }
}

/* A stream continues through its blocks, and streams differ in each of their four names. */
static void test_streams(void **state)
{
    (void)state;
    VitroRng r = vitro_rng(1, VITRO_RNG_INIT, 2, 3);
    uint32_t first[12];
    for (int i = 0; i < 12; i++)
        first[i] = vitro_rng_u32(&r);
    VitroRng same = vitro_rng(1, VITRO_RNG_INIT, 2, 3);
    VitroRng other[] = {vitro_rng(2, VITRO_RNG_INIT, 2, 3), vitro_rng(1, VITRO_RNG_SHUFFLE, 2, 3),
                        vitro_rng(1, VITRO_RNG_INIT, 3, 3), vitro_rng(1, VITRO_RNG_INIT, 2, 4)};
    for (int i = 0; i < 12; i++) {
        assert_int_equal(vitro_rng_u32(&same), first[i]);
        for (int k = 0; k < 4; k++)
            assert_int_not_equal(vitro_rng_u32(&other[k]), first[i]);
        for (int k = 0; k < i; k++)
            assert_int_not_equal(first[k], first[i]);
    }
}

/* With 100 000 numbers the mean of n independent ones is within 5 standard errors. */
static void test_distributions(void **state)
{
    (void)state;
    enum { N = 100000 };
    VitroRng r = vitro_rng(7, VITRO_RNG_AUGMENT, 0, 0);
    double sum_float = 0, sum_double = 0, sum_normal = 0, squares = 0;
    int count[6] = {0};
    for (int i = 0; i < N; i++) {
        float f = vitro_rng_float(&r);
        double d = vitro_rng_double(&r), z = vitro_rng_normal(&r);
        assert_true(f >= 0 && f < 1 && d >= 0 && d < 1);
        sum_float += f;
        sum_double += d;
        sum_normal += z;
        squares += z * z;
        uint32_t k = vitro_rng_below(&r, 6);
        assert_in_range(k, 0, 5);
        count[k]++;
    }
    double uniform_error = 5 * sqrt(1.0 / 12 / N), normal_error = 5 / sqrt((double)N);
    assert_true(fabs(sum_float / N - 0.5) < uniform_error);
    assert_true(fabs(sum_double / N - 0.5) < uniform_error);
    assert_true(fabs(sum_normal / N) < normal_error);
    assert_true(fabs(squares / N - 1) < normal_error * sqrt(2.0));
    for (int k = 0; k < 6; k++)
        assert_true(abs(count[k] - N / 6) < 5 * sqrt(N * 5.0 / 36));
    assert_int_equal(vitro_rng_below(&r, 1), 0);
}

/* A mask is a function of seed, step, site, sample and element: pinned here by its definition. */
static void test_dropout_mask(void **state)
{
    (void)state;
    enum { N = 20000 };
    VitroDropState s = {.seed = 0xfedcba9876543210, .step = 6, .sample0 = 100};
    VitroDropout d = {.ratio = 0.25, .site = 9, .state = &s};
    int kept = 0;
    for (int64_t e = 0; e < N; e++) {
        uint32_t word[4], counter[4] = {(uint32_t)(e / 4), 102, 9, 6};
        vitro_philox(word, counter, 0xfedcba9876543210u + 4 * 0x9E3779B97F4A7C15u);
        double want = (word[e % 4] >> 8) / 16777216.0 < 0.25 ? 0 : 1 / 0.75;
        assert_true(vitro_ref_drop(&d, 2, e) == want);
        kept += want > 0;
    }
    assert_true(abs(kept - N * 3 / 4) < 5 * sqrt(N * 3.0 / 16));

    d.ratio = 0; /* off in either way */
    assert_true(vitro_ref_drop(&d, 2, 0) == 1);
    d.ratio = 0.999999;
    d.state = NULL;
    assert_true(vitro_ref_drop(&d, 2, 0) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_distributions),
        cmocka_unit_test(test_dropout_mask),
    };
    return cmocka_run_group_tests_name("unit/rng", tests, NULL, NULL);
}
