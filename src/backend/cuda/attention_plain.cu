/* SPDX-License-Identifier: Apache-2.0 */
/* Attention in float32 without tensor cores: for float32, and for bf16 where heads are wider than
 * attention_mma.cu takes. A block has ROWS queries (or keys) and goes over all keys (or queries),
 * ROWS at a time; its threads are 16 by 16, each with a tile of scores and of the result in
 * registers.
 *
 * ViT-B/16, 256 images, one layer: forward 4 B H T^2 Dh = 31 GFLOP (T = 197 costs as much as 256:
 * 52) and 0.6 GB: 0.8 ms by 67 TFLOP/s. Backward 14 B H T^2 Dh, 0.24 TFLOP with what is computed
 * beyond T: 3.6 ms. Shared memory feeds two FMA per word read, so about half of that rate can be
 * had. Blocks of 256 threads; 52 KB of shared memory forward (4 blocks for a multiprocessor), 86 KB
 * backward (2). */
#include "backend/cuda/attention.cuh"

enum { SIDE = 16, THREADS = SIDE * SIDE };

/* Rows of a tile, for heads up to DP wide. */
template <int DP> static __host__ __device__ constexpr int rows_of(void)
{
    return DP <= 64 ? 64 : DP <= 128 ? 32 : 16;
}

/* Floats from row to row: an odd number of 16 bytes, so that eight rows lie in different banks. */
template <int DP> static __host__ __device__ constexpr int pitch(void)
{
    return DP + 4;
}

/* A thread's tile of scores: rows y ROWS/16 .. , columns x, x + 16, ... */
template <int DP> struct Scores {
    static const int N = rows_of<DP>() / SIDE;
    float s[N][N];
};

/* Of a result [ROWS, DP]: the same rows, columns x, x + 16, ... */
template <int DP> struct Sums {
    float s[rows_of<DP>() / SIDE][DP / SIDE];
};

struct Block {
    int b, h, first; /* of its rows */
    int x, y;        /* the thread */
};

template <int DP> static __device__ __forceinline__ Block make_block(const VitroAttn &a, int blocks)
{
    const int head = (int)(blockIdx.x / (unsigned)blocks);
    Block k;
    k.b = head / a.H, k.h = head % a.H;
    k.first = (int)(blockIdx.x % (unsigned)blocks) * rows_of<DP>();
    k.x = threadIdx.x % SIDE, k.y = threadIdx.x / SIDE;
    return k;
}

/* Rows `first` .. of (b, h), zeros where there are none. */
template <int DP>
static __device__ __forceinline__ void load_tile(float *to, const VitroRows &from,
                                                 const VitroAttn &a, VitroDtype dtype,
                                                 const Block &k, int first)
{
    for (int i = threadIdx.x; i < rows_of<DP>() * (DP / 8); i += THREADS) {
        const int row = i / (DP / 8), col = i % (DP / 8) * 8;
        const int n = a.Dh - col >= 8 ? 8 : a.Dh - col > 0 ? a.Dh - col : 0;
        VitroEight e = {};
        if (first + row < a.T && n > 0)
            e = vitro_load(from.data, dtype, vitro_row(from, k.b, k.h, first + row, a.Dh) + col, n,
                           a.wide);
        vitro_store8(to + row * pitch<DP>(), VITRO_F32, col, e);
    }
}

/* s = rows of `left` times rows of `right`, transposed. */
template <int DP>
static __device__ __forceinline__ void times(Scores<DP> *s, const float *left, const float *right,
                                             const Block &k)
{
    const int N = Scores<DP>::N;
#pragma unroll
    for (int i = 0; i < N; i++)
#pragma unroll
        for (int j = 0; j < N; j++)
            s->s[i][j] = 0;
#pragma unroll 4
    for (int d = 0; d < DP; d += 4) {
        float4 l[N], r[N];
#pragma unroll
        for (int i = 0; i < N; i++) {
            l[i] = *(const float4 *)(left + (k.y * N + i) * pitch<DP>() + d);
            r[i] = *(const float4 *)(right + (k.x + i * SIDE) * pitch<DP>() + d);
        }
#pragma unroll
        for (int i = 0; i < N; i++)
#pragma unroll
            for (int j = 0; j < N; j++)
                s->s[i][j] += l[i].x * r[j].x + l[i].y * r[j].y + l[i].z * r[j].z + l[i].w * r[j].w;
    }
}

