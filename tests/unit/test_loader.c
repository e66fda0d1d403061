/* SPDX-License-Identifier: Apache-2.0 */
/* The loader: the same bytes whatever the number of workers, errors with the batch they belong to,
 * and an end at any moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "harness/temp.h"
#include "vitro/data.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { W = 6, H = 5, C = 3, FLOATS = W * H * C, COUNT = 23, BATCH = 4 };

static const int worker_counts[] = {0, 1, 2, 5};
enum { WORKER_COUNTS = sizeof(worker_counts) / sizeof(worker_counts[0]) };

/* ---- a data set whose pictures tell their number --------------------------------------------- */

typedef struct Source {
    _Atomic uint64_t bad; /* bit i: picture i cannot be read */
    _Atomic int delay_us; /* for each picture */
    pthread_t caller;
    _Atomic int read_by_caller, read_by_others;
} Source;

static int32_t source_label(void *user, int64_t i)
{
    (void)user;
    return (int32_t)(i * 7 % 10);
}

static uint8_t source_byte(int64_t i, int p)
{
    return (uint8_t)(i * 11 + p * 3);
}

static VitroStatus source_read(void *user, int64_t i, VitroImage *image)
{
    Source *s = user;
    if (pthread_equal(pthread_self(), s->caller))
        s->read_by_caller++;
    else
        s->read_by_others++;
    if (s->delay_us) {
        /* Later pictures are ready sooner: workers finish out of order. */
        struct timespec t = {.tv_nsec = 1000L * s->delay_us * (COUNT - i % COUNT) / COUNT};
        nanosleep(&t, NULL);
    }
    if (s->bad >> i & 1)
        return VITRO_E_IO;
    *image = (VitroImage){.width = W, .height = H, .channels = C};
    image->pixels = vitro_malloc(FLOATS);
    if (!image->pixels)
        return VITRO_E_NOMEM;
    for (int p = 0; p < FLOATS; p++)
        image->pixels[p] = source_byte(i, p);
    return VITRO_OK;
}

static VitroDataset *open_source(Source *s, int64_t count)
{
    VitroCustomDataset custom = {.user = s,
                                 .count = count,
                                 .class_count = 10,
                                 .label = source_label,
                                 .read = source_read,
                                 .channels = C};
    VitroDataset *ds = NULL;
    s->caller = pthread_self();
    assert_int_equal(vitro_dataset_custom(&ds, &custom), VITRO_OK);
    return ds;
}

static VitroLoaderOptions default_options(int workers)
{
    VitroLoaderOptions o = {.batch_size = BATCH, .workers = workers, .seed = 5};
    o.transform = vitro_transform_default(W, W, C);
    o.transform.height = H;
    o.transform.keep_exact = true;
    return o;
}

static VitroLoader *must_open(const VitroDataset *ds, const VitroLoaderOptions *o)
{
    VitroLoader *l = NULL;
    VitroStatus st = vitro_loader_open(&l, ds, o);
    if (st != VITRO_OK)
        print_error("%s\n", vitro_last_error());
    assert_int_equal(st, VITRO_OK);
    return l;
}

/* ---- an epoch, recorded ---------------------------------------------------------------------- */

typedef struct Epoch {
    int64_t batches, samples;
    int64_t size[COUNT];
    int64_t index[COUNT];
    int32_t labels[COUNT];
    float images[COUNT * FLOATS];
} Epoch;

static void record(VitroLoader *l, uint32_t epoch, int64_t first, Epoch *e)
{
    memset(e, 0, sizeof(*e));
    assert_int_equal(vitro_loader_start(l, epoch, first), VITRO_OK);
    for (;;) {
        VitroBatch b;
        assert_int_equal(vitro_loader_next(l, &b), VITRO_OK);
        if (b.count == 0)
            break;
        assert_true(e->samples + b.count <= COUNT);
        e->size[e->batches++] = b.count;
        memcpy(e->index + e->samples, b.index, (size_t)b.count * sizeof(*b.index));
        memcpy(e->labels + e->samples, b.labels, (size_t)b.count * sizeof(*b.labels));
        memcpy(e->images + e->samples * FLOATS, b.images, (size_t)b.count * FLOATS * sizeof(float));
        e->samples += b.count;
    }
    VitroBatch b;
    assert_int_equal(vitro_loader_next(l, &b), VITRO_OK); /* the end stays the end */
    assert_int_equal(b.count, 0);
}

