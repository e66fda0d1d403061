/* SPDX-License-Identifier: Apache-2.0 */
/* What follows and precedes products, element by element at memory speed: activation, dropout, drop
 * path and residual, the way back through them, casts, and sums over rows. */
#include "backend/cuda/cuda_common.cuh"

enum { THREADS = 256, GROUPS = THREADS / VITRO_WARP };

/* ---- activations: as kernels/ref/activation.c, in forms that keep their digits for x << 0
 * -------- */

/* tanh(u) = 2 sigmoid(2 u) - 1 with u = sqrt(2/pi) (x + 0.044715 x^3) */
static __device__ __forceinline__ float gelu_tanh_sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-1.5957691216057308f * x * (1.0f + 0.044715f * x * x)));
}

/* The normal distribution, 0.5 (1 + erf(x / sqrt(2))). */
static __device__ __forceinline__ float normal(float x)
{
    return 0.5f * erfcf(x * -0.70710678118654752f);
}

static __device__ __forceinline__ float act_of(VitroAct act, float x)
{
    switch (act) {
    case VITRO_ACT_GELU:
        return x * normal(x);
    case VITRO_ACT_GELU_TANH:
        return x * gelu_tanh_sigmoid(x);
    case VITRO_ACT_TANH:
        return tanhf(x);
    case VITRO_ACT_GELU_QUICK:
        return x / (1.0f + expf(-1.702f * x));
    default:
        return x;
    }
}

static __device__ __forceinline__ float act_slope(VitroAct act, float x)
{
    switch (act) {
    case VITRO_ACT_GELU:
        return normal(x) + x * 0.39894228040143268f * expf(-0.5f * x * x);
    case VITRO_ACT_GELU_TANH: {
        const float s = gelu_tanh_sigmoid(x);
        const float du2 = 1.5957691216057308f * (1.0f + 0.134145f * x * x);
        return s + x * s * (1.0f - s) * du2;
    }
    case VITRO_ACT_TANH: {
        const float t = tanhf(x);
        return 1.0f - t * t;
    }
    case VITRO_ACT_GELU_QUICK: {
        const float s = 1.0f / (1.0f + expf(-1.702f * x));
        return s + 1.702f * x * s * (1.0f - s);
    }
    default:
        return 1.0f;
    }
}

/* ---- epilogues ------------------------------------------------------------------------------ */

/* Eight columns of a row are a thread's piece. */
typedef struct Pieces {
    int64_t M, N;
    int64_t across; /* pieces in a row */
    bool wide;      /* all of eight elements, aligned */
} Pieces;

typedef struct Epilogue {
    VitroCudaMatrix out, in;
    VitroCudaMatrix pre, residual;
    const float *bias, *scale; /* [N] */
    VitroAct act;
    VitroCudaDrop drop, path;
    int64_t rows_per_sample;
} Epilogue;

static inline Pieces make_pieces(int64_t M, int64_t N, bool aligned)
{
    Pieces p;
    p.M = M, p.N = N, p.across = (N + 7) / 8, p.wide = aligned && N % 8 == 0;
    return p;
}

static inline Epilogue make_epilogue(VitroCudaMatrix out, VitroCudaMatrix in, const float *bias,
                                     const VitroEpilogue *e)
{
    Epilogue k = {};
    k.out = out, k.in = in, k.bias = bias, k.act = e->act;
    k.scale = (const float *)e->scale.data;
    k.pre.data = e->pre.data, k.pre.dtype = e->pre.dtype;
    k.residual.data = e->residual.data, k.residual.dtype = e->residual.dtype;
    k.drop = vitro_cuda_drop(&e->dropout);
    k.path = vitro_cuda_drop(&e->path);
    k.rows_per_sample = e->rows_per_sample;
    return k;
}

