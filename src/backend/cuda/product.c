/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products by cuBLASLt. It knows matrices by columns: a row-major [M,N] is its [N,M], so it
 * is asked for the turned product, d^T = b^T a^T, and b is its first operand.
 *
 * The choice of an algorithm costs a search: it is made once for each kind of product and kept. */
#include "backend/cuda/cuda_int.h"

#include "base/alloc.h"

#include <string.h>

enum { WORKSPACE = 32 << 20 }; /* bytes; what cuBLAS itself takes on Hopper */

/* What the choice depends on. Without padding: compared as bytes. */
typedef struct Key {
    int64_t M, N, K;
    int32_t in, out, tf32;
    int32_t a_turned, b_turned, adds, in_place, epilogue;
    int32_t align_a, align_b, align_c, align_d, align_bias;
    int32_t unused;
} Key;

typedef struct Choice {
    Key key;
    cublasLtMatmulDesc_t op;
    cublasLtMatrixLayout_t first, second, out; /* c has the layout of d */
    cublasLtMatmulAlgo_t algorithm;
    bool none; /* there is no algorithm for it */
} Choice;

struct VitroCudaProducts {
    cublasLtHandle_t handle;
    void *workspace;
    Choice *choice;
    size_t count, room;
};

static VitroStatus check(const VitroLt *lt, cublasStatus_t status, const char *call)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return VITRO_OK;
    return vitro_fail(status == CUBLAS_STATUS_ALLOC_FAILED ? VITRO_E_NOMEM : VITRO_E_BACKEND,
                      "cuBLASLt: %.*s: %s", (int)strcspn(call, "("), call,
                      lt->cublasLtGetStatusString(status));
}
#define LT_TRY(call) VITRO_TRY(check(lt, lt->call, #call))

/* ---- making a choice --------------------------------------------------------------------------
 */

/* Of 16, 8, 4 or 2 bytes. */
static int32_t alignment(const void *p)
{
    const uintptr_t at = (uintptr_t)p | 16;
    return (int32_t)(at & -at);
}

