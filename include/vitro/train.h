/* SPDX-License-Identifier: Apache-2.0 */
/* Training: optimizer, schedule, the step, the epoch loop, evaluation. */
#ifndef VITRO_TRAIN_H
#define VITRO_TRAIN_H

#include "vitro/data.h"
#include "vitro/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum VitroOptimizer { VITRO_SGD = 0, VITRO_ADAMW = 1 } VitroOptimizer;

typedef struct VitroTrainOptions {
    VitroOptimizer optimizer; /* default SGD, PyTorch's form, weight decay on every parameter */
    double lr;                /* 0.001 */
    double lrf;               /* 0.01: last learning rate / first, cosine LambdaLR per epoch */
    double momentum;          /* 0.9, SGD */
    double weight_decay;      /* 5e-5 */
    double beta1, beta2;      /* 0.9, 0.999, AdamW */
    double adam_eps;          /* 1e-8 */
    double warmup_epochs;     /* 0; linear from 0.01*lr, per step, then the cosine of the epoch */
    double clip_grad;         /* 0: off; else the largest norm of the gradient (clip_grad_norm_) */
    double label_smoothing;   /* 0; [0, 1) */
    int accumulate;     /* 1; batches per optimizer step. An epoch's last group may be smaller */
    int epochs;         /* 20 */
    int64_t batch_size; /* 64; the largest batch that a step will be given */
    bool freeze;        /* train head and pre_logits only */
    bool recompute;     /* false; less memory, more time, the same bits: see below */
    uint64_t seed;      /* of dropout and drop path */
} VitroTrainOptions;
VITRO_API VitroTrainOptions vitro_train_options_default(void);

/* With `recompute` a trainer keeps of each block only its input, and the backward pass computes the
 * rest once more. Where accumulate is 1 and clip_grad 0, it also makes the gradients of one block
 * only after those of the one above have been used up. With `freeze` nothing is kept anyway. */

/* Bytes that a model and its trainer take, as they allocate them (each tensor on 64 bytes). Not in
 * it: copies of weights that a back end packs for its products, and workspace of its threads. */
typedef struct VitroTrainMemory {
    int64_t params, gradients, optimizer;
    int64_t activations; /* with the batch's pictures and results */
    int64_t total;       /* of the above */
} VitroTrainMemory;
/* What training with these options takes, without allocating it. Errors: VITRO_E_ARG, _NOMEM (also:
 * more than could ever be addressed). */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_train_memory(VitroTrainMemory *out,
                                                          const VitroConfig *cfg,
                                                          VitroPrecision precision,
                                                          const VitroTrainOptions *options);

/* Gradients, optimizer state and activations for one model, which it borrows and changes: while a
 * step runs, no other thread may use the model. Between steps predictors see the new parameters. */
typedef struct VitroTrainer VitroTrainer;

/* `batches_per_epoch`: how many calls of vitro_trainer_step make an epoch (for the warm-up and the
 * accumulation's end). Errors: VITRO_E_ARG, _NOMEM. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_trainer_create(VitroTrainer **out, VitroModel *model,
                                                            const VitroTrainOptions *options,
                                                            int64_t batches_per_epoch);
VITRO_API void vitro_trainer_free(VitroTrainer *t); /* NULL is fine */

typedef struct VitroStepResult {
    double loss;     /* mean over the batch */
    int64_t correct; /* images whose largest logit is their label's */
    double lr;       /* that the update used */
    bool updated;    /* false: gradients were only accumulated */
} VitroStepResult;

/* Forward, backward and, at the end of an accumulation group, the update, of one batch.
 * VITRO_E_NUMERIC: the loss is not finite; then nothing was updated and result->loss holds it. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_trainer_step(VitroTrainer *t, const VitroBatch *batch,
                                                          VitroStepResult *result);
/* scheduler.step(): the next epoch begins. */
VITRO_API void vitro_trainer_end_epoch(VitroTrainer *t);
/* The scheduler's learning rate for the epoch that vitro_trainer_end_epoch began (warm-up aside).
 */
