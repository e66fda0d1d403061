/* SPDX-License-Identifier: Apache-2.0 */
/* Attention: which kernels compute it. */
#include "backend/cuda/attention.cuh"

enum { THREADS = 256, WIDEST_MMA = 128, WIDEST = 256 };

/* ---- dctx . ctx of every row -------------------------------------------------------------------
 */

/* LANES lanes have a row of up to 8 LANES elements. */
template <int LANES>
static __global__ void __launch_bounds__(THREADS) delta_kernel(VitroAttn a, VitroDtype dtype)
{
    const int64_t row = ((int64_t)blockIdx.x * THREADS + threadIdx.x) / LANES;
    const int col = threadIdx.x % LANES * 8;
    const int64_t rows = (int64_t)a.B * a.H * a.T;
    const int n = a.Dh - col >= 8 ? 8 : a.Dh - col > 0 ? a.Dh - col : 0;
    float sum = 0;
    if (row < rows && n > 0) {
        /* by tokens, so that neighbours read what lies together */
        const int h = (int)(row % a.H);
        const int64_t token = row / a.H;
        const int64_t at = token * a.ctx.stride + h * a.Dh + col;
        const VitroEight x = vitro_load(a.ctx.data, dtype, at, n, a.wide);
        const VitroEight y = vitro_load(a.dctx.data, dtype, at, n, a.wide);
#pragma unroll
        for (int i = 0; i < 8; i++)
            sum += x.v[i] * y.v[i];
    }
#pragma unroll
    for (int offset = LANES / 2; offset > 0; offset /= 2)
        sum += __shfl_xor_sync(VITRO_FULL, sum, offset);
    if (row < rows && col == 0) {
        const int h = (int)(row % a.H);
        const int64_t b = row / a.H / a.T, t = row / a.H % a.T;
        a.delta[(b * a.H + h) * a.T + t] = sum;
    }
}

template <int LANES> static VitroStatus delta(void *stream, const VitroAttn *a, VitroDtype dtype)
{
    const int64_t threads = (int64_t)a->B * a->H * a->T * LANES;
    VITRO_LAUNCH(delta_kernel<LANES>, (unsigned)((threads + THREADS - 1) / THREADS), THREADS, 0,
                 stream, *a, dtype);
    return vitro_cuda_launched("attention_delta");
}

VitroStatus vitro_attention_delta(void *stream, const VitroAttn *a, VitroDtype dtype)
{
    return a->Dh <= 64    ? delta<8>(stream, a, dtype)
           : a->Dh <= 128 ? delta<16>(stream, a, dtype)
                          : delta<32>(stream, a, dtype);
}

/* ---- the ops -----------------------------------------------------------------------------------
 */

/* All but the operands. */
static VitroStatus make(VitroAttn *k, const VitroCudaAttention *a)
{
    memset(k, 0, sizeof *k);
    k->B = (int)a->B, k->H = (int)a->shape.heads, k->T = (int)a->T;
    k->Dh = (int)(a->D / a->shape.heads);
    k->scale = (float)a->shape.scale;
    k->drop = vitro_cuda_drop(&a->shape.dropout);
    if (k->Dh > WIDEST)
        return vitro_fail(VITRO_E_UNSUPPORTED,
                          "back end \"cuda\": heads of %d elements; attention takes up to %d",
                          k->Dh, WIDEST);
    k->wide = k->Dh % 8 == 0;
    return VITRO_OK;
}

static bool by_mma(const VitroAttn *k, VitroDtype dtype)
{
    return dtype == VITRO_BF16 && k->Dh <= WIDEST_MMA;
}

/* q, k, v of x[B,T,3D], or their gradients. */
static void take_qkv(VitroRows *q, VitroRows *k, VitroRows *v, const VitroCudaAttention *a,
                     const void *x)
{
    *q = vitro_rows(x, a->dtype, 0, a->T, 3 * a->D);
    *k = vitro_rows(x, a->dtype, a->D, a->T, 3 * a->D);
    *v = vitro_rows(x, a->dtype, 2 * a->D, a->T, 3 * a->D);
}

