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
    float *x; /* backward: only read */
    VitroCudaTokens of;
    VitroCudaDrop drop;
    int64_t across; /* pieces of eight in a row */
    bool wide;
} Tokens;

static inline Tokens make_tokens(float *x, const VitroCudaTokens *of, const VitroDropout *dropout)
{
    Tokens k = {};
    k.x = x, k.of = *of, k.drop = vitro_cuda_drop(dropout), k.across = (of->D + 7) / 8;
    k.wide = of->D % 8 == 0 && vitro_aligned16(x) && vitro_aligned16(of->emb) &&
             vitro_aligned16(of->cls) && vitro_aligned16(of->reg) && vitro_aligned16(of->pos);
    return k;
}

/* Of T tokens the last N are patches, and the R before these registers. */
static __global__ void __launch_bounds__(THREADS) tokens_kernel(Tokens k)
{
    const VitroCudaTokens &of = k.of;
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, T = of.T, D = of.D;
    const int64_t row = i / k.across, col = (i - row * k.across) * 8, b = row / T, t = row - b * T;
    if (b >= of.B)
        return;
    const int n = D - col < 8 ? (int)(D - col) : 8;
    const int64_t patch = t - (T - of.N), of_reg = patch + of.R, of_pos = t - (T - of.P);
    VitroEight x = patch >= 0
                       ? vitro_load(of.emb, VITRO_F32, (b * of.N + patch) * D + col, n, k.wide)
                   : of_reg >= 0 ? vitro_load(of.reg, VITRO_F32, of_reg * D + col, n, k.wide)
                                 : vitro_load(of.cls, VITRO_F32, col, n, k.wide);
    if (of_pos >= 0) {
        const VitroEight pos = vitro_load(of.pos, VITRO_F32, of_pos * D + col, n, k.wide);
#pragma unroll
        for (int e = 0; e < 8; e++)
            x.v[e] += pos.v[e];
    }
    if (k.drop.state)
        vitro_drop8(&x, k.drop, b, t * D + col);
    vitro_store(k.x, VITRO_F32, row * D + col, x, n, k.wide);
}

VitroStatus vitro_cuda_tokens(void *stream, float *x, const VitroCudaTokens *from,
                              const VitroDropout *dropout)
{
    const Tokens k = make_tokens(x, from, dropout);
    VITRO_LAUNCH(tokens_kernel, blocks_of(from->B * from->T * k.across), THREADS, 0, stream, k);
    return vitro_cuda_launched("tokens");
}

static __device__ __forceinline__ void add_piece(float *to, const VitroEight &x, int n)
{
#pragma unroll
    for (int e = 0; e < 8; e++)
        if (e < n)
            to[e] += x.v[e];
}

/* A thread has eight columns of one position, of all images: each sum over images has one owner. */
static __global__ void __launch_bounds__(THREADS) tokens_backward_kernel(Tokens k)
{
    const VitroCudaTokens &of = k.of;
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, T = of.T, D = of.D;
    const int64_t t = i / k.across, col = (i - t * k.across) * 8;
    if (t >= T)
        return;
    const int n = D - col < 8 ? (int)(D - col) : 8;
    const int64_t patch = t - (T - of.N), of_reg = patch + of.R, of_pos = t - (T - of.P);
    VitroEight sum = {};
#pragma unroll 4
    for (int64_t b = 0; b < of.B; b++) {
        VitroEight x = vitro_load(k.x, VITRO_F32, (b * T + t) * D + col, n, k.wide);
        if (k.drop.state)
            vitro_drop8(&x, k.drop, b, t * D + col);
#pragma unroll
        for (int e = 0; e < 8; e++)
            sum.v[e] += x.v[e];
        if (of.emb && patch >= 0)
            vitro_store(of.emb, VITRO_F32, (b * of.N + patch) * D + col, x, n, k.wide);
    }
    if (of.cls && t == 0)
        add_piece(of.cls + col, sum, n);
    if (of.reg && patch < 0 && of_reg >= 0)
        add_piece(of.reg + of_reg * D + col, sum, n);
    if (of.pos && of_pos >= 0)
        add_piece(of.pos + of_pos * D + col, sum, n);
}

VitroStatus vitro_cuda_tokens_backward(void *stream, const VitroCudaTokens *to, const float *dx,
                                       const VitroDropout *dropout)
{
    const Tokens k = make_tokens((float *)dx, to, dropout); /* dx is only read */
    VITRO_LAUNCH(tokens_backward_kernel, blocks_of(to->T * k.across), THREADS, 0, stream, k);
    return vitro_cuda_launched("tokens_backward");
}

