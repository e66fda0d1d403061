/* SPDX-License-Identifier: Apache-2.0 */
/* Attention of bf16 on the tensor cores, backward. With s = scale q k^T, p = exp(s - lse):
 *
 *     dv = p^T dctx    ds = p (dctx v^T - delta)    dk = scale ds^T q    dq = scale ds k
 *
 * A warp that owns 16 keys computes p^T and ds^T of 16 queries at a time in its registers, where
 * they are left operands of dv and dk at once; a warp that owns 16 queries does so with p and ds
 * for dq. Every sum has one owner and one order: no atomics, equal bits in every run.
 *
 * Two ways:
 *   - Up to 208 tokens and heads up to 64, one block has a whole head, with a warp for each 16
 * keys: ds^T then goes through shared memory, from the owners of keys to the owners of queries.
 * Five products: ViT-B/16, 256 images, one layer: 10 B H 208^2 Dh = 85 GFLOP, 0.62 GB: 137 us by
 *     620 TFLOP/s, 129 us by 4.8 TB/s. One block of 13 warps for a multiprocessor (181 KB of shared
 *     memory).
 *   - Else a kernel for delta, one for dk and dv, and one for dq: seven products, any length. */
#include "backend/cuda/attention_tiles.cuh"

enum { STREAM = 32 /* rows of a tile that comes by */, MOST_WARPS = 8 };

/* Of one query, in shared memory: lse in powers of 2, and delta. A query that does not exist has
 * lse infinite, so that its probabilities are 0. */
static __device__ __forceinline__ void load_rows(float2 *to, const VitroAttn &a, const Place &at,
                                                 int first, int count)
{
    const int64_t row = ((int64_t)at.b * a.H + at.h) * a.T;
    for (int i = threadIdx.x; i < count; i += blockDim.x)
        to[i] = first + i < a.T
                    ? make_float2(a.lse[row + first + i] * VITRO_LOG2E, a.delta[row + first + i])
                    : make_float2(INFINITY, 0.0f);
}

/* x[16, 16] = rows of `left` times rows of `right`, transposed; `held`: left's operands. */
template <int DP>
static __device__ __forceinline__ void times(float x[2][4], const uint32_t held[DP / 16][4],
                                             const bf16 *right, int row)
{
#pragma unroll
    for (int i = 0; i < 4; i++)
        x[0][i] = x[1][i] = 0;
#pragma unroll
    for (int d = 0; d < DP; d += 16) {
        uint32_t b[4];
        vitro_ldmatrix(b, col_operand<DP>(right, row, d));
        vitro_mma(x[0], held[d / 16], b[0], b[1]);
        vitro_mma(x[1], held[d / 16], b[2], b[3]);
    }
}

template <int DP>
static __device__ __forceinline__ void hold(uint32_t held[DP / 16][4], const bf16 *tile, int row)
{
#pragma unroll
    for (int d = 0; d < DP; d += 16)
        vitro_ldmatrix(held[d / 16], row_operand<DP>(tile, row, d));
}

/* sum[16, DP] += x rows, x a left operand of 16 x 16. */
template <int DP>
static __device__ __forceinline__ void add_times(float sum[DP / 8][4], const uint32_t x[4],
                                                 const bf16 *rows, int row)
{
#pragma unroll
    for (int d = 0; d < DP; d += 16) {
        uint32_t b[4];
        vitro_ldmatrix_turned(b, row_operand<DP>(rows, row, d));
        vitro_mma(sum[d / 8], x, b[0], b[1]);
        vitro_mma(sum[d / 8 + 1], x, b[2], b[3]);
    }
}

/* ---- the owner of 16 keys ----------------------------------------------------------------------
 */

template <int DP> struct Keys {
    float dk[DP / 8][4], dv[DP / 8][4];
    uint32_t k[DP / 16][4], v[DP / 16][4];
    int first;
};

/* Adds what the 16 queries from row `row` of the tiles on (`i` of the head) give to dk and dv; ds
 * receives ds^T as a left operand. */
