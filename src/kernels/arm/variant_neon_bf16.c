/* SPDX-License-Identifier: Apache-2.0 */
/* The products of bf16 for CPUs whose NEON has an instruction for them. */
#include "kernels/kernels.h"

#if defined(VITRO_HAVE_NEON_DOTS)
#define VITRO_SIMD 3 /* VITRO_SIMD_NEON */
#define VITRO_BF16_DOTS

#include "kernels/simd.h"

#include "kernels/body/tile.inc"
#include "kernels/body/peak.inc"

TILE(tile_bf16, VITRO_DOT_BF16)

void vitro_kernels_add_neon_bf16(VitroKernels *kernels)
{
    kernels->unit[VITRO_DOT_BF16] = (VitroUnit)UNIT("NEON BF16", false, bf16, VL * 4);
}
#else
typedef int vitro_no_neon_bf16_here;
#endif
