/* SPDX-License-Identifier: Apache-2.0 */
/* The ops that are one kernel or two: from tensors to what kernels.h takes. */
#include "backend/cuda/cuda_int.h"

#include <assert.h>

static VitroCudaMatrix matrix(VitroTensor t)
{
    return (VitroCudaMatrix){t.data, t.dtype};
}

static void *stream_of(const VitroDevice *dev)
{
    return vitro_cuda(dev)->stream;
}

/* A launch that needs no scratch memory. */
#define RUN(launch)                                                                                \
    do {                                                                                           \
        VITRO_TRY(vitro_cuda_begin(dev));                                                          \
        return vitro_cuda_end(dev, launch);                                                        \
    } while (0)

VitroStatus vitro_cuda_op_epilogue_backward(VitroDevice *dev, VitroTensor dpre, VitroTensor dy,
                                            const VitroEpilogue *e)
{
    assert(e->act == VITRO_ACT_NONE || e->pre.data);
    assert(e->rows_per_sample > 0);
    if (dpre.data == dy.data && !vitro_epilogue_changes_gradient(e))
        return VITRO_OK;
    RUN(vitro_cuda_epilogue_backward(stream_of(dev), matrix(dpre), matrix(dy), e,
                                     vitro_tensor_rows(&dy), vitro_tensor_cols(&dy)));
}

static VitroStatus scale_backward(VitroDevice *dev, VitroTensor dscale, VitroTensor dy,
                                  const VitroEpilogue *e)
{
    const int64_t M = vitro_tensor_rows(&dy), N = vitro_tensor_cols(&dy);
    void *room;
    assert(e->pre.data && e->rows_per_sample > 0);
    VITRO_TRY(vitro_cuda_scratch(&room, dev, VITRO_CUDA_SCRATCH_SUM,
                                 (size_t)(vitro_cuda_pieces(M) * N) * sizeof(float)));
    return vitro_cuda_scale_backward(stream_of(dev), dscale.data, matrix(dy), e, M, N, room);
}

VitroStatus vitro_cuda_op_scale_backward(VitroDevice *dev, VitroTensor dscale, VitroTensor dy,
                                         const VitroEpilogue *e)
{
    RUN(scale_backward(dev, dscale, dy, e));
}

/* ---- layer norm --------------------------------------------------------------------------------
 */

VitroStatus vitro_cuda_op_layernorm(VitroDevice *dev, VitroTensor y, VitroTensor mean,
                                    VitroTensor rstd, VitroTensor x, VitroTensor gamma,
                                    VitroTensor beta, double eps)
{
    RUN(vitro_cuda_layernorm(stream_of(dev), matrix(y), mean.data, rstd.data, x.data, gamma.data,
                             beta.data, eps, vitro_tensor_rows(&x), vitro_tensor_cols(&x)));
}

static VitroStatus layernorm_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dgamma,
                                      VitroTensor dbeta, VitroTensor add, VitroTensor dy,
                                      VitroTensor x, VitroTensor mean, VitroTensor rstd,
                                      VitroTensor gamma)
{
    const int64_t M = vitro_tensor_rows(&x), D = vitro_tensor_cols(&x);
    void *room;
    VITRO_TRY(vitro_cuda_scratch(&room, dev, VITRO_CUDA_SCRATCH_SUM,
                                 (size_t)(2 * vitro_cuda_pieces(M) * D) * sizeof(float)));
    return vitro_cuda_layernorm_backward(stream_of(dev), dx.data, dgamma.data, dbeta.data, add.data,
                                         dy.data, x.data, mean.data, rstd.data, gamma.data, M, D,
                                         room);
}

VitroStatus vitro_cuda_op_layernorm_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dgamma,
                                             VitroTensor dbeta, VitroTensor add, VitroTensor dy,
                                             VitroTensor x, VitroTensor mean, VitroTensor rstd,
                                             VitroTensor gamma)
{
    RUN(layernorm_backward(dev, dx, dgamma, dbeta, add, dy, x, mean, rstd, gamma));
}

