/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/kernels.h"

#include "base/cpu.h"

void vitro_kernels_init(VitroKernels *kernels, unsigned flags)
{
    *kernels = vitro_kernels_c;
#if defined(__x86_64__)
    if (flags & VITRO_CPU_AVX2)
        *kernels = vitro_kernels_avx2;
    if (flags & VITRO_CPU_AVX512)
        *kernels = vitro_kernels_avx512;
    if (flags & VITRO_CPU_AVX512 && flags & VITRO_CPU_AVX512_BF16)
        vitro_kernels_add_avx512_bf16(kernels);
    if (flags & VITRO_CPU_AVX512 && flags & VITRO_CPU_AVX512_VNNI)
        vitro_kernels_add_avx512_vnni(kernels);
#if defined(__linux__)
    if (flags & VITRO_CPU_AVX512 && flags & VITRO_CPU_AMX)
        vitro_kernels_add_amx(kernels);
#endif
#elif defined(__aarch64__)
    if (!(flags & VITRO_CPU_NEON))
        return;
    *kernels = vitro_kernels_neon;
#if defined(VITRO_HAVE_NEON_DOTS)
    if (flags & VITRO_CPU_NEON_SDOT)
        vitro_kernels_add_neon_sdot(kernels);
    if (flags & VITRO_CPU_NEON_I8MM)
        vitro_kernels_add_neon_i8mm(kernels);
    if (flags & VITRO_CPU_NEON_BF16)
        vitro_kernels_add_neon_bf16(kernels);
#endif
#else
    (void)flags;
#endif
}