static void test_values_in_order(void **state)
{
    (void)state;
    static Epoch e;
    Source s = {0};
    VitroDataset *ds = open_source(&s, COUNT);
    for (int w = 0; w < WORKER_COUNTS; w++) {
        VitroLoaderOptions o = default_options(worker_counts[w]);
        s.delay_us = 200;
        s.read_by_caller = s.read_by_others = 0;
        VitroLoader *l = must_open(ds, &o);
        assert_int_equal(vitro_loader_batches(l), 6);
        record(l, 0, 0, &e);
        assert_int_equal(e.batches, 6);
        assert_int_equal(e.samples, COUNT);
        for (int b = 0; b < 6; b++)
            assert_int_equal(e.size[b], b < 5 ? BATCH : COUNT - 5 * BATCH);
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(e.index[i], i);
            assert_int_equal(e.labels[i], i * 7 % 10);
            for (int p = 0; p < FLOATS; p++) { /* [C,H,W] from [H,W,C] */
                float v = (float)source_byte(i, p) / 255.0f;
                float found = e.images[i * FLOATS + p % C * W * H + p / C];
                assert_true(found == (v - 0.5f) / 0.5f);
            }
        }
        assert_int_equal(s.read_by_caller, worker_counts[w] ? 0 : COUNT);
        assert_int_equal(s.read_by_others, worker_counts[w] ? COUNT : 0);
        vitro_loader_close(l);
    }
    vitro_dataset_close(ds);
}

static void check_same(const VitroDataset *ds, bool augment, int64_t batch_size)
{
    static Epoch first[2], e;
    for (int w = 0; w < WORKER_COUNTS; w++) {
        VitroLoaderOptions o = default_options(worker_counts[w]);
        o.augment = augment;
        o.shuffle = true;
        o.batch_size = batch_size;
        VitroLoader *l = must_open(ds, &o);
        for (uint32_t epoch = 0; epoch < 2; epoch++) {
            record(l, epoch, 0, w ? &e : &first[epoch]);
            if (w)
                assert_memory_equal(&e, &first[epoch], sizeof(e));
        }
        assert_memory_not_equal(first[0].index, first[1].index, sizeof(e.index));
        record(l, 0, 0, &e); /* an epoch can be had again */
        assert_memory_equal(&e, &first[0], sizeof(e));
        bool seen[COUNT] = {false};
        for (int i = 0; i < COUNT; i++) {
            assert_in_range(e.index[i], 0, COUNT - 1);
            assert_false(seen[e.index[i]]);
            seen[e.index[i]] = true;
            assert_int_equal(e.labels[i], e.index[i] * 7 % 10);
        }
        vitro_loader_close(l);
    }
}

static void test_same_bytes_for_all_workers(void **state)
{
    (void)state;
    Source s = {.delay_us = 50};
    VitroDataset *ds = open_source(&s, COUNT);
    check_same(ds, false, BATCH);
    check_same(ds, true, BATCH);
    check_same(ds, true, 1);
    check_same(ds, true, COUNT);
    check_same(ds, true, 1000); /* more than there are */
    vitro_dataset_close(ds);
}

static void test_augment_changes_with_epoch(void **state)
{
    (void)state;
    static Epoch a, b;
    Source s = {0};
    VitroDataset *ds = open_source(&s, COUNT);
    VitroLoaderOptions o = default_options(2);
    o.augment = true;
    VitroLoader *l = must_open(ds, &o);
    record(l, 0, 0, &a);
    record(l, 1, 0, &b);
    assert_memory_equal(a.index, b.index, sizeof(a.index)); /* not shuffled */
    assert_memory_not_equal(a.images, b.images, sizeof(a.images));
    vitro_loader_close(l);
    vitro_dataset_close(ds);
}

