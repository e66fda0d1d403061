/* SPDX-License-Identifier: Apache-2.0 */
/* Every kind of picture against Pillow 9.4, and resizing and the eval transform against torchvision
 * 0.14, timm and Hugging Face: equal bytes, by check sums that tests/golden/make_image_fixtures.py
 * and make_transform_fixtures.py wrote. */
#include "harness/image_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zlib.h>

#define ROOT "tests/golden/image"

static void test_decode(void **unused)
{
    (void)unused;
    int wrong, right = image_table_check(ROOT "/decode.txt", ROOT, &wrong);
    assert_int_equal(wrong, 0);
    assert_true(right > 100);
}

static VitroImage read_fixture(const char *name, int channels)
{
    char path[256];
    VitroImage image = {0};
    snprintf(path, sizeof(path), ROOT "/%s", name);
    assert_int_equal(vitro_image_read(&image, path, channels, false), VITRO_OK);
    return image;
}

static void test_resize(void **unused)
{
    (void)unused;
    FILE *f = fopen(ROOT "/resize.txt", "r");
    assert_non_null(f);
    char name[64];
    int channels, filter, w, h, cases = 0;
    unsigned crc;
    VitroBox box;
    while (fscanf(f, "%63s %d %d %d %d %d %d %d %d %x", name, &channels, &filter, &box.left,
                  &box.top, &box.width, &box.height, &w, &h, &crc) == 10) {
        VitroImage in = read_fixture(name, channels), out = {0};
        assert_int_equal(vitro_image_resize(&out, &in, &box, w, h, (VitroFilter)filter), VITRO_OK);
        assert_int_equal(image_crc(&out), crc);
        vitro_image_deinit(&in);
        vitro_image_deinit(&out);
        cases++;
    }
    fclose(f);
    assert_true(cases > 50);
}

/* Both the bytes and the floats. */
static void check_transform(const char *name, const VitroTransform *t, unsigned bytes_crc,
                            unsigned floats_crc)
{
    VitroImage in = read_fixture(name, t->channels), out = {0};
    assert_int_equal(vitro_transform_pixels(&out, &in, t), VITRO_OK);
    assert_int_equal(out.width, t->width);
    assert_int_equal(out.height, t->height);
    if (image_crc(&out) != bytes_crc)
        fail_msg("%s to %dx%d, rule %d, resize %dx%d, filter %d: other bytes", name, t->height,
                 t->width, t->rule, t->resize_height, t->resize_width, t->filter);
    size_t n = sizeof(float) * (size_t)(t->channels * t->width * t->height);
    float *floats = malloc(n);
    assert_non_null(floats);
    assert_int_equal(vitro_transform_apply(floats, &in, t), VITRO_OK);
    assert_int_equal(crc32_z(0, (const void *)floats, n), floats_crc);
    free(floats);
    vitro_image_deinit(&in);
    vitro_image_deinit(&out);
}

static void test_transform(void **unused)
{
    (void)unused;
    FILE *f = fopen(ROOT "/transform.txt", "r");
    assert_non_null(f);
    char name[64];
    int channels, filter, rule, cases = 0;
    unsigned bytes_crc, floats_crc;
    VitroTransform t = {.mean = {0.485f, 0.456f, 0.406f}, .std = {0.229f, 0.224f, 0.225f}};
    while (fscanf(f, "%63s %d %d %d %d %d %d %x %x", name, &channels, &filter, &rule,
                  &t.resize_height, &t.width, &t.height, &bytes_crc, &floats_crc) == 9) {
        t.resize_width = t.resize_height;
        t.channels = channels;
        t.filter = (VitroFilter)filter;
        t.rule = (VitroResizeRule)rule;
        check_transform(name, &t, bytes_crc, floats_crc);
        cases++;
    }
    fclose(f);
    assert_true(cases > 50);
}

static void test_foreign_transforms(void **unused)
{
    (void)unused;
    FILE *f = fopen(ROOT "/transform_foreign.txt", "r");
    assert_non_null(f);
    char name[64];
    int rule, crop, filter, cases = 0;
    unsigned bytes_crc, floats_crc;
    VitroTransform t = {.channels = 3};
    assert_int_equal(fscanf(f, "#%*[^\n]"), 0);
    while (fscanf(f, "%63s %d %d %d %d %d %d %d %f %f %f %f %f %f %x %x", name, &t.height, &t.width,
                  &rule, &t.resize_height, &t.resize_width, &crop, &filter, &t.mean[0], &t.mean[1],
                  &t.mean[2], &t.std[0], &t.std[1], &t.std[2], &bytes_crc, &floats_crc) == 16) {
        t.rule = (VitroResizeRule)rule;
        t.crop = (VitroCropRule)crop;
        t.filter = (VitroFilter)filter;
        check_transform(name, &t, bytes_crc, floats_crc);
        cases++;
    }
    fclose(f);
    assert_true(cases > 90);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_decode), cmocka_unit_test(test_resize),
                                       cmocka_unit_test(test_transform),
                                       cmocka_unit_test(test_foreign_transforms)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
