/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/sha256.h"

#include <stdio.h>
#include <string.h>

static void check(const char *text, size_t step, const char *expected)
{
    char hex[VITRO_SHA256_HEX];
    VitroSha256 s;
    size_t n = strlen(text);
    vitro_sha256_init(&s);
    for (size_t i = 0; i < n; i += step)
        vitro_sha256_update(&s, text + i, n - i < step ? n - i : step);
    vitro_sha256_final(&s, hex);
    assert_string_equal(hex, expected);
}

/* FIPS 180-4's examples. */
static void test_known(void **state)
{
    (void)state;
    for (size_t step = 1; step < 70; step++) {
        check("", step, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        check("abc", step, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        check("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", step,
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
        check(
            "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmno"
            "pqrlmnopqrsmnopqrstnopqrstu",
            step, "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
    }
}

static void test_file(void **state)
{
    (void)state;
    char hex[VITRO_SHA256_HEX];
    FILE *f = tmpfile();
    assert_non_null(f);
    for (int i = 0; i < 1000000; i++)
        fputc('a', f);
    assert_int_equal(fflush(f), 0);
    assert_int_equal(vitro_sha256_file(hex, fileno(f), "f"), VITRO_OK);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    fclose(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known), cmocka_unit_test(test_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
