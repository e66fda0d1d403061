/* SPDX-License-Identifier: Apache-2.0 */
/* Linear layers: oneDNN's products with weights packed beforehand, and what follows a product
 * either fused into it or as one pass over the rows. */
#include "backend/cpu/cpu_int.h"

#include "base/alloc.h"

#include <assert.h>
#include <string.h>

struct VitroPrepared {
    VitroPacked *forward;  /* w^T, for x w^T */
    VitroPacked *backward; /* w, for dy w; NULL, like the other, where oneDNN takes w as it is */
    int passes;            /* that have been prepared for */
};

/* ---- packed weights --------------------------------------------------------------------------
 */

VitroStatus vitro_cpu_weight_prepare(VitroDevice *dev, VitroWeight *weight, int64_t max_rows,
                                     int passes)
{
    VitroOnednn *onednn = vitro_cpu(dev)->onednn;
    const int64_t N = weight->w.dim[0], K = weight->w.dim[1];
    if (!weight->prepared) {
        weight->prepared = vitro_calloc(1, sizeof *weight->prepared);
        if (!weight->prepared)
            return VITRO_NOMEM;
    }
    VitroPrepared *p = weight->prepared;
    /* Once for each pass, whatever came of it: other threads may be computing with it by now. */
    if (passes & ~p->passes & VITRO_PREPARE_FORWARD)
        VITRO_TRY(vitro_onednn_pack(onednn, &p->forward, max_rows, N, K, weight->w.data, true));
    p->passes |= passes & VITRO_PREPARE_FORWARD;
    if (passes & ~p->passes & VITRO_PREPARE_BACKWARD)
        VITRO_TRY(vitro_onednn_pack(onednn, &p->backward, max_rows, K, N, weight->w.data, false));
    p->passes |= passes & VITRO_PREPARE_BACKWARD;
    return VITRO_OK;
}

VitroStatus vitro_cpu_weight_refresh(VitroDevice *dev, VitroWeight *weight)
{
    VitroOnednn *onednn = vitro_cpu(dev)->onednn;
    VitroPrepared *p = weight->prepared;
    if (p && p->forward)
        VITRO_TRY(vitro_onednn_repack(onednn, p->forward));
    if (p && p->backward)
        VITRO_TRY(vitro_onednn_repack(onednn, p->backward));
    return VITRO_OK;
}

void vitro_cpu_weight_release(VitroDevice *dev, VitroWeight *weight)
{
    (void)dev;
    if (!weight->prepared)
        return;
    vitro_onednn_unpack(weight->prepared->forward);
    vitro_onednn_unpack(weight->prepared->backward);
    vitro_free(weight->prepared);
    weight->prepared = NULL;
}

/* ---- epilogues ---------------------------------------------------------------------------------
 */

/* Rows are worked on in pieces that stay in the first-level cache between the steps. */
enum { PIECE = 1024 };

/* 0 where the sample's branch is dropped, else what scales it; 1 without drop path. */
static float path_scale(const VitroKernels *kernels, const VitroEpilogue *e, int64_t sample)
{
    if (!vitro_dropout_on(&e->path))
        return 1.0f;
    const VitroDropKey key = vitro_cpu_drop_key(&e->path, sample);
    float scale = 1.0f;
    kernels->dropout(&scale, &scale, 1, 0, &key);
    return scale;
}

/* y = path(dropout(act(pre))) + residual, one row; pre may be y, and so may residual if pre is not.
 */
static void epilogue_row(const VitroKernels *kernels, float *y, const float *pre, int64_t N,
                         const VitroEpilogue *e, int64_t row)
{
    const int64_t sample = row / e->rows_per_sample;
    const uint64_t first = (uint64_t)(row % e->rows_per_sample) * (uint64_t)N;
    const float *residual = e->residual.data ? (float *)e->residual.data + row * N : NULL;
    const float scale = path_scale(kernels, e, sample);
    const bool drop = vitro_dropout_on(&e->dropout);
    const VitroDropKey key = drop ? vitro_cpu_drop_key(&e->dropout, sample) : (VitroDropKey){0};

    float piece[PIECE];
    for (int64_t c = 0; c < N; c += PIECE) {
        const int64_t n = N - c < PIECE ? N - c : PIECE;
        const float *from = pre + c;
        float *to = residual ? piece : y + c;
        if (e->act != VITRO_ACT_NONE) {
            kernels->act(to, from, n, e->act);
            from = to;
        }
        if (drop) {
            kernels->dropout(to, from, n, first + (uint64_t)c, &key);
            from = to;
        }
        if (residual || scale != 1.0f || from != y + c)
            kernels->scale_add(y + c, from, scale, residual ? residual + c : NULL, n);
    }
}

static void epilogue_rows(VitroDevice *dev, float *y, const float *pre, int64_t M, int64_t N,
                          const VitroEpilogue *e)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    PARALLEL(M * N)
    for (int64_t row = 0; row < M; row++)
        epilogue_row(kernels, y + row * N, pre + row * N, N, e, row);
}

static void epilogue_backward_row(const VitroKernels *kernels, float *dpre, const float *dy,
                                  int64_t N, const VitroEpilogue *e, int64_t row)
{
    const int64_t sample = row / e->rows_per_sample;
    const uint64_t first = (uint64_t)(row % e->rows_per_sample) * (uint64_t)N;
    const float *pre = e->pre.data ? (float *)e->pre.data + row * N : NULL;
    const float scale = path_scale(kernels, e, sample);
    const bool drop = vitro_dropout_on(&e->dropout);
    const VitroDropKey key = drop ? vitro_cpu_drop_key(&e->dropout, sample) : (VitroDropKey){0};

    for (int64_t c = 0; c < N; c += PIECE) {
        const int64_t n = N - c < PIECE ? N - c : PIECE;
        const float *from = dy + c;
        float *to = dpre + c;
        if (scale != 1.0f) {
            kernels->scale_add(to, from, scale, NULL, n);
            from = to;
        }
        if (drop) {
            kernels->dropout(to, from, n, first + (uint64_t)c, &key);
            from = to;
        }
        if (e->act != VITRO_ACT_NONE)
            kernels->act_backward(to, from, pre + c, n, e->act);
        else if (from != to)
            memcpy(to, from, (size_t)n * sizeof *to);
    }
}

