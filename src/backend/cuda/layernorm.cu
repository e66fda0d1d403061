/* SPDX-License-Identifier: Apache-2.0 */
/* LayerNorm, as kernels/ref/layernorm.c: a warp per row, which stays in registers between the
 * passes over it. */
#include "backend/cuda/cuda_common.cuh"

enum { THREADS = 256, WARPS = THREADS / VITRO_WARP, SPAN = VITRO_WARP * 8 /* columns at a time */ };

/* A lane's columns of span s: eight from `col`, of which n exist. */
typedef struct Columns {
    int64_t col;
    int n;
} Columns;

static __device__ __forceinline__ Columns columns_of(int span, int64_t D)
{
    Columns c;
    c.col = (int64_t)span * SPAN + threadIdx.x % VITRO_WARP * 8;
    c.n = D - c.col >= 8 ? 8 : D - c.col > 0 ? (int)(D - c.col) : 0;
    return c;
}

/* Rows of up to SPANS * 256 columns; SPANS 0: of any number, read again in each pass. */
template <int SPANS> struct Row {
    VitroEight e[SPANS ? SPANS : 1];
};

typedef struct Forward {
    VitroCudaMatrix y;
    float *mean, *rstd;
    const float *x, *gamma, *beta;
    float eps;
    int64_t M, D;
    bool wide;
} Forward;

template <int SPANS> static __global__ void __launch_bounds__(THREADS) layernorm_kernel(Forward f)
{
    const int64_t m = (int64_t)blockIdx.x * WARPS + threadIdx.x / VITRO_WARP, D = f.D;
    if (m >= f.M)
        return;
    const int spans = SPANS ? SPANS : (int)((D + SPAN - 1) / SPAN);
    Row<SPANS> row;
    float sum = 0;
#pragma unroll
    for (int s = 0; s < spans; s++) {
        const Columns c = columns_of(s, D);
        VitroEight x = {};
        if (c.n)
            x = vitro_load(f.x, VITRO_F32, m * D + c.col, c.n, f.wide);
#pragma unroll
        for (int i = 0; i < 8; i++)
            sum += x.v[i];
        if (SPANS)
            row.e[SPANS ? s : 0] = x;
    }
    const float mean = vitro_warp_sum(sum) / (float)D;
    float squares = 0;
#pragma unroll
    for (int s = 0; s < spans; s++) {
        const Columns c = columns_of(s, D);
        VitroEight x = row.e[SPANS ? s : 0];
        if (!SPANS && c.n)
            x = vitro_load(f.x, VITRO_F32, m * D + c.col, c.n, f.wide);
#pragma unroll
        for (int i = 0; i < 8; i++)
            squares += i < c.n ? (x.v[i] - mean) * (x.v[i] - mean) : 0.0f;
    }
    const float rstd = 1.0f / sqrtf(vitro_warp_sum(squares) / (float)D + f.eps);
#pragma unroll
    for (int s = 0; s < spans; s++) {
        const Columns c = columns_of(s, D);
        if (!c.n)
            continue;
        VitroEight x = row.e[SPANS ? s : 0];
        if (!SPANS)
            x = vitro_load(f.x, VITRO_F32, m * D + c.col, c.n, f.wide);
        const VitroEight g = vitro_load(f.gamma, VITRO_F32, c.col, c.n, f.wide);
        const VitroEight b = vitro_load(f.beta, VITRO_F32, c.col, c.n, f.wide);
#pragma unroll
        for (int i = 0; i < 8; i++)
            x.v[i] = (x.v[i] - mean) * rstd * g.v[i] + b.v[i];
        vitro_store(f.y.data, f.y.dtype, m * D + c.col, x, c.n, f.wide);
    }
    if (threadIdx.x % VITRO_WARP == 0) {
        if (f.mean)
            f.mean[m] = mean;
        if (f.rstd)
            f.rstd[m] = rstd;
    }
}

