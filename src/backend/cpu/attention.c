/* SPDX-License-Identifier: Apache-2.0 */
/* Attention per image and head, a tile of query rows at a time: scores, softmax and the mix of
 * values stay in the cache, and no [T,T] matrix is ever in memory. The backward pass computes a
 * tile's probabilities again from the log-sum-exp kept by the forward pass (Dao et al. 2022). */
#include "backend/cpu/cpu_int.h"

#include <assert.h>
#include <omp.h>
#include <string.h>

enum {
    FORWARD_ROWS = 24,  /* of a tile: its scores fit the first-level cache for T up to 400 */
    BACKWARD_ROWS = 48, /* more, as dk and dv are read and written once per tile */
    LINE = 16           /* floats in a cache line */
};

/* What is the same for all heads. */
typedef struct Job {
    const VitroKernels *kernels;
    const VitroAttentionShape *shape;
    int64_t T, H, Dh, D;
    int64_t width; /* T in whole cache lines: columns of scores that are computed */
    int64_t ld;    /* between rows of scores, and of k^T */
    float scale;
    const float *qkv, *ctx, *dctx;
    float *out, *dqkv, *lse;
} Job;

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

static Job make_job(VitroDevice *dev, VitroTensor qkv, const VitroAttentionShape *shape)
{
    Job job = {.kernels = vitro_cpu(dev)->kernels,
               .shape = shape,
               .T = qkv.dim[1],
               .H = shape->heads,
               .D = qkv.dim[2] / 3,
               .scale = (float)shape->scale,
               .qkv = qkv.data};
    job.Dh = job.D / job.H;
    assert(job.Dh * job.H * 3 == qkv.dim[2]);
    /* Not a multiple of two lines: rows of a power of two would share few cache sets. */
    job.width = round_up(job.T, LINE);
    job.ld = job.width % (2 * LINE) ? job.width : job.width + LINE;
    return job;
}

/* ---- forward ----------------------------------------------------------------------------------
 */

static int64_t forward_floats(const Job *j)
{
    return j->Dh * j->ld + round_up(j->T * j->Dh, LINE) + FORWARD_ROWS * j->ld;
}

/* Query rows [first, end) of one head; kT[Dh,ld] and v[T,Dh] are packed. */
static void forward_rows(const Job *j, int64_t b, int64_t h, int64_t first, int64_t end,
                         const float *kT, const float *v, float *scores)
{
    const VitroKernels *kernels = j->kernels;
    const int64_t rows = end - first;
    const float *q = j->qkv + (b * j->T + first) * 3 * j->D + h * j->Dh;
    float *out = j->out + (b * j->T + first) * j->D + h * j->Dh;
    float inverse_sum[FORWARD_ROWS];

    kernels->gemm(&(VitroGemm){.m = rows,
                               .n = j->width,
                               .k = j->Dh,
                               .c = scores,
                               .ldc = j->ld,
                               .a = q,
                               .a_row = 3 * j->D,
                               .a_col = 1,
                               .b = kT,
                               .ldb = j->ld});
    const bool drop = vitro_dropout_on(&j->shape->dropout);
    const VitroDropKey key = drop ? vitro_cpu_drop_key(&j->shape->dropout, b) : (VitroDropKey){0};
    for (int64_t i = 0; i < rows; i++) {
        const int64_t row = h * j->T + first + i;
        float *s = scores + i * j->ld;
        inverse_sum[i] =
            kernels->softmax(s, j->T, j->scale, j->lse ? j->lse + b * j->H * j->T + row : NULL);
        if (drop)
            kernels->dropout(s, s, j->T, (uint64_t)(row * j->T), &key);
    }
    kernels->gemm(&(VitroGemm){.m = rows,
                               .n = j->Dh,
                               .k = j->T,
                               .c = out,
                               .ldc = j->D,
                               .a = scores,
                               .a_row = j->ld,
                               .a_col = 1,
                               .b = v,
                               .ldb = j->Dh});
    for (int64_t i = 0; i < rows; i++)
        kernels->scale_add(out + i * j->D, out + i * j->D, inverse_sum[i], NULL, j->Dh);
}