size_t vitro_cuda_attention_workspace(const VitroCudaAttention *a, bool backward)
{
    return backward ? (size_t)(a->B * a->shape.heads * a->T) * sizeof(float) : 0; /* delta */
}

VitroStatus vitro_cuda_attention_forward(void *stream, const VitroCudaAttention *a, void *ctx,
                                         float *lse, const void *qkv)
{
    VitroAttn k;
    VITRO_TRY(make(&k, a));
    take_qkv(&k.q, &k.k, &k.v, a, qkv);
    k.ctx = vitro_rows(ctx, a->dtype, 0, a->T, a->D);
    k.lse = lse;
    k.wide = k.wide && vitro_aligned16(qkv) && vitro_aligned16(ctx);
    return by_mma(&k, a->dtype) ? vitro_attention_mma_forward(stream, &k)
                                : vitro_attention_plain_forward(stream, &k, a->dtype);
}

VitroStatus vitro_cuda_attention_backward(void *stream, const VitroCudaAttention *a, void *dqkv,
                                          const void *dctx, const void *qkv, const void *ctx,
                                          const float *lse)
{
    VitroAttn k;
    VITRO_TRY(make(&k, a));
    take_qkv(&k.q, &k.k, &k.v, a, qkv);
    take_qkv(&k.dq, &k.dk, &k.dv, a, dqkv);
    k.ctx = vitro_rows(ctx, a->dtype, 0, a->T, a->D);
    k.dctx = vitro_rows(dctx, a->dtype, 0, a->T, a->D);
    k.lse = (float *)lse; /* only read */
    k.delta = (float *)a->workspace;
    k.wide = k.wide && vitro_aligned16(qkv) && vitro_aligned16(dqkv) && vitro_aligned16(ctx) &&
             vitro_aligned16(dctx);
    return by_mma(&k, a->dtype) ? vitro_attention_mma_backward(stream, &k)
                                : vitro_attention_plain_backward(stream, &k, a->dtype);
}

/* ---- the class token alone ---------------------------------------------------------------------
 */

VitroStatus vitro_cuda_attention_cls_forward(void *stream, const VitroCudaAttention *a, void *ctx,
                                             float *lse, const void *q, const void *kv)
{
    VitroAttn k;
    VITRO_TRY(make(&k, a));
    k.q = vitro_rows(q, a->dtype, 0, 1, a->D);
    k.k = vitro_rows(kv, a->dtype, 0, a->T, 2 * a->D);
    k.v = vitro_rows(kv, a->dtype, a->D, a->T, 2 * a->D);
    k.ctx = vitro_rows(ctx, a->dtype, 0, 1, a->D);
    k.lse = lse;
    k.wide = k.wide && vitro_aligned16(q) && vitro_aligned16(kv) && vitro_aligned16(ctx);
    return vitro_attention_cls_forward(stream, &k, a->dtype);
}

VitroStatus vitro_cuda_attention_cls_backward(void *stream, const VitroCudaAttention *a, void *dq,
                                              void *dkv, const void *dctx, const void *q,
                                              const void *kv, const void *ctx, const float *lse)
{
    VitroAttn k;
    VITRO_TRY(make(&k, a));
    k.q = vitro_rows(q, a->dtype, 0, 1, a->D);
    k.k = vitro_rows(kv, a->dtype, 0, a->T, 2 * a->D);
    k.v = vitro_rows(kv, a->dtype, a->D, a->T, 2 * a->D);
    k.dq = vitro_rows(dq, a->dtype, 0, 1, a->D);
    k.dk = vitro_rows(dkv, a->dtype, 0, a->T, 2 * a->D);
    k.dv = vitro_rows(dkv, a->dtype, a->D, a->T, 2 * a->D);
    k.ctx = vitro_rows(ctx, a->dtype, 0, 1, a->D);
    k.dctx = vitro_rows(dctx, a->dtype, 0, 1, a->D);
    k.lse = (float *)lse; /* only read */
    k.wide = k.wide && vitro_aligned16(q) && vitro_aligned16(kv) && vitro_aligned16(dq) &&
             vitro_aligned16(dkv) && vitro_aligned16(ctx) && vitro_aligned16(dctx);
    return vitro_attention_cls_backward(stream, &k, a->dtype);
}