template <int DP, bool DROPS>
static __device__ __forceinline__ void
add_queries(Keys<DP> *own, uint32_t ds[4], const VitroAttn &a, const Place &at, const bf16 *q,
            const bf16 *dctx, const float2 *rows, int row, int i)
{
    const int g = threadIdx.x % VITRO_WARP / 4, c = 2 * (threadIdx.x % 4);
    float p[2][4], dp[2][4];
    times<DP>(p, own->k, q, row);
    times<DP>(dp, own->v, dctx, row);
#pragma unroll
    for (int n = 0; n < 2; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int key = own->first + g + e / 2 * 8, query = 8 * n + c + e % 2;
            const float2 of = rows[row + query];
            const float x = key < a.T ? vitro_exp2(p[n][e] * (a.scale * VITRO_LOG2E) - of.x) : 0.0f;
            float factor = 1.0f;
            if (DROPS)
                factor = vitro_attn_drop(a, at.b, at.h, i + query, key);
            dp[n][e] = x * (factor * dp[n][e] - of.y);
            p[n][e] = factor * x;
        }
    uint32_t operand[4];
    to_operand(operand, p[0], p[1]);
    add_times<DP>(own->dv, operand, dctx, row);
    to_operand(ds, dp[0], dp[1]);
    add_times<DP>(own->dk, ds, q, row);
}

template <int DP, bool DROPS>
static __global__ void __launch_bounds__(MOST_WARPS *VITRO_WARP, DP <= 64 ? 2 : 1)
    keys_kernel(VitroAttn a, int blocks)
{
    VITRO_SHARED(bf16, room);
    __shared__ float2 rows[2][STREAM];
    const Place at = place_of(a, blocks);
    const int warps = blockDim.x / VITRO_WARP, warp = threadIdx.x / VITRO_WARP;
    const int first = at.block * warps * 16;
    bf16 *k = room, *v = k + warps * 16 * pitch<DP>();
    bf16 *q = v + warps * 16 * pitch<DP>(), *dctx = q + 2 * STREAM * pitch<DP>();
    load_tile<DP>(k, a.k, a, at, first, warps * 16);
    load_tile<DP>(v, a.v, a, at, first, warps * 16);
    load_tile<DP>(q, a.q, a, at, 0, STREAM);
    load_tile<DP>(dctx, a.dctx, a, at, 0, STREAM);
    load_rows(rows[0], a, at, 0, STREAM);
    vitro_copy_commit();

    Keys<DP> own = {};
    own.first = first + warp * 16;
    for (int i = 0, now = 0; i < a.T; i += STREAM, now ^= 1) {
        if (i + STREAM < a.T) {
            const int next = now ^ 1;
            load_tile<DP>(q + next * STREAM * pitch<DP>(), a.q, a, at, i + STREAM, STREAM);
            load_tile<DP>(dctx + next * STREAM * pitch<DP>(), a.dctx, a, at, i + STREAM, STREAM);
            load_rows(rows[next], a, at, i + STREAM, STREAM);
        }
        vitro_copy_commit();
        vitro_copy_wait<1>();
        __syncthreads();
        if (i == 0) {
            hold<DP>(own.k, k, warp * 16);
            hold<DP>(own.v, v, warp * 16);
        }
#pragma unroll
        for (int row = 0; row < STREAM; row += 16)
            if (i + row < a.T) {
                uint32_t ds[4];
                add_queries<DP, DROPS>(&own, ds, a, at, q + now * STREAM * pitch<DP>(),
                                       dctx + now * STREAM * pitch<DP>(), rows[now], row, i + row);
            }
        __syncthreads();
    }
    store_tile<DP>(a.dk, a, at, own.first, own.dk, a.scale, k + warp * 16 * pitch<DP>());
    store_tile<DP>(a.dv, a, at, own.first, own.dv, 1.0f, k + warp * 16 * pitch<DP>());
}

/* ---- the owner of 16 queries -------------------------------------------------------------------
 */