/* sum += p rows, p [ROWS, ROWS + 1] in shared memory. */
template <int DP>
static __device__ __forceinline__ void add_times(Sums<DP> *sum, const float *p, const float *rows,
                                                 const Block &k)
{
    const int R = rows_of<DP>(), N = R / SIDE;
#pragma unroll 4
    for (int j = 0; j < R; j++) {
        float l[N], r[DP / SIDE];
#pragma unroll
        for (int i = 0; i < N; i++)
            l[i] = p[(k.y * N + i) * (R + 1) + j];
#pragma unroll
        for (int n = 0; n < DP / SIDE; n++)
            r[n] = rows[j * pitch<DP>() + k.x + n * SIDE];
#pragma unroll
        for (int i = 0; i < N; i++)
#pragma unroll
            for (int n = 0; n < DP / SIDE; n++)
                sum->s[i][n] += l[i] * r[n];
    }
}

template <int DP>
static __device__ __forceinline__ void put_scores(float *p, const Scores<DP> &s, const Block &k)
{
    const int R = rows_of<DP>(), N = R / SIDE;
#pragma unroll
    for (int i = 0; i < N; i++)
#pragma unroll
        for (int j = 0; j < N; j++)
            p[(k.y * N + i) * (R + 1) + k.x + j * SIDE] = s.s[i][j];
}

template <int DP>
static __device__ __forceinline__ void store_sums(const VitroRows &to, const VitroAttn &a,
                                                  VitroDtype dtype, const Sums<DP> &sum,
                                                  const float *factor, const Block &k)
{
    const int N = rows_of<DP>() / SIDE;
#pragma unroll
    for (int i = 0; i < N; i++) {
        const int row = k.first + k.y * N + i;
#pragma unroll
        for (int n = 0; n < DP / SIDE; n++) {
            const int col = k.x + n * SIDE;
            if (row < a.T && col < a.Dh)
                vitro_store1((void *)to.data, dtype, vitro_row(to, k.b, k.h, row, a.Dh) + col,
                             factor[i] * sum.s[i][n]);
        }
    }
}

/* Over the 16 threads of a row. */
static __device__ __forceinline__ float row_sum(float x)
{
#pragma unroll
    for (int offset = SIDE / 2; offset > 0; offset /= 2)
        x += __shfl_xor_sync(VITRO_FULL, x, offset);
    return x;
}

static __device__ __forceinline__ float row_max(float x)
{
#pragma unroll
    for (int offset = SIDE / 2; offset > 0; offset /= 2)
        x = fmaxf(x, __shfl_xor_sync(VITRO_FULL, x, offset));
    return x;
}

/* ---- forward -----------------------------------------------------------------------------------
 */