VitroStatus vitro_cuda_op_head_norm(VitroDevice *dev, VitroTensor y, VitroTensor mean,
                                    VitroTensor rstd, VitroTensor x, VitroTensor gamma,
                                    VitroTensor beta, double eps, int64_t first, int64_t heads)
{
    RUN(vitro_cuda_head_norm(stream_of(dev), matrix(y), mean.data, rstd.data, matrix(x), gamma.data,
                             beta.data, eps, vitro_tensor_rows(&x), vitro_tensor_cols(&x), first,
                             heads, gamma.dim[0]));
}

static VitroStatus head_norm_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dgamma,
                                      VitroTensor dbeta, VitroTensor x, VitroTensor mean,
                                      VitroTensor rstd, VitroTensor gamma, int64_t first,
                                      int64_t heads)
{
    const int64_t M = vitro_tensor_rows(&x), Dh = gamma.dim[0];
    void *room;
    VITRO_TRY(vitro_cuda_scratch(&room, dev, VITRO_CUDA_SCRATCH_SUM,
                                 (size_t)(2 * vitro_cuda_pieces(M) * Dh) * sizeof(float)));
    return vitro_cuda_head_norm_backward(stream_of(dev), matrix(dx), dgamma.data, dbeta.data,
                                         matrix(x), mean.data, rstd.data, gamma.data, M,
                                         vitro_tensor_cols(&x), first, heads, Dh, room);
}

VitroStatus vitro_cuda_op_head_norm_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dgamma,
                                             VitroTensor dbeta, VitroTensor x, VitroTensor mean,
                                             VitroTensor rstd, VitroTensor gamma, int64_t first,
                                             int64_t heads)
{
    RUN(head_norm_backward(dev, dx, dgamma, dbeta, x, mean, rstd, gamma, first, heads));
}

/* ---- attention ---------------------------------------------------------------------------------
 */

/* For `kv` [B,T,n D]; with workspace. */
static VitroStatus describe(VitroCudaAttention *a, VitroDevice *dev, VitroTensor kv, int64_t n,
                            const VitroAttentionShape *shape, bool backward)
{
    assert(kv.rank == 3 && kv.dim[2] % (n * shape->heads) == 0);
    *a = (VitroCudaAttention){.dtype = kv.dtype,
                              .B = kv.dim[0],
                              .T = kv.dim[1],
                              .D = kv.dim[2] / n,
                              .shape = *shape,
                              .deterministic = true};
    const size_t bytes = vitro_cuda_attention_workspace(a, backward);
    return bytes ? vitro_cuda_scratch(&a->workspace, dev, VITRO_CUDA_SCRATCH_ATTENTION, bytes)
                 : VITRO_OK;
}

static VitroStatus attention(VitroDevice *dev, VitroTensor ctx, VitroTensor lse, VitroTensor qkv,
                             const VitroAttentionShape *shape)
{
    VitroCudaAttention a;
    VITRO_TRY(describe(&a, dev, qkv, 3, shape, false));
    return vitro_cuda_attention_forward(stream_of(dev), &a, ctx.data, lse.data, qkv.data);
}

VitroStatus vitro_cuda_op_attention(VitroDevice *dev, VitroTensor ctx, VitroTensor lse,
                                    VitroTensor qkv, const VitroAttentionShape *shape)
{
    RUN(attention(dev, ctx, lse, qkv, shape));
}

static VitroStatus attention_backward(VitroDevice *dev, VitroTensor dqkv, VitroTensor dctx,
                                      VitroTensor qkv, VitroTensor ctx, VitroTensor lse,
                                      const VitroAttentionShape *shape)
{
    VitroCudaAttention a;
    VITRO_TRY(describe(&a, dev, qkv, 3, shape, true));
    return vitro_cuda_attention_backward(stream_of(dev), &a, dqkv.data, dctx.data, qkv.data,
                                         ctx.data, lse.data);
}

