/* SPDX-License-Identifier: Apache-2.0 */
/* What all kernels share: launching, sums over a warp or a block, eight elements at a time as
 * float32 or bf16, and the random words of dropout.
 *
 * The emulator of the tests (tests/cuda_emu) compiles the same sources as C++ for the CPU. So every
 * launch goes through VITRO_LAUNCH, dynamic shared memory through VITRO_SHARED, and PTX stands in
 * small functions that have a form without it. */
#ifndef VITRO_BACKEND_CUDA_COMMON_CUH
#define VITRO_BACKEND_CUDA_COMMON_CUH

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stdint.h>

extern "C" {
#include "backend/cuda/kernels.h"
#include "base/status.h"
}

#ifndef VITRO_LAUNCH
#define VITRO_LAUNCH(kernel, grid, block, smem, stream, ...)                                       \
    kernel<<<(grid), (block), (smem), (cudaStream_t)(stream)>>>(__VA_ARGS__)
#endif

/* VITRO_SHARED(float, row): the block's dynamic shared memory, as an array, aligned to 128 bytes.
 */
#ifndef VITRO_SHARED
#define VITRO_SHARED(type, name)                                                                   \
    extern __shared__ __align__(128) unsigned char vitro_shared_bytes[];                           \
    type *name = reinterpret_cast<type *>(vitro_shared_bytes)
#endif

/* After a launch: what the runtime says of it. */
static inline VitroStatus vitro_cuda_launched(const char *kernel)
{
    cudaError_t error = cudaGetLastError();
    if (error == cudaSuccess)
        return VITRO_OK;
    return vitro_fail(VITRO_E_BACKEND, "CUDA: the kernel %s was not started: %s", kernel,
                      cudaGetErrorString(error));
}

#define VITRO_WARP 32
#define VITRO_FULL 0xffffffffu /* all lanes of a warp */

/* ---- sums ------------------------------------------------------------------------------------ */

template <typename T> static __device__ __forceinline__ T vitro_warp_sum(T x)
{
#pragma unroll
    for (int offset = VITRO_WARP / 2; offset > 0; offset /= 2)
        x += __shfl_xor_sync(VITRO_FULL, x, offset);
    return x;
}

static __device__ __forceinline__ float vitro_warp_max(float x)
{
#pragma unroll
    for (int offset = VITRO_WARP / 2; offset > 0; offset /= 2)
        x = fmaxf(x, __shfl_xor_sync(VITRO_FULL, x, offset));
    return x;
}

/* Of all threads of a block (a whole number of warps, 32 at most); all get the same bits. `room`
 * is shared memory for 32 numbers, which may be used again at once. */
template <typename T> static __device__ __forceinline__ T vitro_block_sum(T x, T *room)
{
    const int lane = threadIdx.x % VITRO_WARP, warp = threadIdx.x / VITRO_WARP;
    const int warps = blockDim.x / VITRO_WARP;
    x = vitro_warp_sum(x);
    if (lane == 0)
        room[warp] = x;
    __syncthreads();
    x = vitro_warp_sum(lane < warps ? room[lane] : T(0));
    __syncthreads();
    return x;
}

/* ---- eight elements -------------------------------------------------------------------------- */

/* 16 or 32 bytes of a tensor: what a thread reads or writes at a time. */
typedef struct VitroEight {
    float v[8];
} VitroEight;

static __device__ __forceinline__ float vitro_from_bf16(uint16_t b)
{
    return __uint_as_float((uint32_t)b << 16);
}

/* Nearest, ties to even. */
static __device__ __forceinline__ uint16_t vitro_to_bf16(float x)
{
    return __bfloat16_as_ushort(__float2bfloat16_rn(x));
}

/* Two in one word, `low` at the lower address. */
static __device__ __forceinline__ uint32_t vitro_to_bf16x2(float low, float high)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return (uint32_t)__bfloat16_as_ushort(pair.x) | (uint32_t)__bfloat16_as_ushort(pair.y) << 16;
}

static __device__ __forceinline__ float vitro_load1(const void *p, VitroDtype dtype, int64_t at)
{
    return dtype == VITRO_BF16 ? vitro_from_bf16(((const uint16_t *)p)[at])
                               : ((const float *)p)[at];
}

static __device__ __forceinline__ void vitro_store1(void *p, VitroDtype dtype, int64_t at, float x)
{
    if (dtype == VITRO_BF16)
        ((uint16_t *)p)[at] = vitro_to_bf16(x);
    else
        ((float *)p)[at] = x;
}

/* p + at is aligned to 16 bytes. */
static __device__ __forceinline__ VitroEight vitro_load8(const void *p, VitroDtype dtype,
                                                         int64_t at)
{
    VitroEight e;
    if (dtype == VITRO_BF16) {
        const uint4 w = *(const uint4 *)((const uint16_t *)p + at);
        const uint32_t word[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            e.v[2 * i] = __uint_as_float(word[i] << 16);
            e.v[2 * i + 1] = __uint_as_float(word[i] & 0xffff0000u);
        }
    } else {
        const float4 a = ((const float4 *)((const float *)p + at))[0];
        const float4 b = ((const float4 *)((const float *)p + at))[1];
        e.v[0] = a.x, e.v[1] = a.y, e.v[2] = a.z, e.v[3] = a.w;
        e.v[4] = b.x, e.v[5] = b.y, e.v[6] = b.z, e.v[7] = b.w;
    }
    return e;
}

