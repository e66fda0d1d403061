/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics/topk.h"

#include <math.h>

/* The order of both functions: larger first, NaN before all, then the smaller index. */
static int stands_before(const float *scores, int64_t a, int64_t b)
{
    float x = scores[a], y = scores[b];
    if (isnan(x) || isnan(y))
        return isnan(x) && (!isnan(y) || a < b);
    return x > y || (x == y && a < b);
}

int64_t vitro_argmax(const float *scores, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (stands_before(scores, i, best))
            best = i;
    return best;
}

int64_t vitro_rank_of(const float *scores, int64_t n, int64_t i)
{
    int64_t rank = 0;
    for (int64_t k = 0; k < n; k++)
        rank += stands_before(scores, k, i);
    return rank;
}