VitroStatus vitro_cuda_op_attention_backward(VitroDevice *dev, VitroTensor dqkv, VitroTensor dctx,
                                             VitroTensor qkv, VitroTensor ctx, VitroTensor lse,
                                             const VitroAttentionShape *shape)
{
    RUN(attention_backward(dev, dqkv, dctx, qkv, ctx, lse, shape));
}

static VitroStatus attention_cls(VitroDevice *dev, VitroTensor ctx, VitroTensor lse, VitroTensor q,
                                 VitroTensor kv, const VitroAttentionShape *shape)
{
    VitroCudaAttention a;
    VITRO_TRY(describe(&a, dev, kv, 2, shape, false));
    return vitro_cuda_attention_cls_forward(stream_of(dev), &a, ctx.data, lse.data, q.data,
                                            kv.data);
}

VitroStatus vitro_cuda_op_attention_cls(VitroDevice *dev, VitroTensor ctx, VitroTensor lse,
                                        VitroTensor q, VitroTensor kv,
                                        const VitroAttentionShape *shape)
{
    RUN(attention_cls(dev, ctx, lse, q, kv, shape));
}

static VitroStatus attention_cls_backward(VitroDevice *dev, VitroTensor dq, VitroTensor dkv,
                                          VitroTensor dctx, VitroTensor q, VitroTensor kv,
                                          VitroTensor ctx, VitroTensor lse,
                                          const VitroAttentionShape *shape)
{
    VitroCudaAttention a;
    VITRO_TRY(describe(&a, dev, kv, 2, shape, true));
    return vitro_cuda_attention_cls_backward(stream_of(dev), &a, dq.data, dkv.data, dctx.data,
                                             q.data, kv.data, ctx.data, lse.data);
}

VitroStatus vitro_cuda_op_attention_cls_backward(VitroDevice *dev, VitroTensor dq, VitroTensor dkv,
                                                 VitroTensor dctx, VitroTensor q, VitroTensor kv,
                                                 VitroTensor ctx, VitroTensor lse,
                                                 const VitroAttentionShape *shape)
{
    RUN(attention_cls_backward(dev, dq, dkv, dctx, q, kv, ctx, lse, shape));
}

/* ---- images to tokens, tokens to the class token ------------------------------------------------
 */

VitroStatus vitro_cuda_op_patchify(VitroDevice *dev, VitroTensor patches, VitroTensor images,
                                   int64_t patch_size)
{
    assert(images.rank == 4);
    RUN(vitro_cuda_patchify(stream_of(dev), matrix(patches), images.data, images.dim[0],
                            images.dim[1], images.dim[2], images.dim[3], patch_size));
}

static VitroCudaTokens tokens_of(VitroTensor x, VitroTensor emb, VitroTensor cls, VitroTensor reg,
                                 VitroTensor pos, int64_t N)
{
    assert(x.rank == 3);
    return (VitroCudaTokens){.emb = emb.data,
                             .cls = cls.data,
                             .reg = reg.data,
                             .pos = pos.data,
                             .B = x.dim[0],
                             .T = x.dim[1],
                             .D = x.dim[2],
                             .N = N,
                             .R = reg.data ? reg.dim[0] : 0,
                             .P = pos.data ? pos.dim[0] : 0};
}

VitroStatus vitro_cuda_op_tokens(VitroDevice *dev, VitroTensor x, VitroTensor emb, VitroTensor cls,
                                 VitroTensor reg, VitroTensor pos, const VitroDropout *dropout)
{
    const VitroCudaTokens k = tokens_of(x, emb, cls, reg, pos, emb.data ? emb.dim[1] : 0);
    RUN(vitro_cuda_tokens(stream_of(dev), x.data, &k, dropout));
}

VitroStatus vitro_cuda_op_tokens_backward(VitroDevice *dev, VitroTensor demb, VitroTensor dcls,
                                          VitroTensor dreg, VitroTensor dpos, VitroTensor dx,
                                          int64_t N, const VitroDropout *dropout)
{
    const VitroCudaTokens k = tokens_of(dx, demb, dcls, dreg, dpos, N);
    RUN(vitro_cuda_tokens_backward(stream_of(dev), &k, dx.data, dropout));
}

