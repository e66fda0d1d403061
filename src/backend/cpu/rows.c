/* SPDX-License-Identifier: Apache-2.0 */
/* LayerNorm, the loss and the optimizers: passes over rows or flat ranges, at memory speed. */
#include "backend/cpu/cpu_int.h"

#include <assert.h>
#include <math.h>
#include <omp.h>
#include <string.h>

/* ---- layer norm ------------------------------------------------------------------------------
 */

VitroStatus vitro_cpu_layernorm(VitroDevice *dev, VitroTensor y, VitroTensor mean, VitroTensor rstd,
                                VitroTensor x, VitroTensor gamma, VitroTensor beta, double eps)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const int64_t M = vitro_tensor_rows(&x), N = vitro_tensor_cols(&x);
    const int64_t wide = vitro_round_up(N, 16);
    void *memory = NULL; /* a row of float32 for each thread, where y is narrower */
    VITRO_TRY(
        vitro_scratch(&memory, VITRO_SCRATCH_OP, (size_t)(dev->threads * wide) * sizeof(float)));
    PARALLEL(M * N)
    for (int64_t m = 0; m < M; m++) {
        float *row = y.dtype == VITRO_F32 ? vitro_f32_at(y, m * N)
                                          : (float *)memory + omp_get_thread_num() * wide;
        kernels->layernorm(row, mean.data ? (float *)mean.data + m : NULL,
                           rstd.data ? (float *)rstd.data + m : NULL, (float *)x.data + m * N,
                           gamma.data, beta.data, N, (float)eps);
        vitro_cpu_put(kernels, y, m * N, row, N);
    }
    return VITRO_OK;
}

VitroStatus vitro_cpu_layernorm_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dgamma,
                                         VitroTensor dbeta, VitroTensor add, VitroTensor dy,
                                         VitroTensor x, VitroTensor mean, VitroTensor rstd,
                                         VitroTensor gamma)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const int64_t M = vitro_tensor_rows(&x), N = vitro_tensor_cols(&x);
    const int64_t pieces = vitro_cpu_pieces(M);
    const bool train = dgamma.data || dbeta.data;
    void *memory = NULL;
    VITRO_TRY(vitro_scratch(&memory, VITRO_SCRATCH_OP, (size_t)(pieces * 2 * N) * sizeof(float)));
    float *partial = memory; /* [pieces][2][N]: of dgamma and of dbeta */
    PARALLEL(M * N)
    for (int64_t i = 0; i < pieces; i++) {
        float *g = train ? partial + i * 2 * N : NULL, *b = train ? g + N : NULL;
        if (train)
            memset(g, 0, (size_t)(2 * N) * sizeof *g);
        for (int64_t m = i * M / pieces; m < (i + 1) * M / pieces; m++)
            kernels->layernorm_backward(
                (float *)dx.data + m * N, g, b, add.data ? (float *)add.data + m * N : NULL,
                (float *)dy.data + m * N, (float *)x.data + m * N, ((float *)mean.data)[m],
                ((float *)rstd.data)[m], gamma.data, N);
    }
    if (dgamma.data)
        kernels->add_rows(dgamma.data, partial, 2 * N, pieces, N);
    if (dbeta.data)
        kernels->add_rows(dbeta.data, partial + N, 2 * N, pieces, N);
    return VITRO_OK;
}

/* ---- layer norm of heads ----------------------------------------------------------------------
 */

