/* SPDX-License-Identifier: Apache-2.0 */
/* From pictures to tokens and from tokens to the class token, as kernels/ref/embed.c. */
#include "backend/cuda/cuda_common.cuh"

enum { THREADS = 256 };

static inline int64_t blocks_of(int64_t threads)
{
    return (threads + THREADS - 1) / THREADS;
}

/* ---- patches -------------------------------------------------------------------------------- */

typedef struct Patches {
    VitroCudaMatrix to;
    const float *images;
    int64_t C, H, W, P;
    int64_t down, across; /* patches in a picture */
    int64_t count;        /* elements of all patches */
    bool wide;            /* eight elements of a patch's row lie together and are aligned */
    bool to_aligned;      /* so are those of the result */
} Patches;

/* Where in `images` element `at` of the patches comes from. */
static __device__ __forceinline__ int64_t source_of(const Patches &p, int64_t at)
{
    const int64_t x = at % p.P, row = at / p.P, y = row % p.P, plane = row / p.P;
    const int64_t c = plane % p.C, patch = plane / p.C;
    const int64_t j = patch % p.across, line = patch / p.across, i = line % p.down;
    const int64_t b = line / p.down;
    return ((b * p.C + c) * p.H + i * p.P + y) * p.W + j * p.P + x;
}

static __global__ void __launch_bounds__(THREADS) patchify_kernel(Patches p)
{
    const int64_t at = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * 8;
    if (at >= p.count)
        return;
    const int n = p.count - at < 8 ? (int)(p.count - at) : 8;
    VitroEight e = {};
    if (p.wide) {
        e = vitro_load8(p.images, VITRO_F32, source_of(p, at));
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++)
            if (i < n)
                e.v[i] = p.images[source_of(p, at + i)];
    }
    vitro_store(p.to.data, p.to.dtype, at, e, n, n == 8 && p.to_aligned);
}

VitroStatus vitro_cuda_patchify(void *stream, VitroCudaMatrix patches, const float *images,
                                int64_t B, int64_t C, int64_t H, int64_t W, int64_t P)
{
    Patches p;
    p.to = patches, p.images = images, p.C = C, p.H = H, p.W = W, p.P = P;
    p.down = H / P, p.across = W / P;
    p.count = B * p.down * p.across * C * P * P;
    p.to_aligned = vitro_aligned16(patches.data);
    p.wide = P % 8 == 0 && W % 4 == 0 && vitro_aligned16(images);
    VITRO_LAUNCH(patchify_kernel, blocks_of((p.count + 7) / 8), THREADS, 0, stream, p);
    return vitro_cuda_launched("patchify");
}

/* ---- tokens --------------------------------------------------------------------------------- */

typedef struct Tokens {
    float *x; /* backward: const */
    const float *emb, *cls, *pos;
    float *demb, *dcls, *dpos;
    VitroCudaDrop drop;
    int64_t B, T, D;
    int64_t across; /* pieces of eight in a row */
    bool wide;
} Tokens;

static inline Tokens make_tokens(const VitroDropout *dropout, int64_t B, int64_t T, int64_t D)
{
    Tokens k = {};
    k.drop = vitro_cuda_drop(dropout);
    k.B = B, k.T = T, k.D = D, k.across = (D + 7) / 8, k.wide = D % 8 == 0;
    return k;
}

static __global__ void __launch_bounds__(THREADS) tokens_kernel(Tokens k)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    const int64_t row = i / k.across, col = (i - row * k.across) * 8, b = row / k.T;
    const int64_t t = row - b * k.T;
    if (b >= k.B)
        return;
    const int n = k.D - col < 8 ? (int)(k.D - col) : 8;
    VitroEight x = t ? vitro_load(k.emb, VITRO_F32, (b * (k.T - 1) + t - 1) * k.D + col, n, k.wide)
                     : vitro_load(k.cls, VITRO_F32, col, n, k.wide);
    const VitroEight pos = vitro_load(k.pos, VITRO_F32, t * k.D + col, n, k.wide);
#pragma unroll
    for (int e = 0; e < 8; e++)
        x.v[e] += pos.v[e];
    if (k.drop.state)
        vitro_drop8(&x, k.drop, b, t * k.D + col);
    vitro_store(k.x, VITRO_F32, row * k.D + col, x, n, k.wide);
}

