/* SPDX-License-Identifier: Apache-2.0 */
/* What the public headers promise about threads: predictors of one model run side by side, come and
 * go meanwhile, and give the bits that they give alone; a checkpoint and a data set may be read by
 * several threads; error texts belong to their thread. Only public functions are used, so this is
 * also the program to run under ThreadSanitizer (preset tsan). */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "harness/temp.h"
#include "vitro/vitro.h"

enum { THREADS = 4, REPEATS = 20, BATCH = 3, CLASSES = 5, SIDE = 16 };
enum { IMAGE = 3 * SIDE * SIDE, BIGGEST = 32 * 128 /* elements of a parameter */ };

/* libgomp is not instrumented: ThreadSanitizer would take its barriers for races. */
#if defined(__SANITIZE_THREAD__)
enum { COMPUTE_THREADS = 1 };
#else
enum { COMPUTE_THREADS = 2 };
#endif

static void ok(VitroStatus st)
{
    if (st != VITRO_OK)
        fail_msg("%s: %s", vitro_status_name(st), vitro_last_error());
}

static VitroConfig small_config(void)
{
    VitroConfig cfg;
    ok(vitro_config_preset(&cfg, "vit_tiny_patch4_32"));
    cfg.img_height = cfg.img_width = SIDE;
    cfg.embed_dim = 32;
    cfg.depth = 2;
    cfg.num_heads = 2;
    cfg.num_classes = CLASSES;
    return cfg;
}

/* A model and, for each thread, its own images and the answer that they have alone. */
typedef struct Shared {
    VitroDevice *dev;
    VitroModel *model;
    float images[THREADS][BATCH * IMAGE];
    float expected[THREADS][BATCH * CLASSES];
} Shared;

static void open_shared(Shared *s, const char *backend, int64_t first_max_batch)
{
    VitroDeviceOptions options = {.name = backend, .threads = COMPUTE_THREADS};
    VitroConfig cfg = small_config();
    ok(vitro_device_open(&s->dev, &options));
    ok(vitro_model_create(&s->model, s->dev, &cfg));
    ok(vitro_model_init(s->model, 7));
    uint32_t random = 1;
    for (int k = 0; k < THREADS; k++)
        for (int i = 0; i < BATCH * IMAGE; i++) {
            random = random * 1664525u + 1013904223u;
            s->images[k][i] = (float)(random >> 8) * 0x1p-23f - 1;
        }
    VitroPredictor *p;
    ok(vitro_predictor_create(&p, s->model, first_max_batch));
    for (int k = 0; k < THREADS; k++)
        for (int i = 0; i < BATCH; i++) /* one by one: as the threads will */
            ok(vitro_predictor_run(p, s->images[k] + i * IMAGE, 1, s->expected[k] + i * CLASSES));
    vitro_predictor_free(p);
    for (int k = 1; k < THREADS; k++)
        assert_memory_not_equal(s->expected[0], s->expected[k], sizeof(s->expected[0]));
}

static void close_shared(Shared *s)
{
    vitro_model_free(s->model);
    vitro_device_close(s->dev);
}

typedef struct Worker {
    Shared *shared;
    int k;
    bool anew;     /* a new predictor, of another size, each time */
    bool one_size; /* that of the others */
    atomic_int *running;
    VitroStatus status;
    bool differs;
    char error[256];
} Worker;

static VitroStatus predict_one_by_one(Worker *w, VitroPredictor *p)
{
    float got[BATCH * CLASSES];
    memset(got, 0xff, sizeof(got));
    for (int i = 0; i < BATCH; i++) {
        VitroStatus st =
            vitro_predictor_run(p, w->shared->images[w->k] + i * IMAGE, 1, got + i * CLASSES);
        if (st != VITRO_OK)
            return st;
    }
    w->differs = w->differs || memcmp(got, w->shared->expected[w->k], sizeof(got)) != 0;
    return VITRO_OK;
}

static void *work(void *user)
{
    Worker *w = user;
    VitroPredictor *p = NULL;
    atomic_fetch_add(w->running, 1);
    while (atomic_load(w->running) < THREADS) /* all begin at once */
        ;
    for (int i = 0; i < REPEATS && w->status == VITRO_OK; i++) {
        if (!p)
            w->status = vitro_predictor_create(&p, w->shared->model,
                                               w->one_size ? BATCH : 1 + (i * 7 + w->k) % 40);
        if (w->status == VITRO_OK)
            w->status = predict_one_by_one(w, p);
        if (w->anew) {
            vitro_predictor_free(p);
            p = NULL;
        }
    }
    if (w->status != VITRO_OK)
        snprintf(w->error, sizeof(w->error), "%s", vitro_last_error());
    vitro_predictor_free(p);
    return NULL;
}

static void run_workers_of(Shared *shared, const char *backend, int stay, bool one_size)
{
    Worker workers[THREADS];
    pthread_t thread[THREADS];
    atomic_int running = 0;
    for (int k = 0; k < THREADS; k++) {
        workers[k] = (Worker){
            .shared = shared, .k = k, .anew = k >= stay, .one_size = one_size, .running = &running};
        assert_int_equal(pthread_create(&thread[k], NULL, work, &workers[k]), 0);
    }
    for (int k = 0; k < THREADS; k++)
        assert_int_equal(pthread_join(thread[k], NULL), 0);
    for (int k = 0; k < THREADS; k++) {
        if (workers[k].status != VITRO_OK)
            fail_msg("%s, thread %d: %s", backend, k, workers[k].error);
        if (workers[k].differs)
            fail_msg("%s: what thread %d predicts depends on the other threads", backend, k);
    }
}

