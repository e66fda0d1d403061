/* SPDX-License-Identifier: Apache-2.0 */
/* The back end "cuda": its table, the GPU itself and its memory. Everything is computed on one
 * stream, in the order of the calls; an op returns when its kernels are on it. */
#include "backend/cuda/cuda_int.h"

#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OLDEST = 80 }; /* compute capability 8.0: the first with products of bf16 */

VitroStatus vitro_cuda_check(cudaError_t error, const char *call)
{
    if (error == cudaSuccess)
        return VITRO_OK;
    (void)cudaGetLastError(); /* told here, and not once more after the next launch */
    const int length = (int)strcspn(call, "(");
    return vitro_fail(error == cudaErrorMemoryAllocation ? VITRO_E_NOMEM : VITRO_E_BACKEND,
                      "CUDA: %.*s: %s", length, call, cudaGetErrorString(error));
}

VitroStatus vitro_cuda_begin(VitroDevice *dev)
{
    VitroCuda *cuda = vitro_cuda(dev);
    pthread_mutex_lock(&cuda->lock);
    VitroStatus st = vitro_cuda_check(cudaSetDevice(cuda->index), "cudaSetDevice");
    if (st != VITRO_OK)
        pthread_mutex_unlock(&cuda->lock);
    return st;
}

VitroStatus vitro_cuda_end(VitroDevice *dev, VitroStatus st)
{
    pthread_mutex_unlock(&vitro_cuda(dev)->lock);
    return st;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* "cuda" is "cuda:0". */
static int index_of(const char *name)
{
    const char *colon = name ? strchr(name, ':') : NULL;
    return colon ? (int)strtol(colon + 1, NULL, 10) : 0;
}

/* How many GPUs there are, or in one line why none can be used. */
static VitroStatus count_gpus(int *count)
{
    int driver = 0, runtime = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
        (void)cudaGetLastError();
        return vitro_fail(VITRO_E_UNSUPPORTED, "no NVIDIA driver is here");
    }
    cudaError_t error = cudaGetDeviceCount(count);
    (void)cudaGetLastError();
    (void)cudaRuntimeGetVersion(&runtime);
    if (error == cudaErrorInsufficientDriver)
        return vitro_fail(VITRO_E_BACKEND,
                          "the NVIDIA driver is too old: it serves CUDA %d.%d, this build needs "
                          "%d.%d",
                          driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    if (error == cudaErrorNoDevice || (error == cudaSuccess && *count == 0))
        return vitro_fail(VITRO_E_UNSUPPORTED, "no NVIDIA GPU is here");
    if (error != cudaSuccess)
        return vitro_fail(VITRO_E_BACKEND, "no NVIDIA GPU can be used: %s",
                          cudaGetErrorString(error));
    return VITRO_OK;
}

static VitroStatus probe(VitroDevice *dev, int index)
{
    VitroCuda *cuda = vitro_cuda(dev);
    int count = 0, driver = 0;
    size_t unused = 0, total = 0;
    struct cudaDeviceProp gpu;
    VITRO_TRY(count_gpus(&count));
    if (index >= count)
        return vitro_fail(VITRO_E_UNSUPPORTED, "device \"cuda:%d\": the GPUs here are 0 to %d",
                          index, count - 1);
    VITRO_CUDA_TRY(cudaGetDeviceProperties(&gpu, index));
    cuda->index = index;
    cuda->capability = gpu.major * 10 + gpu.minor;
    cuda->multiprocessors = gpu.multiProcessorCount;
    if (cuda->capability < OLDEST)
        return vitro_fail(VITRO_E_BACKEND,
                          "%s is too old: its compute capability is %d.%d, %d.%d is needed",
                          gpu.name, gpu.major, gpu.minor, OLDEST / 10, OLDEST % 10);
    VITRO_TRY(vitro_cuda_lt(&cuda->lt));
    VITRO_CUDA_TRY(cudaSetDevice(index));
    VITRO_CUDA_TRY(cudaMemGetInfo(&unused, &total));
    (void)cudaDriverGetVersion(&driver);
    snprintf(dev->name, sizeof dev->name, "cuda:%d", index);
    snprintf(dev->description, sizeof dev->description,
             "cuda:%d: %.64s, %.1f GiB, compute capability %d.%d, driver for CUDA %d.%d", index,
             gpu.name, (double)total / (double)(1 << 30), gpu.major, gpu.minor, driver / 1000,
             driver % 1000 / 10);
    return VITRO_OK;
}

static VitroStatus make(VitroDevice *dev)
{
    VitroCuda *cuda = vitro_cuda(dev);
    VITRO_CUDA_TRY(cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking));
    VITRO_TRY(vitro_cuda_products_create(&cuda->products, cuda->lt));
    VITRO_TRY(vitro_cuda_graphs_create(&cuda->graphs));
    return vitro_cuda_staging_create(&cuda->staging);
}

