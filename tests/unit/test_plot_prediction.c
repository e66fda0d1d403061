/* SPDX-License-Identifier: Apache-2.0 */
/* The titled picture, read back: the picture's own pixels under a band with dark letters in it. */
#include "base/alloc.h"
#include "base/fs.h"
#include "vitro/plot.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/vitro-test-plot-XXXXXX";

static VitroImage picture(int width, int height, int channels)
{
    VitroImage image = {width, height, channels, NULL};
    size_t n = (size_t)width * (size_t)height * (size_t)channels;
    image.pixels = vitro_malloc(n);
    assert_non_null(image.pixels);
    for (size_t i = 0; i < n; i++)
        image.pixels[i] = (uint8_t)(40 + i * 11 % 150); /* neither black nor white */
    return image;
}

static VitroImage draw(const VitroImage *image, const char *title)
{
    VitroImage page = {0}, drawn = {0};
    assert_int_equal(vitro_plot_prediction(&page, image, title, NULL, 0), VITRO_OK);
    assert_int_equal(vitro_image_write_png(path, &page), VITRO_OK);
    assert_int_equal(vitro_image_read(&drawn, path, 3, false), VITRO_OK);
    assert_int_equal(drawn.width, page.width);
    assert_int_equal(drawn.height, page.height);
    size_t bytes = (size_t)page.width * (size_t)page.height * 3;
    assert_memory_equal(drawn.pixels, page.pixels, bytes);
    vitro_image_deinit(&page);
    return drawn;
}

static const uint8_t *pixel(const VitroImage *image, int x, int y)
{
    return image->pixels + ((size_t)y * (size_t)image->width + (size_t)x) * 3;
}

/* Dark pixels in the first rows: letters. */
static int count_dark_above(const VitroImage *drawn, int rows)
{
    int dark = 0;
    for (int y = 0; y < rows; y++)
        for (int x = 0; x < drawn->width; x++)
            dark += pixel(drawn, x, y)[0] < 100;
    return dark;
}

static void test_small_is_enlarged(void **unused)
{
    (void)unused;
    VitroImage digit = picture(28, 28, 1), drawn = draw(&digit, "class: 7 prob: 0.987");
    assert_true(drawn.width >= 336 && drawn.height > 336);
    int left = (drawn.width - 336) / 2, top = drawn.height - 336 - 12;
    for (int y = 0; y < 336; y++)
        for (int x = 0; x < 336; x++) {
            const uint8_t *p = pixel(&drawn, left + x, top + y);
            uint8_t v = digit.pixels[y / 12 * 28 + x / 12];
            assert_true(p[0] == v && p[1] == v && p[2] == v);
        }
    assert_true(count_dark_above(&drawn, top) > 50);
    vitro_image_deinit(&digit);
    vitro_image_deinit(&drawn);
}

static void test_large_keeps_its_pixels(void **unused)
{
    (void)unused;
    VitroImage photo = picture(400, 300, 3), drawn = draw(&photo, "class: L\xC3\xB6wenzahn");
    int left = (drawn.width - 400) / 2, top = drawn.height - 300 - 12;
    for (int y = 0; y < 300; y++)
        assert_memory_equal(pixel(&drawn, left, top + y), photo.pixels + (size_t)y * 1200, 1200);
    vitro_image_deinit(&drawn);
    vitro_image_deinit(&photo);
    photo = picture(5000, 7, 3);
    drawn = draw(&photo, "wide");
    assert_true(drawn.width < 2000);
    vitro_image_deinit(&photo);
    vitro_image_deinit(&drawn);
}

/* A title that is not UTF-8 is drawn all the same, and a long one widens the page. */
static void test_odd_titles(void **unused)
{
    (void)unused;
    VitroImage image = picture(30, 30, 3);
    VitroImage plain = draw(&image, "a title that is long, and wider than the picture is: tulips");
    VitroImage bad = draw(&image, "caf\xE9 \xED\xA0\x80 \xC0\x80 \xF5 \xE2\x82 tulips and tulips");
    VitroImage none = draw(&image, "");
    assert_true(plain.width > none.width);
    assert_true(count_dark_above(&bad, 28) > 50);
    assert_int_equal(count_dark_above(&none, 28), 0);
    vitro_image_deinit(&image);
    vitro_image_deinit(&plain);
    vitro_image_deinit(&bad);
    vitro_image_deinit(&none);
}

/* Pixels of the first bar's blue. */
static int count_blue(const VitroImage *page)
{
    int n = 0;
    for (int y = 0; y < page->height; y++)
        for (int x = 0; x < page->width; x++)
            n += memcmp(pixel(page, x, y), "\x00\x72\xB2", 3) == 0;
    return n;
}

