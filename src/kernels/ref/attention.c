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

/* Where q, k, v, ctx or one of their gradients lies: token t of image b begins at element
 * (b tokens + t) stride + first. */
typedef struct Part {
    VitroTensor x;
    int64_t tokens, stride, first;
} Part;

/* The head that is being worked on, and what is known about it. */
typedef struct Head {
    const VitroAttentionShape *shape;
    Part q, k, v;
    Part ctx, dctx; /* in the backward pass only, like lse[B,H,Q] */
    VitroTensor lse;
    int64_t b, h, Dh;
    int64_t Q, T; /* tokens that ask, tokens that are looked at */
} Head;

/* Every token asks: qkv[B,T,3D], its last dimension (3,H,Dh). */
static Head make_head(VitroTensor qkv, const VitroAttentionShape *shape, int64_t b, int64_t h)
{
    int64_t T = qkv.dim[1], D = vitro_tensor_cols(&qkv) / 3;
    return (Head){.shape = shape,
                  .q = {qkv, T, 3 * D, 0},
                  .k = {qkv, T, 3 * D, D},
                  .v = {qkv, T, 3 * D, 2 * D},
                  .b = b,
                  .h = h,
                  .Dh = D / shape->heads,
                  .Q = T,
                  .T = T};
}

/* The class token alone asks: q[B,D], kv[B,T,2D]. */
static Head make_cls_head(VitroTensor q, VitroTensor kv, const VitroAttentionShape *shape,
                          int64_t b, int64_t h)
{
    int64_t T = kv.dim[1], D = vitro_tensor_cols(&q);
    return (Head){.shape = shape,
                  .q = {q, 1, D, 0},
                  .k = {kv, T, 2 * D, 0},
                  .v = {kv, T, 2 * D, D},
                  .b = b,
                  .h = h,
                  .Dh = D / shape->heads,
                  .Q = 1,
                  .T = T};
}

/* [B,Q,D] */
static Part queries(const Head *a, VitroTensor x)
{
    return (Part){x, a->Q, vitro_tensor_cols(&x), 0};
}

/* Where this head's piece of token t begins. */
static int64_t at(const Head *a, const Part *p, int64_t t)
{
    return (a->b * p->tokens + t) * p->stride + p->first + a->h * a->Dh;
}

/* x of token i . y of token j */
static double dot(const Head *a, const Part *x, int64_t i, const Part *y, int64_t j)
{
    int64_t at_x = at(a, x, i), at_y = at(a, y, j);
    double sum = 0;
    for (int64_t d = 0; d < a->Dh; d++)
        sum += get(x->x, at_x + d) * get(y->x, at_y + d);
    return sum;
}

