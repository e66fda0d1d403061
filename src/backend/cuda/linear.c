/* SPDX-License-Identifier: Apache-2.0 */
/* Linear layers. In bf16, operands that are float32 are cast on the way: weights that are being
 * trained, whose masters are float32, with each use of them (twice in a step, which costs less
 * than a hundredth of it); others once, when they are prepared. Sums are float32.
 *
 * cuBLASLt adds the bias and the residual. Its GELU is the approximation by tanh, and it knows
 * neither dropout nor drop path: these follow in one kernel of our own, in place. */
#include "backend/cuda/cuda_int.h"

#include "base/alloc.h"

#include <assert.h>

struct VitroPrepared {
    void *w, *b; /* bf16, in device memory; b NULL: no bias */
};

static bool is_narrow(const VitroDevice *dev)
{
    return dev->precision == VITRO_PRECISION_BF16;
}

static VitroCudaMatrix matrix(VitroTensor t)
{
    return (VitroCudaMatrix){t.data, t.dtype};
}

/* ---- operands ----------------------------------------------------------------------------------
 */

static VitroDtype operand_dtype(const VitroDevice *dev)
{
    return is_narrow(dev) ? VITRO_BF16 : VITRO_F32;
}

/* n elements of `from` as `dtype`: where they are, or cast into the scratch memory for `use`. */
static VitroStatus as_dtype(const void **out, VitroDevice *dev, VitroCudaMatrix from,
                            VitroDtype dtype, int64_t n, VitroCudaScratch use)
{
    if (from.dtype == dtype) {
        *out = from.data;
        return VITRO_OK;
    }
    void *room;
    VITRO_TRY(vitro_cuda_scratch(&room, dev, use, (size_t)n * vitro_dtype_size(dtype)));
    VITRO_TRY(vitro_cuda_cast(vitro_cuda(dev)->stream, (VitroCudaMatrix){room, dtype}, from, n));
    *out = room;
    return VITRO_OK;
}

static VitroStatus as_operand(const void **out, VitroDevice *dev, VitroTensor t,
                              VitroCudaScratch use)
{
    return as_dtype(out, dev, matrix(t), operand_dtype(dev), vitro_tensor_count(&t), use);
}

static VitroStatus weight_operand(const void **out, VitroDevice *dev, const VitroWeight *weight)
{
    if (weight->prepared) {
        *out = weight->prepared->w;
        return VITRO_OK;
    }
    return as_operand(out, dev, weight->w, VITRO_CUDA_SCRATCH_W);
}

/* The bias as a product's result wants it, which is of `dtype`; NULL: none. */
static VitroStatus bias_operand(const void **out, VitroDevice *dev, const VitroWeight *weight,
                                VitroDtype dtype)
{
    *out = NULL;
    if (!weight->b.data)
        return VITRO_OK;
    if (weight->prepared && dtype == VITRO_BF16) {
        *out = weight->prepared->b;
        return VITRO_OK;
    }
    return as_dtype(out, dev, matrix(weight->b), dtype, weight->b.dim[0], VITRO_CUDA_SCRATCH_BIAS);
}

/* ---- weights prepared ---------------------------------------------------------------------------
 */

static void release(VitroDevice *dev, VitroPrepared *p)
{
    dev->ops->free(dev, p->w);
    dev->ops->free(dev, p->b);
    vitro_free(p);
}

static VitroStatus fill(VitroDevice *dev, const VitroPrepared *p, const VitroWeight *weight)
{
    void *stream = vitro_cuda(dev)->stream;
    VITRO_TRY(vitro_cuda_cast(stream, (VitroCudaMatrix){p->w, VITRO_BF16}, matrix(weight->w),
                              vitro_tensor_count(&weight->w)));
    return p->b ? vitro_cuda_cast(stream, (VitroCudaMatrix){p->b, VITRO_BF16}, matrix(weight->b),
                                  weight->b.dim[0])
                : VITRO_OK;
}

VitroStatus vitro_cuda_op_weight_refresh(VitroDevice *dev, VitroWeight *weight)
{
    if (!weight->prepared)
        return VITRO_OK;
    VITRO_TRY(vitro_cuda_begin(dev));
    return vitro_cuda_end(dev, fill(dev, weight->prepared, weight));
}

