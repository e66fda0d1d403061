/* SPDX-License-Identifier: Apache-2.0 */
/* The reference kernels: every op of the model in plain C, one piece of it (a row, a token of a
 * head, an element) per call, computed in double whatever the tensors store. They are the text to
 * read first and the oracle of the tests; they are never made faster at the cost of a line.
 *
 * No threads, no allocation, no failure: backend/ref/ref.c checks, loops over the pieces, and may
 * run any of them at the same time, because each writes elements that no other one touches.
 *
 * Sizes: B batch, T tokens, D width, H heads, K classes; a product is [M,N] = [M,K] [N,K]^T. */
#ifndef VITRO_KERNELS_REF_REF_H
#define VITRO_KERNELS_REF_REF_H

#include "kernels/args.h"

/* Element i (row-major) of t, which stores float or double. */
static inline double get(VitroTensor t, int64_t i)
{
    return t.dtype == VITRO_F64 ? ((const double *)t.data)[i] : (double)((const float *)t.data)[i];
}

static inline void put(VitroTensor t, int64_t i, double value)
{
    if (t.dtype == VITRO_F64)
        ((double *)t.data)[i] = value;
    else
        ((float *)t.data)[i] = (float)value;
}

static inline void add_to(VitroTensor t, int64_t i, double value)
{
    put(t, i, get(t, i) + value);
}

/* ---- activation.c, drop.c -------------------------------------------------------------------- */

double vitro_ref_act(VitroAct act, double x);
double vitro_ref_act_slope(VitroAct act, double x); /* its derivative at x */

/* What dropout multiplies element e of the batch's sample b by: 0, or 1/(1 - ratio). */
double vitro_ref_drop(const VitroDropout *d, int64_t b, int64_t e);

/* ---- linear.c -------------------------------------------------------------------------------- */

/* Row m of y[M,N] = epilogue(x[M,K] w[N,K]^T + b[N]). */
void vitro_ref_linear(VitroTensor y, VitroTensor x, const VitroWeight *weight,
                      const VitroEpilogue *epilogue, int64_t m);
/* Row m of dpre[M,N], the gradient of x w^T + b, from dy[M,N], the gradient of its epilogue. */
void vitro_ref_epilogue_backward(VitroTensor dpre, VitroTensor dy, const VitroEpilogue *epilogue,
                                 int64_t m);
/* Element n of dscale[N] +=, the gradient of epilogue->scale. */
void vitro_ref_scale_backward(VitroTensor dscale, VitroTensor dy, const VitroEpilogue *epilogue,
                              int64_t n);
/* Row m of dx[M,K] = dpre[M,N] w[N,K], then back through the epilogue that made x (or NULL). */
void vitro_ref_linear_backward_x(VitroTensor dx, VitroTensor dpre, VitroTensor w,
                                 const VitroEpilogue *through, int64_t m);
/* Row n of dw[N,K] += dpre[M,N]^T x[M,K], and db[n] += sum of dpre's column (db may be absent). */
void vitro_ref_linear_backward_w(VitroTensor dw, VitroTensor db, VitroTensor dpre, VitroTensor x,
                                 int64_t n);

/* ---- layernorm.c ----------------------------------------------------------------------------- */

/* Row m of y[M,D]; mean[M], rstd[M] may be absent. */
void vitro_ref_layernorm(VitroTensor y, VitroTensor mean, VitroTensor rstd, VitroTensor x,
                         VitroTensor gamma, VitroTensor beta, double eps, int64_t m);
/* Row m of dx[M,D] = add[M,D] (may be absent, or dx) + gradient. */
void vitro_ref_layernorm_backward_x(VitroTensor dx, VitroTensor add, VitroTensor dy, VitroTensor x,
                                    VitroTensor mean, VitroTensor rstd, VitroTensor gamma,
                                    int64_t m);
/* Column d of dgamma[D] and dbeta[D] +=; either may be absent. */
void vitro_ref_layernorm_backward_w(VitroTensor dgamma, VitroTensor dbeta, VitroTensor dy,
                                    VitroTensor x, VitroTensor mean, VitroTensor rstd, int64_t d);

/* Row m of y[M,N] = x, but for a LayerNorm of each of `heads` pieces of gamma's length, from column
 * `first` on; mean and rstd [M,heads]. */
void vitro_ref_head_norm(VitroTensor y, VitroTensor mean, VitroTensor rstd, VitroTensor x,
                         VitroTensor gamma, VitroTensor beta, double eps, int64_t first,
                         int64_t heads, int64_t m);