static bool has_backward(const VitroEpilogue *e)
{
    return e->act != VITRO_ACT_NONE || vitro_dropout_on(&e->dropout) || vitro_dropout_on(&e->path);
}

VitroStatus vitro_cpu_epilogue_backward(VitroDevice *dev, VitroTensor dpre, VitroTensor dy,
                                        const VitroEpilogue *e)
{
    assert(e->act == VITRO_ACT_NONE || e->pre.data);
    assert(e->rows_per_sample > 0);
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const int64_t M = vitro_tensor_rows(&dy), N = vitro_tensor_cols(&dy);
    float *to = dpre.data;
    const float *from = dy.data;
    if (to == from && !has_backward(e))
        return VITRO_OK;
    PARALLEL(M * N)
    for (int64_t row = 0; row < M; row++)
        epilogue_backward_row(kernels, to + row * N, from + row * N, N, e, row);
    return VITRO_OK;
}

/* ---- products --------------------------------------------------------------------------------
 */

VitroStatus vitro_cpu_linear(VitroDevice *dev, VitroTensor y, VitroTensor x,
                             const VitroWeight *weight, const VitroEpilogue *e)
{
    const int64_t M = vitro_tensor_rows(&x), N = weight->w.dim[0], K = weight->w.dim[1];
    assert(vitro_tensor_cols(&x) == K && vitro_tensor_rows(&y) == M);
    assert(vitro_tensor_cols(&y) == N && e->rows_per_sample > 0);
    VitroMatmul mm = {.m = M,
                      .n = N,
                      .k = K,
                      .dst = y.data,
                      .a = x.data,
                      .b = weight->w.data,
                      .b_transposed = true,
                      .packed = weight->prepared ? weight->prepared->forward : NULL,
                      .bias = weight->b.data};
    const bool drops = vitro_dropout_on(&e->dropout) || vitro_dropout_on(&e->path);
    if (!e->pre.data && !drops) { /* inference, and whatever has no activation: all in one */
        mm.act = e->act;
        mm.residual = e->residual.data;
        return vitro_onednn_matmul(vitro_cpu(dev)->onednn, &mm);
    }
    if (e->pre.data) {
        mm.dst = e->pre.data;
    } else if (e->residual.data == y.data) { /* y is still needed */
        void *product = NULL;
        VITRO_TRY(vitro_scratch(&product, VITRO_SCRATCH_OP, (size_t)(M * N) * sizeof(float)));
        mm.dst = product;
    }
    VITRO_TRY(vitro_onednn_matmul(vitro_cpu(dev)->onednn, &mm));
    epilogue_rows(dev, y.data, mm.dst, M, N, e);
    return VITRO_OK;
}

/* db[N] += the rows of dy[M,N], in pieces of rows whose sums are then added in order. */
static VitroStatus add_bias_gradient(VitroDevice *dev, float *db, const float *dy, int64_t M,
                                     int64_t N)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const int64_t pieces = vitro_cpu_pieces(M);
    void *memory = NULL;
    VITRO_TRY(vitro_scratch(&memory, VITRO_SCRATCH_OP, (size_t)(pieces * N) * sizeof(float)));
    float *partial = memory;
    PARALLEL(M * N)
    for (int64_t i = 0; i < pieces; i++) {
        const int64_t first = i * M / pieces, end = (i + 1) * M / pieces;
        memset(partial + i * N, 0, (size_t)N * sizeof *partial);
        kernels->add_rows(partial + i * N, dy + first * N, N, end - first, N);
    }
    kernels->add_rows(db, partial, N, pieces, N);
    return VITRO_OK;
}

VitroStatus vitro_cpu_linear_backward(VitroDevice *dev, VitroTensor dx, const VitroWeight *grad,
                                      VitroTensor dpre, VitroTensor x, const VitroWeight *weight,
                                      const VitroEpilogue *through)
{
    VitroOnednn *onednn = vitro_cpu(dev)->onednn;
    const int64_t M = vitro_tensor_rows(&dpre), N = weight->w.dim[0], K = weight->w.dim[1];
    assert(vitro_tensor_cols(&dpre) == N);
    if (grad && grad->w.data) { /* dw[N,K] += dpre^T[N,M] x[M,K] */
        const VitroMatmul dw = {.m = N,
                                .n = K,
                                .k = M,
                                .dst = grad->w.data,
                                .a = dpre.data,
                                .a_transposed = true,
                                .b = x.data,
                                .residual = grad->w.data};
        VITRO_TRY(vitro_onednn_matmul(onednn, &dw));
    }
    if (grad && grad->b.data)
        VITRO_TRY(add_bias_gradient(dev, grad->b.data, dpre.data, M, N));
    if (!dx.data)
        return VITRO_OK;
    const VitroMatmul mm = {.m = M,
                            .n = K,
                            .k = N,
                            .dst = dx.data,
                            .a = dpre.data,
                            .b = weight->w.data,
                            .packed = weight->prepared ? weight->prepared->backward : NULL};
    VITRO_TRY(vitro_onednn_matmul(onednn, &mm));
    return through ? vitro_cpu_epilogue_backward(dev, dx, dx, through) : VITRO_OK;
}