VitroStatus vitro_cuda_op_weight_prepare(VitroDevice *dev, VitroWeight *weight, int64_t max_rows)
{
    (void)max_rows;
    if (weight->prepared || !is_narrow(dev))
        return VITRO_OK;
    VitroPrepared *p = vitro_calloc(1, sizeof *p);
    if (!p)
        return VITRO_NOMEM;
    VitroStatus st =
        dev->ops->alloc(dev, &p->w, (size_t)vitro_tensor_count(&weight->w) * sizeof(uint16_t));
    if (st == VITRO_OK && weight->b.data)
        st = dev->ops->alloc(dev, &p->b, (size_t)weight->b.dim[0] * sizeof(uint16_t));
    if (st == VITRO_OK) {
        weight->prepared = p;
        st = vitro_cuda_op_weight_refresh(dev, weight);
    }
    if (st != VITRO_OK) {
        release(dev, p);
        weight->prepared = NULL;
    }
    return st;
}

void vitro_cuda_op_weight_release(VitroDevice *dev, VitroWeight *weight)
{
    if (weight->prepared)
        release(dev, weight->prepared);
    weight->prepared = NULL;
}

/* ---- forward ------------------------------------------------------------------------------------
 */

/* d = x w^T + b (+ c). */
static VitroStatus product_with_bias(VitroDevice *dev, VitroCudaProduct p,
                                     const VitroWeight *weight)
{
    VITRO_TRY(bias_operand(&p.bias, dev, weight, p.d.dtype));
    VitroStatus st = vitro_cuda_product(dev, &p);
    if (st != VITRO_E_UNSUPPORTED || !p.bias)
        return st;
    p.bias = NULL; /* an odd shape: the bias by itself */
    VITRO_TRY(vitro_cuda_product(dev, &p));
    const VitroEpilogue none = {.rows_per_sample = 1};
    return vitro_cuda_epilogue(vitro_cuda(dev)->stream, p.d, p.d, weight->b.data, &none, p.M, p.N);
}

/* Where the product goes before its epilogue: to where that is kept anyway, to y, or, where y is
 * still needed as the residual, aside. */
static VitroStatus place_before_epilogue(VitroCudaMatrix *out, VitroDevice *dev, VitroTensor y,
                                         const VitroEpilogue *e)
{
    *out = matrix(e->pre.data ? e->pre : y);
    if (e->pre.data || e->residual.data != y.data)
        return VITRO_OK;
    out->dtype = VITRO_F32;
    return vitro_cuda_scratch(&out->data, dev, VITRO_CUDA_SCRATCH_OUT,
                              (size_t)vitro_tensor_count(&y) * sizeof(float));
}

static VitroStatus linear(VitroDevice *dev, VitroTensor y, VitroTensor x, const VitroWeight *weight,
                          const VitroEpilogue *e)
{
    VitroCudaProduct p = {.in = operand_dtype(dev),
                          .tf32 = dev->precision == VITRO_PRECISION_TF32,
                          .b_turned = true,
                          .d = matrix(y),
                          .M = vitro_tensor_rows(&x),
                          .N = weight->w.dim[0],
                          .K = weight->w.dim[1]};
    VITRO_TRY(as_operand(&p.a, dev, x, VITRO_CUDA_SCRATCH_X));
    VITRO_TRY(weight_operand(&p.b, dev, weight));
    if (!vitro_epilogue_changes_gradient(e) && !e->pre.data &&
        (!e->residual.data || e->residual.dtype == y.dtype)) {
        p.c = e->residual.data;
        return product_with_bias(dev, p, weight);
    }
    VITRO_TRY(place_before_epilogue(&p.d, dev, y, e));
    VITRO_TRY(product_with_bias(dev, p, weight));
    VitroEpilogue rest = *e;
    rest.pre.data = NULL; /* is there */
    return vitro_cuda_epilogue(vitro_cuda(dev)->stream, matrix(y), p.d, NULL, &rest, p.M, p.N);
}

VitroStatus vitro_cuda_op_linear(VitroDevice *dev, VitroTensor y, VitroTensor x,
                                 const VitroWeight *weight, const VitroEpilogue *e)
{
    assert(vitro_tensor_cols(&x) == weight->w.dim[1] && e->rows_per_sample > 0);
    assert(vitro_tensor_cols(&y) == weight->w.dim[0]);
    assert(vitro_tensor_rows(&y) == vitro_tensor_rows(&x));
    VITRO_TRY(vitro_cuda_begin(dev));
    return vitro_cuda_end(dev, linear(dev, y, x, weight, e));
}

/* ---- backward -----------------------------------------------------------------------------------
 */

