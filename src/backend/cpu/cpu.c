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
#include <unistd.h>

/* Of the second-level cache, which each core has to itself; 1 MiB where the system does not tell.
 */
static int64_t second_level_bytes(void)
{
    long bytes = 0;
#if defined(_SC_LEVEL2_CACHE_SIZE)
    bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    return bytes < 1 << 17 || bytes > 1 << 24 ? 1 << 20 : bytes;
}

static VitroDot dot_of(VitroPrecision precision)
{
    return precision == VITRO_PRECISION_BF16   ? VITRO_DOT_BF16
           : precision == VITRO_PRECISION_INT8 ? VITRO_DOT_U8S8
                                               : VITRO_DOT_F32;
}

static VitroStatus cpu_open(VitroDevice *dev, const VitroDeviceOptions *options)
{
    (void)options; /* registry.c has put them into dev */
    VitroCpu *cpu = vitro_calloc(1, sizeof *cpu);
    if (!cpu)
        return VITRO_NOMEM;
    vitro_kernels_init(&cpu->table, vitro_cpu_flags());
    cpu->kernels = &cpu->table;
    cpu->cache_words = second_level_bytes() * 6 / 10 / 4;
    const VitroUnit *unit = &cpu->kernels->unit[dot_of(dev->precision)];
    dev->widened = unit->widened;
    snprintf(dev->description, sizeof dev->description, "cpu: %s, %d thread%s", unit->name,
             dev->threads, dev->threads == 1 ? "" : "s");
    dev->impl = cpu;
    return VITRO_OK;
}

static void cpu_close(VitroDevice *dev)
{
    vitro_free(dev->impl);
    dev->impl = NULL;
}

/* The sum of what each thread reaches in 30 ms. On a machine that others use too it is what they
 * leave: whoever wants a share of it measures the two in turn. */
static VitroStatus cpu_peak_gflops(VitroDevice *dev, VitroPrecision precision, double *out)
{
    if (precision == VITRO_FP64)
        return vitro_fail(VITRO_E_UNSUPPORTED, "back end \"cpu\" does not compute in FP64");
    const VitroUnit *unit = &vitro_cpu(dev)->kernels->unit[dot_of(precision)];
    const int64_t rounds = (int64_t)(2e7 / (double)unit->peak_flops) + 1;
    double total = 0;
    float sink = 0;
#pragma omp parallel num_threads(dev->threads) reduction(+ : sink, total)
    {
        sink += unit->peak(rounds);
#pragma omp barrier
        const double begin = omp_get_wtime();
        double now = begin, flops = 0;
        for (; now - begin < 0.03; now = omp_get_wtime()) {
            sink += unit->peak(rounds);
            flops += (double)rounds * (double)unit->peak_flops;
        }
        total += flops / (now - begin);
    }
    /* sink is used, so that no compiler leaves the loops out; it is finite by construction */
    *out = isfinite(sink) ? total / 1e9 : 0;
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
    (void)dev;
    return !weight->prepared;
}

void vitro_cpu_put(const VitroKernels *kernels, VitroTensor t, int64_t at, const float *from,
                   int64_t n)
{
    if (t.dtype == VITRO_BF16)
        kernels->to_bf16((uint16_t *)t.data + at, from, n);
    else if (vitro_f32_at(t, at) != from)
        memcpy(vitro_f32_at(t, at), from, (size_t)n * sizeof *from);
}

void vitro_cpu_get(const VitroKernels *kernels, float *to, VitroTensor t, int64_t at, int64_t n)
{
    if (t.dtype == VITRO_BF16)
        kernels->from_bf16(to, (uint16_t *)t.data + at, n);
    else
        memcpy(to, vitro_f32_at(t, at), (size_t)n * sizeof *to);
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
    .scale_backward = vitro_cpu_scale_backward,
    .linear_backward = vitro_cpu_linear_backward,
    .layernorm = vitro_cpu_layernorm,
    .layernorm_backward = vitro_cpu_layernorm_backward,
    .head_norm = vitro_cpu_head_norm,
    .head_norm_backward = vitro_cpu_head_norm_backward,
    .attention = vitro_cpu_attention,
    .attention_backward = vitro_cpu_attention_backward,
    .attention_cls = vitro_cpu_attention_cls,
    .attention_cls_backward = vitro_cpu_attention_cls_backward,
    .patchify = vitro_cpu_patchify,
    .tokens = vitro_cpu_tokens,
    .tokens_backward = vitro_cpu_tokens_backward,
    .take_tokens = vitro_cpu_take_tokens,
    .add_tokens = vitro_cpu_add_tokens,
    .mean_tokens = vitro_cpu_mean_tokens,
    .mean_tokens_backward = vitro_cpu_mean_tokens_backward,
    .cross_entropy = vitro_cpu_cross_entropy,
    .sum_of_squares = vitro_cpu_sum_of_squares,
    .sgd = vitro_cpu_sgd,
    .adamw = vitro_cpu_adamw,
};
