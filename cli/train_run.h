/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of `vitro train`: epochs of training, validation, logs, checkpoints and states.
 * Everything is opened by cmd_train.c; here it runs. */
#ifndef VITRO_CLI_TRAIN_RUN_H
#define VITRO_CLI_TRAIN_RUN_H

#include "train_curves.h"
#include "train_log.h"

/* Of the batches of the epoch under way. */
typedef struct TrainSums {
    double loss; /* of the batches' means */
    int64_t batches, correct, images;
} TrainSums;

/* A place in the run. */
typedef struct TrainPlace {
    bool known;
    uint32_t epoch;
    int64_t batch, steps;
} TrainPlace;

typedef struct TrainRun {
    VitroTrainer *trainer;
    VitroModel *model;
    VitroLoader *train;
    VitroLoader *val;          /* NULL: no validation */
    VitroPredictor *predictor; /* of the same model; NULL: no validation */
    TrainLog log;
    TrainCurves curves;             /* the epochs so far */
    VitroCard card;                 /* what each checkpoint says of itself */
    const struct TrainNotes *notes; /* what each state says of the run (train_resume.h) */
    int epochs;
    int64_t max_steps;  /* optimizer steps over all epochs; 0: no limit */
    int64_t save_every; /* steps from state to state; 0: at epochs' ends only */
    int keep;           /* checkpoints beside the best; 0: all */
    const char *output_dir;
    VitroCheckpointFormat format;
    const char *state_path; /* of the state that it goes on from; NULL: none */
    bool begins_over;       /* later states in the folder are another run's */
    TrainSums sums;
    TrainPlace saved; /* of the last state saved or loaded */
} TrainRun;

/* Runs from where the trainer is to the end; all members are borrowed. A signal that stop.h notes
 * ends it between two steps, with a state saved and status 128 + its number. */
int train_run(TrainRun *run);

#endif