template <int DP, bool DROPS>
static __global__ void __launch_bounds__(MOST_WARPS *VITRO_WARP, DP <= 64 ? 2 : 1)
    queries_kernel(VitroAttn a, int blocks)
{
    VITRO_SHARED(bf16, room);
    __shared__ float2 rows[MOST_WARPS * 16];
    const Place at = place_of(a, blocks);
    const int warps = blockDim.x / VITRO_WARP, warp = threadIdx.x / VITRO_WARP;
    const int first = at.block * warps * 16, g = threadIdx.x % VITRO_WARP / 4;
    bf16 *q = room, *dctx = q + warps * 16 * pitch<DP>();
    bf16 *k = dctx + warps * 16 * pitch<DP>(), *v = k + 2 * STREAM * pitch<DP>();
    load_tile<DP>(q, a.q, a, at, first, warps * 16);
    load_tile<DP>(dctx, a.dctx, a, at, first, warps * 16);
    load_tile<DP>(k, a.k, a, at, 0, STREAM);
    load_tile<DP>(v, a.v, a, at, 0, STREAM);
    load_rows(rows, a, at, first, warps * 16);
    vitro_copy_commit();

    float dq[DP / 8][4] = {};
    uint32_t held_q[DP / 16][4], held_dctx[DP / 16][4];
    for (int j = 0, now = 0; j < a.T; j += STREAM, now ^= 1) {
        if (j + STREAM < a.T) {
            load_tile<DP>(k + (now ^ 1) * STREAM * pitch<DP>(), a.k, a, at, j + STREAM, STREAM);
            load_tile<DP>(v + (now ^ 1) * STREAM * pitch<DP>(), a.v, a, at, j + STREAM, STREAM);
        }
        vitro_copy_commit();
        vitro_copy_wait<1>();
        __syncthreads();
        if (j == 0) {
            hold<DP>(held_q, q, warp * 16);
            hold<DP>(held_dctx, dctx, warp * 16);
        }
        const float2 of[2] = {rows[warp * 16 + g], rows[warp * 16 + g + 8]};
#pragma unroll
        for (int row = 0; row < STREAM; row += 16) {
            if (j + row >= a.T)
                break;
            float p[2][4], dp[2][4];
            times<DP>(p, held_q, k + now * STREAM * pitch<DP>(), row);
            times<DP>(dp, held_dctx, v + now * STREAM * pitch<DP>(), row);
#pragma unroll
            for (int n = 0; n < 2; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    const int key = j + row + 8 * n + 2 * (threadIdx.x % 4) + e % 2;
                    const float x =
                        key < a.T ? vitro_exp2(p[n][e] * (a.scale * VITRO_LOG2E) - of[e / 2].x)
                                  : 0.0f;
                    if (DROPS)
                        dp[n][e] *=
                            vitro_attn_drop(a, at.b, at.h, first + warp * 16 + g + e / 2 * 8, key);
                    dp[n][e] = x * (dp[n][e] - of[e / 2].y);
                }
            uint32_t ds[4];
            to_operand(ds, dp[0], dp[1]);
            add_times<DP>(dq, ds, k + now * STREAM * pitch<DP>(), row);
        }
        __syncthreads();
    }
    store_tile<DP>(a.dq, a, at, first + warp * 16, dq, a.scale, q + warp * 16 * pitch<DP>());
}

/* ---- a whole head in one block -----------------------------------------------------------------
 */

/* Where things lie in shared memory, for up to ROWS tokens: a row of ds^T holds ROWS queries, and
 * is an odd number of 16 bytes from the next. v lies where ds^T comes later: its owners hold it
 * then. */
template <int DP, int ROWS> struct Layout {
    static const int tile = ROWS * (DP + 8), ds_pitch = ROWS + 8;
    static const int q = 4 * ROWS /* behind the rows' float2 */, dctx = q + tile, k = dctx + tile;
    static const int v = k + tile, ds = v;
    static const int bytes = (v + (DP > ROWS ? tile : ROWS * ds_pitch)) * (int)sizeof(bf16);
};

