/* SPDX-License-Identifier: Apache-2.0 */
/* The products of bytes for CPUs whose NEON has an instruction for signed ones only. */
#include "kernels/kernels.h"

#if defined(VITRO_HAVE_NEON_DOTS)
#define VITRO_SIMD 3 /* VITRO_SIMD_NEON */
#define VITRO_INT8_DOTS
#define VITRO_SIGNED_DOTS

#include "kernels/simd.h"

#include "kernels/body/tile.inc"
#include "kernels/body/peak.inc"

TILE(tile_u8s8, VITRO_DOT_U8S8)

void vitro_kernels_add_neon_sdot(VitroKernels *kernels)
{
    kernels->unit[VITRO_DOT_U8S8] = (VitroUnit)UNIT("NEON SDOT", false, u8s8, VL * 8);
}
#else
typedef int vitro_no_neon_sdot_here;
#endif