static void cuda_close(VitroDevice *dev)
{
    VitroCuda *cuda = vitro_cuda(dev);
    (void)cudaSetDevice(cuda->index);
    if (cuda->stream)
        (void)cudaStreamSynchronize(cuda->stream);
    vitro_cuda_graphs_free(cuda->graphs);
    vitro_cuda_staging_free(cuda->staging);
    vitro_cuda_products_free(cuda->products, cuda->lt);
    for (int i = 0; i < VITRO_CUDA_SCRATCHES; i++)
        (void)cudaFree(cuda->scratch[i].data);
    if (cuda->stream)
        (void)cudaStreamDestroy(cuda->stream);
    pthread_mutex_destroy(&cuda->lock);
    vitro_free(cuda);
    dev->impl = NULL;
}

static VitroStatus cuda_open(VitroDevice *dev, const VitroDeviceOptions *options)
{
    VitroCuda *cuda = vitro_calloc(1, sizeof *cuda);
    if (!cuda)
        return VITRO_NOMEM;
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&cuda->lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
    dev->impl = cuda;
    VitroStatus st = probe(dev, index_of(options->name));
    if (st == VITRO_OK)
        st = make(dev);
    if (st != VITRO_OK)
        cuda_close(dev);
    return st;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static VitroStatus allocate(void **out, VitroDevice *dev, size_t bytes)
{
    size_t unused = 0, total = 0;
    cudaError_t error = cudaMalloc(out, bytes ? bytes : 1);
    if (error != cudaErrorMemoryAllocation)
        return vitro_cuda_check(error, "cudaMalloc");
    (void)cudaGetLastError();
    (void)cudaMemGetInfo(&unused, &total);
    return vitro_fail(VITRO_E_NOMEM,
                      "%s is out of memory: %.1f MiB were asked for, %.1f of its %.1f MiB are free",
                      dev->name, (double)bytes / (1 << 20), (double)unused / (1 << 20),
                      (double)total / (1 << 20));
}

static VitroStatus cuda_alloc(VitroDevice *dev, void **out, size_t bytes)
{
    void *p = NULL;
    VITRO_TRY(vitro_cuda_begin(dev));
    VitroStatus st = vitro_cuda_end(dev, allocate(&p, dev, bytes));
    if (st == VITRO_OK)
        *out = p;
    return st;
}

static void cuda_free(VitroDevice *dev, void *p)
{
    if (!p || vitro_cuda_begin(dev) != VITRO_OK)
        return;
    (void)cudaFree(p); /* waits for what still uses it */
    vitro_cuda(dev)->generation++;
    (void)vitro_cuda_end(dev, VITRO_OK);
}

VitroStatus vitro_cuda_scratch(void **out, VitroDevice *dev, VitroCudaScratch use, size_t bytes)
{
    VitroCuda *cuda = vitro_cuda(dev);
    if (cuda->scratch[use].bytes < bytes) {
        VITRO_CUDA_TRY(cudaStreamSynchronize(cuda->stream));
        (void)cudaFree(cuda->scratch[use].data);
        cuda->generation++;
        cuda->scratch[use].data = NULL;
        cuda->scratch[use].bytes = 0;
        VITRO_TRY(allocate(&cuda->scratch[use].data, dev, bytes));
        cuda->scratch[use].bytes = bytes;
    }
    *out = cuda->scratch[use].data;
    return VITRO_OK;
}

static VitroStatus cuda_upload(VitroDevice *dev, void *dst, const void *src, size_t bytes)
{
    VitroCuda *cuda = vitro_cuda(dev);
    VITRO_TRY(vitro_cuda_begin(dev));
    return vitro_cuda_end(dev,
                          vitro_cuda_staging_upload(cuda->staging, cuda->stream, dst, src, bytes));
}

static VitroStatus download(VitroCuda *cuda, void *dst, const void *src, size_t bytes)
{
    if (bytes)
        VITRO_CUDA_TRY(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToHost, cuda->stream));
    VITRO_CUDA_TRY(cudaStreamSynchronize(cuda->stream));
    return VITRO_OK;
}

