/* SPDX-License-Identifier: Apache-2.0 */
/* CPython's random.seed(int) and random.sample, so that a folder without train/ and val/ is split
 * exactly as the original's ancestor splits it (random.seed(0), then one sample per class). */
#ifndef VITRO_DATA_SPLIT_H
#define VITRO_DATA_SPLIT_H

#include "base/status.h"

/* The Mersenne Twister MT19937 (Matsumoto and Nishimura, 1998). */
typedef struct VitroMt19937 {
    uint32_t state[624];
    int next; /* words of `state` already given out; 624: none left */
} VitroMt19937;

/* random.seed(seed) for 0 <= seed < 2^32. */
void vitro_mt_seed(VitroMt19937 *mt, uint32_t seed);
uint32_t vitro_mt_u32(VitroMt19937 *mt);
/* random.randrange(n), n >= 1. */
uint32_t vitro_mt_below(VitroMt19937 *mt, uint32_t n);

/* Sets chosen[i] for each i that random.sample(range(n), k) picks, 0 <= k <= n, and clears the
 * others. chosen: [n]. Draws exactly the numbers that CPython 3.9 to 3.13 draw.
 * Errors: VITRO_E_NOMEM. */
VitroStatus vitro_mt_sample(VitroMt19937 *mt, bool *chosen, uint32_t n, uint32_t k);

/* int(n * 0.2), in the same double arithmetic: how many of a class's n pictures validate. */
uint32_t vitro_split_val_count(uint32_t n);

#endif
