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

/* Of T tokens the last N are patches, and the R before these registers. */
void vitro_ref_tokens(VitroTensor x, VitroTensor emb, VitroTensor cls, VitroTensor reg,
                      VitroTensor pos, const VitroDropout *dropout, int64_t b)
{
    int64_t T = x.dim[1], D = x.dim[2], N = emb.data ? emb.dim[1] : 0;
    int64_t R = reg.data ? reg.dim[0] : 0, unplaced = pos.data ? T - pos.dim[0] : T;
    for (int64_t t = 0; t < T; t++)
        for (int64_t d = 0; d < D; d++) {
            int64_t patch = t - (T - N), of_reg = patch + R;
            double value = patch >= 0    ? get(emb, (b * N + patch) * D + d)
                           : of_reg >= 0 ? get(reg, of_reg * D + d)
                                         : get(cls, d);
            if (t >= unplaced)
                value += get(pos, (t - unplaced) * D + d);
            put(x, (b * T + t) * D + d, value * vitro_ref_drop(dropout, b, t * D + d));
        }
}

void vitro_ref_tokens_backward(VitroTensor demb, VitroTensor dcls, VitroTensor dreg,
                               VitroTensor dpos, VitroTensor dx, int64_t N,
                               const VitroDropout *dropout, int64_t t)
{
    int64_t B = dx.dim[0], T = dx.dim[1], D = dx.dim[2];
    int64_t patch = t - (T - N), of_reg = dreg.data ? patch + dreg.dim[0] : -1;
    int64_t of_pos = dpos.data ? t - (T - dpos.dim[0]) : -1;
    for (int64_t d = 0; d < D; d++) {
        double sum = 0;
        for (int64_t b = 0; b < B; b++) {
            double g = get(dx, (b * T + t) * D + d) * vitro_ref_drop(dropout, b, t * D + d);
            sum += g;
            if (patch >= 0 && demb.data)
                put(demb, (b * N + patch) * D + d, g);
        }
        if (t == 0 && dcls.data)
            add_to(dcls, d, sum);
        if (patch < 0 && of_reg >= 0)
            add_to(dreg, of_reg * D + d, sum);
        if (of_pos >= 0)
            add_to(dpos, of_pos * D + d, sum);
    }
}

/* Tokens of y[B,n,D], or [B,D]. */
static int64_t tokens_of(const VitroTensor *y)
{
    return y->rank == 3 ? y->dim[1] : 1;
}

void vitro_ref_take_tokens(VitroTensor y, VitroTensor x, int64_t first, int64_t b)
{
    int64_t T = x.dim[1], D = x.dim[2], n = tokens_of(&y);
    for (int64_t i = 0; i < n * D; i++)
        put(y, b * n * D + i, get(x, (b * T + first) * D + i));
}

void vitro_ref_add_tokens(VitroTensor x, VitroTensor y, int64_t first, int64_t b)
{
    int64_t T = x.dim[1], D = x.dim[2], n = tokens_of(&y);
    for (int64_t i = 0; i < n * D; i++)
        add_to(x, (b * T + first) * D + i, get(y, b * n * D + i));
}

void vitro_ref_mean_tokens(VitroTensor y, VitroTensor x, int64_t first, int64_t b)
{
    int64_t T = x.dim[1], D = x.dim[2];
    for (int64_t d = 0; d < D; d++) {
        double sum = 0;
        for (int64_t t = first; t < T; t++)
            sum += get(x, (b * T + t) * D + d);
        put(y, b * D + d, sum / (double)(T - first));
    }
}

void vitro_ref_mean_tokens_backward(VitroTensor dx, VitroTensor dy, int64_t first, int64_t b)
{
    int64_t T = dx.dim[1], D = dx.dim[2];
    for (int64_t t = 0; t < T; t++)
        for (int64_t d = 0; d < D; d++)
            put(dx, (b * T + t) * D + d, t < first ? 0 : get(dy, b * D + d) / (double)(T - first));
}
