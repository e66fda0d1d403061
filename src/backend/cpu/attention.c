/* SPDX-License-Identifier: Apache-2.0 */
/* Attention per image and head, a tile of query rows at a time: scores, softmax and the mix of
 * values stay in the cache, and no [T,T] matrix is ever in memory. The backward pass computes a
 * tile's probabilities again from the log-sum-exp kept by the forward pass (Dao et al. 2022).
 *
 * All products are tiles of words: floats where qkv is float32, pairs where it is bf16. */
#include "backend/cpu/cpu_int.h"

#include "backend/cpu/product.h"

#include <assert.h>
#include <omp.h>
#include <string.h>

enum {
    FORWARD_ROWS =
        24, /* of a tile, at least: its scores fit the first-level cache for T up to 400 */
    BACKWARD_ROWS = 48, /* more, as dk and dv are read and written once per tile */
    MOST_ROWS = 64,     /* either, made whole tiles of any unit */
    LINE = 16           /* words in a cache line */
};

/* What is the same for all heads. */
typedef struct Job {
    const VitroKernels *kernels;
    const VitroUnit *unit;
    VitroDot dot;
    const VitroAttentionShape *shape;
    int64_t T, H, Dh, D;
    int64_t forward_rows, backward_rows; /* of a tile */
    int64_t T_words, Dh_words;           /* T and Dh as the depth of a product */
    int64_t T_panels, Dh_panels;         /* and as columns of one */
    int64_t scores_stride;               /* floats between rows of scores */
    int64_t probs_stride;                /* bytes between their rows as words */
    int64_t wide;                        /* floats between rows of Dh_panels panels */
    float scale;
    VitroTensor qkv, ctx, dctx, out, dqkv;
    float *lse;
} Job;

/* The depth of a product over `rows` tokens: in whole steps of the unit, what is beyond being 0. */
static int64_t words_for(const Job *j, int64_t rows)
{
    const int per_word = vitro_dot_per_word(j->dot);
    const int64_t words = (rows + per_word - 1) / per_word;
    return j->unit->depth_step ? vitro_round_up(words, j->unit->depth_step) : words;
}

static Job make_job(VitroDevice *dev, VitroTensor qkv, const VitroAttentionShape *shape)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const bool pairs = qkv.dtype == VITRO_BF16;
    Job j = {.kernels = kernels,
             .unit = &kernels->unit[pairs ? VITRO_DOT_BF16 : VITRO_DOT_F32],
             .dot = pairs ? VITRO_DOT_BF16 : VITRO_DOT_F32,
             .shape = shape,
             .T = qkv.dim[1],
             .H = shape->heads,
             .D = qkv.dim[2] / 3,
             .scale = (float)shape->scale,
             .qkv = qkv};
    j.Dh = j.D / j.H;
    assert(j.Dh * j.H * 3 == qkv.dim[2] && (!pairs || j.Dh % 2 == 0));
    const int per_word = vitro_dot_per_word(j.dot);
    j.forward_rows = vitro_round_up(FORWARD_ROWS, j.unit->tile_rows);
    j.backward_rows = vitro_round_up(BACKWARD_ROWS, j.unit->tile_rows);
    assert(j.forward_rows <= MOST_ROWS && j.backward_rows <= MOST_ROWS);
    j.T_words = words_for(&j, j.T);
    j.Dh_words = j.Dh / per_word;
    j.T_panels = (j.T + VITRO_PANEL - 1) / VITRO_PANEL;
    j.Dh_panels = (j.Dh + VITRO_PANEL - 1) / VITRO_PANEL;
    j.scores_stride = vitro_row_stride(j.T) / 4;
    j.probs_stride = pairs ? vitro_row_stride(j.T_words) : 4 * j.scores_stride;
    j.wide = j.Dh_panels * VITRO_PANEL;
    return j;
}

/* ---- operands of one head ------------------------------------------------------------------- */

enum { Q, K, V };

/* Element offset in qkv (or dqkv) of the head's q, k or v for token t. */
static int64_t at_qkv(const Job *j, int which, int64_t b, int64_t t, int64_t h)
{
    return (b * j->T + t) * 3 * j->D + which * j->D + h * j->Dh;
}

