/* SPDX-License-Identifier: Apache-2.0 */
/* The emulator itself: that it computes as documented, and that it notices what it claims to. */
#include "backend/cuda/mma.cuh"

#include <cublasLt.h>

#include <sys/wait.h>
#include <unistd.h>
#include <vector>

static int failures;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("FAIL %s:%d: %s\n", __FILE__, __LINE__, #condition);                            \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

template <typename T> static std::vector<T> read_back(const T *device, size_t n)
{
    std::vector<T> host(n);
    CHECK(cudaMemcpy(host.data(), device, n * sizeof(T), cudaMemcpyDeviceToHost) == cudaSuccess);
    return host;
}

template <typename T> static T *make(const std::vector<T> &host)
{
    void *p;
    CHECK(cudaMalloc(&p, host.size() * sizeof(T)) == cudaSuccess);
    CHECK(cudaMemcpy(p, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice) ==
          cudaSuccess);
    return (T *)p;
}

/* ---- threads ----------------------------------------------------------------------------------
 */

static __global__ void sums(float *out)
{
    __shared__ float room[32];
    const float x = (float)(threadIdx.x + 1);
    const float sum = vitro_block_sum(x, room);
    const int up = __shfl_up_sync(VITRO_FULL, (int)threadIdx.x, 1);
    const unsigned odd = __ballot_sync(VITRO_FULL, threadIdx.x & 1);
    if (threadIdx.x == 70)
        out[blockIdx.x] = sum + (float)up + (odd == 0xaaaaaaaau ? 0.5f : 0.0f);
}

static void test_threads(void)
{
    float *out = make(std::vector<float>(2));
    VITRO_LAUNCH(sums, 2, 96, 0, nullptr, out);
    const auto got = read_back(out, 2);
    CHECK(got[0] == 96 * 97 / 2 + 69 + 0.5f && got[1] == got[0]);
    cudaFree(out);
}

/* Thread i reads what i - 1 wrote, with or without waiting for it. */
template <bool WAITS> static __global__ void neighbours(int *out)
{
    __shared__ int room[64];
    room[threadIdx.x] = (int)threadIdx.x;
    if (WAITS)
        __syncthreads();
    out[blockIdx.x * 64 + threadIdx.x] = room[(threadIdx.x + 63) % 64];
}

static void test_missing_barrier(void)
{
    for (int waits = 0; waits < 2; waits++) {
        int *out = make(std::vector<int>(128));
        if (waits)
            VITRO_LAUNCH(neighbours<true>, 2, 64, 0, nullptr, out);
        else
            VITRO_LAUNCH(neighbours<false>, 2, 64, 0, nullptr, out);
        const auto got = read_back(out, 128);
        int wrong = 0;
        for (int i = 0; i < 128; i++)
            wrong += got[(size_t)i] != (i + 63) % 64;
        CHECK(waits ? wrong == 0 : wrong > 0);
        cudaFree(out);
    }
}

static __global__ void diverges(void)
{
    if (threadIdx.x < 40)
        __syncthreads();
    else
        __syncwarp();
}

static __global__ void overruns(void)
{
    VITRO_SHARED(float, room);
    room[threadIdx.x] = 1;
}

static __global__ void half_shuffles(int *out)
{
    if (threadIdx.x < 16)
        out[0] = __shfl_xor_sync(VITRO_FULL, 1, 1);
}

static bool dies(void (*body)(void))
{
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(0);
        body();
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_what_it_notices(void)
{
    CHECK(dies([] {
        VITRO_LAUNCH(diverges, 1, 64, 0, nullptr);
        cudaDeviceSynchronize();
    }));
    CHECK(dies([] {
        VITRO_LAUNCH(overruns, 1, 64, 63 * 4, nullptr);
        cudaDeviceSynchronize();
    }));
    CHECK(dies([] {
        int *out = make(std::vector<int>(1));
        VITRO_LAUNCH(half_shuffles, 1, 32, 0, nullptr, out);
        cudaDeviceSynchronize();
    }));
    CHECK(dies([] {
        float *p = make(std::vector<float>(5));
        cudaMemset(p, 0, 24);
        cudaFree(p);
    }));
    CHECK(!dies([] {
        VITRO_LAUNCH(overruns, 1, 64, 64 * 4, nullptr);
        cudaDeviceSynchronize();
    }));
    VITRO_LAUNCH(overruns, 1, 64, 50000, nullptr); /* nobody asked for more than 48 KB */
    CHECK(cudaGetLastError() == cudaErrorInvalidConfiguration && cudaGetLastError() == cudaSuccess);
}

/* ---- tensor cores -----------------------------------------------------------------------------
 */

/* d[16,8] = a[16,16] b[16,8]; b through the turned ldmatrix, or as rows of its transpose. */
static __global__ void product(float *d, const uint16_t *a, const uint16_t *b, const uint16_t *bt)
{
    __shared__ __align__(16) uint16_t room_a[16][16], room_b[16][16], room_bt[16][16];
    const int lane = (int)threadIdx.x, g = lane / 4, c = 2 * (lane % 4);
    vitro_copy16(&room_a[lane / 2][lane % 2 * 8], a + lane * 8, true);
    vitro_copy16(&room_b[lane / 2][lane % 2 * 8], b + lane / 2 * 8, lane % 2 == 0);
    vitro_copy16(&room_bt[lane / 2][lane % 2 * 8], bt + lane * 8, lane < 16);
    vitro_copy_commit();
    const bool early = room_a[lane / 2][lane % 2 * 8] == 0xFFFF; /* nothing there yet */
    vitro_copy_wait<0>();
    __syncwarp();
    uint32_t ra[4], rb[4], rt[4];
    vitro_ldmatrix(ra, &room_a[lane % 16][lane / 16 * 8]);
    vitro_ldmatrix_turned(rb, &room_b[lane % 16][lane / 16 * 8]);
    vitro_ldmatrix(rt, &room_bt[lane % 8 + lane / 16 * 8][lane / 8 % 2 * 8]);
    float one[4] = {}, two[4] = {};
    vitro_mma(one, ra, rb[0], rb[1]);
    vitro_mma(two, ra, rt[0], rt[1]);
    for (int i = 0; i < 4; i++)
        d[(g + i / 2 * 8) * 8 + c + i % 2] = one[i] == two[i] && early ? one[i] : NAN;
}

static void test_product(void)
{
    std::vector<uint16_t> a(256), b(128), bt(128);
    std::vector<float> fa(256), fb(128);
    for (int i = 0; i < 256; i++)
        fa[(size_t)i] = (float)((i * 37 + 11) % 17 - 8);
    for (int i = 0; i < 128; i++)
        fb[(size_t)i] = (float)((i * 29 + 5) % 13 - 6);
    for (size_t i = 0; i < 256; i++)
        a[i] = vitro_to_bf16(fa[i]);
    for (size_t k = 0; k < 16; k++)
        for (size_t n = 0; n < 8; n++)
            b[k * 8 + n] = bt[n * 16 + k] = vitro_to_bf16(fb[k * 8 + n]);
    uint16_t *da = make(a), *db = make(b), *dbt = make(bt);
    float *d = make(std::vector<float>(128));
    VITRO_LAUNCH(product, 1, 32, 0, nullptr, d, da, db, dbt);
    const auto got = read_back(d, 128);
    int wrong = 0;
    for (size_t m = 0; m < 16; m++)
        for (size_t n = 0; n < 8; n++) {
            float sum = 0;
            for (size_t k = 0; k < 16; k++)
                sum += fa[m * 16 + k] * fb[k * 8 + n];
            wrong += got[m * 8 + n] != sum;
        }
    CHECK(wrong == 0);
    for (void *p : {(void *)da, (void *)db, (void *)dbt, (void *)d})
        cudaFree(p);
}

/* ---- streams, graphs --------------------------------------------------------------------------
 */

static __global__ void add_to(int *to, const int *from, int more)
{
    *to += *from + more;
}

static void test_streams(void)
{
    cudaStream_t one, two;
    cudaEvent_t event;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    void *host, *unused;
    int *from = make(std::vector<int>{1}), *to = make(std::vector<int>{0});
    int **pinned = (int **)&host;
    CHECK(cudaHostAlloc(&host, sizeof(int), 0) == cudaSuccess);
    cudaStreamCreate(&one), cudaStreamCreate(&two), cudaEventCreate(&event);

    **pinned = 5; /* a copy from pinned memory reads it when its turn comes, not before */
    cudaMemcpyAsync(from, *pinned, sizeof(int), cudaMemcpyHostToDevice, one);
    **pinned = 6;
    cudaEventRecord(event, one);
    cudaStreamWaitEvent(two, event, 0);
    VITRO_LAUNCH(add_to, 1, 1, 0, two, to, from, 10);
    cudaStreamSynchronize(two);
    CHECK(read_back(to, 1)[0] == 16);

    int more = 100; /* a graph keeps the arguments, and finds memory as it is */
    cudaStreamBeginCapture(one, cudaStreamCaptureModeGlobal);
    VITRO_LAUNCH(add_to, 1, 1, 0, one, to, from, more);
    CHECK(cudaStreamEndCapture(one, &graph) == cudaSuccess);
    more = 200;
    CHECK(read_back(to, 1)[0] == 16);
    cudaGraph_t spoilt;
    cudaStreamBeginCapture(one, cudaStreamCaptureModeThreadLocal);
    CHECK(cudaMalloc(&unused, 4) == cudaErrorStreamCaptureUnsupported);
    CHECK(cudaStreamEndCapture(one, &spoilt) == cudaErrorStreamCaptureInvalidated && !spoilt);
    (void)cudaGetLastError();
    cudaGraphInstantiate(&exec, graph, 0);
    cudaMemset(from, 0, sizeof(int));
    cudaGraphLaunch(exec, one), cudaGraphLaunch(exec, one);
    cudaStreamSynchronize(one);
    CHECK(read_back(to, 1)[0] == 216);
    CHECK(cudaMalloc(&unused, (size_t)1 << 40) == cudaErrorMemoryAllocation);
    (void)cudaGetLastError();

    cudaGraphExecDestroy(exec), cudaGraphDestroy(graph);
    cudaEventDestroy(event), cudaStreamDestroy(one), cudaStreamDestroy(two);
    cudaFree(from), cudaFree(to), cudaFreeHost(host);
}

/* ---- cuBLASLt ---------------------------------------------------------------------------------
 */

/* d[3,2] = a[3,4] b[4,2] + bias, by columns; each operand as it is or turned. */
static void test_cublaslt(bool turn_a, bool turn_b)
{
    std::vector<float> a(12), b(8);
    for (int m = 0; m < 3; m++)
        for (int k = 0; k < 4; k++)
            a[(size_t)(turn_a ? m * 4 + k : k * 3 + m)] = (float)(m + 1) * (float)(k + 2);
    for (int k = 0; k < 4; k++)
        for (int n = 0; n < 2; n++)
            b[(size_t)(turn_b ? k * 2 + n : n * 4 + k)] = (float)(k - 1 + 3 * n);
    float *da = make(a), *db = make(b), *dd = make(std::vector<float>(6));
    float *bias = make(std::vector<float>{100, 200, 300});
    cublasLtMatmulDesc_t op;
    cublasLtMatrixLayout_t la, lb, ld;
    const cublasOperation_t oa = turn_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t ob = turn_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    const float one = 1, none = 0;
    cublasLtMatmulDescCreate(&op, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    cublasLtMatmulDescSetAttribute(op, CUBLASLT_MATMUL_DESC_TRANSA, &oa, sizeof oa);
    cublasLtMatmulDescSetAttribute(op, CUBLASLT_MATMUL_DESC_TRANSB, &ob, sizeof ob);
    cublasLtMatmulDescSetAttribute(op, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    cublasLtMatmulDescSetAttribute(op, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
    cublasLtMatrixLayoutCreate(&la, CUDA_R_32F, turn_a ? 4 : 3, turn_a ? 3 : 4, turn_a ? 4 : 3);
    cublasLtMatrixLayoutCreate(&lb, CUDA_R_32F, turn_b ? 2 : 4, turn_b ? 4 : 2, turn_b ? 2 : 4);
    cublasLtMatrixLayoutCreate(&ld, CUDA_R_32F, 3, 2, 3);
    CHECK(cublasLtMatmul(nullptr, op, &one, da, la, db, lb, &none, dd, ld, dd, ld, nullptr, nullptr,
                         0, nullptr) == CUBLAS_STATUS_SUCCESS);
    const auto got = read_back(dd, 6);
    for (int m = 0; m < 3; m++)
        for (int n = 0; n < 2; n++) {
            float sum = 100 * (float)(m + 1);
            for (int k = 0; k < 4; k++)
                sum += (float)(m + 1) * (float)(k + 2) * (float)(k - 1 + 3 * n);
            CHECK(got[(size_t)(n * 3 + m)] == sum);
        }
    cublasLtMatmulDescDestroy(op);
    cublasLtMatrixLayoutDestroy(la), cublasLtMatrixLayoutDestroy(lb);
    cublasLtMatrixLayoutDestroy(ld);
    for (void *p : {(void *)da, (void *)db, (void *)dd, (void *)bias})
        cudaFree(p);
}

int main(void)
{
    test_threads();
    test_missing_barrier();
    test_what_it_notices();
    test_product();
    test_streams();
    for (int turned = 0; turned < 4; turned++)
        test_cublaslt(turned & 1, turned & 2);
    if (!failures)
        printf("the CUDA emulator computes as documented and notices what it should\n");
    return failures != 0;
}
