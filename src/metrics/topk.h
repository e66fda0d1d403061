/* SPDX-License-Identifier: Apache-2.0 */
/* Where a class stands among a row of scores. */
#ifndef VITRO_METRICS_TOPK_H
#define VITRO_METRICS_TOPK_H

#include <stdint.h>

/* The first index of the largest of n >= 1 scores; a NaN counts as the largest, as in torch.max. */
int64_t vitro_argmax(const float *scores, int64_t n);

/* How many of the n scores stand before scores[i]: 0 for the one that vitro_argmax finds. Equal
 * scores stand in the order of their indices; a NaN among the scores stands before all numbers. */
int64_t vitro_rank_of(const float *scores, int64_t n, int64_t i);

#endif
