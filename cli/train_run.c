/* SPDX-License-Identifier: Apache-2.0 */
#include "train_run.h"

#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* ---- one epoch of training --------------------------------------------------------------------
 */

#define TEXT_BYTES 128

/* What the original shows in front of its bar. */
static const char *describe(char out[TEXT_BYTES], const char *phase, int64_t epoch, double loss,
                            double accuracy)
{
    loss = isnan(loss) ? NAN : loss; /* "-nan" is no word of Python's */
    snprintf(out, TEXT_BYTES, "[%s epoch %" PRId64 "] loss: %.3f, acc: %.3f", phase, epoch, loss,
             accuracy);
    return out;
}

typedef struct Sums {
    double loss; /* of the batches' means */
    int64_t batches, correct, images;
} Sums;

static void add_batch(Sums *s, const VitroStepResult *r, int64_t images)
{
    s->loss += r->loss;
    s->correct += r->correct;
    s->images += images;
    s->batches++;
}

static double mean_loss(const Sums *s)
{
    return s->batches ? s->loss / (double)s->batches : 0;
}

static double accuracy(const Sums *s)
{
    return s->images ? (double)s->correct / (double)s->images : 0;
}

static bool reached_max_steps(const TrainRun *run)
{
    return run->max_steps > 0 && vitro_trainer_steps(run->trainer) >= run->max_steps;
}

typedef struct Epoch {
    int64_t number;
    Sums all, group; /* group: the batches since the last update */
    Progress progress;
    char text[TEXT_BYTES];
} Epoch;

/* The step failed. Where its loss is not finite, this is the original's way to end: its line on
 * standard output, and status 1. */
static int end_failed_step(Epoch *e, VitroStatus st, const VitroStepResult *r)
{
    progress_end(&e->progress, e->all.batches, e->text);
    if (st == VITRO_E_NUMERIC && !isfinite(r->loss)) {
        printf("WARNING: non-finite loss, ending training  %s (epoch %" PRId64 ", step %" PRId64
               ")\n",
               isnan(r->loss) ? "nan" : "inf", e->number, e->all.batches);
        fflush(stdout);
    }
    return cli_fail_lib();
}

/* One batch; a line of the log where it ends with an update. */
static int train_batch(TrainRun *run, Epoch *e, const VitroBatch *batch)
{
    VitroStepResult r = {0};
    VitroStatus st = vitro_trainer_step(run->trainer, batch, &r);
    if (st)
        return end_failed_step(e, st, &r);
    add_batch(&e->all, &r, batch->count);
    add_batch(&e->group, &r, batch->count);
    progress_update(&e->progress, e->all.batches,
                    describe(e->text, "train", e->number, mean_loss(&e->all), accuracy(&e->all)));
    if (!r.updated)
        return CLI_OK;
    StepRecord record = {.epoch = e->number,
                         .step = vitro_trainer_steps(run->trainer) - 1,
                         .loss = mean_loss(&e->group),
                         .lr = r.lr,
                         .correct = e->group.correct,
                         .images = e->group.images};
    e->group = (Sums){0};
    return train_log_step(&run->log, &record);
}

static int train_epoch(TrainRun *run, int64_t number, EpochRecord *record)
{
    Epoch e = {.number = number};
    if (vitro_loader_start(run->train, (uint32_t)number, 0))
        return cli_fail_lib();
    progress_begin(&e.progress, vitro_loader_batches(run->train));
    while (!reached_max_steps(run)) {
        VitroBatch batch;
        if (vitro_loader_next(run->train, &batch))
            return cli_fail_lib();
        if (batch.count == 0)
            break;
        int status = train_batch(run, &e, &batch);
        if (status)
            return status;
    }
    progress_end(&e.progress, e.all.batches, e.text);
    record->train_loss = mean_loss(&e.all);
    record->train_acc = accuracy(&e.all);
    return CLI_OK;
}

/* ---- validation -------------------------------------------------------------------------------
 */

typedef struct Validation {
    Progress progress;
    int64_t epoch, batches;
    char text[TEXT_BYTES];
} Validation;

static bool show_validation(void *user, int64_t batch, int64_t batches, double loss,
                            double accuracy_so_far, int64_t images)
{
    (void)batches, (void)images;
    Validation *v = user;
    v->batches = batch;
    progress_update(&v->progress, batch,
                    describe(v->text, "valid", v->epoch, loss, accuracy_so_far));
    return true;
}

static int validate(TrainRun *run, int64_t epoch, EpochRecord *record)
{
    VitroEvalResult result;
    Validation v = {.epoch = epoch};
    progress_begin(&v.progress, vitro_loader_batches(run->val));
    if (vitro_evaluate(run->predictor, run->val, &result, false, show_validation, &v))
        return cli_fail_lib();
    progress_end(&v.progress, v.batches, v.text);
    record->has_val = true;
    record->val_loss = result.loss;
    record->val_acc = result.top1;
    vitro_eval_result_deinit(&result);
    return CLI_OK;
}

/* ---- all epochs -------------------------------------------------------------------------------
 */

static int save(const TrainRun *run, int64_t epoch)
{
    char *path = cli_format("%s/model-%" PRId64 "%s", run->output_dir, epoch,
                            run->format == VITRO_FORMAT_PTH ? ".pth" : ".safetensors");
    VitroStatus st = vitro_model_save(run->model, path, run->format, &run->card);
    int status = st ? cli_fail_lib() : CLI_OK;
    free(path);
    return status;
}

int train_run(TrainRun *run)
{
    for (int64_t epoch = 0; epoch < run->epochs && !reached_max_steps(run); epoch++) {
        EpochRecord record = {.epoch = epoch};
        int status = train_epoch(run, epoch, &record);
        if (status)
            return status;
        vitro_trainer_end_epoch(run->trainer);
        record.learning_rate = vitro_trainer_lr(run->trainer);
        if (run->val)
            status = validate(run, epoch, &record);
        if (!status)
            status = train_log_epoch(&run->log, &record);
        if (!status)
            status = save(run, epoch);
        if (status)
            return status;
        train_curves_add(&run->curves, &record, run->output_dir);
    }
    return CLI_OK;
}
