/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the CUDA back end share: the device, its scratch memory, and cuBLASLt, which is
 * loaded when a device is opened. */
#ifndef VITRO_BACKEND_CUDA_CUDA_INT_H
#define VITRO_BACKEND_CUDA_CUDA_INT_H

#include "backend/backend.h"
#include "backend/cuda/kernels.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <pthread.h>

/* ---- cuBLASLt: lt.c ---------------------------------------------------------------------------
 */

#define VITRO_LT_FUNCTIONS(F)                                                                      \
    F(cublasLtCreate)                                                                              \
    F(cublasLtDestroy)                                                                             \
    F(cublasLtGetStatusString)                                                                     \
    F(cublasLtMatmul)                                                                              \
    F(cublasLtMatmulAlgoGetHeuristic)                                                              \
    F(cublasLtMatmulDescCreate)                                                                    \
    F(cublasLtMatmulDescDestroy)                                                                   \
    F(cublasLtMatmulDescSetAttribute)                                                              \
    F(cublasLtMatmulPreferenceCreate)                                                              \
    F(cublasLtMatmulPreferenceDestroy)                                                             \
    F(cublasLtMatmulPreferenceSetAttribute)                                                        \
    F(cublasLtMatrixLayoutCreate)                                                                  \
    F(cublasLtMatrixLayoutDestroy)

#define VITRO_LT_MEMBER(name) __typeof__(name) *name;
typedef struct VitroLt {
    VITRO_LT_FUNCTIONS(VITRO_LT_MEMBER)
} VitroLt;

/* VITRO_E_BACKEND: the library is not here. */
VitroStatus vitro_cuda_lt(const VitroLt **out);

/* ---- the device -------------------------------------------------------------------------------
 */

/* Device memory that ops use between their own kernels. One op at a time holds the lock while it
 * puts its kernels on the stream, so the next one's come after its last. */
typedef enum VitroCudaScratch {
    VITRO_CUDA_SCRATCH_X,    /* operands as bf16 */
    VITRO_CUDA_SCRATCH_DY,   /* */
    VITRO_CUDA_SCRATCH_W,    /* weights as bf16 */
    VITRO_CUDA_SCRATCH_BIAS, /* biases as bf16, gradients of biases */
    VITRO_CUDA_SCRATCH_OUT,  /* products before their epilogue */
    VITRO_CUDA_SCRATCH_SUM,  /* pieces of sums */
    VITRO_CUDA_SCRATCH_ATTENTION,
    VITRO_CUDA_SCRATCHES
} VitroCudaScratch;

typedef struct VitroCudaProducts VitroCudaProducts; /* product.c's own */
typedef struct VitroCudaStaging VitroCudaStaging;   /* staging.c's own */
typedef struct VitroCudaGraphs VitroCudaGraphs;     /* graph.c's own */

typedef struct VitroCuda {
    int index;      /* of the GPU: cuda:index */
    int capability; /* 90: compute capability 9.0 */
    int multiprocessors;
    cudaStream_t stream; /* on which everything is computed */
    const VitroLt *lt;
    pthread_mutex_t lock; /* recursive: a sequence holds it around its ops */
    struct {
        void *data;
        size_t bytes;
    } scratch[VITRO_CUDA_SCRATCHES];
    /* Memory was freed so many times: before that, other addresses held. */
    uint64_t generation;
    VitroCudaProducts *products;
    VitroCudaStaging *staging;
    VitroCudaGraphs *graphs;
} VitroCuda;

static inline VitroCuda *vitro_cuda(const VitroDevice *dev)
{
    return dev->impl;
}

/* Around every op: takes the lock, and makes this thread one that works on the device. */
VitroStatus vitro_cuda_begin(VitroDevice *dev);
VitroStatus vitro_cuda_end(VitroDevice *dev, VitroStatus st); /* returns st */

/* `bytes` or more, aligned to 256, whose contents are undefined; in an op. They stay until the next
 * call for the same use. Grows by need, and then waits for all that runs. */
VitroStatus vitro_cuda_scratch(void **out, VitroDevice *dev, VitroCudaScratch use, size_t bytes);