static void test_first_batch(void **state)
{
    (void)state;
    static Epoch whole, tail;
    Source s = {0};
    VitroDataset *ds = open_source(&s, COUNT);
    for (int w = 0; w < WORKER_COUNTS; w++) {
        VitroLoaderOptions o = default_options(worker_counts[w]);
        o.shuffle = o.augment = true;
        VitroLoader *l = must_open(ds, &o);
        record(l, 3, 0, &whole);
        for (int first = 1; first <= 6; first++) {
            record(l, 3, first, &tail);
            int64_t skipped = first * BATCH < COUNT ? first * BATCH : COUNT;
            assert_int_equal(tail.batches, 6 - first);
            assert_int_equal(tail.samples, COUNT - skipped);
            assert_memory_equal(tail.images, whole.images + skipped * FLOATS,
                                (size_t)tail.samples * FLOATS * sizeof(float));
        }
        assert_int_equal(vitro_loader_start(l, 0, 7), VITRO_E_ARG);
        assert_int_equal(vitro_loader_start(l, 0, -1), VITRO_E_ARG);
        vitro_loader_close(l);
    }
    vitro_dataset_close(ds);
}

/* Pictures 9, 10 and 21 cannot be read: batches 2 and 5 fail, naming 9 and 21; the others are
 * whole. */
static void test_errors(void **state)
{
    (void)state;
    Source s = {.bad = 1u << 9 | 1u << 10 | 1u << 21, .delay_us = 100};
    VitroDataset *ds = open_source(&s, COUNT);
    for (int w = 0; w < WORKER_COUNTS; w++) {
        VitroLoaderOptions o = default_options(worker_counts[w]);
        VitroLoader *l = must_open(ds, &o);
        for (int round = 0; round < 2; round++) {
            assert_int_equal(vitro_loader_start(l, 0, 0), VITRO_OK);
            for (int b = 0; b < 6; b++) {
                VitroBatch batch = {.count = -1};
                VitroStatus st = vitro_loader_next(l, &batch);
                bool bad = b == 2 || b == 5;
                assert_int_equal(st, bad ? VITRO_E_IO : VITRO_OK);
                if (bad) {
                    char text[64];
                    snprintf(text, sizeof(text), "picture %d: read() gave VITRO_E_IO",
                             b == 2 ? 9 : 21);
                    assert_string_equal(vitro_last_error(), text);
                    assert_int_equal(batch.count, -1);
                } else {
                    assert_int_equal(batch.count, BATCH);
                    assert_int_equal(batch.index[0], b * BATCH);
                }
            }
            VitroBatch batch;
            assert_int_equal(vitro_loader_next(l, &batch), VITRO_OK);
            assert_int_equal(batch.count, 0);
        }
        vitro_loader_close(l);
    }
    vitro_dataset_close(ds);
}

static void test_restart_and_early_close(void **state)
{
    (void)state;
    Source s = {.delay_us = 300};
    VitroDataset *ds = open_source(&s, COUNT);
    for (int w = 0; w < WORKER_COUNTS; w++) {
        VitroLoaderOptions o = default_options(worker_counts[w]);
        for (int taken = 0; taken < 6; taken++) {
            VitroLoader *l = must_open(ds, &o);
            for (uint32_t epoch = 0; epoch < 3; epoch++) {
                assert_int_equal(vitro_loader_start(l, epoch, 1), VITRO_OK);
                for (int b = 0; b < taken; b++) {
                    VitroBatch batch;
                    assert_int_equal(vitro_loader_next(l, &batch), VITRO_OK);
                    assert_int_equal(batch.count, b == 4 ? COUNT - 5 * BATCH : b == 5 ? 0 : BATCH);
                    if (batch.count)
                        assert_int_equal(batch.index[0], (b + 1) * BATCH);
                }
            }
            vitro_loader_close(l); /* workers are busy with the rest */
        }
        VitroLoader *l = must_open(ds, &o);
        vitro_loader_close(l); /* never started */
    }
    vitro_loader_close(NULL);
    vitro_dataset_close(ds);
}

static void test_empty_and_single(void **state)
{
    (void)state;
    static Epoch e;
    Source s = {0};
    for (int w = 0; w < WORKER_COUNTS; w++) {
        VitroLoaderOptions o = default_options(worker_counts[w]);
        o.shuffle = true;
        for (int count = 0; count < 2; count++) {
            VitroDataset *ds = open_source(&s, count);
            VitroLoader *l = must_open(ds, &o);
            assert_int_equal(vitro_loader_batches(l), count);
            record(l, 0, 0, &e);
            assert_int_equal(e.samples, count);
            vitro_loader_close(l);
            vitro_dataset_close(ds);
        }
    }
}

