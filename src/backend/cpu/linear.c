/* SPDX-License-Identifier: Apache-2.0 */
/* Linear layers: products whose finished tiles go through the epilogue while they are in the
 * first-level cache. */
#include "backend/cpu/cpu_int.h"

#include "backend/cpu/product.h"
#include "base/alloc.h"
#include "tensor/dtype.h"

#include <assert.h>
#include <omp.h>
#include <string.h>

struct VitroPrepared {
    VitroPanels *forward; /* w^T, for x w^T */
};

/* ---- operands ----------------------------------------------------------------------------------
 */

/* The words in which products of this device see weights and activations; bytes serve forward
 * products of prepared weights only. */
static VitroDot dot_of(const VitroDevice *dev)
{
    return dev->precision == VITRO_FP32 ? VITRO_DOT_F32 : VITRO_DOT_BF16;
}

typedef struct Operand {
    const void *a;
    int64_t stride; /* bytes between rows */
    float *scale;   /* U8S8 */
    int32_t *zero;
} Operand;

static VitroStatus bytes_operand(Operand *out, VitroDevice *dev, VitroTensor x)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const int64_t M = vitro_tensor_rows(&x), K = vitro_tensor_cols(&x);
    const int64_t stride = vitro_row_stride((K + 3) / 4), wide = vitro_round_up(K, 16);
    const size_t numbers = (size_t)vitro_round_up(M, 16) * 4;
    const size_t bytes = (size_t)(M * stride) + 2 * numbers;
    void *memory = NULL;
    const size_t row_bytes = (size_t)(dev->threads * wide) * sizeof(float);
    VITRO_TRY(vitro_scratch(&memory, VITRO_SCRATCH_OPERAND, bytes + row_bytes));
    uint8_t *to = memory;
    *out = (Operand){.a = to,
                     .stride = stride,
                     .scale = (float *)(void *)(to + M * stride),
                     .zero = (int32_t *)(void *)(to + (size_t)(M * stride) + numbers)};
    float *rows = (float *)(void *)(to + bytes);
    PARALLEL(M * K)
    for (int64_t m = 0; m < M; m++) {
        const float *row = (float *)x.data + m * K;
        if (x.dtype == VITRO_BF16) {
            float *wider = rows + omp_get_thread_num() * wide;
            kernels->from_bf16(wider, (uint16_t *)x.data + m * K, K);
            row = wider;
        }
        kernels->to_u8(to + m * stride, out->scale + m, out->zero + m, row, K);
        memset(to + m * stride + K, 0, (size_t)(stride - K));
    }
    return VITRO_OK;
}

/* x's rows as words of `dot`: where they lie, or brought into that form. */
static VitroStatus make_operand(Operand *out, VitroDevice *dev, VitroTensor x, VitroDot dot)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const int64_t M = vitro_tensor_rows(&x), K = vitro_tensor_cols(&x);
    if (dot == VITRO_DOT_U8S8)
        return bytes_operand(out, dev, x);
    const VitroWords w = vitro_words_along(x, dot);
    if (w.kind == VITRO_WORDS_AS_THEY_ARE && K % w.per_word == 0) {
        *out = (Operand){.a = x.data, .stride = w.stride};
        return VITRO_OK;
    }
    const int64_t depth = (K + w.per_word - 1) / w.per_word, stride = vitro_row_stride(depth);
    void *memory = NULL;
    VITRO_TRY(vitro_scratch(&memory, VITRO_SCRATCH_OPERAND, (size_t)(M * stride)));
    PARALLEL(M * K)
    for (int64_t m = 0; m < M; m++)
        kernels->words((uint32_t *)(void *)((uint8_t *)memory + m * stride), 0, &w, m, 1, 0, depth);
    *out = (Operand){.a = memory, .stride = stride};
    return VITRO_OK;
}

/* x's columns as rows of words. */
static VitroStatus make_turned_operand(Operand *out, VitroDevice *dev, VitroTensor x, VitroDot dot)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    enum { STRIP = 64 };
    const VitroWords w = vitro_words_over(x, dot);
    const int64_t depth = (w.rows + (dot == VITRO_DOT_BF16)) / vitro_dot_per_word(dot);
    const int64_t stride = vitro_row_stride(depth), strips = (w.cols + STRIP - 1) / STRIP;
    void *memory = NULL;
    VITRO_TRY(vitro_scratch(&memory, VITRO_SCRATCH_OPERAND, (size_t)(w.cols * stride)));
    PARALLEL(w.rows * w.cols)
    for (int64_t s = 0; s < strips; s++) {
        const int64_t first = s * STRIP, left = w.cols - first, n = left < STRIP ? left : STRIP;
        uint32_t *to = (uint32_t *)(void *)((uint8_t *)memory + first * stride);
        kernels->words_transposed(to, stride / 4, &w, 0, depth, first, n);
    }
    *out = (Operand){.a = memory, .stride = stride};
    return VITRO_OK;
}

