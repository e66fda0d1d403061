/* SPDX-License-Identifier: Apache-2.0 */
/* curves.png beside the checkpoints: loss, accuracy and learning rate of the epochs so far. */
#ifndef VITRO_CLI_TRAIN_CURVES_H
#define VITRO_CLI_TRAIN_CURVES_H

#include "train_log.h"

typedef struct TrainCurves {
    VitroPlotEpoch *epochs; /* [count] */
    int64_t count, room;
} TrainCurves; /* zeroed at first */

void train_curves_append(TrainCurves *c, const VitroPlotEpoch *epoch);
/* Draws `output_dir`/curves.png anew, whole or not at all. A picture is not worth a run: where it
 * cannot be written, a line on stderr says so. */
void train_curves_draw(const TrainCurves *c, const char *output_dir);
/* Adds an epoch, and draws. */
void train_curves_add(TrainCurves *c, const EpochRecord *r, const char *output_dir);
void train_curves_deinit(TrainCurves *c);

#endif
