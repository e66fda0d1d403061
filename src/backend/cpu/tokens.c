/* SPDX-License-Identifier: Apache-2.0 */
/* From pictures to the sequence of tokens, and from there to the class token. */
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

VitroStatus vitro_cpu_tokens(VitroDevice *dev, VitroTensor x, VitroTensor emb, VitroTensor cls,
                             VitroTensor pos, const VitroDropout *dropout)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const int64_t B = x.dim[0], T = x.dim[1], D = x.dim[2];
    PARALLEL(B * T * D)
    for (int64_t row = 0; row < B * T; row++) {
        const int64_t b = row / T, t = row % T;
        const float *token = t ? (float *)emb.data + (b * (T - 1) + t - 1) * D : cls.data;
        float *out = (float *)x.data + row * D;
        kernels->scale_add(out, token, 1.0f, (float *)pos.data + t * D, D);
        if (vitro_dropout_on(dropout)) {
            const VitroDropKey key = vitro_cpu_drop_key(dropout, b);
            kernels->dropout(out, out, D, (uint64_t)(t * D), &key);
        }
    }
    return VITRO_OK;
}

/* One position of all images: every sum over images has one owner. */
static void tokens_backward_at(const VitroKernels *kernels, float *demb, float *dcls, float *dpos,
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
            if (demb && t)
                memcpy(demb + (b * (T - 1) + t - 1) * D + c, d, (size_t)n * sizeof *d);
            if (dcls && !t)
                kernels->add_rows(dcls + c, d, n, 1, n);
            if (dpos)
                kernels->add_rows(dpos + t * D + c, d, n, 1, n);
        }
}

VitroStatus vitro_cpu_tokens_backward(VitroDevice *dev, VitroTensor demb, VitroTensor dcls,
                                      VitroTensor dpos, VitroTensor dx, const VitroDropout *dropout)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const int64_t T = dx.dim[1];
    PARALLEL(vitro_tensor_count(&dx))
    for (int64_t t = 0; t < T; t++)
        tokens_backward_at(kernels, demb.data, dcls.data, dpos.data, &dx, dropout, t);
    return VITRO_OK;
}

VitroStatus vitro_cpu_take_cls(VitroDevice *dev, VitroTensor cls, VitroTensor x)
{
    (void)dev;
    const int64_t B = x.dim[0], T = x.dim[1], D = x.dim[2];
    const size_t size = vitro_dtype_size(x.dtype);
    for (int64_t b = 0; b < B; b++)
        memcpy((uint8_t *)cls.data + (size_t)(b * D) * size,
               (uint8_t *)x.data + (size_t)(b * T * D) * size, (size_t)D * size);
    return VITRO_OK;
}

VitroStatus vitro_cpu_add_cls(VitroDevice *dev, VitroTensor x, VitroTensor cls)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const int64_t B = x.dim[0], T = x.dim[1], D = x.dim[2];
    for (int64_t b = 0; b < B; b++)
        kernels->add_rows((float *)x.data + b * T * D, (float *)cls.data + b * D, D, 1, D);
    return VITRO_OK;
}