static cudaDataType_t type_of(VitroDtype dtype)
{
    return dtype == VITRO_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static cublasLtEpilogue_t epilogue_of(const VitroCudaProduct *p)
{
    return p->bias     ? CUBLASLT_EPILOGUE_BIAS
           : p->a_sums ? CUBLASLT_EPILOGUE_BGRADB /* a is its second operand */
                       : CUBLASLT_EPILOGUE_DEFAULT;
}

static const void *vector_of(const VitroCudaProduct *p)
{
    return p->bias ? p->bias : p->a_sums;
}

static Key key_of(const VitroCudaProduct *p)
{
    Key k;
    memset(&k, 0, sizeof k);
    k.M = p->M, k.N = p->N, k.K = p->K;
    k.in = (int32_t)p->in, k.out = (int32_t)p->d.dtype, k.tf32 = p->tf32;
    k.a_turned = p->a_turned, k.b_turned = p->b_turned;
    k.adds = p->c != NULL, k.in_place = p->c == p->d.data, k.epilogue = (int32_t)epilogue_of(p);
    k.align_a = alignment(p->a), k.align_b = alignment(p->b);
    k.align_c = alignment(p->c ? p->c : p->d.data), k.align_d = alignment(p->d.data);
    k.align_bias = alignment(vector_of(p));
    return k;
}

static void free_choice(Choice *c, const VitroLt *lt)
{
    if (c->op)
        (void)lt->cublasLtMatmulDescDestroy(c->op);
    if (c->first)
        (void)lt->cublasLtMatrixLayoutDestroy(c->first);
    if (c->second)
        (void)lt->cublasLtMatrixLayoutDestroy(c->second);
    if (c->out)
        (void)lt->cublasLtMatrixLayoutDestroy(c->out);
}

static VitroStatus set_vector(const VitroLt *lt, Choice *c, const VitroCudaProduct *p)
{
    const void *vector = vector_of(p);
    if (vector)
        LT_TRY(cublasLtMatmulDescSetAttribute(c->op, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &vector,
                                              sizeof vector));
    return VITRO_OK;
}

/* What is multiplied, in cuBLASLt's words. */
static VitroStatus describe(Choice *c, VitroDevice *dev, const VitroCudaProduct *p)
{
    const VitroLt *lt = vitro_cuda(dev)->lt;
    const cublasComputeType_t compute = p->tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    const cublasOperation_t first = p->b_turned ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t second = p->a_turned ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasLtEpilogue_t epilogue = epilogue_of(p);
    const cudaDataType_t in = type_of(p->in), out = type_of(p->d.dtype);
    LT_TRY(cublasLtMatmulDescCreate(&c->op, compute, CUDA_R_32F));
    LT_TRY(
        cublasLtMatmulDescSetAttribute(c->op, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first));
    LT_TRY(
        cublasLtMatmulDescSetAttribute(c->op, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second));
    LT_TRY(cublasLtMatmulDescSetAttribute(c->op, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                                          sizeof epilogue));
    VITRO_TRY(set_vector(lt, c, p));
    /* [N,K] row-major is [K,N] there, its leading dimension the row's length */
    LT_TRY(cublasLtMatrixLayoutCreate(&c->first, in, (uint64_t)(p->b_turned ? p->K : p->N),
                                      (uint64_t)(p->b_turned ? p->N : p->K),
                                      p->b_turned ? p->K : p->N));
    LT_TRY(cublasLtMatrixLayoutCreate(&c->second, in, (uint64_t)(p->a_turned ? p->M : p->K),
                                      (uint64_t)(p->a_turned ? p->K : p->M),
                                      p->a_turned ? p->M : p->K));
    LT_TRY(cublasLtMatrixLayoutCreate(&c->out, out, (uint64_t)p->N, (uint64_t)p->M, p->N));
    return VITRO_OK;
}

static VitroStatus set_preference(cublasLtMatmulPreference_t preference, const VitroLt *lt,
                                  const Key *k)
{
    const size_t workspace = WORKSPACE;
    const struct {
        cublasLtMatmulPreferenceAttributes_t attribute;
        uint32_t bytes;
    } aligned[] = {{CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, (uint32_t)k->align_b},
                   {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, (uint32_t)k->align_a},
                   {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, (uint32_t)k->align_c},
                   {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, (uint32_t)k->align_d}};
    LT_TRY(cublasLtMatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace));
    for (size_t i = 0; i < sizeof aligned / sizeof *aligned; i++)
        LT_TRY(cublasLtMatmulPreferenceSetAttribute(preference, aligned[i].attribute,
                                                    &aligned[i].bytes, sizeof aligned[i].bytes));
    return VITRO_OK;
}

/* The heuristic's first answer: the same for the same question. */
static VitroStatus choose(Choice *c, VitroDevice *dev)
{
    const VitroCuda *cuda = vitro_cuda(dev);
    const VitroLt *lt = cuda->lt;
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t result;
    int found = 0;
    LT_TRY(cublasLtMatmulPreferenceCreate(&preference));
    VitroStatus st = set_preference(preference, lt, &c->key);
    if (st == VITRO_OK) {
        const cublasStatus_t status =
            lt->cublasLtMatmulAlgoGetHeuristic(cuda->products->handle, c->op, c->first, c->second,
                                               c->out, c->out, preference, 1, &result, &found);
        if (status == CUBLAS_STATUS_SUCCESS && found > 0 && result.state == CUBLAS_STATUS_SUCCESS)
            c->algorithm = result.algo;
        else if (status == CUBLAS_STATUS_SUCCESS || status == CUBLAS_STATUS_NOT_SUPPORTED ||
                 status == CUBLAS_STATUS_INVALID_VALUE)
            c->none = true;
        else
            st = check(lt, status, "cublasLtMatmulAlgoGetHeuristic");
    }
    (void)lt->cublasLtMatmulPreferenceDestroy(preference);
    return st;
}