static __device__ __forceinline__ void vitro_store8(void *p, VitroDtype dtype, int64_t at,
                                                    VitroEight e)
{
    if (dtype == VITRO_BF16) {
        *(uint4 *)((uint16_t *)p + at) =
            make_uint4(vitro_to_bf16x2(e.v[0], e.v[1]), vitro_to_bf16x2(e.v[2], e.v[3]),
                       vitro_to_bf16x2(e.v[4], e.v[5]), vitro_to_bf16x2(e.v[6], e.v[7]));
    } else {
        float4 *to = (float4 *)((float *)p + at);
        to[0] = make_float4(e.v[0], e.v[1], e.v[2], e.v[3]);
        to[1] = make_float4(e.v[4], e.v[5], e.v[6], e.v[7]);
    }
}

/* The first n <= 8 of them, from or to anywhere; the others are 0. `wide`: all eight, aligned. */
static __device__ __forceinline__ VitroEight vitro_load(const void *p, VitroDtype dtype, int64_t at,
                                                        int n, bool wide)
{
    if (wide)
        return vitro_load8(p, dtype, at);
    VitroEight e;
#pragma unroll
    for (int i = 0; i < 8; i++)
        e.v[i] = i < n ? vitro_load1(p, dtype, at + i) : 0.0f;
    return e;
}

static __device__ __forceinline__ void vitro_store(void *p, VitroDtype dtype, int64_t at,
                                                   VitroEight e, int n, bool wide)
{
    if (wide) {
        vitro_store8(p, dtype, at, e);
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (i < n)
            vitro_store1(p, dtype, at + i, e.v[i]);
}

/* Whether rows of `cols` elements can be taken eight at a time. */
static inline bool vitro_aligned16(const void *p)
{
    return (uintptr_t)p % 16 == 0; /* NULL is */
}

/* ---- dropout -----------------------------------------------------------------------------------
 */

/* As base/rng.h's vitro_philox, bit for bit. */
static __device__ __forceinline__ void vitro_philox_words(uint32_t out[4], uint32_t c0, uint32_t c1,
                                                          uint32_t c2, uint32_t c3, uint64_t key)
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const uint32_t hi0 = __umulhi(0xD2511F53u, c0), lo0 = 0xD2511F53u * c0;
        const uint32_t hi1 = __umulhi(0xCD9E8D57u, c2), lo1 = 0xCD9E8D57u * c2;
        c0 = hi1 ^ c1 ^ k0;
        c2 = hi0 ^ c3 ^ k1;
        c1 = lo1;
        c3 = lo0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* VitroDropout as a kernel takes it. state NULL: the identity. */
typedef struct VitroCudaDrop {
    const VitroDropState *state; /* device memory */
    uint32_t site;
    uint32_t threshold; /* kept where word >> 8 >= threshold */
    float scale;        /* of what is kept */
} VitroCudaDrop;

static inline VitroCudaDrop vitro_cuda_drop(const VitroDropout *d)
{
    VitroCudaDrop k = {};
    if (!vitro_dropout_on(d))
        return k;
    k.state = d->state;
    k.site = d->site;
    k.threshold = (uint32_t)ceil(d->ratio * 0x1p24); /* u >= ratio, both times 2^24: exact */
    k.scale = (float)(1 / (1 - d->ratio));
    return k;
}

/* The random words of elements 4 * block .. 4 * block + 3 of sample b. */
static __device__ __forceinline__ void vitro_drop_words(uint32_t out[4], const VitroCudaDrop &d,
                                                        int64_t b, int64_t block)
{
    /* VITRO_RNG_DROPOUT is 4 */
    const uint64_t key = d.state->seed + 4u * 0x9E3779B97F4A7C15ull;
    vitro_philox_words(out, (uint32_t)block, d.state->sample0 + (uint32_t)b, d.site, d.state->step,
                       key);
}

/* What element e of sample b is multiplied with: 0 or d.scale. */
static __device__ __forceinline__ float vitro_drop_factor(const VitroCudaDrop &d, int64_t b,
                                                          int64_t e)
{
    uint32_t w[4];
    vitro_drop_words(w, d, b, e >> 2);
    const int i = (int)(e & 3);
    const uint32_t word = i == 0 ? w[0] : i == 1 ? w[1] : i == 2 ? w[2] : w[3];
    return word >> 8 >= d.threshold ? d.scale : 0.0f;
}

/* Multiplies elements e .. e + 7 of sample b. */
static __device__ __forceinline__ void vitro_drop8(VitroEight *x, const VitroCudaDrop &d, int64_t b,
                                                   int64_t e)
{
    if ((e & 3) == 0) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            uint32_t w[4];
            vitro_drop_words(w, d, b, (e >> 2) + half);
#pragma unroll
            for (int i = 0; i < 4; i++)
                x->v[4 * half + i] *= w[i] >> 8 >= d.threshold ? d.scale : 0.0f;
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
        x->v[i] *= vitro_drop_factor(d, b, e + i);
}

#endif
