/* SPDX-License-Identifier: Apache-2.0 */
/* The back end "ref": host memory, and every op as a loop over the pieces that kernels/ref/ref.h
 * computes one of. All threads do is share out the pieces, so results do not depend on how many
 * there are. It owns no state and prepares nothing. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "backend/backend.h"
#include "base/alloc.h"
#include "kernels/ref/ref.h"

/* Shares the iterations of the following loop, or of nested loops, among the threads. */
#define PARALLEL   _Pragma("omp parallel for num_threads(dev->threads)")
#define PARALLEL_2 _Pragma("omp parallel for collapse(2) num_threads(dev->threads)")
#define PARALLEL_3 _Pragma("omp parallel for collapse(3) num_threads(dev->threads)")

/* ---- device and memory ----------------------------------------------------------------------- */

static VitroStatus ref_open(VitroDevice *dev, const VitroDeviceOptions *options)
{
    const char *stored = options->precision == VITRO_FP64 ? "double" : "float";
    snprintf(dev->description, sizeof dev->description,
             "ref: plain C, computes in double, stores %s, %d thread%s", stored, dev->threads,
             dev->threads == 1 ? "" : "s");
    return VITRO_OK;
}

static void ref_close(VitroDevice *dev)
{
    (void)dev;
}

static VitroStatus ref_alloc(VitroDevice *dev, void **out, size_t bytes)
{
    (void)dev;
    void *p = vitro_malloc_aligned(bytes);
    if (!p)
        return VITRO_NOMEM;
    *out = p;
    return VITRO_OK;
}

static void ref_free(VitroDevice *dev, void *p)
{
    (void)dev;
    vitro_free(p);
}

static VitroStatus ref_copy(VitroDevice *dev, void *dst, const void *src, size_t bytes)
{
    (void)dev;
    if (bytes > 0)
        memcpy(dst, src, bytes);
    return VITRO_OK;
}

static VitroStatus ref_zero(VitroDevice *dev, void *dst, size_t bytes)
{
    (void)dev;
    if (bytes > 0)
        memset(dst, 0, bytes);
    return VITRO_OK;
}

static VitroStatus ref_sync(VitroDevice *dev)
{
    (void)dev; /* every op is complete when it returns */
    return VITRO_OK;
}

/* ---- products -------------------------------------------------------------------------------- */

/* Weights are read as they are. */
static VitroStatus ref_weight_prepare(VitroDevice *dev, VitroWeight *weight, int64_t max_rows)
{
    (void)dev, (void)weight, (void)max_rows;
    return VITRO_OK;
}

static VitroStatus ref_weight_refresh(VitroDevice *dev, VitroWeight *weight)
{
    (void)dev, (void)weight;
    return VITRO_OK;
}

static void ref_weight_release(VitroDevice *dev, VitroWeight *weight)
{
    (void)dev, (void)weight;
}

static VitroStatus ref_linear(VitroDevice *dev, VitroTensor y, VitroTensor x,
                              const VitroWeight *weight, const VitroEpilogue *epilogue)
{
    int64_t M = vitro_tensor_rows(&x);
    assert(vitro_tensor_cols(&x) == weight->w.dim[1] && vitro_tensor_rows(&y) == M);
    assert(vitro_tensor_cols(&y) == weight->w.dim[0] && epilogue->rows_per_sample > 0);
    PARALLEL
    for (int64_t m = 0; m < M; m++)
        vitro_ref_linear(y, x, weight, epilogue, m);
    return VITRO_OK;
}

static VitroStatus ref_epilogue_backward(VitroDevice *dev, VitroTensor dpre, VitroTensor dy,
                                         const VitroEpilogue *epilogue)
{
    int64_t M = vitro_tensor_rows(&dy);
    assert(epilogue->act == VITRO_ACT_NONE || epilogue->pre.data);
    assert(epilogue->rows_per_sample > 0);
    PARALLEL
    for (int64_t m = 0; m < M; m++)
        vitro_ref_epilogue_backward(dpre, dy, epilogue, m);
    return VITRO_OK;
}

