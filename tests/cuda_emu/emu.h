/* SPDX-License-Identifier: Apache-2.0 */
/* CUDA C as C++ for the CPU: forced in front of each .cu file of the project (-include). A kernel's
 * threads are fibers that run one at a time and change places where they wait for each other
 * (emu_device.cpp); launches are queued on their stream like every other call (emu_runtime.cpp).
 *
 * It is stricter than a GPU where a GPU would only be wrong now and then:
 *   - memory is full of NaN until written, shared memory again at the start of each block;
 *   - the threads of every other block run in reverse order, so a missing barrier shows;
 *   - a barrier, shuffle or mma that not all threads reach together ends the program with a
 * message;
 *   - cp.async brings its bytes when they are waited for, and NaN before;
 *   - nothing on a stream happens before somebody waits for the stream. */
#ifndef VITRO_TESTS_CUDA_EMU_H
#define VITRO_TESTS_CUDA_EMU_H

#define VITRO_CUDA_EMU 1

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <tuple>
#include <utility>

/* ---- words of the language that the toolkit's headers do not define for a C++ compiler ----------
 */

#undef __global__
#undef __device__
#undef __host__
#undef __constant__
#undef __shared__
#undef __launch_bounds__
#undef __grid_constant__
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __launch_bounds__(...)
#define __grid_constant__
/* All of it lies in one section, which is filled with NaN at the start of each block. */
#define __shared__ static __attribute__((section("vitro_emu_shared"), aligned(16)))

/* ---- threads ------------------------------------------------------------------------------------
 */

struct EmuThread {
    uint3 idx;
    int lane;
    struct EmuWarp *warp;
};

extern EmuThread *emu_self; /* the running thread */
extern uint3 emu_block_idx;
extern dim3 emu_block_dim, emu_grid_dim;
#define threadIdx (emu_self->idx)
#define blockIdx  emu_block_idx
#define blockDim  emu_block_dim
#define gridDim   emu_grid_dim

[[noreturn]] void emu_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

enum EmuCollective { EMU_NONE, EMU_SYNCWARP, EMU_SHUFFLE, EMU_VOTE, EMU_LDMATRIX, EMU_MMA };
enum { EMU_SLOT = 32 }; /* bytes that a lane can show to the others */

/* All 32 lanes give `bytes` of `mine`; each gets what all gave: lane i's at i * EMU_SLOT, until its
 * collective after the next. */
const unsigned char *emu_exchange(EmuCollective kind, unsigned mask, const void *mine,
                                  size_t bytes);
/* The sum of what all threads of the block bring. */
int emu_block_barrier(int value);
void *emu_dynamic_shared(void);

static inline void __syncthreads(void)
{
    emu_block_barrier(0);
}
static inline int __syncthreads_count(int predicate)
{
    return emu_block_barrier(predicate != 0);
}
static inline int __syncthreads_or(int predicate)
{
    return emu_block_barrier(predicate != 0) != 0;
}
static inline void __syncwarp(unsigned mask = 0xffffffffu)
{
    emu_exchange(EMU_SYNCWARP, mask, "", 0);
}
static inline void __threadfence(void)
{
}
static inline void __threadfence_block(void)
{
}

template <typename T> static inline T emu_shuffle(unsigned mask, T x, int from)
{
    static_assert(sizeof(T) <= EMU_SLOT);
    T y;
    const unsigned char *all = emu_exchange(EMU_SHUFFLE, mask, &x, sizeof x);
    memcpy(&y, all + (from < 0 || from > 31 ? emu_self->lane : from) * EMU_SLOT, sizeof y);
    return y;
}
template <typename T> static inline T __shfl_sync(unsigned mask, T x, int from, int width = 32)
{
    const int first = emu_self->lane / width * width;
    return emu_shuffle(mask, x, first + from % width);
}
template <typename T> static inline T __shfl_xor_sync(unsigned mask, T x, int bits, int width = 32)
{
    const int from = emu_self->lane ^ bits;
    return emu_shuffle(mask, x, from / width > emu_self->lane / width ? -1 : from);
}
template <typename T>
static inline T __shfl_down_sync(unsigned mask, T x, unsigned by, int width = 32)
{
    const int from = emu_self->lane + (int)by;
    return emu_shuffle(mask, x, from / width != emu_self->lane / width ? -1 : from);
}
template <typename T>
static inline T __shfl_up_sync(unsigned mask, T x, unsigned by, int width = 32)
{
    const int from = emu_self->lane - (int)by;
    return emu_shuffle(mask, x, from < 0 || from / width != emu_self->lane / width ? -1 : from);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate)
{
    const int mine = predicate != 0;
    const unsigned char *all = emu_exchange(EMU_VOTE, mask, &mine, sizeof mine);
    unsigned bits = 0;
    for (int i = 0; i < 32; i++)
        bits |= (unsigned)all[i * EMU_SLOT] << i;
    return bits;
}
static inline int __any_sync(unsigned mask, int predicate)
{
    return __ballot_sync(mask, predicate) != 0;
}
static inline int __all_sync(unsigned mask, int predicate)
{
    return __ballot_sync(mask, predicate) == 0xffffffffu;
}

