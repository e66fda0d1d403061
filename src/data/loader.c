/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of a data set, prepared ahead of time by worker threads.
 *
 * The samples of an epoch are numbered 0, 1, 2, ... in the sampler's order; batch b is the samples
 * [b*B, (b+1)*B). Workers take the next few samples in turn, never beyond one batch, and write each
 * into its place in the batch's slot of a ring. So a sample's place and (its random numbers being a
 * function of seed, epoch and picture) its bytes do not depend on who prepares it, or when.
 *
 *     ring:   [ held by the caller ][ next ][ being filled ][ ... ]     slot of batch b: b mod ring
 *
 * One mutex guards the counters below; pixels are written outside it. */
#include "data/dataset.h"

#include "base/alloc.h"
#include "data/sampler.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

enum { MAX_WORKERS = 256, MAX_CHUNK = 16 };

typedef struct Slot {
    float *images;   /* [B,C,H,W] */
    int32_t *labels; /* [B] */
    int64_t *index;  /* [B] */
    int64_t batch;   /* the batch that it holds or is being filled with; -1: none */
    int64_t left;    /* samples not ready yet */
    int64_t failed;  /* the batch's first sample that failed, -1: none */
    VitroStatus status;
    char error[VITRO_ERROR_MAX];
} Slot;

typedef struct Worker {
    VitroLoader *loader;
    pthread_t thread;
    uint8_t *pixels; /* one picture of a fixed-size data set, else NULL */
} Worker;

struct VitroLoader {
    const VitroDataset *ds;
    VitroLoaderOptions options;
    int64_t count, batch_size, batches; /* batch_size: at most count */
    size_t image_floats;                /* C*H*W */
    uint32_t *order;                    /* [count] of this epoch */
    uint32_t epoch;
    bool started;
    Slot *slots;
    int slot_count;
    int64_t next_batch; /* the caller's next */
    int64_t chunk;      /* samples that a worker takes at once */

    Worker *workers; /* worker_count; with options.workers == 0 just the scratch of the caller */
    int worker_count, threads_started;
    pthread_mutex_t lock; /* guards the slots' counters and what follows */
    pthread_cond_t work, done;
    int64_t next_sample; /* not yet taken by a worker */
    int64_t released;    /* the slots of batches below this one may be overwritten */
    int busy;            /* workers with samples in hand */
    bool paused, stopping;
};

/* ---- one sample ------------------------------------------------------------------------------ */

static VitroStatus transform(const VitroLoader *l, float *out, const VitroImage *image, uint32_t i)
{
    const VitroTransform *t = &l->options.transform;
    VitroStatus st;
    if (l->options.augment) {
        VitroAugment a =
            vitro_augment_draw(l->options.seed, l->epoch, i, image->width, image->height);
        st = vitro_augment_apply(out, image, t, &a);
    } else if (t->keep_exact && image->width == t->width && image->height == t->height) {
        st = vitro_transform_normalize(out, image, t, false); /* as _apply, without its copy */
    } else {
        st = vitro_transform_apply(out, image, t);
    }
    if (st == VITRO_OK)
        return VITRO_OK;
    char name[256];
    vitro_dataset_name(l->ds, i, name, sizeof(name));
    return vitro_fail_prefix(st, "%s", name);
}

/* Picture i to out [C,H,W]. */
static VitroStatus load_sample(const VitroLoader *l, const Worker *w, float *out, uint32_t i)
{
    const VitroDataset *ds = l->ds;
    if (ds->ops->fill) {
        VitroImage image = {ds->width, ds->height, ds->channels, w->pixels};
        ds->ops->fill(ds, i, w->pixels);
        return transform(l, out, &image, i);
    }
    VitroImage image = {0};
    VITRO_TRY(vitro_dataset_read(ds, i, &image));
    VitroStatus st = transform(l, out, &image, i);
    vitro_image_deinit(&image);
    return st;
}

/* Samples [begin,end) of one batch into its slot, up to the first that fails: *failed, else -1. */
static VitroStatus load_chunk(const VitroLoader *l, const Worker *w, const Slot *slot,
                              int64_t begin, int64_t end, int64_t *failed)
{
    *failed = -1;
    for (int64_t s = begin; s < end; s++) {
        int64_t k = s % l->batch_size;
        uint32_t i = l->order[s];
        slot->labels[k] = l->ds->labels[i];
        slot->index[k] = i;
        VitroStatus st = load_sample(l, w, slot->images + (size_t)k * l->image_floats, i);
        if (st != VITRO_OK) {
            *failed = s;
            return st;
        }
    }
    return VITRO_OK;
}