/* What load_rows gives, of the warp's 16 rows, delta from dctx's tile and ctx. Two lanes have a
 * row. */
template <int DP>
static __device__ __forceinline__ void make_rows(float2 *rows, const VitroAttn &a, const Place &at,
                                                 const bf16 *dctx, int first)
{
    const int lane = threadIdx.x % VITRO_WARP, row = first + lane / 2, half = lane % 2 * (DP / 2);
    float delta = 0;
#pragma unroll
    for (int d = half; d < half + DP / 2; d += 8) {
        const int n = a.Dh - d < 8 ? a.Dh - d : 8;
        if (row >= a.T || n <= 0)
            continue;
        const VitroEight x = vitro_load(a.ctx.data, VITRO_BF16,
                                        vitro_row(a.ctx, at.b, at.h, row, a.Dh) + d, n, a.wide);
        const VitroEight y = vitro_load8(dctx, VITRO_BF16, row * pitch<DP>() + d);
#pragma unroll
        for (int e = 0; e < 8; e++)
            delta += x.v[e] * y.v[e];
    }
    delta += __shfl_xor_sync(VITRO_FULL, delta, 1);
    if (lane % 2 == 0)
        rows[row] =
            row < a.T
                ? make_float2(a.lse[((int64_t)at.b * a.H + at.h) * a.T + row] * VITRO_LOG2E, delta)
                : make_float2(INFINITY, 0.0f);
}

/* dq of the warp's 16 queries from all of ds^T [T, T]. */
template <int DP, int ROWS>
static __device__ __forceinline__ void gather_dq(float dq[DP / 8][4], const bf16 *ds, const bf16 *k,
                                                 int T, int first)
{
    const int lane = threadIdx.x % VITRO_WARP, step = Layout<DP, ROWS>::ds_pitch;
#pragma unroll 2
    for (int key = 0; key < T; key += 16) {
        uint32_t a[4];
        vitro_ldmatrix_turned(a, ds + (key + lane % 8 + lane / 16 * 8) * step + first +
                                     lane / 8 % 2 * 8);
        add_times<DP>(dq, a, k, key);
    }
}

template <int DP, int ROWS, bool DROPS>
static __global__ void __launch_bounds__(ROWS / 16 * VITRO_WARP, ROWS <= 64 ? 4 : 1)
    head_kernel(VitroAttn a)
{
    typedef Layout<DP, ROWS> L;
    VITRO_SHARED(bf16, room);
    const Place at = place_of(a, 1);
    const int warp = threadIdx.x / VITRO_WARP, lane = threadIdx.x % VITRO_WARP;
    const int T = blockDim.x / VITRO_WARP * 16;
    float2 *rows = (float2 *)room;
    load_tile<DP>(room + L::k, a.k, a, at, 0, T);
    load_tile<DP>(room + L::v, a.v, a, at, 0, T);
    vitro_copy_commit();
    load_tile<DP>(room + L::q, a.q, a, at, 0, T);
    load_tile<DP>(room + L::dctx, a.dctx, a, at, 0, T);
    vitro_copy_commit();

    Keys<DP> own = {};
    own.first = warp * 16;
    vitro_copy_wait<1>();
    __syncthreads();
    hold<DP>(own.k, room + L::k, own.first);
    hold<DP>(own.v, room + L::v, own.first);
    vitro_copy_wait<0>();
    __syncthreads(); /* q and dctx are there, and nobody needs v any more */
    make_rows<DP>(rows, a, at, room + L::dctx, own.first);
    __syncthreads();
    bf16 *to = room + L::ds + (own.first + lane / 4) * L::ds_pitch + 2 * (lane % 4);
#pragma unroll 1
    for (int i = 0; i < T; i += 16) {
        uint32_t x[4];
        add_queries<DP, DROPS>(&own, x, a, at, room + L::q, room + L::dctx, rows, i, i);
        *(uint32_t *)(to + i) = x[0];
        *(uint32_t *)(to + i + 8 * L::ds_pitch) = x[1];
        *(uint32_t *)(to + i + 8) = x[2];
        *(uint32_t *)(to + i + 8 * L::ds_pitch + 8) = x[3];
    }
    __syncthreads(); /* all of ds^T is there, and nobody needs q and dctx any more */
    bf16 *own_room = room + L::q + own.first * pitch<DP>();
    store_tile<DP>(a.dk, a, at, own.first, own.dk, a.scale, own_room);
    store_tile<DP>(a.dv, a, at, own.first, own.dv, 1.0f, own_room);
    float dq[DP / 8][4] = {};
    gather_dq<DP, ROWS>(dq, room + L::ds, room + L::k, T, own.first);
    store_tile<DP>(a.dq, a, at, own.first, dq, a.scale, own_room);
}

