/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cpu.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static _Atomic unsigned mask;
static atomic_bool mask_is_set;

#if defined(__x86_64__)
static bool has_f16c(void) /* clang 14's __builtin_cpu_supports does not know it */
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && c & bit_F16C;
}

/* Tile registers are large: Linux gives them to a process that asks. */
static bool amx_is_granted(void)
{
#if defined(__linux__)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    unsigned a, b, c, d;
    const unsigned bf16 = 1u << 22, tile = 1u << 24, int8 = 1u << 25, all = bf16 | tile | int8;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & all) != all)
        return false;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}
#endif

static unsigned detect(void)
{
    unsigned flags = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("pclmul"))
        flags |= VITRO_CPU_CLMUL;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c())
        flags |= VITRO_CPU_AVX2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        flags |= VITRO_CPU_AVX512;
        if (__builtin_cpu_supports("avx512bf16"))
            flags |= VITRO_CPU_AVX512_BF16;
        if (__builtin_cpu_supports("avx512vnni"))
            flags |= VITRO_CPU_AVX512_VNNI;
        if (amx_is_granted())
            flags |= VITRO_CPU_AMX;
    }
#elif defined(__aarch64__)
    flags |= VITRO_CPU_NEON;
#if defined(__linux__)
    if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP)
        flags |= VITRO_CPU_NEON_SDOT;
    if (getauxval(AT_HWCAP2) & HWCAP2_I8MM)
        flags |= VITRO_CPU_NEON_I8MM;
    if (getauxval(AT_HWCAP2) & HWCAP2_BF16)
        flags |= VITRO_CPU_NEON_BF16;
#endif
#endif
    return flags;
}

unsigned vitro_cpu_flags(void)
{
    if (!atomic_load(&mask_is_set)) {
        const char *env = getenv("VITRO_CPU_MASK");
        vitro_cpu_set_mask(env && *env ? (unsigned)strtoul(env, NULL, 0) : ~0u);
    }
    return detect() & atomic_load(&mask);
}

void vitro_cpu_set_mask(unsigned m)
{
    atomic_store(&mask, m);
    atomic_store(&mask_is_set, 1);
}
