/* SPDX-License-Identifier: Apache-2.0 */
/* What a training run writes down while it runs: TensorBoard events and JSON lines. */
#ifndef VITRO_CLI_TRAIN_LOG_H
#define VITRO_CLI_TRAIN_LOG_H

#include "cli.h"

#include <stdio.h>

typedef struct TrainLog {
    VitroTensorboard *events;
    FILE *jsonl; /* NULL: not wanted */
    const char *jsonl_path;
} TrainLog;

/* One optimizer step: the batches of its group. */
typedef struct StepRecord {
    int64_t epoch, step; /* step: optimizer steps before this one, over all epochs */
    double loss, lr;     /* loss: mean of the batches' means */
    int64_t correct, images;
} StepRecord;

typedef struct EpochRecord {
    int64_t epoch;
    double train_loss, train_acc;
    bool has_val;
    double val_loss, val_acc;
    double learning_rate; /* after the scheduler's step, as the original logs it */
} EpochRecord;

/* Makes the folder `log_dir` and, where `jsonl_path` is not NULL, that file anew. */
int train_log_open(TrainLog *log, const char *log_dir, const char *jsonl_path);
int train_log_step(TrainLog *log, const StepRecord *r);
int train_log_epoch(TrainLog *log, const EpochRecord *r);
/* `status` is what the run has come to; returns it, or the failure to close. */
int train_log_close(TrainLog *log, int status);

#endif
