/* SPDX-License-Identifier: Apache-2.0 */
/* A library that is loaded late: found, absent, without a function. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/late.h"

/* libz is in every build, so it is here. */
#define FUNCTIONS(F) F(zlibVersion) F(crc32)

typedef struct Functions {
    FUNCTIONS(VITRO_LATE_MEMBER)
} Functions;

static const char *const names[] = {FUNCTIONS(VITRO_LATE_NAME)};

static void found(void **state)
{
    (void)state;
    Functions lib = {0};
    VitroLate late = {.file = "libz.so.1", .names = names, .count = 2, .table = &lib};
    for (int i = 0; i < 2; i++) { /* the second time there is nothing to do */
        assert_int_equal(vitro_late_load(&late), VITRO_OK);
        assert_string_equal(lib.zlibVersion(), zlibVersion());
        assert_int_equal(lib.crc32(0, (const Bytef *)"123456789", 9), 0xcbf43926);
    }
}

static void absent(void **state)
{
    (void)state;
    Functions lib = {0};
    VitroLate late = {.file = "libnothing.so.99", .names = names, .count = 2, .table = &lib};
    assert_int_equal(vitro_late_load(&late), VITRO_E_UNSUPPORTED);
    assert_non_null(strstr(vitro_last_error(), "libnothing.so.99"));
    assert_null(lib.zlibVersion);
    late.file = "libz.so.1"; /* installed meanwhile */
    assert_int_equal(vitro_late_load(&late), VITRO_OK);
    assert_non_null(lib.zlibVersion);
}

static void too_old(void **state)
{
    (void)state;
    static const char *const more[] = {"zlibVersion", "zlib_reads_minds"};
    Functions lib = {0};
    VitroLate late = {.file = "libz.so.1", .names = more, .count = 2, .table = &lib};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(vitro_late_load(&late), VITRO_E_UNSUPPORTED);
        assert_non_null(strstr(vitro_last_error(), "libz.so.1"));
        assert_non_null(strstr(vitro_last_error(), "zlib_reads_minds"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found),
        cmocka_unit_test(absent),
        cmocka_unit_test(too_old),
    };
    return cmocka_run_group_tests_name("base/late", tests, NULL, NULL);
}
