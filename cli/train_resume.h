/* SPDX-License-Identifier: Apache-2.0 */
/* What a training state says of the run that it is of, as notes in its file: the options that
 * decide the numbers, the data, and how far sums and logs have come. A state does not say where
 * files lie or how many threads worked: equal runs give equal states. */
#ifndef VITRO_CLI_TRAIN_RESUME_H
#define VITRO_CLI_TRAIN_RESUME_H

#include "args.h"
#include "train_run.h"

/* ---- settings and data ------------------------------------------------------------------------
 */

/* Options that the command line does not state become the state's, as if they were given. Those
 * that it states otherwise are told, or refused where the run could not go on with them. */
int train_resume_options(Args *args, const VitroTrainState *s);

/* Both sets are those that the run began with: as many pictures of the same names and labels. */
int train_resume_check_data(const VitroTrainState *s, const VitroDataset *train_set,
                            const VitroDataset *val_set);

#define TRAIN_NOTES_MAX 64
typedef struct TrainNotes {
    VitroNote note[TRAIN_NOTES_MAX]; /* keys are static, values owned */
    int count;
} TrainNotes; /* zeroed at first */

/* The notes of a run, from its options as they are in force and its data. */
int train_notes_make(TrainNotes *n, const Args *args, const VitroDataset *train_set,
                     const VitroDataset *val_set);
void train_notes_deinit(TrainNotes *n);

/* ---- the run's own numbers --------------------------------------------------------------------
 */

/* How many states that any run saves stay in the folder. */
int train_states_kept(const TrainRun *run);

/* Saves where the run is, unless that is done; see states.h for the file's name. */
int train_state_save(TrainRun *run, bool stopped);

/* Trainer, sums, epochs so far. */
int train_state_load(TrainRun *run, const VitroTrainState *s);
/* Where the JSON lines end; false: that run wrote none. */
bool train_state_mark(TrainLogMark *mark, const VitroTrainState *s);

#endif
