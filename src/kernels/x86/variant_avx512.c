/* SPDX-License-Identifier: Apache-2.0 */
/* Every kernel for AVX-512 (F, BW, DQ, VL). */
#if defined(__x86_64__)
#define VITRO_SIMD 2 /* VITRO_SIMD_AVX512 */
#include "kernels/body/all.inc"
#else
typedef int vitro_no_avx512_here;
#endif