static VitroImage chart(const VitroImage *image, const VitroPlotBar *bars, int64_t count)
{
    VitroImage page = {0}, again = {0};
    assert_int_equal(vitro_plot_prediction(&page, image, "t", bars, count), VITRO_OK);
    assert_int_equal(vitro_plot_prediction(&again, image, "t", bars, count), VITRO_OK);
    assert_int_equal(page.width, again.width);
    assert_int_equal(page.height, again.height);
    assert_memory_equal(page.pixels, again.pixels, (size_t)page.width * (size_t)page.height * 3);
    vitro_image_deinit(&again);
    return page;
}

static void test_bars(void **unused)
{
    (void)unused;
    static const double odd[] = {NAN, -1, 0, 1e-9};
    char name[3000];
    memset(name, 'm', sizeof(name) - 1);
    name[sizeof(name) - 1] = 0;
    VitroImage image = picture(28, 28, 1), none = chart(&image, NULL, 0);
    VitroPlotBar bars[VITRO_PLOT_MAX_BARS + 1];
    for (int i = 0; i <= VITRO_PLOT_MAX_BARS; i++)
        bars[i] = (VitroPlotBar){i % 2 ? "tulips" : name, i ? 0.01 : 0.5};
    int previous = none.width;
    for (int count = 1; count <= VITRO_PLOT_MAX_BARS; count++) {
        VitroImage page = chart(&image, bars, count);
        assert_in_range(page.width, previous, 1200);
        assert_in_range(page.height, none.height, 800);
        assert_true(count_blue(&page) > 200);
        vitro_image_deinit(&page);
    }
    VitroImage most = chart(&image, bars, VITRO_PLOT_MAX_BARS), more = chart(&image, bars, 21);
    assert_int_equal(most.height, more.height);
    VitroImage half = chart(&image, bars, 1);
    bars[0].probability = 7; /* drawn as 1 */
    VitroImage full = chart(&image, bars, 1);
    assert_in_range(count_blue(&full), count_blue(&half) * 2 - 40, count_blue(&half) * 2 + 40);
    for (int i = 0; i < 4; i++) {
        bars[0].probability = odd[i];
        VitroImage page = chart(&image, bars, 1);
        assert_true(count_blue(&page) < 40);
        vitro_image_deinit(&page);
    }
    VitroImage *pages[] = {&image, &none, &most, &more, &half, &full};
    for (int i = 0; i < 6; i++)
        vitro_image_deinit(pages[i]);
}

/* Wide pictures have the chart below, and are not moved apart by it. */
static void test_wide(void **unused)
{
    (void)unused;
    VitroImage image = picture(600, 200, 3);
    VitroPlotBar bars[] = {{"tulips", 0.9},
                           {"a name that is rather long for the room there is", 0.1}};
    VitroImage page = chart(&image, bars, 2);
    assert_in_range(page.width, 624, 700);
    assert_true(page.height > 260);
    vitro_image_deinit(&page);
    vitro_image_deinit(&image);
}

/* A folder in the way: an error, and nothing new beside it. */
static void test_nothing_left(void **unused)
{
    (void)unused;
    char folder[] = "/tmp/vitro-test-plot-XXXXXX", target[64];
    VitroImage image = picture(30, 30, 3);
    VitroNameList list;
    assert_non_null(mkdtemp(folder));
    snprintf(target, sizeof(target), "%s/p.png", folder);
    assert_int_equal(vitro_fs_mkdirs(target), VITRO_OK);
    assert_int_not_equal(vitro_image_write_png(target, &image), VITRO_OK);
    assert_int_equal(vitro_fs_list(&list, folder), VITRO_OK);
    assert_int_equal(list.count, 1);
    vitro_list_free(&list);
    rmdir(target);
    rmdir(folder);
    vitro_image_deinit(&image);
}

static void test_failures(void **unused)
{
    (void)unused;
    VitroImage image = picture(30, 30, 3);
    VitroPlotBar bar = {"tulips", 0.5};
    VitroImage page = {0};
    assert_int_equal(vitro_image_write_png("/nonexistent/folder/p.png", &image), VITRO_E_IO);
    assert_int_equal(vitro_plot_prediction(&page, &image, "t", &bar, -1), VITRO_E_ARG);
    assert_null(page.pixels);
    VitroStatus st = VITRO_E_NOMEM;
    for (uint64_t n = 1; st != VITRO_OK; n++) {
        assert_int_equal(st, VITRO_E_NOMEM);
        vitro_alloc_fail_at(n);
        st = vitro_plot_prediction(&page, &image, "t", &bar, 1);
        if (st == VITRO_OK)
            st = vitro_image_write_png(path, &page);
        vitro_image_deinit(&page);
    }
    vitro_alloc_fail_at(0);
    vitro_image_deinit(&image);
}

int main(void)
{
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_small_is_enlarged),
                                       cmocka_unit_test(test_large_keeps_its_pixels),
                                       cmocka_unit_test(test_odd_titles),
                                       cmocka_unit_test(test_bars),
                                       cmocka_unit_test(test_wide),
                                       cmocka_unit_test(test_nothing_left),
                                       cmocka_unit_test(test_failures)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