static double score(const Head *a, int64_t i, int64_t j)
{
    return a->shape->scale * dot(a, &a->q, i, &a->k, j);
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

/* s += factor * (x of token t) */
static void accumulate(Slice *s, double factor, const Head *a, const Part *x, int64_t t)
{
    int64_t from = at(a, x, t) + s->d0;
    for (int64_t d = 0; d < s->n; d++)
        s->sum[d] += factor * get(x->x, from + d);
}

static void store(const Head *a, const Part *y, int64_t t, const Slice *s, double factor)
{
    int64_t to = at(a, y, t) + s->d0;
    for (int64_t d = 0; d < s->n; d++)
        put(y->x, to + d, factor * s->sum[d]);
}

/* ctx_i, and lse_i where it is wanted. */
static void attend(const Head *a, VitroTensor ctx, VitroTensor lse, int64_t i)
{
    Part to = queries(a, ctx);
    double lse_i = log_sum_exp(a, i);
    if (lse.data)
        put(lse, (a->b * a->shape->heads + a->h) * a->Q + i, lse_i);
    for (int64_t d0 = 0; d0 < a->Dh; d0 += SLICE) {
        Slice ctx_i = make_slice(a, d0);
        for (int64_t j = 0; j < a->T; j++) {
            double p = exp(score(a, i, j) - lse_i);
            accumulate(&ctx_i, drop(a, i, j) * p, a, &a->v, j);
        }
        store(a, &to, i, &ctx_i, 1);
    }
}

void vitro_ref_attention(VitroTensor ctx, VitroTensor lse, VitroTensor qkv,
                         const VitroAttentionShape *shape, int64_t b, int64_t h, int64_t i)
{
    Head a = make_head(qkv, shape, b, h);
    attend(&a, ctx, lse, i);
}

void vitro_ref_attention_cls(VitroTensor ctx, VitroTensor lse, VitroTensor q, VitroTensor kv,
                             const VitroAttentionShape *shape, int64_t b, int64_t h)
{
    Head a = make_cls_head(q, kv, shape, b, h);
    attend(&a, ctx, lse, 0);
}

/* ---- backward ----------------------------------------------------------------------------------
 *
 *     dv_j  = sum_i drop_ij p_ij dctx_i
 *     dp_ij = drop_ij dctx_i . v_j
 *     ds_ij = p_ij (dp_ij - sum_k p_ik dp_ik) = p_ij (dp_ij - dctx_i . ctx_i)
 *     dq_i  = scale sum_j ds_ij k_j            dk_j = scale sum_i ds_ij q_i */

static double probability(const Head *a, int64_t i, int64_t j)
{
    return exp(score(a, i, j) - get(a->lse, (a->b * a->shape->heads + a->h) * a->Q + i));
}

static double score_gradient(const Head *a, int64_t i, int64_t j)
{
    double dp = drop(a, i, j) * dot(a, &a->dctx, i, &a->v, j);
    double mean_dp = dot(a, &a->dctx, i, &a->ctx, i);
    return probability(a, i, j) * (dp - mean_dp);
}

static void query_backward(const Head *a, Part dq, int64_t i)
{
    for (int64_t d0 = 0; d0 < a->Dh; d0 += SLICE) {
        Slice sum = make_slice(a, d0);
        for (int64_t j = 0; j < a->T; j++)
            accumulate(&sum, score_gradient(a, i, j), a, &a->k, j);
        store(a, &dq, i, &sum, a->shape->scale);
    }
}

static void key_value_backward(const Head *a, Part dk, Part dv, int64_t j)
{
    for (int64_t d0 = 0; d0 < a->Dh; d0 += SLICE) {
        Slice sum_k = make_slice(a, d0), sum_v = sum_k;
        for (int64_t i = 0; i < a->Q; i++) {
            accumulate(&sum_k, score_gradient(a, i, j), a, &a->q, i);
            accumulate(&sum_v, drop(a, i, j) * probability(a, i, j), a, &a->dctx, i);
        }
        store(a, &dk, j, &sum_k, a->shape->scale);
        store(a, &dv, j, &sum_v, 1);
    }
}

/* A gradient lies in `dx` as its part lies in its own tensor. */
static Part gradient_of(Part part, VitroTensor dx)
{
    part.x = dx;
    return part;
}

void vitro_ref_attention_backward(VitroTensor dqkv, VitroTensor dctx, VitroTensor qkv,
                                  VitroTensor ctx, VitroTensor lse,
                                  const VitroAttentionShape *shape, int64_t b, int64_t h, int64_t t)
{
    Head a = make_head(qkv, shape, b, h);
    a.ctx = queries(&a, ctx), a.dctx = queries(&a, dctx), a.lse = lse;
    query_backward(&a, gradient_of(a.q, dqkv), t);
    key_value_backward(&a, gradient_of(a.k, dqkv), gradient_of(a.v, dqkv), t);
}

void vitro_ref_attention_cls_backward(VitroTensor dq, VitroTensor dkv, VitroTensor dctx,
                                      VitroTensor q, VitroTensor kv, VitroTensor ctx,
                                      VitroTensor lse, const VitroAttentionShape *shape, int64_t b,
                                      int64_t h, int64_t t)
{
    Head a = make_cls_head(q, kv, shape, b, h);
    a.ctx = queries(&a, ctx), a.dctx = queries(&a, dctx), a.lse = lse;
    if (t == 0)
        query_backward(&a, gradient_of(a.q, dq), 0);
    key_value_backward(&a, gradient_of(a.k, dkv), gradient_of(a.v, dkv), t);
}