/* ---- launching ---------------------------------------------------------------------------------
 */

template <int DP, bool DROPS> static VitroStatus by_parts(void *stream, const VitroAttn *a)
{
    const int tiles = (a->T + 15) / 16, blocks = (tiles + MOST_WARPS - 1) / MOST_WARPS;
    const int warps = (tiles + blocks - 1) / blocks;
    const size_t bytes = (size_t)(2 * warps * 16 + 4 * STREAM) * pitch<DP>() * sizeof(bf16);
    const unsigned grid = (unsigned)((int64_t)a->B * a->H * blocks);
    VITRO_TRY(vitro_attention_delta(stream, a, VITRO_BF16));
    VITRO_TRY(vitro_attention_room((const void *)keys_kernel<DP, DROPS>, bytes));
    VITRO_TRY(vitro_attention_room((const void *)queries_kernel<DP, DROPS>, bytes));
    VITRO_LAUNCH((keys_kernel<DP, DROPS>), grid, (unsigned)warps * VITRO_WARP, bytes, stream, *a,
                 blocks);
    VITRO_TRY(vitro_cuda_launched("attention_keys"));
    VITRO_LAUNCH((queries_kernel<DP, DROPS>), grid, (unsigned)warps * VITRO_WARP, bytes, stream, *a,
                 blocks);
    return vitro_cuda_launched("attention_queries");
}

/* Where a block cannot have so much shared memory, there is the other way: compute capability 8.6
 * and 8.9 have 99 KB, 8.0 has 163, 9.0 has 227. */
template <int DP, int ROWS, bool DROPS>
static VitroStatus by_heads(void *stream, const VitroAttn *a)
{
    const int bytes = Layout<DP, ROWS>::bytes, warps = (a->T + 15) / 16;
    if (cudaFuncSetAttribute((const void *)head_kernel<DP, ROWS, DROPS>,
                             cudaFuncAttributeMaxDynamicSharedMemorySize, bytes) != cudaSuccess) {
        (void)cudaGetLastError();
        return by_parts<DP, DROPS>(stream, a);
    }
    VITRO_LAUNCH((head_kernel<DP, ROWS, DROPS>), (unsigned)((int64_t)a->B * a->H),
                 (unsigned)warps * VITRO_WARP, (size_t)bytes, stream, *a);
    return vitro_cuda_launched("attention_head");
}

template <int DP, bool DROPS> static VitroStatus backward_of(void *stream, const VitroAttn *a)
{
    if constexpr (DP <= 64) {
        if (a->T <= 64)
            return by_heads<DP, 64, DROPS>(stream, a);
        if (a->T <= 208)
            return by_heads<DP, 208, DROPS>(stream, a);
    }
    return by_parts<DP, DROPS>(stream, a);
}

template <int DP> static VitroStatus backward(void *stream, const VitroAttn *a)
{
    return a->drop.state ? backward_of<DP, true>(stream, a) : backward_of<DP, false>(stream, a);
}

VitroStatus vitro_attention_mma_backward(void *stream, const VitroAttn *a)
{
    return a->Dh <= 32   ? backward<32>(stream, a)
           : a->Dh <= 64 ? backward<64>(stream, a)
           : a->Dh <= 80 ? backward<80>(stream, a)
                         : backward<128>(stream, a);
}
