/* SPDX-License-Identifier: Apache-2.0 */
/* Reads every picture of a data set once, on threads, and tells which cannot be read. */
#include "data/dataset.h"

#include "base/alloc.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MAX_WORKERS = 256, PROGRESS_MS = 100 };
enum { PENDING = 0, GOOD, BAD };

typedef struct Check {
    const VitroDataset *ds;
    const VitroCheckOptions *options;
    _Atomic int64_t next; /* not yet taken */
    _Atomic bool stopping;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t more;
    uint8_t *state; /* [count] */
    char **reason;  /* [count] of the bad ones; owned */
    int64_t done;
    int running; /* threads */
    VitroStatus status;
    char error[VITRO_ERROR_MAX];
} Check;

/* ---- one picture ----------------------------------------------------------------------------- */

static VitroStatus read_one(const Check *c, int64_t i)
{
    const VitroTransform *t = c->options->transform;
    VitroImage image = {0}, pixels = {0};
    VITRO_TRY(vitro_dataset_read(c->ds, i, &image));
    VitroStatus st = VITRO_OK;
    if (t && !(t->keep_exact && image.width == t->width && image.height == t->height))
        st = vitro_transform_pixels(&pixels, &image, t);
    if (st != VITRO_OK) {
        char name[512];
        vitro_dataset_name(c->ds, i, name, sizeof(name));
        st = vitro_fail_prefix(st, "%s", name);
    }
    vitro_image_deinit(&pixels);
    vitro_image_deinit(&image);
    return st;
}

/* What is wrong with the picture, and not with this machine. */
static bool is_bad(VitroStatus st)
{
    return st == VITRO_E_FORMAT || st == VITRO_E_UNSUPPORTED || st == VITRO_E_IO ||
           st == VITRO_E_ARG;
}

static void check_one(Check *c, int64_t i)
{
    VitroStatus st = read_one(c, i);
    char *reason = is_bad(st) ? vitro_strdup(vitro_last_error()) : NULL;
    if (is_bad(st) && !reason)
        st = VITRO_NOMEM;
    pthread_mutex_lock(&c->lock);
    c->state[i] = st == VITRO_OK ? GOOD : BAD;
    c->reason[i] = reason;
    c->done++;
    if (st != VITRO_OK && !reason && c->status == VITRO_OK) {
        c->status = st;
        vitro_error_take(c->error);
        atomic_store(&c->stopping, true);
    }
    pthread_cond_signal(&c->more);
    pthread_mutex_unlock(&c->lock);
}

static void *worker_main(void *arg)
{
    Check *c = arg;
    for (int64_t i;
         !atomic_load(&c->stopping) && (i = atomic_fetch_add(&c->next, 1)) < c->ds->count;)
        check_one(c, i);
    pthread_mutex_lock(&c->lock);
    c->running--;
    pthread_cond_signal(&c->more);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* ---- the caller's side ----------------------------------------------------------------------- */

/* Reports the bad ones among the pictures from *next on that are done without a gap. Called, and
 * returns, with the lock held. */
static void report(Check *c, int64_t *next, int64_t *bad)
{
    for (; *next < c->ds->count && c->state[*next] != PENDING; ++*next) {
        char *reason = c->reason[*next];
        c->reason[*next] = NULL;
        if (!reason)
            continue;
        ++*bad;
        pthread_mutex_unlock(&c->lock);
        if (c->options->bad)
            c->options->bad(c->options->user, *next, reason);
        pthread_mutex_lock(&c->lock);
        vitro_free(reason);
    }
}

static VitroStatus show_progress(Check *c, int64_t done)
{
    if (!c->options->progress || c->options->progress(c->options->user, done, c->ds->count))
        return VITRO_OK;
    atomic_store(&c->stopping, true);
    return vitro_fail(VITRO_E_CANCELLED, "the check was stopped");
}

static void wait_for_more(Check *c)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += PROGRESS_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&c->more, &c->lock, &until);
}

static VitroStatus watch(Check *c, int64_t *bad)
{
    VitroStatus st = VITRO_OK;
    int64_t next = 0;
    pthread_mutex_lock(&c->lock);
    for (bool running = true; running;) {
        if (c->running)
            wait_for_more(c);
        running = c->running > 0;
        report(c, &next, bad);
        int64_t done = c->done;
        pthread_mutex_unlock(&c->lock);
        if (st == VITRO_OK)
            st = show_progress(c, done);
        pthread_mutex_lock(&c->lock);
    }
    if (st == VITRO_OK && c->status != VITRO_OK) {
        st = c->status;
        vitro_error_put(c->error);
    }
    pthread_mutex_unlock(&c->lock);
    return st;
}

