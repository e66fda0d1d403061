/* SPDX-License-Identifier: Apache-2.0 */
/* The products of bf16 for CPUs whose AVX-512 has an instruction for them. */
#if defined(__x86_64__)
#define VITRO_SIMD 2 /* VITRO_SIMD_AVX512 */
#define VITRO_BF16_DOTS
#include "kernels/kernels.h"

#include "kernels/simd.h"

#include "kernels/body/tile.inc"
#include "kernels/body/peak.inc"

TILE(tile_bf16, VITRO_DOT_BF16)

void vitro_kernels_add_avx512_bf16(VitroKernels *kernels)
{
    kernels->unit[VITRO_DOT_BF16] = (VitroUnit)UNIT("AVX-512 BF16", false, bf16, VL * 4);
}
#else
typedef int vitro_no_avx512_bf16_here;
#endif
