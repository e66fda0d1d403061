/* SPDX-License-Identifier: Apache-2.0 */
#include "train_run.h"

#include "report.h"
#include "states.h"
#include "stop.h"
#include "train_resume.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

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

static void add_batch(TrainSums *s, const VitroStepResult *r, int64_t images)
{
    s->loss += r->loss;
    s->correct += r->correct;
    s->images += images;
    s->batches++;
}

static double mean_loss(const TrainSums *s)
{
    return s->batches ? s->loss / (double)s->batches : 0;
}

static double accuracy(const TrainSums *s)
{
    return s->images ? (double)s->correct / (double)s->images : 0;
}

static bool reached_max_steps(const TrainRun *run)
{
    return run->max_steps > 0 && vitro_trainer_steps(run->trainer) >= run->max_steps;
}

typedef struct Epoch {
    int64_t number;
    TrainSums group; /* of the batches since the last update */
    Progress progress;
    char text[TEXT_BYTES];
} Epoch;

static const char *describe_training(Epoch *e, const TrainSums *sums)
{
    return describe(e->text, "train", e->number, mean_loss(sums), accuracy(sums));
}

/* The step failed. Where its loss is not finite, this is the original's way to end: its line on
 * standard output, and status 1. */
static int end_failed_step(const TrainRun *run, Epoch *e, VitroStatus st, const VitroStepResult *r)
{
    progress_end(&e->progress, run->sums.batches, e->text);
    if (st == VITRO_E_NUMERIC && !isfinite(r->loss)) {
        printf("WARNING: non-finite loss, ending training  %s (epoch %" PRId64 ", step %" PRId64
               ")\n",
               isnan(r->loss) ? "nan" : "inf", e->number, run->sums.batches);
        fflush(stdout);
    }
    return cli_fail_lib();
}

/* An optimizer step is over: a line of the log and, each so many, a state. */
static int end_step(TrainRun *run, Epoch *e, double lr)
{
    int64_t steps = vitro_trainer_steps(run->trainer);
    StepRecord record = {.epoch = e->number,
                         .step = steps - 1,
                         .loss = mean_loss(&e->group),
                         .lr = lr,
                         .correct = e->group.correct,
                         .images = e->group.images};
    e->group = (TrainSums){0};
    int status = train_log_step(&run->log, &record);
    if (!status && run->save_every > 0 && steps % run->save_every == 0)
        status = train_state_save(run, false);
    return status;
}

static int train_batch(TrainRun *run, Epoch *e, const VitroBatch *batch)
{
    VitroStepResult r = {0};
    VitroStatus st = vitro_trainer_step(run->trainer, batch, &r);
    if (st)
        return end_failed_step(run, e, st, &r);
    add_batch(&run->sums, &r, batch->count);
    add_batch(&e->group, &r, batch->count);
    progress_update(&e->progress, run->sums.batches, describe_training(e, &run->sums));
    return r.updated ? end_step(run, e, r.lr) : CLI_OK;
}

/* A signal asks to stop, and no step is under way. */
static bool should_stop(const Epoch *e)
{
    return stop_signal() && e->group.batches == 0;
}

/* From the trainer's batch on. */
static int train_epoch(TrainRun *run, int64_t number)
{
    Epoch e = {.number = number};
    int status = CLI_OK;
    if (vitro_loader_start(run->train, (uint32_t)number, vitro_trainer_batch(run->trainer)))
        return cli_fail_lib();
    progress_begin(&e.progress, vitro_loader_batches(run->train));
    e.progress.first = run->sums.batches;
    describe_training(&e, &run->sums);
    while (!status && !reached_max_steps(run) && !should_stop(&e)) {
        VitroBatch batch;
        if (vitro_loader_next(run->train, &batch))
            return cli_fail_lib();
        if (batch.count == 0)
            break;
        status = train_batch(run, &e, &batch);
    }
    if (!status && !(stop_signal() && run->sums.batches == e.progress.first))
        progress_end(&e.progress, run->sums.batches, e.text);
    return status;
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
    return !stop_signal();
}

/* Where a signal stops it, it is as if it had not begun. */
static int validate(TrainRun *run, int64_t epoch, EpochRecord *record)
{
    VitroEvalResult result;
    Validation v = {.epoch = epoch};
    progress_begin(&v.progress, vitro_loader_batches(run->val));
    VitroStatus st = vitro_evaluate(run->predictor, run->val, &result, false, show_validation, &v);
    if (st == VITRO_OK || st == VITRO_E_CANCELLED)
        progress_end(&v.progress, v.batches, v.text);
    if (st)
        return st == VITRO_E_CANCELLED ? CLI_OK : cli_fail_lib();
    record->has_val = true;
    record->val_loss = result.loss;
    record->val_acc = result.top1;
    vitro_eval_result_deinit(&result);
    return CLI_OK;
}

/* ---- checkpoints ------------------------------------------------------------------------------
 */

static char *model_path(const TrainRun *run, int64_t epoch)
{
    return cli_format("%s/model-%" PRId64 "%s", run->output_dir, epoch,
                      run->format == VITRO_FORMAT_PTH ? ".pth" : ".safetensors");
}