/* Part `part` of `parts` of one head's query rows. */
static void forward_head(const Job *j, int64_t b, int64_t h, int64_t part, int64_t parts,
                         float *scratch)
{
    float *kT = scratch, *v = kT + j->Dh * j->ld, *scores = v + round_up(j->T * j->Dh, LINE);
    const float *k_in = j->qkv + b * j->T * 3 * j->D + j->D + h * j->Dh, *v_in = k_in + j->D;
    j->kernels->transpose(kT, j->ld, k_in, 3 * j->D, j->T, j->Dh);
    for (int64_t t = 0; t < j->T; t++)
        memcpy(v + t * j->Dh, v_in + t * 3 * j->D, (size_t)j->Dh * sizeof *v);
    const int64_t end = (part + 1) * j->T / parts;
    for (int64_t first = part * j->T / parts; first < end; first += FORWARD_ROWS) {
        const int64_t stop = first + FORWARD_ROWS < end ? first + FORWARD_ROWS : end;
        forward_rows(j, b, h, first, stop, kT, v, scores);
    }
}

VitroStatus vitro_cpu_attention(VitroDevice *dev, VitroTensor ctx, VitroTensor lse, VitroTensor qkv,
                                const VitroAttentionShape *shape)
{
    Job job = make_job(dev, qkv, shape);
    job.out = ctx.data;
    job.lse = lse.data;
    /* Few heads for many threads: share out a head's query rows too. A row's result does not
     * depend on which rows are computed with it. */
    const int64_t heads = qkv.dim[0] * job.H;
    int64_t parts = 1;
    while (heads * parts < 4 * dev->threads && heads * parts % dev->threads != 0 &&
           parts * FORWARD_ROWS < job.T)
        parts++;

    const int64_t each = round_up(forward_floats(&job), LINE);
    void *memory = NULL;
    VITRO_TRY(
        vitro_scratch(&memory, VITRO_SCRATCH_OP, (size_t)(dev->threads * each) * sizeof(float)));
#pragma omp parallel num_threads(dev->threads)
    {
        float *scratch = (float *)memory + omp_get_thread_num() * each;
#pragma omp for schedule(static)
        for (int64_t i = 0; i < heads * parts; i++)
            forward_head(&job, i / parts / job.H, i / parts % job.H, i % parts, parts, scratch);
    }
    return VITRO_OK;
}

/* ---- backward ---------------------------------------------------------------------------------
 */

/* One head's working memory. */
typedef struct Backward {
    float *kT, *vT;   /* [Dh,ld] */
    float *dk, *dv;   /* [T,Dh] */
    float *p, *dp;    /* [BACKWARD_ROWS,ld]: probabilities after dropout, and their gradient */
    float *undropped; /* [ld]: a row of probabilities before dropout */
} Backward;

static int64_t backward_floats(const Job *j)
{
    return 2 * j->Dh * j->ld + 2 * round_up(j->T * j->Dh, LINE) + (2 * BACKWARD_ROWS + 1) * j->ld;
}

