// SPDX-License-Identifier: Apache-2.0
// cuBLASLt's matrix product, as NVIDIA's documentation defines it: d = epilogue(alpha op(a) op(b) +
// beta c), matrices by columns. Sums are doubles: what is left of rounding is that of the stored
// types (and of tf32, where that is asked for). Its GELU is the one by tanh, like the library's.
#include "cuda_emu/emu_int.h"

#include <cublasLt.h>

#include <map>
#include <vector>

namespace
{

// An object with attributes; what was never set is 0.
struct Attributes {
    std::map<int, std::vector<char>> bytes;

    void set(int attribute, const void *p, size_t size)
    {
        bytes[attribute].assign((const char *)p, (const char *)p + size);
    }
    template <typename T> T get(int attribute) const
    {
        T value{};
        const auto at = bytes.find(attribute);
        if (at == bytes.end())
            return value;
        if (at->second.size() != sizeof value)
            emu_fail("cuBLASLt: attribute %d has %zu bytes, expected %zu", attribute,
                     at->second.size(), sizeof value);
        memcpy(&value, at->second.data(), sizeof value);
        return value;
    }
};

struct Op : Attributes {
    cublasComputeType_t compute;
};

struct Layout : Attributes {
    cudaDataType_t type;
    int64_t rows, cols, ld;
};

template <typename T> T *of(void *handle)
{
    return static_cast<T *>(handle);
}

double load(const void *p, cudaDataType_t type, int64_t at)
{
    if (type == CUDA_R_32F)
        return ((const float *)p)[at];
    if (type == CUDA_R_16BF)
        return __uint_as_float((uint32_t)((const uint16_t *)p)[at] << 16);
    emu_fail("cuBLASLt: data type %d is not emulated", (int)type);
}

void store(void *p, cudaDataType_t type, int64_t at, double x)
{
    if (type == CUDA_R_32F)
        ((float *)p)[at] = (float)x;
    else if (type == CUDA_R_16BF)
        ((uint16_t *)p)[at] = __bfloat16_as_ushort(__float2bfloat16_rn((float)x));
    else
        emu_fail("cuBLASLt: data type %d is not emulated", (int)type);
}

// To 10 bits of fraction, nearest.
double to_tf32(double x)
{
    return __uint_as_float((__float_as_uint((float)x) + 0x1000u) & 0xffffe000u);
}

double gelu(double x)
{
    return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

double gelu_slope(double x)
{
    const double t = tanh(0.7978845608028654 * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.7978845608028654 * (1 + 3 * 0.044715 * x * x);
}

struct Product {
    Op op;
    Layout la, lb, lc, ld;
    float alpha, beta;
    const void *a, *b, *c;
    void *d;
};

struct Shape {
    int64_t m, n, k;
    bool turn_a, turn_b;
};

bool shape_of(Shape *s, const Op &op, const Layout &a, const Layout &b, const Layout &c,
              const Layout &d)
{
    s->turn_a = op.get<cublasOperation_t>(CUBLASLT_MATMUL_DESC_TRANSA) != CUBLAS_OP_N;
    s->turn_b = op.get<cublasOperation_t>(CUBLASLT_MATMUL_DESC_TRANSB) != CUBLAS_OP_N;
    s->m = d.rows, s->n = d.cols;
    s->k = s->turn_a ? a.rows : a.cols;
    return s->m == (s->turn_a ? a.cols : a.rows) && s->k == (s->turn_b ? b.cols : b.rows) &&
           s->n == (s->turn_b ? b.rows : b.cols) && c.rows == s->m && c.cols == s->n &&
           a.ld >= a.rows && b.ld >= b.rows && c.ld >= c.rows && d.ld >= d.rows &&
           a.type == b.type && c.type == d.type;
}

// op(a) by rows or op(b) by columns: K lies together.
std::vector<double> gather(const void *p, const Layout &l, int64_t outer, int64_t inner, bool turn,
                           bool tf32)
{
    std::vector<double> out((size_t)(outer * inner));
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            const double x = load(p, l.type, turn ? o * l.ld + i : i * l.ld + o);
            out[(size_t)(o * inner + i)] = tf32 ? to_tf32(x) : x;
        }
    return out;
}

double dot(const double *x, const double *y, int64_t n)
{
    double sum[8] = {};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++)
            sum[j] += x[i + j] * y[i + j];
    for (; i < n; i++)
        sum[0] += x[i] * y[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

void multiply(const Product &p)
{
    Shape s;
    shape_of(&s, p.op, p.la, p.lb, p.lc, p.ld);
    const int epilogue = p.op.get<cublasLtEpilogue_t>(CUBLASLT_MATMUL_DESC_EPILOGUE);
    const bool tf32 = p.op.compute == CUBLAS_COMPUTE_32F_FAST_TF32 && p.la.type == CUDA_R_32F;
    const auto a = gather(p.a, p.la, s.m, s.k, s.turn_a, tf32);
    const auto b = gather(p.b, p.lb, s.n, s.k, !s.turn_b, tf32);
    void *vector = p.op.get<void *>(CUBLASLT_MATMUL_DESC_BIAS_POINTER);
    void *aux = p.op.get<void *>(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER);
    const int64_t aux_ld = p.op.get<int64_t>(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD);
    const bool has_bias = epilogue == CUBLASLT_EPILOGUE_BIAS ||
                          epilogue == CUBLASLT_EPILOGUE_GELU_BIAS ||
                          epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
    const bool has_gelu =
        epilogue == CUBLASLT_EPILOGUE_GELU || epilogue == CUBLASLT_EPILOGUE_GELU_BIAS ||
        epilogue == CUBLASLT_EPILOGUE_GELU_AUX || epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
    const bool keeps =
        epilogue == CUBLASLT_EPILOGUE_GELU_AUX || epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
    const bool back =
        epilogue == CUBLASLT_EPILOGUE_DGELU || epilogue == CUBLASLT_EPILOGUE_DGELU_BGRAD;
    // A bias's type is that of d unless said otherwise; a bias gradient's is, too.
    const bool has_type = p.op.bytes.count(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE);
    const int said = has_type ? p.op.get<int32_t>(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE) : -1;
    const cudaDataType_t vector_type = said >= 0 ? (cudaDataType_t)said : p.ld.type;
    std::vector<double> d((size_t)(s.m * s.n));
    for (int64_t j = 0; j < s.n; j++)
        for (int64_t i = 0; i < s.m; i++) {
            double x = p.alpha * dot(&a[(size_t)(i * s.k)], &b[(size_t)(j * s.k)], s.k);
            if (p.beta != 0)
                x += p.beta * load(p.c, p.lc.type, j * p.lc.ld + i);
            if (has_bias)
                x += load(vector, vector_type, i);
            if (keeps)
                store(aux, p.ld.type, j * aux_ld + i, x);
            if (has_gelu)
                x = gelu(x);
            if (back)
                x *= gelu_slope(load(aux, p.ld.type, j * aux_ld + i));
            d[(size_t)(j * s.m + i)] = x;
        }
    for (int64_t j = 0; j < s.n; j++)
        for (int64_t i = 0; i < s.m; i++)
            store(p.d, p.ld.type, j * p.ld.ld + i, d[(size_t)(j * s.m + i)]);
    if (epilogue == CUBLASLT_EPILOGUE_DGELU_BGRAD) // rows of d
        for (int64_t i = 0; i < s.m; i++) {
            double sum = 0;
            for (int64_t j = 0; j < s.n; j++)
                sum += d[(size_t)(j * s.m + i)];
            store(vector, vector_type, i, sum);
        }
    if (epilogue == CUBLASLT_EPILOGUE_BGRADA || epilogue == CUBLASLT_EPILOGUE_BGRADB) {
        const bool of_a = epilogue == CUBLASLT_EPILOGUE_BGRADA; // sums over k
        for (int64_t i = 0; i < (of_a ? s.m : s.n); i++) {
            double sum = 0;
            for (int64_t j = 0; j < s.k; j++)
                sum += (of_a ? a : b)[(size_t)(i * s.k + j)];
            store(vector, vector_type, i, sum);
        }
    }
}

bool known(int epilogue)
{
    switch (epilogue) {
    case 0:
    case CUBLASLT_EPILOGUE_DEFAULT:
    case CUBLASLT_EPILOGUE_BIAS:
    case CUBLASLT_EPILOGUE_GELU:
    case CUBLASLT_EPILOGUE_GELU_BIAS:
    case CUBLASLT_EPILOGUE_GELU_AUX:
    case CUBLASLT_EPILOGUE_GELU_AUX_BIAS:
    case CUBLASLT_EPILOGUE_DGELU:
    case CUBLASLT_EPILOGUE_DGELU_BGRAD:
    case CUBLASLT_EPILOGUE_BGRADA:
    case CUBLASLT_EPILOGUE_BGRADB:
        return true;
    default:
        return false;
    }
}

} // namespace

cublasStatus_t cublasLtCreate(cublasLtHandle_t *out)
{
    *out = (cublasLtHandle_t)out;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t)
{
    return CUBLAS_STATUS_SUCCESS;
}

size_t cublasLtGetVersion(void)
{
    return CUBLAS_VERSION;
}

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS ? "success" : "an error of the emulated cuBLASLt";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *out, cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    if (scale != CUDA_R_32F)
        emu_fail("cuBLASLt: scales of type %d are not emulated", (int)scale);
    Op *op = new Op;
    op->compute = compute;
    *out = (cublasLtMatmulDesc_t)op;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t op)
{
    delete of<Op>(op);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t op,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void *p, size_t size)
{
    of<Op>(op)->set(attribute, p, size);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld)
{
    Layout *l = new Layout;
    l->type = type, l->rows = (int64_t)rows, l->cols = (int64_t)cols, l->ld = ld;
    *out = (cublasLtMatrixLayout_t)l;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
    delete of<Layout>(l);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t, //
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                const void *, size_t)
{
    emu_fail("cuBLASLt: attribute %d of a layout is not emulated", (int)attribute);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *out)
{
    *out = (cublasLtMatmulPreference_t) new Attributes;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
    delete of<Attributes>(p);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *value, size_t size)
{
    of<Attributes>(p)->set(attribute, value, size);
    return CUBLAS_STATUS_SUCCESS;
}

// One algorithm for all. There is none for sums beside products of float32: who asks must have
// another way, as the library promises them for no more than the narrow types.
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t op,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t, int wanted,
                                              cublasLtMatmulHeuristicResult_t result[], int *found)
{
    Shape s;
    *found = 0;
    const int epilogue = of<Op>(op)->get<cublasLtEpilogue_t>(CUBLASLT_MATMUL_DESC_EPILOGUE);
    if (!shape_of(&s, *of<Op>(op), *of<Layout>(a), *of<Layout>(b), *of<Layout>(c), *of<Layout>(d)))
        return CUBLAS_STATUS_INVALID_VALUE;
    const bool sums = epilogue == CUBLASLT_EPILOGUE_BGRADA || epilogue == CUBLASLT_EPILOGUE_BGRADB;
    if (wanted < 1 || !known(epilogue) || (sums && of<Layout>(a)->type == CUDA_R_32F))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    memset(result, 0, sizeof *result);
    result->algo.data[0] = (uint64_t)epilogue + 1;
    result->state = CUBLAS_STATUS_SUCCESS;
    result->wavesCount = 1;
    *found = 1;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t op, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t la, const void *b,
                              cublasLtMatrixLayout_t lb, const void *beta, const void *c,
                              cublasLtMatrixLayout_t lc, void *d, cublasLtMatrixLayout_t ld,
                              const cublasLtMatmulAlgo_t *algo, void *, size_t, cudaStream_t stream)
{
    Product p{*of<Op>(op),
              *of<Layout>(la),
              *of<Layout>(lb),
              *of<Layout>(lc),
              *of<Layout>(ld),
              *(const float *)alpha,
              *(const float *)beta,
              a,
              b,
              c,
              d};
    Shape s;
    const int epilogue = p.op.get<cublasLtEpilogue_t>(CUBLASLT_MATMUL_DESC_EPILOGUE);
    if (!shape_of(&s, p.op, p.la, p.lb, p.lc, p.ld))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (algo && algo->data[0] != (uint64_t)epilogue + 1)
        emu_fail("cuBLASLt: the algorithm was chosen for another epilogue");
    emu_enqueue(stream, [p] { multiply(p); });
    return CUBLAS_STATUS_SUCCESS;
}
