/* SPDX-License-Identifier: Apache-2.0 */
/* The training state as a file: a sealed .safetensors (ckpt/format.h) of all parameters under their
 * own names, of the optimizer's moments under PyTorch's names for them, and of some numbers as
 * strings of its __metadata__. */
#include "base/alloc.h"
#include "ckpt/format.h"
#include "model/card.h"
#include "train/trainer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 1
#define PREFIX  "trainer."

/* ---- numbers ----------------------------------------------------------------------------------
 */

/* What a state holds beside tensors. Those from optimizer on are no state: a trainer must agree
 * with them. */
typedef enum Number {
    N_VERSION,
    N_EPOCH,
    N_BATCH,
    N_STEPS,
    N_DROPOUT,
    N_OPTIMIZER,
    N_BATCH_SIZE,
    N_ACCUMULATE,
    N_FREEZE,
    N_SEED,
    N_BATCHES_PER_EPOCH,
    N_COUNT,
    N_FIRST_OPTION = N_OPTIMIZER
} Number;

static const struct {
    const char *name;
    int64_t max;
} numbers[N_COUNT] = {
    [N_VERSION] = {PREFIX "version", INT32_MAX},
    [N_EPOCH] = {PREFIX "epoch", UINT32_MAX},
    [N_BATCH] = {PREFIX "batch", INT64_MAX},
    [N_STEPS] = {PREFIX "steps", INT64_MAX},
    [N_DROPOUT] = {PREFIX "dropout_step", UINT32_MAX},
    [N_OPTIMIZER] = {PREFIX "optimizer", VITRO_ADAMW},
    [N_BATCH_SIZE] = {PREFIX "batch_size", INT64_MAX},
    [N_ACCUMULATE] = {PREFIX "accumulate", INT32_MAX},
    [N_FREEZE] = {PREFIX "freeze", 1},
    [N_SEED] = {PREFIX "seed", INT64_MAX},
    [N_BATCHES_PER_EPOCH] = {PREFIX "batches_per_epoch", INT64_MAX},
};

struct VitroTrainState {
    VitroCheckpoint *ckpt;
    int64_t number[N_COUNT];
};

static void numbers_of(int64_t number[N_COUNT], const VitroTrainer *t)
{
    const VitroTrainOptions *o = &t->options;
    number[N_VERSION] = VERSION;
    number[N_EPOCH] = t->epoch;
    number[N_BATCH] = t->batch;
    number[N_STEPS] = t->optim.updates;
    number[N_DROPOUT] = t->drop.step;
    number[N_OPTIMIZER] = o->optimizer;
    number[N_BATCH_SIZE] = o->batch_size;
    number[N_ACCUMULATE] = o->accumulate;
    number[N_FREEZE] = o->freeze;
    number[N_SEED] = (int64_t)(o->seed & INT64_MAX);
    number[N_BATCHES_PER_EPOCH] = t->batches_per_epoch;
}

static VitroStatus read_number(int64_t *out, const VitroCheckpoint *ckpt, Number n)
{
    const char *text = vitro_checkpoint_metadata_key(ckpt, numbers[n].name);
    if (!text)
        return n == N_VERSION
                   ? vitro_fail(VITRO_E_FORMAT, "is no training state")
                   : vitro_fail(VITRO_E_FORMAT, "the state has no %s", numbers[n].name);
    size_t digits = strspn(text, "0123456789");
    errno = 0;
    long long v = strtoll(text, NULL, 10);
    if (digits == 0 || text[digits] || errno || v > numbers[n].max)
        return vitro_fail(VITRO_E_FORMAT,
                          "%s is \"%.40s\", a number up to %" PRId64 " was expected",
                          numbers[n].name, text, numbers[n].max);
    *out = v;
    return VITRO_OK;
}

/* ---- tensors ----------------------------------------------------------------------------------
 */

/* What is kept for a parameter: itself, and what the optimizer remembers of it. */
typedef struct Kind {
    const char *prefix;
    const VitroTensor *moment; /* NULL: the parameter */
} Kind;

enum { MAX_KINDS = 3 };

static int list_kinds(Kind kind[MAX_KINDS], const VitroTrainer *t)
{
    const VitroTrainOptions *o = &t->options;
    int count = 0;
    kind[count++] = (Kind){"", NULL};
    if (o->optimizer == VITRO_ADAMW) {
        kind[count++] = (Kind){"exp_avg.", &t->optim.m};
        kind[count++] = (Kind){"exp_avg_sq.", &t->optim.v};
    } else if (vitro_optim_has_memory(o)) {
        kind[count++] = (Kind){"momentum_buffer.", &t->optim.m};
    }
    return count;
}

/* Where the elements of parameter i are. Moments lie as the trained parameters do. */
static uint8_t *place_of(const VitroTrainer *t, const Kind *kind, int64_t i)
{
    uint8_t *at = t->model->params.list[i].slot->data;
    return kind->moment ? (uint8_t *)kind->moment->data + (at - (uint8_t *)t->param.data) : at;
}

