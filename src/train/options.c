/* SPDX-License-Identifier: Apache-2.0 */
#include "train/options.h"

#include "base/status.h"

#include <inttypes.h>
#include <math.h>

VitroTrainOptions vitro_train_options_default(void)
{
    return (VitroTrainOptions){.optimizer = VITRO_SGD,
                               .lr = 0.001,
                               .lrf = 0.01,
                               .momentum = 0.9,
                               .weight_decay = 5e-5,
                               .beta1 = 0.9,
                               .beta2 = 0.999,
                               .adam_eps = 1e-8,
                               .accumulate = 1,
                               .epochs = 20,
                               .batch_size = 64};
}

VitroMode vitro_train_mode(const VitroTrainOptions *o)
{
    return o->freeze      ? VITRO_MODE_TRAIN_HEAD
           : o->recompute ? VITRO_MODE_TRAIN_RECOMPUTE
                          : VITRO_MODE_TRAIN;
}

bool vitro_train_by_parts(const VitroTrainOptions *o)
{
    return vitro_train_mode(o) == VITRO_MODE_TRAIN_RECOMPUTE && o->accumulate == 1 &&
           o->clip_grad == 0;
}

int64_t vitro_train_grad_count(const VitroTrainOptions *o, const VitroParams *p)
{
    if (!vitro_train_by_parts(o))
        return vitro_params_flat_count(p, o->freeze ? p->head_first : 0);
    int64_t largest = 0;
    for (int part = 0; part <= p->depth + 1; part++) {
        int64_t n = vitro_params_range_count(p, vitro_params_part(p, part));
        largest = n > largest ? n : largest;
    }
    return largest;
}

typedef struct Range {
    const char *name;
    double value, low, high;
    bool below; /* `high` itself is out of range */
} Range;

static VitroStatus check_range(const Range *r)
{
    bool inside = r->value >= r->low && (r->below ? r->value < r->high : r->value <= r->high);
    if (inside && isfinite(r->value)) /* a NaN is never inside */
        return VITRO_OK;
    if (isinf(r->high))
        return vitro_fail(VITRO_E_ARG, "%s: %g, at least %g and finite was expected", r->name,
                          r->value, r->low);
    return vitro_fail(VITRO_E_ARG, "%s: %g is not in [%g, %g%s", r->name, r->value, r->low, r->high,
                      r->below ? ")" : "]");
}

static VitroStatus check_at_least_1(const char *name, int64_t value)
{
    return value >= 1
               ? VITRO_OK
               : vitro_fail(VITRO_E_ARG, "%s: %" PRId64 ", at least 1 was expected", name, value);
}

VitroStatus vitro_train_options_validate(const VitroTrainOptions *o)
{
    if (o->optimizer != VITRO_SGD && o->optimizer != VITRO_ADAMW)
        return vitro_fail(VITRO_E_ARG, "optimizer: there is no number %d", (int)o->optimizer);
    const Range ranges[] = {
        {"lr", o->lr, 0, INFINITY, false},
        {"lrf", o->lrf, 0, INFINITY, false},
        {"momentum", o->momentum, 0, 1, true},
        {"weight_decay", o->weight_decay, 0, INFINITY, false},
        {"beta1", o->beta1, 0, 1, true},
        {"beta2", o->beta2, 0, 1, true},
        {"adam_eps", o->adam_eps, 0, INFINITY, false},
        {"warmup_epochs", o->warmup_epochs, 0, 1e6, false},
        {"clip_grad", o->clip_grad, 0, INFINITY, false},
        {"label_smoothing", o->label_smoothing, 0, 1, true},
    };
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
        VITRO_TRY(check_range(&ranges[i]));
    VITRO_TRY(check_at_least_1("accumulate", o->accumulate));
    VITRO_TRY(check_at_least_1("epochs", o->epochs));
    return check_at_least_1("batch_size", o->batch_size);
}
