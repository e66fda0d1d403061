/* SPDX-License-Identifier: Apache-2.0 */
/* What terminals are sent: small pictures against bytes written by hand, large ones decoded here.
 */
#include "base/alloc.h"
#include "plot/show.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static VitroStatus collect(void *user, const void *data, size_t size)
{
    return vitro_buf_append(user, data, size);
}

/* The bytes as a string; the caller frees the buffer. */
static const char *show(VitroBuf *out, const VitroImage *image, VitroShowMethod method, int width,
                        int height)
{
    const char *text;
    vitro_buf_init(out, (size_t)1 << 28);
    assert_int_equal(vitro_show(image, method, width, height, collect, out), VITRO_OK);
    assert_int_equal(vitro_buf_cstr(out, &text), VITRO_OK);
    assert_int_equal(text[out->len - 1], '\n');
    return text;
}

static void expect(const VitroImage *image, VitroShowMethod method, const char *golden)
{
    VitroBuf out;
    assert_string_equal(show(&out, image, method, 100, 100), golden);
    vitro_buf_deinit(&out);
}

#define UPPER "\xE2\x96\x80"

/* red  red   blue
 * red  white blue
 * grey white blue */
static uint8_t flag[] = {255, 0, 0, 255, 0,   0,   0,   0,   255, 255, 0, 0, 255, 255,
                         255, 0, 0, 255, 128, 128, 128, 255, 255, 255, 0, 0, 255};

static void test_blocks(void **unused)
{
    (void)unused;
    VitroImage image = {3, 3, 3, flag};
    expect(&image, VITRO_SHOW_BLOCKS,
           "\033[38;2;255;0;0m\033[48;2;255;0;0m" UPPER "\033[48;2;255;255;255m" UPPER
           "\033[38;2;0;0;255m\033[48;2;0;0;255m" UPPER "\033[0m\n"
           "\033[38;2;128;128;128m" UPPER "\033[38;2;255;255;255m" UPPER "\033[38;2;0;0;255m" UPPER
           "\033[0m\n");
    expect(&image, VITRO_SHOW_BLOCKS_256,
           "\033[38;5;196m\033[48;5;196m" UPPER "\033[48;5;231m" UPPER
           "\033[38;5;21m\033[48;5;21m" UPPER "\033[0m\n"
           "\033[38;5;102m" UPPER "\033[38;5;231m" UPPER "\033[38;5;21m" UPPER "\033[0m\n");
    uint8_t grey[] = {0, 255};
    VitroImage column = {1, 2, 1, grey};
    expect(&column, VITRO_SHOW_BLOCKS_256, "\033[38;5;16m\033[48;5;231m" UPPER "\033[0m\n");
}

static void test_sixel(void **unused)
{
    (void)unused;
    uint8_t grey[8 * 5];
    memset(grey, 255, sizeof(grey));
    VitroImage white = {5, 8, 1, grey};
    expect(&white, VITRO_SHOW_SIXEL, "\033P0;1;0q\"1;1;5;8#0;2;100;100;100#0!5~-#0!5B\033\\\n");
    /* black | white: the cut is at the median; rows 1 and 2 black at the left */
    memset(grey, 255, sizeof(grey));
    grey[5] = grey[10] = 0;
    VitroImage two = {5, 3, 1, grey};
    expect(&two, VITRO_SHOW_SIXEL,
           "\033P0;1;0q\"1;1;5;3#0;2;0;0;0#1;2;100;100;100#0E$#1@!4F\033\\\n");
}

