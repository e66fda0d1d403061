/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels of the CUDA back end, as C calls them: raw pointers into device memory, sizes, and
 * the stream (a cudaStream_t) on which they are put. They allocate nothing and wait for nothing;
 * VITRO_E_BACKEND is what the launch was answered with. Tensors are contiguous and of F32 or BF16,
 * as their VitroDtype says; arithmetic and sums are float32 at least, and sums over rows have one
 * order: every call with equal arguments gives equal bits.
 *
 * No CUDA header is needed to read this. */
#ifndef VITRO_BACKEND_CUDA_KERNELS_H
#define VITRO_BACKEND_CUDA_KERNELS_H

#include "kernels/args.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A matrix, or rows of a tensor: elements of `dtype`. data NULL: absent. */
typedef struct VitroCudaMatrix {
    void *data;
    VitroDtype dtype;
} VitroCudaMatrix;

/* ---- elementwise.cu ------------------------------------------------------------------------- */

/* to[n] = from[n], F32 and BF16 either way. */
VitroStatus vitro_cuda_cast(void *stream, VitroCudaMatrix to, VitroCudaMatrix from, int64_t n);

/* y[M,N] = residual + path scale drop act(x), where `pre` of the epilogue receives x where it is
 * there. y, x, residual and pre may be the same memory where element for element that makes sense;
 * x has its bias already, or gets `bias` [N] float32 (NULL: none). */
VitroStatus vitro_cuda_epilogue(void *stream, VitroCudaMatrix y, VitroCudaMatrix x,
                                const float *bias, const VitroEpilogue *e, int64_t M, int64_t N);
/* dpre[M,N] from dy[M,N], which may be the same. */
VitroStatus vitro_cuda_epilogue_backward(void *stream, VitroCudaMatrix dpre, VitroCudaMatrix dy,
                                         const VitroEpilogue *e, int64_t M, int64_t N);

/* dscale[N] += the gradient of the epilogue's scale, from dy[M,N]. workspace: as the next one's. */
VitroStatus vitro_cuda_scale_backward(void *stream, float *dscale, VitroCudaMatrix dy,
                                      const VitroEpilogue *e, int64_t M, int64_t N,
                                      float *workspace);
/* db[N] += the rows of dy[M,N]. workspace: float[vitro_cuda_pieces(M) * N]. */
VitroStatus vitro_cuda_add_rows(void *stream, float *db, VitroCudaMatrix dy, int64_t M, int64_t N,
                                float *workspace);
/* to[n] += the sum of partial[pieces][n], whose rows are `stride` apart. */
VitroStatus vitro_cuda_add_pieces(void *stream, float *to, const float *partial, int64_t pieces,
                                  int64_t stride, int64_t n);
/* to[n] += from[n] */
VitroStatus vitro_cuda_add(void *stream, float *to, const float *from, int64_t n);

/* Sums over M rows are made in so many pieces, which are then added in order. */
static inline int64_t vitro_cuda_pieces(int64_t M)
{
    int64_t pieces = (M + 63) / 64;
    return pieces > 256 ? 256 : pieces;
}

/* ---- layernorm.cu --------------------------------------------------------------------------- */

/* y[M,D] from x[M,D] float32; mean and rstd [M] receive what backward needs (NULL: inference). */
VitroStatus vitro_cuda_layernorm(void *stream, VitroCudaMatrix y, float *mean, float *rstd,
                                 const float *x, const float *gamma, const float *beta, double eps,
                                 int64_t M, int64_t D);
/* dx = add + gradient (add NULL, or dx); dgamma, dbeta [D] += (NULL: frozen). dx, add, dy, x
 * [M,D] float32. workspace: float[2 * vitro_cuda_pieces(M) * D]. */
VitroStatus vitro_cuda_layernorm_backward(void *stream, float *dx, float *dgamma, float *dbeta,
                                          const float *add, const float *dy, const float *x,
                                          const float *mean, const float *rstd, const float *gamma,
                                          int64_t M, int64_t D, float *workspace);

/* y[M,N] = x with a LayerNorm of each of `heads` pieces of Dh columns, from column `first` on; y
 * may be x, and is of its dtype. mean, rstd [M,heads] (NULL: inference). */
VitroStatus vitro_cuda_head_norm(void *stream, VitroCudaMatrix y, float *mean, float *rstd,
                                 VitroCudaMatrix x, const float *gamma, const float *beta,
                                 double eps, int64_t M, int64_t N, int64_t first, int64_t heads,
                                 int64_t Dh);
/* dx[M,N] in place; dgamma, dbeta [Dh] += (NULL: frozen). workspace:
 * float[2 * vitro_cuda_pieces(M) * Dh]. */
VitroStatus vitro_cuda_head_norm_backward(void *stream, VitroCudaMatrix dx, float *dgamma,
                                          float *dbeta, VitroCudaMatrix x, const float *mean,
                                          const float *rstd, const float *gamma, int64_t M,
                                          int64_t N, int64_t first, int64_t heads, int64_t Dh,
                                          float *workspace);