/* ---- numbers ------------------------------------------------------------------------------------
 */

static inline uint32_t __umulhi(uint32_t a, uint32_t b)
{
    return (uint32_t)((uint64_t)a * b >> 32);
}
static inline uint32_t __float_as_uint(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
static inline float __uint_as_float(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}
static inline int __float_as_int(float x)
{
    return (int)__float_as_uint(x);
}
static inline float __int_as_float(int i)
{
    return __uint_as_float((uint32_t)i);
}
static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
static inline int __clz(int x)
{
    return x ? __builtin_clz((unsigned)x) : 32;
}
static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}
/* glibc declares these two. */
#define __expf expf
#define __logf logf
static inline float __fdividef(float a, float b)
{
    return a / b;
}
static inline float __fmaf_rn(float a, float b, float c)
{
    return fmaf(a, b, c);
}
static inline float rsqrtf(float x)
{
    return 1 / sqrtf(x);
}
static inline double rsqrt(double x)
{
    return 1 / sqrt(x);
}
static inline float __frcp_rn(float x)
{
    return 1 / x;
}
template <typename T> static inline T __ldg(const T *p)
{
    return *p;
}
template <typename T> static inline T __ldcs(const T *p)
{
    return *p;
}
template <typename T> static inline void __stcs(T *p, T x)
{
    *p = x;
}
template <typename T> static inline T min(T a, T b)
{
    return b < a ? b : a;
}
template <typename T> static inline T max(T a, T b)
{
    return a < b ? b : a;
}
template <typename T> static inline T atomicAdd(T *p, T x)
{
    const T before = *p; /* one thread runs at a time */
    *p = before + x;
    return before;
}
template <typename T> static inline T atomicMax(T *p, T x)
{
    const T before = *p;
    *p = before < x ? x : before;
    return before;
}

/* ---- launches -----------------------------------------------------------------------------------
 */

struct EmuLaunch {
    const void *kernel;
    const char *name;
    dim3 grid, block;
    size_t shared;
    std::function<void()> body; /* of one thread */
};
void emu_launch(EmuLaunch launch, cudaStream_t stream);

/* Arguments become what the kernel takes here and now, as in a launch. */
template <typename... P, typename... A>
static inline void emu_launch_kernel(void (*kernel)(P...), const char *name, dim3 grid, dim3 block,
                                     size_t shared, cudaStream_t stream, A &&...args)
{
    static_assert((std::is_trivially_copyable_v<P> && ...), "arguments are copied as bytes");
    std::tuple<P...> values(std::forward<A>(args)...);
    emu_launch({(const void *)kernel, name, grid, block, shared,
                [kernel, values] { std::apply(kernel, values); }},
               stream);
}

#define VITRO_LAUNCH(kernel, grid, block, smem, stream, ...)                                       \
    emu_launch_kernel(kernel, #kernel, dim3(grid), dim3(block), smem, (cudaStream_t)(stream),      \
                      ##__VA_ARGS__)
#define VITRO_SHARED(type, name) type *name = static_cast<type *>(emu_dynamic_shared())

/* nvcc has it for kernels of any type; a C++ compiler sees the one for const void *. */
template <typename... P>
static inline cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), cudaFuncAttribute attribute,
                                               int value)
{
    return cudaFuncSetAttribute((const void *)kernel, attribute, value);
}

#include "cuda_emu/emu_ptx.h"

#endif
