/* SPDX-License-Identifier: Apache-2.0 */
/* Attention where the class token alone asks: a vector against matrices, so each k and v is read
 * once, where it lies. attention.c, which packs them, is for the case that all tokens ask. */
#include "backend/cpu/cpu_int.h"

#include <assert.h>
#include <omp.h>
#include <string.h>

/* What is the same for all heads. */
typedef struct Job {
    const VitroKernels *kernels;
    const VitroAttentionShape *shape;
    int64_t T, H, Dh, D;
    int64_t row; /* floats that one row of T takes in the working memory */
    float scale;
    const float *q, *kv, *ctx, *dctx;
    float *out, *dq, *dkv, *lse;
} Job;

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
               .q = q.data,
               .kv = kv.data};
    job.Dh = job.D / job.H;
    assert(job.Dh * job.H == job.D && kv.dim[2] == 2 * job.D);
    return job;
}

/* out[T] = x . each of the T rows of m, which are 2D apart */
static void dots(const Job *j, float *out, const float *x, const float *m)
{
    for (int64_t t = 0; t < j->T; t++)
        out[t] = j->kernels->dot(x, m + t * 2 * j->D, j->Dh);
}

/* out[Dh] = the sum of those rows, each times its weight */
static void mix(const Job *j, float *out, const float *weight, const float *m)
{
    j->kernels->gemm(&(VitroGemm){.m = 1,
                                  .n = j->Dh,
                                  .k = j->T,
                                  .c = out,
                                  .ldc = j->Dh,
                                  .a = weight,
                                  .a_row = j->T,
                                  .a_col = 1,
                                  .b = m,
                                  .ldb = 2 * j->D});
}

/* Dropout of the row i = 0 of head h's probabilities. */
static void drop(const Job *j, float *row, int64_t b, int64_t h)
{
    const VitroDropKey key = vitro_cpu_drop_key(&j->shape->dropout, b);
    j->kernels->dropout(row, row, j->T, (uint64_t)(h * j->T * j->T), &key);
}

static void forward_head(const Job *j, int64_t b, int64_t h, float *p)
{
    const int64_t at = b * j->D + h * j->Dh;
    const float *k = j->kv + b * j->T * 2 * j->D + h * j->Dh, *v = k + j->D;
    dots(j, p, j->q + at, k);
    const float inverse_sum =
        j->kernels->softmax(p, j->T, j->scale, j->lse ? j->lse + b * j->H + h : NULL);
    if (vitro_dropout_on(&j->shape->dropout))
        drop(j, p, b, h);
    mix(j, j->out + at, p, v);
    j->kernels->scale_add(j->out + at, j->out + at, inverse_sum, NULL, j->Dh);
}

/* See attention.c for the formulas. scratch: three rows of T. */
static void backward_head(const Job *j, int64_t b, int64_t h, float *scratch)
{
    const VitroKernels *kernels = j->kernels;
    const int64_t at = b * j->D + h * j->Dh, at_kv = b * j->T * 2 * j->D + h * j->Dh;
    const float *q = j->q + at, *dctx = j->dctx + at, *k = j->kv + at_kv, *v = k + j->D;
    float *p = scratch, *dp = p + j->row, *undropped = p;

    dots(j, p, q, k);
    kernels->softmax_again(p, j->T, j->scale, j->lse[b * j->H + h]);
    dots(j, dp, dctx, v);
    if (vitro_dropout_on(&j->shape->dropout)) {
        undropped = dp + j->row;
        memcpy(undropped, p, (size_t)j->T * sizeof *p);
        drop(j, p, b, h);
        drop(j, dp, b, h);
    }
    const float delta = kernels->dot(dctx, j->ctx + at, j->Dh);
    kernels->softmax_backward(dp, undropped, dp, j->T, delta, j->scale); /* now q k^T's */
    for (int64_t t = 0; t < j->T; t++) {
        float *dk = j->dkv + at_kv + t * 2 * j->D, *dv = dk + j->D;
        kernels->scale_add(dk, q, dp[t], NULL, j->Dh);
        kernels->scale_add(dv, dctx, p[t], NULL, j->Dh);
    }
    mix(j, j->dq + at, dp, k);
}

typedef void HeadFn(const Job *j, int64_t b, int64_t h, float *scratch);

static VitroStatus each_head(VitroDevice *dev, const Job *job, int64_t batch, int rows, HeadFn *fn)
{
    const int64_t heads = batch * job->H, each = rows * job->row;
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
    job.out = ctx.data;
    job.lse = lse.data;
    return each_head(dev, &job, kv.dim[0], 1, forward_head);
}

VitroStatus vitro_cpu_attention_cls_backward(VitroDevice *dev, VitroTensor dq, VitroTensor dkv,
                                             VitroTensor dctx, VitroTensor q, VitroTensor kv,
                                             VitroTensor ctx, VitroTensor lse,
                                             const VitroAttentionShape *shape)
{
    Job job = make_job(dev, q, kv, shape);
    job.dq = dq.data;
    job.dkv = dkv.data;
    job.ctx = ctx.data;
    job.dctx = dctx.data;
    job.lse = lse.data;
    return each_head(dev, &job, kv.dim[0], 3, backward_head);
}
