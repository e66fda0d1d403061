/* SPDX-License-Identifier: Apache-2.0 */
/* The learning rate: LambdaLR with the original's cosine per epoch, after a linear warm-up per
 * step. A closed form of (epoch, step): nothing to save, nothing that drifts. */
#ifndef VITRO_TRAIN_SCHEDULE_H
#define VITRO_TRAIN_SCHEDULE_H

#include <stdint.h>

typedef struct VitroSchedule {
    double lr;            /* of epoch 0 */
    double lrf;           /* last / first */
    int epochs;           /* >= 1: the cosine's half period */
    int64_t warmup_steps; /* optimizer steps; 0: none */
} VitroSchedule;

/* lr * lf(epoch), lf(x) = (1 + cos(x pi / epochs)) / 2 * (1 - lrf) + lrf, in Python's order of
 * operations, so that the doubles are PyTorch's. */
double vitro_schedule_epoch_lr(const VitroSchedule *s, int64_t epoch);

/* Of optimizer step `step` (counted over all epochs), which lies in `epoch`: during the warm-up a
 * line from 0.01 lr at step 0 to lr at warmup_steps, then the epoch's. */
double vitro_schedule_step_lr(const VitroSchedule *s, int64_t epoch, int64_t step);

#endif
