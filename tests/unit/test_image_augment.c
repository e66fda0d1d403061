/* SPDX-License-Identifier: Apache-2.0 */
/* The drawn crop: a function of its arguments, inside the picture, and distributed as torchvision's
 * RandomResizedCrop; and the transforms' own rules that no table of check sums covers. */
#include "vitro/image.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_depends_on_arguments_only(void **unused)
{
    (void)unused;
    VitroAugment a = vitro_augment_draw(1, 2, 3, 500, 375);
    vitro_augment_draw(9, 9, 9, 500, 375);
    VitroAugment b = vitro_augment_draw(1, 2, 3, 500, 375);
    assert_memory_equal(&a.crop, &b.crop, sizeof(a.crop));
    assert_int_equal(a.flip, b.flip);
    VitroAugment others[] = {vitro_augment_draw(0, 2, 3, 500, 375),
                             vitro_augment_draw(1, 0, 3, 500, 375),
                             vitro_augment_draw(1, 2, 0, 500, 375)};
    for (int i = 0; i < 3; i++)
        assert_memory_not_equal(&a.crop, &others[i].crop, sizeof(a.crop));
}

/* Limits are five standard errors of the mean of N uniform numbers. For a square picture tries with
 * a side beyond the picture's are drawn again, which lowers the mean area: 0.477 by simulation of
 * torchvision's get_params. */
static void test_distribution(void **unused)
{
    (void)unused;
    enum { N = 20000, SIDE = 1000 };
    double area = 0, log_ratio = 0, left = 0, top = 0, flips = 0;
    for (uint32_t i = 0; i < N; i++) {
        VitroAugment a = vitro_augment_draw(5, 0, i, SIDE, SIDE);
        const VitroBox *c = &a.crop;
        assert_true(c->left >= 0 && c->top >= 0 && c->width >= 1 && c->height >= 1);
        assert_true(c->left + c->width <= SIDE && c->top + c->height <= SIDE);
        double share = (double)c->width * c->height / SIDE / SIDE;
        double ratio = (double)c->width / c->height;
        assert_true(share > 0.079 && share <= 1.0 && ratio > 0.745 && ratio < 1.342);
        area += share;
        log_ratio += log(ratio);
        left += c->width < SIDE ? (double)c->left / (SIDE - c->width) : 0.5;
        top += c->height < SIDE ? (double)c->top / (SIDE - c->height) : 0.5;
        flips += a.flip;
    }
    double limit = 5 * 0.2887 / sqrt(N);
    assert_true(fabs(area / N - 0.477) < limit);
    assert_true(fabs(log_ratio / N) < limit * 0.58);
    assert_true(fabs(left / N - 0.5) < limit && fabs(top / N - 0.5) < limit);
    assert_true(fabs(flips / N - 0.5) < 5 * 0.5 / sqrt(N));
}

/* No crop of at least 8 % with such a ratio fits: the middle, as long as the ratio allows. */
static void test_fallback(void **unused)
{
    (void)unused;
    VitroAugment wide = vitro_augment_draw(1, 1, 1, 3000, 30);
    VitroAugment tall = vitro_augment_draw(1, 1, 1, 30, 3000);
    assert_memory_equal(&wide.crop, (&(VitroBox){1480, 0, 40, 30}), sizeof(VitroBox));
    assert_memory_equal(&tall.crop, (&(VitroBox){0, 1480, 30, 40}), sizeof(VitroBox));
    VitroAugment dot = vitro_augment_draw(1, 1, 1, 1, 1);
    assert_memory_equal(&dot.crop, (&(VitroBox){0, 0, 1, 1}), sizeof(VitroBox));
}

static VitroImage ramp(int width, int height, int channels)
{
    VitroImage image = {width, height, channels, NULL};
    size_t n = (size_t)width * (size_t)height * (size_t)channels;
    image.pixels = malloc(n); /* the test's own; freed by free() */
    assert_non_null(image.pixels);
    for (size_t i = 0; i < n; i++)
        image.pixels[i] = (uint8_t)(i * 37);
    return image;
}