static int64_t at_ctx(const Job *j, int64_t b, int64_t t, int64_t h)
{
    return (b * j->T + t) * j->D + h * j->Dh;
}

static const uint8_t *bytes_at(VitroTensor t, int64_t element)
{
    return (const uint8_t *)t.data + element * (int64_t)vitro_dtype_size(t.dtype);
}

/* `rows` tokens of the head, from element `at` of t on, whose rows are `width` elements apart. */
static VitroTensor head_rows(const Job *j, VitroTensor t, int64_t at, int64_t rows)
{
    return vitro_tensor2((void *)(uintptr_t)bytes_at(t, at), t.dtype, rows, j->Dh);
}

static VitroWords strided(VitroWords w, VitroTensor t)
{
    w.stride = vitro_tensor_cols(&t) * (int64_t)vitro_dtype_size(t.dtype);
    return w;
}

/* [T_panels][Dh_words][64]: the transposed matrix, for x k^T */
static void pack_turned(const Job *j, uint32_t *out, VitroTensor t, int64_t at)
{
    const VitroWords w = strided(vitro_words_along(head_rows(j, t, at, j->T), j->dot), t);
    for (int64_t p = 0; p < j->T_panels; p++)
        j->kernels->words_transposed(out + p * j->Dh_words * VITRO_PANEL, VITRO_PANEL, &w,
                                     p * VITRO_PANEL, VITRO_PANEL, 0, j->Dh_words);
}

/* [Dh_panels][words_for(rows)][64]: the matrix of `rows` tokens, for p v */
static void pack_straight(const Job *j, uint32_t *out, VitroTensor t, int64_t at, int64_t rows)
{
    const int64_t depth = words_for(j, rows);
    const VitroWords w = strided(vitro_words_over(head_rows(j, t, at, rows), j->dot), t);
    for (int64_t p = 0; p < j->Dh_panels; p++)
        j->kernels->words(out + p * depth * VITRO_PANEL, VITRO_PANEL, &w, 0, depth, p * VITRO_PANEL,
                          VITRO_PANEL);
}

/* c[rows][cols] (+)= a b, b being panels. */
static void multiply(const Job *j, float *c, int64_t c_stride, const void *a, int64_t a_stride,
                     const uint32_t *b, int64_t rows, int64_t cols, int64_t depth, bool add)
{
    const int64_t most = j->unit->tile_rows;
    for (int64_t col = 0; col < cols; col += VITRO_PANEL, b += depth * VITRO_PANEL)
        for (int64_t row = 0; row < rows; row += most) {
            float *to = c + row * c_stride + col;
            j->unit->tile(&(VitroTile){.rows = rows - row < most ? rows - row : most,
                                       .cols = cols - col < VITRO_PANEL ? cols - col : VITRO_PANEL,
                                       .depth = depth,
                                       .a = (const uint8_t *)a + row * a_stride,
                                       .a_stride = a_stride,
                                       .b = b,
                                       .c = to,
                                       .c_stride = c_stride,
                                       .add = add ? to : NULL,
                                       .add_stride = c_stride});
        }
}

static int64_t qkv_stride(const Job *j)
{
    return 3 * j->D * (int64_t)vitro_dtype_size(j->qkv.dtype);
}

/* Rows of scores as the rows of words that a product takes: where they are, or in `room`. */
static const void *as_words(const Job *j, const float *scores, int64_t rows, uint32_t *room)
{
    if (j->dot == VITRO_DOT_F32)
        return scores;
    const VitroWords w = {.kind = VITRO_WORDS_BF16_OF_F32,
                          .per_word = 2,
                          .from = scores,
                          .stride = 4 * j->scores_stride,
                          .rows = rows,
                          .cols = j->T};
    j->kernels->words(room, j->probs_stride / 4, &w, 0, rows, 0, j->T_words);
    return room;
}

/* ---- working memory -----------------------------------------------------------------------------
 */

/* Takes `count` words, rounded up to whole lines, from *at; with base NULL it only counts. */
static void *take(uint32_t *base, int64_t *at, int64_t count)
{
    void *p = base ? base + *at : NULL;
    *at += vitro_round_up(count, LINE);
    return p;
}

typedef struct Forward {
    uint32_t *kT, *v;
    float *scores; /* [forward_rows][scores_stride] */
    uint32_t *probs;
    float *mix; /* [forward_rows][wide] */
} Forward;

