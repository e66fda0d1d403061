/* SPDX-License-Identifier: Apache-2.0 */
/* The op tests' harness finds what it is there to find: "ref", with one op spoiled in each way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "harness/vt.h"

typedef enum Fault {
    FAULT_NONE,
    FAULT_VALUE,   /* one element is slightly off */
    FAULT_MISSING, /* the last element is never written */
    FAULT_AFTER,   /* one element too many is written */
    FAULT_BEFORE,
    FAULT_INPUT,  /* the input is changed */
    FAULT_RANDOM, /* every call gives other bits */
    FAULT_STATUS,
    FAULT_COUNT
} Fault;

static Fault fault;

/* take_tokens of one image: y[1,D] = x[1,T,D]'s token `first`. */
static VitroStatus spoiled(VitroDevice *dev, VitroTensor y, VitroTensor x, int64_t first)
{
    static int calls;
    int64_t D = y.dim[1];
    float *to = y.data, *from = x.data, last = to[D - 1];
    VITRO_TRY(vitro_backend_ref.take_tokens(dev, y, x, first));
    if (fault == FAULT_VALUE)
        to[1] += 4e-4f;
    if (fault == FAULT_MISSING)
        to[D - 1] = last;
    if (fault == FAULT_AFTER)
        to[D] = 0;
    if (fault == FAULT_BEFORE)
        to[-1] = 0;
    if (fault == FAULT_INPUT)
        from[0] = 0;
    if (fault == FAULT_RANDOM)
        to[0] = nextafterf(to[0], calls++ % 2 ? INFINITY : -INFINITY);
    if (fault == FAULT_STATUS)
        return vitro_fail(VITRO_E_BACKEND, "spoiled");
    return VITRO_OK;
}

static bool passes(VtCase *c)
{
    assert_true(vt_begin(c, "take_tokens, spoiled in way %d", (int)fault));
    VtTensor *x = vt_input(c, "x", 3, (int64_t[]){1, 3, 9});
    VtTensor *y = vt_output(c, "y", 2, (int64_t[]){1, 9});
    for (int s = 0; s < VT_SIDES; s++)
        vt_ok(c, c->dev[s]->ops->take_tokens(c->dev[s], y->t[s], x->t[s], 1));
    vt_check(c, y, 1e-6);
    vt_end(c);
    return !c->failed;
}

static void test_every_fault_is_found(void **state)
{
    (void)state;
    static VtCase c = {.quiet = true};
    VitroBackendOps ops = vitro_backend_ref;
    VitroDevice *oracle = NULL, *tested = NULL;
    VitroDeviceOptions options = {.name = "ref", .precision = VITRO_FP64};
    assert_int_equal(vitro_device_open(&oracle, &options), VITRO_OK);
    options.precision = VITRO_FP32;
    assert_int_equal(vitro_device_open(&tested, &options), VITRO_OK);
    ops.take_tokens = spoiled;
    tested->ops = &ops;
    c.dev[VT_ORACLE] = oracle;
    c.dev[VT_TESTED] = c.dev[VT_AGAIN] = tested;

    fault = FAULT_NONE;
    assert_true(passes(&c));
    for (int f = FAULT_VALUE; f < FAULT_COUNT; f++) {
        fault = (Fault)f;
        if (passes(&c))
            fail_msg("way %d of spoiling an op went unnoticed", f);
    }
    vitro_device_close(tested);
    vitro_device_close(oracle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_fault_is_found)};
    return cmocka_run_group_tests_name("unit/vt", tests, NULL, NULL);
}