/* ---- weights prepared for the forward product ------------------------------------------------ */

static VitroB forward_b(VitroTensor w, VitroDot dot)
{
    return (VitroB){.words = vitro_words_along(w, dot), .transposed = true};
}

static void byte_rules(VitroDevice *dev, float *factor, float *scale, VitroTensor w)
{
    const int64_t N = w.dim[0], K = w.dim[1];
    PARALLEL(N * K)
    for (int64_t n = 0; n < N; n++) {
        const VitroByteRule rule = vitro_byte_rule((float *)w.data + n * K, K);
        factor[n] = rule.factor;
        scale[n] = rule.scale;
    }
}

static VitroStatus fill_panels(VitroDevice *dev, VitroPrepared *p, VitroDot dot, const VitroB *b)
{
    return p->forward ? vitro_panels_fill(dev, p->forward, b)
                      : vitro_panels_create(&p->forward, dev, dot, b);
}

static VitroStatus pack_forward(VitroDevice *dev, VitroPrepared *p, const VitroWeight *weight)
{
    const bool bytes = dev->precision == VITRO_PRECISION_INT8 && !weight->wide;
    const VitroDot dot = bytes ? VITRO_DOT_U8S8 : dot_of(dev);
    VitroB b = forward_b(weight->w, dot);
    if (!bytes)
        return fill_panels(dev, p, dot, &b);
    const int64_t N = weight->w.dim[0];
    const float *scale = weight->scale.data;
    if (weight->w.dtype != VITRO_I8) {
        void *memory = NULL;
        VITRO_TRY(vitro_scratch(&memory, VITRO_SCRATCH_OP, (size_t)(2 * N) * sizeof(float)));
        float *factors = memory, *scales = factors + N;
        byte_rules(dev, factors, scales, weight->w);
        b.words.kind = VITRO_WORDS_S8_OF_F32;
        b.words.factor = factors;
        scale = scales;
    }
    VITRO_TRY(fill_panels(dev, p, dot, &b));
    memcpy(p->forward->scale, scale, (size_t)N * sizeof *scale);
    return VITRO_OK;
}

VitroStatus vitro_cpu_weight_prepare(VitroDevice *dev, VitroWeight *weight, int64_t max_rows)
{
    (void)max_rows;       /* panels serve any number of rows */
    if (weight->prepared) /* other threads may be computing with it by now */
        return VITRO_OK;
    VitroPrepared *p = vitro_calloc(1, sizeof *p);
    if (!p)
        return VITRO_NOMEM;
    VitroStatus st = pack_forward(dev, p, weight);
    if (st == VITRO_OK)
        weight->prepared = p;
    else
        vitro_free(p);
    return st;
}

VitroStatus vitro_cpu_weight_refresh(VitroDevice *dev, VitroWeight *weight)
{
    return weight->prepared ? pack_forward(dev, weight->prepared, weight) : VITRO_OK;
}

void vitro_cpu_weight_release(VitroDevice *dev, VitroWeight *weight)
{
    (void)dev;
    if (!weight->prepared)
        return;
    vitro_panels_free(weight->prepared->forward);
    vitro_free(weight->prepared);
    weight->prepared = NULL;
}

/* ---- epilogues ---------------------------------------------------------------------------------
 */

/* What the functions on tiles and rows need: an epilogue and where its result goes. */
typedef struct Finish {
    const VitroKernels *kernels;
    const VitroEpilogue *e; /* NULL: none */
    const float *path;      /* [samples]: drop path's scale of each; NULL: 1 */
    VitroTensor out;
    int64_t cols;
} Finish;

/* 0 where a sample's branch is dropped, else what scales it, for all samples of M rows; *out stays
 * NULL without drop path. */
