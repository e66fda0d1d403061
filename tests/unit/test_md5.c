/* SPDX-License-Identifier: Apache-2.0 */
/* MD5 against the sums of RFC 1321, A.5, and against itself in pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/md5.h"

#include <string.h>

static const char *sum(char hex[VITRO_MD5_HEX], const void *data, size_t n)
{
    VitroMd5 m;
    vitro_md5_init(&m);
    vitro_md5_update(&m, data, n);
    vitro_md5_final(&m, hex);
    return hex;
}

static void test_published_sums(void **state)
{
    (void)state;
    static const char *const known[][2] = {
        {"", "d41d8cd98f00b204e9800998ecf8427e"},
        {"a", "0cc175b9c0f1b6a831c399e269772661"},
        {"abc", "900150983cd24fb0d6963f7d28e17f72"},
        {"message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
        {"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"},
        {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
         "d174ab98d277d9f5a5611c2c9f419d9f"},
        {"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
         "57edf4a22be3c955ac49da2e2107b67a"},
    };
    char hex[VITRO_MD5_HEX];
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        assert_string_equal(sum(hex, known[i][0], strlen(known[i][0])), known[i][1]);
}

/* Every length around the block's end, taken in two pieces split anywhere. */
static void test_pieces(void **state)
{
    (void)state;
    uint8_t data[200];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 37);
    for (size_t n = 50; n < sizeof(data); n++) {
        char whole[VITRO_MD5_HEX], pieces[VITRO_MD5_HEX];
        sum(whole, data, n);
        for (size_t cut = 0; cut <= n; cut += 7) {
            VitroMd5 m;
            vitro_md5_init(&m);
            vitro_md5_update(&m, data, cut);
            vitro_md5_update(&m, data + cut, n - cut);
            vitro_md5_final(&m, pieces);
            assert_string_equal(pieces, whole);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_sums),
        cmocka_unit_test(test_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