/* Element d of dgamma and dbeta +=; either may be absent. */
void vitro_ref_head_norm_backward_w(VitroTensor dgamma, VitroTensor dbeta, VitroTensor dy,
                                    VitroTensor x, VitroTensor mean, VitroTensor rstd,
                                    VitroTensor gamma, int64_t first, int64_t heads, int64_t d);
/* Row m of dx: in, the gradient of y; out, that of x. */
void vitro_ref_head_norm_backward_x(VitroTensor dx, VitroTensor x, VitroTensor mean,
                                    VitroTensor rstd, VitroTensor gamma, int64_t first,
                                    int64_t heads, int64_t m);

/* ---- attention.c ----------------------------------------------------------------------------- */

/* Head h of token i of image b: ctx[B,T,D], lse[B,H,T] (may be absent) from qkv[B,T,3D]. */
void vitro_ref_attention(VitroTensor ctx, VitroTensor lse, VitroTensor qkv,
                         const VitroAttentionShape *shape, int64_t b, int64_t h, int64_t i);
/* Head h of token t of image b: its dq, dk and dv in dqkv[B,T,3D]. */
void vitro_ref_attention_backward(VitroTensor dqkv, VitroTensor dctx, VitroTensor qkv,
                                  VitroTensor ctx, VitroTensor lse,
                                  const VitroAttentionShape *shape, int64_t b, int64_t h,
                                  int64_t t);
/* The same where the class token alone asks. Head h of image b: ctx[B,D], lse[B,H] (may be absent)
 * from q[B,D], kv[B,T,2D]. */
void vitro_ref_attention_cls(VitroTensor ctx, VitroTensor lse, VitroTensor q, VitroTensor kv,
                             const VitroAttentionShape *shape, int64_t b, int64_t h);
/* Head h of token t of image b: its dk and dv in dkv[B,T,2D]; with token 0 its dq in dq[B,D]. */
void vitro_ref_attention_cls_backward(VitroTensor dq, VitroTensor dkv, VitroTensor dctx,
                                      VitroTensor q, VitroTensor kv, VitroTensor ctx,
                                      VitroTensor lse, const VitroAttentionShape *shape, int64_t b,
                                      int64_t h, int64_t t);

/* ---- embed.c: the model's first and last steps ----------------------------------------------- */

/* Image b: patches[B,N,C*P*P] from images[B,C,height,width]. */
void vitro_ref_patchify(VitroTensor patches, VitroTensor images, int64_t P, int64_t b);
/* Image b: x[B,T,D] from cls[D], reg[R,D], emb[B,N,D] (each may be absent) and pos[T or N,D]. */
void vitro_ref_tokens(VitroTensor x, VitroTensor emb, VitroTensor cls, VitroTensor reg,
                      VitroTensor pos, const VitroDropout *dropout, int64_t b);
/* Token t of all images: demb[B,N,D] =, dcls[D] +=, dreg[R,D] +=, dpos +=; each may be absent. */
void vitro_ref_tokens_backward(VitroTensor demb, VitroTensor dcls, VitroTensor dreg,
                               VitroTensor dpos, VitroTensor dx, int64_t N,
                               const VitroDropout *dropout, int64_t t);
/* Image b: y[B,n,D] (or [B,D]) = tokens first.. of x[B,T,D]; and these tokens of x += y. */
void vitro_ref_take_tokens(VitroTensor y, VitroTensor x, int64_t first, int64_t b);
void vitro_ref_add_tokens(VitroTensor x, VitroTensor y, int64_t first, int64_t b);
/* Image b: y[B,D] = the mean of tokens first.. of x[B,T,D]; and the way back. */
void vitro_ref_mean_tokens(VitroTensor y, VitroTensor x, int64_t first, int64_t b);
void vitro_ref_mean_tokens_backward(VitroTensor dx, VitroTensor dy, int64_t first, int64_t b);

/* ---- loss.c ---------------------------------------------------------------------------------- */

/* Image b of logits[B,K], with 0 <= label < K: its loss; *best, the first index of its largest
 * logit; and its row of dlogits[B,K] (may be absent). */
double vitro_ref_cross_entropy(int32_t *best, VitroTensor dlogits, VitroTensor logits,
                               int32_t label, double smoothing, double grad_scale, int64_t b);

/* ---- optim.c --------------------------------------------------------------------------------- */

/* Element i of a flat range. */
void vitro_ref_sgd(VitroTensor param, VitroTensor grad, VitroTensor momentum,
                   const VitroOptimStep *step, int64_t i);
void vitro_ref_adamw(VitroTensor param, VitroTensor grad, VitroTensor m, VitroTensor v,
                     const VitroOptimStep *step, int64_t i);

#endif
