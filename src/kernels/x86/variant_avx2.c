/* SPDX-License-Identifier: Apache-2.0 */
/* Every kernel for AVX2 and FMA. */
#if defined(__x86_64__)
#define VITRO_SIMD 1 /* VITRO_SIMD_AVX2 */
#include "kernels/body/all.inc"
#else
typedef int vitro_no_avx2_here;
#endif
