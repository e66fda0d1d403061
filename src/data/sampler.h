/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which an epoch visits the pictures. */
#ifndef VITRO_DATA_SAMPLER_H
#define VITRO_DATA_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

/* Fills order [count] with 0..count-1: ascending, or where `shuffle` in an order that is a function
 * of (seed, epoch) alone. */
void vitro_sampler_order(uint32_t *order, uint32_t count, bool shuffle, uint64_t seed,
                         uint32_t epoch);

#endif
