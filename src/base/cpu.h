/* SPDX-License-Identifier: Apache-2.0 */
/* What the CPU can do, as far as our kernels ask, and the mask that tests set. */
#ifndef VITRO_BASE_CPU_H
#define VITRO_BASE_CPU_H

typedef enum VitroCpuFlag {
    VITRO_CPU_AVX2 = 1 << 0,        /* AVX2, FMA and F16C */
    VITRO_CPU_AVX512 = 1 << 1,      /* F, BW, DQ, VL */
    VITRO_CPU_AVX512_BF16 = 1 << 2, /* bf16 dot products */
    VITRO_CPU_AVX512_VNNI = 1 << 3, /* int8 dot products */
    VITRO_CPU_AMX = 1 << 4,         /* tile registers, bf16 and int8; the system lets us use them */
    VITRO_CPU_CLMUL = 1 << 5,       /* products without carry: checksums */
    VITRO_CPU_NEON = 1 << 6,        /* every AArch64 */
    VITRO_CPU_NEON_SDOT = 1 << 7,   /* dot products of signed bytes */
    VITRO_CPU_NEON_I8MM = 1 << 8,   /* dot products of unsigned by signed bytes */
    VITRO_CPU_NEON_BF16 = 1 << 9    /* bf16 dot products */
} VitroCpuFlag;

/* The CPU's flags, AND the mask. The mask starts from the environment variable VITRO_CPU_MASK
 * (decimal or 0x hex) if it is set, else all ones. */
unsigned vitro_cpu_flags(void);
void vitro_cpu_set_mask(unsigned mask);

#endif
