/* SPDX-License-Identifier: Apache-2.0 */
/* Attention of bf16 on the tensor cores, forward (Dao, FlashAttention-2, arXiv:2307.08691): a warp
 * has 16 queries, and goes over all keys once, 64 at a time; what it holds of them, scores and the
 * context so far, stays in registers. The next 64 keys and values come while these are multiplied.
 *
 * A block has as many warps, 8 at most, as leave the fewest without queries: 7 of them, twice, for
 * 197 tokens. Keys are multiplied 16 at a time, so 197 cost as much as 208.
 *
 * ViT-B/16, 256 images, one layer: 4 B H 208^2 Dh = 34 GFLOP, 0.31 GB to and from memory: 55 us by
 * 620 TFLOP/s, which we allow mma.sync of an H200's 990, and 65 us by 4.8 TB/s. Each 16 keys of a
 * warp cost 8 ldmatrix of 512 bytes for 16 mma: 32 cycles of shared memory for about 26 of the
 * tensor cores. 109 registers: two blocks for a multiprocessor. */
#include "backend/cuda/attention_tiles.cuh"

enum { KEYS = 64, MOST_WARPS = 8 };

/* The warp's queries, and what is known of their rows: a lane has rows g and g + 8 of 16. */
template <int DP> struct Queries {
    float ctx[DP / 8][4];
    float max[2],
        sum[2]; /* of the scaled scores so far, in powers of 2; sum: this lane's columns' */
};

/* s[16, 64] = q k^T, of `steps` times 16 keys. */
template <int DP>
static __device__ __forceinline__ void score(float s[KEYS / 8][4], const bf16 *q, const bf16 *k,
                                             int steps)
{
#pragma unroll
    for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            s[n][i] = 0;
#pragma unroll
    for (int d = 0; d < DP; d += 16) {
        uint32_t a[4];
        vitro_ldmatrix(a, row_operand<DP>(q, 0, d));
#pragma unroll
        for (int step = 0; step < KEYS / 16; step++)
            if (step < steps) {
                uint32_t b[4];
                vitro_ldmatrix(b, col_operand<DP>(k, 16 * step, d));
                vitro_mma(s[2 * step], a, b[0], b[1]);
                vitro_mma(s[2 * step + 1], a, b[2], b[3]);
            }
    }
}

/* Scores become powers of 2 below the largest so far; what was summed before is taken down to it.
 * scale > 0. */
template <int DP>
static __device__ __forceinline__ void soften(Queries<DP> *own, float s[KEYS / 8][4], float scale,
                                              int exist)
{
    const int c = 2 * (threadIdx.x % 4);
    float max[2] = {own->max[0], own->max[1]};
    if (exist < KEYS)
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                s[n][i] = 8 * n + c + i % 2 < exist ? s[n][i] : -INFINITY;
#pragma unroll
    for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            max[i / 2] = fmaxf(max[i / 2], s[n][i]);
#pragma unroll
    for (int r = 0; r < 2; r++) {
        max[r] = fmaxf(max[r], __shfl_xor_sync(VITRO_FULL, max[r], 1));
        max[r] = fmaxf(max[r], __shfl_xor_sync(VITRO_FULL, max[r], 2));
        const float down = vitro_exp2(scale * (own->max[r] - max[r]));
        own->max[r] = max[r];
        own->sum[r] *= down;
#pragma unroll
        for (int n = 0; n < DP / 8; n++) {
            own->ctx[n][2 * r] *= down;
            own->ctx[n][2 * r + 1] *= down;
        }
        max[r] *= scale;
    }
#pragma unroll
    for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            s[n][i] = vitro_exp2(scale * s[n][i] - max[i / 2]);
            own->sum[i / 2] += s[n][i];
        }
}

template <int DP>
static __device__ __forceinline__ void gather(Queries<DP> *own, const float p[KEYS / 8][4],
                                              const bf16 *v, int steps)
{
#pragma unroll
    for (int step = 0; step < KEYS / 16; step++)
        if (step < steps) {
            uint32_t a[4];
            to_operand(a, p[2 * step], p[2 * step + 1]);
#pragma unroll
            for (int d = 0; d < DP; d += 16) {
                uint32_t b[4];
                vitro_ldmatrix_turned(b, row_operand<DP>(v, 16 * step, d));
                vitro_mma(own->ctx[d / 8], a, b[0], b[1]);
                vitro_mma(own->ctx[d / 8 + 1], a, b[2], b[3]);
            }
        }
}

