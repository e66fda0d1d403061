/* SPDX-License-Identifier: Apache-2.0 */
/* Float conversions: all 65536 values one way; the other way each value, each midpoint between two
 * neighbours, and the floats just beside it. */
#include "tensor/dtype.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

/* From the definition: sign, exponent of 5 bits with bias 15, fraction of 10 bits. */
static double f16_value(uint16_t h)
{
    int exponent = h >> 10 & 31, fraction = h & 1023;
    double v = exponent == 31  ? fraction ? NAN : INFINITY
               : exponent == 0 ? ldexp(fraction, -24)
                               : ldexp(1024 + fraction, exponent - 25);
    return h & 0x8000 ? -v : v;
}

static void test_widening(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        float f = vitro_f32_from_f16((uint16_t)i);
        double expected = f16_value((uint16_t)i);
        if (isnan(expected))
            assert_true(isnan(f));
        else
            assert_true(f == expected && !!signbit(f) == !!(i & 0x8000));
        assert_int_equal(vitro_f32_bits(vitro_f32_from_bf16((uint16_t)i)), i << 16);
    }
}

/* The vectors' path against the one-by-one functions: every value, at every place in a vector. */
static void test_widening_in_bulk(void **state)
{
    (void)state;
    enum { ALL = 65536, MORE = ALL + 16 };
    uint16_t *in = malloc(MORE * sizeof(*in));
    float *out = malloc((MORE + 1) * sizeof(*out));
    assert_true(in && out);
    for (int shift = 0; shift < 9; shift++)
        for (int tail = 0; tail < 8; tail++) {
            int64_t n = ALL + tail;
            for (int64_t i = 0; i < n; i++)
                in[i] = (uint16_t)(i + shift);
            for (int64_t i = 0; i <= MORE; i++)
                out[i] = 12345;
            vitro_f32_from(out, in, VITRO_F16, n);
            for (int64_t i = 0; i < n; i++) {
                float one = vitro_f32_from_f16(in[i]);
                assert_true(isnan(one) ? isnan(out[i])
                                       : vitro_f32_bits(one) == vitro_f32_bits(out[i]));
            }
            assert_true(out[n] == 12345);
        }
    free(in);
    free(out);
}

typedef struct Narrow {
    uint16_t (*narrow)(float);
    float (*widen)(uint16_t);
    uint16_t infinity;
} Narrow;

static void check_narrowing(const Narrow *n, uint16_t sign)
{
    for (uint16_t h = 0; h < n->infinity; h++) {
        double lo = n->widen(h), step = h + 1 < n->infinity ? n->widen((uint16_t)(h + 1)) - lo
                                                            : lo - n->widen((uint16_t)(h - 1));
        float mid = (float)(lo + step / 2), s = sign ? -1.0f : 1.0f; /* exact: one more bit */
        uint16_t up = h + 1, even = h & 1 ? up : h;
        assert_int_equal(n->narrow(s * (float)lo), sign | h);
        assert_int_equal(n->narrow(s * mid), sign | even);
        assert_int_equal(n->narrow(s * nextafterf(mid, 0)), sign | h);
        assert_int_equal(n->narrow(s * nextafterf(mid, INFINITY)), sign | up);
    }
    assert_int_equal(n->narrow(sign ? -INFINITY : INFINITY), sign | n->infinity);
}

static void test_narrowing(void **state)
{
    (void)state;
    static const Narrow f16 = {vitro_f16_from_f32, vitro_f32_from_f16, 0x7c00};
    static const Narrow bf16 = {vitro_bf16_from_f32, vitro_f32_from_bf16, 0x7f80};
    check_narrowing(&f16, 0);
    check_narrowing(&f16, 0x8000);
    check_narrowing(&bf16, 0);
    check_narrowing(&bf16, 0x8000);
    assert_true(isnan(vitro_f32_from_f16(vitro_f16_from_f32(NAN))));
    assert_true(isnan(vitro_f32_from_bf16(vitro_bf16_from_f32(vitro_f32_from_bits(0x7f800001)))));
    assert_int_equal(vitro_f16_from_f32(0x1p-149f), 0);
    assert_int_equal(vitro_f16_from_f32(3e38f), 0x7c00);
}

/* The loops agree with the single conversions, from addresses that are not aligned. */
static void test_arrays(void **state)
{
    (void)state;
    enum { N = 77 };
    float in[N], back[N];
    char room[8 * N + 1], *at = room + 1;
    static const VitroDtype dtypes[] = {VITRO_F32, VITRO_F16, VITRO_BF16, VITRO_F64};
    for (int i = 0; i < N; i++)
        in[i] = (float)(i - 30) * 0.3f;
    for (size_t d = 0; d < 4; d++) {
        vitro_f32_to(at, dtypes[d], in, N);
        vitro_f32_from(back, at, dtypes[d], N);
        for (int i = 0; i < N; i++) {
            float expected = dtypes[d] == VITRO_F16 ? vitro_f32_from_f16(vitro_f16_from_f32(in[i]))
                             : dtypes[d] == VITRO_BF16
                                 ? vitro_f32_from_bf16(vitro_bf16_from_f32(in[i]))
                                 : in[i];
            assert_true(back[i] == expected);
        }
    }
    double big = 1e300, third = 1.0 / 3;
    vitro_f32_from(back, &big, VITRO_F64, 1);
    assert_true(isinf(back[0]));
    vitro_f32_from(back, &third, VITRO_F64, 1);
    assert_true(back[0] == 1.0f / 3);
}

static void test_table(void **state)
{
    (void)state;
    assert_string_equal(vitro_dtype_name(VITRO_BF16), "BF16");
    assert_int_equal(vitro_dtype_size(VITRO_I64), 8);
    assert_true(vitro_dtype_is_float(VITRO_F64) && !vitro_dtype_is_float(VITRO_BOOL));
    assert_int_equal(vitro_dtype_size((VitroDtype)99), 0);
    assert_string_equal(vitro_dtype_name((VitroDtype)-1), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_widening),  cmocka_unit_test(test_widening_in_bulk),
        cmocka_unit_test(test_narrowing), cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