static VitroStatus ref_scale_backward(VitroDevice *dev, VitroTensor dscale, VitroTensor dy,
                                      const VitroEpilogue *epilogue)
{
    int64_t N = vitro_tensor_cols(&dy);
    assert(epilogue->pre.data && epilogue->rows_per_sample > 0);
    PARALLEL
    for (int64_t n = 0; n < N; n++)
        vitro_ref_scale_backward(dscale, dy, epilogue, n);
    return VITRO_OK;
}

static VitroStatus ref_linear_backward(VitroDevice *dev, VitroTensor dx, const VitroWeight *grad,
                                       VitroTensor dpre, VitroTensor x, const VitroWeight *weight,
                                       const VitroEpilogue *through)
{
    int64_t M = vitro_tensor_rows(&dpre), N = weight->w.dim[0];
    assert(vitro_tensor_cols(&dpre) == N);
    assert(!through || !through->scale.data);
    if (grad) {
        PARALLEL
        for (int64_t n = 0; n < N; n++)
            vitro_ref_linear_backward_w(grad->w, grad->b, dpre, x, n);
    }
    if (dx.data) {
        PARALLEL
        for (int64_t m = 0; m < M; m++)
            vitro_ref_linear_backward_x(dx, dpre, weight->w, through, m);
    }
    return VITRO_OK;
}

/* ---- layer norm ------------------------------------------------------------------------------ */

static VitroStatus ref_layernorm(VitroDevice *dev, VitroTensor y, VitroTensor mean,
                                 VitroTensor rstd, VitroTensor x, VitroTensor gamma,
                                 VitroTensor beta, double eps)
{
    int64_t M = vitro_tensor_rows(&x);
    PARALLEL
    for (int64_t m = 0; m < M; m++)
        vitro_ref_layernorm(y, mean, rstd, x, gamma, beta, eps, m);
    return VITRO_OK;
}

static VitroStatus ref_layernorm_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dgamma,
                                          VitroTensor dbeta, VitroTensor add, VitroTensor dy,
                                          VitroTensor x, VitroTensor mean, VitroTensor rstd,
                                          VitroTensor gamma)
{
    int64_t M = vitro_tensor_rows(&x), D = vitro_tensor_cols(&x);
    if (dgamma.data || dbeta.data) {
        PARALLEL
        for (int64_t d = 0; d < D; d++)
            vitro_ref_layernorm_backward_w(dgamma, dbeta, dy, x, mean, rstd, d);
    }
    if (dx.data) {
        PARALLEL
        for (int64_t m = 0; m < M; m++)
            vitro_ref_layernorm_backward_x(dx, add, dy, x, mean, rstd, gamma, m);
    }
    return VITRO_OK;
}

static VitroStatus ref_head_norm(VitroDevice *dev, VitroTensor y, VitroTensor mean,
                                 VitroTensor rstd, VitroTensor x, VitroTensor gamma,
                                 VitroTensor beta, double eps, int64_t first, int64_t heads)
{
    int64_t M = vitro_tensor_rows(&x);
    assert(first + heads * gamma.dim[0] <= vitro_tensor_cols(&x));
    PARALLEL
    for (int64_t m = 0; m < M; m++)
        vitro_ref_head_norm(y, mean, rstd, x, gamma, beta, eps, first, heads, m);
    return VITRO_OK;
}

static VitroStatus ref_head_norm_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dgamma,
                                          VitroTensor dbeta, VitroTensor x, VitroTensor mean,
                                          VitroTensor rstd, VitroTensor gamma, int64_t first,
                                          int64_t heads)
{
    int64_t M = vitro_tensor_rows(&x), Dh = gamma.dim[0];
    assert(first + heads * Dh <= vitro_tensor_cols(&x));
    if (dgamma.data || dbeta.data) {
        PARALLEL
        for (int64_t d = 0; d < Dh; d++)
            vitro_ref_head_norm_backward_w(dgamma, dbeta, dx, x, mean, rstd, gamma, first, heads,
                                           d);
    }
    PARALLEL
    for (int64_t m = 0; m < M; m++)
        vitro_ref_head_norm_backward_x(dx, x, mean, rstd, gamma, first, heads, m);
    return VITRO_OK;
}

/* ---- attention ------------------------------------------------------------------------------- */

