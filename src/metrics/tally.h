/* SPDX-License-Identifier: Apache-2.0 */
/* What an epoch adds up to: losses, hits and the confusion matrix. */
#ifndef VITRO_METRICS_TALLY_H
#define VITRO_METRICS_TALLY_H

#include "base/status.h"

typedef struct VitroTally {
    int64_t class_count;
    int64_t *confusion; /* [class_count,class_count]: row = label, column = prediction; owned; or
                         * NULL: not counted */
    double loss_sum;    /* of the batches' mean losses */
    int64_t batches, images, top1, top5;
} VitroTally;

VitroStatus vitro_tally_init(VitroTally *t, int64_t class_count, bool confusion); /* count >= 1 */
void vitro_tally_deinit(VitroTally *t);

/* Adds a batch of `count` >= 1 images: logits [count,class_count], labels [count], each
 * 0 <= label < class_count (VITRO_E_ARG otherwise; then nothing of this batch was counted). */
VitroStatus vitro_tally_add(VitroTally *t, const float *logits, const int32_t *labels,
                            int64_t count);

/* All 0 before the first batch. */
double vitro_tally_loss(const VitroTally *t); /* mean of the batches' means, as the original's */
double vitro_tally_top1(const VitroTally *t); /* share of the images, [0,1] */
double vitro_tally_top5(const VitroTally *t); /* the label is among the first min(5,class_count) */

/* -log softmax(logits)[label] of n logits, in double precision. */
double vitro_cross_entropy(const float *logits, int64_t n, int64_t label);

#endif
