/* SPDX-License-Identifier: Apache-2.0 */
/* Attention where the class token alone asks: a vector against matrices, so each k and v is read
 * once, where it lies, or widened first where it is bf16. attention.c, which packs them, is for the
 * case that all tokens ask. */
#include "backend/cpu/cpu_int.h"

#include <assert.h>
#include <omp.h>
#include <string.h>

/* What is the same for all heads. */
typedef struct Job {
    const VitroKernels *kernels;
    const VitroAttentionShape *shape;
    int64_t T, H, Dh, D;
    int64_t row;    /* floats that one row of T takes in the working memory */
    int64_t matrix; /* and a widened k or v; 0 where they are float32 */
    int64_t apart;  /* floats between rows of k and of v as they are read */
    float scale;
    VitroTensor q, kv, ctx, dctx, out, dq, dkv;
    float *lse;
} Job;

/* One head's vectors and matrices in float32, and room for rows of T. */
typedef struct Head {
    int64_t at, at_kv; /* elements of q (ctx, ...) and of k */
    float *q, *ctx, *dctx, *out, *k, *v;
    float *row;
} Head;

static Job make_job(VitroDevice *dev, VitroTensor q, VitroTensor kv,
                    const VitroAttentionShape *shape)
{
    Job job = {.kernels = vitro_cpu(dev)->kernels,
               .shape = shape,
               .T = kv.dim[1],
               .H = shape->heads,
               .D = vitro_tensor_cols(&q),
               .row = (kv.dim[1] + 15) / 16 * 16,
               .scale = (float)shape->scale,
               .q = q,
               .kv = kv};
    job.Dh = job.D / job.H;
    const bool narrow = kv.dtype == VITRO_BF16;
    job.matrix = narrow ? vitro_round_up(job.T * job.Dh, 16) : 0;
    job.apart = narrow ? job.Dh : 2 * job.D;
    assert(job.Dh * job.H == job.D && kv.dim[2] == 2 * job.D);
    return job;
}

static float *widened(const Job *j, float *to, VitroTensor t, int64_t at, int64_t rows)
{
    if (t.dtype == VITRO_F32)
        return vitro_f32_at(t, at);
    for (int64_t r = 0; r < rows; r++)
        vitro_cpu_get(j->kernels, to + r * j->Dh, t, at + r * 2 * j->D, j->Dh);
    return to;
}

static int64_t head_floats(const Job *j, int rows)
{
    return 4 * vitro_round_up(j->Dh, 16) + 2 * j->matrix + rows * j->row;
}

static Head open_head(const Job *j, int64_t b, int64_t h, float *scratch)
{
    const int64_t vector = vitro_round_up(j->Dh, 16);
    Head head = {.at = b * j->D + h * j->Dh, .at_kv = b * j->T * 2 * j->D + h * j->Dh};
    float *matrices = scratch + 4 * vector;
    head.q = widened(j, scratch, j->q, head.at, 1);
    if (j->dctx.data) {
        head.ctx = widened(j, scratch + vector, j->ctx, head.at, 1);
        head.dctx = widened(j, scratch + 2 * vector, j->dctx, head.at, 1);
    }
    head.out = scratch + 3 * vector;
    head.k = widened(j, matrices, j->kv, head.at_kv, j->T);
    head.v = widened(j, matrices + j->matrix, j->kv, head.at_kv + j->D, j->T);
    head.row = matrices + 2 * j->matrix;
    return head;
}

/* out[T] = x . each of the T rows of m */
static void dots(const Job *j, float *out, const float *x, const float *m)
{
    for (int64_t t = 0; t < j->T; t++)
        out[t] = j->kernels->dot(x, m + t * j->apart, j->Dh);
}

/* out[Dh] = the sum of those rows, each times its weight */
static void mix(const Job *j, float *out, const float *weight, const float *m)
{
    memset(out, 0, (size_t)j->Dh * sizeof *out);
    for (int64_t t = 0; t < j->T; t++)
        j->kernels->scale_add(out, m + t * j->apart, weight[t], out, j->Dh);
}