static VitroStatus cuda_download(VitroDevice *dev, void *dst, const void *src, size_t bytes)
{
    VITRO_TRY(vitro_cuda_begin(dev));
    return vitro_cuda_end(dev, download(vitro_cuda(dev), dst, src, bytes));
}

static VitroStatus cuda_memory(VitroDevice *dev, size_t *available, size_t *total)
{
    VITRO_TRY(vitro_cuda_begin(dev));
    return vitro_cuda_end(dev,
                          vitro_cuda_check(cudaMemGetInfo(available, total), "cudaMemGetInfo"));
}

static VitroStatus cuda_download_begin(VitroDevice *dev, const void *src, size_t bytes)
{
    const VitroCuda *cuda = vitro_cuda(dev);
    VITRO_TRY(vitro_cuda_begin(dev));
    return vitro_cuda_end(dev,
                          vitro_cuda_staging_download(cuda->staging, cuda->stream, src, bytes));
}

static VitroStatus cuda_download_end(VitroDevice *dev, void *dst, size_t bytes)
{
    VITRO_TRY(vitro_cuda_begin(dev));
    return vitro_cuda_end(dev, vitro_cuda_staging_wait(vitro_cuda(dev)->staging, dst, bytes));
}

static VitroStatus cuda_zero(VitroDevice *dev, void *dst, size_t bytes)
{
    VITRO_TRY(vitro_cuda_begin(dev));
    cudaError_t error =
        bytes ? cudaMemsetAsync(dst, 0, bytes, vitro_cuda(dev)->stream) : cudaSuccess;
    return vitro_cuda_end(dev, vitro_cuda_check(error, "cudaMemsetAsync"));
}

static VitroStatus cuda_sync(VitroDevice *dev)
{
    VITRO_TRY(vitro_cuda_begin(dev));
    return vitro_cuda_end(dev, vitro_cuda_check(cudaStreamSynchronize(vitro_cuda(dev)->stream),
                                                "cudaStreamSynchronize"));
}

/* ---- the table ------------------------------------------------------------------------------- */

const VitroBackendOps vitro_backend_cuda = {
    .name = "cuda",
    .separate_memory = true,
    .open = cuda_open,
    .close = cuda_close,
    .peak_gflops = vitro_cuda_peak_gflops,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .upload = cuda_upload,
    .download = cuda_download,
    .zero = cuda_zero,
    .sync = cuda_sync,
    .memory = cuda_memory,
    .download_begin = cuda_download_begin,
    .download_end = cuda_download_end,
    .sequence = vitro_cuda_op_sequence,
    .weight_prepare = vitro_cuda_op_weight_prepare,
    .weight_refresh = vitro_cuda_op_weight_refresh,
    .weight_release = vitro_cuda_op_weight_release,
    .linear = vitro_cuda_op_linear,
    .epilogue_backward = vitro_cuda_op_epilogue_backward,
    .linear_backward = vitro_cuda_op_linear_backward,
    .scale_backward = vitro_cuda_op_scale_backward,
    .head_norm = vitro_cuda_op_head_norm,
    .head_norm_backward = vitro_cuda_op_head_norm_backward,
    .layernorm = vitro_cuda_op_layernorm,
    .layernorm_backward = vitro_cuda_op_layernorm_backward,
    .attention = vitro_cuda_op_attention,
    .attention_backward = vitro_cuda_op_attention_backward,
    .attention_cls = vitro_cuda_op_attention_cls,
    .attention_cls_backward = vitro_cuda_op_attention_cls_backward,
    .patchify = vitro_cuda_op_patchify,
    .tokens = vitro_cuda_op_tokens,
    .tokens_backward = vitro_cuda_op_tokens_backward,
    .take_tokens = vitro_cuda_op_take_tokens,
    .add_tokens = vitro_cuda_op_add_tokens,
    .mean_tokens = vitro_cuda_op_mean_tokens,
    .mean_tokens_backward = vitro_cuda_op_mean_tokens_backward,
    .cross_entropy = vitro_cuda_op_cross_entropy,
    .sum_of_squares = vitro_cuda_op_sum_of_squares,
    .sgd = vitro_cuda_op_sgd,
    .adamw = vitro_cuda_op_adamw,
};