/* Without threads: the caller reads them all. */
static VitroStatus run_alone(Check *c, int64_t *bad)
{
    VitroStatus st = VITRO_OK;
    int64_t next = 0;
    for (int64_t i = 0; st == VITRO_OK && i < c->ds->count; i++) {
        check_one(c, i);
        pthread_mutex_lock(&c->lock);
        report(c, &next, bad);
        pthread_mutex_unlock(&c->lock);
        st = c->status != VITRO_OK ? c->status : show_progress(c, i + 1);
    }
    if (c->status != VITRO_OK)
        vitro_error_put(c->error);
    return st;
}

static VitroStatus run_threads(Check *c, pthread_t *thread, int64_t *bad)
{
    sigset_t all, old;
    int started = 0, err = 0;
    sigfillset(&all); /* signals stay with the application's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    c->running = c->options->workers;
    while (!err && started < c->options->workers) {
        err = pthread_create(&thread[started], NULL, worker_main, c);
        started += !err;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_mutex_lock(&c->lock);
    c->running -= c->options->workers - started;
    pthread_mutex_unlock(&c->lock);
    if (err)
        atomic_store(&c->stopping, true);
    VitroStatus st = watch(c, bad);
    for (int i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    return err ? vitro_fail(VITRO_E_NOMEM, "check: cannot start thread %d of %d: %s", started + 1,
                            c->options->workers, strerror(err))
               : st;
}

VitroStatus vitro_dataset_check(const VitroDataset *ds, const VitroCheckOptions *options,
                                int64_t *bad)
{
    *bad = 0;
    if (options->workers < 0 || options->workers > MAX_WORKERS)
        return vitro_fail(VITRO_E_ARG, "check: %d workers, expected 0..%d", options->workers,
                          MAX_WORKERS);
    if (ds->ops->fill || ds->count == 0)
        return VITRO_OK; /* opening has seen them all */
    Check c = {.ds = ds, .options = options};
    pthread_mutex_init(&c.lock, NULL); /* these do not fail on Linux */
    pthread_cond_init(&c.more, NULL);
    VitroStatus st = VITRO_NOMEM;
    c.state = vitro_calloc((size_t)ds->count, sizeof(*c.state));
    c.reason = vitro_calloc((size_t)ds->count, sizeof(*c.reason));
    pthread_t *thread = vitro_calloc((size_t)options->workers, sizeof(*thread));
    if (c.state && c.reason && thread)
        st = options->workers ? run_threads(&c, thread, bad) : run_alone(&c, bad);
    for (int64_t i = 0; c.reason && i < ds->count; i++)
        vitro_free(c.reason[i]);
    vitro_free(c.reason);
    vitro_free(c.state);
    vitro_free(thread);
    pthread_cond_destroy(&c.more);
    pthread_mutex_destroy(&c.lock);
    return st;
}

/* ---- leaving out ----------------------------------------------------------------------------- */

VitroStatus vitro_dataset_leave_out(VitroDataset *ds, const int64_t *index, int64_t count)
{
    for (int64_t k = 0; k < count; k++)
        if (index[k] < 0 || index[k] >= ds->count || (k && index[k] <= index[k - 1]))
            return vitro_fail(VITRO_E_ARG,
                              "%s: picture %lld to leave out, expected 0..%lld, each "
                              "once and in order",
                              ds->describe, (long long)index[k], (long long)ds->count - 1);
    if (count && !ds->ops->move)
        return vitro_fail(VITRO_E_UNSUPPORTED, "%s: no picture of it can be left out",
                          ds->describe);
    char *describe =
        count ? vitro_asprintf("%s, %lld left out", ds->describe, (long long)count) : NULL;
    if (count && !describe)
        return VITRO_NOMEM;
    int64_t kept = 0;
    for (int64_t i = 0, k = 0; i < ds->count; i++) {
        if (k < count && index[k] == i) {
            k++;
            continue;
        }
        if (kept != i) {
            ds->labels[kept] = ds->labels[i];
            ds->ops->move(ds, kept, i);
        }
        kept++;
    }
    ds->count = kept;
    if (describe) {
        vitro_free(ds->describe);
        ds->describe = describe;
    }
    return VITRO_OK;
}
