/* SPDX-License-Identifier: Apache-2.0 */
/* Damaged pictures: cut off at many points, with bits flipped, claiming sizes they cannot hold, and
 * with memory running out. Nothing may crash, leak, or leave a result behind on failure. */
#include "base/alloc.h"
#include "base/buf.h"
#include "base/fs.h"
#include "vitro/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ROOT       "tests/golden/image"
#define MAX_PIXELS 178956970

static uint32_t state = 7;

static uint32_t next_random(void)
{
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

/* Whatever the bytes are: a whole picture, or a status and nothing. */
static VitroStatus decode_any(const uint8_t *data, size_t size)
{
    VitroImage image = {0};
    VitroStatus st = vitro_image_decode(&image, data, size, "damaged", 3, true);
    if (st == VITRO_OK) {
        assert_true(image.width >= 1 && image.height >= 1 && image.channels == 3);
        assert_true((int64_t)image.width * image.height <= MAX_PIXELS);
        assert_non_null(image.pixels);
        size_t n = (size_t)image.width * (size_t)image.height * 3;
        volatile uint8_t last = image.pixels[n - 1]; /* the sanitizer sees a short buffer */
        (void)last;
    } else {
        assert_true(st == VITRO_E_FORMAT || st == VITRO_E_UNSUPPORTED || st == VITRO_E_NOMEM);
        assert_null(image.pixels);
        assert_non_null(strstr(vitro_last_error(), "damaged: "));
    }
    vitro_image_deinit(&image);
    return st;
}

/* Heap copy of just these bytes, so that reading beyond them is seen. */
static VitroStatus decode_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = vitro_malloc(size);
    assert_non_null(copy);
    if (size)
        memcpy(copy, data, size);
    VitroStatus st = decode_any(copy, size);
    vitro_free(copy);
    return st;
}

static void damage(const char *path)
{
    VitroBuf file;
    vitro_buf_init(&file, 1 << 20);
    assert_int_equal(vitro_fs_read(&file, path), VITRO_OK);
    size_t step = file.len / 60 + 1;
    for (size_t n = 0; n < file.len; n += n < 64 ? 3 : step)
        decode_copy(file.data, n);
    for (int trial = 0; trial < 60 && file.len; trial++) {
        size_t at = next_random() % (trial % 2 && file.len > 60 ? 60 : file.len);
        uint8_t was = file.data[at];
        file.data[at] =
            trial % 3 ? was ^ (uint8_t)(1 << next_random() % 8) : (uint8_t)next_random();
        decode_copy(file.data, file.len);
        file.data[at] = was;
    }
    vitro_buf_deinit(&file);
}

static void test_damaged_fixtures(void **unused)
{
    (void)unused;
    VitroNameList names;
    assert_int_equal(vitro_fs_list(&names, ROOT), VITRO_OK);
    assert_true(names.count > 100);
    for (size_t i = 0; i < names.count; i++) {
        char path[512];
        snprintf(path, sizeof(path), ROOT "/%s", names.names[i]);
        if (!vitro_path_has_ext(path, ".txt"))
            damage(path);
    }
    vitro_list_free(&names);
}

/* A few bytes that claim the largest pictures: refused as damaged, not for want of memory. */
static void test_claims_without_data(void **unused)
{
    (void)unused;
    static const char *const names[] = {"bad_size.png", "bad_bomb.pgm", "bad_claim.ppm"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[512];
        VitroImage image = {0};
        snprintf(path, sizeof(path), ROOT "/%s", names[i]);
        assert_int_equal(vitro_image_read(&image, path, 3, false), VITRO_E_FORMAT);
        assert_null(image.pixels);
    }
    VitroBuf file;
    vitro_buf_init(&file, 1 << 20);
    assert_int_equal(vitro_fs_read(&file, ROOT "/base.jpg"), VITRO_OK);
    for (size_t i = 0; i + 9 < file.len; i++)
        if (file.data[i] == 0xFF && file.data[i + 1] == 0xC0) {
            memcpy(file.data + i + 5, "\x34\x00\x34\x00", 4); /* 13312 x 13312 */
            break;
        }
    assert_int_equal(decode_copy(file.data, file.len), VITRO_E_FORMAT);
    assert_non_null(strstr(vitro_last_error(), "cannot hold"));
    vitro_buf_deinit(&file);
}

