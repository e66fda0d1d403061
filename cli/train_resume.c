/* SPDX-License-Identifier: Apache-2.0 */
#include "train_resume.h"

#include "states.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers of a note ------------------------------------------------------------------------
 */

/* The next number of *text, which moves behind it. */
static bool take_int(const char **text, int64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoll(*text, &end, 10);
    bool good = end != *text && !errno;
    *text = end;
    return good;
}

static bool take_real(const char **text, double *out)
{
    char *end;
    *out = strtod(*text, &end);
    bool good = end != *text;
    *text = end;
    return good;
}

/* ---- settings ---------------------------------------------------------------------------------
 */

#define OPTION "option."

/* The options that a state holds; docs/CLI.md says why each is fixed or not. What the weights
 * themselves show (the geometry, the transform) is checked against the state's card. */
static const struct {
    const char *key; /* OPTION and the name */
    bool fixed;      /* a run cannot go on with another value */
} settings[] = {
    {OPTION "augment", false},
    {OPTION "shuffle", true},
    {OPTION "epochs", false},
    {OPTION "batch-size", true},
    {OPTION "accumulate", true},
    {OPTION "lr", false},
    {OPTION "lrf", false},
    {OPTION "warmup-epochs", false},
    {OPTION "optimizer", true},
    {OPTION "momentum", false},
    {OPTION "weight-decay", false},
    {OPTION "betas", false},
    {OPTION "adam-eps", false},
    {OPTION "clip-grad", false},
    {OPTION "label-smoothing", false},
    {OPTION "freeze-layers", true},
    {OPTION "recompute", false},
    {OPTION "checkpoint-format", false},
    {OPTION "save-every", false},
    {OPTION "keep", false},
    {OPTION "drop-ratio", false},
    {OPTION "attn-drop-ratio", false},
    {OPTION "drop-path-ratio", false},
    {OPTION "precision", false},
    {OPTION "seed", true},
    {OPTION "skip-bad", false},
};

int train_resume_options(Args *args, const VitroTrainState *s)
{
    for (int i = 0; i < ARG_COUNT(settings); i++) {
        const char *name = settings[i].key + strlen(OPTION);
        const char *then = vitro_train_state_note(s, settings[i].key);
        if (!then)
            continue;
        if (!args_given(args, name)) {
            if (!args_set(args, name, then))
                return cli_fail("option --resume: the state's %s is '%s', which is no value of "
                                "--%s",
                                name, then, name);
            continue;
        }
        char *now = args_text(args, name);
        bool same = strcmp(now, then) == 0;
        if (!same && !settings[i].fixed)
            cli_note("option --%s: %s so far, %s from here on", name, then, now);
        int status = CLI_OK;
        if (!same && settings[i].fixed)
            status = cli_fail("option --%s: found %s, the run to go on with has %s, which cannot "
                              "change on the way",
                              name, now, then);
        free(now);
        if (status)
            return status;
    }
    return CLI_OK;
}

/* ---- data -------------------------------------------------------------------------------------
 */

static const struct {
    const char *key, *what;
} splits[] = {{"data.train", "training"}, {"data.val", "validation"}};

/* "<fingerprint> <images> <classes>"; free it. */
static char *describe_set(const VitroDataset *ds)
{
    char print[VITRO_FINGERPRINT_BYTES];
    if (vitro_dataset_fingerprint(ds, print)) {
        cli_fail_lib();
        return NULL;
    }
    return cli_format("%s %" PRId64 " %" PRId64, print, vitro_dataset_count(ds),
                      vitro_dataset_class_count(ds));
}

static int check_set(const VitroTrainState *s, int split, const VitroDataset *ds)
{
    const char *then = vitro_train_state_note(s, splits[split].key);
    char *now = describe_set(ds);
    if (!now)
        return CLI_FAILED;
    bool same = !then || strcmp(now, then) == 0;
    free(now);
    if (same)
        return CLI_OK;
    int64_t images = -1, classes = -1;
    const char *counts = then + strcspn(then, " ");
    if (!take_int(&counts, &images) || !take_int(&counts, &classes))
        return cli_fail("option --resume: the state's %s cannot be read", splits[split].key);
    int64_t found = vitro_dataset_count(ds), found_classes = vitro_dataset_class_count(ds);
    if (images != found || classes != found_classes)
        return cli_fail("option --data-path: found %" PRId64 " %s images of %" PRId64
                        " classes, the run to go on with has %" PRId64 " of %" PRId64,
                        found, splits[split].what, found_classes, images, classes);
    return cli_fail("option --data-path: the %s images are as many as those of the run to go on "
                    "with, but not the same: other names, labels or pixels",
                    splits[split].what);
}

int train_resume_check_data(const VitroTrainState *s, const VitroDataset *train_set,
                            const VitroDataset *val_set)
{
    int status = check_set(s, 0, train_set);
    return status ? status : check_set(s, 1, val_set);
}

static void add_note(TrainNotes *n, const char *key, char *value)
{
    n->note[n->count++] = (VitroNote){key, value};
}