/* CIFAR's pictures come from memory: nothing is allocated once the loader is open. */
static void test_nothing_allocates(void **state)
{
    (void)state;
    enum { RECORD = 3074, RECORDS = 50 };
    char *dir = vt_temp_make();
    uint8_t *data = vitro_calloc(RECORDS, RECORD);
    for (int i = 0; i < RECORDS * RECORD; i++)
        data[i] = (uint8_t)(i % RECORD < 2 ? i / RECORD : i * 13);
    vt_write(dir, "train.bin", data, RECORDS * RECORD);
    VitroDatasetOptions d = {.path = dir};
    VitroDataset *ds = NULL;
    assert_int_equal(vitro_dataset_open(&ds, &d), VITRO_OK);
    for (int w = 0; w < WORKER_COUNTS; w++) {
        VitroLoaderOptions o = {.batch_size = 8, .workers = worker_counts[w], .shuffle = true};
        o.transform = vitro_transform_default(32, 32, 3);
        o.transform.keep_exact = true;
        VitroLoader *l = must_open(ds, &o);
        uint64_t before = vitro_alloc_count();
        for (uint32_t epoch = 0; epoch < 3; epoch++) {
            VitroBatch b;
            assert_int_equal(vitro_loader_start(l, epoch, 0), VITRO_OK);
            for (int64_t n = 0; n < RECORDS; n += b.count) {
                assert_int_equal(vitro_loader_next(l, &b), VITRO_OK);
                for (int64_t k = 0; k < b.count; k++) {
                    const uint8_t *picture = data + b.index[k] * RECORD + 2;
                    assert_int_equal(b.labels[k], b.index[k]);
                    for (int p = 0; p < 3072; p += 61)
                        assert_true(b.images[k * 3072 + p] ==
                                    ((float)picture[p] / 255.0f - 0.5f) / 0.5f);
                }
            }
        }
        assert_int_equal(vitro_alloc_count(), before);
        vitro_loader_close(l);
    }
    vitro_dataset_close(ds);
    vitro_free(data);
    vt_temp_remove(dir);
}

static void check_bad(const VitroDataset *ds, const VitroLoaderOptions *o, VitroStatus status)
{
    VitroLoader *l = NULL;
    assert_int_equal(vitro_loader_open(&l, ds, o), status);
    assert_null(l);
}

static void test_bad_options(void **state)
{
    (void)state;
    Source s = {0};
    VitroDataset *ds = open_source(&s, COUNT);
    VitroLoaderOptions good = default_options(1), o;
    o = good, o.batch_size = 0, check_bad(ds, &o, VITRO_E_ARG);
    o = good, o.workers = -1, check_bad(ds, &o, VITRO_E_ARG);
    o = good, o.workers = 100000, check_bad(ds, &o, VITRO_E_ARG);
    o = good, o.transform.channels = 1, check_bad(ds, &o, VITRO_E_ARG);
    o = good, o.transform.width = 0, check_bad(ds, &o, VITRO_E_ARG);
    o = good, o.transform.std[1] = 0, check_bad(ds, &o, VITRO_E_ARG);
    o = good, o.transform.width = o.transform.height = INT32_MAX, check_bad(ds, &o, VITRO_E_ARG);
    VitroLoader *l = must_open(ds, &good);
    VitroBatch b;
    assert_int_equal(vitro_loader_next(l, &b), VITRO_E_ARG); /* before start */
    vitro_loader_close(l);
    vitro_dataset_close(ds);
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    Source s = {0};
    VitroDataset *ds = open_source(&s, COUNT);
    VitroLoaderOptions o = default_options(2);
    VitroStatus st = VITRO_E_NOMEM;
    int nth = 1;
    for (; st == VITRO_E_NOMEM; nth++) {
        VitroLoader *l = NULL;
        vitro_alloc_fail_at((uint64_t)nth);
        st = vitro_loader_open(&l, ds, &o);
        vitro_alloc_fail_at(0);
        vitro_loader_close(l);
    }
    assert_int_equal(st, VITRO_OK);
    assert_true(nth > 8);
    vitro_dataset_close(ds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_in_order),
        cmocka_unit_test(test_same_bytes_for_all_workers),
        cmocka_unit_test(test_augment_changes_with_epoch),
        cmocka_unit_test(test_first_batch),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_restart_and_early_close),
        cmocka_unit_test(test_empty_and_single),
        cmocka_unit_test(test_nothing_allocates),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