/* Tokens of y[B,n,D], or [B,D]. */
static int64_t count_of(VitroTensor y)
{
    return y.rank == 3 ? y.dim[1] : 1;
}

VitroStatus vitro_cuda_op_take_tokens(VitroDevice *dev, VitroTensor y, VitroTensor x, int64_t first)
{
    assert(x.rank == 3);
    RUN(vitro_cuda_take_tokens(stream_of(dev), matrix(y), matrix(x), x.dim[0], count_of(y),
                               x.dim[1], x.dim[2], first));
}

VitroStatus vitro_cuda_op_add_tokens(VitroDevice *dev, VitroTensor x, VitroTensor y, int64_t first)
{
    assert(x.rank == 3);
    RUN(vitro_cuda_add_tokens(stream_of(dev), matrix(x), matrix(y), x.dim[0], count_of(y), x.dim[1],
                              x.dim[2], first));
}

VitroStatus vitro_cuda_op_mean_tokens(VitroDevice *dev, VitroTensor y, VitroTensor x, int64_t first)
{
    assert(x.rank == 3);
    RUN(vitro_cuda_mean_tokens(stream_of(dev), matrix(y), matrix(x), x.dim[0], x.dim[1], x.dim[2],
                               first));
}

VitroStatus vitro_cuda_op_mean_tokens_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dy,
                                               int64_t first)
{
    assert(dx.rank == 3);
    RUN(vitro_cuda_mean_tokens_backward(stream_of(dev), matrix(dx), matrix(dy), dx.dim[0],
                                        dx.dim[1], dx.dim[2], first));
}

/* ---- loss and optimizers ------------------------------------------------------------------------
 */

VitroStatus vitro_cuda_op_cross_entropy(VitroDevice *dev, double *losses, int32_t *best,
                                        VitroTensor dlogits, VitroTensor logits,
                                        const int32_t *labels, double smoothing, double grad_scale)
{
    RUN(vitro_cuda_cross_entropy(stream_of(dev), losses, best, dlogits.data, logits.data, labels,
                                 smoothing, grad_scale, logits.dim[0], logits.dim[1]));
}

static VitroStatus sum_of_squares(VitroDevice *dev, double *host_out, VitroTensor g)
{
    void *room;
    VITRO_TRY(vitro_cuda_scratch(&room, dev, VITRO_CUDA_SCRATCH_SUM,
                                 (VITRO_CUDA_SUM_BLOCKS + 1) * sizeof(double)));
    double *total = (double *)room + VITRO_CUDA_SUM_BLOCKS;
    VITRO_TRY(
        vitro_cuda_sum_of_squares(stream_of(dev), total, g.data, vitro_tensor_count(&g), room));
    VITRO_CUDA_TRY(cudaMemcpyAsync(host_out, total, sizeof *total, cudaMemcpyDeviceToHost,
                                   vitro_cuda(dev)->stream));
    VITRO_CUDA_TRY(cudaStreamSynchronize(vitro_cuda(dev)->stream));
    return VITRO_OK;
}

VitroStatus vitro_cuda_op_sum_of_squares(VitroDevice *dev, double *host_out, VitroTensor g)
{
    RUN(sum_of_squares(dev, host_out, g));
}

VitroStatus vitro_cuda_op_sgd(VitroDevice *dev, VitroTensor param, VitroTensor grad,
                              VitroTensor momentum, const VitroOptimStep *step)
{
    RUN(vitro_cuda_sgd(stream_of(dev), param.data, grad.data, momentum.data,
                       vitro_tensor_count(&param), step));
}

VitroStatus vitro_cuda_op_adamw(VitroDevice *dev, VitroTensor param, VitroTensor grad,
                                VitroTensor m, VitroTensor v, const VitroOptimStep *step)
{
    RUN(vitro_cuda_adamw(stream_of(dev), param.data, grad.data, m.data, v.data,
                         vitro_tensor_count(&param), step));
}
