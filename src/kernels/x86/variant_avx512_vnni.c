/* SPDX-License-Identifier: Apache-2.0 */
/* The products of bytes for CPUs whose AVX-512 has an instruction for them. */
#if defined(__x86_64__)
#define VITRO_SIMD 2 /* VITRO_SIMD_AVX512 */
#define VITRO_INT8_DOTS
#include "kernels/kernels.h"

#include "kernels/simd.h"

#include "kernels/body/tile.inc"
#include "kernels/body/peak.inc"

TILE(tile_u8s8, VITRO_DOT_U8S8)

void vitro_kernels_add_avx512_vnni(VitroKernels *kernels)
{
    kernels->unit[VITRO_DOT_U8S8] = (VitroUnit)UNIT("AVX-512 VNNI", false, u8s8, VL * 8);
}
#else
typedef int vitro_no_avx512_vnni_here;
#endif
