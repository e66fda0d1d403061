/* SPDX-License-Identifier: Apache-2.0 */
/* What a training run writes down while it runs: TensorBoard events and JSON lines. Both grow line
 * by line; a line is in its file when the step is over. */
#ifndef VITRO_CLI_TRAIN_LOG_H
#define VITRO_CLI_TRAIN_LOG_H

#include "cli.h"

/* How far the JSON lines have come: a run that goes on cuts its file to this. */
typedef struct TrainLogMark {
    int64_t bytes;
    uint64_t sum; /* FNV-1a of these bytes */
} TrainLogMark;

typedef struct TrainLog {
    VitroTensorboard *events;
    int jsonl; /* -1: not wanted */
    const char *jsonl_path;
    bool regular; /* a file, which can be cut; no pipe or device */
    TrainLogMark mark;
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

/* A log that is not open. */
#define TRAIN_LOG_CLOSED ((TrainLog){.jsonl = -1})

/* Makes the folder `log_dir` with a new event file in it and, where `jsonl_path` is not NULL, that
 * file anew. */
int train_log_open(TrainLog *log, const char *log_dir, const char *jsonl_path);
/* The same for a run that goes on in `epoch`: what the events of earlier files say of it and of
 * later ones counts no more, and the JSON lines go on behind the mark (NULL: the state has none).
 * Fails where the file does not begin as the mark says. */
int train_log_reopen(TrainLog *log, const char *log_dir, const char *jsonl_path,
                     const TrainLogMark *mark, int64_t epoch);
int train_log_step(TrainLog *log, const StepRecord *r);
int train_log_epoch(TrainLog *log, const EpochRecord *r);
/* The JSON lines are on the disk: before a state that counts on them. */
int train_log_sync(const TrainLog *log);
/* `status` is what the run has come to; returns it, or the failure to close. */
int train_log_close(TrainLog *log, int status);

#endif
