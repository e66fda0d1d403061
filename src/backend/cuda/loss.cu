/* SPDX-License-Identifier: Apache-2.0 */
/* The loss, as kernels/ref/loss.c, and what acts on flat ranges: sums of squares and the
 * optimizers, as the CPU's. */
#include "backend/cuda/cuda_common.cuh"

enum { THREADS = 256, WARPS = THREADS / VITRO_WARP, LOSS_THREADS = 256 };

/* ---- cross entropy, in double: there are few logits, and the loss is compared to many digits
 * ----- */

/* The larger logit, and of equal ones the first; k < 0 is none. */
static __device__ __forceinline__ void take_larger(float *x, int32_t *k, float y, int32_t j)
{
    if (j >= 0 && (*k < 0 || y > *x || (y == *x && j < *k))) {
        *x = y;
        *k = j;
    }
}

typedef struct Loss {
    double *losses;
    int32_t *best;
    float *dlogits;
    const float *logits;
    const int32_t *labels;
    double smoothing, grad_scale;
    int64_t K;
} Loss;

static __global__ void __launch_bounds__(LOSS_THREADS) cross_entropy_kernel(Loss l)
{
    __shared__ double room[VITRO_WARP];
    __shared__ float room_x[WARPS];
    __shared__ int32_t room_k[WARPS];
    const int64_t b = blockIdx.x, K = l.K;
    const int lane = threadIdx.x % VITRO_WARP, warp = threadIdx.x / VITRO_WARP;
    const float *logits = l.logits + b * K;
    float largest = 0;
    int32_t best = -1;
    for (int64_t k = threadIdx.x; k < K; k += LOSS_THREADS)
        take_larger(&largest, &best, logits[k], (int32_t)k);
    for (int offset = VITRO_WARP / 2; offset > 0; offset /= 2) {
        const float x = __shfl_xor_sync(VITRO_FULL, largest, offset);
        const int32_t k = __shfl_xor_sync(VITRO_FULL, best, offset);
        take_larger(&largest, &best, x, k);
    }
    if (lane == 0) {
        room_x[warp] = largest;
        room_k[warp] = best;
    }
    __syncthreads();
    for (int w = 0; w < WARPS; w++)
        take_larger(&largest, &best, room_x[w], room_k[w]);

    const double max = largest;
    double sum_exp = 0, sum = 0;
    for (int64_t k = threadIdx.x; k < K; k += LOSS_THREADS) {
        sum_exp += exp((double)logits[k] - max);
        sum += (double)logits[k];
    }
    sum_exp = vitro_block_sum(sum_exp, room);
    sum = vitro_block_sum(sum, room);
    const double lse = max + log(sum_exp); /* -log p_k = lse - logits[k] */
    const int32_t label = l.labels[b];
    if (l.dlogits) {
        const double rest = l.smoothing / (double)K;
        for (int64_t k = threadIdx.x; k < K; k += LOSS_THREADS) {
            const double target = rest + (k == label ? 1 - l.smoothing : 0);
            l.dlogits[b * K + k] = (float)(l.grad_scale * (exp((double)logits[k] - lse) - target));
        }
    }
    if (threadIdx.x == 0) {
        l.best[b] = best;
        l.losses[b] = (1 - l.smoothing) * (lse - (double)logits[label]) +
                      l.smoothing * (lse - sum / (double)K);
    }
}

VitroStatus vitro_cuda_cross_entropy(void *stream, double *losses, int32_t *best, float *dlogits,
                                     const float *logits, const int32_t *labels, double smoothing,
                                     double grad_scale, int64_t B, int64_t K)
{
    Loss l;
    l.losses = losses, l.best = best, l.dlogits = dlogits, l.logits = logits, l.labels = labels;
    l.smoothing = smoothing, l.grad_scale = grad_scale, l.K = K;
    VITRO_LAUNCH(cross_entropy_kernel, (unsigned)B, LOSS_THREADS, 0, stream, l);
    return vitro_cuda_launched("cross_entropy");
}

/* ---- sum of squares ---------------------------------------------------------------------------
 */

static __global__ void __launch_bounds__(THREADS)
    squares_kernel(double *partial, const float *g, int64_t n, bool aligned)
{
    __shared__ double room[VITRO_WARP];
    const int64_t step = (int64_t)VITRO_CUDA_SUM_BLOCKS * THREADS * 8;
    double sum = 0;
    for (int64_t at = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * 8; at < n; at += step) {
        const int count = n - at < 8 ? (int)(n - at) : 8;
        const VitroEight e = vitro_load(g, VITRO_F32, at, count, aligned && count == 8);
#pragma unroll
        for (int i = 0; i < 8; i++)
            sum += (double)e.v[i] * (double)e.v[i];
    }
    sum = vitro_block_sum(sum, room);
    if (threadIdx.x == 0)
        partial[blockIdx.x] = sum;
}

static __global__ void __launch_bounds__(THREADS) total_kernel(double *out, const double *partial)
{
    __shared__ double room[VITRO_WARP];
    double sum = 0;
    for (int i = threadIdx.x; i < VITRO_CUDA_SUM_BLOCKS; i += THREADS)
        sum += partial[i];
    sum = vitro_block_sum(sum, room);
    if (threadIdx.x == 0)
        *out = sum;
}

