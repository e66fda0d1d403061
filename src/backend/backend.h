/* SPDX-License-Identifier: Apache-2.0 */
/* Where tensors meet a machine: the table of ops that every back end fills.
 *
 * Ops are coarse enough to fuse: a product carries its whole epilogue, attention is one op. Rules
 * that hold for all of them:
 *   - Tensors are contiguous, of the device's dtype unless said otherwise, and do not overlap
 *     unless said otherwise. A tensor whose data is NULL is absent.
 *   - Gradients of parameters are added to (`+=`), gradients of activations are overwritten (`=`).
 *   - Ops neither allocate nor block on other devices' work; everything they need was made by
 *     weight_prepare and reserve. (The first call with a new shape may still build a primitive.)
 *   - Results do not depend on the number of threads in any way but rounding; two calls
 *     with equal arguments on equal devices give equal bits.
 *   - Forward ops may run in several threads at once on disjoint outputs (predictors share a
 * model).
 *
 * The reference back end (ref/) implements every op in plain C and is the oracle of the tests. */
#ifndef VITRO_BACKEND_BACKEND_H
#define VITRO_BACKEND_BACKEND_H

#include "kernels/args.h" /* VitroDropout, VitroWeight, VitroEpilogue, ... */
#include "tensor/tensor.h"
#include "vitro/device.h"

typedef struct VitroBackendOps VitroBackendOps;
typedef struct VitroProfile VitroProfile; /* profile.c's own */

struct VitroDevice {
    const VitroBackendOps *ops;
    VitroDtype dtype; /* of parameters and most activations: VITRO_F32, or VITRO_F64 on "ref" */
    VitroPrecision precision; /* of products */
    bool widened;             /* which the machine has no instructions for */
    int threads;              /* >= 1 */
    char name[32];
    char description[160];
    void *impl; /* the back end's own */
    /* NULL until a profile was asked for. While one is taken, `ops` is its table, which times the
     * back end's own ops; a back end that calls its own ops does so by name, not through `ops`. */
    VitroProfile *profile;
};

/* Of parameters and most activations, and of what products multiply. */
static inline VitroDtype vitro_precision_dtype(VitroPrecision p)
{
    return p == VITRO_FP64 ? VITRO_F64 : VITRO_F32;
}
static inline VitroDtype vitro_precision_operand(VitroPrecision p)
{
    return p == VITRO_PRECISION_BF16 || p == VITRO_PRECISION_INT8 ? VITRO_BF16
                                                                  : vitro_precision_dtype(p);
}

/* Names ops that come again with equal arguments. Compared as bytes: all of them are set, and there
 * is no padding. */
typedef struct VitroSequence {
    const void *owner;   /* of the memory that the ops work on: while it lives */
    int64_t part, count; /* which of the owner's sequences, for a batch of what size */
    int64_t variant;     /* whatever else may differ */
} VitroSequence;

/* ---- the table ------------------------------------------------------------------------------- */

/* Shapes: B batch, T tokens, D width, M rows of a matrix, N its columns. */
struct VitroBackendOps {
    const char *name;     /* "cpu" */
    bool separate_memory; /* tensors are not where the host could read them */
    VitroStatus (*open)(VitroDevice *dev, const VitroDeviceOptions *options);
    void (*close)(VitroDevice *dev);
    VitroStatus (*peak_gflops)(VitroDevice *dev, VitroPrecision precision,
                               double *out); /* or NULL */

    /* memory: aligned to VITRO_ALIGN at least, contents undefined */
    VitroStatus (*alloc)(VitroDevice *dev, void **out, size_t bytes);
    void (*free)(VitroDevice *dev, void *p);
    VitroStatus (*upload)(VitroDevice *dev, void *device_dst, const void *host_src, size_t bytes);
    VitroStatus (*download)(VitroDevice *dev, void *host_dst, const void *device_src, size_t bytes);
    VitroStatus (*zero)(VitroDevice *dev, void *device_dst, size_t bytes);
    VitroStatus (*sync)(VitroDevice *dev);

    /* The next four may be NULL: they serve devices that work beside the host, with memory of their
     * own. Bytes of it that are free, and all. */
    VitroStatus (*memory)(VitroDevice *dev, size_t *available, size_t *total);
    /* A result on its way to the host while the device goes on: begin asks for the copy in the turn
     * of the ops so far, end waits for it and for nothing else. One copy at a time. */
    VitroStatus (*download_begin)(VitroDevice *dev, const void *device_src, size_t bytes);
    VitroStatus (*download_end)(VitroDevice *dev, void *host_dst, size_t bytes);
    /* Calls run(user), whose ops are the same with the same arguments whenever the key is. The
     * device may remember them, and the next time put them on without calling. So what changes lies
     * in device memory, and ops that wait or allocate stay out. */
    VitroStatus (*sequence)(VitroDevice *dev, const VitroSequence *key,
                            VitroStatus (*run)(void *user), void *user);