/* One instance for each width that models have, and one for all others. */
#define FOR_WIDTH(kernel, D, grid, smem, stream, ...)                                              \
    do {                                                                                           \
        const int64_t spans_ = ((D) + SPAN - 1) / SPAN;                                            \
        if (spans_ <= 1)                                                                           \
            VITRO_LAUNCH(kernel<1>, grid, THREADS, smem, stream, __VA_ARGS__);                     \
        else if (spans_ <= 3)                                                                      \
            VITRO_LAUNCH(kernel<3>, grid, THREADS, smem, stream, __VA_ARGS__);                     \
        else if (spans_ <= 5)                                                                      \
            VITRO_LAUNCH(kernel<5>, grid, THREADS, smem, stream, __VA_ARGS__);                     \
        else                                                                                       \
            VITRO_LAUNCH(kernel<0>, grid, THREADS, smem, stream, __VA_ARGS__);                     \
    } while (0)

VitroStatus vitro_cuda_layernorm(void *stream, VitroCudaMatrix y, float *mean, float *rstd,
                                 const float *x, const float *gamma, const float *beta, double eps,
                                 int64_t M, int64_t D)
{
    Forward f;
    f.y = y, f.mean = mean, f.rstd = rstd, f.x = x, f.gamma = gamma, f.beta = beta;
    f.eps = (float)eps, f.M = M, f.D = D;
    f.wide = D % 8 == 0 && vitro_aligned16(y.data) && vitro_aligned16(x) &&
             vitro_aligned16(gamma) && vitro_aligned16(beta);
    FOR_WIDTH(layernorm_kernel, D, (unsigned)((M + WARPS - 1) / WARPS), 0, stream, f);
    return vitro_cuda_launched("layernorm");
}

/* ---- backward ------------------------------------------------------------------------------- */

typedef struct Backward {
    float *dx;      /* NULL: not wanted */
    float *partial; /* [pieces][2][D]: of dgamma and of dbeta; NULL: frozen */
    const float *add, *dy, *x, *mean, *rstd, *gamma;
    int64_t M, D;
    bool wide;
} Backward;

/* With g = dy gamma: dx = add + rstd (g - mean(g) - xhat mean(g xhat)). `sum_gamma` and `sum_beta`
 * are this lane's columns' so far. */
template <int SPANS>
static __device__ __forceinline__ void backward_row(const Backward &f, int64_t m,
                                                    Row<SPANS> *sum_gamma, Row<SPANS> *sum_beta)
{
    const int64_t D = f.D;
    const int spans = SPANS ? SPANS : (int)((D + SPAN - 1) / SPAN);
    const float mean = f.mean[m], rstd = f.rstd[m];
    Row<SPANS> row_g, row_xhat;
    float sum_g = 0, sum_g_xhat = 0;
#pragma unroll
    for (int s = 0; s < spans; s++) {
        const Columns c = columns_of(s, D);
        VitroEight g = {}, xhat = {};
        if (c.n) {
            g = vitro_load(f.dy, VITRO_F32, m * D + c.col, c.n, f.wide);
            xhat = vitro_load(f.x, VITRO_F32, m * D + c.col, c.n, f.wide);
            const VitroEight gamma = vitro_load(f.gamma, VITRO_F32, c.col, c.n, f.wide);
#pragma unroll
            for (int i = 0; i < 8; i++) {
                xhat.v[i] = (xhat.v[i] - mean) * rstd;
                if (SPANS) {
                    sum_gamma->e[SPANS ? s : 0].v[i] += g.v[i] * xhat.v[i];
                    sum_beta->e[SPANS ? s : 0].v[i] += g.v[i];
                }
                g.v[i] *= gamma.v[i]; /* 0 where there is no column */
                sum_g += g.v[i];
                sum_g_xhat += g.v[i] * xhat.v[i];
            }
        }
        if (SPANS) {
            row_g.e[SPANS ? s : 0] = g;
            row_xhat.e[SPANS ? s : 0] = xhat;
        }
    }
    if (!f.dx)
        return;
    const float mean_g = vitro_warp_sum(sum_g) / (float)D;
    const float mean_g_xhat = vitro_warp_sum(sum_g_xhat) / (float)D;
#pragma unroll
    for (int s = 0; s < spans; s++) {
        const Columns c = columns_of(s, D);
        if (!c.n)
            continue;
        VitroEight g = row_g.e[SPANS ? s : 0], xhat = row_xhat.e[SPANS ? s : 0], add = {};
        if (!SPANS) {
            g = vitro_load(f.dy, VITRO_F32, m * D + c.col, c.n, f.wide);
            xhat = vitro_load(f.x, VITRO_F32, m * D + c.col, c.n, f.wide);
            const VitroEight gamma = vitro_load(f.gamma, VITRO_F32, c.col, c.n, f.wide);
#pragma unroll
            for (int i = 0; i < 8; i++) {
                g.v[i] *= gamma.v[i];
                xhat.v[i] = (xhat.v[i] - mean) * rstd;
            }
        }
        if (f.add)
            add = vitro_load(f.add, VITRO_F32, m * D + c.col, c.n, f.wide);
#pragma unroll
        for (int i = 0; i < 8; i++)
            g.v[i] = add.v[i] + rstd * (g.v[i] - mean_g - xhat.v[i] * mean_g_xhat);
        vitro_store(f.dx, VITRO_F32, m * D + c.col, g, c.n, f.wide);
    }
}