static VitroStatus add_choice(Choice **out, VitroDevice *dev, const VitroCudaProduct *p,
                              const Key *key)
{
    VitroCudaProducts *all = vitro_cuda(dev)->products;
    if (all->count == all->room) {
        const size_t room = all->room ? 2 * all->room : 64;
        Choice *more = vitro_realloc(all->choice, room, sizeof *more);
        if (!more)
            return VITRO_NOMEM;
        all->choice = more;
        all->room = room;
    }
    Choice c = {.key = *key};
    VitroStatus st = describe(&c, dev, p);
    if (st == VITRO_OK)
        st = choose(&c, dev);
    if (st != VITRO_OK) {
        free_choice(&c, vitro_cuda(dev)->lt);
        return st;
    }
    all->choice[all->count] = c;
    *out = &all->choice[all->count++];
    return VITRO_OK;
}

static VitroStatus find_choice(Choice **out, VitroDevice *dev, const VitroCudaProduct *p)
{
    VitroCudaProducts *all = vitro_cuda(dev)->products;
    const Key key = key_of(p);
    for (size_t i = 0; i < all->count; i++)
        if (memcmp(&all->choice[i].key, &key, sizeof key) == 0) {
            *out = &all->choice[i];
            return VITRO_OK;
        }
    return add_choice(out, dev, p, &key);
}

/* ---- products ----------------------------------------------------------------------------------
 */

VitroStatus vitro_cuda_product(VitroDevice *dev, const VitroCudaProduct *p)
{
    const VitroCuda *cuda = vitro_cuda(dev);
    const VitroLt *lt = cuda->lt;
    const float one = 1, beta = p->c ? 1 : 0;
    Choice *c;
    VITRO_TRY(find_choice(&c, dev, p));
    if (c->none)
        return vitro_fail(VITRO_E_UNSUPPORTED,
                          "cuBLASLt has no algorithm for a product [%lld,%lld,%lld] of %s to %s",
                          (long long)p->M, (long long)p->N, (long long)p->K,
                          vitro_dtype_name(p->in), vitro_dtype_name(p->d.dtype));
    VITRO_TRY(set_vector(lt, c, p));
    LT_TRY(cublasLtMatmul(cuda->products->handle, c->op, &one, p->b, c->first, p->a, c->second,
                          &beta, p->c ? p->c : p->d.data, c->out, p->d.data, c->out, &c->algorithm,
                          cuda->products->workspace, WORKSPACE, cuda->stream));
    return VITRO_OK;
}

VitroStatus vitro_cuda_products_create(VitroCudaProducts **out, const VitroLt *lt)
{
    VitroCudaProducts *p = vitro_calloc(1, sizeof *p);
    if (!p)
        return VITRO_NOMEM;
    VitroStatus st = check(lt, lt->cublasLtCreate(&p->handle), "cublasLtCreate");
    if (st == VITRO_OK)
        st = vitro_cuda_check(cudaMalloc(&p->workspace, WORKSPACE), "cudaMalloc");
    if (st != VITRO_OK) {
        vitro_cuda_products_free(p, lt);
        return st;
    }
    *out = p;
    return VITRO_OK;
}

void vitro_cuda_products_free(VitroCudaProducts *p, const VitroLt *lt)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->count; i++)
        free_choice(&p->choice[i], lt);
    vitro_free(p->choice);
    (void)cudaFree(p->workspace);
    if (p->handle)
        (void)lt->cublasLtDestroy(p->handle);
    vitro_free(p);
}

/* ---- the best there is ------------------------------------------------------------------------
 */

enum { PEAK_SIDE = 8192, PEAK_RUNS = 4 };

/* Seconds that one of PEAK_RUNS products takes, by the device's clock. */
static VitroStatus time_products(double *seconds, VitroDevice *dev, const VitroCudaProduct *p,
                                 cudaEvent_t begin, cudaEvent_t end)
{
    cudaStream_t stream = vitro_cuda(dev)->stream;
    float ms = 0;
    VITRO_TRY(vitro_cuda_product(dev, p)); /* once for nothing: the choice, the caches */
    VITRO_CUDA_TRY(cudaEventRecord(begin, stream));
    for (int i = 0; i < PEAK_RUNS; i++)
        VITRO_TRY(vitro_cuda_product(dev, p));
    VITRO_CUDA_TRY(cudaEventRecord(end, stream));
    VITRO_CUDA_TRY(cudaEventSynchronize(end));
    VITRO_CUDA_TRY(cudaEventElapsedTime(&ms, begin, end));
    *seconds = (double)ms * 1e-3 / PEAK_RUNS;
    return VITRO_OK;
}