VitroStatus vitro_cpu_head_norm(VitroDevice *dev, VitroTensor y, VitroTensor mean, VitroTensor rstd,
                                VitroTensor x, VitroTensor gamma, VitroTensor beta, double eps,
                                int64_t first, int64_t heads)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const int64_t M = vitro_tensor_rows(&x), N = vitro_tensor_cols(&x), Dh = gamma.dim[0];
    const int64_t wide = vitro_round_up(Dh, 16);
    const size_t row_bytes = (size_t)N * vitro_dtype_size(x.dtype);
    void *memory = NULL; /* a head of x and one of y for each thread */
    VITRO_TRY(vitro_scratch(&memory, VITRO_SCRATCH_OP,
                            (size_t)(dev->threads * 2 * wide) * sizeof(float)));
    PARALLEL(M * N)
    for (int64_t m = 0; m < M; m++) {
        float *from = (float *)memory + omp_get_thread_num() * 2 * wide, *to = from + wide;
        if (y.data != x.data)
            memcpy((uint8_t *)y.data + (size_t)m * row_bytes,
                   (uint8_t *)x.data + (size_t)m * row_bytes, row_bytes);
        for (int64_t h = 0; h < heads; h++) {
            const int64_t at = m * N + first + h * Dh, i = m * heads + h;
            vitro_cpu_get(kernels, from, x, at, Dh);
            kernels->layernorm(to, mean.data ? (float *)mean.data + i : NULL,
                               rstd.data ? (float *)rstd.data + i : NULL, from, gamma.data,
                               beta.data, Dh, (float)eps);
            vitro_cpu_put(kernels, y, at, to, Dh);
        }
    }
    return VITRO_OK;
}

VitroStatus vitro_cpu_head_norm_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dgamma,
                                         VitroTensor dbeta, VitroTensor x, VitroTensor mean,
                                         VitroTensor rstd, VitroTensor gamma, int64_t first,
                                         int64_t heads)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const int64_t M = vitro_tensor_rows(&x), N = vitro_tensor_cols(&x), Dh = gamma.dim[0];
    const int64_t pieces = vitro_cpu_pieces(M), wide = vitro_round_up(Dh, 16);
    const bool train = dgamma.data || dbeta.data;
    void *memory = NULL;
    VITRO_TRY(vitro_scratch(&memory, VITRO_SCRATCH_OP,
                            (size_t)((2 * pieces + 3 * dev->threads) * wide) * sizeof(float)));
    float *partial = memory; /* [pieces][2][wide]: of dgamma and of dbeta */
    float *room = partial + 2 * pieces * wide;
    PARALLEL(M * N)
    for (int64_t p = 0; p < pieces; p++) {
        float *g = train ? partial + p * 2 * wide : NULL, *b = train ? g + wide : NULL;
        float *d = room + omp_get_thread_num() * 3 * wide, *from = d + wide, *to = from + wide;
        if (train)
            memset(g, 0, (size_t)(2 * wide) * sizeof *g);
        for (int64_t i = p * M / pieces * heads; i < (p + 1) * M / pieces * heads; i++) {
            const int64_t at = i / heads * N + first + i % heads * Dh;
            vitro_cpu_get(kernels, d, dx, at, Dh);
            vitro_cpu_get(kernels, from, x, at, Dh);
            kernels->layernorm_backward(to, g, b, NULL, d, from, ((float *)mean.data)[i],
                                        ((float *)rstd.data)[i], gamma.data, Dh);
            vitro_cpu_put(kernels, dx, at, to, Dh);
        }
    }
    if (dgamma.data)
        kernels->add_rows(dgamma.data, partial, 2 * wide, pieces, Dh);
    if (dbeta.data)
        kernels->add_rows(dbeta.data, partial + wide, 2 * wide, pieces, Dh);
    return VITRO_OK;
}

/* ---- cross entropy ----------------------------------------------------------------------------
 */

/* In double: there are few logits, and the loss is compared to many digits. */
static double cross_entropy_row(int32_t *best, float *dlogits, const float *logits, int64_t K,
                                int32_t label, double smoothing, double grad_scale)
{
    int64_t largest = 0;
    for (int64_t k = 1; k < K; k++)
        if (logits[k] > logits[largest])
            largest = k;
    *best = (int32_t)largest;

    const double max = logits[largest];
    double sum_exp = 0, sum = 0;
    for (int64_t k = 0; k < K; k++) {
        sum_exp += exp(logits[k] - max);
        sum += logits[k];
    }
    const double lse = max + log(sum_exp); /* -log p_k = lse - logits[k] */
    if (dlogits) {
        const double rest = smoothing / (double)K;
        for (int64_t k = 0; k < K; k++)
            dlogits[k] = (float)(grad_scale * (exp(logits[k] - lse) - rest));
        dlogits[label] = (float)(grad_scale * (exp(logits[label] - lse) - rest - (1 - smoothing)));
    }
    return (1 - smoothing) * (lse - logits[label]) + smoothing * (lse - sum / (double)K);
}

