/* SPDX-License-Identifier: Apache-2.0 */
/* Axes by their numbers, curves by the pixels that their colours have. */
#include "base/alloc.h"
#include "plot/axis.h"
#include "vitro/plot.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect_labels(const VitroAxis *axis, const char *const *labels, int count)
{
    assert_int_equal(axis->tick_count, count);
    for (int i = 0; i < count; i++) {
        char text[VITRO_AXIS_TEXT];
        vitro_axis_label(axis, i, text);
        assert_string_equal(text, labels[i]);
        double at = vitro_axis_at(axis, axis->tick[i]);
        assert_true(at >= -1e-9 && at <= 1 + 1e-9);
    }
}

#define EXPECT_LABELS(axis, ...)                                                                   \
    expect_labels(&(axis), (const char *const[]){__VA_ARGS__},                                     \
                  (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)))

static void test_axes(void **unused)
{
    (void)unused;
    VitroAxis a = vitro_axis_linear(0, 2.15, 5);
    EXPECT_LABELS(a, "0.0", "0.5", "1.0", "1.5", "2.0", "2.5");
    a = vitro_axis_linear(0.31, 0.334, 5);
    EXPECT_LABELS(a, "0.310", "0.315", "0.320", "0.325", "0.330", "0.335");
    a = vitro_axis_linear(0, 1e-5, 5);
    EXPECT_LABELS(a, "0.0", "0.2", "0.4", "0.6", "0.8", "1.0");
    assert_int_equal(a.exponent, -5);
    a = vitro_axis_linear(-3, 5, 4);
    EXPECT_LABELS(a, "-4", "-2", "0", "2", "4", "6");
    a = vitro_axis_linear(7, 7, 5); /* a level line: some room on both sides */
    assert_true(a.low < 7 && a.high > 7 && a.tick_count >= 3);
    a = vitro_axis_log(0.007, 1e5);
    EXPECT_LABELS(a, "0.01", "1", "100", "10000");
    a = vitro_axis_log(0.5, 2e5);
    EXPECT_LABELS(a, "1", "10", "100", "1000", "10000", "10\xE2\x81\xB5");
    a = vitro_axis_log(1e-12, 1e12);
    assert_true(a.tick_count >= 4 && a.tick_count <= 8);
    a = vitro_axis_whole(0, 19, 7);
    EXPECT_LABELS(a, "0", "5", "10", "15");
    a = vitro_axis_whole(3, 3, 7);
    EXPECT_LABELS(a, "3");
    a = vitro_axis_whole(0, 2, 7); /* no half epochs */
    EXPECT_LABELS(a, "0", "1", "2");
}

/* Pixels of this very colour. */
static int count_colour(const VitroImage *page, int r, int g, int b)
{
    int n = 0;
    for (int64_t i = 0; i < (int64_t)page->width * page->height; i++) {
        const uint8_t *p = page->pixels + 3 * i;
        n += p[0] == r && p[1] == g && p[2] == b;
    }
    return n;
}

#define COUNT_TRAIN(page) count_colour(page, 0x00, 0x72, 0xB2)
#define COUNT_VAL(page)   count_colour(page, 0xD5, 0x5E, 0x00)
#define COUNT_RATE(page)  count_colour(page, 0x00, 0x9E, 0x73)

static VitroPlotEpoch epoch(int64_t i, double loss, double accuracy)
{
    return (VitroPlotEpoch){i, loss, 1.1 * loss, accuracy, 0.9 * accuracy, 0.001};
}

static VitroImage draw(const VitroPlotEpoch *epochs, int64_t count)
{
    VitroImage page = {0};
    assert_int_equal(vitro_plot_curves(&page, epochs, count), VITRO_OK);
    assert_int_equal(page.width, 1800);
    assert_int_equal(page.height, 580);
    assert_int_equal(page.channels, 3);
    return page;
}

static void test_equal_pixels(void **unused)
{
    (void)unused;
    VitroPlotEpoch epochs[1000];
    for (int i = 0; i < 1000; i++)
        epochs[i] = epoch(i, 3 * exp(-i / 200.0), 1 - exp(-i / 100.0));
    static const int64_t counts[] = {1, 2, 20, 1000};
    for (int k = 0; k < 4; k++) {
        VitroImage one = draw(epochs, counts[k]), two = draw(epochs, counts[k]);
        assert_memory_equal(one.pixels, two.pixels, (size_t)1800 * 580 * 3);
        assert_true(COUNT_TRAIN(&one) > 100);
        assert_true(COUNT_VAL(&one) > 100);
        assert_true(COUNT_RATE(&one) > 50);
        vitro_image_deinit(&one);
        vitro_image_deinit(&two);
    }
}

/* Without validation nothing has its colour; a value that is not finite leaves the rest. */
static void test_missing_values(void **unused)
{
    (void)unused;
    VitroPlotEpoch epochs[9];
    for (int i = 0; i < 9; i++) {
        epochs[i] = epoch(i, 2 - i / 8.0, i / 8.0);
        epochs[i].val_loss = epochs[i].val_accuracy = NAN;
    }
    VitroImage whole = draw(epochs, 9);
    assert_int_equal(COUNT_VAL(&whole), 0);
    epochs[4].train_loss = INFINITY;
    VitroImage gap = draw(epochs, 9);
    assert_true(COUNT_TRAIN(&gap) < COUNT_TRAIN(&whole));
    assert_true(COUNT_TRAIN(&gap) > COUNT_TRAIN(&whole) * 3 / 4);
    for (int i = 0; i < 9; i++)
        epochs[i] = (VitroPlotEpoch){i, NAN, -INFINITY, INFINITY, NAN, NAN};
    VitroImage none = draw(epochs, 9);
    assert_int_equal(COUNT_TRAIN(&none) + COUNT_VAL(&none) + COUNT_RATE(&none), 0);
    vitro_image_deinit(&whole);
    vitro_image_deinit(&gap);
    vitro_image_deinit(&none);
}

static void test_extremes(void **unused)
{
    (void)unused;
    static const double losses[] = {0, 5e-324, 1e-300, 1e300, -1e300, 1e-9, 1e15, 2.302585, 1e199};
    for (int i = 0; i < 9; i++)
        for (int k = 0; k < 9; k++) {
            VitroPlotEpoch epochs[2] = {epoch(INT64_MAX - 1, losses[i], 1),
                                        epoch(INT64_MAX, losses[k], 0)};
            epochs[1].learning_rate = losses[i];
            VitroImage page = draw(epochs, 2);
            assert_true(COUNT_TRAIN(&page) > 50); /* the accuracy's, at least */
            vitro_image_deinit(&page);
        }
}

static void test_failures(void **unused)
{
    (void)unused;
    VitroImage page = {0};
    VitroPlotEpoch one = epoch(0, 1, 1);
    assert_int_equal(vitro_plot_curves(&page, &one, 0), VITRO_E_ARG);
    vitro_alloc_fail_at(1);
    assert_int_equal(vitro_plot_curves(&page, &one, 1), VITRO_E_NOMEM);
    vitro_alloc_fail_at(0);
    assert_null(page.pixels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_axes), cmocka_unit_test(test_equal_pixels),
        cmocka_unit_test(test_missing_values), cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_failures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
