/* SPDX-License-Identifier: Apache-2.0 */
/* One pass over labelled pictures without learning from them. */
#include "base/alloc.h"
#include "metrics/tally.h"
#include "model/model.h"
#include "vitro/train.h"

#include <inttypes.h>
#include <time.h>

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static VitroStatus run_epoch(VitroTally *tally, float *logits, VitroPredictor *p,
                             VitroLoader *loader, VitroProgressFn progress, void *user)
{
    int64_t batches = vitro_loader_batches(loader);
    VITRO_TRY(vitro_loader_start(loader, 0, 0));
    for (;;) {
        VitroBatch batch;
        VITRO_TRY(vitro_loader_next(loader, &batch));
        if (batch.count == 0)
            return VITRO_OK;
        VITRO_TRY(vitro_predictor_run(p, batch.images, batch.count, logits));
        VITRO_TRY(vitro_tally_add(tally, logits, batch.labels, batch.count));
        if (progress && !progress(user, tally->batches, batches, vitro_tally_loss(tally),
                                  vitro_tally_top1(tally), tally->images))
            return vitro_fail(VITRO_E_CANCELLED, "the evaluation was stopped after batch %" PRId64,
                              tally->batches);
    }
}

VitroStatus vitro_evaluate(VitroPredictor *p, VitroLoader *loader, VitroEvalResult *result,
                           bool confusion, VitroProgressFn progress, void *user)
{
    const VitroConfig *cfg = vitro_model_config(p->model);
    if (cfg->num_classes < 1)
        return vitro_fail(VITRO_E_ARG, "the model has no head (num_classes is 0): it gives "
                                       "features, which no label can be compared with");
    VitroTally tally = {0};
    VitroStatus st = VITRO_OK;
    double start = seconds_now();
    float *logits =
        vitro_calloc((size_t)p->acts->max_batch * (size_t)cfg->num_classes, sizeof(*logits));
    if (!logits)
        return VITRO_NOMEM;
    VITRO_GOTO(vitro_tally_init(&tally, cfg->num_classes, confusion));
    VITRO_GOTO(run_epoch(&tally, logits, p, loader, progress, user));
    *result = (VitroEvalResult){.loss = vitro_tally_loss(&tally),
                                .top1 = vitro_tally_top1(&tally),
                                .top5 = vitro_tally_top5(&tally),
                                .images = tally.images,
                                .seconds = seconds_now() - start,
                                .class_count = tally.class_count,
                                .confusion = tally.confusion};
    tally.confusion = NULL; /* the result's now */
done:
    vitro_tally_deinit(&tally);
    vitro_free(logits);
    return st;
}

void vitro_eval_result_deinit(VitroEvalResult *r)
{
    vitro_free(r->confusion);
    *r = (VitroEvalResult){0};
}
