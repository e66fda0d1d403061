/* SPDX-License-Identifier: Apache-2.0 */
/* The back end "cpu": its table, the device itself and its memory. */
#include "backend/cpu/cpu_int.h"

#include "base/alloc.h"
#include "base/cpu.h"
#include "base/rng.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

static VitroStatus cpu_open(VitroDevice *dev, const VitroDeviceOptions *options)
{
    (void)options; /* registry.c has put them into dev */
    VitroCpu *cpu = vitro_calloc(1, sizeof *cpu);
    if (!cpu)
        return VITRO_NOMEM;
    const unsigned flags = vitro_cpu_flags();
    cpu->kernels = vitro_kernels(flags);
    VitroStatus st = vitro_onednn_open(&cpu->onednn, dev->threads, flags);
    if (st != VITRO_OK) {
        vitro_free(cpu);
        return st;
    }
    char version[32];
    vitro_onednn_version(version, sizeof version);
    snprintf(dev->description, sizeof dev->description, "cpu: %s, %s kernels, %d thread%s", version,
             cpu->kernels->name, dev->threads, dev->threads == 1 ? "" : "s");
    dev->impl = cpu;
    return VITRO_OK;
}

static void cpu_close(VitroDevice *dev)
{
    VitroCpu *cpu = dev->impl;
    vitro_onednn_close(cpu->onednn);
    vitro_free(cpu);
    dev->impl = NULL;
}

/* The best of several short runs: whatever else the machine does can only slow one down. */
static VitroStatus cpu_peak_gflops(VitroDevice *dev, VitroPrecision precision, double *out)
{
    if (precision != VITRO_FP32)
        return vitro_fail(VITRO_E_UNSUPPORTED, "back end \"cpu\" measures its peak in FP32 only");
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const int64_t rounds = (int64_t)(2e9 / (double)kernels->peak_flops);
    double best = 0;
    float sink = 0;
    const double begin = omp_get_wtime();
    do {
        int team = 1;
        const double start = omp_get_wtime();
#pragma omp parallel num_threads(dev->threads) reduction(+ : sink)
        {
            sink += kernels->peak(rounds);
#pragma omp single nowait
            team = omp_get_num_threads();
        }
        const double seconds = omp_get_wtime() - start;
        const double rate = (double)rounds * (double)kernels->peak_flops * team / seconds;
        best = rate > best ? rate : best;
    } while (omp_get_wtime() - begin < 0.3);
    /* sink is used, so that no compiler leaves the loops out; it is finite by construction */
    *out = isfinite(sink) ? best / 1e9 : 0;
    return VITRO_OK;
}

static VitroStatus cpu_alloc(VitroDevice *dev, void **out, size_t bytes)
{
    (void)dev;
    void *p = vitro_malloc_aligned(bytes);
    if (!p)
        return VITRO_NOMEM;
    vitro_large_pages(p, bytes);
    *out = p;
    return VITRO_OK;
}

static void cpu_free(VitroDevice *dev, void *p)
{
    (void)dev;
    vitro_free(p);
}

static VitroStatus cpu_copy(VitroDevice *dev, void *dst, const void *src, size_t bytes)
{
    (void)dev;
    if (bytes)
        memcpy(dst, src, bytes);
    return VITRO_OK;
}

static VitroStatus cpu_zero(VitroDevice *dev, void *dst, size_t bytes)
{
    enum { PIECE = 1 << 20 };
    const int64_t pieces = (int64_t)((bytes + PIECE - 1) / PIECE);
    PARALLEL(bytes / 4)
    for (int64_t i = 0; i < pieces; i++) {
        const size_t at = (size_t)i * PIECE;
        memset((char *)dst + at, 0, bytes - at < PIECE ? bytes - at : PIECE);
    }
    return VITRO_OK;
}

static VitroStatus cpu_sync(VitroDevice *dev)
{
    (void)dev; /* every op is done when it returns */
    return VITRO_OK;
}

static bool cpu_needs_source(VitroDevice *dev, const VitroWeight *weight)
{
    (void)dev, (void)weight;
    return true; /* oneDNN takes some matrices as they are */
}

VitroDropKey vitro_cpu_drop_key(const VitroDropout *d, int64_t b)
{
    const VitroDropState *s = d->state;
    return (VitroDropKey){.key = s->seed + VITRO_RNG_DROPOUT * 0x9E3779B97F4A7C15u,
                          .sample = s->sample0 + (uint32_t)b,
                          .site = d->site,
                          .step = s->step,
                          /* u >= ratio, both times 2^24: exact */
                          .threshold = (uint32_t)ceil(d->ratio * 0x1p24),
                          .scale = (float)(1 / (1 - d->ratio))};
}

const VitroBackendOps vitro_backend_cpu = {
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .peak_gflops = cpu_peak_gflops,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .upload = cpu_copy,
    .download = cpu_copy,
    .zero = cpu_zero,
    .sync = cpu_sync,
    .weight_prepare = vitro_cpu_weight_prepare,
    .weight_refresh = vitro_cpu_weight_refresh,
    .weight_release = vitro_cpu_weight_release,
    .needs_source = cpu_needs_source,
    .linear = vitro_cpu_linear,
    .epilogue_backward = vitro_cpu_epilogue_backward,
    .linear_backward = vitro_cpu_linear_backward,
    .layernorm = vitro_cpu_layernorm,
    .layernorm_backward = vitro_cpu_layernorm_backward,
    .attention = vitro_cpu_attention,
    .attention_backward = vitro_cpu_attention_backward,
    .attention_cls = vitro_cpu_attention_cls,
    .attention_cls_backward = vitro_cpu_attention_cls_backward,
    .patchify = vitro_cpu_patchify,
    .tokens = vitro_cpu_tokens,
    .tokens_backward = vitro_cpu_tokens_backward,
    .take_cls = vitro_cpu_take_cls,
    .add_cls = vitro_cpu_add_cls,
    .cross_entropy = vitro_cpu_cross_entropy,
    .sum_of_squares = vitro_cpu_sum_of_squares,
    .sgd = vitro_cpu_sgd,
    .adamw = vitro_cpu_adamw,
};