VITRO_API double vitro_trainer_lr(const VitroTrainer *t);
VITRO_API uint32_t vitro_trainer_epoch(const VitroTrainer *t); /* epochs ended */
VITRO_API int64_t vitro_trainer_batch(const VitroTrainer *t);  /* of the epoch, so far */
VITRO_API int64_t vitro_trainer_steps(const VitroTrainer *t);  /* optimizer steps so far */
/* Whether parameter i of the model is trained. */
VITRO_API bool vitro_trainer_trains(const VitroTrainer *t, int64_t param);
/* Bytes of activations, gradients and optimizer state on the device. */
VITRO_API int64_t vitro_trainer_bytes(const VitroTrainer *t);
/* The gradient of parameter i after the last step, [count] float32 (tests, inspection).
 * VITRO_E_UNSUPPORTED: with recompute, where gradients are used up at once. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_trainer_grad(const VitroTrainer *t, int64_t param,
                                                          float *out);

/* ---- training state ----------------------------------------------------------------------------
 *
 * A trainer that loads what another one saved goes on as that one would have: every later loss and
 * every parameter has the same bits, whatever the number of threads and loader workers. All random
 * numbers are functions of counters, so a state is the parameters, the optimizer's moments and a
 * few numbers; the loader begins where it left off with vitro_loader_start(loader, epoch, batch).
 */

/* Writes the state, whole or not at all, as docs/FORMATS.md describes it. The bytes are a function
 * of the trainer's state and the arguments. `card` (may be NULL) as for vitro_model_save; `notes`
 * are the caller's own, whose keys must not be "format", "vitro" or begin with "trainer.".
 * Errors: VITRO_E_ARG (also: in the middle of an accumulation group, whose gradients no state
 * holds), _IO, _NOMEM. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_trainer_save_state(const VitroTrainer *t,
                                                                const char *path,
                                                                const VitroCard *card,
                                                                const VitroNote *notes,
                                                                int64_t note_count);

/* A state as a file: every byte of it was held against its checksum. */
typedef struct VitroTrainState VitroTrainState;
/* Errors: VITRO_E_IO, _FORMAT (torn, altered, or no state), _UNSUPPORTED (of a later version),
 * _NOMEM; texts start with the path. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_train_state_open(VitroTrainState **out,
                                                              const char *path);
VITRO_API void vitro_train_state_close(VitroTrainState *s);           /* NULL is fine */
VITRO_API uint32_t vitro_train_state_epoch(const VitroTrainState *s); /* as vitro_trainer_epoch */
VITRO_API int64_t vitro_train_state_batch(const VitroTrainState *s);
VITRO_API int64_t vitro_train_state_steps(const VitroTrainState *s);
/* A note of the caller's; NULL where there is none. Borrowed. */
VITRO_API const char *vitro_train_state_note(const VitroTrainState *s, const char *key);

/* Model and trainer become what they were. The trainer must have been made with the same optimizer,
 * batch_size, accumulate, freeze, seed and batches_per_epoch for a model of the same parameters on
 * a device of the same dtype, else VITRO_E_ARG; other options may differ, and then what follows
 * does. Unless the result is VITRO_E_BACKEND, a failure leaves everything as it was. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_trainer_load_state(VitroTrainer *t,
                                                                const VitroTrainState *s);

/* ---- evaluation ------------------------------------------------------------------------------ */

typedef struct VitroEvalResult {
    double loss;       /* mean of the batches' mean losses, as the original computes it */
    double top1, top5; /* share of images, [0,1]; top5 counts min(5,K) */
    int64_t images;
    double seconds;
    int64_t class_count;
    int64_t *confusion; /* [class_count,class_count]: row = label, column = prediction; owned; NULL
                         * where it was not asked for */
} VitroEvalResult;
VITRO_API void vitro_eval_result_deinit(VitroEvalResult *r);

/* Progress: called after each batch. Return false to stop (VITRO_E_CANCELLED). */
typedef bool (*VitroProgressFn)(void *user, int64_t batch, int64_t batches, double mean_loss,
                                double accuracy, int64_t images);

/* One pass over the loader's epoch 0. class_count is the model's K; the confusion matrix, 8 K^2
 * bytes, is made where `confusion`. `progress` may be NULL. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_evaluate(VitroPredictor *p, VitroLoader *loader,
                                                      VitroEvalResult *result, bool confusion,
                                                      VitroProgressFn progress, void *user);

/* ---- run logs ----------------------------------------------------------------------------------
 */

/* A TensorBoard event file with scalars. */
typedef struct VitroTensorboard VitroTensorboard;
/* Makes `dir` and, in it, events.out.tfevents.<time>.<host>.<pid>.0 */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_tensorboard_open(VitroTensorboard **out,
                                                              const char *dir);
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_tensorboard_scalar(VitroTensorboard *tb,
                                                                const char *tag, double value,
                                                                int64_t step);
/* A run goes on at `step`: readers forget what earlier files of the folder say of that step and of
 * later ones. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_tensorboard_restart(VitroTensorboard *tb,
                                                                 int64_t step);
/* Writes what is pending, whole records, and syncs the file. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_tensorboard_flush(VitroTensorboard *tb);
VITRO_API VITRO_MUST_CHECK VitroStatus
vitro_tensorboard_close(VitroTensorboard *tb); /* NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