/* ---- workers --------------------------------------------------------------------------------- */

static int64_t batch_end(const VitroLoader *l, int64_t batch)
{
    int64_t end = (batch + 1) * l->batch_size;
    return end < l->count ? end : l->count;
}

static Slot *slot_of(const VitroLoader *l, int64_t batch)
{
    return &l->slots[batch % l->slot_count];
}

static void prepare_slot(const VitroLoader *l, Slot *slot, int64_t batch)
{
    slot->batch = batch;
    slot->left = batch_end(l, batch) - batch * l->batch_size;
    slot->failed = -1;
    slot->status = VITRO_OK;
}

/* Of several failures in a batch the first in its order counts, whoever meets it first. */
static void record_failure(Slot *slot, VitroStatus st, int64_t sample)
{
    if (slot->failed >= 0 && slot->failed < sample)
        return;
    slot->failed = sample;
    slot->status = st;
    vitro_error_take(slot->error);
}

static bool has_work(const VitroLoader *l)
{
    return !l->paused && l->next_sample < l->count &&
           l->next_sample / l->batch_size < l->released + l->slot_count;
}

/* Takes and prepares the next samples. Called, and returns, with the lock held. */
static void work_once(VitroLoader *l, const Worker *w)
{
    int64_t begin = l->next_sample, batch = begin / l->batch_size, end = batch_end(l, batch),
            failed;
    Slot *slot = slot_of(l, batch);
    if (begin == batch * l->batch_size)
        prepare_slot(l, slot, batch);
    if (end - begin > l->chunk)
        end = begin + l->chunk;
    l->next_sample = end;
    l->busy++;
    pthread_mutex_unlock(&l->lock);
    VitroStatus st = load_chunk(l, w, slot, begin, end, &failed);
    pthread_mutex_lock(&l->lock);
    l->busy--;
    if (st != VITRO_OK)
        record_failure(slot, st, failed);
    slot->left -= end - begin;
    if (slot->left == 0 || (l->paused && l->busy == 0))
        pthread_cond_broadcast(&l->done);
}