/* The warps' sums of one span, added in their order, to partial. */
static __device__ __forceinline__ void flush(float *to, const VitroEight &sum, int span, int64_t D,
                                             float (*room)[SPAN])
{
    const int lane = threadIdx.x % VITRO_WARP, warp = threadIdx.x / VITRO_WARP;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 8; i++)
        room[warp][i * VITRO_WARP + lane] = sum.v[i];
    __syncthreads();
    float total = 0; /* thread t: element t / 32 of lane t % 32 */
    for (int w = 0; w < WARPS; w++)
        total += room[w][threadIdx.x];
    const int64_t col = (int64_t)span * SPAN + lane * 8 + warp;
    if (col < D)
        to[col] = total;
}

/* A block has a piece of the rows, its warps every eighth of them. */
template <int SPANS>
static __global__ void __launch_bounds__(THREADS) layernorm_backward_kernel(Backward f)
{
    __shared__ float room[WARPS][SPAN];
    const int64_t piece = blockIdx.x, pieces = gridDim.x, D = f.D;
    const int64_t first = piece * f.M / pieces, end = (piece + 1) * f.M / pieces;
    const int warp = threadIdx.x / VITRO_WARP;
    Row<SPANS> sum_gamma = {}, sum_beta = {};
    for (int64_t m = first + warp; m < end; m += WARPS)
        backward_row<SPANS>(f, m, &sum_gamma, &sum_beta);
    if (!f.partial)
        return;
    float *to_gamma = f.partial + piece * 2 * D, *to_beta = to_gamma + D;
    if constexpr (SPANS > 0) {
#pragma unroll
        for (int s = 0; s < SPANS; s++) {
            flush(to_gamma, sum_gamma.e[s], s, D, room);
            flush(to_beta, sum_beta.e[s], s, D, room);
        }
    } else
        for (int s = 0; s < (int)((D + SPAN - 1) / SPAN); s++) { /* wide rows: once more */
            const Columns c = columns_of(s, D);
            VitroEight g = {}, b = {};
            for (int64_t m = first + warp; m < end && c.n; m += WARPS) {
                const VitroEight dy = vitro_load(f.dy, VITRO_F32, m * D + c.col, c.n, f.wide);
                const VitroEight x = vitro_load(f.x, VITRO_F32, m * D + c.col, c.n, f.wide);
#pragma unroll
                for (int i = 0; i < 8; i++) {
                    g.v[i] += dy.v[i] * (x.v[i] - f.mean[m]) * f.rstd[m];
                    b.v[i] += dy.v[i];
                }
            }
            flush(to_gamma, g, s, D, room);
            flush(to_beta, b, s, D, room);
        }
}