static inline bool aligned(const Epilogue *e)
{
    return vitro_aligned16(e->out.data) && vitro_aligned16(e->in.data) &&
           vitro_aligned16(e->pre.data) && vitro_aligned16(e->residual.data) &&
           vitro_aligned16(e->bias) && vitro_aligned16(e->scale);
}

static inline int64_t blocks_of(int64_t threads)
{
    return (threads + THREADS - 1) / THREADS;
}

/* Row and first column of piece i; division of 32 bits where they do, as it is the faster one. */
static __device__ __forceinline__ void place(int64_t *row, int64_t *col, const Pieces &p, int64_t i)
{
    *row = i < INT64_C(0x100000000) ? (uint32_t)i / (uint32_t)p.across : i / p.across;
    *col = (i - *row * p.across) * 8;
}

/* LayerScale of the n columns from col, into x. */
static __device__ __forceinline__ void scale_piece(VitroEight *x, const Epilogue &e, int64_t col,
                                                   int n, bool wide)
{
    if (!e.scale)
        return;
    const VitroEight scale = vitro_load(e.scale, VITRO_F32, col, n, wide);
#pragma unroll
    for (int i = 0; i < 8; i++)
        x->v[i] *= scale.v[i];
}

/* path * drop of the piece that begins at (row, col), into x. */
static __device__ __forceinline__ void drop_piece(VitroEight *x, const Epilogue &e, int64_t N,
                                                  int64_t row, int64_t col)
{
    if (!e.drop.state && !e.path.state)
        return;
    const int64_t b = (uint32_t)row / (uint32_t)e.rows_per_sample;
    if (e.drop.state)
        vitro_drop8(x, e.drop, b, (row - b * e.rows_per_sample) * N + col);
    if (e.path.state) {
        const float factor = vitro_drop_factor(e.path, b, 0);
#pragma unroll
        for (int i = 0; i < 8; i++)
            x->v[i] *= factor;
    }
}

static __global__ void __launch_bounds__(THREADS) epilogue_kernel(Epilogue e, Pieces p)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    int64_t row, col;
    if (i >= p.M * p.across)
        return;
    place(&row, &col, p, i);
    const int n = p.N - col < 8 ? (int)(p.N - col) : 8;
    const int64_t at = row * p.N + col;
    VitroEight x = vitro_load(e.in.data, e.in.dtype, at, n, p.wide), r;
    if (e.residual.data)
        r = vitro_load(e.residual.data, e.residual.dtype, at, n, p.wide);
    if (e.bias) {
        const VitroEight b = vitro_load(e.bias, VITRO_F32, col, n, p.wide);
#pragma unroll
        for (int k = 0; k < 8; k++)
            x.v[k] += b.v[k];
    }
    if (e.pre.data)
        vitro_store(e.pre.data, e.pre.dtype, at, x, n, p.wide);
    if (e.act != VITRO_ACT_NONE)
#pragma unroll
        for (int k = 0; k < 8; k++)
            x.v[k] = act_of(e.act, x.v[k]);
    drop_piece(&x, e, p.N, row, col);
    scale_piece(&x, e, col, n, p.wide);
    if (e.residual.data)
#pragma unroll
        for (int k = 0; k < 8; k++)
            x.v[k] += r.v[k];
    vitro_store(e.out.data, e.out.dtype, at, x, n, p.wide);
}

static __global__ void __launch_bounds__(THREADS) epilogue_backward_kernel(Epilogue e, Pieces p)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    int64_t row, col;
    if (i >= p.M * p.across)
        return;
    place(&row, &col, p, i);
    const int n = p.N - col < 8 ? (int)(p.N - col) : 8;
    const int64_t at = row * p.N + col;
    VitroEight x = vitro_load(e.in.data, e.in.dtype, at, n, p.wide);
    if (e.act != VITRO_ACT_NONE) {
        const VitroEight pre = vitro_load(e.pre.data, e.pre.dtype, at, n, p.wide);
#pragma unroll
        for (int k = 0; k < 8; k++)
            x.v[k] *= act_slope(e.act, pre.v[k]);
    }
    drop_piece(&x, e, p.N, row, col);
    scale_piece(&x, e, col, n, p.wide);
    vitro_store(e.out.data, e.out.dtype, at, x, n, p.wide);
}