    /* Makes *weight ready for many forward products of up to max_rows rows of x; an op takes a
     * weight that is not prepared, too. Once it is, calling again does nothing. After the elements
     * of w changed: weight_refresh. Where needs_source is there, w may lie in a mapped file:
     * read-only, and aligned to no more than its elements; and on a device of precision INT8 a w
     * that is not wide may be I8, which is prepared before it is used. */
    VitroStatus (*weight_prepare)(VitroDevice *dev, VitroWeight *weight, int64_t max_rows);
    VitroStatus (*weight_refresh)(VitroDevice *dev, VitroWeight *weight);
    void (*weight_release)(VitroDevice *dev, VitroWeight *weight);
    /* Whether forward products of `weight`, which was prepared, still read the elements of w. Else
     * w's memory may go (w.data is then NULL), and calling weight_prepare again does not look there
     * either. NULL where products read w itself, in the device's memory. */
    bool (*needs_source)(VitroDevice *dev, const VitroWeight *weight);

    /* y[M,N] = epilogue(x[M,K] w^T + b).  `weight` may have any rank-2 w. */
    VitroStatus (*linear)(VitroDevice *dev, VitroTensor y, VitroTensor x, const VitroWeight *weight,
                          const VitroEpilogue *epilogue);
    /* d(x w^T + b)[M,N] from dy[M,N]: back through all of `epilogue` but the residual.
     * dpre may be dy. (The residual's gradient is dy itself: the caller's affair.) */
    VitroStatus (*epilogue_backward)(VitroDevice *dev, VitroTensor dpre, VitroTensor dy,
                                     const VitroEpilogue *epilogue);
    /* dscale[N] += the gradient of epilogue->scale, from dy[M,N]; `pre` must have been kept. */
    VitroStatus (*scale_backward)(VitroDevice *dev, VitroTensor dscale, VitroTensor dy,
                                  const VitroEpilogue *epilogue);
    /* From dpre[M,N]: grad->w += dpre^T x, grad->b += sum of dpre's rows (grad NULL: frozen), and,
     * where dx is present, dx[M,K] = dpre w, taken further back through `through`, the epilogue of
     * the product that made x (NULL: x has none; it has no scale). */
    VitroStatus (*linear_backward)(VitroDevice *dev, VitroTensor dx, const VitroWeight *grad,
                                   VitroTensor dpre, VitroTensor x, const VitroWeight *weight,
                                   const VitroEpilogue *through);

    /* y = (x - mean)/sqrt(var + eps) * gamma + beta over the last dimension (biased variance).
     * mean, rstd: [M] float64 on "ref" with F64, else float32; both absent in inference. */
    VitroStatus (*layernorm)(VitroDevice *dev, VitroTensor y, VitroTensor mean, VitroTensor rstd,
                             VitroTensor x, VitroTensor gamma, VitroTensor beta, double eps);
    /* dx = add + gradient (add may be absent, or dx itself); dgamma, dbeta += (absent: frozen). */
    VitroStatus (*layernorm_backward)(VitroDevice *dev, VitroTensor dx, VitroTensor dgamma,
                                      VitroTensor dbeta, VitroTensor add, VitroTensor dy,
                                      VitroTensor x, VitroTensor mean, VitroTensor rstd,
                                      VitroTensor gamma);

    /* y[M,N] = x with a LayerNorm of each head: `heads` pieces of its own length, gamma's, from
     * column `first` on (q_norm and k_norm). y may be x. mean, rstd: [M,heads], as above. */
    VitroStatus (*head_norm)(VitroDevice *dev, VitroTensor y, VitroTensor mean, VitroTensor rstd,
                             VitroTensor x, VitroTensor gamma, VitroTensor beta, double eps,
                             int64_t first, int64_t heads);
    /* dx[M,N]: in, the gradient of y; out, that of x. dgamma, dbeta += (absent: frozen). */
    VitroStatus (*head_norm_backward)(VitroDevice *dev, VitroTensor dx, VitroTensor dgamma,
                                      VitroTensor dbeta, VitroTensor x, VitroTensor mean,
                                      VitroTensor rstd, VitroTensor gamma, int64_t first,
                                      int64_t heads);