VitroStatus vitro_cuda_layernorm_backward(void *stream, float *dx, float *dgamma, float *dbeta,
                                          const float *add, const float *dy, const float *x,
                                          const float *mean, const float *rstd, const float *gamma,
                                          int64_t M, int64_t D, float *workspace)
{
    const int64_t pieces = vitro_cuda_pieces(M);
    Backward f;
    f.dx = dx, f.partial = dgamma || dbeta ? workspace : NULL, f.add = add, f.dy = dy, f.x = x;
    f.mean = mean, f.rstd = rstd, f.gamma = gamma, f.M = M, f.D = D;
    f.wide = D % 8 == 0 && vitro_aligned16(dx) && vitro_aligned16(add) && vitro_aligned16(dy) &&
             vitro_aligned16(x) && vitro_aligned16(gamma);
    FOR_WIDTH(layernorm_backward_kernel, D, (unsigned)pieces, 0, stream, f);
    VITRO_TRY(vitro_cuda_launched("layernorm_backward"));
    if (dgamma)
        VITRO_TRY(vitro_cuda_add_pieces(stream, dgamma, workspace, pieces, 2 * D, D));
    return dbeta ? vitro_cuda_add_pieces(stream, dbeta, workspace + D, pieces, 2 * D, D) : VITRO_OK;
}

/* ---- heads: the same over pieces of a row, a warp for each -------------------------------------
 */

typedef struct Heads {
    VitroCudaMatrix y, x; /* backward: y is dx */
    float *mean, *rstd;
    const float *gamma, *beta;
    float *partial; /* [pieces][2][Dh] */
    float eps;
    int64_t M, N, first, heads, Dh;
} Heads;

static __global__ void __launch_bounds__(THREADS) head_norm_kernel(Heads k)
{
    const int64_t i = (int64_t)blockIdx.x * WARPS + threadIdx.x / VITRO_WARP;
    const int64_t m = i / k.heads, at = m * k.N + k.first + (i - m * k.heads) * k.Dh;
    const int lane = threadIdx.x % VITRO_WARP;
    if (m >= k.M)
        return;
    float sum = 0, squares = 0;
    for (int64_t d = lane; d < k.Dh; d += VITRO_WARP)
        sum += vitro_load1(k.x.data, k.x.dtype, at + d);
    const float mean = vitro_warp_sum(sum) / (float)k.Dh;
    for (int64_t d = lane; d < k.Dh; d += VITRO_WARP) {
        const float x = vitro_load1(k.x.data, k.x.dtype, at + d) - mean;
        squares += x * x;
    }
    const float rstd = 1.0f / sqrtf(vitro_warp_sum(squares) / (float)k.Dh + k.eps);
    for (int64_t d = lane; d < k.Dh; d += VITRO_WARP) {
        const float x = vitro_load1(k.x.data, k.x.dtype, at + d);
        vitro_store1(k.y.data, k.y.dtype, at + d, (x - mean) * rstd * k.gamma[d] + k.beta[d]);
    }
    if (lane == 0 && k.mean)
        k.mean[i] = mean;
    if (lane == 0 && k.rstd)
        k.rstd[i] = rstd;
}

static inline unsigned blocks_of_heads(const Heads *k)
{
    return (unsigned)((k->M * k->heads + WARPS - 1) / WARPS);
}

VitroStatus vitro_cuda_head_norm(void *stream, VitroCudaMatrix y, float *mean, float *rstd,
                                 VitroCudaMatrix x, const float *gamma, const float *beta,
                                 double eps, int64_t M, int64_t N, int64_t first, int64_t heads,
                                 int64_t Dh)
{
    Heads k = {};
    k.y = y, k.x = x, k.mean = mean, k.rstd = rstd, k.gamma = gamma, k.beta = beta;
    k.eps = (float)eps, k.M = M, k.N = N, k.first = first, k.heads = heads, k.Dh = Dh;
    if (y.data != x.data)
        VITRO_TRY(vitro_cuda_cast(stream, y, x, M * N)); /* the columns without a norm */
    VITRO_LAUNCH(head_norm_kernel, blocks_of_heads(&k), THREADS, 0, stream, k);
    return vitro_cuda_launched("head_norm");
}

