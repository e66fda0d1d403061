/* SPDX-License-Identifier: Apache-2.0 */
/* What a trainer holds. What the next step depends on, beside the model and the options, is written
 * down by state.c: a new member of that kind belongs there too. */
#ifndef VITRO_TRAIN_TRAINER_H
#define VITRO_TRAIN_TRAINER_H

#include "model/model.h"
#include "train/optim.h"
#include "train/schedule.h"

/* The batches whose gradients make one update. Each one's mean loss counts the same, as in the
 * usual PyTorch loop with loss / accumulate, where `size` is the number that the group really has:
 * an epoch's last group may be smaller. */
typedef struct VitroStepGroup {
    int64_t first, size;
} VitroStepGroup;

struct VitroTrainer {
    VitroModel *model; /* borrowed */
    VitroDevice *dev;  /* the model's */
    VitroTrainOptions options;
    VitroSchedule schedule;
    VitroMode mode;

    int64_t first_param;   /* of the trained suffix */
    VitroTensor param;     /* [n] the suffix in the model's flat range */
    bool by_parts;         /* a part's gradients are used up before the next part's are made */
    VitroTensor grad_flat; /* [n] its gradients, by_parts [largest part]; owned */
    VitroParams grad;      /* the same, as the layers see them */
    VitroOptim optim;

    VitroActs *acts;
    VitroDropState drop; /* the host's copy of what acts->drop is set to */
    bool knows_inputs;   /* the layers in acts know theirs: forward was called as acts lies now */
    int32_t *labels;     /* [batch_size] in device memory, as the next two, which are one block */
    double *losses;
    int32_t *best;
    double *host_losses; /* [batch_size], and host_best behind it */
    int32_t *host_best;

    int64_t batches_per_epoch;
    int64_t batch;        /* number of the next one in the epoch */
    uint32_t epoch;       /* number of the one under way */
    VitroStepGroup group; /* the batch's */
};

#endif