/* A terminal of our own: colours and sixels, into `image`. */
static void draw_sixel(VitroImage *image, const char *p)
{
    uint8_t palette[256][3] = {{0}};
    int colour = 0, x = 0, y = 0, run = 1, used;
    assert_int_equal(sscanf(p, "\033P0;1;0q\"1;1;%d;%d%n", &image->width, &image->height, &used),
                     2);
    image->channels = 3;
    image->pixels = vitro_calloc((size_t)image->width * (size_t)image->height, 3);
    for (p += used; *p != '\033'; p++) {
        int v[4];
        if (sscanf(p, "#%d;2;%d;%d;%d%n", &v[0], &v[1], &v[2], &v[3], &used) == 4) {
            for (int i = 0; i < 3; i++)
                palette[v[0]][i] = (uint8_t)(v[i + 1] * 255 / 100);
            p += used - 1;
        } else if (sscanf(p, "#%d%n", &colour, &used) == 1 ||
                   sscanf(p, "!%d%n", &run, &used) == 1) {
            p += used - 1;
        } else if (*p == '$' || *p == '-') {
            x = 0;
            y += *p == '-' ? 6 : 0;
        } else {
            assert_in_range(*p, '?', '~');
            for (; run > 0; run--, x++)
                for (int i = 0; i < 6; i++)
                    if ((*p - '?') >> i & 1) {
                        assert_true(x < image->width && y + i < image->height);
                        memcpy(image->pixels + (size_t)((y + i) * image->width + x) * 3,
                               palette[colour], 3);
                    }
            run = 1;
        }
    }
}

static VitroImage ramp(int width, int height)
{
    VitroImage image = {width, height, 3, NULL};
    image.pixels = vitro_malloc((size_t)width * (size_t)height * 3);
    assert_non_null(image.pixels);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint8_t *p = image.pixels + (size_t)(y * width + x) * 3;
            p[0] = (uint8_t)(255 * x / width);
            p[1] = (uint8_t)(255 * y / height);
            p[2] = (uint8_t)(255 - p[0] / 2 - p[1] / 2);
        }
    return image;
}

/* 256 colours for a plane of them: each pixel is within a few steps of its own. */
static void test_sixel_of_many_colours(void **unused)
{
    (void)unused;
    VitroImage image = ramp(301, 199), seen = {0};
    VitroBuf out;
    draw_sixel(&seen, show(&out, &image, VITRO_SHOW_SIXEL, 1000, 1000));
    assert_int_equal(seen.width, 301);
    assert_int_equal(seen.height, 199);
    int64_t error = 0;
    for (int i = 0; i < 301 * 199 * 3; i++) {
        int d = abs(seen.pixels[i] - image.pixels[i]);
        assert_in_range(d, 0, 24);
        error += d;
    }
    assert_true(error < 301 * 199 * 3 * 5);
    vitro_buf_deinit(&out);
    vitro_image_deinit(&image);
    vitro_image_deinit(&seen);
}

static int digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = strchr(digits, c);
    assert_true(at && *at);
    return (int)(at - digits);
}

/* The PNG inside the codes, decoded, is the picture. */
static void expect_kitty(const VitroImage *image, bool one_chunk)
{
    VitroBuf out, png;
    VitroImage seen = {0};
    const char *p = show(&out, image, VITRO_SHOW_KITTY, 5000, 5000);
    vitro_buf_init(&png, (size_t)1 << 28);
    bool more = true;
    for (int chunk = 0; more; chunk++) {
        const char *begin = chunk ? "\033_Gm=" : "\033_Ga=T,f=100,q=2,m=";
        assert_memory_equal(p, begin, strlen(begin));
        p += strlen(begin);
        more = *p++ == '1';
        assert_true(chunk > 0 || more == !one_chunk);
        assert_int_equal(*p++, ';');
        const char *end = strchr(p, '\033');
        assert_true(end && (end - p) % 4 == 0 && end - p <= 4096 && (!more || end - p == 4096));
        for (; p < end; p += 4) {
            int n = p[2] == '=' ? 1 : p[3] == '=' ? 2 : 3;
            uint32_t v = (uint32_t)digit(p[0]) << 18 | (uint32_t)digit(p[1]) << 12;
            v |= n > 1 ? (uint32_t)digit(p[2]) << 6 : 0;
            v |= n > 2 ? (uint32_t)digit(p[3]) : 0;
            uint8_t bytes[] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
            vitro_buf_append(&png, bytes, (size_t)n);
        }
        assert_memory_equal(p, "\033\\", 2);
        p += 2;
    }
    assert_string_equal(p, "\n");
    assert_int_equal(vitro_image_decode(&seen, png.data, png.len, "png", image->channels, false),
                     VITRO_OK);
    assert_int_equal(seen.width, image->width);
    assert_int_equal(seen.height, image->height);
    size_t bytes = (size_t)image->width * (size_t)image->height * (size_t)image->channels;
    assert_memory_equal(seen.pixels, image->pixels, bytes);
    vitro_buf_deinit(&out);
    vitro_buf_deinit(&png);
    vitro_image_deinit(&seen);
}

