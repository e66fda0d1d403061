/* SPDX-License-Identifier: Apache-2.0 */
/* Tiles of bf16 in shared memory and in the registers of a warp: what attention on the tensor cores
 * is made of. A tile has rows of DP elements (the head's width, zeros behind it), `pitch` apart: an
 * odd number of 16 bytes, so that the eight rows of a matrix lie in different banks. */
#ifndef VITRO_BACKEND_CUDA_ATTENTION_TILES_CUH
#define VITRO_BACKEND_CUDA_ATTENTION_TILES_CUH

#include "backend/cuda/attention.cuh"
#include "backend/cuda/mma.cuh"

typedef uint16_t bf16;

template <int DP> static __host__ __device__ constexpr int pitch(void)
{
    static_assert(DP % 16 == 0, "an mma takes 16");
    return DP + 8;
}

/* What a block works on: block `block` of `blocks` of the tokens of (b, h). */
typedef struct Place {
    int b, h, block;
} Place;

static __device__ __forceinline__ Place place_of(const VitroAttn &a, int blocks)
{
    Place p;
    const int head = (int)(blockIdx.x / (unsigned)blocks);
    p.block = (int)(blockIdx.x % (unsigned)blocks);
    p.b = head / a.H, p.h = head % a.H;
    return p;
}

/* The whole block copies `count` rows from `first` on; those behind the last are zeros. They are
 * there after this group's wait and a barrier. */
template <int DP>
static __device__ __forceinline__ void load_tile(bf16 *to, const VitroRows &from,
                                                 const VitroAttn &a, const Place &at, int first,
                                                 int count)
{
    const bf16 *rows = vitro_row_of<bf16>(from, at.b, at.h, first, a.Dh);
    const int exist = a.T - first;
    for (int i = threadIdx.x; i < count * (DP / 8); i += blockDim.x) {
        const int row = i / (DP / 8), col = i % (DP / 8) * 8;
        bf16 *dst = to + row * pitch<DP>() + col;
        const bf16 *src = rows + row * from.stride + col;
        if (a.wide) {
            const bool exists = row < exist && col < a.Dh;
            vitro_copy16(dst, exists ? src : from.data, exists);
        } else
#pragma unroll
            for (int e = 0; e < 8; e++)
                dst[e] = row < exist && col + e < a.Dh ? src[e] : (bf16)0;
    }
}

/* Which row of a tile a lane names to ldmatrix: for the 16 x 16 from (row, col) as left operand,
 * or, turned, as right operand whose rows they are ... */
template <int DP>
static __device__ __forceinline__ const bf16 *row_operand(const bf16 *tile, int row, int col)
{
    const int lane = threadIdx.x % VITRO_WARP;
    return tile + (row + lane % 16) * pitch<DP>() + col + lane / 16 * 8;
}

/* ... and as right operand whose columns they are; turned, as left operand. */
template <int DP>
static __device__ __forceinline__ const bf16 *col_operand(const bf16 *tile, int row, int col)
{
    const int lane = threadIdx.x % VITRO_WARP;
    return tile + (row + lane % 8 + lane / 16 * 8) * pitch<DP>() + col + lane / 8 % 2 * 8;
}

/* Two results side by side, 16 x 16, are a left operand. */
static __device__ __forceinline__ void to_operand(uint32_t a[4], const float left[4],
                                                  const float right[4])
{
    a[0] = vitro_to_bf16x2(left[0], left[1]);
    a[1] = vitro_to_bf16x2(left[2], left[3]);
    a[2] = vitro_to_bf16x2(right[0], right[1]);
    a[3] = vitro_to_bf16x2(right[2], right[3]);
}

/* A warp stores its 16 rows, factor * x. `room`: 16 rows of shared memory of its own. */
template <int DP>
static __device__ __forceinline__ void
store_tile(const VitroRows &to, const VitroAttn &a, const Place &at, int first,
           const float x[DP / 8][4], float factor, bf16 *room)
{
    const int lane = threadIdx.x % VITRO_WARP, g = lane / 4, c = 2 * (lane % 4);
    bf16 *rows = (bf16 *)vitro_row_of<bf16>(to, at.b, at.h, first, a.Dh);
    const int exist = a.T - first < 16 ? a.T - first : 16;
    __syncwarp();
#pragma unroll
    for (int n = 0; n < DP / 8; n++)
#pragma unroll
        for (int r = 0; r < 2; r++)
            *(uint32_t *)(room + (g + 8 * r) * pitch<DP>() + 8 * n + c) =
                vitro_to_bf16x2(factor * x[n][2 * r], factor * x[n][2 * r + 1]);
    __syncwarp();
    for (int i = lane; i < 16 * (DP / 8); i += VITRO_WARP) {
        const int row = i / (DP / 8), col = i % (DP / 8) * 8;
        const bf16 *src = room + row * pitch<DP>() + col;
        bf16 *dst = rows + row * to.stride + col;
        if (row >= exist || col >= a.Dh)
            continue;
        if (a.wide)
            *(uint4 *)dst = *(const uint4 *)src;
        else
            for (int e = 0; e < 8 && col + e < a.Dh; e++)
                dst[e] = src[e];
    }
}

#endif