static VitroStatus ref_attention(VitroDevice *dev, VitroTensor ctx, VitroTensor lse,
                                 VitroTensor qkv, const VitroAttentionShape *shape)
{
    int64_t B = qkv.dim[0], T = qkv.dim[1], H = shape->heads;
    assert(qkv.rank == 3 && qkv.dim[2] % (3 * H) == 0);
    PARALLEL_3
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t t = 0; t < T; t++)
                vitro_ref_attention(ctx, lse, qkv, shape, b, h, t);
    return VITRO_OK;
}

static VitroStatus ref_attention_backward(VitroDevice *dev, VitroTensor dqkv, VitroTensor dctx,
                                          VitroTensor qkv, VitroTensor ctx, VitroTensor lse,
                                          const VitroAttentionShape *shape)
{
    int64_t B = qkv.dim[0], T = qkv.dim[1], H = shape->heads;
    assert(qkv.rank == 3 && qkv.dim[2] % (3 * H) == 0);
    PARALLEL_3
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t t = 0; t < T; t++)
                vitro_ref_attention_backward(dqkv, dctx, qkv, ctx, lse, shape, b, h, t);
    return VITRO_OK;
}

static VitroStatus ref_attention_cls(VitroDevice *dev, VitroTensor ctx, VitroTensor lse,
                                     VitroTensor q, VitroTensor kv,
                                     const VitroAttentionShape *shape)
{
    int64_t B = kv.dim[0], H = shape->heads;
    assert(kv.rank == 3 && kv.dim[2] == 2 * vitro_tensor_cols(&q) && kv.dim[2] % (2 * H) == 0);
    PARALLEL_2
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            vitro_ref_attention_cls(ctx, lse, q, kv, shape, b, h);
    return VITRO_OK;
}

static VitroStatus ref_attention_cls_backward(VitroDevice *dev, VitroTensor dq, VitroTensor dkv,
                                              VitroTensor dctx, VitroTensor q, VitroTensor kv,
                                              VitroTensor ctx, VitroTensor lse,
                                              const VitroAttentionShape *shape)
{
    int64_t B = kv.dim[0], T = kv.dim[1], H = shape->heads;
    assert(kv.rank == 3 && kv.dim[2] == 2 * vitro_tensor_cols(&q) && kv.dim[2] % (2 * H) == 0);
    PARALLEL_3
    for (int64_t b = 0; b < B; b++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t t = 0; t < T; t++)
                vitro_ref_attention_cls_backward(dq, dkv, dctx, q, kv, ctx, lse, shape, b, h, t);
    return VITRO_OK;
}

/* ---- images to tokens, tokens to what is classified -------------------------------------------
 */

static VitroStatus ref_patchify(VitroDevice *dev, VitroTensor patches, VitroTensor images,
                                int64_t patch_size)
{
    assert(images.rank == 4);
    PARALLEL
    for (int64_t b = 0; b < images.dim[0]; b++)
        vitro_ref_patchify(patches, images, patch_size, b);
    return VITRO_OK;
}

static VitroStatus ref_tokens(VitroDevice *dev, VitroTensor x, VitroTensor emb, VitroTensor cls,
                              VitroTensor reg, VitroTensor pos, const VitroDropout *dropout)
{
    assert(x.rank == 3);
    PARALLEL
    for (int64_t b = 0; b < x.dim[0]; b++)
        vitro_ref_tokens(x, emb, cls, reg, pos, dropout, b);
    return VITRO_OK;
}

static VitroStatus ref_tokens_backward(VitroDevice *dev, VitroTensor demb, VitroTensor dcls,
                                       VitroTensor dreg, VitroTensor dpos, VitroTensor dx,
                                       int64_t N, const VitroDropout *dropout)
{
    assert(dx.rank == 3 && N <= dx.dim[1]);
    PARALLEL
    for (int64_t t = 0; t < dx.dim[1]; t++)
        vitro_ref_tokens_backward(demb, dcls, dreg, dpos, dx, N, dropout, t);
    return VITRO_OK;
}

static VitroStatus ref_take_tokens(VitroDevice *dev, VitroTensor y, VitroTensor x, int64_t first)
{
    assert(x.rank == 3);
    PARALLEL
    for (int64_t b = 0; b < x.dim[0]; b++)
        vitro_ref_take_tokens(y, x, first, b);
    return VITRO_OK;
}

