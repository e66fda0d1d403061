/* SPDX-License-Identifier: Apache-2.0 */
/* Attention where the class token alone asks: one query for each head, so all of it is reading the
 * keys and values once. A block has one head of one image; LANES lanes have one token at a time,
 * eight elements each.
 *
 * ViT-B/16, 256 images, bf16: forward reads 155 MB, 32 us by 4.8 TB/s; backward reads and writes
 * 310 MB, 65 us. 0.3 GFLOP. Eight blocks of 256 threads for a multiprocessor: 3072 blocks are three
 * waves. */
#include "backend/cuda/attention.cuh"

enum { THREADS = 256, WARPS = THREADS / VITRO_WARP };

/* A lane's columns of a row. */
typedef struct Columns {
    int col, n;
} Columns;

template <int LANES> static __device__ __forceinline__ Columns columns_of(const VitroAttn &a)
{
    Columns c;
    c.col = threadIdx.x % LANES * 8;
    c.n = a.Dh - c.col >= 8 ? 8 : a.Dh - c.col > 0 ? a.Dh - c.col : 0;
    return c;
}

static __device__ __forceinline__ VitroEight load(const VitroRows &from, const VitroAttn &a,
                                                  VitroDtype dtype, int b, int h, int t, Columns c)
{
    VitroEight e = {};
    if (c.n)
        e = vitro_load(from.data, dtype, vitro_row(from, b, h, t, a.Dh) + c.col, c.n, a.wide);
    return e;
}

static __device__ __forceinline__ void store(const VitroRows &to, const VitroAttn &a,
                                             VitroDtype dtype, int b, int h, int t, Columns c,
                                             const VitroEight &e)
{
    if (c.n)
        vitro_store((void *)to.data, dtype, vitro_row(to, b, h, t, a.Dh) + c.col, e, c.n, a.wide);
}

/* x . y of a row; all its lanes get it. */
template <int LANES>
static __device__ __forceinline__ float dot(const VitroEight &x, const VitroEight &y)
{
    float sum = 0;
#pragma unroll
    for (int i = 0; i < 8; i++)
        sum += x.v[i] * y.v[i];
#pragma unroll
    for (int offset = LANES / 2; offset > 0; offset /= 2)
        sum += __shfl_xor_sync(VITRO_FULL, sum, offset);
    return sum;
}

/* The block's sum of `sum`, column by column: in the threads of the first LANES. */
template <int LANES>
static __device__ __forceinline__ void sum_groups(VitroEight *sum, float (*room)[LANES * 8])
{
    const int lane = threadIdx.x % VITRO_WARP, warp = threadIdx.x / VITRO_WARP;
#pragma unroll
    for (int i = 0; i < 8; i++) {
#pragma unroll
        for (int offset = VITRO_WARP / 2; offset >= LANES; offset /= 2)
            sum->v[i] += __shfl_xor_sync(VITRO_FULL, sum->v[i], offset);
        if (lane < LANES)
            room[warp][i * LANES + lane] = sum->v[i];
    }
    __syncthreads();
    if (threadIdx.x < LANES)
#pragma unroll
        for (int i = 0; i < 8; i++) {
            sum->v[i] = 0;
            for (int w = 0; w < WARPS; w++)
                sum->v[i] += room[w][i * LANES + lane];
        }
}

/* Shared memory: T scores. */
template <int LANES>
static __global__ void __launch_bounds__(THREADS) cls_kernel(VitroAttn a, VitroDtype dtype)
{
    VITRO_SHARED(float, p);
    __shared__ float room[VITRO_WARP], room_max[WARPS], room_ctx[WARPS][LANES * 8];
    const int b = (int)(blockIdx.x / (unsigned)a.H), h = (int)(blockIdx.x % (unsigned)a.H);
    const int group = threadIdx.x / LANES, groups = THREADS / LANES;
    const Columns c = columns_of<LANES>(a);
    const VitroEight q = load(a.q, a, dtype, b, h, 0, c);
    float max = -INFINITY;
    /* the warp goes on together: its shuffles take all lanes */
#pragma unroll 4
    for (int t0 = 0; t0 < a.T; t0 += groups) {
        const int t = t0 + group;
        VitroEight k = {};
        if (t < a.T)
            k = load(a.k, a, dtype, b, h, t, c);
        const float s = a.scale * dot<LANES>(q, k);
        if (t < a.T) {
            max = fmaxf(max, s);
            if (c.col == 0)
                p[t] = s;
        }
    }
    max = vitro_warp_max(max);
    if (threadIdx.x % VITRO_WARP == 0)
        room_max[threadIdx.x / VITRO_WARP] = max;
    __syncthreads(); /* p is there, too */
    for (int w = 0; w < WARPS; w++)
        max = fmaxf(max, room_max[w]);
    float sum = 0;
    for (int t = threadIdx.x; t < a.T; t += THREADS) {
        const float x = expf(p[t] - max);
        sum += x;
        p[t] = a.drop.state ? x * vitro_attn_drop(a, b, h, 0, t) : x;
    }
    sum = vitro_block_sum(sum, room);
    if (a.lse && threadIdx.x == 0)
        a.lse[(int64_t)b * a.H + h] = max + logf(sum);

    VitroEight ctx = {};
#pragma unroll 4
    for (int t = group; t < a.T; t += groups) {
        const VitroEight v = load(a.v, a, dtype, b, h, t, c);
#pragma unroll
        for (int i = 0; i < 8; i++)
            ctx.v[i] += p[t] * v.v[i];
    }
    sum_groups<LANES>(&ctx, room_ctx);
    if (threadIdx.x >= LANES)
        return;
#pragma unroll
    for (int i = 0; i < 8; i++)
        ctx.v[i] /= sum;
    store(a.ctx, a, dtype, b, h, 0, c, ctx);
}