/* ---- embed.cu ------------------------------------------------------------------------------- */

/* patches[B,N,C*P*P] from images[B,C,H,W] float32. */
VitroStatus vitro_cuda_patchify(void *stream, VitroCudaMatrix patches, const float *images,
                                int64_t B, int64_t C, int64_t H, int64_t W, int64_t P);
/* What x[B,T,D] is made of; each may be NULL. */
typedef struct VitroCudaTokens {
    float *emb, *cls, *reg, *pos; /* [B,N,D], [D], [R,D], [P,D] of the last P tokens */
    int64_t B, T, D, N, R, P;
} VitroCudaTokens;

VitroStatus vitro_cuda_tokens(void *stream, float *x, const VitroCudaTokens *from,
                              const VitroDropout *dropout);
/* `to` holds gradients: emb =, the others +=. */
VitroStatus vitro_cuda_tokens_backward(void *stream, const VitroCudaTokens *to, const float *dx,
                                       const VitroDropout *dropout);
/* y[B,n,D] = x[B,T,D]'s tokens from `first` on, or these += y. */
VitroStatus vitro_cuda_take_tokens(void *stream, VitroCudaMatrix y, VitroCudaMatrix x, int64_t B,
                                   int64_t n, int64_t T, int64_t D, int64_t first);
VitroStatus vitro_cuda_add_tokens(void *stream, VitroCudaMatrix x, VitroCudaMatrix y, int64_t B,
                                  int64_t n, int64_t T, int64_t D, int64_t first);
/* y[B,D] = the mean of x[B,T,D]'s tokens from `first` on, and the way back, which sets all of dx.
 */
VitroStatus vitro_cuda_mean_tokens(void *stream, VitroCudaMatrix y, VitroCudaMatrix x, int64_t B,
                                   int64_t T, int64_t D, int64_t first);
VitroStatus vitro_cuda_mean_tokens_backward(void *stream, VitroCudaMatrix dx, VitroCudaMatrix dy,
                                            int64_t B, int64_t T, int64_t D, int64_t first);

/* ---- loss.cu: the loss, and what acts on flat ranges ------------------------------------------
 */

VitroStatus vitro_cuda_cross_entropy(void *stream, double *losses, int32_t *best, float *dlogits,
                                     const float *logits, const int32_t *labels, double smoothing,
                                     double grad_scale, int64_t B, int64_t K);

enum { VITRO_CUDA_SUM_BLOCKS = 512 };
/* *out = sum of g[n]^2, in device memory. workspace: double[VITRO_CUDA_SUM_BLOCKS]. */
VitroStatus vitro_cuda_sum_of_squares(void *stream, double *out, const float *g, int64_t n,
                                      double *workspace);
/* `step` is in device memory. */
VitroStatus vitro_cuda_sgd(void *stream, float *param, const float *grad, float *momentum,
                           int64_t n, const VitroOptimStep *step);
VitroStatus vitro_cuda_adamw(void *stream, float *param, const float *grad, float *m, float *v,
                             int64_t n, const VitroOptimStep *step);

/* ---- attention*.cu -------------------------------------------------------------------------- */

/* What the four ops are told alike. All of q, k, v, ctx and their gradients are of `dtype`; lse is
 * float32. */
typedef struct VitroCudaAttention {
    VitroDtype dtype;
    int64_t B, T, D;
    VitroAttentionShape shape; /* dropout.state is in device memory */
    bool deterministic;        /* equal bits from equal arguments, whatever that costs */
    void *workspace;           /* vitro_cuda_attention_workspace bytes, 256 bytes aligned */
} VitroCudaAttention;

/* Bytes of workspace that the op needs for it; backward: one of the two backward ops. */
size_t vitro_cuda_attention_workspace(const VitroCudaAttention *a, bool backward);

/* ctx[B,T,D] and lse[B,H,T] (NULL: inference) from qkv[B,T,3D]. */
VitroStatus vitro_cuda_attention_forward(void *stream, const VitroCudaAttention *a, void *ctx,
                                         float *lse, const void *qkv);
/* dqkv[B,T,3D] from dctx[B,T,D]. */
VitroStatus vitro_cuda_attention_backward(void *stream, const VitroCudaAttention *a, void *dqkv,
                                          const void *dctx, const void *qkv, const void *ctx,
                                          const float *lse);
/* ctx[B,D] and lse[B,H] (NULL: inference) from q[B,D] and kv[B,T,2D]. */
VitroStatus vitro_cuda_attention_cls_forward(void *stream, const VitroCudaAttention *a, void *ctx,
                                             float *lse, const void *q, const void *kv);
/* dq[B,D] and dkv[B,T,2D] from dctx[B,D]. */
VitroStatus vitro_cuda_attention_cls_backward(void *stream, const VitroCudaAttention *a, void *dq,
                                              void *dkv, const void *dctx, const void *q,
                                              const void *kv, const void *ctx, const float *lse);

#ifdef __cplusplus
}
#endif
#endif
