/* SPDX-License-Identifier: Apache-2.0 */
/* Every kernel in plain C: what any machine can run, and what the other variants are tested
 * against. */
#define VITRO_SIMD 0 /* VITRO_SIMD_C */
#include "kernels/body/all.inc"
