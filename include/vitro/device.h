/* SPDX-License-Identifier: Apache-2.0 */
/* Where a model lives and computes: a back end ("cuda", an NVIDIA GPU, where the build has it;
 * "cpu", the fast one everywhere; "ref", plain C with double accumulators, slow and simple) opened
 * with its settings. */
#ifndef VITRO_DEVICE_H
#define VITRO_DEVICE_H

#include "vitro/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum VitroPrecision {
    VITRO_FP32 = 0,
    VITRO_FP64 = 1, /* back end "ref" only: parameters and activations in double */
    /* Products of bf16 with sums in float32. Parameters, gradients, the residual stream, LayerNorm,
     * softmax and loss stay float32. Faster where the CPU has instructions for it, and right where
     * not. */
    VITRO_PRECISION_BF16 = 2,
    /* Inference only: products of bytes, weights scaled by output, activations by token; attention,
     * the patch embedding, pre_logits, the head, and products that sum over fewer than 192 inputs
     * are as in VITRO_PRECISION_BF16. */
    VITRO_PRECISION_INT8 = 3,
    /* Back end "cuda" only: as VITRO_FP32, but products round what they multiply to tf32 (10 bits
     * of fraction), which a GPU has faster units for. */
    VITRO_PRECISION_TF32 = 4
} VitroPrecision;

typedef struct VitroDeviceOptions {
    const char *name; /* "cpu", "ref", "cuda:0"; NULL: the best one that is usable here */
    int threads;      /* 0: as many as the process may use */
    VitroPrecision precision;
} VitroDeviceOptions;

/* Several models may share a device. Predictors of one model may run in several threads at once;
 * everything else on a device is for one thread at a time. */
typedef struct VitroDevice VitroDevice;

/* Errors: VITRO_E_ARG (unknown name, bad setting), _UNSUPPORTED (not in this build, or no such
 * device here), _BACKEND (a GPU is here and cannot be used: it or its driver is too old), _NOMEM.
 * `options` NULL: the defaults. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_device_open(VitroDevice **out,
                                                         const VitroDeviceOptions *options);
/* Last of all: models and trainers on it must be gone. NULL is fine. */
VITRO_API void vitro_device_close(VitroDevice *dev);

VITRO_API const char *vitro_device_name(const VitroDevice *dev);     /* "cpu" */
VITRO_API const char *vitro_device_describe(const VitroDevice *dev); /* "cpu: AVX-512 ..." */
VITRO_API int vitro_device_threads(const VitroDevice *dev);
/* Whether the machine has instructions for the precision that the device was opened with. Where
 * not, results are the same to rounding, and no faster than VITRO_FP32's. */
VITRO_API bool vitro_device_is_native(const VitroDevice *dev);

/* Whether models on the device lie in memory of its own, and bytes that it would still give: of a
 * device that has none what vitro_memory_available says. -1: not told. */
VITRO_API bool vitro_device_has_own_memory(const VitroDevice *dev);
VITRO_API int64_t vitro_device_memory_available(VitroDevice *dev);

/* The back ends of this build, best first: 0 <= i < count. */
VITRO_API int vitro_backend_count(void);
VITRO_API const char *vitro_backend_name(int i);

/* Multiply-add throughput of this device's arithmetic units, in 1e9 operations (2 per multiply-add)
 * a second on its threads, measured now by loops that touch registers only (about 0.03 s); of a
 * GPU, that of the vendor library's large products. VITRO_E_UNSUPPORTED on a back end that has no
 * such loop. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_device_peak_gflops(VitroDevice *dev,
                                                                VitroPrecision precision,
                                                                double *gflops);

/* ---- time by operator ------------------------------------------------------------------------ */

/* Starts to time every op that runs on the device, from zero, or stops; what was counted can be
 * read until it is started again. Off, it costs nothing; on, two readings of the clock for each op,
 * which is also waited for. For a moment when nothing runs on the device. VITRO_E_NOMEM. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_device_profile(VitroDevice *dev, bool on);

/* What one kind of op has cost: ops of the same name that worked on the same shapes. */
typedef struct VitroProfileRow {
    const char *op; /* "linear", "layernorm_backward", ...; the library's own */
    char shape[64]; /* "[1576,2304,768] gelu": of a product rows, outputs and inputs, and what is
                     * fused into it or wanted of it; of others their main tensor; or "" */
    int64_t calls;  /* that succeeded */
    double seconds; /* of all calls together, as the next two */
    double flops;   /* of products and attention, 2 per multiply-add; 0 for other ops */
    double bytes;   /* of other ops: tensors read and written, once each; 0 where not told */
} VitroProfileRow;

/* The rows, in no order: 0 <= i < count. */
VITRO_API int vitro_device_profile_count(const VitroDevice *dev);
/* VITRO_E_ARG: there is no row i. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_device_profile_get(const VitroDevice *dev, int i,
                                                                VitroProfileRow *out);

#ifdef __cplusplus
}
#endif
#endif
