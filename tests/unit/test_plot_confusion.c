/* SPDX-License-Identifier: Apache-2.0 */
/* The heat map: sizes, colours of cells, equal pixels, any number of classes. */
#include "base/alloc.h"
#include "vitro/plot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct Matrix {
    int64_t n, *counts;
    char (*text)[32];
    const char **names;
} Matrix;

/* Right seven times in ten. */
static Matrix make(int64_t n)
{
    Matrix m = {.n = n, .counts = vitro_calloc((size_t)(n * n), sizeof(*m.counts))};
    m.text = vitro_calloc((size_t)n, sizeof(*m.text));
    m.names = vitro_calloc((size_t)n, sizeof(*m.names));
    assert_true(m.counts && m.text && m.names);
    for (int64_t i = 0; i < n; i++) {
        m.counts[i * n + i] += 70;
        m.counts[i * n + (i * 7 + 3) % n] += 30;
        snprintf(m.text[i], sizeof(m.text[i]), "class number %d", (int)i);
        m.names[i] = m.text[i];
    }
    return m;
}

static void end(Matrix *m)
{
    vitro_free(m->counts);
    vitro_free(m->text);
    vitro_free(m->names);
}

static VitroImage draw(const Matrix *m, const char *title)
{
    VitroImage page = {0};
    assert_int_equal(vitro_plot_confusion(&page, m->counts, m->n, m->names, title), VITRO_OK);
    assert_int_equal(page.channels, 3);
    return page;
}

static const uint8_t *pixel(const VitroImage *image, int x, int y)
{
    return image->pixels + ((size_t)y * (size_t)image->width + (size_t)x) * 3;
}

static int64_t count_colour(const VitroImage *page, uint32_t rgb)
{
    int64_t n = 0;
    for (int64_t i = 0; i < (int64_t)page->width * page->height; i++) {
        const uint8_t *p = page->pixels + 3 * i;
        n += (uint32_t)(p[0] << 16 | p[1] << 8 | p[2]) == rgb;
    }
    return n;
}

static void test_any_number_of_classes(void **unused)
{
    (void)unused;
    static const int64_t sizes[] = {1, 2, 10, 20, 21, 100, 101, 1000, 2500};
    for (int i = 0; i < 9; i++) {
        Matrix m = make(sizes[i]);
        VitroImage one = draw(&m, "top-1 70.00 %"), two = draw(&m, "top-1 70.00 %");
        assert_in_range(one.width, 250, 2600);
        assert_in_range(one.height, 250, 2600);
        assert_int_equal(one.width, two.width);
        assert_int_equal(one.height, two.height);
        assert_memory_equal(one.pixels, two.pixels, (size_t)one.width * (size_t)one.height * 3);
        vitro_image_deinit(&one);
        vitro_image_deinit(&two);
        end(&m);
    }
}

#define FULL 0x0A3768 /* a cell that has all of its row */
#define NONE 0xF0F0F0 /* a row without pictures */

/* 10 classes of 120 pixels: a row that is always right, one without pictures. */
static void test_colours(void **unused)
{
    (void)unused;
    Matrix m = make(10);
    memset(m.counts, 0, sizeof(*m.counts) * 100);
    VitroImage empty = draw(&m, "");
    assert_in_range(count_colour(&empty, NONE), 10 * 10 * 110 * 110, 1200 * 1200);
    m.counts[0] = INT64_MAX;
    VitroImage one = draw(&m, "");
    int64_t more = count_colour(&one, FULL) - count_colour(&empty, FULL);
    assert_in_range(more, 110 * 110, 120 * 120);
    assert_in_range(count_colour(&one, NONE), 9 * 10 * 110 * 110, 9 * 10 * 120 * 120);
    vitro_image_deinit(&empty);
    vitro_image_deinit(&one);
    end(&m);
}

/* 2500 classes share 1250 cells: the diagonal stays dark. */
static void test_shared_cells(void **unused)
{
    (void)unused;
    Matrix m = make(2500);
    memset(m.counts, 0, sizeof(*m.counts) * 2500 * 2500);
    for (int64_t i = 0; i < 2500; i++)
        m.counts[i * 2500 + i] = 1 + i;
    VitroImage page = draw(&m, "");
    assert_in_range(count_colour(&page, FULL), 1200, 1400);
    vitro_image_deinit(&page);
    end(&m);
}

static void test_odd_texts(void **unused)
{
    (void)unused;
    Matrix m = make(3);
    VitroImage plain = draw(&m, "t");
    char name[2000];
    memset(name, 'W', sizeof(name) - 1);
    name[sizeof(name) - 1] = 0;
    m.names[0] = name;
    m.names[1] = "caf\xE9\n\xF5";
    m.names[2] = "";
    VitroImage odd = draw(&m, name);
    assert_in_range(odd.width, plain.width, 5000);
    assert_int_equal(pixel(&odd, 0, 0)[0], 255);
    vitro_image_deinit(&plain);
    vitro_image_deinit(&odd);
    end(&m);
}

static void test_failures(void **unused)
{
    (void)unused;
    Matrix m = make(3);
    VitroImage page = {0};
    assert_int_equal(vitro_plot_confusion(&page, m.counts, 0, m.names, "t"), VITRO_E_ARG);
    VitroStatus st = VITRO_E_NOMEM;
    for (uint64_t n = 1; st != VITRO_OK; n++) {
        assert_int_equal(st, VITRO_E_NOMEM);
        assert_null(page.pixels);
        vitro_alloc_fail_at(n);
        st = vitro_plot_confusion(&page, m.counts, 3, m.names, "t");
    }
    vitro_alloc_fail_at(0);
    vitro_image_deinit(&page);
    end(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_number_of_classes), cmocka_unit_test(test_colours),
        cmocka_unit_test(test_shared_cells), cmocka_unit_test(test_odd_texts),
        cmocka_unit_test(test_failures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
