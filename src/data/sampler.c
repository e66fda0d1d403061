/* SPDX-License-Identifier: Apache-2.0 */
#include "data/sampler.h"

#include "base/rng.h"

void vitro_sampler_order(uint32_t *order, uint32_t count, bool shuffle, uint64_t seed,
                         uint32_t epoch)
{
    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    if (!shuffle)
        return;
    /* Fisher and Yates, from the end: every order is equally likely. */
    VitroRng rng = vitro_rng(seed, VITRO_RNG_SHUFFLE, epoch, 0);
    for (uint32_t left = count; left > 1; left--) {
        uint32_t j = vitro_rng_below(&rng, left);
        uint32_t picked = order[j];
        order[j] = order[left - 1];
        order[left - 1] = picked;
    }
}