VitroStatus vitro_cuda_epilogue(void *stream, VitroCudaMatrix y, VitroCudaMatrix x,
                                const float *bias, const VitroEpilogue *e, int64_t M, int64_t N)
{
    const Epilogue k = make_epilogue(y, x, bias, e);
    const Pieces p = make_pieces(M, N, aligned(&k));
    VITRO_LAUNCH(epilogue_kernel, blocks_of(M * p.across), THREADS, 0, stream, k, p);
    return vitro_cuda_launched("epilogue");
}

VitroStatus vitro_cuda_epilogue_backward(void *stream, VitroCudaMatrix dpre, VitroCudaMatrix dy,
                                         const VitroEpilogue *e, int64_t M, int64_t N)
{
    const Epilogue k = make_epilogue(dpre, dy, NULL, e);
    const Pieces p = make_pieces(M, N, aligned(&k));
    VITRO_LAUNCH(epilogue_backward_kernel, blocks_of(M * p.across), THREADS, 0, stream, k, p);
    return vitro_cuda_launched("epilogue_backward");
}

/* ---- casts and sums -----------------------------------------------------------------------------
 */

static __global__ void __launch_bounds__(THREADS)
    cast_kernel(VitroCudaMatrix to, VitroCudaMatrix from, int64_t n, bool aligned)
{
    const int64_t at = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * 8;
    if (at >= n)
        return;
    const int count = n - at < 8 ? (int)(n - at) : 8;
    const bool wide = aligned && count == 8;
    vitro_store(to.data, to.dtype, at, vitro_load(from.data, from.dtype, at, count, wide), count,
                wide);
}

VitroStatus vitro_cuda_cast(void *stream, VitroCudaMatrix to, VitroCudaMatrix from, int64_t n)
{
    const bool aligned = vitro_aligned16(to.data) && vitro_aligned16(from.data);
    VITRO_LAUNCH(cast_kernel, blocks_of((n + 7) / 8), THREADS, 0, stream, to, from, n, aligned);
    return vitro_cuda_launched("cast");
}

static __global__ void __launch_bounds__(THREADS)
    add_kernel(float *to, const float *from, int64_t n)
{
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < n)
        to[i] += from[i];
}

VitroStatus vitro_cuda_add(void *stream, float *to, const float *from, int64_t n)
{
    VITRO_LAUNCH(add_kernel, blocks_of(n), THREADS, 0, stream, to, from, n);
    return vitro_cuda_launched("add");
}

/* partial[piece][N] = sums of the piece's rows of dy, or, SCALED, of dy path drop act(pre). A warp
 * has 256 columns, the block's warps every eighth row. */