/* ---- some of the tokens ------------------------------------------------------------------------
 */

/* Element i of [B,n,D] is x's at. */
typedef struct Part {
    VitroCudaMatrix x, y;
    int64_t B, n, T, D, first;
} Part;

static inline Part make_part(VitroCudaMatrix x, VitroCudaMatrix y, int64_t B, int64_t n, int64_t T,
                             int64_t D, int64_t first)
{
    Part p;
    p.x = x, p.y = y, p.B = B, p.n = n, p.T = T, p.D = D, p.first = first;
    return p;
}

static __device__ __forceinline__ int64_t in_whole(const Part &p, int64_t i)
{
    const int64_t image = p.n * p.D, b = i / image;
    return (b * p.T + p.first) * p.D + (i - b * image);
}

static __global__ void __launch_bounds__(THREADS) take_tokens_kernel(Part p)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < p.B * p.n * p.D)
        vitro_store1(p.y.data, p.y.dtype, i, vitro_load1(p.x.data, p.x.dtype, in_whole(p, i)));
}

VitroStatus vitro_cuda_take_tokens(void *stream, VitroCudaMatrix y, VitroCudaMatrix x, int64_t B,
                                   int64_t n, int64_t T, int64_t D, int64_t first)
{
    const Part p = make_part(x, y, B, n, T, D, first);
    VITRO_LAUNCH(take_tokens_kernel, blocks_of(B * n * D), THREADS, 0, stream, p);
    return vitro_cuda_launched("take_tokens");
}

static __global__ void __launch_bounds__(THREADS) add_tokens_kernel(Part p)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= p.B * p.n * p.D)
        return;
    const int64_t at = in_whole(p, i);
    vitro_store1(p.x.data, p.x.dtype, at,
                 vitro_load1(p.x.data, p.x.dtype, at) + vitro_load1(p.y.data, p.y.dtype, i));
}

VitroStatus vitro_cuda_add_tokens(void *stream, VitroCudaMatrix x, VitroCudaMatrix y, int64_t B,
                                  int64_t n, int64_t T, int64_t D, int64_t first)
{
    const Part p = make_part(x, y, B, n, T, D, first);
    VITRO_LAUNCH(add_tokens_kernel, blocks_of(B * n * D), THREADS, 0, stream, p);
    return vitro_cuda_launched("add_tokens");
}

/* A thread has a column of an image. */
static __global__ void __launch_bounds__(THREADS) mean_tokens_kernel(Part p)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, b = i / p.D, d = i - b * p.D;
    if (b >= p.B)
        return;
    float sum = 0;
#pragma unroll 8
    for (int64_t t = p.first; t < p.T; t++)
        sum += vitro_load1(p.x.data, p.x.dtype, (b * p.T + t) * p.D + d);
    vitro_store1(p.y.data, p.y.dtype, i, sum / (float)(p.T - p.first));
}

VitroStatus vitro_cuda_mean_tokens(void *stream, VitroCudaMatrix y, VitroCudaMatrix x, int64_t B,
                                   int64_t T, int64_t D, int64_t first)
{
    const Part p = make_part(x, y, B, 1, T, D, first);
    VITRO_LAUNCH(mean_tokens_kernel, blocks_of(B * D), THREADS, 0, stream, p);
    return vitro_cuda_launched("mean_tokens");
}

static __global__ void __launch_bounds__(THREADS) mean_tokens_backward_kernel(Part p)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, row = i / p.D, b = row / p.T;
    if (b >= p.B)
        return;
    const bool counts = row - b * p.T >= p.first;
    const float dy = vitro_load1(p.y.data, p.y.dtype, b * p.D + (i - row * p.D));
    vitro_store1(p.x.data, p.x.dtype, i, counts ? dy / (float)(p.T - p.first) : 0.0f);
}

VitroStatus vitro_cuda_mean_tokens_backward(void *stream, VitroCudaMatrix dx, VitroCudaMatrix dy,
                                            int64_t B, int64_t T, int64_t D, int64_t first)
{
    const Part p = make_part(dx, dy, B, T, T, D, first);
    VITRO_LAUNCH(mean_tokens_backward_kernel, blocks_of(B * T * D), THREADS, 0, stream, p);
    return vitro_cuda_launched("mean_tokens_backward");
}