static VitroStatus ref_add_tokens(VitroDevice *dev, VitroTensor x, VitroTensor y, int64_t first)
{
    assert(x.rank == 3);
    PARALLEL
    for (int64_t b = 0; b < x.dim[0]; b++)
        vitro_ref_add_tokens(x, y, first, b);
    return VITRO_OK;
}

static VitroStatus ref_mean_tokens(VitroDevice *dev, VitroTensor y, VitroTensor x, int64_t first)
{
    assert(x.rank == 3 && first < x.dim[1]);
    PARALLEL
    for (int64_t b = 0; b < x.dim[0]; b++)
        vitro_ref_mean_tokens(y, x, first, b);
    return VITRO_OK;
}

static VitroStatus ref_mean_tokens_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dy,
                                            int64_t first)
{
    assert(dx.rank == 3 && first < dx.dim[1]);
    PARALLEL
    for (int64_t b = 0; b < dx.dim[0]; b++)
        vitro_ref_mean_tokens_backward(dx, dy, first, b);
    return VITRO_OK;
}

/* ---- loss and optimizers --------------------------------------------------------------------- */

static VitroStatus ref_cross_entropy(VitroDevice *dev, double *losses, int32_t *best,
                                     VitroTensor dlogits, VitroTensor logits, const int32_t *labels,
                                     double smoothing, double grad_scale)
{
    int64_t B = logits.dim[0];
    for (int64_t b = 0; b < B; b++)
        assert(labels[b] >= 0 && labels[b] < logits.dim[1]);
    PARALLEL
    for (int64_t b = 0; b < B; b++)
        losses[b] =
            vitro_ref_cross_entropy(&best[b], dlogits, logits, labels[b], smoothing, grad_scale, b);
    return VITRO_OK;
}

static VitroStatus ref_sum_of_squares(VitroDevice *dev, double *host_out, VitroTensor g)
{
    (void)dev; /* one thread: the order of the additions is part of the result */
    int64_t n = vitro_tensor_count(&g);
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += get(g, i) * get(g, i);
    *host_out = sum;
    return VITRO_OK;
}

static VitroStatus ref_sgd(VitroDevice *dev, VitroTensor param, VitroTensor grad,
                           VitroTensor momentum, const VitroOptimStep *step)
{
    int64_t n = vitro_tensor_count(&param);
    PARALLEL
    for (int64_t i = 0; i < n; i++)
        vitro_ref_sgd(param, grad, momentum, step, i);
    return VITRO_OK;
}

static VitroStatus ref_adamw(VitroDevice *dev, VitroTensor param, VitroTensor grad, VitroTensor m,
                             VitroTensor v, const VitroOptimStep *step)
{
    int64_t n = vitro_tensor_count(&param);
    PARALLEL
    for (int64_t i = 0; i < n; i++)
        vitro_ref_adamw(param, grad, m, v, step, i);
    return VITRO_OK;
}

const VitroBackendOps vitro_backend_ref = {
    .name = "ref",
    .open = ref_open,
    .close = ref_close,
    .alloc = ref_alloc,
    .free = ref_free,
    .upload = ref_copy,
    .download = ref_copy,
    .zero = ref_zero,
    .sync = ref_sync,
    .weight_prepare = ref_weight_prepare,
    .weight_refresh = ref_weight_refresh,
    .weight_release = ref_weight_release,
    .linear = ref_linear,
    .epilogue_backward = ref_epilogue_backward,
    .scale_backward = ref_scale_backward,
    .linear_backward = ref_linear_backward,
    .layernorm = ref_layernorm,
    .layernorm_backward = ref_layernorm_backward,
    .head_norm = ref_head_norm,
    .head_norm_backward = ref_head_norm_backward,
    .attention = ref_attention,
    .attention_backward = ref_attention_backward,
    .attention_cls = ref_attention_cls,
    .attention_cls_backward = ref_attention_cls_backward,
    .patchify = ref_patchify,
    .tokens = ref_tokens,
    .tokens_backward = ref_tokens_backward,
    .take_tokens = ref_take_tokens,
    .add_tokens = ref_add_tokens,
    .mean_tokens = ref_mean_tokens,
    .mean_tokens_backward = ref_mean_tokens_backward,
    .cross_entropy = ref_cross_entropy,
    .sum_of_squares = ref_sum_of_squares,
    .sgd = ref_sgd,
    .adamw = ref_adamw,
};