/* VITRO_OK, or what a call of the runtime was answered with as VITRO_E_BACKEND. */
VitroStatus vitro_cuda_check(cudaError_t error, const char *call);
#define VITRO_CUDA_TRY(call) VITRO_TRY(vitro_cuda_check(call, #call))

/* ---- sequences as CUDA graphs: graph.c ----------------------------------------------------------
 */

VitroStatus vitro_cuda_graphs_create(VitroCudaGraphs **out);
void vitro_cuda_graphs_free(VitroCudaGraphs *g); /* NULL is fine */
VitroStatus vitro_cuda_op_sequence(VitroDevice *dev, const VitroSequence *key,
                                   VitroStatus (*run)(void *user), void *user);

/* ---- copies to the device: staging.c -----------------------------------------------------------
 */

VitroStatus vitro_cuda_staging_create(VitroCudaStaging **out);
void vitro_cuda_staging_free(VitroCudaStaging *s); /* NULL is fine */
/* The ops download_begin and download_end. */
VitroStatus vitro_cuda_staging_download(VitroCudaStaging *s, cudaStream_t stream, const void *src,
                                        size_t bytes);
VitroStatus vitro_cuda_staging_wait(VitroCudaStaging *s, void *dst, size_t bytes);
/* `src` is the caller's again when this returns, the copy then still to come: in its turn on
 * `stream`. */
VitroStatus vitro_cuda_staging_upload(VitroCudaStaging *s, cudaStream_t stream, void *dst,
                                      const void *src, size_t bytes);

/* ---- products: product.c -----------------------------------------------------------------------
 */

/* d[M,N] = a b + beta c, row-major. */
typedef struct VitroCudaProduct {
    VitroDtype in; /* of a and b: F32 or BF16 */
    bool tf32;     /* F32 may be rounded to tf32 */
    const void *a; /* [M,K], or [K,M] where a_turned */
    const void *b; /* [K,N], or [N,K] where b_turned */
    bool a_turned, b_turned;
    VitroCudaMatrix d; /* [M,N] */
    const void *c;     /* [M,N] of d's dtype, may be d; NULL: nothing is added */
    const void *bias;  /* [N] of d's dtype, added to each row; NULL: none */
    float *a_sums;     /* [M] d being F32: receives the sums over K of a; NULL: not wanted */
    int64_t M, N, K;
} VitroCudaProduct;

VitroStatus vitro_cuda_products_create(VitroCudaProducts **out, const VitroLt *lt);
void vitro_cuda_products_free(VitroCudaProducts *p, const VitroLt *lt); /* NULL is fine */
/* VITRO_E_UNSUPPORTED: cuBLASLt has no way to compute that (which may be so for sums alone). */
VitroStatus vitro_cuda_product(VitroDevice *dev, const VitroCudaProduct *p);
/* The best large product's throughput. */
VitroStatus vitro_cuda_peak_gflops(VitroDevice *dev, VitroPrecision precision, double *out);

/* ---- ops: linear.c, and ops.c for all others: see backend.h ------------------------------------
 */

VitroStatus vitro_cuda_op_weight_prepare(VitroDevice *dev, VitroWeight *weight, int64_t max_rows);
VitroStatus vitro_cuda_op_weight_refresh(VitroDevice *dev, VitroWeight *weight);
void vitro_cuda_op_weight_release(VitroDevice *dev, VitroWeight *weight);
VitroStatus vitro_cuda_op_linear(VitroDevice *dev, VitroTensor y, VitroTensor x,
                                 const VitroWeight *weight, const VitroEpilogue *epilogue);
VitroStatus vitro_cuda_op_linear_backward(VitroDevice *dev, VitroTensor dx, const VitroWeight *grad,
                                          VitroTensor dpre, VitroTensor x,
                                          const VitroWeight *weight, const VitroEpilogue *through);

VitroStatus vitro_cuda_op_epilogue_backward(VitroDevice *dev, VitroTensor dpre, VitroTensor dy,
                                            const VitroEpilogue *epilogue);