template <int DP>
static __global__ void __launch_bounds__(THREADS)
    forward_kernel(VitroAttn a, VitroDtype dtype, int blocks)
{
    const int R = rows_of<DP>(), N = R / SIDE;
    VITRO_SHARED(float, q);
    float *kv = q + R * pitch<DP>(), *p = kv + R * pitch<DP>();
    const Block k = make_block<DP>(a, blocks);
    Sums<DP> ctx = {};
    float max[N], sum[N];
#pragma unroll
    for (int i = 0; i < N; i++)
        max[i] = -INFINITY, sum[i] = 0;
    load_tile<DP>(q, a.q, a, dtype, k, k.first);
    for (int key = 0; key < a.T; key += R) {
        Scores<DP> s;
        load_tile<DP>(kv, a.k, a, dtype, k, key);
        __syncthreads();
        times<DP>(&s, q, kv, k);
#pragma unroll
        for (int i = 0; i < N; i++) {
            float most = max[i], more = 0;
#pragma unroll
            for (int j = 0; j < N; j++) {
                const bool exists = key + k.x + j * SIDE < a.T;
                s.s[i][j] = exists ? a.scale * s.s[i][j] : -INFINITY;
                most = fmaxf(most, s.s[i][j]);
            }
            most = row_max(most);
            const float down = expf(max[i] - most);
#pragma unroll
            for (int j = 0; j < N; j++) {
                s.s[i][j] = expf(s.s[i][j] - most);
                more += s.s[i][j];
                if (a.drop.state)
                    s.s[i][j] *=
                        vitro_attn_drop(a, k.b, k.h, k.first + k.y * N + i, key + k.x + j * SIDE);
            }
            max[i] = most;
            sum[i] = down * sum[i] + row_sum(more);
#pragma unroll
            for (int n = 0; n < DP / SIDE; n++)
                ctx.s[i][n] *= down;
        }
        put_scores<DP>(p, s, k);
        __syncthreads(); /* nobody needs the keys any more */
        load_tile<DP>(kv, a.v, a, dtype, k, key);
        __syncthreads();
        add_times<DP>(&ctx, p, kv, k);
        __syncthreads();
    }
    float factor[N];
#pragma unroll
    for (int i = 0; i < N; i++) {
        const int row = k.first + k.y * N + i;
        factor[i] = 1.0f / sum[i];
        if (a.lse && k.x == 0 && row < a.T)
            a.lse[((int64_t)k.b * a.H + k.h) * a.T + row] = max[i] + logf(sum[i]);
    }
    store_sums<DP>(a.ctx, a, dtype, ctx, factor, k);
}

/* ---- backward ----------------------------------------------------------------------------------
 *
 * With s = scale q k^T, p = exp(s - lse):  dv = p^T dctx  ds = p (dctx v^T - delta)
 *                                          dq = scale ds k    dk = scale ds^T q
 *
 * KEYS: the block owns keys and values (dk, dv), queries and dctx come by, and all scores are
 * transposed; else it owns queries (dq), and keys and values come by. */
template <int DP, bool KEYS>
static __global__ void __launch_bounds__(THREADS)
    backward_kernel(VitroAttn a, VitroDtype dtype, int blocks)
{
    const int R = rows_of<DP>(), N = R / SIDE;
    VITRO_SHARED(float, own1);
    float *own2 = own1 + R * pitch<DP>(), *by1 = own2 + R * pitch<DP>();
    float *by2 = by1 + R * pitch<DP>(), *p = by2 + R * pitch<DP>();
    const Block k = make_block<DP>(a, blocks);
    const int64_t head = ((int64_t)k.b * a.H + k.h) * a.T;
    Sums<DP> sum1 = {}, sum2 = {};
    load_tile<DP>(own1, KEYS ? a.k : a.q, a, dtype, k, k.first);
    load_tile<DP>(own2, KEYS ? a.v : a.dctx, a, dtype, k, k.first);
    for (int other = 0; other < a.T; other += R) {
        Scores<DP> s, ds;
        load_tile<DP>(by1, KEYS ? a.q : a.k, a, dtype, k, other);
        load_tile<DP>(by2, KEYS ? a.dctx : a.v, a, dtype, k, other);
        __syncthreads();
        times<DP>(&s, own1, by1, k);
        times<DP>(&ds, own2, by2, k);
#pragma unroll
        for (int i = 0; i < N; i++)
#pragma unroll
            for (int j = 0; j < N; j++) {
                const int mine = k.first + k.y * N + i, its = other + k.x + j * SIDE;
                const int query = KEYS ? its : mine, key = KEYS ? mine : its;
                float x = 0, y = 0;
                if (query < a.T && key < a.T) {
                    const float factor =
                        a.drop.state ? vitro_attn_drop(a, k.b, k.h, query, key) : 1.0f;
                    x = expf(a.scale * s.s[i][j] - a.lse[head + query]);
                    y = x * (factor * ds.s[i][j] - a.delta[head + query]);
                    x *= factor;
                }
                s.s[i][j] = x;
                ds.s[i][j] = y;
            }
        put_scores<DP>(p, ds, k);
        __syncthreads();
        add_times<DP>(&sum1, p, by1, k);
        if (KEYS) {
            __syncthreads();
            put_scores<DP>(p, s, k);
            __syncthreads();
            add_times<DP>(&sum2, p, by2, k);
        }
        __syncthreads();
    }
    float one[N], scale[N];
#pragma unroll
    for (int i = 0; i < N; i++)
        one[i] = 1, scale[i] = a.scale;
    store_sums<DP>(KEYS ? a.dk : a.dq, a, dtype, sum1, scale, k);
    if (KEYS)
        store_sums<DP>(a.dv, a, dtype, sum2, one, k);
}