static int save_model(const TrainRun *run, int64_t epoch)
{
    char *path = model_path(run, epoch);
    VitroStatus st = vitro_model_save(run->model, path, run->format, &run->card);
    int status = st ? cli_fail_lib() : CLI_OK;
    free(path);
    return status;
}

/* Accuracy counts, then loss, then who was first; without validation the loss of training. */
static bool is_better(const VitroPlotEpoch *a, const VitroPlotEpoch *b)
{
    if (isnan(a->val_accuracy))
        return a->train_loss < b->train_loss;
    if (a->val_accuracy != b->val_accuracy)
        return a->val_accuracy > b->val_accuracy;
    return a->val_loss < b->val_loss;
}

/* -1: there is none. */
static int64_t best_epoch(const TrainCurves *c)
{
    int64_t best = c->count ? 0 : -1;
    for (int64_t i = 1; i < c->count; i++)
        if (is_better(&c->epochs[i], &c->epochs[best]))
            best = i;
    return best;
}

/* The checkpoints of this run that are neither the best nor among the last `keep` go. */
static void prune_models(const TrainRun *run)
{
    int64_t best = best_epoch(&run->curves);
    for (int64_t epoch = 0; run->keep && epoch < run->curves.count - run->keep; epoch++) {
        char *path = epoch == best ? NULL : model_path(run, epoch);
        if (path)
            unlink(path);
        free(path);
    }
}

static void tell_best(const TrainRun *run)
{
    int64_t best = best_epoch(&run->curves);
    if (best < 0)
        return;
    const VitroPlotEpoch *e = &run->curves.epochs[best];
    bool validated = !isnan(e->val_accuracy);
    char *path = model_path(run, best);
    cli_note("best: epoch %" PRId64 ", %s loss %.3f, accuracy %.3f: %s", best,
             validated ? "validation" : "training", validated ? e->val_loss : e->train_loss,
             validated ? e->val_accuracy : e->train_accuracy, path);
    free(path);
}

/* ---- all epochs -------------------------------------------------------------------------------
 */

static int stop(TrainRun *run)
{
    int number = stop_signal();
    int64_t steps = vitro_trainer_steps(run->trainer);
    int status = steps > 0 ? train_state_save(run, true) : CLI_OK;
    if (status)
        return status;
    cli_note("%s: stopped after %" PRId64 " steps; %s", stop_signal_name(number), steps,
             steps > 0 ? "the state is saved, --resume latest goes on from there"
                       : "there is nothing to save yet");
    return 128 + number;
}

/* Everything that an epoch leaves, its state last: a run that is cut off before that does it all
 * again, with the same result. */
static int end_epoch(TrainRun *run, EpochRecord *record)
{
    bool whole = vitro_trainer_batch(run->trainer) == vitro_loader_batches(run->train);
    vitro_trainer_end_epoch(run->trainer);
    record->learning_rate = vitro_trainer_lr(run->trainer);
    record->train_loss = mean_loss(&run->sums);
    record->train_acc = accuracy(&run->sums);
    run->sums = (TrainSums){0};
    int status = train_log_epoch(&run->log, record);
    if (!status)
        status = save_model(run, record->epoch);
    if (status)
        return status;
    train_curves_add(&run->curves, record, run->output_dir);
    if (whole) /* else the state before it is what a longer run goes on from */
        status = train_state_save(run, false);
    if (!status)
        prune_models(run);
    return status;
}

static int run_epoch(TrainRun *run)
{
    int64_t number = vitro_trainer_epoch(run->trainer);
    EpochRecord record = {.epoch = number};
    int status = train_epoch(run, number);
    if (!status && stop_signal())
        return stop(run);
    if (!status && reached_max_steps(run))
        status = train_state_save(run, false);
    if (!status && run->val)
        status = validate(run, number, &record);
    if (!status && run->val && !record.has_val)
        return stop(run);
    return status ? status : end_epoch(run, &record);
}

int train_run(TrainRun *run)
{
    bool any = false;
    /* Whoever saved the state may have been killed before it came to this, or had no room for the
     * picture. */
    prune_models(run);
    if (run->curves.count)
        train_curves_draw(&run->curves, run->output_dir);
    if (run->state_path && !run->begins_over)
        states_prune(run->output_dir, vitro_trainer_steps(run->trainer), run->state_path,
                     train_states_kept(run));
    /* A state of the last step may be of before the end of its epoch. */
    while ((int)vitro_trainer_epoch(run->trainer) < run->epochs &&
           (!reached_max_steps(run) || vitro_trainer_batch(run->trainer) > 0)) {
        int status = CLI_OK;
        if (!any && run->begins_over)
            status = states_supersede(run->output_dir, vitro_trainer_steps(run->trainer));
        any = true;
        if (!status)
            status = run_epoch(run);
        if (status)
            return status;
    }
    if (!any)
        cli_note("nothing is left to do: %" PRIu32 " epochs and %" PRId64 " steps are done",
                 vitro_trainer_epoch(run->trainer), vitro_trainer_steps(run->trainer));
    tell_best(run);
    return CLI_OK;
}