template <int DP, bool DROPS>
static __global__ void __launch_bounds__(MOST_WARPS *VITRO_WARP, DP <= 64 ? 2 : 1)
    forward_kernel(VitroAttn a, int blocks)
{
    VITRO_SHARED(bf16, room);
    const Place at = place_of(a, blocks);
    const int warps = blockDim.x / VITRO_WARP, warp = threadIdx.x / VITRO_WARP;
    const int first = at.block * warps * 16, g = threadIdx.x % VITRO_WARP / 4;
    bf16 *q = room, *k = q + warps * 16 * pitch<DP>(), *v = k + 2 * KEYS * pitch<DP>();
    load_tile<DP>(q, a.q, a, at, first, warps * 16);
    load_tile<DP>(k, a.k, a, at, 0, KEYS);
    load_tile<DP>(v, a.v, a, at, 0, KEYS);
    vitro_copy_commit();
    q += warp * 16 * pitch<DP>();

    /* Where it is 0, scores that do not exist must still be told from others. */
    const float scale = fmaxf(fabsf(a.scale) * VITRO_LOG2E, 1e-30f);
    Queries<DP> own = {};
    own.max[0] = own.max[1] = -INFINITY;
    for (int key = 0, now = 0; key < a.T; key += KEYS, now ^= 1) {
        if (key + KEYS < a.T) {
            load_tile<DP>(k + (now ^ 1) * KEYS * pitch<DP>(), a.k, a, at, key + KEYS, KEYS);
            load_tile<DP>(v + (now ^ 1) * KEYS * pitch<DP>(), a.v, a, at, key + KEYS, KEYS);
        }
        vitro_copy_commit();
        vitro_copy_wait<1>();
        __syncthreads();
        const int exist = a.T - key < KEYS ? a.T - key : KEYS, steps = (exist + 15) / 16;
        float s[KEYS / 8][4];
        score<DP>(s, q, k + now * KEYS * pitch<DP>(), steps);
        if (a.scale < 0)
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    s[n][i] = -s[n][i];
        soften<DP>(&own, s, scale, exist);
        if (DROPS)
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    s[n][i] *= vitro_attn_drop(a, at.b, at.h, first + warp * 16 + g + i / 2 * 8,
                                               key + 8 * n + 2 * (threadIdx.x % 4) + i % 2);
        gather<DP>(&own, s, v + now * KEYS * pitch<DP>(), steps);
        __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        own.sum[r] += __shfl_xor_sync(VITRO_FULL, own.sum[r], 1);
        own.sum[r] += __shfl_xor_sync(VITRO_FULL, own.sum[r], 2);
        const int i = first + warp * 16 + g + 8 * r;
        if (a.lse && threadIdx.x % 4 == 0 && i < a.T)
            a.lse[((int64_t)at.b * a.H + at.h) * a.T + i] =
                (scale * own.max[r] + log2f(own.sum[r])) * VITRO_LN2;
        const float norm = 1.0f / own.sum[r];
#pragma unroll
        for (int n = 0; n < DP / 8; n++) {
            own.ctx[n][2 * r] *= norm;
            own.ctx[n][2 * r + 1] *= norm;
        }
    }
    store_tile<DP>(a.ctx, a, at, first + warp * 16, own.ctx, 1.0f, q);
}

template <int DP, bool DROPS> static VitroStatus forward_of(void *stream, const VitroAttn *a)
{
    const int tiles = (a->T + 15) / 16, blocks = (tiles + MOST_WARPS - 1) / MOST_WARPS;
    const int warps = (tiles + blocks - 1) / blocks;
    const size_t bytes = (size_t)(warps * 16 + 4 * KEYS) * pitch<DP>() * sizeof(bf16);
    VITRO_TRY(vitro_attention_room((const void *)forward_kernel<DP, DROPS>, bytes));
    VITRO_LAUNCH((forward_kernel<DP, DROPS>), (unsigned)((int64_t)a->B * a->H * blocks),
                 (unsigned)warps * VITRO_WARP, bytes, stream, *a, blocks);
    return vitro_cuda_launched("attention_mma");
}

template <int DP> static VitroStatus forward(void *stream, const VitroAttn *a)
{
    return a->drop.state ? forward_of<DP, true>(stream, a) : forward_of<DP, false>(stream, a);
}

VitroStatus vitro_attention_mma_forward(void *stream, const VitroAttn *a)
{
    return a->Dh <= 32   ? forward<32>(stream, a)
           : a->Dh <= 64 ? forward<64>(stream, a)
           : a->Dh <= 80 ? forward<80>(stream, a)
                         : forward<128>(stream, a);
}