/* Calls `fn` for each tensor of the state, until one fails. */
typedef VitroStatus (*TensorFn)(void *user, const char *name, const VitroParam *e, uint8_t *at);
static VitroStatus each_tensor(const VitroTrainer *t, TensorFn fn, void *user)
{
    const VitroParams *p = &t->model->params;
    Kind kind[MAX_KINDS];
    int kinds = list_kinds(kind, t);
    for (int k = 0; k < kinds; k++)
        for (int64_t i = kind[k].moment ? t->first_param : 0; i < p->count; i++) {
            char name[sizeof(p->list[i].name) + 32];
            snprintf(name, sizeof(name), "%s%s", kind[k].prefix, p->list[i].name);
            VITRO_TRY(fn(user, name, &p->list[i], place_of(t, &kind[k], i)));
        }
    return VITRO_OK;
}

/* ---- saving -----------------------------------------------------------------------------------
 */

typedef struct Sources {
    VitroDevice *dev;
    VitroTensorSource *list; /* [capacity] */
    int64_t count, capacity;
} Sources;

/* The name and, where the host cannot read the elements in place, a copy of these are owned. */
static VitroStatus add_source(void *user, const char *name, const VitroParam *e, uint8_t *at)
{
    Sources *s = user;
    if (s->count == s->capacity) {
        int64_t capacity = s->capacity ? 2 * s->capacity : 256;
        void *p = vitro_realloc(s->list, (size_t)capacity, sizeof(*s->list));
        if (!p)
            return VITRO_NOMEM;
        s->list = p;
        s->capacity = capacity;
    }
    VitroTensorSource *source = &s->list[s->count++];
    *source = (VitroTensorSource){.dtype = s->dev->dtype, .rank = e->rank, .data = at};
    memcpy(source->dim, e->dim, sizeof(e->dim));
    source->name = vitro_strdup(name);
    if (!s->dev->ops->separate_memory)
        return source->name ? VITRO_OK : VITRO_NOMEM;
    size_t bytes = vitro_tensor_bytes(e->slot);
    void *copy = vitro_malloc(bytes);
    source->data = copy;
    if (!source->name || !copy)
        return VITRO_NOMEM;
    return s->dev->ops->download(s->dev, copy, at, bytes);
}

static void free_sources(Sources *s)
{
    for (int64_t i = 0; i < s->count; i++) {
        vitro_free((void *)s->list[i].name);
        if (s->dev->ops->separate_memory)
            vitro_free((void *)s->list[i].data);
    }
    vitro_free(s->list);
}

static VitroStatus check_notes(const VitroNote *notes, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const char *key = notes[i].key;
        if (strcmp(key, "format") == 0 || strcmp(key, "vitro") == 0 ||
            strncmp(key, PREFIX, strlen(PREFIX)) == 0)
            return vitro_fail(VITRO_E_ARG, "a note cannot have the key \"%s\"", key);
    }
    return VITRO_OK;
}

/* The caller's notes behind our own, whose texts are `digits`. */
static VitroNote *all_notes(const VitroTrainer *t, char digits[N_COUNT][24], const VitroNote *notes,
                            int64_t count)
{
    int64_t number[N_COUNT];
    VitroNote *all = vitro_calloc(N_COUNT + (size_t)count, sizeof(*all));
    numbers_of(number, t);
    for (int n = 0; all && n < N_COUNT; n++) {
        snprintf(digits[n], sizeof(digits[n]), "%" PRId64, number[n]);
        all[n] = (VitroNote){numbers[n].name, digits[n]};
    }
    if (all && count)
        memcpy(all + N_COUNT, notes, (size_t)count * sizeof(*notes));
    return all;
}

