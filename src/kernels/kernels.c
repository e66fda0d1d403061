/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/kernels.h"

#include "base/cpu.h"

const VitroKernels *vitro_kernels(unsigned flags)
{
    const VitroKernels *best = &vitro_kernels_c;
#if defined(__x86_64__)
    if (flags & VITRO_CPU_AVX2)
        best = &vitro_kernels_avx2;
    if (flags & VITRO_CPU_AVX512)
        best = &vitro_kernels_avx512;
#else
    (void)flags;
#endif
    return best;
}
