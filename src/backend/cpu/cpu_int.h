/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the fast CPU back end share. OpenMP deals out rows, heads or tiles, the loops
 * over numbers are in kernels/. */
#ifndef VITRO_BACKEND_CPU_CPU_INT_H
#define VITRO_BACKEND_CPU_CPU_INT_H

#include "backend/backend.h"
#include "backend/cpu/scratch.h"
#include "kernels/kernels.h"

typedef struct VitroCpu {
    VitroKernels table;
    const VitroKernels *kernels; /* the same */
    int64_t cache_words;         /* of a's rows in a product's block: most of the second level */
} VitroCpu;

static inline const VitroCpu *vitro_cpu(const VitroDevice *dev)
{
    return dev->impl;
}

/* Shares the iterations of the following loop (or two nested ones) among the device's threads,
 * unless there is less to do, in elements touched, than waking them costs. */
#define PARALLEL_MIN       8192
#define VITRO_PRAGMA(text) _Pragma(#text)
#define PARALLEL(work)                                                                             \
    VITRO_PRAGMA(omp parallel for num_threads(dev->threads) if ((work) >= PARALLEL_MIN))

/* Reductions over rows are cut into pieces by the number of rows alone, never by that of threads,
 * so that every thread count gives the same bits. Piece i has the rows [i*M/count, (i+1)*M/count).
 */
static inline int64_t vitro_cpu_pieces(int64_t rows)
{
    int64_t n = rows / 32;
    return n < 1 ? 1 : n > 64 ? 64 : n;
}

static inline int64_t vitro_round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

static inline float *vitro_f32_at(VitroTensor t, int64_t element)
{
    return (float *)t.data + element;
}

/* n elements of t from or to float32, whatever t's dtype (F32 or BF16); `from` may lie in t. */
void vitro_cpu_put(const VitroKernels *kernels, VitroTensor t, int64_t at, const float *from,
                   int64_t n);
void vitro_cpu_get(const VitroKernels *kernels, float *to, VitroTensor t, int64_t at, int64_t n);

/* The key of sample b's dropout words. */
VitroDropKey vitro_cpu_drop_key(const VitroDropout *d, int64_t b);

/* The ops: see backend.h. */
VitroStatus vitro_cpu_weight_prepare(VitroDevice *dev, VitroWeight *weight, int64_t max_rows);
VitroStatus vitro_cpu_weight_refresh(VitroDevice *dev, VitroWeight *weight);
void vitro_cpu_weight_release(VitroDevice *dev, VitroWeight *weight);
VitroStatus vitro_cpu_linear(VitroDevice *dev, VitroTensor y, VitroTensor x,
                             const VitroWeight *weight, const VitroEpilogue *epilogue);
VitroStatus vitro_cpu_epilogue_backward(VitroDevice *dev, VitroTensor dpre, VitroTensor dy,
                                        const VitroEpilogue *epilogue);
VitroStatus vitro_cpu_scale_backward(VitroDevice *dev, VitroTensor dscale, VitroTensor dy,
                                     const VitroEpilogue *epilogue);
VitroStatus vitro_cpu_linear_backward(VitroDevice *dev, VitroTensor dx, const VitroWeight *grad,
                                      VitroTensor dpre, VitroTensor x, const VitroWeight *weight,
                                      const VitroEpilogue *through);
VitroStatus vitro_cpu_layernorm(VitroDevice *dev, VitroTensor y, VitroTensor mean, VitroTensor rstd,
                                VitroTensor x, VitroTensor gamma, VitroTensor beta, double eps);
VitroStatus vitro_cpu_layernorm_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dgamma,
                                         VitroTensor dbeta, VitroTensor add, VitroTensor dy,
                                         VitroTensor x, VitroTensor mean, VitroTensor rstd,
                                         VitroTensor gamma);
VitroStatus vitro_cpu_head_norm(VitroDevice *dev, VitroTensor y, VitroTensor mean, VitroTensor rstd,
                                VitroTensor x, VitroTensor gamma, VitroTensor beta, double eps,
                                int64_t first, int64_t heads);
VitroStatus vitro_cpu_head_norm_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dgamma,
                                         VitroTensor dbeta, VitroTensor x, VitroTensor mean,
                                         VitroTensor rstd, VitroTensor gamma, int64_t first,
                                         int64_t heads);
VitroStatus vitro_cpu_attention(VitroDevice *dev, VitroTensor ctx, VitroTensor lse, VitroTensor qkv,
                                const VitroAttentionShape *shape);
VitroStatus vitro_cpu_attention_backward(VitroDevice *dev, VitroTensor dqkv, VitroTensor dctx,
                                         VitroTensor qkv, VitroTensor ctx, VitroTensor lse,
                                         const VitroAttentionShape *shape);
VitroStatus vitro_cpu_attention_cls(VitroDevice *dev, VitroTensor ctx, VitroTensor lse,
                                    VitroTensor q, VitroTensor kv,
                                    const VitroAttentionShape *shape);
VitroStatus vitro_cpu_attention_cls_backward(VitroDevice *dev, VitroTensor dq, VitroTensor dkv,
                                             VitroTensor dctx, VitroTensor q, VitroTensor kv,
                                             VitroTensor ctx, VitroTensor lse,
                                             const VitroAttentionShape *shape);
VitroStatus vitro_cpu_patchify(VitroDevice *dev, VitroTensor patches, VitroTensor images,
                               int64_t patch_size);
VitroStatus vitro_cpu_tokens(VitroDevice *dev, VitroTensor x, VitroTensor emb, VitroTensor cls,
                             VitroTensor reg, VitroTensor pos, const VitroDropout *dropout);
VitroStatus vitro_cpu_tokens_backward(VitroDevice *dev, VitroTensor demb, VitroTensor dcls,
                                      VitroTensor dreg, VitroTensor dpos, VitroTensor dx, int64_t N,
                                      const VitroDropout *dropout);
VitroStatus vitro_cpu_take_tokens(VitroDevice *dev, VitroTensor y, VitroTensor x, int64_t first);
VitroStatus vitro_cpu_add_tokens(VitroDevice *dev, VitroTensor x, VitroTensor y, int64_t first);
VitroStatus vitro_cpu_mean_tokens(VitroDevice *dev, VitroTensor y, VitroTensor x, int64_t first);
VitroStatus vitro_cpu_mean_tokens_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dy,
                                           int64_t first);
VitroStatus vitro_cpu_cross_entropy(VitroDevice *dev, double *losses, int32_t *best,
                                    VitroTensor dlogits, VitroTensor logits, const int32_t *labels,
                                    double smoothing, double grad_scale);
VitroStatus vitro_cpu_sum_of_squares(VitroDevice *dev, double *host_out, VitroTensor g);
VitroStatus vitro_cpu_sgd(VitroDevice *dev, VitroTensor param, VitroTensor grad,
                          VitroTensor momentum, const VitroOptimStep *step);
VitroStatus vitro_cpu_adamw(VitroDevice *dev, VitroTensor param, VitroTensor grad, VitroTensor m,
                            VitroTensor v, const VitroOptimStep *step);

#endif
