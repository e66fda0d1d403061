/* SPDX-License-Identifier: Apache-2.0 */
/* The 80/20 split against what CPython recorded (tests/golden/make_data_fixtures.py), and the order
 * in which an epoch visits the pictures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "data/sampler.h"
#include "data/split.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The lines of the fixture that begin with `word` ("" for none), one by one. */
static char *next_line(FILE *f, const char *word, char *line, size_t size)
{
    while (fgets(line, (int)size, f)) {
        size_t n = strlen(word);
        if (n ? strncmp(line, word, n) == 0 : line[0] >= '0' && line[0] <= '9')
            return line + n;
    }
    return NULL;
}

static FILE *open_fixture(void)
{
    FILE *f = fopen("tests/golden/data/split.txt", "r");
    assert_non_null(f);
    return f;
}

/* Holds what is chosen against the numbers left in `text`, which are sorted. */
static void check_chosen(const bool *chosen, uint32_t n, uint32_t k, char *text)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!chosen[i])
            continue;
        found++;
        assert_int_equal(strtoul(text, &text, 10), i);
    }
    assert_int_equal(found, k);
}

static void test_class_split(void **state)
{
    (void)state;
    FILE *f = open_fixture();
    char line[4096];
    bool chosen[1000];
    VitroMt19937 mt;
    vitro_mt_seed(&mt, 0);
    int lines = 0;
    for (char *p; (p = next_line(f, "", line, sizeof(line))) != NULL; lines++) {
        uint32_t n = (uint32_t)strtoul(p, &p, 10);
        assert_int_equal(vitro_mt_sample(&mt, chosen, n, vitro_split_val_count(n)), VITRO_OK);
        check_chosen(chosen, n, n / 5, p);
    }
    assert_int_equal(lines, 22);
    /* The generator ran on from here when the rest was recorded. */
    rewind(f);
    while (next_line(f, "sample", line, sizeof(line))) {
        char *p = line + 6;
        uint32_t n = (uint32_t)strtoul(p, &p, 10), k = (uint32_t)strtoul(p, &p, 10);
        assert_int_equal(vitro_mt_sample(&mt, chosen, n, k), VITRO_OK);
        check_chosen(chosen, n, k, p);
        lines++;
    }
    assert_int_equal(lines, 22 + 8);
    fclose(f);
}

static void test_generator(void **state)
{
    (void)state;
    FILE *f = open_fixture();
    char line[4096];
    int lines = 0;
    for (char *p; (p = next_line(f, "seed", line, sizeof(line))) != NULL; lines++) {
        VitroMt19937 mt;
        vitro_mt_seed(&mt, (uint32_t)strtoul(p, &p, 10));
        for (int i = 0; i < 700; i++) {
            uint32_t word = vitro_mt_u32(&mt);
            if (i % 77 == 0)
                assert_int_equal(word, strtoul(p, &p, 10));
        }
    }
    assert_int_equal(lines, 3);
    fclose(f);
}

static void test_val_count(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < 100; n++)
        assert_int_equal(vitro_split_val_count(n), n / 5);
    assert_int_equal(vitro_split_val_count(INT32_MAX), INT32_MAX / 5);
}

static void test_sample_without_memory(void **state)
{
    (void)state;
    bool chosen[20];
    VitroMt19937 mt;
    vitro_mt_seed(&mt, 0);
    vitro_alloc_fail_at(1);
    assert_int_equal(vitro_mt_sample(&mt, chosen, 20, 4), VITRO_E_NOMEM);
    vitro_alloc_fail_at(0);
}

enum { COUNT = 1000 };

static void test_order_is_a_permutation(void **state)
{
    (void)state;
    uint32_t order[COUNT];
    for (uint32_t epoch = 0; epoch < 5; epoch++) {
        bool seen[COUNT] = {false};
        uint32_t moved = 0;
        vitro_sampler_order(order, COUNT, true, 7, epoch);
        for (uint32_t i = 0; i < COUNT; i++) {
            assert_true(order[i] < COUNT);
            assert_false(seen[order[i]]);
            seen[order[i]] = true;
            moved += order[i] != i;
        }
        assert_true(moved > COUNT - 20); /* one fixed point is expected */
    }
}

static void test_order_depends_on_seed_and_epoch(void **state)
{
    (void)state;
    uint32_t a[COUNT], b[COUNT];
    vitro_sampler_order(a, COUNT, true, 7, 3);
    vitro_sampler_order(b, COUNT, true, 7, 3);
    assert_memory_equal(a, b, sizeof(a));
    vitro_sampler_order(b, COUNT, true, 7, 4);
    assert_memory_not_equal(a, b, sizeof(a));
    vitro_sampler_order(b, COUNT, true, 8, 3);
    assert_memory_not_equal(a, b, sizeof(a));
    vitro_sampler_order(a, COUNT, false, 7, 3);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_int_equal(a[i], i);
}

/* Each picture is as likely in each place: chi-squared over 6 places of 6 pictures, 25 degrees of
 * freedom; 60 is beyond the 0.9999 quantile, and the seeds are fixed. */
static void test_order_is_uniform(void **state)
{
    (void)state;
    enum { N = 6, EPOCHS = 6000 };
    int seen[N][N] = {{0}};
    for (uint32_t epoch = 0; epoch < EPOCHS; epoch++) {
        uint32_t order[N];
        vitro_sampler_order(order, N, true, 1, epoch);
        for (int i = 0; i < N; i++)
            seen[i][order[i]]++;
    }
    double chi2 = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double d = seen[i][j] - (double)EPOCHS / N;
            chi2 += d * d / ((double)EPOCHS / N);
        }
    assert_true(chi2 < 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_class_split),
        cmocka_unit_test(test_generator),
        cmocka_unit_test(test_val_count),
        cmocka_unit_test(test_sample_without_memory),
        cmocka_unit_test(test_order_is_a_permutation),
        cmocka_unit_test(test_order_depends_on_seed_and_epoch),
        cmocka_unit_test(test_order_is_uniform),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