VitroStatus vitro_cuda_op_layernorm(VitroDevice *dev, VitroTensor y, VitroTensor mean,
                                    VitroTensor rstd, VitroTensor x, VitroTensor gamma,
                                    VitroTensor beta, double eps);
VitroStatus vitro_cuda_op_layernorm_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dgamma,
                                             VitroTensor dbeta, VitroTensor add, VitroTensor dy,
                                             VitroTensor x, VitroTensor mean, VitroTensor rstd,
                                             VitroTensor gamma);
VitroStatus vitro_cuda_op_attention(VitroDevice *dev, VitroTensor ctx, VitroTensor lse,
                                    VitroTensor qkv, const VitroAttentionShape *shape);
VitroStatus vitro_cuda_op_attention_backward(VitroDevice *dev, VitroTensor dqkv, VitroTensor dctx,
                                             VitroTensor qkv, VitroTensor ctx, VitroTensor lse,
                                             const VitroAttentionShape *shape);
VitroStatus vitro_cuda_op_attention_cls(VitroDevice *dev, VitroTensor ctx, VitroTensor lse,
                                        VitroTensor q, VitroTensor kv,
                                        const VitroAttentionShape *shape);
VitroStatus vitro_cuda_op_attention_cls_backward(VitroDevice *dev, VitroTensor dq, VitroTensor dkv,
                                                 VitroTensor dctx, VitroTensor q, VitroTensor kv,
                                                 VitroTensor ctx, VitroTensor lse,
                                                 const VitroAttentionShape *shape);
VitroStatus vitro_cuda_op_patchify(VitroDevice *dev, VitroTensor patches, VitroTensor images,
                                   int64_t patch_size);
VitroStatus vitro_cuda_op_tokens(VitroDevice *dev, VitroTensor x, VitroTensor emb, VitroTensor cls,
                                 VitroTensor reg, VitroTensor pos, const VitroDropout *dropout);
VitroStatus vitro_cuda_op_tokens_backward(VitroDevice *dev, VitroTensor demb, VitroTensor dcls,
                                          VitroTensor dreg, VitroTensor dpos, VitroTensor dx,
                                          int64_t N, const VitroDropout *dropout);
VitroStatus vitro_cuda_op_take_tokens(VitroDevice *dev, VitroTensor y, VitroTensor x,
                                      int64_t first);
VitroStatus vitro_cuda_op_add_tokens(VitroDevice *dev, VitroTensor x, VitroTensor y, int64_t first);
VitroStatus vitro_cuda_op_mean_tokens(VitroDevice *dev, VitroTensor y, VitroTensor x,
                                      int64_t first);
VitroStatus vitro_cuda_op_mean_tokens_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dy,
                                               int64_t first);
VitroStatus vitro_cuda_op_scale_backward(VitroDevice *dev, VitroTensor dscale, VitroTensor dy,
                                         const VitroEpilogue *epilogue);
VitroStatus vitro_cuda_op_head_norm(VitroDevice *dev, VitroTensor y, VitroTensor mean,
                                    VitroTensor rstd, VitroTensor x, VitroTensor gamma,
                                    VitroTensor beta, double eps, int64_t first, int64_t heads);
VitroStatus vitro_cuda_op_head_norm_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dgamma,
                                             VitroTensor dbeta, VitroTensor x, VitroTensor mean,
                                             VitroTensor rstd, VitroTensor gamma, int64_t first,
                                             int64_t heads);
VitroStatus vitro_cuda_op_cross_entropy(VitroDevice *dev, double *losses, int32_t *best,
                                        VitroTensor dlogits, VitroTensor logits,
                                        const int32_t *labels, double smoothing, double grad_scale);
VitroStatus vitro_cuda_op_sum_of_squares(VitroDevice *dev, double *host_out, VitroTensor g);
VitroStatus vitro_cuda_op_sgd(VitroDevice *dev, VitroTensor param, VitroTensor grad,
                              VitroTensor momentum, const VitroOptimStep *step);
VitroStatus vitro_cuda_op_adamw(VitroDevice *dev, VitroTensor param, VitroTensor grad,
                                VitroTensor m, VitroTensor v, const VitroOptimStep *step);

#endif
