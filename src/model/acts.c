/* SPDX-License-Identifier: Apache-2.0 */
#include "model/acts.h"

#include "model/model.h"

#include <inttypes.h>

/* Whether the layers below the head are trained, too. */
static bool trains_body(VitroMode mode)
{
    return mode == VITRO_MODE_TRAIN || mode == VITRO_MODE_TRAIN_RECOMPUTE;
}

static void plan_pair(VitroActs *a, VitroPlan *plan)
{
    VitroPairActs *p = &a->pair;
    int64_t B = plan->batch, D = plan->cfg->embed_dim, K = plan->cfg->num_classes;
    *p = (VitroPairActs){0};
    if (!K) {
        a->out = vitro_plan2(plan, B, D);
        return;
    }
    p->token[0] = vitro_plan2(plan, B, D);
    p->token[1] = vitro_plan2(plan, B, D);
    p->head_dist = (VitroLinearActs){.out = vitro_plan2(plan, B, K)};
    p->head_dist.epilogue.rows_per_sample = 1;
    p->both = vitro_plan3(plan, B, 2, K);
    a->out = vitro_plan2(plan, B, K);
    if (plan->keep) {
        p->dboth = vitro_plan3(plan, B, 2, K);
        p->dhead = vitro_plan2(plan, B, K);
        p->dtoken = vitro_plan2(plan, B, D);
    }
}

static void plan_head(VitroActs *a, VitroPlan *plan)
{
    const VitroConfig *cfg = plan->cfg;
    int64_t B = plan->batch, R = cfg->representation_size;
    vitro_pool_plan(&a->pool, plan);
    a->out = a->pool.out;
    if (R) {
        a->pre_logits = (VitroLinearActs){.out = vitro_plan2(plan, B, R)};
        a->pre_logits.epilogue =
            (VitroEpilogue){.act = VITRO_ACT_TANH,
                            .pre = plan->keep ? vitro_plan2(plan, B, R) : VITRO_NO_TENSOR,
                            .rows_per_sample = 1};
        a->out = a->pre_logits.out;
    }
    if (cfg->num_classes) {
        a->head = (VitroLinearActs){.out = vitro_plan2(plan, B, cfg->num_classes)};
        a->head.epilogue.rows_per_sample = 1;
        a->out = a->head.out;
    }
    if (cfg->distilled)
        plan_pair(a, plan);
    else if (!a->out.rank) /* the class token itself, see vitro_pool_forward */
        a->out = vitro_tensor2(NULL, plan->dtype, B, cfg->embed_dim);
}

static void plan_backward(VitroActs *a, VitroPlan *plan)
{
    const VitroConfig *cfg = plan->cfg;
    int64_t B = plan->batch, D = cfg->embed_dim;
    a->dout = vitro_plan2(plan, B, vitro_tensor_cols(&a->out));
    if (cfg->representation_size)
        a->dpre_logits = vitro_plan2(plan, B, cfg->representation_size);
    if (a->mode == VITRO_MODE_TRAIN_HEAD)
        return;
    a->dpool = cfg->distilled ? vitro_plan3(plan, B, 2, D) : vitro_plan2(plan, B, D);
    a->dcls = vitro_pools_class_alone(cfg) ? vitro_plan2(plan, B, D) : VITRO_NO_TENSOR;
    a->dx = vitro_plan3(plan, B, plan->tokens, D);
}

/* All blocks, and the buffers of their backward pass, the pool's and the embedding's. Where
 * everything is kept, only the latter share memory, each being done when the next begins. Else
 * nothing but `out` of a block outlives it, and whatever is under way has all the memory. */
