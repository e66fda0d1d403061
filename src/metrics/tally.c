/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics/tally.h"

#include "base/alloc.h"
#include "metrics/topk.h"

#include <inttypes.h>
#include <math.h>

VitroStatus vitro_tally_init(VitroTally *t, int64_t class_count, bool confusion)
{
    if (class_count < 1 || class_count > INT32_MAX)
        return vitro_fail(VITRO_E_ARG, "%" PRId64 " classes: 1 to %d are possible", class_count,
                          INT32_MAX);
    *t = (VitroTally){.class_count = class_count};
    if (!confusion)
        return VITRO_OK;
    t->confusion = vitro_calloc((size_t)(class_count * class_count), sizeof(*t->confusion));
    return t->confusion ? VITRO_OK : VITRO_NOMEM;
}

void vitro_tally_deinit(VitroTally *t)
{
    vitro_free(t->confusion);
    *t = (VitroTally){0};
}

VitroStatus vitro_tally_add(VitroTally *t, const float *logits, const int32_t *labels,
                            int64_t count)
{
    int64_t k = t->class_count;
    for (int64_t i = 0; i < count; i++)
        if (labels[i] < 0 || labels[i] >= k)
            return vitro_fail(VITRO_E_ARG, "label %" PRId32 ": the model has classes 0 to %" PRId64,
                              labels[i], k - 1);
    double loss = 0;
    for (int64_t i = 0; i < count; i++) {
        const float *row = logits + i * k;
        int64_t rank = vitro_rank_of(row, k, labels[i]);
        loss += vitro_cross_entropy(row, k, labels[i]);
        t->top1 += rank < 1;
        t->top5 += rank < 5;
        if (t->confusion)
            t->confusion[labels[i] * k + vitro_argmax(row, k)]++;
    }
    t->loss_sum += loss / (double)count;
    t->images += count;
    t->batches++;
    return VITRO_OK;
}

static double ratio(double a, int64_t b)
{
    return b ? a / (double)b : 0;
}

double vitro_tally_loss(const VitroTally *t)
{
    return ratio(t->loss_sum, t->batches);
}

double vitro_tally_top1(const VitroTally *t)
{
    return ratio((double)t->top1, t->images);
}

double vitro_tally_top5(const VitroTally *t)
{
    return ratio((double)t->top5, t->images);
}

double vitro_cross_entropy(const float *logits, int64_t n, int64_t label)
{
    double largest = logits[vitro_argmax(logits, n)], sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += exp(logits[i] - largest); /* inf - inf is NaN, as in PyTorch */
    return log(sum) + largest - logits[label];
}