static VitroStatus time_with_events(double *seconds, VitroDevice *dev, const VitroCudaProduct *p)
{
    cudaEvent_t begin = NULL, end = NULL;
    VitroStatus st = vitro_cuda_check(cudaEventCreate(&begin), "cudaEventCreate");
    if (st == VITRO_OK)
        st = vitro_cuda_check(cudaEventCreate(&end), "cudaEventCreate");
    if (st == VITRO_OK)
        st = time_products(seconds, dev, p, begin, end);
    if (begin)
        (void)cudaEventDestroy(begin);
    if (end)
        (void)cudaEventDestroy(end);
    return st;
}

/* Numbers in [-1, 1): products of zeros would be faster. */
static VitroStatus fill_random(VitroDevice *dev, void *to, VitroDtype dtype, int64_t n)
{
    enum { PIECE = 1 << 20 };
    const VitroCuda *cuda = vitro_cuda(dev);
    const size_t size = vitro_dtype_size(dtype);
    float *values = vitro_malloc(PIECE * sizeof *values);
    uint32_t state = 1;
    void *room = NULL;
    if (!values)
        return VITRO_NOMEM;
    for (int i = 0; i < PIECE; i++) {
        state = state * 1664525u + 1013904223u; /* Numerical Recipes' generator */
        values[i] = (float)(state >> 8) * 0x1p-23f - 1;
    }
    VitroStatus st = vitro_cuda_scratch(&room, dev, VITRO_CUDA_SCRATCH_SUM, PIECE * sizeof *values);
    if (st == VITRO_OK)
        st = vitro_cuda_staging_upload(cuda->staging, cuda->stream, room, values,
                                       PIECE * sizeof *values);
    for (int64_t at = 0; at < n && st == VITRO_OK; at += PIECE)
        st = vitro_cuda_cast(cuda->stream,
                             (VitroCudaMatrix){(uint8_t *)to + (size_t)at * size, dtype},
                             (VitroCudaMatrix){room, VITRO_F32}, n - at < PIECE ? n - at : PIECE);
    vitro_free(values);
    return st;
}

static VitroStatus peak(double *gflops, VitroDevice *dev, VitroPrecision precision)
{
    const bool narrow = precision == VITRO_PRECISION_BF16;
    const int64_t side = narrow ? PEAK_SIDE : PEAK_SIDE / 2;
    const VitroDtype dtype = narrow ? VITRO_BF16 : VITRO_F32;
    const size_t bytes = (size_t)(side * side) * vitro_dtype_size(dtype);
    void *a, *b, *d;
    double seconds = 0;
    VITRO_TRY(vitro_cuda_scratch(&a, dev, VITRO_CUDA_SCRATCH_X, bytes));
    VITRO_TRY(vitro_cuda_scratch(&b, dev, VITRO_CUDA_SCRATCH_DY, bytes));
    VITRO_TRY(vitro_cuda_scratch(&d, dev, VITRO_CUDA_SCRATCH_OUT, bytes));
    VITRO_TRY(fill_random(dev, a, dtype, side * side));
    VITRO_TRY(fill_random(dev, b, dtype, side * side));
    const VitroCudaProduct p = {.in = dtype,
                                .tf32 = precision == VITRO_PRECISION_TF32,
                                .a = a,
                                .b = b,
                                .b_turned = true,
                                .d = {d, dtype},
                                .M = side,
                                .N = side,
                                .K = side};
    VITRO_TRY(time_with_events(&seconds, dev, &p));
    *gflops = 2e-9 * (double)side * (double)side * (double)side / seconds;
    return VITRO_OK;
}

VitroStatus vitro_cuda_peak_gflops(VitroDevice *dev, VitroPrecision precision, double *out)
{
    if (precision != VITRO_FP32 && precision != VITRO_PRECISION_TF32 &&
        precision != VITRO_PRECISION_BF16)
        return vitro_fail(VITRO_E_UNSUPPORTED, "back end \"cuda\" computes in FP32, TF32 and BF16");
    VITRO_TRY(vitro_cuda_begin(dev));
    return vitro_cuda_end(dev, peak(out, dev, precision));
}
