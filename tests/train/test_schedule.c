/* SPDX-License-Identifier: Apache-2.0 */
/* Learning rates and clipping against PyTorch's own numbers. */
#include "train/clip.h"
#include "train/golden.h"
#include "train/schedule.h"

#include <math.h>

static void test_lambda_lr(void **state)
{
    (void)state;
    VitroCheckpoint *g = golden_open("numbers");
    static const char *const names[] = {"a", "b", "c"};
    for (int k = 0; k < 3; k++) {
        char settings_name[16];
        int64_t n;
        snprintf(settings_name, sizeof(settings_name), "%s.settings", names[k]);
        double *settings = golden_read(g, settings_name, VITRO_F64, NULL);
        double *rates = golden_read(g, names[k], VITRO_F64, &n);
        VitroSchedule s = {.lr = settings[0], .lrf = settings[1], .epochs = (int)settings[2]};
        assert_int_equal(n, s.epochs + 1);
        for (int64_t e = 0; e < n; e++) {
            assert_true(vitro_schedule_epoch_lr(&s, e) == rates[e]); /* the same double */
            assert_true(vitro_schedule_step_lr(&s, e, 1000 * e) == rates[e]);
        }
        vitro_free(settings);
        vitro_free(rates);
    }
    vitro_checkpoint_close(g);
}

static void test_warmup(void **state)
{
    (void)state;
    VitroSchedule s = {.lr = 0.1, .lrf = 0.5, .epochs = 10, .warmup_steps = 8};
    assert_true(vitro_schedule_step_lr(&s, 0, 0) == 0.1 * 0.01);
    assert_true(fabs(vitro_schedule_step_lr(&s, 0, 4) - 0.1 * (0.01 + 0.99 / 2)) < 1e-15);
    for (int64_t step = 1; step < 8; step++)
        assert_true(vitro_schedule_step_lr(&s, step / 3, step) >
                    vitro_schedule_step_lr(&s, (step - 1) / 3, step - 1));
    assert_true(vitro_schedule_step_lr(&s, 2, 8) == vitro_schedule_epoch_lr(&s, 2));
}

static void test_clip(void **state)
{
    (void)state;
    VitroCheckpoint *g = golden_open("numbers");
    int64_t n;
    double *rows = golden_read(g, "clip", VITRO_F64, &n); /* sum of squares, limit, factor */
    assert_true(n >= 12);
    for (int64_t i = 0; i < n; i += 3)
        assert_true(fabs(vitro_clip_scale(rows[i], rows[i + 1]) - rows[i + 2]) < 1e-14);
    assert_true(vitro_clip_scale(1e9, 0) == 1);
    vitro_free(rows);
    vitro_checkpoint_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lambda_lr),
                                       cmocka_unit_test(test_warmup), cmocka_unit_test(test_clip)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
