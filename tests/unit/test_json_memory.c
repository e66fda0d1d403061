/* SPDX-License-Identifier: Apache-2.0 */
/* Jansson's n-th allocation fails: what is written then is an error, never a text with a hole. */
#include "base/alloc.h"
#include "base/fs.h"
#include "harness/temp.h"
#include "model/card.h"
#include "vitro/checkpoint.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

static long calls, fail_at;

static void *fail_once(size_t n)
{
    return ++calls == fail_at ? NULL : malloc(n);
}

static VitroCard make_card(void)
{
    static const char *const names[] = {"daisy", "red rose", "a name of some length, \"quoted\"\n"};
    VitroCard card = {.has_transform = true, .transform = vitro_transform_default(16, 16, 3)};
    assert_int_equal(vitro_card_set_classes(&card, names, 3), VITRO_OK);
    return card;
}

static void test_card(void **state)
{
    (void)state;
    VitroCard card = make_card();
    VitroConfig cfg;
    char *good, *text;
    long failed = 0;
    assert_int_equal(vitro_config_preset(&cfg, "vit_tiny_patch16_224"), VITRO_OK);
    card.transform = vitro_transform_default(cfg.img_height, cfg.img_width, 3);
    fail_at = 0;
    assert_int_equal(vitro_card_write(&good, &cfg, &card), VITRO_OK);
    for (fail_at = 1, calls = LONG_MAX / 2; calls >= fail_at; fail_at++) {
        calls = 0;
        if (vitro_card_write(&text, &cfg, &card) == VITRO_OK) {
            assert_string_equal(text, good);
            vitro_free(text);
        } else {
            assert_true(*vitro_last_error());
            failed++;
        }
    }
    assert_true(failed > 30);
    vitro_free(good);
    vitro_card_deinit(&card);
}

/* The header of a .safetensors file. */
static void test_header(void **state)
{
    (void)state;
    static const float values[6] = {1, 2, 3, 4, 5, 6};
    static const VitroTensorSource t[] = {{"weight", VITRO_F32, 2, {2, 3}, values},
                                          {"bias", VITRO_F16, 1, {3}, values}};
    char *dir = vt_temp_make(), path[256];
    VitroBuf good, now;
    long failed = 0;
    snprintf(path, sizeof(path), "%s/x.safetensors", dir);
    vitro_buf_init(&good, 1 << 16);
    vitro_buf_init(&now, 1 << 16);
    fail_at = 0;
    assert_int_equal(vitro_checkpoint_write(path, VITRO_FORMAT_SAFETENSORS, t, 2, "{\"a\":1}"), 0);
    assert_int_equal(vitro_fs_read(&good, path), VITRO_OK);
    for (fail_at = 1, calls = LONG_MAX / 2; calls >= fail_at; fail_at++) {
        calls = 0;
        if (vitro_checkpoint_write(path, VITRO_FORMAT_SAFETENSORS, t, 2, "{\"a\":1}") != VITRO_OK)
            failed++;
        now.len = 0;
        assert_int_equal(vitro_fs_read(&now, path), VITRO_OK);
        assert_int_equal(now.len, good.len);
        assert_memory_equal(now.data, good.data, good.len);
    }
    assert_true(failed > 8);
    vitro_buf_deinit(&good);
    vitro_buf_deinit(&now);
    vt_temp_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_card),
        cmocka_unit_test(test_header),
    };
    json_set_alloc_funcs(fail_once, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
