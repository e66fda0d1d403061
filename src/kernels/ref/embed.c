/* SPDX-License-Identifier: Apache-2.0 */
/* From images to tokens ("An Image is Worth 16x16 Words", arXiv:2010.11929, Eq. 1) and from tokens
 * to the one that is classified (Eq. 4). */
#include "kernels/ref/ref.h"

/* A convolution whose stride is its kernel's size P sees every pixel once: it is a product of the
 * flattened patches with the flattened weight [D, C*P*P]. */
void vitro_ref_patchify(VitroTensor patches, VitroTensor images, int64_t P, int64_t b)
{
    int64_t C = images.dim[1], height = images.dim[2], width = images.dim[3];
    int64_t rows = height / P, cols = width / P;
    int64_t to = b * rows * cols * C * P * P;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            for (int64_t c = 0; c < C; c++)
                for (int64_t y = i * P; y < (i + 1) * P; y++)
                    for (int64_t x = j * P; x < (j + 1) * P; x++)
                        put(patches, to++, get(images, ((b * C + c) * height + y) * width + x));
}

void vitro_ref_tokens(VitroTensor x, VitroTensor emb, VitroTensor cls, VitroTensor pos,
                      const VitroDropout *dropout, int64_t b)
{
    int64_t T = x.dim[1], D = x.dim[2];
    for (int64_t t = 0; t < T; t++)
        for (int64_t d = 0; d < D; d++) {
            double token = t == 0 ? get(cls, d) : get(emb, (b * (T - 1) + t - 1) * D + d);
            double value = token + get(pos, t * D + d);
            put(x, (b * T + t) * D + d, value * vitro_ref_drop(dropout, b, t * D + d));
        }
}

void vitro_ref_tokens_backward(VitroTensor demb, VitroTensor dcls, VitroTensor dpos, VitroTensor dx,
                               const VitroDropout *dropout, int64_t t)
{
    int64_t B = dx.dim[0], T = dx.dim[1], D = dx.dim[2];
    for (int64_t d = 0; d < D; d++) {
        double sum = 0;
        for (int64_t b = 0; b < B; b++) {
            double g = get(dx, (b * T + t) * D + d) * vitro_ref_drop(dropout, b, t * D + d);
            sum += g;
            if (t > 0 && demb.data)
                put(demb, (b * (T - 1) + t - 1) * D + d, g);
        }
        if (t == 0 && dcls.data)
            add_to(dcls, d, sum);
        if (dpos.data)
            add_to(dpos, t * D + d, sum);
    }
}

void vitro_ref_take_cls(VitroTensor cls, VitroTensor x, int64_t b)
{
    int64_t T = x.dim[1], D = x.dim[2];
    for (int64_t d = 0; d < D; d++)
        put(cls, b * D + d, get(x, b * T * D + d));
}

void vitro_ref_add_cls(VitroTensor x, VitroTensor cls, int64_t b)
{
    int64_t T = x.dim[1], D = x.dim[2];
    for (int64_t d = 0; d < D; d++)
        add_to(x, b * T * D + d, get(cls, b * D + d));
}