VitroStatus vitro_trainer_save_state(const VitroTrainer *t, const char *path, const VitroCard *card,
                                     const VitroNote *notes, int64_t note_count)
{
    if (t->batch % t->options.accumulate && t->batch != t->batches_per_epoch)
        return vitro_fail(VITRO_E_ARG,
                          "%s: batch %" PRId64 " is in the middle of an optimizer step: a state "
                          "can be saved between steps",
                          path, t->batch);
    VITRO_TRY(check_notes(notes, note_count));
    char digits[N_COUNT][24];
    char *metadata = NULL;
    Sources s = {.dev = t->dev};
    VitroStatus st = VITRO_E_NOMEM;
    VitroNote *all = all_notes(t, digits, notes, note_count);
    if (!all)
        goto done;
    VITRO_GOTO(each_tensor(t, add_source, &s));
    VITRO_GOTO(vitro_card_write(&metadata, &t->model->cfg, card));
    st = vitro_sealed_write(path, s.list, s.count, metadata, all, N_COUNT + note_count);
done:
    free_sources(&s);
    vitro_free(metadata);
    vitro_free(all);
    return st;
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static VitroStatus read_numbers(VitroTrainState *s)
{
    for (int n = 0; n < N_COUNT; n++) {
        VITRO_TRY(read_number(&s->number[n], s->ckpt, (Number)n));
        if (n == N_VERSION && s->number[n] != VERSION)
            return vitro_fail(VITRO_E_UNSUPPORTED,
                              "is a training state of version %" PRId64 ", %d is known",
                              s->number[n], VERSION);
    }
    int64_t batch = s->number[N_BATCH], batches = s->number[N_BATCHES_PER_EPOCH];
    if (batch > batches || s->number[N_ACCUMULATE] < 1 ||
        (batch % s->number[N_ACCUMULATE] && batch != batches))
        return vitro_fail(VITRO_E_FORMAT, "batch %" PRId64 " of %" PRId64 " begins no step", batch,
                          batches);
    return VITRO_OK;
}

VitroStatus vitro_train_state_open(VitroTrainState **out, const char *path)
{
    VitroTrainState *s = vitro_calloc(1, sizeof(*s));
    if (!s)
        return VITRO_NOMEM;
    VitroStatus st = vitro_checkpoint_open(&s->ckpt, path);
    if (st == VITRO_OK) {
        /* before the checksum: another file is told by what it is, not called damaged */
        int64_t version;
        st = read_number(&version, s->ckpt, N_VERSION);
        if (st != VITRO_OK)
            st = vitro_fail_prefix(st, "%s", path);
    }
    if (st == VITRO_OK)
        st = vitro_sealed_check(s->ckpt);
    if (st == VITRO_OK && (st = read_numbers(s)) != VITRO_OK)
        st = vitro_fail_prefix(st, "%s", path);
    if (st == VITRO_OK)
        *out = s;
    else
        vitro_train_state_close(s);
    return st;
}

void vitro_train_state_close(VitroTrainState *s)
{
    if (!s)
        return;
    vitro_checkpoint_close(s->ckpt);
    vitro_free(s);
}

uint32_t vitro_train_state_epoch(const VitroTrainState *s)
{
    return (uint32_t)s->number[N_EPOCH];
}

int64_t vitro_train_state_batch(const VitroTrainState *s)
{
    return s->number[N_BATCH];
}

int64_t vitro_train_state_steps(const VitroTrainState *s)
{
    return s->number[N_STEPS];
}

const char *vitro_train_state_note(const VitroTrainState *s, const char *key)
{
    return vitro_checkpoint_metadata_key(s->ckpt, key);
}

/* ---- loading ----------------------------------------------------------------------------------
 */

static VitroStatus check_options(const VitroTrainer *t, const VitroTrainState *s)
{
    int64_t own[N_COUNT];
    numbers_of(own, t);
    for (int n = N_FIRST_OPTION; n < N_COUNT; n++)
        if (own[n] != s->number[n])
            return vitro_fail(VITRO_E_ARG,
                              "%s is %" PRId64 " in the state, %" PRId64 " in the trainer",
                              numbers[n].name + strlen(PREFIX), s->number[n], own[n]);
    return VITRO_OK;
}

typedef struct Target {
    VitroDevice *dev;
    const VitroCheckpoint *ckpt;
} Target;

static VitroStatus check_tensor(void *user, const char *name, const VitroParam *e, uint8_t *at)
{
    (void)at;
    const Target *target = user;
    int64_t i = vitro_checkpoint_find(target->ckpt, name);
    if (i < 0)
        return vitro_fail(VITRO_E_ARG, "has no tensor %s", name);
    const VitroTensorInfo *info = vitro_checkpoint_info(target->ckpt, i);
    if (info->dtype != target->dev->dtype)
        return vitro_fail(VITRO_E_ARG, "%s is %s, the trainer computes in %s", name,
                          vitro_dtype_name(info->dtype), vitro_dtype_name(target->dev->dtype));
    if (info->rank == e->rank &&
        memcmp(info->dim, e->dim, (size_t)e->rank * sizeof(e->dim[0])) == 0)
        return VITRO_OK;
    char found[128], wanted[128];
    return vitro_fail(VITRO_E_ARG, "%s has shape %s, the model has %s", name,
                      vitro_tensor_shape_text(found, sizeof(found), info->rank, info->dim),
                      vitro_tensor_shape_text(wanted, sizeof(wanted), e->rank, e->dim));
}

static VitroStatus load_tensor(void *user, const char *name, const VitroParam *e, uint8_t *at)
{
    const Target *target = user;
    int64_t i = vitro_checkpoint_find(target->ckpt, name);
    return target->dev->ops->upload(target->dev, at, target->ckpt->tensor[i].data,
                                    vitro_tensor_bytes(e->slot));
}

VitroStatus vitro_trainer_load_state(VitroTrainer *t, const VitroTrainState *s)
{
    Target target = {t->dev, s->ckpt};
    VitroStatus st = check_options(t, s);
    if (st == VITRO_OK)
        st = each_tensor(t, check_tensor, &target);
    if (st != VITRO_OK)
        return vitro_fail_prefix(st, "%s", vitro_checkpoint_path(s->ckpt));
    VITRO_TRY(each_tensor(t, load_tensor, &target));
    t->epoch = (uint32_t)s->number[N_EPOCH];
    t->batch = s->number[N_BATCH];
    t->optim.updates = s->number[N_STEPS];
    t->drop.step = (uint32_t)s->number[N_DROPOUT];
    return vitro_model_refresh(t->model);
}
