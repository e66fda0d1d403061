/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of `vitro train`: epochs of training, validation, logs and checkpoints. Everything is
 * opened by cmd_train.c; here it runs. */
#ifndef VITRO_CLI_TRAIN_RUN_H
#define VITRO_CLI_TRAIN_RUN_H

#include "train_curves.h"
#include "train_log.h"

typedef struct TrainRun {
    VitroTrainer *trainer;
    VitroModel *model;
    VitroLoader *train;
    VitroLoader *val;          /* NULL: no validation */
    VitroPredictor *predictor; /* of the same model; NULL: no validation */
    TrainLog log;
    TrainCurves curves;
    VitroCard card; /* what each checkpoint says of itself */
    int epochs;
    int64_t max_steps; /* optimizer steps over all epochs; 0: no limit */
    const char *output_dir;
    VitroCheckpointFormat format;
} TrainRun;

/* Runs all epochs. All members are borrowed. */
int train_run(TrainRun *run);

#endif
