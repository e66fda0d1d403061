/* SPDX-License-Identifier: Apache-2.0 */
/* Which back ends this build holds, and how a device is opened by name. Knows no back end beyond
 * its row in the table. */
#include "backend/backend.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"

#define MAX_THREADS 1024

enum {
    FP32 = 1 << VITRO_FP32,
    FP64 = 1 << VITRO_FP64,
    BF16 = 1 << VITRO_PRECISION_BF16,
    INT8 = 1 << VITRO_PRECISION_INT8,
    TF32 = 1 << VITRO_PRECISION_TF32
};
static const char *const precision_name[] = {"FP32", "FP64", "bf16", "int8", "tf32"};

/* Best first. */
static const struct {
    const VitroBackendOps *ops;
    int precisions;
} backends[] = {
#if VITRO_HAVE_CUDA
    {&vitro_backend_cuda, FP32 | TF32 | BF16},
#endif
    {&vitro_backend_cpu, FP32 | BF16 | INT8},
    {&vitro_backend_ref, FP32 | FP64},
};
enum { BACKEND_COUNT = sizeof backends / sizeof backends[0] };

int vitro_backend_count(void)
{
    return BACKEND_COUNT;
}

const char *vitro_backend_name(int i)
{
    return i >= 0 && i < BACKEND_COUNT ? backends[i].ops->name : NULL;
}

/* Names those of this build that have it. */
static VitroStatus lacks_precision(const char *name, VitroPrecision precision)
{
    char have[64] = "";
    for (size_t i = 0, at = 0; i < BACKEND_COUNT && at < sizeof have; i++)
        if (backends[i].precisions & 1 << precision)
            at += (size_t)snprintf(have + at, sizeof have - at, "%s\"%s\"", at ? " or " : "",
                                   backends[i].ops->name);
    return vitro_fail(VITRO_E_UNSUPPORTED, "back end \"%s\" does not compute in %s: that needs %s",
                      name, precision_name[precision],
                      *have ? have : "\"cuda\", which this build has not");
}

static VitroStatus open_one(VitroDevice **out, int i, const VitroDeviceOptions *options)
{
    const VitroBackendOps *ops = backends[i].ops;
    if (!(backends[i].precisions & 1 << options->precision))
        return lacks_precision(ops->name, options->precision);
    VitroDevice *dev = vitro_calloc(1, sizeof *dev);
    if (!dev)
        return VITRO_NOMEM;
    dev->ops = ops;
    dev->dtype = vitro_precision_dtype(options->precision);
    dev->precision = options->precision;
    dev->threads = options->threads;
    snprintf(dev->name, sizeof dev->name, "%s", ops->name);
    snprintf(dev->description, sizeof dev->description, "%s", ops->name);
    VitroStatus st = ops->open(dev, options);
    if (st != VITRO_OK) {
        vitro_free(dev);
        return st;
    }
    *out = dev;
    return VITRO_OK;
}

/* The first back end that can do what is asked. A GPU that is here and cannot be used (too old, or
 * its driver) is told, one that is absent is not. */
static VitroStatus open_best(VitroDevice **out, const VitroDeviceOptions *options)
{
    VitroStatus st = VITRO_E_INTERNAL;
    for (int i = 0; i < BACKEND_COUNT; i++) {
        st = open_one(out, i, options);
        if (st == VITRO_E_BACKEND && i + 1 < BACKEND_COUNT)
            vitro_log(VITRO_LOG_WARN, "%s: going on with \"%s\"", vitro_last_error(),
                      backends[i + 1].ops->name);
        else if (st != VITRO_E_UNSUPPORTED)
            return st;
    }
    return st;
}

/* "cuda" or "cuda:N": the back end's own GPUs. */
static bool names_gpu(const char *name)
{
    return strncmp(name, "cuda", 4) == 0 && (name[4] == 0 || name[4] == ':');
}

static bool is_index(const char *text)
{
    const size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits <= 4 && !text[digits];
}

static VitroStatus unknown_name(const char *name)
{
    if (names_gpu(name) && name[4] && !is_index(name + 5))
        return vitro_fail(VITRO_E_ARG, "device \"%s\": expected cuda or cuda:N", name);
    if (names_gpu(name))
        return vitro_fail(VITRO_E_UNSUPPORTED, "device \"%s\": this build has no CUDA back end",
                          name);
    char known[128] = "";
    for (size_t i = 0, at = 0; i < BACKEND_COUNT && at < sizeof known; i++)
        at += (size_t)snprintf(known + at, sizeof known - at, "%s\"%s\"", i ? ", " : "",
                               backends[i].ops->name);
    return vitro_fail(VITRO_E_ARG, "device \"%s\" is unknown; this build has %s", name, known);
}

