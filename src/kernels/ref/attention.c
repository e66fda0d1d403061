/* SPDX-License-Identifier: Apache-2.0 */
/* Scaled dot-product attention (Vaswani et al., arXiv:1706.03762, Eq. 1) of one head:
 *
 *     s_ij = scale q_i . k_j      p_ij = exp(s_ij) / sum_j exp(s_ij)      ctx_i = sum_j drop_ij
 * p_ij v_j
 *
 * No row of s or p is ever stored: lse_i = log sum_j exp(s_ij) is enough to compute p_ij again,
 * which is what the backward pass does too (Dao et al., FlashAttention, arXiv:2205.14135). */
#include <math.h>

#include "kernels/ref/ref.h"

/* The head that is being worked on, and what is known about it. */
typedef struct Head {
    const VitroAttentionShape *shape;
    VitroTensor qkv;            /* [B,T,3D], last dimension (3,H,Dh) */
    VitroTensor ctx, dctx, lse; /* [B,T,D], [B,T,D], [B,H,T]: in the backward pass only */
    int64_t b, h, T, D, Dh;
} Head;

enum { Q = 0, K = 1, V = 2 };

static Head make_head(VitroTensor qkv, const VitroAttentionShape *shape, int64_t b, int64_t h)
{
    int64_t D = vitro_tensor_cols(&qkv) / 3;
    return (Head){.shape = shape,
                  .qkv = qkv,
                  .b = b,
                  .h = h,
                  .T = qkv.dim[1],
                  .D = D,
                  .Dh = D / shape->heads};
}

/* Where this head's part of token t begins: in q, k or v of [B,T,3D] ... */
static int64_t at_qkv(const Head *a, int part, int64_t t)
{
    return ((a->b * a->T + t) * 3 + part) * a->D + a->h * a->Dh;
}

/* ... and in [B,T,D]. */
static int64_t at_ctx(const Head *a, int64_t t)
{
    return (a->b * a->T + t) * a->D + a->h * a->Dh;
}

static double dot(VitroTensor x, int64_t at_x, VitroTensor y, int64_t at_y, int64_t n)
{
    double sum = 0;
    for (int64_t d = 0; d < n; d++)
        sum += get(x, at_x + d) * get(y, at_y + d);
    return sum;
}

static double score(const Head *a, int64_t i, int64_t j)
{
    return a->shape->scale * dot(a->qkv, at_qkv(a, Q, i), a->qkv, at_qkv(a, K, j), a->Dh);
}

static double drop(const Head *a, int64_t i, int64_t j)
{
    return vitro_ref_drop(&a->shape->dropout, a->b, (a->h * a->T + i) * a->T + j);
}

/* The largest score is taken out before exp, as every softmax does, so that exp cannot overflow. */
static double log_sum_exp(const Head *a, int64_t i)
{
    double max = -INFINITY, sum = 0;
    for (int64_t j = 0; j < a->T; j++)
        max = fmax(max, score(a, i, j));
    for (int64_t j = 0; j < a->T; j++)
        sum += exp(score(a, i, j) - max);
    return max + log(sum);
}

/* A vector of Dh elements is summed up this many at a time, so that the sums fit on the stack. */
enum { SLICE = 64 };
typedef struct Slice {
    double sum[SLICE];
    int64_t d0, n; /* elements d0 .. d0 + n - 1 of Dh */
} Slice;

static Slice make_slice(const Head *a, int64_t d0)
{
    return (Slice){.d0 = d0, .n = a->Dh - d0 < SLICE ? a->Dh - d0 : SLICE};
}

/* s += factor * (the vector that begins at x[at]) */
static void accumulate(Slice *s, double factor, VitroTensor x, int64_t at)
{
    for (int64_t d = 0; d < s->n; d++)
        s->sum[d] += factor * get(x, at + s->d0 + d);
}

static void store(VitroTensor y, int64_t at, const Slice *s, double factor)
{
    for (int64_t d = 0; d < s->n; d++)
        put(y, at + s->d0 + d, factor * s->sum[d]);
}

void vitro_ref_attention(VitroTensor ctx, VitroTensor lse, VitroTensor qkv,
                         const VitroAttentionShape *shape, int64_t b, int64_t h, int64_t i)
{
    Head a = make_head(qkv, shape, b, h);
    double lse_i = log_sum_exp(&a, i);
    if (lse.data)
        put(lse, (b * shape->heads + h) * a.T + i, lse_i);
    for (int64_t d0 = 0; d0 < a.Dh; d0 += SLICE) {
        Slice ctx_i = make_slice(&a, d0);
        for (int64_t j = 0; j < a.T; j++) {
            double p = exp(score(&a, i, j) - lse_i);
            accumulate(&ctx_i, drop(&a, i, j) * p, qkv, at_qkv(&a, V, j));
        }
        store(ctx, at_ctx(&a, i), &ctx_i, 1);
    }
}

/* ---- backward ----------------------------------------------------------------------------------
 *
 *     dv_j  = sum_i drop_ij p_ij dctx_i
 *     dp_ij = drop_ij dctx_i . v_j
 *     ds_ij = p_ij (dp_ij - sum_k p_ik dp_ik) = p_ij (dp_ij - dctx_i . ctx_i)
 *     dq_i  = scale sum_j ds_ij k_j            dk_j = scale sum_i ds_ij q_i */

static double probability(const Head *a, int64_t i, int64_t j)
{
    return exp(score(a, i, j) - get(a->lse, (a->b * a->shape->heads + a->h) * a->T + i));
}

static double score_gradient(const Head *a, int64_t i, int64_t j)
{
    double dp = drop(a, i, j) * dot(a->dctx, at_ctx(a, i), a->qkv, at_qkv(a, V, j), a->Dh);
    double mean_dp = dot(a->dctx, at_ctx(a, i), a->ctx, at_ctx(a, i), a->Dh);
    return probability(a, i, j) * (dp - mean_dp);
}

void vitro_ref_attention_backward(VitroTensor dqkv, VitroTensor dctx, VitroTensor qkv,
                                  VitroTensor ctx, VitroTensor lse,
                                  const VitroAttentionShape *shape, int64_t b, int64_t h, int64_t t)
{
    Head a = make_head(qkv, shape, b, h);
    a.ctx = ctx, a.dctx = dctx, a.lse = lse;
    for (int64_t d0 = 0; d0 < a.Dh; d0 += SLICE) {
        Slice dq = make_slice(&a, d0), dk = dq, dv = dq;
        for (int64_t o = 0; o < a.T; o++) { /* every other token, and itself */
            accumulate(&dq, score_gradient(&a, t, o), qkv, at_qkv(&a, K, o));
            accumulate(&dk, score_gradient(&a, o, t), qkv, at_qkv(&a, Q, o));
            accumulate(&dv, drop(&a, o, t) * probability(&a, o, t), dctx, at_ctx(&a, o));
        }
        store(dqkv, at_qkv(&a, Q, t), &dq, shape->scale);
        store(dqkv, at_qkv(&a, K, t), &dk, shape->scale);
        store(dqkv, at_qkv(&a, V, t), &dv, 1);
    }
}