VitroStatus vitro_cuda_sum_of_squares(void *stream, double *out, const float *g, int64_t n,
                                      double *workspace)
{
    VITRO_LAUNCH(squares_kernel, VITRO_CUDA_SUM_BLOCKS, THREADS, 0, stream, workspace, g, n,
                 vitro_aligned16(g));
    VITRO_TRY(vitro_cuda_launched("squares"));
    VITRO_LAUNCH(total_kernel, 1, THREADS, 0, stream, out, workspace);
    return vitro_cuda_launched("total");
}

/* ---- optimizers ---------------------------------------------------------------------------------
 */

/* Threads go over the range in steps, so that each makes the step's numbers once. */
enum { OPTIM_BLOCKS = 2048 };

static inline unsigned optim_blocks(int64_t n)
{
    const int64_t blocks = (n + THREADS * 8 - 1) / (THREADS * 8);
    return (unsigned)(blocks < (int64_t)OPTIM_BLOCKS ? blocks : (int64_t)OPTIM_BLOCKS);
}

static __global__ void __launch_bounds__(THREADS)
    sgd_kernel(float *param, const float *grad, float *momentum, int64_t n,
               const VitroOptimStep *step, bool aligned)
{
    const float lr = (float)step->lr, decay = (float)step->weight_decay;
    const float scale = (float)step->grad_scale, keep = (float)step->momentum;
    const int64_t stride = (int64_t)gridDim.x * THREADS * 8;
    for (int64_t at = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * 8; at < n; at += stride) {
        const int count = n - at < 8 ? (int)(n - at) : 8;
        const bool wide = aligned && count == 8;
        VitroEight p = vitro_load(param, VITRO_F32, at, count, wide);
        const VitroEight g = vitro_load(grad, VITRO_F32, at, count, wide);
        VitroEight m = vitro_load(momentum, VITRO_F32, at, count, wide);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            m.v[i] = keep * m.v[i] + (scale * g.v[i] + decay * p.v[i]);
            p.v[i] -= lr * m.v[i];
        }
        vitro_store(momentum, VITRO_F32, at, m, count, wide);
        vitro_store(param, VITRO_F32, at, p, count, wide);
    }
}

VitroStatus vitro_cuda_sgd(void *stream, float *param, const float *grad, float *momentum,
                           int64_t n, const VitroOptimStep *step)
{
    const bool aligned =
        vitro_aligned16(param) && vitro_aligned16(grad) && vitro_aligned16(momentum);
    VITRO_LAUNCH(sgd_kernel, optim_blocks(n), THREADS, 0, stream, param, grad, momentum, n, step,
                 aligned);
    return vitro_cuda_launched("sgd");
}

static __global__ void __launch_bounds__(THREADS)
    adamw_kernel(float *param, const float *grad, float *m, float *v, int64_t n,
                 const VitroOptimStep *step, bool aligned)
{
    const float step_size = (float)(step->lr / step->correction1);
    const float decay = (float)(1 - step->lr * step->weight_decay);
    const float scale = (float)step->grad_scale, eps = (float)step->eps;
    const float beta1 = (float)step->beta1, rest1 = (float)(1 - step->beta1);
    const float beta2 = (float)step->beta2, rest2 = (float)(1 - step->beta2);
    const float inv_sqrt_c2 = (float)(1 / sqrt(step->correction2));
    const int64_t stride = (int64_t)gridDim.x * THREADS * 8;
    for (int64_t at = ((int64_t)blockIdx.x * THREADS + threadIdx.x) * 8; at < n; at += stride) {
        const int count = n - at < 8 ? (int)(n - at) : 8;
        const bool wide = aligned && count == 8;
        VitroEight p = vitro_load(param, VITRO_F32, at, count, wide);
        const VitroEight g = vitro_load(grad, VITRO_F32, at, count, wide);
        VitroEight first = vitro_load(m, VITRO_F32, at, count, wide);
        VitroEight second = vitro_load(v, VITRO_F32, at, count, wide);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const float gi = scale * g.v[i];
            first.v[i] = beta1 * first.v[i] + rest1 * gi;
            second.v[i] = beta2 * second.v[i] + rest2 * gi * gi;
            const float denominator = sqrtf(second.v[i]) * inv_sqrt_c2 + eps;
            p.v[i] = p.v[i] * decay - step_size * first.v[i] / denominator;
        }
        vitro_store(m, VITRO_F32, at, first, count, wide);
        vitro_store(v, VITRO_F32, at, second, count, wide);
        vitro_store(param, VITRO_F32, at, p, count, wide);
    }
}

VitroStatus vitro_cuda_adamw(void *stream, float *param, const float *grad, float *m, float *v,
                             int64_t n, const VitroOptimStep *step)
{
    const bool aligned =
        vitro_aligned16(param) && vitro_aligned16(grad) && vitro_aligned16(m) && vitro_aligned16(v);
    VITRO_LAUNCH(adamw_kernel, optim_blocks(n), THREADS, 0, stream, param, grad, m, v, n, step,
                 aligned);
    return vitro_cuda_launched("adamw");
}