/* Dropout of the row i = 0 of head h's probabilities. */
static void drop(const Job *j, float *row, int64_t b, int64_t h)
{
    const VitroDropKey key = vitro_cpu_drop_key(&j->shape->dropout, b);
    j->kernels->dropout(row, row, j->T, (uint64_t)(h * j->T * j->T), &key);
}

static void forward_head(const Job *j, int64_t b, int64_t h, float *scratch)
{
    const Head head = open_head(j, b, h, scratch);
    float *p = head.row;
    dots(j, p, head.q, head.k);
    const float inverse_sum =
        j->kernels->softmax(p, j->T, j->scale, j->lse ? j->lse + b * j->H + h : NULL);
    if (vitro_dropout_on(&j->shape->dropout))
        drop(j, p, b, h);
    mix(j, head.out, p, head.v);
    j->kernels->scale_add(head.out, head.out, inverse_sum, NULL, j->Dh);
    vitro_cpu_put(j->kernels, j->out, head.at, head.out, j->Dh);
}

/* See attention.c for the formulas. */
static void backward_head(const Job *j, int64_t b, int64_t h, float *scratch)
{
    const VitroKernels *kernels = j->kernels;
    const Head head = open_head(j, b, h, scratch);
    float *p = head.row, *dp = p + j->row, *undropped = p;

    dots(j, p, head.q, head.k);
    kernels->softmax_again(p, j->T, j->scale, j->lse[b * j->H + h]);
    dots(j, dp, head.dctx, head.v);
    if (vitro_dropout_on(&j->shape->dropout)) {
        undropped = dp + j->row;
        memcpy(undropped, p, (size_t)j->T * sizeof *p);
        drop(j, p, b, h);
        drop(j, dp, b, h);
    }
    const float delta = kernels->dot(head.dctx, head.ctx, j->Dh);
    kernels->softmax_backward(dp, undropped, dp, j->T, delta, j->scale); /* now q k^T's */
    for (int64_t t = 0; t < j->T; t++) {
        const int64_t at = head.at_kv + t * 2 * j->D;
        kernels->scale_add(head.out, head.q, dp[t], NULL, j->Dh);
        vitro_cpu_put(kernels, j->dkv, at, head.out, j->Dh);
        kernels->scale_add(head.out, head.dctx, p[t], NULL, j->Dh);
        vitro_cpu_put(kernels, j->dkv, at + j->D, head.out, j->Dh);
    }
    mix(j, head.out, dp, head.k);
    vitro_cpu_put(kernels, j->dq, head.at, head.out, j->Dh);
}

typedef void HeadFn(const Job *j, int64_t b, int64_t h, float *scratch);

static VitroStatus each_head(VitroDevice *dev, const Job *job, int64_t batch, int rows, HeadFn *fn)
{
    const int64_t heads = batch * job->H, each = head_floats(job, rows);
    void *memory = NULL;
    VITRO_TRY(
        vitro_scratch(&memory, VITRO_SCRATCH_OP, (size_t)(dev->threads * each) * sizeof(float)));
    PARALLEL(heads * job->T * job->Dh)
    for (int64_t i = 0; i < heads; i++)
        fn(job, i / job->H, i % job->H, (float *)memory + omp_get_thread_num() * each);
    return VITRO_OK;
}

VitroStatus vitro_cpu_attention_cls(VitroDevice *dev, VitroTensor ctx, VitroTensor lse,
                                    VitroTensor q, VitroTensor kv, const VitroAttentionShape *shape)
{
    Job job = make_job(dev, q, kv, shape);
    job.out = ctx;
    job.lse = lse.data;
    return each_head(dev, &job, kv.dim[0], 1, forward_head);
}

VitroStatus vitro_cpu_attention_cls_backward(VitroDevice *dev, VitroTensor dq, VitroTensor dkv,
                                             VitroTensor dctx, VitroTensor q, VitroTensor kv,
                                             VitroTensor ctx, VitroTensor lse,
                                             const VitroAttentionShape *shape)
{
    Job job = make_job(dev, q, kv, shape);
    job.dq = dq;
    job.dkv = dkv;
    job.ctx = ctx;
    job.dctx = dctx;
    job.lse = lse.data;
    return each_head(dev, &job, kv.dim[0], 3, backward_head);
}