int train_notes_make(TrainNotes *n, const Args *args, const VitroDataset *train_set,
                     const VitroDataset *val_set)
{
    const VitroDataset *sets[] = {train_set, val_set};
    for (int i = 0; i < ARG_COUNT(settings); i++)
        add_note(n, settings[i].key, args_text(args, settings[i].key + strlen(OPTION)));
    for (int split = 0; split < ARG_COUNT(splits); split++) {
        char *text = describe_set(sets[split]);
        if (!text)
            return CLI_FAILED;
        add_note(n, splits[split].key, text);
    }
    return CLI_OK;
}

void train_notes_deinit(TrainNotes *n)
{
    for (int i = 0; i < n->count; i++)
        free((void *)n->note[i].value);
    n->count = 0;
}

/* ---- the run's own numbers --------------------------------------------------------------------
 */

static const char sums_key[] = "run.sums", epochs_key[] = "run.epochs", mark_key[] = "run.metrics";

/* A line per epoch; free it. */
static char *print_epochs(const TrainCurves *c)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    for (int64_t i = 0; f && i < c->count; i++) {
        const VitroPlotEpoch *e = &c->epochs[i];
        fprintf(f, "%" PRId64 " %.17g %.17g %.17g %.17g %.17g\n", e->epoch, e->train_loss,
                e->train_accuracy, e->val_loss, e->val_accuracy, e->learning_rate);
    }
    bool bad = !f || ferror(f);
    if ((f && fclose(f)) || bad || !text) /* glibc's fclose is content without the text */
        exit(cli_fail("out of memory for the epochs so far"));
    return text;
}

static int read_epochs(TrainCurves *c, const char *text)
{
    for (int64_t epoch = 0; text && *text; epoch++) {
        VitroPlotEpoch e;
        bool good = take_int(&text, &e.epoch) && e.epoch == epoch &&
                    take_real(&text, &e.train_loss) && take_real(&text, &e.train_accuracy) &&
                    take_real(&text, &e.val_loss) && take_real(&text, &e.val_accuracy) &&
                    take_real(&text, &e.learning_rate);
        if (!good || *text != '\n')
            return cli_fail("option --resume: the state's %s cannot be read", epochs_key);
        train_curves_append(c, &e);
        text++;
    }
    return CLI_OK;
}

static bool is_saved(const TrainRun *run)
{
    const TrainPlace *p = &run->saved;
    return p->known && p->epoch == vitro_trainer_epoch(run->trainer) &&
           p->batch == vitro_trainer_batch(run->trainer) &&
           p->steps == vitro_trainer_steps(run->trainer);
}

static void note_place(TrainRun *run)
{
    run->saved = (TrainPlace){true, vitro_trainer_epoch(run->trainer),
                              vitro_trainer_batch(run->trainer), vitro_trainer_steps(run->trainer)};
}

static int write_state(const TrainRun *run, const char *path)
{
    VitroNote notes[TRAIN_NOTES_MAX + 3];
    int count = run->notes->count;
    const TrainSums *sums = &run->sums;
    memcpy(notes, run->notes->note, (size_t)count * sizeof(*notes));
    char *all_sums = cli_format("%.17g %" PRId64 " %" PRId64 " %" PRId64, sums->loss, sums->batches,
                                sums->correct, sums->images);
    char *epochs = print_epochs(&run->curves);
    char *mark =
        cli_format("%" PRId64 " %016" PRIx64, run->log.mark.bytes, (uint64_t)run->log.mark.sum);
    notes[count++] = (VitroNote){sums_key, all_sums};
    notes[count++] = (VitroNote){epochs_key, epochs};
    if (run->log.jsonl >= 0)
        notes[count++] = (VitroNote){mark_key, mark};
    VitroStatus st = vitro_trainer_save_state(run->trainer, path, &run->card, notes, count);
    free(all_sums);
    free(epochs);
    free(mark);
    return st ? cli_fail_lib() : CLI_OK;
}

int train_states_kept(const TrainRun *run)
{
    return run->keep > 2 ? run->keep : 2; /* should the latest be damaged, there is another */
}

int train_state_save(TrainRun *run, bool stopped)
{
    if (is_saved(run))
        return CLI_OK;
    int64_t steps = vitro_trainer_steps(run->trainer);
    char *path = states_path(run->output_dir, steps, stopped);
    int status = train_log_sync(&run->log);
    if (!status)
        status = write_state(run, path);
    if (!status) {
        states_prune(run->output_dir, steps, path, train_states_kept(run));
        note_place(run);
    }
    free(path);
    return status;
}

int train_state_load(TrainRun *run, const VitroTrainState *s)
{
    TrainSums *sums = &run->sums;
    const char *text = vitro_train_state_note(s, sums_key);
    if (vitro_trainer_load_state(run->trainer, s))
        return cli_fail_lib();
    if (!text || !take_real(&text, &sums->loss) || !take_int(&text, &sums->batches) ||
        !take_int(&text, &sums->correct) || !take_int(&text, &sums->images))
        return cli_fail("option --resume: the state's %s cannot be read", sums_key);
    note_place(run);
    return read_epochs(&run->curves, vitro_train_state_note(s, epochs_key));
}

bool train_state_mark(TrainLogMark *mark, const VitroTrainState *s)
{
    const char *text = vitro_train_state_note(s, mark_key);
    if (!text || !take_int(&text, &mark->bytes) || *text != ' ')
        return false;
    char *end;
    mark->sum = strtoull(text + 1, &end, 16);
    return !*end;
}