    /* ctx[B,T,D] from qkv[B,T,3D]; lse[B,H,T] receives log sum_j exp(scale q_i k_j) (absent:
     * inference). */
    VitroStatus (*attention)(VitroDevice *dev, VitroTensor ctx, VitroTensor lse, VitroTensor qkv,
                             const VitroAttentionShape *shape);
    /* dqkv[B,T,3D] from dctx[B,T,D]. */
    VitroStatus (*attention_backward)(VitroDevice *dev, VitroTensor dqkv, VitroTensor dctx,
                                      VitroTensor qkv, VitroTensor ctx, VitroTensor lse,
                                      const VitroAttentionShape *shape);
    /* The same where one token of each image asks: ctx[B,D] and lse[B,H] (absent: inference) from
     * q[B,D] and kv[B,T,2D]. Dropout is that of the full op's rows i = 0, as the class token's is.
     */
    VitroStatus (*attention_cls)(VitroDevice *dev, VitroTensor ctx, VitroTensor lse, VitroTensor q,
                                 VitroTensor kv, const VitroAttentionShape *shape);
    /* dq[B,D] and dkv[B,T,2D] from dctx[B,D]. */
    VitroStatus (*attention_cls_backward)(VitroDevice *dev, VitroTensor dq, VitroTensor dkv,
                                          VitroTensor dctx, VitroTensor q, VitroTensor kv,
                                          VitroTensor ctx, VitroTensor lse,
                                          const VitroAttentionShape *shape);

    /* patches[B,N,C*P*P] from images[B,C,height,width], which need not be square: patch (i,j) is
     * channels x rows x columns, as Conv2d's weight; N counts along the rows of patches. Rows
     * and columns beyond the last whole patch are dropped. */
    VitroStatus (*patchify)(VitroDevice *dev, VitroTensor patches, VitroTensor images,
                            int64_t patch_size);
    /* x[B,T,D]: the tokens cls[D], reg[R,D] and emb[B,N,D] one behind the other (each may be
     * absent: T = 1 + R + N); plus pos[T,D], or pos[N,D] for the last N alone, or absent; then
     * dropout. */
    VitroStatus (*tokens)(VitroDevice *dev, VitroTensor x, VitroTensor emb, VitroTensor cls,
                          VitroTensor reg, VitroTensor pos, const VitroDropout *dropout);
    /* demb = dx's last N tokens after dropout; dcls, dreg, dpos +=. Any may be absent: N is
     * told. */
    VitroStatus (*tokens_backward)(VitroDevice *dev, VitroTensor demb, VitroTensor dcls,
                                   VitroTensor dreg, VitroTensor dpos, VitroTensor dx, int64_t N,
                                   const VitroDropout *dropout);
    /* y[B,n,D] = x[B,T,D]'s tokens first .. first+n-1; y[B,D]: one of them. Any dtype. */
    VitroStatus (*take_tokens)(VitroDevice *dev, VitroTensor y, VitroTensor x, int64_t first);
    /* Those tokens of x += y: the way back, to what others have sent there. */
    VitroStatus (*add_tokens)(VitroDevice *dev, VitroTensor x, VitroTensor y, int64_t first);
    /* y[B,D] = the mean of x[B,T,D]'s tokens first .. T-1. */
    VitroStatus (*mean_tokens)(VitroDevice *dev, VitroTensor y, VitroTensor x, int64_t first);
    /* dx[B,T,D] = dy[B,D] / (T - first) for these, 0 for the others. */
    VitroStatus (*mean_tokens_backward)(VitroDevice *dev, VitroTensor dx, VitroTensor dy,
                                        int64_t first);

    /* Cross entropy with label smoothing s: per image (1-s) * -log p[label] + s * mean_k -log p[k].
     * losses[B] float64; best[B] int32: the first index of the largest logit; dlogits[B,K] =
     * grad_scale * d(sum of losses) (absent: evaluation). labels[B] int32 in device memory. */
    VitroStatus (*cross_entropy)(VitroDevice *dev, double *losses, int32_t *best,
                                 VitroTensor dlogits, VitroTensor logits, const int32_t *labels,
                                 double smoothing, double grad_scale);

    /* Flat ranges of n elements. */
    VitroStatus (*sum_of_squares)(VitroDevice *dev, double *host_out, VitroTensor g);
    VitroStatus (*sgd)(VitroDevice *dev, VitroTensor param, VitroTensor grad, VitroTensor momentum,
                       const VitroOptimStep *step);
    VitroStatus (*adamw)(VitroDevice *dev, VitroTensor param, VitroTensor grad, VitroTensor m,
                         VitroTensor v, const VitroOptimStep *step);
};

static inline VitroStatus vitro_sequence(VitroDevice *dev, const VitroSequence *key,
                                         VitroStatus (*run)(void *user), void *user)
{
    return dev->ops->sequence ? dev->ops->sequence(dev, key, run, user) : run(user);
}

/* Host float32 to and from a tensor of the device's dtype (converts for F64). */
VitroStatus vitro_device_write_f32(VitroDevice *dev, VitroTensor dst, const float *src);
VitroStatus vitro_device_read_f32(VitroDevice *dev, float *dst, VitroTensor src);

/* Puts the back end's own table back and frees the profile. */
void vitro_profile_close(VitroDevice *dev);

/* The tables of this build; what registry.c lists. "cuda" is there where the build has a toolkit.
 */
extern const VitroBackendOps vitro_backend_cuda;
extern const VitroBackendOps vitro_backend_ref;
extern const VitroBackendOps vitro_backend_cpu;

#endif
