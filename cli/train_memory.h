/* SPDX-License-Identifier: Apache-2.0 */
/* What `vitro train` is going to take of the memory, told and held against what there is before
 * any of it is taken. */
#ifndef VITRO_CLI_TRAIN_MEMORY_H
#define VITRO_CLI_TRAIN_MEMORY_H

#include "cli.h"

typedef struct TrainMemory {
    const VitroConfig *config;
    VitroDevice *dev;
    VitroPrecision precision;
    const VitroDataset *train_set, *val_set;
    VitroTrainOptions options; /* with the batch size that was asked for */
    VitroLoaderOptions loader; /* of both sets, but for the batch size */
} TrainMemory;

/* One line on stderr. Fails where the memory does not suffice, and says what would fit; where the
 * system does not tell what it has, nothing is refused. On a GPU, whose memory is its own, a batch
 * that does not fit is split instead: then *batch_size and *accumulate change, and a line says so.
 */
int train_memory_check(const TrainMemory *m, int64_t *batch_size, int *accumulate);

#endif
