/* SPDX-License-Identifier: Apache-2.0 */
/* From pictures to the sequence of tokens, and from there to what is classified. */
#include "backend/cpu/cpu_int.h"

#include <string.h>

VitroStatus vitro_cpu_patchify(VitroDevice *dev, VitroTensor patches, VitroTensor images, int64_t P)
{
    const int64_t B = images.dim[0], C = images.dim[1], H = images.dim[2], W = images.dim[3];
    const int64_t down = H / P, across = W / P, length = C * P * P;
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const float *from = images.data;
    PARALLEL(B * C * H * W)
    for (int64_t row = 0; row < B * down; row++) { /* of patches */
        const int64_t b = row / down, i = row % down;
        for (int64_t c = 0; c < C; c++)
            for (int64_t y = 0; y < P; y++) {
                const float *line = from + ((b * C + c) * H + i * P + y) * W;
                for (int64_t j = 0; j < across; j++)
                    vitro_cpu_put(kernels, patches, (row * across + j) * length + (c * P + y) * P,
                                  line + j * P, P);
            }
    }
    return VITRO_OK;
}

/* Where token t of image b is taken from: of T tokens the last N are patches, and the R before
 * these registers. */
static const float *token_from(VitroTensor emb, VitroTensor cls, VitroTensor reg, int64_t b,
                               int64_t t, int64_t T, int64_t D)
{
    const int64_t N = emb.data ? emb.dim[1] : 0, R = reg.data ? reg.dim[0] : 0;
    const int64_t patch = t - (T - N), of_reg = patch + R;
    if (patch >= 0)
        return vitro_f32_at(emb, (b * N + patch) * D);
    return of_reg >= 0 ? vitro_f32_at(reg, of_reg * D) : cls.data;
}

VitroStatus vitro_cpu_tokens(VitroDevice *dev, VitroTensor x, VitroTensor emb, VitroTensor cls,
                             VitroTensor reg, VitroTensor pos, const VitroDropout *dropout)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const int64_t B = x.dim[0], T = x.dim[1], D = x.dim[2];
    const int64_t unplaced = pos.data ? T - pos.dim[0] : T;
    PARALLEL(B * T * D)
    for (int64_t row = 0; row < B * T; row++) {
        const int64_t b = row / T, t = row % T;
        float *out = (float *)x.data + row * D;
        const float *place = t >= unplaced ? vitro_f32_at(pos, (t - unplaced) * D) : NULL;
        kernels->scale_add(out, token_from(emb, cls, reg, b, t, T, D), 1.0f, place, D);
        if (vitro_dropout_on(dropout)) {
            const VitroDropKey key = vitro_cpu_drop_key(dropout, b);
            kernels->dropout(out, out, D, (uint64_t)(t * D), &key);
        }
    }
    return VITRO_OK;
}

/* Where the gradient of one position goes; NULL: nowhere. */
typedef struct TokenGradient {
    float *emb; /* of image 0; others follow every emb_stride elements */
    int64_t emb_stride;
    float *token, *pos; /* sums over images */
} TokenGradient;

/* One position of all images: every sum over images has one owner. */
static void tokens_backward_at(const VitroKernels *kernels, const TokenGradient *to,
                               const VitroTensor *dx, const VitroDropout *dropout, int64_t t)
{
    enum { PIECE = 1024 };
    const int64_t B = dx->dim[0], T = dx->dim[1], D = dx->dim[2];
    float piece[PIECE];
    for (int64_t b = 0; b < B; b++)
        for (int64_t c = 0; c < D; c += PIECE) {
            const int64_t n = D - c < PIECE ? D - c : PIECE;
            const float *d = (float *)dx->data + (b * T + t) * D + c;
            if (vitro_dropout_on(dropout)) {
                const VitroDropKey key = vitro_cpu_drop_key(dropout, b);
                kernels->dropout(piece, d, n, (uint64_t)(t * D + c), &key);
                d = piece;
            }
            if (to->emb)
                memcpy(to->emb + b * to->emb_stride + c, d, (size_t)n * sizeof *d);
            if (to->token)
                kernels->add_rows(to->token + c, d, n, 1, n);
            if (to->pos)
                kernels->add_rows(to->pos + c, d, n, 1, n);
        }
}