template <int LANES>
static __global__ void __launch_bounds__(THREADS) cls_backward_kernel(VitroAttn a, VitroDtype dtype)
{
    __shared__ float room_dq[WARPS][LANES * 8];
    const int b = (int)(blockIdx.x / (unsigned)a.H), h = (int)(blockIdx.x % (unsigned)a.H);
    const int group = threadIdx.x / LANES, groups = THREADS / LANES;
    const Columns c = columns_of<LANES>(a);
    const VitroEight q = load(a.q, a, dtype, b, h, 0, c);
    const VitroEight dctx = load(a.dctx, a, dtype, b, h, 0, c);
    const float delta = dot<LANES>(dctx, load(a.ctx, a, dtype, b, h, 0, c));
    const float lse = a.lse[(int64_t)b * a.H + h];
    VitroEight dq = {};
#pragma unroll 2
    for (int t0 = 0; t0 < a.T; t0 += groups) {
        const int t = t0 + group;
        VitroEight k = {}, v = {};
        if (t < a.T) {
            k = load(a.k, a, dtype, b, h, t, c);
            v = load(a.v, a, dtype, b, h, t, c);
        }
        const float s = a.scale * dot<LANES>(q, k), dp = dot<LANES>(dctx, v);
        if (t >= a.T)
            continue;
        const float p = expf(s - lse);
        const float factor = a.drop.state ? vitro_attn_drop(a, b, h, 0, t) : 1.0f;
        const float ds = a.scale * p * (factor * dp - delta);
        VitroEight dk, dv;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            dq.v[i] += ds * k.v[i];
            dk.v[i] = ds * q.v[i];
            dv.v[i] = factor * p * dctx.v[i];
        }
        store(a.dk, a, dtype, b, h, t, c, dk);
        store(a.dv, a, dtype, b, h, t, c, dv);
    }
    sum_groups<LANES>(&dq, room_dq);
    if (threadIdx.x < LANES)
        store(a.dq, a, dtype, b, h, 0, c, dq);
}

template <int LANES> static VitroStatus forward(void *stream, const VitroAttn *a, VitroDtype dtype)
{
    const size_t bytes = (size_t)a->T * sizeof(float);
    if (bytes > 40000) /* with what the kernel has besides, no more than any block may have */
        VITRO_TRY(vitro_attention_room((const void *)cls_kernel<LANES>, bytes));
    VITRO_LAUNCH(cls_kernel<LANES>, (unsigned)(a->B * a->H), THREADS, bytes, stream, *a, dtype);
    return vitro_cuda_launched("attention_cls");
}

template <int LANES> static VitroStatus backward(void *stream, const VitroAttn *a, VitroDtype dtype)
{
    VITRO_LAUNCH(cls_backward_kernel<LANES>, (unsigned)(a->B * a->H), THREADS, 0, stream, *a,
                 dtype);
    return vitro_cuda_launched("attention_cls_backward");
}

VitroStatus vitro_attention_cls_forward(void *stream, const VitroAttn *a, VitroDtype dtype)
{
    return a->Dh <= 64    ? forward<8>(stream, a, dtype)
           : a->Dh <= 128 ? forward<16>(stream, a, dtype)
                          : forward<32>(stream, a, dtype);
}

VitroStatus vitro_attention_cls_backward(void *stream, const VitroAttn *a, VitroDtype dtype)
{
    return a->Dh <= 64    ? backward<8>(stream, a, dtype)
           : a->Dh <= 128 ? backward<16>(stream, a, dtype)
                          : backward<32>(stream, a, dtype);
}