static int64_t place_forward(const Job *j, Forward *w, uint32_t *base)
{
    int64_t at = 0;
    w->kT = take(base, &at, j->T_panels * j->Dh_words * VITRO_PANEL);
    w->v = take(base, &at, j->Dh_panels * j->T_words * VITRO_PANEL);
    w->scores = take(base, &at, j->forward_rows * j->scores_stride);
    w->probs = take(base, &at, j->forward_rows * j->probs_stride / 4);
    w->mix = take(base, &at, j->forward_rows * j->wide);
    return at;
}

/* ---- forward ----------------------------------------------------------------------------------
 */

/* Query rows [first, first + rows) of one head. */
static void forward_rows(const Job *j, const Forward *w, int64_t b, int64_t h, int64_t first,
                         int64_t rows)
{
    const VitroKernels *kernels = j->kernels;
    const void *q = bytes_at(j->qkv, at_qkv(j, Q, b, first, h));
    float inverse_sum[MOST_ROWS];
    multiply(j, w->scores, j->scores_stride, q, qkv_stride(j), w->kT, rows, j->T, j->Dh_words,
             false);

    const bool drop = vitro_dropout_on(&j->shape->dropout);
    const VitroDropKey key = drop ? vitro_cpu_drop_key(&j->shape->dropout, b) : (VitroDropKey){0};
    for (int64_t i = 0; i < rows; i++) {
        const int64_t row = h * j->T + first + i;
        float *s = w->scores + i * j->scores_stride;
        inverse_sum[i] =
            kernels->softmax(s, j->T, j->scale, j->lse ? j->lse + b * j->H * j->T + row : NULL);
        if (drop)
            kernels->dropout(s, s, j->T, (uint64_t)(row * j->T), &key);
    }
    multiply(j, w->mix, j->wide, as_words(j, w->scores, rows, w->probs), j->probs_stride, w->v,
             rows, j->Dh, j->T_words, false);
    for (int64_t i = 0; i < rows; i++) {
        float *mix = w->mix + i * j->wide;
        kernels->scale_add(mix, mix, inverse_sum[i], NULL, j->Dh);
        vitro_cpu_put(kernels, j->out, at_ctx(j, b, first + i, h), mix, j->Dh);
    }
}

/* Part `part` of `parts` of one head's query rows. */
static void forward_head(const Job *j, int64_t b, int64_t h, int64_t part, int64_t parts,
                         uint32_t *scratch)
{
    Forward w;
    place_forward(j, &w, scratch);
    pack_turned(j, w.kT, j->qkv, at_qkv(j, K, b, 0, h));
    pack_straight(j, w.v, j->qkv, at_qkv(j, V, b, 0, h), j->T);
    const int64_t end = (part + 1) * j->T / parts;
    for (int64_t first = part * j->T / parts; first < end; first += j->forward_rows)
        forward_rows(j, &w, b, h, first,
                     end - first < j->forward_rows ? end - first : j->forward_rows);
}

VitroStatus vitro_cpu_attention(VitroDevice *dev, VitroTensor ctx, VitroTensor lse, VitroTensor qkv,
                                const VitroAttentionShape *shape)
{
    Job job = make_job(dev, qkv, shape);
    job.out = ctx;
    job.lse = lse.data;
    /* Few heads for many threads: share out a head's query rows too. A row's result does not
     * depend on which rows are computed with it. */
    const int64_t heads = qkv.dim[0] * job.H;
    int64_t parts = 1;
    while (heads * parts < 4 * dev->threads && heads * parts % dev->threads != 0 &&
           parts * job.forward_rows < job.T)
        parts++;

    Forward measured;
    const int64_t each = place_forward(&job, &measured, NULL);
    void *memory = NULL;
    VITRO_TRY(
        vitro_scratch(&memory, VITRO_SCRATCH_OP, (size_t)(dev->threads * each) * sizeof(uint32_t)));
#pragma omp parallel num_threads(dev->threads) if (heads * job.T * job.T * job.Dh > 1 << 14)
    {
        uint32_t *scratch = (uint32_t *)memory + omp_get_thread_num() * each;
        vitro_unit_begin(job.unit);
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < heads * parts; i++)
            forward_head(&job, i / parts / job.H, i / parts % job.H, i % parts, parts, scratch);
        vitro_unit_end(job.unit);
    }
    return VITRO_OK;
}

