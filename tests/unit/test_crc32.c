/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32 against zlib's, on the CPU's own path and on the portable one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/cpu.h"
#include "base/crc32.h"

enum { SIZE = 100003 };
static uint8_t bytes[SIZE];

static void fill(void)
{
    uint32_t random = 1;
    for (int i = 0; i < SIZE; i++) {
        random = random * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(random >> 24);
    }
}

/* Every length around the blocks of 64, at every alignment, behind every kind of start. */
static void as_zlib(void)
{
    static const uint32_t starts[] = {0, 1, 0xffffffff, 0x12345678};
    for (size_t n = 0; n <= 300; n++)
        for (size_t at = 0; at < 17; at++)
            for (size_t s = 0; s < sizeof(starts) / sizeof(starts[0]); s++)
                assert_int_equal(vitro_crc32(starts[s], bytes + at, n),
                                 crc32_z(starts[s], bytes + at, n));
    assert_int_equal(vitro_crc32(0, bytes, SIZE), crc32_z(0, bytes, SIZE));
    assert_int_equal(vitro_crc32(0, "123456789", 9), 0xcbf43926); /* the catalogue's check value */
    uint32_t crc = 0;
    for (size_t at = 0, n = 0; at < SIZE; at += n) { /* pieces of 1, 2, 3, ... bytes */
        n = n + 1 < SIZE - at ? n + 1 : SIZE - at;
        crc = vitro_crc32(crc, bytes + at, n);
    }
    assert_int_equal(crc, crc32_z(0, bytes, SIZE));
}

static void own_path(void **state)
{
    (void)state;
    vitro_cpu_set_mask(~0u);
    as_zlib();
}

static void portable_path(void **state)
{
    (void)state;
    vitro_cpu_set_mask(0);
    as_zlib();
}

/* One bit anywhere changes it. */
static void a_bit_tells(void **state)
{
    (void)state;
    vitro_cpu_set_mask(~0u);
    uint32_t whole = vitro_crc32(0, bytes, 1024);
    for (int bit = 0; bit < 1024 * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(vitro_crc32(0, bytes, 1024), whole);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_path),
        cmocka_unit_test(portable_path),
        cmocka_unit_test(a_bit_tells),
    };
    fill();
    return cmocka_run_group_tests_name("base/crc32", tests, NULL, NULL);
}
