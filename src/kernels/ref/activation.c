/* SPDX-License-Identifier: Apache-2.0 */
/* Activations and their derivatives. GELU: Hendrycks and Gimpel, arXiv:1606.08415; both of its
 * forms as torch.nn.functional.gelu defines them (approximate='none' and 'tanh'), and CLIP's
 * QuickGELU, x sigmoid(1.702 x). */
#include <math.h>

#include "kernels/ref/ref.h"

static const double sqrt_half = 0.70710678118654752440;       /* 1/sqrt(2) */
static const double sqrt_2_over_pi = 0.79788456080286535588;  /* sqrt(2/pi) */
static const double inv_sqrt_two_pi = 0.39894228040143267794; /* 1/sqrt(2 pi) */
static const double cubic = 0.044715;
static const double quick = 1.702;

double vitro_ref_act(VitroAct act, double x)
{
    switch (act) {
    case VITRO_ACT_NONE:
        return x;
    case VITRO_ACT_GELU:
        return 0.5 * x * (1 + erf(x * sqrt_half));
    case VITRO_ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt_2_over_pi * (x + cubic * x * x * x)));
    case VITRO_ACT_TANH:
        return tanh(x);
    case VITRO_ACT_GELU_QUICK:
        return x / (1 + exp(-quick * x));
    }
    return NAN; /* no such activation */
}

double vitro_ref_act_slope(VitroAct act, double x)
{
    switch (act) {
    case VITRO_ACT_NONE:
        return 1;
    case VITRO_ACT_GELU: /* Phi(x) + x phi(x) */
        return 0.5 * (1 + erf(x * sqrt_half)) + x * inv_sqrt_two_pi * exp(-0.5 * x * x);
    case VITRO_ACT_GELU_TANH: {
        double t = tanh(sqrt_2_over_pi * (x + cubic * x * x * x));
        double dt = (1 - t * t) * sqrt_2_over_pi * (1 + 3 * cubic * x * x);
        return 0.5 * (1 + t) + 0.5 * x * dt;
    }
    case VITRO_ACT_TANH: {
        double t = tanh(x);
        return 1 - t * t;
    }
    case VITRO_ACT_GELU_QUICK: {
        double s = 1 / (1 + exp(-quick * x));
        return s + quick * x * s * (1 - s);
    }
    }
    return NAN; /* no such activation */
}
