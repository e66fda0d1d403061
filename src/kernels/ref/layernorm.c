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