static VitroStatus path_scales(const float **out, VitroDevice *dev, const VitroEpilogue *e,
                               int64_t M)
{
    *out = NULL;
    if (!e || !vitro_dropout_on(&e->path))
        return VITRO_OK;
    const int64_t samples = (M + e->rows_per_sample - 1) / e->rows_per_sample;
    void *memory = NULL;
    VITRO_TRY(vitro_scratch(&memory, VITRO_SCRATCH_PATH, (size_t)samples * sizeof(float)));
    float *scale = memory;
    for (int64_t b = 0; b < samples; b++) {
        const VitroDropKey key = vitro_cpu_drop_key(&e->path, b);
        scale[b] = 1.0f;
        vitro_cpu(dev)->kernels->dropout(scale + b, scale + b, 1, 0, &key);
    }
    *out = scale;
    return VITRO_OK;
}

static void drop_row(const Finish *f, float *x, int64_t row, int64_t col, int64_t n)
{
    const VitroEpilogue *e = f->e;
    const int64_t T = e->rows_per_sample;
    const VitroDropKey key = vitro_cpu_drop_key(&e->dropout, row / T);
    f->kernels->dropout(x, x, n, (uint64_t)(row % T * f->cols + col), &key);
}

static void *element_at(VitroTensor t, int64_t at)
{
    return t.data ? (uint8_t *)t.data + (size_t)at * vitro_dtype_size(t.dtype) : NULL;
}

/* y = path(scale dropout(act(x w^T + b))) + residual */
static void finish_forward(const void *user, float *tile, int64_t row, int64_t rows, int64_t col,
                           int64_t cols)
{
    const Finish *f = user;
    const VitroEpilogue *e = f->e;
    const int64_t at = row * f->cols + col;
    float scale[VITRO_TILE_ROWS];
    VitroFinish finish = {.tile = tile,
                          .rows = rows,
                          .cols = cols,
                          .act = e->act,
                          .y = element_at(f->out, at),
                          .pre = element_at(e->pre, at),
                          .narrow = f->out.dtype == VITRO_BF16,
                          .pre_narrow = e->pre.dtype == VITRO_BF16,
                          .stride = f->cols,
                          .column_scale = element_at(e->scale, col),
                          .residual = element_at(e->residual, at)};
    if (vitro_dropout_on(&e->dropout) || (e->act != VITRO_ACT_NONE && e->act != VITRO_ACT_GELU)) {
        for (int64_t r = 0; r < rows && e->pre.data; r++)
            vitro_cpu_put(f->kernels, e->pre, at + r * f->cols, tile + r * VITRO_PANEL, cols);
        f->kernels->act(tile, tile, rows * VITRO_PANEL, e->act);
        for (int64_t r = 0; r < rows && vitro_dropout_on(&e->dropout); r++)
            drop_row(f, tile + r * VITRO_PANEL, row + r, col, cols);
        finish.act = VITRO_ACT_NONE;
        finish.pre = NULL;
    }
    if (f->path) {
        for (int64_t r = 0; r < rows; r++)
            scale[r] = f->path[(row + r) / e->rows_per_sample];
        finish.scale = scale;
    }
    f->kernels->finish(&finish);
}

/* A row's piece of a gradient in x, taken back through path, scale, dropout and activation. */
static void back_row(const Finish *f, float *x, int64_t row, int64_t col, int64_t n)
{
    enum { PIECE = 1024 };
    const VitroEpilogue *e = f->e;
    assert(n <= PIECE);
    const float scale = f->path ? f->path[row / e->rows_per_sample] : 1.0f;
    if (scale != 1.0f)
        f->kernels->scale_add(x, x, scale, NULL, n);
    if (e->scale.data)
        f->kernels->multiply(x, x, vitro_f32_at(e->scale, col), n);
    if (vitro_dropout_on(&e->dropout))
        drop_row(f, x, row, col, n);
    if (e->act == VITRO_ACT_NONE)
        return;
    const int64_t at = row * f->cols + col;
    float wide[PIECE];
    if (e->pre.dtype == VITRO_F32) {
        f->kernels->act_backward(x, x, vitro_f32_at(e->pre, at), n, e->act);
        return;
    }
    vitro_cpu_get(f->kernels, wide, e->pre, at, n);
    f->kernels->act_backward_narrow(x, x, wide, n, e->act);
}

/* dx = dy w, further back through the epilogue that made x. */
static void finish_backward(const void *user, float *tile, int64_t row, int64_t rows, int64_t col,
                            int64_t cols)
{
    const Finish *f = user;
    for (int64_t r = 0; r < rows && f->e; r++)
        back_row(f, tile + r * VITRO_PANEL, row + r, col, cols);
    f->kernels->finish(&(VitroFinish){.tile = tile,
                                      .rows = rows,
                                      .cols = cols,
                                      .y = element_at(f->out, row * f->cols + col),
                                      .narrow = f->out.dtype == VITRO_BF16,
                                      .stride = f->cols});
}

