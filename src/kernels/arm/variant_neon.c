/* SPDX-License-Identifier: Apache-2.0 */
/* Every kernel for NEON, which every AArch64 has. */
#if defined(__aarch64__)
#define VITRO_SIMD 3 /* VITRO_SIMD_NEON */
#include "kernels/body/all.inc"
#else
typedef int vitro_no_neon_here;
#endif
