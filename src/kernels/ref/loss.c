/* SPDX-License-Identifier: Apache-2.0 */
/* Cross entropy with label smoothing, as torch.nn.CrossEntropyLoss(label_smoothing=s) and timm
 * define it:
 *
 *     loss = (1 - s) (-log p_label) + s mean_k (-log p_k)       p = softmax(logits)
 *     dlogits_k = p_k - (1 - s) [k = label] - s/K */
#include <math.h>

#include "kernels/ref/ref.h"

double vitro_ref_cross_entropy(int32_t *best, VitroTensor dlogits, VitroTensor logits,
                               int32_t label, double smoothing, double grad_scale, int64_t b)
{
    int64_t K = logits.dim[1], row = b * K, largest = 0;
    for (int64_t k = 1; k < K; k++)
        if (get(logits, row + k) > get(logits, row + largest))
            largest = k;
    *best = (int32_t)largest;

    double max = get(logits, row + largest), sum_exp = 0, sum = 0;
    for (int64_t k = 0; k < K; k++) {
        sum_exp += exp(get(logits, row + k) - max);
        sum += get(logits, row + k);
    }
    double lse = max + log(sum_exp); /* -log p_k = lse - logit_k */

    if (dlogits.data)
        for (int64_t k = 0; k < K; k++) {
            double target = smoothing / (double)K + (k == label ? 1 - smoothing : 0);
            double p = exp(get(logits, row + k) - lse);
            put(dlogits, row + k, grad_scale * (p - target));
        }
    return (1 - smoothing) * (lse - get(logits, row + label)) + smoothing * (lse - sum / (double)K);
}