static void plan_blocks(VitroActs *a, VitroPlan *plan)
{
    VitroArena *arena = plan->arena;
    bool kept = a->mode == VITRO_MODE_TRAIN, brief = vitro_pools_class_alone(plan->cfg);
    size_t mark = arena->used;
    for (int l = 0; l < a->full_blocks; l++) {
        if (!kept)
            vitro_arena_release(arena, mark);
        vitro_block_plan(&a->block[l], plan, l, a->block[l].out);
    }
    if (a->mode == VITRO_MODE_TRAIN_RECOMPUTE)
        vitro_block_plan_scratch(&a->block_scratch, plan);
    if (!kept)
        vitro_arena_release(arena, mark);
    if (brief)
        vitro_last_block_plan(&a->last, plan, plan->cfg->depth - 1);
    if (!plan->keep)
        return;
    if (kept)
        mark = arena->used;
    if (brief)
        vitro_last_block_plan_scratch(&a->last_scratch, plan);
    vitro_arena_release(arena, mark);
    vitro_pool_plan_scratch(&a->pool_scratch, plan);
    vitro_arena_release(arena, mark);
    if (kept)
        vitro_block_plan_scratch(&a->block_scratch, plan);
    vitro_arena_release(arena, mark);
    vitro_embed_plan_scratch(&a->embed_scratch, plan);
}

/* One walk over all layers, those first whose buffers outlive a block; see VitroArena. */
static void plan_all(VitroActs *a, VitroArena *arena, const VitroConfig *cfg,
                     VitroPrecision precision, int64_t batch)
{
    const VitroDtype dtype = vitro_precision_dtype(precision);
    /* attention's products sum over the width of a head, two bf16 at a time */
    const bool even = cfg->embed_dim / cfg->num_heads % 2 == 0;
    VitroPlan plan = {.arena = arena,
                      .cfg = cfg,
                      .dtype = dtype,
                      .operand = even ? vitro_precision_operand(precision) : dtype,
                      .batch = batch,
                      .tokens = vitro_config_tokens(cfg),
                      .patches = vitro_config_patches(cfg),
                      .keep = trains_body(a->mode),
                      .drop = a->drop};
    int64_t D = cfg->embed_dim;
    a->batch = batch;
    a->images = vitro_arena_tensor(arena, vitro_tensor4(NULL, dtype, batch, cfg->in_channels,
                                                        cfg->img_height, cfg->img_width));
    vitro_embed_plan(&a->embed, &plan);
    plan.norm = vitro_plan_operand3(&plan, batch, plan.tokens, D);
    for (int l = 0; l < a->full_blocks; l++)
        a->block[l].out = plan.keep ? vitro_plan3(&plan, batch, plan.tokens, D) : a->embed.out;
    VitroPlan head = plan;
    head.keep = a->mode != VITRO_MODE_INFER;
    plan_head(a, &head);
    if (head.keep)
        plan_backward(a, &plan);
    plan_blocks(a, &plan);
}

typedef struct Prepare {
    VitroDevice *dev;
    int64_t max_batch;
} Prepare;

/* A weight that is being trained changes with each step: packing it would serve one pass only, and
 * back ends take it as it is. */
static VitroStatus prepare(void *user, VitroWeight *weight, int64_t rows_per_image)
{
    const Prepare *p = user;
    if (weight->trained)
        return VITRO_OK;
    return p->dev->ops->weight_prepare(p->dev, weight, p->max_batch * rows_per_image);
}

/* Begins or ends (by = -1) the training of a weight. */
typedef struct Training {
    VitroDevice *dev;
    int by;
} Training;

static VitroStatus count_training(void *user, VitroWeight *weight, int64_t rows_per_image)
{
    (void)rows_per_image;
    const Training *t = user;
    weight->trained += t->by;
    if (weight->trained)
        t->dev->ops->weight_release(t->dev, weight);
    return VITRO_OK;
}

static void set_training(VitroModel *m, VitroMode mode, int by)
{
    Training training = {m->dev, by};
    if (mode != VITRO_MODE_INFER)
        (void)!vitro_params_each_weight(&m->params, &m->cfg, mode == VITRO_MODE_TRAIN_HEAD,
                                        count_training, &training);
}