/* db[N] += sums, or the rows of dpre[M,N], which cuBLASLt had no way to sum on its own. */
static VitroStatus add_bias_gradient(VitroDevice *dev, VitroTensor db, VitroTensor dpre,
                                     const float *sums)
{
    void *stream = vitro_cuda(dev)->stream, *room;
    const int64_t M = vitro_tensor_rows(&dpre), N = vitro_tensor_cols(&dpre);
    if (sums)
        return vitro_cuda_add(stream, db.data, sums, N);
    VITRO_TRY(vitro_cuda_scratch(&room, dev, VITRO_CUDA_SCRATCH_SUM,
                                 (size_t)(vitro_cuda_pieces(M) * N) * sizeof(float)));
    return vitro_cuda_add_rows(stream, db.data, matrix(dpre), M, N, room);
}

/* dw[N,K] += dpre^T x, and db. `dy` is dpre as an operand. */
static VitroStatus add_gradients(VitroDevice *dev, const VitroWeight *grad, VitroTensor dpre,
                                 VitroTensor x, const void *dy)
{
    const int64_t M = vitro_tensor_rows(&x), N = vitro_tensor_cols(&dpre);
    VitroCudaProduct p = {.in = operand_dtype(dev),
                          .tf32 = dev->precision == VITRO_PRECISION_TF32,
                          .a = dy,
                          .a_turned = true,
                          .d = matrix(grad->w),
                          .c = grad->w.data,
                          .M = N,
                          .N = vitro_tensor_cols(&x),
                          .K = M};
    void *sums = NULL;
    VITRO_TRY(as_operand(&p.b, dev, x, VITRO_CUDA_SCRATCH_X));
    if (grad->b.data)
        VITRO_TRY(
            vitro_cuda_scratch(&sums, dev, VITRO_CUDA_SCRATCH_BIAS, (size_t)N * sizeof(float)));
    p.a_sums = sums;
    VitroStatus st = vitro_cuda_product(dev, &p);
    if (st == VITRO_E_UNSUPPORTED && p.a_sums) {
        p.a_sums = NULL;
        st = vitro_cuda_product(dev, &p);
    }
    VITRO_TRY(st);
    return grad->b.data ? add_bias_gradient(dev, grad->b, dpre, p.a_sums) : VITRO_OK;
}

/* dx[M,K] = dpre w, taken further back. */
static VitroStatus input_gradient(VitroDevice *dev, VitroTensor dx, const void *dy,
                                  const VitroWeight *weight, const VitroEpilogue *through)
{
    VitroCudaProduct p = {.in = operand_dtype(dev),
                          .tf32 = dev->precision == VITRO_PRECISION_TF32,
                          .a = dy,
                          .d = matrix(dx),
                          .M = vitro_tensor_rows(&dx),
                          .N = weight->w.dim[1],
                          .K = weight->w.dim[0]};
    VITRO_TRY(weight_operand(&p.b, dev, weight));
    VITRO_TRY(vitro_cuda_product(dev, &p));
    if (!through || !vitro_epilogue_changes_gradient(through))
        return VITRO_OK;
    return vitro_cuda_epilogue_backward(vitro_cuda(dev)->stream, p.d, p.d, through, p.M, p.N);
}

static VitroStatus linear_backward(VitroDevice *dev, VitroTensor dx, const VitroWeight *grad,
                                   VitroTensor dpre, VitroTensor x, const VitroWeight *weight,
                                   const VitroEpilogue *through)
{
    const void *dy;
    VITRO_TRY(as_operand(&dy, dev, dpre, VITRO_CUDA_SCRATCH_DY));
    if (grad && grad->w.data)
        VITRO_TRY(add_gradients(dev, grad, dpre, x, dy));
    else if (grad && grad->b.data)
        VITRO_TRY(add_bias_gradient(dev, grad->b, dpre, NULL));
    return dx.data ? input_gradient(dev, dx, dy, weight, through) : VITRO_OK;
}

VitroStatus vitro_cuda_op_linear_backward(VitroDevice *dev, VitroTensor dx, const VitroWeight *grad,
                                          VitroTensor dpre, VitroTensor x,
                                          const VitroWeight *weight, const VitroEpilogue *through)
{
    assert(vitro_tensor_cols(&dpre) == weight->w.dim[0]);
    VITRO_TRY(vitro_cuda_begin(dev));
    return vitro_cuda_end(dev, linear_backward(dev, dx, grad, dpre, x, weight, through));
}