VitroStatus vitro_cpu_tokens_backward(VitroDevice *dev, VitroTensor demb, VitroTensor dcls,
                                      VitroTensor dreg, VitroTensor dpos, VitroTensor dx, int64_t N,
                                      const VitroDropout *dropout)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const int64_t T = dx.dim[1], D = dx.dim[2];
    PARALLEL(vitro_tensor_count(&dx))
    for (int64_t t = 0; t < T; t++) {
        const int64_t patch = t - (T - N), of_reg = dreg.data ? patch + dreg.dim[0] : -1;
        const int64_t of_pos = dpos.data ? t - (T - dpos.dim[0]) : -1;
        TokenGradient to = {.emb_stride = N * D};
        if (patch >= 0 && demb.data)
            to.emb = vitro_f32_at(demb, patch * D);
        else if (patch < 0 && of_reg >= 0)
            to.token = vitro_f32_at(dreg, of_reg * D);
        else if (patch < 0 && t == 0)
            to.token = dcls.data;
        if (of_pos >= 0)
            to.pos = vitro_f32_at(dpos, of_pos * D);
        tokens_backward_at(kernels, &to, &dx, dropout, t);
    }
    return VITRO_OK;
}

VitroStatus vitro_cpu_take_tokens(VitroDevice *dev, VitroTensor y, VitroTensor x, int64_t first)
{
    (void)dev;
    const int64_t B = x.dim[0], T = x.dim[1], D = x.dim[2], n = y.rank == 3 ? y.dim[1] : 1;
    const size_t size = vitro_dtype_size(x.dtype);
    for (int64_t b = 0; b < B; b++)
        memcpy((uint8_t *)y.data + (size_t)(b * n * D) * size,
               (uint8_t *)x.data + (size_t)((b * T + first) * D) * size, (size_t)(n * D) * size);
    return VITRO_OK;
}

VitroStatus vitro_cpu_add_tokens(VitroDevice *dev, VitroTensor x, VitroTensor y, int64_t first)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const int64_t B = x.dim[0], T = x.dim[1], D = x.dim[2], n = y.rank == 3 ? y.dim[1] : 1;
    for (int64_t b = 0; b < B; b++)
        kernels->add_rows(vitro_f32_at(x, (b * T + first) * D), vitro_f32_at(y, b * n * D), n * D,
                          1, n * D);
    return VITRO_OK;
}

VitroStatus vitro_cpu_mean_tokens(VitroDevice *dev, VitroTensor y, VitroTensor x, int64_t first)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const int64_t B = x.dim[0], T = x.dim[1], D = x.dim[2];
    PARALLEL(vitro_tensor_count(&x))
    for (int64_t b = 0; b < B; b++) {
        float *sum = vitro_f32_at(y, b * D);
        memset(sum, 0, (size_t)D * sizeof *sum);
        kernels->add_rows(sum, vitro_f32_at(x, (b * T + first) * D), D, T - first, D);
        kernels->scale_add(sum, sum, 1.0f / (float)(T - first), NULL, D);
    }
    return VITRO_OK;
}

VitroStatus vitro_cpu_mean_tokens_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dy,
                                           int64_t first)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const int64_t B = dx.dim[0], T = dx.dim[1], D = dx.dim[2];
    PARALLEL(vitro_tensor_count(&dx))
    for (int64_t b = 0; b < B; b++) {
        memset(vitro_f32_at(dx, b * T * D), 0, (size_t)(first * D) * sizeof(float));
        for (int64_t t = first; t < T; t++)
            kernels->scale_add(vitro_f32_at(dx, (b * T + t) * D), vitro_f32_at(dy, b * D),
                               1.0f / (float)(T - first), NULL, D);
    }
    return VITRO_OK;
}
