/* SPDX-License-Identifier: Apache-2.0 */
/* One parameter's step. The numbers that are the same for all come from VitroOptimStep. */
#include <math.h>

#include "kernels/ref/ref.h"

/* torch.optim.SGD: weight decay is part of the gradient; the learning rate stays outside the
 * momentum, which starts at 0 (PyTorch's first step, buf = g, is the same thing). */
void vitro_ref_sgd(VitroTensor param, VitroTensor grad, VitroTensor momentum,
                   const VitroOptimStep *step, int64_t i)
{
    double g = step->grad_scale * get(grad, i) + step->weight_decay * get(param, i);
    double buf = step->momentum * get(momentum, i) + g;
    put(momentum, i, buf);
    put(param, i, get(param, i) - step->lr * buf);
}

/* torch.optim.AdamW (Loshchilov and Hutter, arXiv:1711.05101): weight decay acts on the parameter
 * directly; eps is added after the bias correction of v. */
void vitro_ref_adamw(VitroTensor param, VitroTensor grad, VitroTensor m, VitroTensor v,
                     const VitroOptimStep *step, int64_t i)
{
    double g = step->grad_scale * get(grad, i);
    double m_i = step->beta1 * get(m, i) + (1 - step->beta1) * g;
    double v_i = step->beta2 * get(v, i) + (1 - step->beta2) * g * g;
    put(m, i, m_i);
    put(v, i, v_i);
    double decayed = get(param, i) * (1 - step->lr * step->weight_decay);
    double denominator = sqrt(v_i) / sqrt(step->correction2) + step->eps;
    put(param, i, decayed - step->lr / step->correction1 * m_i / denominator);
}
