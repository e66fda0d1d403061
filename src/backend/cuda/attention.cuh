/* SPDX-License-Identifier: Apache-2.0 */
/* What the attention kernels are told, as kernels/ref/attention.c names it. */
#ifndef VITRO_BACKEND_CUDA_ATTENTION_CUH
#define VITRO_BACKEND_CUDA_ATTENTION_CUH

#include "backend/cuda/cuda_common.cuh"

#define VITRO_LOG2E 1.4426950408889634f
#define VITRO_LN2   0.6931471805599453f

/* Rows of Dh elements, one for each token of each head: row t of (b, h) begins at element
 * (b tokens + t) stride + h Dh. */
typedef struct VitroRows {
    const void *data;
    int64_t tokens, stride;
} VitroRows;

typedef struct VitroAttn {
    VitroRows q, k, v, ctx, dctx;
    VitroRows dq, dk, dv; /* are written to */
    float *lse;           /* [B,H,T], or [B,H] where the class token alone asks; may be NULL */
    float *delta;         /* [B,H,T]: dctx . ctx */
    int B, H, T, Dh;
    float scale;
    VitroCudaDrop drop;
    bool wide; /* eight elements at a time, everywhere */
} VitroAttn;

static inline VitroRows vitro_rows(const void *data, VitroDtype dtype, int64_t first,
                                   int64_t tokens, int64_t stride)
{
    VitroRows r;
    r.data = data ? (const uint8_t *)data + first * (dtype == VITRO_BF16 ? 2 : 4) : NULL;
    r.tokens = tokens, r.stride = stride;
    return r;
}

/* Where row t of (b, h) begins. */
static __device__ __forceinline__ int64_t vitro_row(const VitroRows &r, int b, int h, int t, int Dh)
{
    return ((int64_t)b * r.tokens + t) * r.stride + h * Dh;
}

template <typename T>
static __device__ __forceinline__ const T *vitro_row_of(const VitroRows &r, int b, int h, int t,
                                                        int Dh)
{
    return (const T *)r.data + vitro_row(r, b, h, t, Dh);
}

/* The factor of the probability of (i, j). */
static __device__ __forceinline__ float vitro_attn_drop(const VitroAttn &a, int b, int h, int i,
                                                        int j)
{
    return vitro_drop_factor(a.drop, b, ((int64_t)h * a.T + i) * a.T + j);
}

extern "C" {
/* attention_plain.cu: any head up to 256 wide, either type, all arithmetic in float32. */
VitroStatus vitro_attention_plain_forward(void *stream, const VitroAttn *a, VitroDtype dtype);
VitroStatus vitro_attention_plain_backward(void *stream, const VitroAttn *a, VitroDtype dtype);
/* attention_mma.cu: bf16, heads of up to 128. */
VitroStatus vitro_attention_mma_forward(void *stream, const VitroAttn *a);
/* attention_mma_backward.cu */
VitroStatus vitro_attention_mma_backward(void *stream, const VitroAttn *a);
/* attention_cls.cu: token 0 asks */
VitroStatus vitro_attention_cls_forward(void *stream, const VitroAttn *a, VitroDtype dtype);
VitroStatus vitro_attention_cls_backward(void *stream, const VitroAttn *a, VitroDtype dtype);
/* attention.cu: a->delta [B,H,T] from dctx and ctx. */
VitroStatus vitro_attention_delta(void *stream, const VitroAttn *a, VitroDtype dtype);
}

/* Lets a kernel's blocks have so much dynamic shared memory. */
static inline VitroStatus vitro_attention_room(const void *kernel, size_t bytes)
{
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    if (error == cudaSuccess)
        return VITRO_OK;
    (void)cudaGetLastError();
    return vitro_fail(VITRO_E_BACKEND,
                      "CUDA: attention needs %zu bytes of shared memory in a block: %s", bytes,
                      cudaGetErrorString(error));
}

#endif
