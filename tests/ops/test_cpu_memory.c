/* SPDX-License-Identifier: Apache-2.0 */
/* What the back end "cpu" does about memory: a warm op allocates nothing, whatever the number of
 * rows it was warmed with, and when any one allocation fails the op says so and nothing leaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "base/alloc.h"

enum { T = 17, D = 32, N = 48, HEADS = 2, BATCH = 2 };

typedef struct Buffers {
    float x[BATCH * T * D], y[BATCH * T * N], w[N * D], b[N], dx[BATCH * T * D], dw[N * D], db[N];
    float q[BATCH * D], dq[BATCH * D];
    float qkv[BATCH * T * 3 * D], dqkv[BATCH * T * 3 * D], lse[BATCH * HEADS * T];
} Buffers;

static VitroTensor f32(float *data, int64_t rows, int64_t cols)
{
    return vitro_tensor2(data, VITRO_F32, rows, cols);
}

/* A product there and back, with an epilogue that is a pass of its own, and attention. */
static VitroStatus run_ops(VitroDevice *dev, Buffers *m, VitroWeight *weight, int64_t batch)
{
    const int64_t rows = batch * T;
    const VitroDropState state = {.seed = 1};
    const VitroEpilogue e = {.act = VITRO_ACT_GELU,
                             .dropout = {.ratio = 0.5, .state = &state},
                             .residual = f32(m->y, rows, N),
                             .rows_per_sample = T};
    const VitroWeight grad = {.w = f32(m->dw, N, D), .b = vitro_tensor1(m->db, VITRO_F32, N)};
    const VitroAttentionShape shape = {.heads = HEADS, .scale = 0.25};
    VitroTensor qkv = vitro_tensor3(m->qkv, VITRO_F32, batch, T, 3 * D);
    VitroTensor dqkv = vitro_tensor3(m->dqkv, VITRO_F32, batch, T, 3 * D);
    VitroTensor ctx = vitro_tensor3(m->x, VITRO_F32, batch, T, D);
    VitroTensor dctx = vitro_tensor3(m->dx, VITRO_F32, batch, T, D);
    VitroTensor lse = vitro_tensor3(m->lse, VITRO_F32, batch, HEADS, T);

    VITRO_TRY(dev->ops->linear(dev, f32(m->y, rows, N), f32(m->x, rows, D), weight, &e));
    VITRO_TRY(dev->ops->linear_backward(dev, f32(m->dx, rows, D), &grad, f32(m->y, rows, N),
                                        f32(m->x, rows, D), weight, NULL));
    VITRO_TRY(dev->ops->attention(dev, ctx, lse, qkv, &shape));
    VITRO_TRY(dev->ops->attention_backward(dev, dqkv, dctx, qkv, ctx, lse, &shape));

    VitroTensor kv = vitro_tensor3(m->qkv, VITRO_F32, batch, T, 2 * D);
    VitroTensor dkv = vitro_tensor3(m->dqkv, VITRO_F32, batch, T, 2 * D);
    VitroTensor q = f32(m->q, batch, D), cls = f32(m->x, batch, D), dcls = f32(m->dx, batch, D);
    VitroTensor lse_cls = f32(m->lse, batch, HEADS);
    VITRO_TRY(dev->ops->attention_cls(dev, cls, lse_cls, q, kv, &shape));
    return dev->ops->attention_cls_backward(dev, f32(m->dq, batch, D), dkv, dcls, q, kv, cls,
                                            lse_cls, &shape);
}

static VitroStatus whole_life(Buffers *m)
{
    VitroDevice *dev = NULL;
    VitroWeight weight = {.w = f32(m->w, N, D), .b = vitro_tensor1(m->b, VITRO_F32, N)};
    VITRO_TRY(vitro_device_open(&dev, &(VitroDeviceOptions){.name = "cpu", .threads = 2}));
    VitroStatus st;
    VITRO_GOTO(dev->ops->weight_prepare(dev, &weight, BATCH * T));
    VITRO_GOTO(run_ops(dev, m, &weight, BATCH));
    VITRO_GOTO(dev->ops->weight_refresh(dev, &weight));
done:
    dev->ops->weight_release(dev, &weight);
    vitro_device_close(dev);
    return st;
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    static Buffers m;
    uint64_t n = 0, used;
    VitroStatus st;
    do {
        vitro_alloc_fail_at(++n);
        uint64_t before = vitro_alloc_count();
        st = whole_life(&m);
        used = vitro_alloc_count() - before;
        assert_true(st == VITRO_OK || st == VITRO_E_NOMEM);
        if (st == VITRO_E_NOMEM)
            assert_non_null(strstr(vitro_last_error(), "allocate"));
    } while (used >= n); /* until the one to fail was never asked for */
    vitro_alloc_fail_at(0);
    assert_int_equal(st, VITRO_OK);
    assert_true(n > 8);
}

static void test_warm_ops_allocate_nothing(void **state)
{
    (void)state;
    static Buffers m;
    VitroDevice *dev = NULL;
    VitroWeight weight = {.w = f32(m.w, N, D), .b = vitro_tensor1(m.b, VITRO_F32, N)};
    assert_int_equal(vitro_device_open(&dev, &(VitroDeviceOptions){.name = "cpu", .threads = 2}),
                     VITRO_OK);
    assert_int_equal(dev->ops->weight_prepare(dev, &weight, BATCH * T), VITRO_OK);
    for (int64_t batch = 1; batch <= BATCH; batch++)
        assert_int_equal(run_ops(dev, &m, &weight, batch), VITRO_OK);
    const uint64_t before = vitro_alloc_count();
    for (int64_t batch = 1; batch <= BATCH; batch++) {
        assert_int_equal(run_ops(dev, &m, &weight, batch), VITRO_OK);
        assert_int_equal(dev->ops->weight_refresh(dev, &weight), VITRO_OK);
    }
    assert_int_equal(vitro_alloc_count() - before, 0);
    dev->ops->weight_release(dev, &weight);
    vitro_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation_may_fail),
        cmocka_unit_test(test_warm_ops_allocate_nothing),
    };
    return cmocka_run_group_tests_name("ops/cpu_memory", tests, NULL, NULL);
}