static void test_apply_is_crop_flip_normalize(void **unused)
{
    (void)unused;
    enum { SIDE = 8 };
    VitroImage in = ramp(40, 30, 3), part = {0};
    VitroTransform t = vitro_transform_default(SIDE, SIDE, 3);
    VitroAugment a = {{5, 6, 20, 11}, true};
    float out[3][SIDE][SIDE];
    assert_int_equal(vitro_augment_apply(&out[0][0][0], &in, &t, &a), VITRO_OK);
    assert_int_equal(vitro_image_resize(&part, &in, &a.crop, SIDE, SIDE, VITRO_BILINEAR), VITRO_OK);
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++) {
                volatile float v = (float)part.pixels[(y * SIDE + SIDE - 1 - x) * 3 + c] / 255.0f;
                volatile float centred = v - 0.5f;
                assert_true(out[c][y][x] == centred / 0.5f);
            }
    a.crop.width = 36;
    assert_int_equal(vitro_augment_apply(&out[0][0][0], &in, &t, &a), VITRO_E_ARG);
    vitro_image_deinit(&part);
    free(in.pixels);
}

static void test_defaults(void **unused)
{
    (void)unused;
    static const int sides[][2] = {{224, 256}, {384, 438}, {32, 36}, {28, 32}, {1, 1}};
    for (size_t i = 0; i < sizeof(sides) / sizeof(sides[0]); i++) {
        VitroTransform t = vitro_transform_default(sides[i][0], sides[i][0], 3);
        assert_int_equal(t.resize_height, sides[i][1]);
        assert_int_equal(t.resize_width, sides[i][1]);
        assert_true(t.width == sides[i][0] && t.height == sides[i][0] && t.channels == 3);
        assert_true(t.filter == VITRO_BILINEAR && t.rule == VITRO_RESIZE_SHORT && !t.exif);
        assert_true(t.mean[2] == 0.5f && t.std[2] == 0.5f && !t.keep_exact);
    }
}

static void test_keep_exact(void **unused)
{
    (void)unused;
    VitroImage in = ramp(28, 28, 1), out = {0};
    VitroTransform t = vitro_transform_default(28, 28, 1);
    assert_int_equal(vitro_transform_pixels(&out, &in, &t), VITRO_OK);
    assert_memory_not_equal(in.pixels, out.pixels, 28 * 28);
    vitro_image_deinit(&out);
    t.keep_exact = true;
    assert_int_equal(vitro_transform_pixels(&out, &in, &t), VITRO_OK);
    assert_memory_equal(in.pixels, out.pixels, 28 * 28);
    vitro_image_deinit(&out);
    free(in.pixels);
}

/* 1 x N would be N * resize * resize pixels if the whole of it were made. */
static void test_extreme_aspect_is_cheap(void **unused)
{
    (void)unused;
    VitroImage in = ramp(1, 1000000, 3), out = {0};
    VitroTransform t = vitro_transform_default(224, 224, 3);
    assert_int_equal(vitro_transform_pixels(&out, &in, &t), VITRO_OK);
    assert_true(out.width == 224 && out.height == 224);
    vitro_image_deinit(&out);
    free(in.pixels);
}

static void test_bad_transforms(void **unused)
{
    (void)unused;
    VitroImage in = ramp(10, 10, 3), out = {0};
    VitroTransform good = vitro_transform_default(8, 8, 3), t = good;
    t.std[1] = 0;
    assert_int_equal(vitro_transform_pixels(&out, &in, &t), VITRO_E_ARG);
    t = good, t.mean[0] = NAN;
    assert_int_equal(vitro_transform_pixels(&out, &in, &t), VITRO_E_ARG);
    t = good, t.resize_height = 0;
    assert_int_equal(vitro_transform_pixels(&out, &in, &t), VITRO_E_ARG);
    t = good, t.width = 0;
    assert_int_equal(vitro_transform_pixels(&out, &in, &t), VITRO_E_ARG);
    t = good, t.channels = 1;
    assert_int_equal(vitro_transform_pixels(&out, &in, &t), VITRO_E_ARG);
    float floats[8 * 8 * 3];
    assert_int_equal(vitro_transform_normalize(floats, &in, &good, false), VITRO_E_ARG);
    assert_null(out.pixels);
    free(in.pixels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_depends_on_arguments_only),
                                       cmocka_unit_test(test_distribution),
                                       cmocka_unit_test(test_fallback),
                                       cmocka_unit_test(test_apply_is_crop_flip_normalize),
                                       cmocka_unit_test(test_defaults),
                                       cmocka_unit_test(test_keep_exact),
                                       cmocka_unit_test(test_extreme_aspect_is_cheap),
                                       cmocka_unit_test(test_bad_transforms)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