/* ---- backward ---------------------------------------------------------------------------------
 */

/* One head's working memory. */
typedef struct Backward {
    uint32_t *kT, *vT, *k;
    float *dk, *dv;           /* [T][wide] */
    float *p, *dp;            /* [backward_rows][scores_stride]: probabilities after dropout, and
                               * their gradient */
    float *undropped;         /* [scores_stride]: a row of probabilities before dropout */
    uint32_t *words, *turned; /* dp as rows of words; p and dp transposed: [T][turned_stride] */
    uint32_t *q, *dctx;       /* the tile's rows as panels */
    float *dq;                /* [backward_rows][wide] */
    float *row;               /* [2][wide] */
} Backward;

static int64_t turned_stride(const Job *j)
{
    return vitro_row_stride(words_for(j, j->backward_rows));
}

static int64_t place_backward(const Job *j, Backward *w, uint32_t *base)
{
    int64_t at = 0;
    w->kT = take(base, &at, j->T_panels * j->Dh_words * VITRO_PANEL);
    w->vT = take(base, &at, j->T_panels * j->Dh_words * VITRO_PANEL);
    w->k = take(base, &at, j->Dh_panels * j->T_words * VITRO_PANEL);
    w->dk = take(base, &at, j->T * j->wide);
    w->dv = take(base, &at, j->T * j->wide);
    w->p = take(base, &at, j->backward_rows * j->scores_stride);
    w->dp = take(base, &at, j->backward_rows * j->scores_stride);
    w->undropped = take(base, &at, j->scores_stride);
    w->words = take(base, &at, j->backward_rows * j->probs_stride / 4);
    w->turned = take(base, &at, j->T * turned_stride(j) / 4);
    w->q = take(base, &at, j->backward_rows * j->wide);
    w->dctx = take(base, &at, j->backward_rows * j->wide);
    w->dq = take(base, &at, j->backward_rows * j->wide);
    w->row = take(base, &at, 2 * j->wide);
    return at;
}

/* From scores in w->p and d(dropped probabilities) in w->dp: w->p becomes the dropped
 * probabilities, w->dp the gradient of q k^T. With P the probabilities and m the dropout's factors,
 * dS = P (m dP' - delta), delta_i = sum_j P_ij m_ij dP'_ij = dctx_i . ctx_i. */
static void backward_scores(const Job *j, const Backward *w, int64_t b, int64_t h, int64_t first,
                            int64_t rows)
{
    const VitroKernels *kernels = j->kernels;
    const bool drop = vitro_dropout_on(&j->shape->dropout);
    const VitroDropKey key = drop ? vitro_cpu_drop_key(&j->shape->dropout, b) : (VitroDropKey){0};
    for (int64_t i = 0; i < rows; i++) {
        const int64_t row = h * j->T + first + i, at = at_ctx(j, b, first + i, h);
        float *p = w->p + i * j->scores_stride, *dp = w->dp + i * j->scores_stride;
        vitro_cpu_get(kernels, w->row, j->dctx, at, j->Dh);
        vitro_cpu_get(kernels, w->row + j->wide, j->ctx, at, j->Dh);
        const float delta = kernels->dot(w->row, w->row + j->wide, j->Dh);
        kernels->softmax_again(p, j->T, j->scale, j->lse[b * j->H * j->T + row]);
        if (!drop) {
            kernels->softmax_backward(dp, p, dp, j->T, delta, j->scale);
            continue;
        }
        const uint64_t element = (uint64_t)(row * j->T);
        memcpy(w->undropped, p, (size_t)j->T * sizeof *p);
        kernels->dropout(p, p, j->T, element, &key);
        kernels->dropout(dp, dp, j->T, element, &key);
        kernels->softmax_backward(dp, w->undropped, dp, j->T, delta, j->scale);
    }
}