static void test_kitty(void **unused)
{
    (void)unused;
    VitroImage small = {3, 3, 3, flag}, grey = {9, 3, 1, flag}, large = ramp(301, 199);
    expect_kitty(&small, true);
    expect_kitty(&grey, true);
    for (uint32_t i = 0; i < 301 * 199 * 3; i++) /* more than one chunk when compressed */
        large.pixels[i] = (uint8_t)(i * 2654435761u >> 24);
    expect_kitty(&large, false);
    vitro_image_deinit(&large);
}

static int count(const char *text, const char *what)
{
    int n = 0;
    while ((text = strstr(text, what))) {
        n++;
        text += strlen(what);
    }
    return n;
}

/* Made smaller, never larger; one pixel remains whatever happens. */
static void test_fits(void **unused)
{
    (void)unused;
    VitroImage image = ramp(300, 200), thin = ramp(400, 1);
    VitroBuf out;
    assert_non_null(strstr(show(&out, &image, VITRO_SHOW_SIXEL, 150, 1000), "\"1;1;150;100#"));
    vitro_buf_deinit(&out);
    assert_non_null(strstr(show(&out, &image, VITRO_SHOW_SIXEL, 1000, 50), "\"1;1;75;50#"));
    vitro_buf_deinit(&out);
    const char *text = show(&out, &image, VITRO_SHOW_BLOCKS, 30, 1000);
    assert_int_equal(count(text, "\n"), 10);
    assert_int_equal(count(text, UPPER), 300);
    vitro_buf_deinit(&out);
    assert_int_equal(count(show(&out, &thin, VITRO_SHOW_BLOCKS_256, 7, 1), UPPER), 7);
    vitro_buf_deinit(&out);
    assert_int_equal(count(show(&out, &image, VITRO_SHOW_BLOCKS, 1, 1), UPPER), 1);
    vitro_buf_deinit(&out);
    vitro_image_deinit(&image);
    vitro_image_deinit(&thin);
}

static VitroStatus refuse(void *user, const void *data, size_t size)
{
    (void)data;
    *(size_t *)user += size;
    return VITRO_E_CANCELLED;
}

static void test_failures(void **unused)
{
    (void)unused;
    VitroImage image = ramp(30, 20);
    size_t sent = 0;
    assert_int_equal(vitro_show(&image, VITRO_SHOW_KITTY, 0, 5, refuse, &sent), VITRO_E_ARG);
    assert_int_equal(vitro_show(&image, (VitroShowMethod)9, 5, 5, refuse, &sent), VITRO_E_ARG);
    assert_int_equal(sent, 0);
    for (int method = 0; method < 4; method++) {
        VitroStatus st = VITRO_E_NOMEM;
        sent = 0;
        for (uint64_t n = 1; st == VITRO_E_NOMEM; n++) {
            assert_int_equal(sent, 0);
            vitro_alloc_fail_at(n);
            st = vitro_show(&image, (VitroShowMethod)method, 20, 20, refuse, &sent);
        }
        assert_int_equal(st, VITRO_E_CANCELLED);
        assert_true(sent > 0);
        vitro_alloc_fail_at(0);
    }
    vitro_image_deinit(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_blocks),
                                       cmocka_unit_test(test_sixel),
                                       cmocka_unit_test(test_sixel_of_many_colours),
                                       cmocka_unit_test(test_kitty),
                                       cmocka_unit_test(test_fits),
                                       cmocka_unit_test(test_failures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