static VitroStatus prepare_weights(VitroModel *m, int64_t max_batch, VitroMode mode)
{
    Prepare p = {m->dev, max_batch};
    pthread_mutex_lock(&m->prepare_lock);
    set_training(m, mode, 1);
    VitroStatus st = m->origin ? vitro_model_each_origin(m, prepare, &p)
                               : vitro_params_each_weight(&m->params, &m->cfg, false, prepare, &p);
    pthread_mutex_unlock(&m->prepare_lock);
    return st;
}

static VitroStatus check_batch(int64_t max_batch)
{
    if (max_batch >= 1 && max_batch <= 1 << 20)
        return VITRO_OK;
    return vitro_fail(VITRO_E_ARG, "batch size is %" PRId64 ", not in 1..1048576", max_batch);
}

/* Plans without memory: a->block is made, a->bytes told. */
static VitroStatus measure(VitroActs *a, const VitroConfig *cfg, VitroPrecision precision)
{
    VITRO_TRY(check_batch(a->max_batch));
    a->full_blocks = cfg->depth - vitro_pools_class_alone(cfg);
    a->block = vitro_calloc((size_t)a->full_blocks, sizeof(*a->block));
    if (!a->block)
        return VITRO_NOMEM;
    VitroArena arena = {0};
    plan_all(a, &arena, cfg, precision, a->max_batch);
    if (arena.peak == VITRO_ARENA_MAX)
        return vitro_fail(VITRO_E_NOMEM,
                          "a batch of %" PRId64 " images needs more memory than can be addressed",
                          a->max_batch);
    a->bytes = arena.peak;
    return VITRO_OK;
}

VitroStatus vitro_acts_measure(size_t *bytes, const VitroConfig *cfg, VitroPrecision precision,
                               int64_t max_batch, VitroMode mode)
{
    VitroActs a = {.mode = mode, .max_batch = max_batch};
    VitroStatus st = measure(&a, cfg, precision);
    vitro_free(a.block);
    if (st == VITRO_OK)
        *bytes = a.bytes;
    return st;
}

static VitroStatus allocate(VitroActs *a, VitroModel *m)
{
    VitroDevice *dev = m->dev;
    VITRO_TRY(measure(a, &m->cfg, dev->precision));
    if (a->mode != VITRO_MODE_INFER) {
        void *state;
        VITRO_TRY(dev->ops->alloc(dev, &state, sizeof(*a->drop)));
        a->drop = state;
        VITRO_TRY(dev->ops->zero(dev, state, sizeof(*a->drop)));
    }
    VITRO_TRY(dev->ops->alloc(dev, &a->memory, a->bytes));
    return vitro_acts_set_batch(a, m, a->max_batch);
}

VitroStatus vitro_acts_create(VitroActs **out, VitroModel *m, int64_t max_batch, VitroMode mode)
{
    VitroActs *a = vitro_calloc(1, sizeof(*a));
    if (!a)
        return VITRO_NOMEM;
    a->mode = mode;
    a->max_batch = max_batch;
    a->dev = m->dev;
    VitroStatus st = allocate(a, m);
    if (st == VITRO_OK) {
        a->model = m;
        st = prepare_weights(m, max_batch, mode);
    }
    if (st != VITRO_OK) {
        vitro_acts_free(a);
        return st;
    }
    *out = a;
    return VITRO_OK;
}

void vitro_acts_free(VitroActs *a)
{
    if (!a)
        return;
    if (a->model)
        set_training(a->model, a->mode, -1);
    a->dev->ops->free(a->dev, a->memory);
    a->dev->ops->free(a->dev, a->drop);
    vitro_free(a->block);
    vitro_free(a);
}

VitroStatus vitro_acts_set_batch(VitroActs *a, const VitroModel *m, int64_t batch)
{
    if (batch < 1 || batch > a->max_batch)
        return vitro_fail(VITRO_E_ARG, "a batch of %" PRId64 " images, planned were 1..%" PRId64,
                          batch, a->max_batch);
    if (a->batch == batch && a->images.data)
        return VITRO_OK; /* lies so already */
    VitroArena place = {.base = a->memory};
    plan_all(a, &place, &m->cfg, m->dev->precision, batch);
    return VITRO_OK;
}
