/* SPDX-License-Identifier: Apache-2.0 */
/* LayerNorm (Ba et al., arXiv:1607.06450) as torch.nn.LayerNorm computes it: biased variance, eps
 * inside the root.
 *
 *     xhat = (x - mean) rstd      y = xhat gamma + beta      rstd = 1/sqrt(var + eps) */
#include <math.h>

#include "kernels/ref/ref.h"

void vitro_ref_layernorm(VitroTensor y, VitroTensor mean, VitroTensor rstd, VitroTensor x,
                         VitroTensor gamma, VitroTensor beta, double eps, int64_t m)
{
    int64_t D = vitro_tensor_cols(&x);
    double sum = 0;
    for (int64_t d = 0; d < D; d++)
        sum += get(x, m * D + d);
    double mu = sum / (double)D;

    double squares = 0;
    for (int64_t d = 0; d < D; d++) {
        double centered = get(x, m * D + d) - mu;
        squares += centered * centered;
    }
    double r = 1 / sqrt(squares / (double)D + eps);

    for (int64_t d = 0; d < D; d++)
        put(y, m * D + d, (get(x, m * D + d) - mu) * r * get(gamma, d) + get(beta, d));
    if (mean.data)
        put(mean, m, mu);
    if (rstd.data)
        put(rstd, m, r);
}

/* With g = dy gamma, the gradient with respect to xhat:
 *     dx = rstd (g - mean(g) - xhat mean(g xhat)) */
void vitro_ref_layernorm_backward_x(VitroTensor dx, VitroTensor add, VitroTensor dy, VitroTensor x,
                                    VitroTensor mean, VitroTensor rstd, VitroTensor gamma,
                                    int64_t m)
{
    int64_t D = vitro_tensor_cols(&x);
    double mu = get(mean, m), r = get(rstd, m);
    double sum_g = 0, sum_g_xhat = 0;
    for (int64_t d = 0; d < D; d++) {
        double g = get(dy, m * D + d) * get(gamma, d);
        sum_g += g;
        sum_g_xhat += g * (get(x, m * D + d) - mu) * r;
    }
    for (int64_t d = 0; d < D; d++) {
        double g = get(dy, m * D + d) * get(gamma, d);
        double xhat = (get(x, m * D + d) - mu) * r;
        double value = r * (g - sum_g / (double)D - xhat * sum_g_xhat / (double)D);
        if (add.data)
            value += get(add, m * D + d);
        put(dx, m * D + d, value);
    }
}

void vitro_ref_layernorm_backward_w(VitroTensor dgamma, VitroTensor dbeta, VitroTensor dy,
                                    VitroTensor x, VitroTensor mean, VitroTensor rstd, int64_t d)
{
    int64_t M = vitro_tensor_rows(&x), D = vitro_tensor_cols(&x);
    double sum_gamma = 0, sum_beta = 0;
    for (int64_t m = 0; m < M; m++) {
        double xhat = (get(x, m * D + d) - get(mean, m)) * get(rstd, m);
        sum_gamma += get(dy, m * D + d) * xhat;
        sum_beta += get(dy, m * D + d);
    }
    if (dgamma.data)
        add_to(dgamma, d, sum_gamma);
    if (dbeta.data)
        add_to(dbeta, d, sum_beta);
}

/* ---- heads: the same over pieces of a row ---------------------------------------------------- */

/* Piece h of `heads` in row m, Dh = gamma's length, begins at element at. */
static int64_t head_at(const VitroTensor *x, VitroTensor gamma, int64_t first, int64_t m, int64_t h)
{
    return m * vitro_tensor_cols(x) + first + h * gamma.dim[0];
}

/* A head as a tensor of one row, and its statistics as tensors of one number. */
static VitroTensor piece(VitroTensor t, int64_t at, int64_t n)
{
    if (!t.data)
        return t;
    uint8_t *data = (uint8_t *)t.data + (size_t)at * vitro_dtype_size(t.dtype);
    return vitro_tensor2(data, t.dtype, 1, n);
}

void vitro_ref_head_norm(VitroTensor y, VitroTensor mean, VitroTensor rstd, VitroTensor x,
                         VitroTensor gamma, VitroTensor beta, double eps, int64_t first,
                         int64_t heads, int64_t m)
{
    int64_t N = vitro_tensor_cols(&x), Dh = gamma.dim[0];
    for (int64_t n = 0; n < N && y.data != x.data; n++)
        put(y, m * N + n, get(x, m * N + n));
    for (int64_t h = 0; h < heads; h++) {
        int64_t at = head_at(&x, gamma, first, m, h);
        vitro_ref_layernorm(piece(y, at, Dh), piece(mean, m * heads + h, 1),
                            piece(rstd, m * heads + h, 1), piece(x, at, Dh), gamma, beta, eps, 0);
    }
}

void vitro_ref_head_norm_backward_w(VitroTensor dgamma, VitroTensor dbeta, VitroTensor dy,
                                    VitroTensor x, VitroTensor mean, VitroTensor rstd,
                                    VitroTensor gamma, int64_t first, int64_t heads, int64_t d)
{
    double sum_gamma = 0, sum_beta = 0;
    for (int64_t m = 0; m < vitro_tensor_rows(&x); m++)
        for (int64_t h = 0; h < heads; h++) {
            int64_t at = head_at(&x, gamma, first, m, h) + d;
            double xhat = (get(x, at) - get(mean, m * heads + h)) * get(rstd, m * heads + h);
            sum_gamma += get(dy, at) * xhat;
            sum_beta += get(dy, at);
        }
    if (dgamma.data)
        add_to(dgamma, d, sum_gamma);
    if (dbeta.data)
        add_to(dbeta, d, sum_beta);
}

void vitro_ref_head_norm_backward_x(VitroTensor dx, VitroTensor x, VitroTensor mean,
                                    VitroTensor rstd, VitroTensor gamma, int64_t first,
                                    int64_t heads, int64_t m)
{
    int64_t Dh = gamma.dim[0];
    for (int64_t h = 0; h < heads; h++) {
        int64_t at = head_at(&x, gamma, first, m, h);
        VitroTensor d = piece(dx, at, Dh);
        /* each element of dx is read for the last time just before it is written */
        vitro_ref_layernorm_backward_x(d, VITRO_NO_TENSOR, d, piece(x, at, Dh),
                                       piece(mean, m * heads + h, 1), piece(rstd, m * heads + h, 1),
                                       gamma, 0);
    }
}