/* ---- launching ---------------------------------------------------------------------------------
 */

template <int DP> static VitroStatus forward(void *stream, const VitroAttn *a, VitroDtype dtype)
{
    const int R = rows_of<DP>(), blocks = (a->T + R - 1) / R;
    const size_t bytes = (size_t)(2 * R * pitch<DP>() + R * (R + 1)) * sizeof(float);
    VITRO_TRY(vitro_attention_room((const void *)forward_kernel<DP>, bytes));
    VITRO_LAUNCH(forward_kernel<DP>, (unsigned)((int64_t)a->B * a->H * blocks), THREADS, bytes,
                 stream, *a, dtype, blocks);
    return vitro_cuda_launched("attention_plain");
}

template <int DP, bool KEYS>
static VitroStatus backward_part(void *stream, const VitroAttn *a, VitroDtype dtype)
{
    const int R = rows_of<DP>(), blocks = (a->T + R - 1) / R;
    const size_t bytes = (size_t)(4 * R * pitch<DP>() + R * (R + 1)) * sizeof(float);
    VITRO_TRY(vitro_attention_room((const void *)backward_kernel<DP, KEYS>, bytes));
    VITRO_LAUNCH((backward_kernel<DP, KEYS>), (unsigned)((int64_t)a->B * a->H * blocks), THREADS,
                 bytes, stream, *a, dtype, blocks);
    return vitro_cuda_launched("attention_plain_backward");
}

template <int DP> static VitroStatus backward(void *stream, const VitroAttn *a, VitroDtype dtype)
{
    VITRO_TRY((backward_part<DP, true>(stream, a, dtype)));
    return backward_part<DP, false>(stream, a, dtype);
}

VitroStatus vitro_attention_plain_forward(void *stream, const VitroAttn *a, VitroDtype dtype)
{
    return a->Dh <= 32    ? forward<32>(stream, a, dtype)
           : a->Dh <= 64  ? forward<64>(stream, a, dtype)
           : a->Dh <= 96  ? forward<96>(stream, a, dtype)
           : a->Dh <= 128 ? forward<128>(stream, a, dtype)
                          : forward<256>(stream, a, dtype);
}

VitroStatus vitro_attention_plain_backward(void *stream, const VitroAttn *a, VitroDtype dtype)
{
    VITRO_TRY(vitro_attention_delta(stream, a, dtype));
    return a->Dh <= 32    ? backward<32>(stream, a, dtype)
           : a->Dh <= 64  ? backward<64>(stream, a, dtype)
           : a->Dh <= 96  ? backward<96>(stream, a, dtype)
           : a->Dh <= 128 ? backward<128>(stream, a, dtype)
                          : backward<256>(stream, a, dtype);
}