VitroStatus vitro_cpu_cross_entropy(VitroDevice *dev, double *losses, int32_t *best,
                                    VitroTensor dlogits, VitroTensor logits, const int32_t *labels,
                                    double smoothing, double grad_scale)
{
    const int64_t B = logits.dim[0], K = logits.dim[1];
    PARALLEL(16 * B * K)
    for (int64_t b = 0; b < B; b++) {
        assert(labels[b] >= 0 && labels[b] < K);
        losses[b] =
            cross_entropy_row(&best[b], dlogits.data ? (float *)dlogits.data + b * K : NULL,
                              (float *)logits.data + b * K, K, labels[b], smoothing, grad_scale);
    }
    return VITRO_OK;
}

/* ---- flat ranges --------------------------------------------------------------------------------
 */

enum { RANGE = 1 << 16 }; /* elements dealt out at a time */

VitroStatus vitro_cpu_sum_of_squares(VitroDevice *dev, double *host_out, VitroTensor g)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const int64_t n = vitro_tensor_count(&g), ranges = (n + RANGE - 1) / RANGE;
    void *memory = NULL;
    VITRO_TRY(vitro_scratch(&memory, VITRO_SCRATCH_OP, (size_t)ranges * sizeof(double)));
    double *partial = memory, total = 0;
    PARALLEL(n)
    for (int64_t i = 0; i < ranges; i++) {
        const int64_t at = i * RANGE, count = n - at < RANGE ? n - at : RANGE;
        partial[i] = kernels->sum_of_squares((float *)g.data + at, count);
    }
    for (int64_t i = 0; i < ranges; i++)
        total += partial[i];
    *host_out = total;
    return VITRO_OK;
}

VitroStatus vitro_cpu_sgd(VitroDevice *dev, VitroTensor param, VitroTensor grad,
                          VitroTensor momentum, const VitroOptimStep *step)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const VitroSgdNumbers s = {.lr = (float)step->lr,
                               .weight_decay = (float)step->weight_decay,
                               .grad_scale = (float)step->grad_scale,
                               .momentum = (float)step->momentum};
    const int64_t n = vitro_tensor_count(&param), ranges = (n + RANGE - 1) / RANGE;
    PARALLEL(n)
    for (int64_t i = 0; i < ranges; i++) {
        const int64_t at = i * RANGE, count = n - at < RANGE ? n - at : RANGE;
        kernels->sgd((float *)param.data + at, (float *)grad.data + at, (float *)momentum.data + at,
                     count, &s);
    }
    return VITRO_OK;
}

VitroStatus vitro_cpu_adamw(VitroDevice *dev, VitroTensor param, VitroTensor grad, VitroTensor m,
                            VitroTensor v, const VitroOptimStep *step)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const VitroAdamwNumbers s = {.step_size = (float)(step->lr / step->correction1),
                                 .decay = (float)(1 - step->lr * step->weight_decay),
                                 .grad_scale = (float)step->grad_scale,
                                 .beta1 = (float)step->beta1,
                                 .one_minus_beta1 = (float)(1 - step->beta1),
                                 .beta2 = (float)step->beta2,
                                 .one_minus_beta2 = (float)(1 - step->beta2),
                                 .inv_sqrt_c2 = (float)(1 / sqrt(step->correction2)),
                                 .eps = (float)step->eps};
    const int64_t n = vitro_tensor_count(&param), ranges = (n + RANGE - 1) / RANGE;
    PARALLEL(n)
    for (int64_t i = 0; i < ranges; i++) {
        const int64_t at = i * RANGE, count = n - at < RANGE ? n - at : RANGE;
        kernels->adamw((float *)param.data + at, (float *)grad.data + at, (float *)m.data + at,
                       (float *)v.data + at, count, &s);
    }
    return VITRO_OK;
}
