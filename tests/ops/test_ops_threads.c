/* SPDX-License-Identifier: Apache-2.0 */
/* What backend.h promises about threads, of every back end: their number changes results by
 * rounding at most, and forward ops of one device may run in several threads at once. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/vt.h"
#include "backend/backend.h"
#include "base/rng.h"

#define LIMIT 4e-6

/* Norm, qkv, attention, projection: half a block, with weights that all callers share. */
enum { B = 2, T = 17, H = 3, D = 96 };
enum { X_COUNT = B * T * D, QKV_COUNT = B * T * 3 * D };

typedef struct Half {
    VitroDevice *dev;
    float *gamma, *beta;
    VitroWeight qkv, proj;
} Half;

typedef struct Buffers {
    float *x, *normed, *qkv, *ctx, *y;
} Buffers;

static void ok(VitroStatus status)
{
    if (status != VITRO_OK)
        fail_msg("%s", vitro_last_error());
}

static float *device_floats(VitroDevice *dev, size_t n)
{
    void *p = NULL;
    ok(dev->ops->alloc(dev, &p, n * sizeof(float)));
    return p;
}

static float *random_floats(VitroDevice *dev, size_t n, double scale, uint32_t which)
{
    float *host = malloc(n * sizeof *host), *p = device_floats(dev, n);
    assert_non_null(host);
    VitroRng rng = vitro_rng(1, VITRO_RNG_INIT, which, 0);
    for (size_t i = 0; i < n; i++)
        host[i] = (float)(scale * vitro_rng_normal(&rng));
    ok(dev->ops->upload(dev, p, host, n * sizeof *host));
    free(host);
    return p;
}

static VitroWeight make_weight(VitroDevice *dev, int64_t N, int64_t K, uint32_t which)
{
    size_t count = (size_t)(N * K);
    VitroWeight weight = {
        .w = vitro_tensor2(random_floats(dev, count, 0.1, which), VITRO_F32, N, K),
        .b = vitro_tensor1(random_floats(dev, (size_t)N, 1, which + 1), VITRO_F32, N)};
    ok(dev->ops->weight_prepare(dev, &weight, B * T));
    return weight;
}

static void free_weight(VitroDevice *dev, VitroWeight *weight)
{
    dev->ops->weight_release(dev, weight);
    dev->ops->free(dev, weight->w.data);
    dev->ops->free(dev, weight->b.data);
}

static void open_half(Half *h, const char *name, int threads)
{
    ok(vitro_device_open(&h->dev, &(VitroDeviceOptions){.name = name, .threads = threads}));
    h->gamma = random_floats(h->dev, D, 1, 1);
    h->beta = random_floats(h->dev, D, 1, 2);
    h->qkv = make_weight(h->dev, 3 * D, D, 10);
    h->proj = make_weight(h->dev, D, D, 20);
}

static void close_half(Half *h)
{
    free_weight(h->dev, &h->qkv);
    free_weight(h->dev, &h->proj);
    h->dev->ops->free(h->dev, h->gamma);
    h->dev->ops->free(h->dev, h->beta);
    vitro_device_close(h->dev);
}

/* `which`: the caller's own numbers. */
static Buffers make_buffers(VitroDevice *dev, uint32_t which)
{
    return (Buffers){.x = random_floats(dev, X_COUNT, 1, 100 + which),
                     .normed = device_floats(dev, X_COUNT),
                     .qkv = device_floats(dev, QKV_COUNT),
                     .ctx = device_floats(dev, X_COUNT),
                     .y = device_floats(dev, X_COUNT)};
}

static void free_buffers(VitroDevice *dev, const Buffers *b)
{
    float *const all[] = {b->x, b->normed, b->qkv, b->ctx, b->y};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        dev->ops->free(dev, all[i]);
}

