/* SPDX-License-Identifier: Apache-2.0 */
/* The inner loops of the fast CPU back end: loops over raw float32 pointers, without threads,
 * allocation or failure. A table of them exists per instruction set; each is compiled from the one
 * text in body/. Rows are contiguous unless a leading dimension is told; pointers need no
 * alignment; outputs and inputs do not overlap unless said otherwise.
 *
 * They know neither tensors nor the model. */
#ifndef VITRO_KERNELS_KERNELS_H
#define VITRO_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vitro/model.h" /* VitroAct */

/* c[m,n] = a[m,k] b[k,n], or += with `add`. Element (i,p) of a is a[i*a_row + p*a_col], so a may be
 * transposed; rows of b and c are ldb and ldc elements apart. */
typedef struct VitroGemm {
    int64_t m, n, k;
    float *c;
    int64_t ldc;
    const float *a;
    int64_t a_row, a_col;
    const float *b;
    int64_t ldb;
    bool add;
} VitroGemm;

/* Where the random words of one sample's dropout are found; see VitroDropout in backend.h. */
typedef struct VitroDropKey {
    uint64_t key;
    uint32_t sample, site, step;
    uint32_t threshold; /* kept where word >> 8 >= threshold */
    float scale;        /* of what is kept */
} VitroDropKey;

/* As VitroOptimStep, in the arithmetic of the loops. */
typedef struct VitroSgdNumbers {
    float lr, weight_decay, grad_scale, momentum;
} VitroSgdNumbers;

typedef struct VitroAdamwNumbers {
    float step_size; /* lr / (1 - beta1^t) */
    float decay;     /* 1 - lr * weight_decay */
    float grad_scale;
    float beta1, one_minus_beta1, beta2, one_minus_beta2;
    float inv_sqrt_c2; /* 1 / sqrt(1 - beta2^t) */
    float eps;
} VitroAdamwNumbers;

typedef struct VitroKernels {
    const char *name; /* "AVX-512" */

    void (*gemm)(const VitroGemm *g);
    /* out[cols,rows] = in[rows,cols] transposed; columns of out from `rows` up to ldo become 0 */
    void (*transpose)(float *out, int64_t ldo, const float *in, int64_t ldi, int64_t rows,
                      int64_t cols);

    /* row = e^(scale row - max); returns 1 / sum of it, and log sum e^(scale row) in *lse. */
    float (*softmax)(float *row, int64_t n, float scale, float *lse);
    /* row = e^(scale row - lse): the probabilities again */
    void (*softmax_again)(float *row, int64_t n, float scale, float lse);
    /* ds = p (dp - delta) scale; ds may be dp */
    void (*softmax_backward)(float *ds, const float *p, const float *dp, int64_t n, float delta,
                             float scale);

    /* y = act(x); y may be x */
    void (*act)(float *y, const float *x, int64_t n, VitroAct act);
    /* dx = dy act'(x), x what went into act; dx may be dy */
    void (*act_backward)(float *dx, const float *dy, const float *x, int64_t n, VitroAct act);
    /* y = x with dropout, its elements being first, first + 1, ... of the sample; y may be x */
    void (*dropout)(float *y, const float *x, int64_t n, uint64_t first, const VitroDropKey *key);
    /* y = s x + r; r NULL: absent; y may be x or r */
    void (*scale_add)(float *y, const float *x, float s, const float *r, int64_t n);
    float (*dot)(const float *a, const float *b, int64_t n);
    /* sum[n] += each of the rows of x */
    void (*add_rows)(float *sum, const float *x, int64_t ldx, int64_t rows, int64_t n);
    double (*sum_of_squares)(const float *x, int64_t n);

    /* One row. mean, rstd: one number each, or NULL. */
    void (*layernorm)(float *y, float *mean, float *rstd, const float *x, const float *gamma,
                      const float *beta, int64_t n, float eps);
    /* One row. dx = add + gradient (add may be NULL or dx); dgamma and dbeta += (both may be NULL)
     */
    void (*layernorm_backward)(float *dx, float *dgamma, float *dbeta, const float *add,
                               const float *dy, const float *x, float mean, float rstd,
                               const float *gamma, int64_t n);

    void (*sgd)(float *p, const float *g, float *momentum, int64_t n, const VitroSgdNumbers *s);
    void (*adamw)(float *p, const float *g, float *m, float *v, int64_t n,
                  const VitroAdamwNumbers *s);

    /* `rounds` times peak_flops operations in registers; returns a number that depends on
     * all of them. */
    float (*peak)(int64_t rounds);
    int64_t peak_flops; /* operations in one round */
} VitroKernels;

/* The best table that `flags` (of vitro_cpu_flags) allow. Static storage. */
const VitroKernels *vitro_kernels(unsigned flags);

/* The tables themselves, for tests. The last two exist on x86-64 only. */
extern const VitroKernels vitro_kernels_c;
extern const VitroKernels vitro_kernels_avx2;
extern const VitroKernels vitro_kernels_avx512;

#endif