/* to[T][wide] (+)= scores^T b, for the tile's rows */
static void add_turned(const Job *j, const Backward *w, float *to, const float *scores,
                       const uint32_t *b, int64_t rows, bool add)
{
    const VitroTensor t = vitro_tensor2((void *)(uintptr_t)scores, VITRO_F32, rows, j->T);
    VitroWords words = vitro_words_over(t, j->dot);
    words.stride = 4 * j->scores_stride;
    const int64_t depth = words_for(j, rows);
    j->kernels->words_transposed(w->turned, turned_stride(j) / 4, &words, 0, depth, 0, j->T);
    multiply(j, to, j->wide, w->turned, turned_stride(j), b, j->T, j->Dh, depth, add);
}

static void backward_rows(const Job *j, const Backward *w, int64_t b, int64_t h, int64_t first,
                          int64_t rows)
{
    const int64_t at_q = at_qkv(j, Q, b, first, h), at_dctx = at_ctx(j, b, first, h);
    const int64_t dctx_stride = j->D * (int64_t)vitro_dtype_size(j->dctx.dtype);
    multiply(j, w->p, j->scores_stride, bytes_at(j->qkv, at_q), qkv_stride(j), w->kT, rows, j->T,
             j->Dh_words, false);
    multiply(j, w->dp, j->scores_stride, bytes_at(j->dctx, at_dctx), dctx_stride, w->vT, rows, j->T,
             j->Dh_words, false);
    backward_scores(j, w, b, h, first, rows);

    pack_straight(j, w->dctx, j->dctx, at_dctx, rows);
    add_turned(j, w, w->dv, w->p, w->dctx, rows, first > 0); /* p^T dctx */
    pack_straight(j, w->q, j->qkv, at_q, rows);
    add_turned(j, w, w->dk, w->dp, w->q, rows, first > 0); /* ds^T q */
    multiply(j, w->dq, j->wide, as_words(j, w->dp, rows, w->words), j->probs_stride, w->k, rows,
             j->Dh, j->T_words, false); /* ds k */
    for (int64_t i = 0; i < rows; i++)
        vitro_cpu_put(j->kernels, j->dqkv, at_qkv(j, Q, b, first + i, h), w->dq + i * j->wide,
                      j->Dh);
}

static void backward_head(const Job *j, int64_t b, int64_t h, uint32_t *scratch)
{
    Backward w;
    place_backward(j, &w, scratch);
    pack_turned(j, w.kT, j->qkv, at_qkv(j, K, b, 0, h));
    pack_turned(j, w.vT, j->qkv, at_qkv(j, V, b, 0, h));
    pack_straight(j, w.k, j->qkv, at_qkv(j, K, b, 0, h), j->T);
    for (int64_t first = 0; first < j->T; first += j->backward_rows) {
        const int64_t left = j->T - first;
        backward_rows(j, &w, b, h, first, left < j->backward_rows ? left : j->backward_rows);
    }
    for (int64_t t = 0; t < j->T; t++) {
        vitro_cpu_put(j->kernels, j->dqkv, at_qkv(j, K, b, t, h), w.dk + t * j->wide, j->Dh);
        vitro_cpu_put(j->kernels, j->dqkv, at_qkv(j, V, b, t, h), w.dv + t * j->wide, j->Dh);
    }
}

VitroStatus vitro_cpu_attention_backward(VitroDevice *dev, VitroTensor dqkv, VitroTensor dctx,
                                         VitroTensor qkv, VitroTensor ctx, VitroTensor lse,
                                         const VitroAttentionShape *shape)
{
    Job job = make_job(dev, qkv, shape);
    job.ctx = ctx;
    job.dctx = dctx;
    job.dqkv = dqkv;
    job.lse = lse.data;
    assert(dctx.dtype == qkv.dtype);
    Backward measured;
    const int64_t heads = qkv.dim[0] * job.H, each = place_backward(&job, &measured, NULL);
    void *memory = NULL;
    VITRO_TRY(
        vitro_scratch(&memory, VITRO_SCRATCH_OP, (size_t)(dev->threads * each) * sizeof(uint32_t)));
#pragma omp parallel num_threads(dev->threads) if (heads * job.T * job.T * job.Dh > 1 << 14)
    {
        uint32_t *scratch = (uint32_t *)memory + omp_get_thread_num() * each;
        vitro_unit_begin(job.unit);
#pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < heads; i++)
            backward_head(&job, i / job.H, i % job.H, scratch);
        vitro_unit_end(job.unit);
    }
    return VITRO_OK;
}