/* Formats that need no bits for equal pixels. */
static void test_bombs(void **unused)
{
    (void)unused;
    static const char *const names[] = {"webp/bad-bomb.webp", "bitmap/bad-bomb.bmp"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[512];
        VitroImage image = {0};
        snprintf(path, sizeof(path), "tests/fuzz/corpus/%s", names[i]);
        assert_int_equal(vitro_image_read(&image, path, 3, false), VITRO_E_FORMAT);
        assert_non_null(strstr(vitro_last_error(), "a decompression bomb"));
    }
    VitroImage image = {0}; /* one of an honest size is read */
    assert_int_equal(vitro_image_read(&image, "tests/fuzz/corpus/webp/one-colour.webp", 3, false),
                     0);
    assert_int_equal(image.width, 64);
    vitro_image_deinit(&image);
}

static void test_no_memory(void **unused)
{
    (void)unused;
    static const char *const names[] = {"base.jpg",          "cmyk.jpg",     "exif6.jpg",
                                        "kind3_8_adam7.png", "profile8.png", "apng_small_frame.png",
                                        "alpha.webp",        "rle8.bmp",     "plain24.bmp",
                                        "plain255.ppm",      "raw65535.pgm"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[512];
        VitroStatus st = VITRO_E_NOMEM;
        snprintf(path, sizeof(path), ROOT "/%s", names[i]);
        for (uint64_t n = 1; st != VITRO_OK; n++) {
            assert_int_equal(st, VITRO_E_NOMEM);
            VitroImage image = {0};
            vitro_alloc_fail_at(n);
            st = vitro_image_read(&image, path, 3, true);
            assert_true((st == VITRO_OK) == (image.pixels != NULL));
            vitro_image_deinit(&image);
        }
        vitro_alloc_fail_at(0);
    }
}

static void test_other_formats(void **unused)
{
    (void)unused;
    static const struct {
        const char *bytes, *said;
        size_t size;
        VitroStatus status;
    } cases[] = {{"GIF89a\1\0\1\0", "GIF", 10, VITRO_E_UNSUPPORTED},
                 {"II*\0\10\0\0\0", "TIFF", 8, VITRO_E_UNSUPPORTED},
                 {"\0\0\0\x20"
                  "ftypavif",
                  "AVIF", 12, VITRO_E_UNSUPPORTED},
                 {"<!DOCTYPE html>", "HTML", 15, VITRO_E_UNSUPPORTED},
                 {"no picture", "not a picture", 10, VITRO_E_FORMAT},
                 {"", "empty", 0, VITRO_E_FORMAT}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(decode_copy((const uint8_t *)cases[i].bytes, cases[i].size),
                         cases[i].status);
        assert_non_null(strstr(vitro_last_error(), cases[i].said));
    }
    VitroImage image = {0};
    assert_int_equal(vitro_image_read(&image, ROOT "/absent.jpg", 3, false), VITRO_E_IO);
    assert_int_equal(vitro_image_read(&image, ROOT, 3, false), VITRO_E_IO);
    assert_int_equal(vitro_image_read(&image, ROOT "/base.jpg", 2, false), VITRO_E_ARG);
}

static void test_standard_input(void **unused)
{
    (void)unused;
    VitroImage image = {0};
    assert_non_null(freopen(ROOT "/base.jpg", "rb", stdin));
    assert_int_equal(vitro_image_read(&image, "-", 1, false), VITRO_OK);
    assert_int_equal(image.width, 67);
    assert_int_equal(image.channels, 1);
    vitro_image_deinit(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_damaged_fixtures),
                                       cmocka_unit_test(test_claims_without_data),
                                       cmocka_unit_test(test_bombs),
                                       cmocka_unit_test(test_no_memory),
                                       cmocka_unit_test(test_other_formats),
                                       cmocka_unit_test(test_standard_input)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