VitroStatus vitro_cuda_tokens(void *stream, float *x, const float *emb, const float *cls,
                              const float *pos, const VitroDropout *dropout, int64_t B, int64_t T,
                              int64_t D)
{
    Tokens k = make_tokens(dropout, B, T, D);
    k.x = x, k.emb = emb, k.cls = cls, k.pos = pos;
    k.wide = k.wide && vitro_aligned16(x) && vitro_aligned16(emb) && vitro_aligned16(cls) &&
             vitro_aligned16(pos);
    VITRO_LAUNCH(tokens_kernel, blocks_of(B * T * k.across), THREADS, 0, stream, k);
    return vitro_cuda_launched("tokens");
}

/* A thread has eight columns of one position, of all images: each sum over images has one owner. */
static __global__ void __launch_bounds__(THREADS) tokens_backward_kernel(Tokens k)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    const int64_t t = i / k.across, col = (i - t * k.across) * 8;
    if (t >= k.T)
        return;
    const int n = k.D - col < 8 ? (int)(k.D - col) : 8;
    VitroEight sum = {};
#pragma unroll 4
    for (int64_t b = 0; b < k.B; b++) {
        VitroEight x = vitro_load(k.x, VITRO_F32, (b * k.T + t) * k.D + col, n, k.wide);
        if (k.drop.state)
            vitro_drop8(&x, k.drop, b, t * k.D + col);
#pragma unroll
        for (int e = 0; e < 8; e++)
            sum.v[e] += x.v[e];
        if (k.demb && t > 0)
            vitro_store(k.demb, VITRO_F32, (b * (k.T - 1) + t - 1) * k.D + col, x, n, k.wide);
    }
#pragma unroll
    for (int e = 0; e < 8; e++) {
        if (k.dcls && t == 0 && e < n)
            k.dcls[col + e] += sum.v[e];
        if (k.dpos && e < n)
            k.dpos[t * k.D + col + e] += sum.v[e];
    }
}

VitroStatus vitro_cuda_tokens_backward(void *stream, float *demb, float *dcls, float *dpos,
                                       const float *dx, const VitroDropout *dropout, int64_t B,
                                       int64_t T, int64_t D)
{
    Tokens k = make_tokens(dropout, B, T, D);
    k.x = (float *)dx, k.demb = demb, k.dcls = dcls, k.dpos = dpos; /* dx is only read */
    k.wide = k.wide && vitro_aligned16(dx) && vitro_aligned16(demb);
    VITRO_LAUNCH(tokens_backward_kernel, blocks_of(T * k.across), THREADS, 0, stream, k);
    return vitro_cuda_launched("tokens_backward");
}

/* ---- the class token --------------------------------------------------------------------------
 */

static __global__ void __launch_bounds__(THREADS)
    take_cls_kernel(VitroCudaMatrix cls, VitroCudaMatrix x, int64_t B, int64_t T, int64_t D)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, b = i / D;
    if (b < B)
        vitro_store1(cls.data, cls.dtype, i, vitro_load1(x.data, x.dtype, b * T * D + (i - b * D)));
}

VitroStatus vitro_cuda_take_cls(void *stream, VitroCudaMatrix cls, VitroCudaMatrix x, int64_t B,
                                int64_t T, int64_t D)
{
    VITRO_LAUNCH(take_cls_kernel, blocks_of(B * D), THREADS, 0, stream, cls, x, B, T, D);
    return vitro_cuda_launched("take_cls");
}

static __global__ void __launch_bounds__(THREADS)
    add_cls_kernel(float *x, const float *cls, int64_t B, int64_t T, int64_t D)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, b = i / D;
    if (b < B)
        x[b * T * D + (i - b * D)] += cls[i];
}

VitroStatus vitro_cuda_add_cls(void *stream, float *x, const float *cls, int64_t B, int64_t T,
                               int64_t D)
{
    VITRO_LAUNCH(add_cls_kernel, blocks_of(B * D), THREADS, 0, stream, x, cls, B, T, D);
    return vitro_cuda_launched("add_cls");
}
