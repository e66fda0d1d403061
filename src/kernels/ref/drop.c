/* SPDX-License-Identifier: Apache-2.0 */
/* Dropout (Srivastava et al. 2014) as torch.nn.functional.dropout scales it, drawn by counter: see
 * VitroDropout. */
#include "base/rng.h"
#include "kernels/ref/ref.h"

double vitro_ref_drop(const VitroDropout *d, int64_t b, int64_t e)
{
    if (!vitro_dropout_on(d))
        return 1;
    const VitroDropState *s = d->state;
    uint64_t key = s->seed + VITRO_RNG_DROPOUT * 0x9E3779B97F4A7C15u;
    uint32_t counter[4] = {(uint32_t)(e / 4), s->sample0 + (uint32_t)b, d->site, s->step};
    uint32_t word[4];
    vitro_philox(word, counter, key);
    double u = (word[e % 4] >> 8) * 0x1p-24;
    return u >= d->ratio ? 1 / (1 - d->ratio) : 0;
}
