/* SPDX-License-Identifier: Apache-2.0 */
/* The resampler: every CPU variant gives the bytes of plain C, a part equals the whole's part, and
 * arguments out of range are refused. Equality with Pillow is in test_image_golden.c. */
#include "base/alloc.h"
#include "base/cpu.h"
#include "image/decode.h"
#include "image/resize.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static uint32_t state = 1;

static uint32_t next_random(void)
{
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

static VitroImage noise(int width, int height, int channels)
{
    VitroImage image = {0};
    assert_int_equal(vitro_image_alloc(&image, width, height, channels), VITRO_OK);
    for (size_t i = 0; i < vitro_image_stride(&image) * (size_t)height; i++) {
        uint32_t r = next_random();
        image.pixels[i] = r & 0x100 ? (uint8_t)r : r & 0x200 ? 255 : 0; /* extremes overshoot */
    }
    return image;
}

static void assert_same(const VitroImage *a, const VitroImage *b)
{
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    assert_int_equal(a->channels, b->channels);
    assert_memory_equal(a->pixels, b->pixels, vitro_image_stride(a) * (size_t)a->height);
}

static void test_variants_agree(void **unused)
{
    (void)unused;
    static const unsigned masks[] = {VITRO_CPU_AVX2, ~0u};
    for (int trial = 0; trial < 300; trial++) {
        int channels = trial % 2 ? 3 : 1;
        VitroImage in =
            noise(1 + (int)(next_random() % 90), 1 + (int)(next_random() % 90), channels);
        VitroBox box = {.width = 1 + (int)(next_random() % (unsigned)in.width),
                        .height = 1 + (int)(next_random() % (unsigned)in.height)};
        box.left = (int)(next_random() % (unsigned)(in.width - box.width + 1));
        box.top = (int)(next_random() % (unsigned)(in.height - box.height + 1));
        int w = 1 + (int)(next_random() % 70), h = 1 + (int)(next_random() % 70);
        VitroFilter filter = (VitroFilter)(trial / 2 % (VITRO_NEAREST + 1));
        VitroImage plain = {0};
        vitro_cpu_set_mask(0);
        assert_int_equal(vitro_image_resize(&plain, &in, &box, w, h, filter), VITRO_OK);
        for (size_t m = 0; m < sizeof(masks) / sizeof(masks[0]); m++) {
            VitroImage fast = {0};
            vitro_cpu_set_mask(masks[m]);
            assert_int_equal(vitro_image_resize(&fast, &in, &box, w, h, filter), VITRO_OK);
            assert_same(&plain, &fast);
            vitro_image_deinit(&fast);
        }
        vitro_image_deinit(&plain);
        vitro_image_deinit(&in);
    }
}

static void test_part_of_whole(void **unused)
{
    (void)unused;
    VitroImage in = noise(61, 43, 3), whole = {0}, part = {0};
    VitroResizePlan plan = {.box = {0, 0, 61, 43},
                            .width = 40,
                            .height = 90,
                            .left = 7,
                            .top = 21,
                            .part_width = 20,
                            .part_height = 33,
                            .filter = VITRO_BICUBIC};
    assert_int_equal(vitro_image_resize(&whole, &in, NULL, 40, 90, VITRO_BICUBIC), VITRO_OK);
    assert_int_equal(vitro_image_resize_part(&part, &in, &plan), VITRO_OK);
    for (int y = 0; y < 33; y++)
        assert_memory_equal(vitro_image_row(&part, y), vitro_image_row(&whole, y + 21) + 7 * 3, 60);
    vitro_image_deinit(&in);
    vitro_image_deinit(&whole);
    vitro_image_deinit(&part);
}

static void test_same_size_copies(void **unused)
{
    (void)unused;
    VitroImage in = noise(17, 5, 1), out = {0};
    assert_int_equal(vitro_image_resize(&out, &in, NULL, 17, 5, VITRO_BILINEAR), VITRO_OK);
    assert_same(&in, &out);
    vitro_image_deinit(&in);
    vitro_image_deinit(&out);
}

static void test_bad_arguments(void **unused)
{
    (void)unused;
    VitroImage in = noise(10, 10, 1), out = {0};
    const VitroBox outside[] = {{1, 0, 10, 10},      {0, 1, 10, 10}, {-1, 0, 5, 5},
                                {0, 0, 0, 5},        {0, 0, 5, -1},  {INT32_MAX, 0, 5, 5},
                                {0, 0, INT32_MAX, 5}};
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++)
        assert_int_equal(vitro_image_resize(&out, &in, &outside[i], 4, 4, VITRO_BILINEAR),
                         VITRO_E_ARG);
    assert_int_equal(vitro_image_resize(&out, &in, NULL, 4, 4, (VitroFilter)6), VITRO_E_ARG);
    assert_int_not_equal(vitro_image_resize(&out, &in, NULL, 0, 4, VITRO_BILINEAR), VITRO_OK);
    assert_int_not_equal(vitro_image_resize(&out, &in, NULL, 1 << 20, 1 << 20, VITRO_BILINEAR),
                         VITRO_OK);
    assert_null(out.pixels);
    vitro_image_deinit(&in);
}

static void test_no_memory(void **unused)
{
    (void)unused;
    VitroImage in = noise(30, 30, 3), out = {0};
    VitroStatus st = VITRO_E_NOMEM;
    for (uint64_t n = 1; st != VITRO_OK; n++) {
        assert_int_equal(st, VITRO_E_NOMEM);
        vitro_alloc_fail_at(n);
        st = vitro_image_resize(&out, &in, NULL, 12, 50, VITRO_BICUBIC);
    }
    vitro_alloc_fail_at(0);
    vitro_image_deinit(&in);
    vitro_image_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_variants_agree), cmocka_unit_test(test_part_of_whole),
        cmocka_unit_test(test_same_size_copies), cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