/* dw += dy^T x */
static void finish_gradient(const void *user, float *tile, int64_t row, int64_t rows, int64_t col,
                            int64_t cols)
{
    const Finish *f = user;
    float *to = vitro_f32_at(f->out, row * f->cols + col);
    f->kernels->finish(&(VitroFinish){
        .tile = tile, .rows = rows, .cols = cols, .y = to, .residual = to, .stride = f->cols});
}

VitroStatus vitro_cpu_epilogue_backward(VitroDevice *dev, VitroTensor dpre, VitroTensor dy,
                                        const VitroEpilogue *e)
{
    enum { PIECE = 1024 }; /* in the first-level cache between the steps */
    assert(e->act == VITRO_ACT_NONE || e->pre.data);
    assert(e->rows_per_sample > 0);
    const int64_t M = vitro_tensor_rows(&dy), N = vitro_tensor_cols(&dy);
    if (dpre.data == dy.data && !vitro_epilogue_changes_gradient(e))
        return VITRO_OK;
    Finish f = {.kernels = vitro_cpu(dev)->kernels, .e = e, .out = dpre, .cols = N};
    VITRO_TRY(path_scales(&f.path, dev, e, M));
    PARALLEL(M * N)
    for (int64_t row = 0; row < M; row++)
        for (int64_t c = 0; c < N; c += PIECE) {
            const int64_t n = N - c < PIECE ? N - c : PIECE;
            float x[PIECE];
            vitro_cpu_get(f.kernels, x, dy, row * N + c, n);
            back_row(&f, x, row, c, n);
            vitro_cpu_put(f.kernels, dpre, row * N + c, x, n);
        }
    return VITRO_OK;
}

/* One row's part of the gradient of epilogue->scale: sum[n] += path dropout(act(pre)) dy. `room`
 * has two rows of N. */
static void add_scale_row(float *sum, const Finish *f, VitroTensor dy, int64_t row, float *room)
{
    const VitroEpilogue *e = f->e;
    const int64_t N = f->cols;
    const float *d = vitro_f32_at(dy, row * N);
    float *branch = room, *wide = room + vitro_round_up(N, 16);
    vitro_cpu_get(f->kernels, branch, e->pre, row * N, N);
    f->kernels->act(branch, branch, N, e->act);
    if (vitro_dropout_on(&e->dropout))
        drop_row(f, branch, row, 0, N);
    if (dy.dtype != VITRO_F32) {
        vitro_cpu_get(f->kernels, wide, dy, row * N, N);
        d = wide;
    }
    f->kernels->add_product(sum, branch, d, f->path ? f->path[row / e->rows_per_sample] : 1.0f, N);
}

VitroStatus vitro_cpu_scale_backward(VitroDevice *dev, VitroTensor dscale, VitroTensor dy,
                                     const VitroEpilogue *e)
{
    assert(e->pre.data && e->rows_per_sample > 0);
    const int64_t M = vitro_tensor_rows(&dy), N = vitro_tensor_cols(&dy);
    const int64_t pieces = vitro_cpu_pieces(M), row = vitro_round_up(N, 16);
    Finish f = {.kernels = vitro_cpu(dev)->kernels, .e = e, .cols = N};
    void *memory = NULL;
    VITRO_TRY(path_scales(&f.path, dev, e, M));
    VITRO_TRY(vitro_scratch(&memory, VITRO_SCRATCH_OP,
                            (size_t)((pieces + 2 * dev->threads) * row) * sizeof(float)));
    float *partial = memory, *room = partial + pieces * row;
    PARALLEL(M * N)
    for (int64_t i = 0; i < pieces; i++) {
        float *sum = partial + i * row, *own = room + omp_get_thread_num() * 2 * row;
        memset(sum, 0, (size_t)N * sizeof *sum);
        for (int64_t m = i * M / pieces; m < (i + 1) * M / pieces; m++)
            add_scale_row(sum, &f, dy, m, own);
    }
    f.kernels->add_rows(dscale.data, partial, row, pieces, N);
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
    const VitroPanels *panels = weight->prepared ? weight->prepared->forward : NULL;
    const VitroDot dot = panels ? panels->dot : dot_of(dev);
    const VitroB b = forward_b(weight->w, dot);
    Finish f = {.kernels = vitro_cpu(dev)->kernels, .e = e, .out = y, .cols = N};
    Operand a;
    VITRO_TRY(path_scales(&f.path, dev, e, M));
    VITRO_TRY(make_operand(&a, dev, x, dot));
    const int per_word = vitro_dot_per_word(dot);
    return vitro_product(dev, &(VitroProduct){.dot = dot,
                                              .rows = M,
                                              .cols = N,
                                              .depth = (K + per_word - 1) / per_word,
                                              .a = a.a,
                                              .a_stride = a.stride,
                                              .a_scale = a.scale,
                                              .a_zero = a.zero,
                                              .panels = panels,
                                              .b = &b,
                                              .bias = weight->b.data,
                                              .finish = finish_forward,
                                              .user = &f});
}

