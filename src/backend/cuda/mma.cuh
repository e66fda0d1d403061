/* SPDX-License-Identifier: Apache-2.0 */
/* The tensor cores and the copies that feed them, as PTX's mma.sync, ldmatrix and cp.async: what
 * compute capability 8.0 and all later ones have. The emulator of the tests brings bodies of its
 * own. */
#ifndef VITRO_BACKEND_CUDA_MMA_CUH
#define VITRO_BACKEND_CUDA_MMA_CUH

#include "backend/cuda/cuda_common.cuh"

#ifndef VITRO_CUDA_EMU

static __device__ __forceinline__ uint32_t vitro_shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* Four matrices of 8 x 8 bf16. Lane i names row i % 8 of matrix i / 8, 16 bytes of shared memory;
 * it gets of each matrix the elements 2 (i % 4) and 2 (i % 4) + 1 of row i / 4. */
static __device__ __forceinline__ void vitro_ldmatrix(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(vitro_shared_address(row))
                 : "memory");
}

/* The same of each matrix turned over: rows 2 (i % 4) and 2 (i % 4) + 1 of column i / 4. */
static __device__ __forceinline__ void vitro_ldmatrix_turned(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(vitro_shared_address(row))
                 : "memory");
}

/* d[16,8] += a[16,16] b[16,8]. With g = lane / 4 and c = 2 (lane % 4), a lane holds
 *   a: (g, c), (g + 8, c), (g, c + 8), (g + 8, c + 8), each with its right neighbour
 *   b: (c, g), (c + 8, g), each with the one below
 *   d: (g, c), (g, c + 1), (g + 8, c), (g + 8, c + 1) */
static __device__ __forceinline__ void vitro_mma(float d[4], const uint32_t a[4], uint32_t b0,
                                                 uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* 16 bytes from device memory to shared memory, both aligned to 16; zeros where !exists. They are
 * there after the wait for their group, for other threads after a barrier as well. */
static __device__ __forceinline__ void vitro_copy16(void *shared, const void *global, bool exists)
{
    asm volatile(
        "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(vitro_shared_address(shared)),
        "l"(global), "r"(exists ? 16 : 0)
        : "memory");
}

/* Ends a group of copies. */
static __device__ __forceinline__ void vitro_copy_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Until no more than LEFT of this thread's last groups are under way. */
template <int LEFT> static __device__ __forceinline__ void vitro_copy_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

/* 2^x, to 2 units in the last place. */
static __device__ __forceinline__ float vitro_exp2(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

#endif
#endif