/* A block has 32 columns of the heads and a piece of the rows, its warps every eighth of them. */
static __global__ void __launch_bounds__(THREADS) head_norm_sums_kernel(Heads k)
{
    __shared__ float room[2][WARPS][VITRO_WARP];
    const int lane = threadIdx.x % VITRO_WARP, warp = threadIdx.x / VITRO_WARP;
    const int64_t piece = blockIdx.y, pieces = gridDim.y, d = (int64_t)blockIdx.x * 32 + lane;
    const int64_t begin = piece * k.M / pieces, end = (piece + 1) * k.M / pieces;
    float gamma = 0, beta = 0;
    for (int64_t m = begin + warp; m < end && d < k.Dh; m += WARPS)
        for (int64_t h = 0; h < k.heads; h++) {
            const int64_t at = m * k.N + k.first + h * k.Dh + d, i = m * k.heads + h;
            const float dy = vitro_load1(k.y.data, k.y.dtype, at);
            gamma += dy * (vitro_load1(k.x.data, k.x.dtype, at) - k.mean[i]) * k.rstd[i];
            beta += dy;
        }
    room[0][warp][lane] = gamma;
    room[1][warp][lane] = beta;
    __syncthreads();
    if (warp > 1 || d >= k.Dh)
        return;
    float sum = 0; /* warp 0: of gamma; warp 1: of beta */
    for (int w = 0; w < WARPS; w++)
        sum += room[warp][w][lane];
    k.partial[(piece * 2 + warp) * k.Dh + d] = sum;
}

static __global__ void __launch_bounds__(THREADS) head_norm_backward_kernel(Heads k)
{
    const int64_t i = (int64_t)blockIdx.x * WARPS + threadIdx.x / VITRO_WARP;
    const int64_t m = i / k.heads, at = m * k.N + k.first + (i - m * k.heads) * k.Dh;
    const int lane = threadIdx.x % VITRO_WARP;
    if (m >= k.M)
        return;
    const float mean = k.mean[i], rstd = k.rstd[i];
    float sum_g = 0, sum_g_xhat = 0;
    for (int64_t d = lane; d < k.Dh; d += VITRO_WARP) {
        const float g = vitro_load1(k.y.data, k.y.dtype, at + d) * k.gamma[d];
        sum_g += g;
        sum_g_xhat += g * (vitro_load1(k.x.data, k.x.dtype, at + d) - mean) * rstd;
    }
    const float mean_g = vitro_warp_sum(sum_g) / (float)k.Dh;
    const float mean_g_xhat = vitro_warp_sum(sum_g_xhat) / (float)k.Dh;
    for (int64_t d = lane; d < k.Dh; d += VITRO_WARP) {
        const float g = vitro_load1(k.y.data, k.y.dtype, at + d) * k.gamma[d];
        const float xhat = (vitro_load1(k.x.data, k.x.dtype, at + d) - mean) * rstd;
        vitro_store1(k.y.data, k.y.dtype, at + d, rstd * (g - mean_g - xhat * mean_g_xhat));
    }
}

VitroStatus vitro_cuda_head_norm_backward(void *stream, VitroCudaMatrix dx, float *dgamma,
                                          float *dbeta, VitroCudaMatrix x, const float *mean,
                                          const float *rstd, const float *gamma, int64_t M,
                                          int64_t N, int64_t first, int64_t heads, int64_t Dh,
                                          float *workspace)
{
    const int64_t pieces = vitro_cuda_pieces(M);
    Heads k = {};
    k.y = dx, k.x = x, k.mean = (float *)mean, k.rstd = (float *)rstd; /* only read */
    k.gamma = gamma, k.partial = workspace;
    k.M = M, k.N = N, k.first = first, k.heads = heads, k.Dh = Dh;
    if (dgamma || dbeta) {
        const dim3 grid((unsigned)((Dh + 31) / 32), (unsigned)pieces);
        VITRO_LAUNCH(head_norm_sums_kernel, grid, THREADS, 0, stream, k);
        VITRO_TRY(vitro_cuda_launched("head_norm_sums"));
    }
    if (dgamma)
        VITRO_TRY(vitro_cuda_add_pieces(stream, dgamma, workspace, pieces, 2 * Dh, Dh));
    if (dbeta)
        VITRO_TRY(vitro_cuda_add_pieces(stream, dbeta, workspace + Dh, pieces, 2 * Dh, Dh));
    VITRO_LAUNCH(head_norm_backward_kernel, blocks_of_heads(&k), THREADS, 0, stream, k);
    return vitro_cuda_launched("head_norm_backward");
}