/* db[N] += the rows of dy[M,N], in pieces of rows whose sums are then added in order. */
static VitroStatus add_bias_gradient(VitroDevice *dev, float *db, VitroTensor dy)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    const int64_t M = vitro_tensor_rows(&dy), N = vitro_tensor_cols(&dy);
    const int64_t pieces = vitro_cpu_pieces(M), row = vitro_round_up(N, 16);
    void *memory = NULL;
    VITRO_TRY(vitro_scratch(&memory, VITRO_SCRATCH_OP,
                            (size_t)((pieces + dev->threads) * row) * sizeof(float)));
    float *partial = memory, *wide = partial + pieces * row;
    PARALLEL(M * N)
    for (int64_t i = 0; i < pieces; i++) {
        const int64_t first = i * M / pieces, end = (i + 1) * M / pieces;
        float *sum = partial + i * row, *x = wide + omp_get_thread_num() * row;
        memset(sum, 0, (size_t)N * sizeof *sum);
        if (dy.dtype == VITRO_F32) {
            kernels->add_rows(sum, vitro_f32_at(dy, first * N), N, end - first, N);
            continue;
        }
        for (int64_t m = first; m < end; m++) {
            vitro_cpu_get(kernels, x, dy, m * N, N);
            kernels->add_rows(sum, x, N, 1, N);
        }
    }
    kernels->add_rows(db, partial, row, pieces, N);
    return VITRO_OK;
}

/* dw[N,K] += dpre^T[N,M] x[M,K] */
static VitroStatus add_weight_gradient(VitroDevice *dev, VitroTensor dw, VitroTensor dpre,
                                       VitroTensor x)
{
    const VitroDot dot = dot_of(dev);
    const VitroB b = {.words = vitro_words_over(x, dot)};
    const Finish f = {.kernels = vitro_cpu(dev)->kernels, .out = dw, .cols = dw.dim[1]};
    const int per_word = vitro_dot_per_word(dot);
    Operand a;
    VITRO_TRY(make_turned_operand(&a, dev, dpre, dot));
    return vitro_product(dev,
                         &(VitroProduct){.dot = dot,
                                         .rows = dw.dim[0],
                                         .cols = dw.dim[1],
                                         .depth = (vitro_tensor_rows(&x) + per_word - 1) / per_word,
                                         .a = a.a,
                                         .a_stride = a.stride,
                                         .b = &b,
                                         .finish = finish_gradient,
                                         .user = &f});
}

VitroStatus vitro_cpu_linear_backward(VitroDevice *dev, VitroTensor dx, const VitroWeight *grad,
                                      VitroTensor dpre, VitroTensor x, const VitroWeight *weight,
                                      const VitroEpilogue *through)
{
    const int64_t M = vitro_tensor_rows(&dpre), N = weight->w.dim[0], K = weight->w.dim[1];
    assert(vitro_tensor_cols(&dpre) == N);
    assert(!through || !through->scale.data);
    if (grad && grad->w.data)
        VITRO_TRY(add_weight_gradient(dev, grad->w, dpre, x));
    if (grad && grad->b.data)
        VITRO_TRY(add_bias_gradient(dev, grad->b.data, dpre));
    if (!dx.data)
        return VITRO_OK;
    const VitroDot dot = dot_of(dev);
    const VitroB b = {.words = vitro_words_over(weight->w, dot)};
    const int per_word = vitro_dot_per_word(dot);
    Finish f = {.kernels = vitro_cpu(dev)->kernels, .e = through, .out = dx, .cols = K};
    Operand a;
    VITRO_TRY(path_scales(&f.path, dev, through, M));
    VITRO_TRY(make_operand(&a, dev, dpre, dot));
    return vitro_product(dev, &(VitroProduct){.dot = dot,
                                              .rows = M,
                                              .cols = K,
                                              .depth = (N + per_word - 1) / per_word,
                                              .a = a.a,
                                              .a_stride = a.stride,
                                              .b = &b,
                                              .finish = finish_backward,
                                              .user = &f});
}