static VitroStatus run(const Half *h, const Buffers *b)
{
    VitroDevice *dev = h->dev;
    VitroTensor x = vitro_tensor3(b->x, VITRO_F32, B, T, D), y = x, normed = x, ctx = x;
    VitroTensor qkv = vitro_tensor3(b->qkv, VITRO_F32, B, T, 3 * D);
    y.data = b->y, normed.data = b->normed, ctx.data = b->ctx;
    VitroEpilogue plain = {.rows_per_sample = T};
    VitroEpilogue last = {.act = VITRO_ACT_GELU, .residual = x, .rows_per_sample = T};
    VitroAttentionShape shape = {.heads = H, .scale = 0.2};
    VITRO_TRY(dev->ops->layernorm(dev, normed, VITRO_NO_TENSOR, VITRO_NO_TENSOR, x,
                                  vitro_tensor1(h->gamma, VITRO_F32, D),
                                  vitro_tensor1(h->beta, VITRO_F32, D), 1e-6));
    VITRO_TRY(dev->ops->linear(dev, qkv, normed, &h->qkv, &plain));
    VITRO_TRY(dev->ops->attention(dev, ctx, VITRO_NO_TENSOR, qkv, &shape));
    VITRO_TRY(dev->ops->linear(dev, y, ctx, &h->proj, &last));
    return dev->ops->sync(dev);
}

static void read_y(VitroDevice *dev, float *out, const Buffers *b)
{
    ok(dev->ops->download(dev, out, b->y, X_COUNT * sizeof *out));
}

/* ---- the number of threads ------------------------------------------------------------------- */

static void result_with(const char *name, int threads, float *out)
{
    Half h;
    open_half(&h, name, threads);
    assert_int_equal(vitro_device_threads(h.dev), threads);
    Buffers b = make_buffers(h.dev, 0);
    ok(run(&h, &b));
    read_y(h.dev, out, &b);
    free_buffers(h.dev, &b);
    close_half(&h);
}

static void test_number_of_threads(void **state)
{
    (void)state;
    static float one[X_COUNT], more[X_COUNT];
    for (int i = 0; i < vitro_backend_count(); i++) {
        const char *name = vitro_backend_name(i);
        if (!vt_usable(name))
            continue;
        result_with(name, 1, one);
        float largest = 0;
        for (int e = 0; e < X_COUNT; e++)
            largest = fmaxf(largest, fabsf(one[e]));
        for (int threads = 2; threads <= 5; threads++) {
            result_with(name, threads, more);
            for (int e = 0; e < X_COUNT; e++)
                if (!(fabs(one[e] - more[e]) <= LIMIT * largest))
                    fail_msg("%s: element %d is %.9g with 1 thread, %.9g with %d", name, e, one[e],
                             more[e], threads);
        }
    }
}

/* ---- several callers ------------------------------------------------------------------------- */

enum { CALLERS = 4, REPEATS = 25 };

typedef struct Caller {
    const Half *half;
    Buffers buffers;
    float expected[X_COUNT], got[X_COUNT];
    VitroStatus status;
    bool differs;
} Caller;

static void *call(void *user)
{
    Caller *c = user;
    VitroDevice *dev = c->half->dev;
    for (int i = 0; i < REPEATS && c->status == VITRO_OK && !c->differs; i++) {
        c->status = run(c->half, &c->buffers);
        if (c->status == VITRO_OK)
            c->status = dev->ops->download(dev, c->got, c->buffers.y, sizeof c->got);
        c->differs = memcmp(c->got, c->expected, sizeof c->got) != 0;
    }
    return NULL;
}

static void test_several_callers(void **state)
{
    (void)state;
    static Caller callers[CALLERS];
    for (int i = 0; i < vitro_backend_count(); i++) {
        Half h;
        pthread_t thread[CALLERS];
        if (!vt_usable(vitro_backend_name(i)))
            continue;
        open_half(&h, vitro_backend_name(i), 2);
        for (int k = 0; k < CALLERS; k++) {
            callers[k] = (Caller){.half = &h, .buffers = make_buffers(h.dev, (uint32_t)k)};
            ok(run(&h, &callers[k].buffers));
            read_y(h.dev, callers[k].expected, &callers[k].buffers);
        }
        for (int k = 0; k < CALLERS; k++)
            assert_int_equal(pthread_create(&thread[k], NULL, call, &callers[k]), 0);
        for (int k = 0; k < CALLERS; k++)
            assert_int_equal(pthread_join(thread[k], NULL), 0);
        for (int k = 0; k < CALLERS; k++) {
            assert_int_equal(callers[k].status, VITRO_OK);
            if (callers[k].differs)
                fail_msg("%s: caller %d's result depends on the others", vitro_backend_name(i), k);
            free_buffers(h.dev, &callers[k].buffers);
        }
        close_half(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_number_of_threads),
        cmocka_unit_test(test_several_callers),
    };
    return cmocka_run_group_tests_name("ops/threads", tests, NULL, NULL);
}