static Backward place_backward(const Job *j, float *scratch)
{
    Backward w = {.kT = scratch};
    w.vT = w.kT + j->Dh * j->ld;
    w.dk = w.vT + j->Dh * j->ld;
    w.dv = w.dk + round_up(j->T * j->Dh, LINE);
    w.p = w.dv + round_up(j->T * j->Dh, LINE);
    w.dp = w.p + BACKWARD_ROWS * j->ld;
    w.undropped = w.dp + BACKWARD_ROWS * j->ld;
    return w;
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
        const int64_t row = h * j->T + first + i;
        const int64_t at = (b * j->T + first + i) * j->D + h * j->Dh;
        float *p = w->p + i * j->ld, *dp = w->dp + i * j->ld;
        const float delta = kernels->dot(j->dctx + at, j->ctx + at, j->Dh);
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

static void backward_rows(const Job *j, const Backward *w, int64_t b, int64_t h, int64_t first,
                          int64_t rows)
{
    const VitroKernels *kernels = j->kernels;
    const int64_t D3 = 3 * j->D;
    const float *q = j->qkv + (b * j->T + first) * D3 + h * j->Dh;
    const float *k = j->qkv + b * j->T * D3 + j->D + h * j->Dh;
    const float *dctx = j->dctx + (b * j->T + first) * j->D + h * j->Dh;
    float *dq = j->dqkv + (b * j->T + first) * D3 + h * j->Dh;

    const VitroGemm scores = {.m = rows,
                              .n = j->width,
                              .k = j->Dh,
                              .c = w->p,
                              .ldc = j->ld,
                              .a = q,
                              .a_row = D3,
                              .a_col = 1,
                              .b = w->kT,
                              .ldb = j->ld};
    kernels->gemm(&scores);
    VitroGemm dp = scores; /* dctx v^T */
    dp.c = w->dp, dp.a = dctx, dp.a_row = j->D, dp.b = w->vT;
    kernels->gemm(&dp);
    backward_scores(j, w, b, h, first, rows);

    VitroGemm dv = {.m = j->T, /* p^T dctx */
                    .n = j->Dh,
                    .k = rows,
                    .c = w->dv,
                    .ldc = j->Dh,
                    .a = w->p,
                    .a_row = 1,
                    .a_col = j->ld,
                    .b = dctx,
                    .ldb = j->D,
                    .add = first > 0};
    kernels->gemm(&dv);
    VitroGemm dk = dv; /* ds^T q */
    dk.c = w->dk, dk.a = w->dp, dk.b = q, dk.ldb = D3;
    kernels->gemm(&dk);
    kernels->gemm(&(VitroGemm){.m = rows, /* ds k */
                               .n = j->Dh,
                               .k = j->T,
                               .c = dq,
                               .ldc = D3,
                               .a = w->dp,
                               .a_row = j->ld,
                               .a_col = 1,
                               .b = k,
                               .ldb = D3});
}

static void backward_head(const Job *j, int64_t b, int64_t h, float *scratch)
{
    const Backward w = place_backward(j, scratch);
    const int64_t D3 = 3 * j->D, at = b * j->T * D3 + h * j->Dh;
    j->kernels->transpose(w.kT, j->ld, j->qkv + at + j->D, D3, j->T, j->Dh);
    j->kernels->transpose(w.vT, j->ld, j->qkv + at + 2 * j->D, D3, j->T, j->Dh);
    for (int64_t first = 0; first < j->T; first += BACKWARD_ROWS) {
        const int64_t left = j->T - first;
        backward_rows(j, &w, b, h, first, left < BACKWARD_ROWS ? left : BACKWARD_ROWS);
    }
    for (int64_t t = 0; t < j->T; t++) {
        float *dk = j->dqkv + at + t * D3 + j->D;
        memcpy(dk, w.dk + t * j->Dh, (size_t)j->Dh * sizeof *dk);
        memcpy(dk + j->D, w.dv + t * j->Dh, (size_t)j->Dh * sizeof *dk);
    }
}

VitroStatus vitro_cpu_attention_backward(VitroDevice *dev, VitroTensor dqkv, VitroTensor dctx,
                                         VitroTensor qkv, VitroTensor ctx, VitroTensor lse,
                                         const VitroAttentionShape *shape)
{
    Job job = make_job(dev, qkv, shape);
    job.ctx = ctx.data;
    job.dctx = dctx.data;
    job.dqkv = dqkv.data;
    job.lse = lse.data;
    const int64_t heads = qkv.dim[0] * job.H, each = round_up(backward_floats(&job), LINE);
    void *memory = NULL;
    VITRO_TRY(
        vitro_scratch(&memory, VITRO_SCRATCH_OP, (size_t)(dev->threads * each) * sizeof(float)));
#pragma omp parallel num_threads(dev->threads)
    {
        float *scratch = (float *)memory + omp_get_thread_num() * each;
#pragma omp for schedule(static)
        for (int64_t i = 0; i < heads; i++)
            backward_head(&job, i / job.H, i % job.H, scratch);
    }
    return VITRO_OK;
}
