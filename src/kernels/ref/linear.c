/* SPDX-License-Identifier: Apache-2.0 */
/* The linear layer (torch.nn.Linear) with all that may follow it before the result is stored:
 *
 *     pre = x w^T + b        y = residual + path * scale * drop * act(pre)
 *
 * Here `scale` is LayerScale's factor of each column (Touvron et al., arXiv:2103.17239), `drop` is
 * dropout's factor of each element, and `path` that of stochastic depth: one for all rows of an
 * image (Huang et al., arXiv:1603.09382; DropPath in the original). */
#include "kernels/ref/ref.h"

/* path * drop for column n of row m of a product that is N wide. */
static double drop_factor(const VitroEpilogue *e, int64_t N, int64_t m, int64_t n)
{
    int64_t b = m / e->rows_per_sample, row = m % e->rows_per_sample;
    return vitro_ref_drop(&e->path, b, 0) * vitro_ref_drop(&e->dropout, b, row * N + n);
}

/* dy/dpre there. Without an activation, pre need not have been kept. */
static double epilogue_slope(const VitroEpilogue *e, int64_t N, int64_t m, int64_t n)
{
    double slope =
        e->act == VITRO_ACT_NONE ? 1 : vitro_ref_act_slope(e->act, get(e->pre, m * N + n));
    return drop_factor(e, N, m, n) * slope * (e->scale.data ? get(e->scale, n) : 1);
}

void vitro_ref_linear(VitroTensor y, VitroTensor x, const VitroWeight *weight,
                      const VitroEpilogue *epilogue, int64_t m)
{
    VitroTensor w = weight->w, b = weight->b;
    int64_t N = w.dim[0], K = w.dim[1];
    for (int64_t n = 0; n < N; n++) {
        double pre = b.data ? get(b, n) : 0;
        for (int64_t k = 0; k < K; k++)
            pre += get(x, m * K + k) * get(w, n * K + k);
        if (epilogue->pre.data)
            put(epilogue->pre, m * N + n, pre);
        double value = drop_factor(epilogue, N, m, n) * vitro_ref_act(epilogue->act, pre);
        if (epilogue->scale.data)
            value *= get(epilogue->scale, n);
        if (epilogue->residual.data)
            value += get(epilogue->residual, m * N + n);
        put(y, m * N + n, value);
    }
}

void vitro_ref_epilogue_backward(VitroTensor dpre, VitroTensor dy, const VitroEpilogue *epilogue,
                                 int64_t m)
{
    int64_t N = vitro_tensor_cols(&dy);
    for (int64_t n = 0; n < N; n++)
        put(dpre, m * N + n, get(dy, m * N + n) * epilogue_slope(epilogue, N, m, n));
}

void vitro_ref_scale_backward(VitroTensor dscale, VitroTensor dy, const VitroEpilogue *epilogue,
                              int64_t n)
{
    int64_t M = vitro_tensor_rows(&dy), N = vitro_tensor_cols(&dy);
    double sum = 0;
    for (int64_t m = 0; m < M; m++)
        sum += get(dy, m * N + n) * drop_factor(epilogue, N, m, n) *
               vitro_ref_act(epilogue->act, get(epilogue->pre, m * N + n));
    add_to(dscale, n, sum);
}

void vitro_ref_linear_backward_x(VitroTensor dx, VitroTensor dpre, VitroTensor w,
                                 const VitroEpilogue *through, int64_t m)
{
    int64_t N = w.dim[0], K = w.dim[1];
    for (int64_t k = 0; k < K; k++) {
        double sum = 0;
        for (int64_t n = 0; n < N; n++)
            sum += get(dpre, m * N + n) * get(w, n * K + k);
        put(dx, m * K + k, through ? sum * epilogue_slope(through, K, m, k) : sum);
    }
}

void vitro_ref_linear_backward_w(VitroTensor dw, VitroTensor db, VitroTensor dpre, VitroTensor x,
                                 int64_t n)
{
    int64_t M = vitro_tensor_rows(&x), N = dw.dim[0], K = dw.dim[1];
    for (int64_t k = 0; k < K; k++) {
        double sum = 0;
        for (int64_t m = 0; m < M; m++)
            sum += get(dpre, m * N + n) * get(x, m * K + k);
        add_to(dw, n * K + k, sum);
    }
    if (db.data) {
        double sum = 0;
        for (int64_t m = 0; m < M; m++)
            sum += get(dpre, m * N + n);
        add_to(db, n, sum);
    }
}