/* Threads with k < `stay` keep their predictor, the others make a new one each time. */
static void run_workers(const char *backend, int64_t first_max_batch, int stay)
{
    static Shared shared;
    open_shared(&shared, backend, first_max_batch);
    run_workers_of(&shared, backend, stay, false);
    close_shared(&shared);
}

static void test_predictors_side_by_side(void **state)
{
    (void)state;
    run_workers("cpu", 8, THREADS);
    run_workers("ref", 8, THREADS);
}

/* The first predictor is made for one image: what a back end packed for it must serve the larger
 * ones that come later without being touched. */
static void test_predictors_come_and_go(void **state)
{
    (void)state;
    run_workers("cpu", 1, THREADS / 2);
    run_workers("cpu", 64, 0);
    run_workers("ref", 1, THREADS / 2);
}

/* An opened model has no predictor yet: one of the threads packs its weights from the file. */
static void test_predictors_of_an_opened_model(void **state)
{
    (void)state;
    static const char *const backends[] = {"cpu", "ref"};
    static Shared shared;
    for (int i = 0; i < 2; i++) {
        char *dir = vt_temp_make(), path[512];
        VitroCheckpoint *ckpt;
        VitroModel *created, *opened;
        snprintf(path, sizeof(path), "%s/weights", dir);
        open_shared(&shared, backends[i], BATCH);
        created = shared.model;
        ok(vitro_model_save(created, path, VITRO_FORMAT_NPZ, NULL));
        ok(vitro_checkpoint_open(&ckpt, path));
        ok(vitro_model_open(&opened, shared.dev, vitro_model_config(created), ckpt, NULL, NULL));
        shared.model = opened;
        run_workers_of(&shared, backends[i], THREADS / 2, true);
        vitro_model_free(created);
        close_shared(&shared);
        vitro_checkpoint_close(ckpt);
        vt_temp_remove(dir);
    }
}

/* ---- reading one file -------------------------------------------------------------------------
 */

typedef struct Reader {
    const VitroCheckpoint *ckpt;
    const VitroModel *model;
    VitroStatus status;
    bool differs;
} Reader;

static VitroStatus read_all(Reader *r)
{
    static _Thread_local float from_file[BIGGEST], from_model[BIGGEST];
    for (int64_t i = 0; i < vitro_model_param_count(r->model); i++) {
        VitroParamInfo info = vitro_model_param(r->model, i);
        VitroStatus st;
        if (info.count > BIGGEST)
            return VITRO_E_INTERNAL;
        if ((st = vitro_checkpoint_read_f32(r->ckpt, vitro_checkpoint_find(r->ckpt, info.name),
                                            from_file)) != VITRO_OK ||
            (st = vitro_model_param_get(r->model, i, from_model)) != VITRO_OK)
            return st;
        size_t bytes = (size_t)info.count * sizeof(float);
        r->differs = r->differs || memcmp(from_file, from_model, bytes) != 0;
    }
    return VITRO_OK;
}

static void *read_file(void *user)
{
    Reader *r = user;
    for (int i = 0; i < 5 && r->status == VITRO_OK; i++)
        r->status = read_all(r);
    return NULL;
}

static void test_one_checkpoint(void **state)
{
    (void)state;
    static Shared shared;
    char *dir = vt_temp_make();
    open_shared(&shared, "ref", 1);
    for (int format = 0; format <= VITRO_FORMAT_SAFETENSORS; format++) {
        char path[512];
        snprintf(path, sizeof(path), "%s/weights", dir);
        VitroCheckpoint *ckpt;
        Reader readers[THREADS];
        pthread_t thread[THREADS];
        ok(vitro_model_save(shared.model, path, (VitroCheckpointFormat)format, NULL));
        ok(vitro_checkpoint_open(&ckpt, path));
        for (int k = 0; k < THREADS; k++) {
            readers[k] = (Reader){.ckpt = ckpt, .model = shared.model};
            assert_int_equal(pthread_create(&thread[k], NULL, read_file, &readers[k]), 0);
        }
        for (int k = 0; k < THREADS; k++)
            assert_int_equal(pthread_join(thread[k], NULL), 0);
        for (int k = 0; k < THREADS; k++) {
            assert_int_equal(readers[k].status, VITRO_OK);
            assert_false(readers[k].differs);
        }
        vitro_checkpoint_close(ckpt);
    }
    vt_temp_remove(dir);
    close_shared(&shared);
}

/* ---- error texts ------------------------------------------------------------------------------
 */

static void *fail_by_name(void *user)
{
    char *name = user; /* becomes "" where all went well */
    for (int i = 0; i < 200; i++) {
        VitroConfig cfg;
        if (vitro_config_preset(&cfg, name) != VITRO_E_ARG || !strstr(vitro_last_error(), name))
            return NULL;
    }
    name[0] = 0;
    return NULL;
}

static void test_errors_belong_to_threads(void **state)
{
    (void)state;
    char names[THREADS][16];
    pthread_t thread[THREADS];
    for (int k = 0; k < THREADS; k++) {
        snprintf(names[k], sizeof(names[k]), "nothing-%d", k);
        assert_int_equal(pthread_create(&thread[k], NULL, fail_by_name, names[k]), 0);
    }
    for (int k = 0; k < THREADS; k++)
        assert_int_equal(pthread_join(thread[k], NULL), 0);
    for (int k = 0; k < THREADS; k++)
        assert_string_equal(names[k], "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_predictors_side_by_side),
        cmocka_unit_test(test_predictors_come_and_go),
        cmocka_unit_test(test_predictors_of_an_opened_model),
        cmocka_unit_test(test_one_checkpoint),
        cmocka_unit_test(test_errors_belong_to_threads),
    };
    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