template <bool SCALED>
static __global__ void __launch_bounds__(THREADS)
    sum_rows_kernel(float *partial, Epilogue e, int64_t M, int64_t N, bool wide)
{
    __shared__ float room[GROUPS][VITRO_WARP * 8];
    const int lane = threadIdx.x % VITRO_WARP, group = threadIdx.x / VITRO_WARP;
    const int64_t piece = blockIdx.y, pieces = gridDim.y;
    const int64_t first = piece * M / pieces, end = (piece + 1) * M / pieces;
    const int64_t col = ((int64_t)blockIdx.x * VITRO_WARP + lane) * 8;
    const int n = N - col >= 8 ? 8 : N - col > 0 ? (int)(N - col) : 0;
    VitroEight sum = {};
    if (n > 0)
#pragma unroll 4
        for (int64_t row = first + group; row < end; row += GROUPS) {
            VitroEight x = vitro_load(e.in.data, e.in.dtype, row * N + col, n, wide);
            if (SCALED) {
                const VitroEight pre = vitro_load(e.pre.data, e.pre.dtype, row * N + col, n, wide);
#pragma unroll
                for (int i = 0; i < 8; i++)
                    x.v[i] *= act_of(e.act, pre.v[i]);
                drop_piece(&x, e, N, row, col);
            }
#pragma unroll
            for (int i = 0; i < 8; i++)
                sum.v[i] += x.v[i];
        }
#pragma unroll
    for (int i = 0; i < 8; i++)
        room[group][i * VITRO_WARP + lane] = sum.v[i];
    __syncthreads();
    /* thread t: element t / 32 of lane t % 32 */
    float total = 0;
    for (int g = 0; g < GROUPS; g++)
        total += room[g][threadIdx.x];
    const int64_t to = ((int64_t)blockIdx.x * VITRO_WARP + lane) * 8 + group;
    if (to < N)
        partial[piece * N + to] = total;
}

static VitroStatus add_rows(void *stream, float *to, const Epilogue *e, bool scaled, int64_t M,
                            int64_t N, float *workspace)
{
    const int64_t pieces = vitro_cuda_pieces(M), span = VITRO_WARP * 8;
    const bool wide = N % 8 == 0 && aligned(e);
    const dim3 grid((unsigned)((N + span - 1) / span), (unsigned)pieces);
    if (scaled)
        VITRO_LAUNCH(sum_rows_kernel<true>, grid, THREADS, 0, stream, workspace, *e, M, N, wide);
    else
        VITRO_LAUNCH(sum_rows_kernel<false>, grid, THREADS, 0, stream, workspace, *e, M, N, wide);
    VITRO_TRY(vitro_cuda_launched("sum_rows"));
    return vitro_cuda_add_pieces(stream, to, workspace, pieces, N, N);
}

VitroStatus vitro_cuda_add_rows(void *stream, float *db, VitroCudaMatrix dy, int64_t M, int64_t N,
                                float *workspace)
{
    Epilogue e = {};
    e.in = dy;
    return add_rows(stream, db, &e, false, M, N, workspace);
}

VitroStatus vitro_cuda_scale_backward(void *stream, float *dscale, VitroCudaMatrix dy,
                                      const VitroEpilogue *epilogue, int64_t M, int64_t N,
                                      float *workspace)
{
    const Epilogue e = make_epilogue(dy, dy, NULL, epilogue);
    return add_rows(stream, dscale, &e, true, M, N, workspace);
}

/* to[n] += partial[0][n] + partial[1][n] + ... A block has 32 columns; its warps every eighth
 * piece.
 */
static __global__ void __launch_bounds__(THREADS)
    add_pieces_kernel(float *to, const float *partial, int64_t pieces, int64_t stride, int64_t n)
{
    __shared__ float room[GROUPS][VITRO_WARP];
    const int lane = threadIdx.x % VITRO_WARP, group = threadIdx.x / VITRO_WARP;
    const int64_t col = (int64_t)blockIdx.x * VITRO_WARP + lane;
    float sum = 0;
    if (col < n)
#pragma unroll 8
        for (int64_t piece = group; piece < pieces; piece += GROUPS)
            sum += partial[piece * stride + col];
    room[group][lane] = sum;
    __syncthreads();
    if (group > 0 || col >= n)
        return;
    for (int g = 1; g < GROUPS; g++)
        sum += room[g][lane];
    to[col] += sum;
}

VitroStatus vitro_cuda_add_pieces(void *stream, float *to, const float *partial, int64_t pieces,
                                  int64_t stride, int64_t n)
{
    VITRO_LAUNCH(add_pieces_kernel, (n + VITRO_WARP - 1) / VITRO_WARP, THREADS, 0, stream, to,
                 partial, pieces, stride, n);
    return vitro_cuda_launched("add_pieces");
}