static void *worker_main(void *arg)
{
    Worker *w = arg;
    VitroLoader *l = w->loader;
    pthread_mutex_lock(&l->lock);
    while (!l->stopping) {
        if (has_work(l))
            work_once(l, w);
        else
            pthread_cond_wait(&l->work, &l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* Signals stay with the application's own threads. */
static VitroStatus start_threads(VitroLoader *l)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int err = 0;
    while (!err && l->threads_started < l->options.workers) {
        Worker *w = &l->workers[l->threads_started];
        err = pthread_create(&w->thread, NULL, worker_main, w);
        if (!err)
            l->threads_started++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (err)
        return vitro_fail(VITRO_E_NOMEM, "loader: cannot start thread %d of %d: %s",
                          l->threads_started + 1, l->options.workers, strerror(err));
    return VITRO_OK;
}

/* ---- open, close ----------------------------------------------------------------------------- */

static VitroStatus check_transform(const VitroTransform *t, int channels)
{
    if (t->width < 1 || t->height < 1)
        return vitro_fail(VITRO_E_ARG, "loader: pictures of %dx%d, expected at least 1x1", t->width,
                          t->height);
    if (t->channels != channels)
        return vitro_fail(VITRO_E_ARG, "loader: transform to %d channels, the data set gives %d",
                          t->channels, channels);
    for (int c = 0; c < channels; c++)
        if (!(t->std[c] > 0))
            return vitro_fail(VITRO_E_ARG, "loader: std of channel %d is %g, expected > 0", c,
                              (double)t->std[c]);
    return VITRO_OK;
}

static VitroStatus check_options(const VitroDataset *ds, const VitroLoaderOptions *o)
{
    VITRO_TRY(check_transform(&o->transform, ds->channels));
    if (o->batch_size < 1)
        return vitro_fail(VITRO_E_ARG, "loader: batch size %lld, expected at least 1",
                          (long long)o->batch_size);
    if (o->workers < 0 || o->workers > MAX_WORKERS)
        return vitro_fail(VITRO_E_ARG, "loader: %d workers, expected 0..%d", o->workers,
                          MAX_WORKERS);
    return VITRO_OK;
}

/* How many batches are held, ready or under way at once: the caller's, one that is ready, and
 * enough to keep every worker busy. */
static int ring_size(const VitroLoader *l)
{
    if (l->options.workers == 0)
        return 1;
    int64_t n = 2 + (2 * l->options.workers + l->batch_size - 1) / l->batch_size;
    return (int)(n < l->batches ? n : l->batches);
}

/* What follows from the data set and the options. */
static void set_sizes(VitroLoader *l, const VitroDataset *ds, const VitroLoaderOptions *options)
{
    l->ds = ds;
    l->options = *options;
    l->count = ds->count;
    l->batch_size = options->batch_size < ds->count ? options->batch_size : ds->count;
    if (l->count > 0) {
        l->batches = (l->count + l->batch_size - 1) / l->batch_size;
        l->slot_count = ring_size(l);
    }
}

int64_t vitro_loader_memory(const VitroDataset *ds, const VitroLoaderOptions *options)
{
    VitroLoader l = {0};
    set_sizes(&l, ds, options);
    const VitroTransform *t = &options->transform;
    const Slot *slot = l.slots;
    double per_image = (double)t->width * t->height * t->channels * (double)sizeof(*slot->images) +
                       (double)(sizeof(*slot->labels) + sizeof(*slot->index));
    double bytes = per_image * (double)l.batch_size * l.slot_count +
                   (double)l.count * (double)sizeof(*l.order);
    return bytes < 0x1p62 ? (int64_t)bytes : INT64_MAX / 2;
}

static VitroStatus alloc_slots(VitroLoader *l)
{
    const VitroTransform *t = &l->options.transform;
    size_t floats, bytes, n = (size_t)l->batch_size;
    if (__builtin_mul_overflow((size_t)t->width * (size_t)t->height, (size_t)t->channels,
                               &l->image_floats) ||
        __builtin_mul_overflow(n, l->image_floats, &floats) ||
        __builtin_mul_overflow(floats, sizeof(float), &bytes))
        return vitro_fail(VITRO_E_ARG, "loader: a batch of %zu pictures of %dx%dx%d is too large",
                          n, t->width, t->height, t->channels);
    l->slots = vitro_calloc((size_t)l->slot_count, sizeof(*l->slots));
    if (!l->slots)
        return VITRO_NOMEM;
    for (int s = 0; s < l->slot_count; s++) {
        Slot *slot = &l->slots[s];
        slot->images = vitro_malloc_aligned(bytes);
        slot->labels = vitro_calloc(n, sizeof(*slot->labels));
        slot->index = vitro_calloc(n, sizeof(*slot->index));
        if (!slot->images || !slot->labels || !slot->index)
            return VITRO_NOMEM;
    }
    return VITRO_OK;
}

static VitroStatus alloc_workers(VitroLoader *l)
{
    const VitroDataset *ds = l->ds;
    l->worker_count = l->options.workers ? l->options.workers : 1;
    l->workers = vitro_calloc((size_t)l->worker_count, sizeof(*l->workers));
    if (!l->workers)
        return VITRO_NOMEM;
    for (int i = 0; i < l->worker_count; i++) {
        l->workers[i].loader = l;
        if (!ds->ops->fill)
            continue;
        l->workers[i].pixels =
            vitro_malloc((size_t)ds->width * (size_t)ds->height * (size_t)ds->channels);
        if (!l->workers[i].pixels)
            return VITRO_NOMEM;
    }
    return VITRO_OK;
}

VitroStatus vitro_loader_open(VitroLoader **out, const VitroDataset *ds,
                              const VitroLoaderOptions *options)
{
    VITRO_TRY(check_options(ds, options));
    VitroLoader *l = vitro_calloc(1, sizeof(*l));
    if (!l)
        return VITRO_NOMEM;
    pthread_mutex_init(&l->lock, NULL); /* these do not fail on Linux */
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->done, NULL);
    VitroStatus st = VITRO_OK;
    set_sizes(l, ds, options);
    l->paused = true;
    if (l->count > 0) {
        /* Small enough that all workers have a part of the next batch, large enough that the lock
         * costs nothing beside the work. */
        l->chunk = l->batch_size / (4 * (options->workers + 1)) + 1;
        if (l->chunk > MAX_CHUNK)
            l->chunk = MAX_CHUNK;
        l->order = vitro_realloc(NULL, (size_t)l->count, sizeof(*l->order));
        if (!l->order) {
            st = VITRO_NOMEM;
            goto done;
        }
        VITRO_GOTO(alloc_slots(l));
        VITRO_GOTO(alloc_workers(l));
        VITRO_GOTO(start_threads(l));
    }
    *out = l;
    l = NULL;
done:
    vitro_loader_close(l);
    return st;
}

void vitro_loader_close(VitroLoader *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->threads_started; i++)
        pthread_join(l->workers[i].thread, NULL);
    for (int i = 0; l->workers && i < l->worker_count; i++)
        vitro_free(l->workers[i].pixels);
    vitro_free(l->workers);
    for (int s = 0; l->slots && s < l->slot_count; s++) {
        vitro_free(l->slots[s].images);
        vitro_free(l->slots[s].labels);
        vitro_free(l->slots[s].index);
    }
    vitro_free(l->slots);
    vitro_free(l->order);
    pthread_cond_destroy(&l->done);
    pthread_cond_destroy(&l->work);
    pthread_mutex_destroy(&l->lock);
    vitro_free(l);
}

/* ---- epochs ---------------------------------------------------------------------------------- */

int64_t vitro_loader_batches(const VitroLoader *l)
{
    return l->batches;
}

VitroStatus vitro_loader_start(VitroLoader *l, uint32_t epoch, int64_t first_batch)
{
    if (first_batch < 0 || first_batch > l->batches)
        return vitro_fail(VITRO_E_ARG, "loader: first batch %lld, expected 0..%lld",
                          (long long)first_batch, (long long)l->batches);
    pthread_mutex_lock(&l->lock);
    l->paused = true;
    while (l->busy)
        pthread_cond_wait(&l->done, &l->lock);
    /* No worker looks at any of this until it is unpaused. */
    l->epoch = epoch;
    l->started = true;
    if (l->count)
        vitro_sampler_order(l->order, (uint32_t)l->count, l->options.shuffle, l->options.seed,
                            epoch);
    for (int s = 0; s < l->slot_count; s++)
        l->slots[s].batch = -1;
    l->next_batch = l->released = first_batch;
    l->next_sample = first_batch * l->batch_size;
    l->paused = false;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    return VITRO_OK;
}

/* Waits until batch b is whole; lets the workers overwrite all batches before it. */
static void wait_for_batch(VitroLoader *l, int64_t b)
{
    const Slot *slot = slot_of(l, b);
    pthread_mutex_lock(&l->lock);
    l->released = b;
    pthread_cond_broadcast(&l->work);
    while (slot->batch != b || slot->left)
        pthread_cond_wait(&l->done, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

static void load_here(VitroLoader *l, int64_t b)
{
    Slot *slot = slot_of(l, b);
    int64_t failed;
    prepare_slot(l, slot, b);
    VitroStatus st =
        load_chunk(l, &l->workers[0], slot, b * l->batch_size, batch_end(l, b), &failed);
    if (st != VITRO_OK)
        record_failure(slot, st, failed);
}

VitroStatus vitro_loader_next(VitroLoader *l, VitroBatch *batch)
{
    if (!l->started)
        return vitro_fail(VITRO_E_ARG, "loader: no epoch was started");
    if (l->next_batch == l->batches) {
        *batch = (VitroBatch){0};
        return VITRO_OK;
    }
    int64_t b = l->next_batch++;
    if (l->threads_started)
        wait_for_batch(l, b);
    else
        load_here(l, b);
    const Slot *slot = slot_of(l, b);
    if (slot->status != VITRO_OK) {
        vitro_error_put(slot->error);
        return slot->status;
    }
    *batch = (VitroBatch){.count = batch_end(l, b) - b * l->batch_size,
                          .images = slot->images,
                          .labels = slot->labels,
                          .index = slot->index};
    return VITRO_OK;
}