VitroStatus vitro_device_open(VitroDevice **out, const VitroDeviceOptions *options)
{
    VitroDeviceOptions o = options ? *options : (VitroDeviceOptions){0};
    if ((int)o.precision < VITRO_FP32 || o.precision > VITRO_PRECISION_TF32)
        return vitro_fail(VITRO_E_ARG, "precision %d is none of FP32, FP64, BF16, INT8, TF32",
                          (int)o.precision);
    if (o.threads < 0 || o.threads > MAX_THREADS)
        return vitro_fail(VITRO_E_ARG, "threads: %d is not in [0, %d]", o.threads, MAX_THREADS);
    if (o.threads == 0)
        o.threads = omp_get_num_procs(); /* honours the process's CPU affinity */
    if (!o.name)
        return open_best(out, &o);
    for (int i = 0; i < BACKEND_COUNT; i++)
        if (strcmp(o.name, backends[i].ops->name) == 0 ||
            (strcmp("cuda", backends[i].ops->name) == 0 && names_gpu(o.name) && o.name[4] &&
             is_index(o.name + 5)))
            return open_one(out, i, &o);
    return unknown_name(o.name);
}

void vitro_device_close(VitroDevice *dev)
{
    if (!dev)
        return;
    vitro_profile_close(dev);
    dev->ops->close(dev);
    vitro_free(dev);
}

const char *vitro_device_name(const VitroDevice *dev)
{
    return dev->name;
}

const char *vitro_device_describe(const VitroDevice *dev)
{
    return dev->description;
}

int vitro_device_threads(const VitroDevice *dev)
{
    return dev->threads;
}

bool vitro_device_is_native(const VitroDevice *dev)
{
    return !dev->widened;
}

bool vitro_device_has_own_memory(const VitroDevice *dev)
{
    return dev->ops->separate_memory;
}

int64_t vitro_device_memory_available(VitroDevice *dev)
{
    size_t available = 0, total = 0;
    if (!dev->ops->memory)
        return vitro_memory_available();
    return dev->ops->memory(dev, &available, &total) == VITRO_OK ? (int64_t)available : -1;
}

VitroStatus vitro_device_peak_gflops(VitroDevice *dev, VitroPrecision precision, double *gflops)
{
    if (!dev->ops->peak_gflops)
        return vitro_fail(VITRO_E_UNSUPPORTED, "back end \"%s\" has no loop to measure its peak",
                          dev->name);
    return dev->ops->peak_gflops(dev, precision, gflops);
}

/* ---- float32 on the host, the device's dtype over there -------------------------------------- */

enum { CHUNK = 1024 }; /* doubles converted at a time, on the stack */

static VitroStatus check_dtype(const VitroTensor *t)
{
    if (t->dtype == VITRO_F32 || t->dtype == VITRO_F64)
        return VITRO_OK;
    return vitro_fail(VITRO_E_ARG, "a device tensor has dtype %d, expected F32 or F64",
                      (int)t->dtype);
}

VitroStatus vitro_device_write_f32(VitroDevice *dev, VitroTensor dst, const float *src)
{
    int64_t n = vitro_tensor_count(&dst);
    VITRO_TRY(check_dtype(&dst));
    if (dst.dtype == VITRO_F32)
        return dev->ops->upload(dev, dst.data, src, (size_t)n * sizeof *src);
    double chunk[CHUNK];
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t len = n - at < CHUNK ? n - at : CHUNK;
        for (int64_t i = 0; i < len; i++)
            chunk[i] = src[at + i];
        VITRO_TRY(
            dev->ops->upload(dev, (double *)dst.data + at, chunk, (size_t)len * sizeof *chunk));
    }
    return VITRO_OK;
}

VitroStatus vitro_device_read_f32(VitroDevice *dev, float *dst, VitroTensor src)
{
    int64_t n = vitro_tensor_count(&src);
    VITRO_TRY(check_dtype(&src));
    if (src.dtype == VITRO_F32)
        return dev->ops->download(dev, dst, src.data, (size_t)n * sizeof *dst);
    double chunk[CHUNK];
    for (int64_t at = 0; at < n; at += CHUNK) {
        int64_t len = n - at < CHUNK ? n - at : CHUNK;
        VITRO_TRY(dev->ops->download(dev, chunk, (const double *)src.data + at,
                                     (size_t)len * sizeof *chunk));
        for (int64_t i = 0; i < len; i++)
            dst[at + i] = (float)chunk[i];
    }
    return VITRO_OK;
}
