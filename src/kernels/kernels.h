/* SPDX-License-Identifier: Apache-2.0 */
/* The inner loops of the fast CPU back end: loops over raw pointers, without threads,
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

/* ---- products of words
 * --------------------------------------------------------------------------- An operand's *word*
 * is 32 bits along the summed dimension: one float, two bf16 or four bytes. A panel is [depth][64]
 * words of b, depth being the summed dimension in words. All products of all precisions run on this
 * one form. */

#define VITRO_PANEL     64
#define VITRO_TILE_ROWS 32 /* the most that any unit takes */

/* What a word holds: a float, two bf16, or four bytes (a's unsigned, b's signed). Sums are float32,
 * of bytes int32. */
typedef enum VitroDot { VITRO_DOT_F32, VITRO_DOT_BF16, VITRO_DOT_U8S8, VITRO_DOTS } VitroDot;

static inline int vitro_dot_per_word(VitroDot dot)
{
    return dot == VITRO_DOT_F32 ? 1 : dot == VITRO_DOT_BF16 ? 2 : 4;
}

/* c[rows,cols] = add + a b, for 1..tile_rows of the unit and 1..64 columns. Whole vectors of
 * columns are read and written: b, c and add have room up to the next multiple of 16 columns. */
typedef struct VitroTile {
    int64_t rows, cols, depth;
    const void *a;      /* [rows][depth] words */
    int64_t a_stride;   /* bytes between rows; words need no alignment */
    const void *b;      /* a panel */
    void *c;            /* floats; int32 where the words are bytes */
    int64_t c_stride;   /* elements */
    const void *add;    /* of c's type; may be c; NULL: nothing */
    int64_t add_stride; /* 0: one row for all, a bias */
} VitroTile;

/* How a matrix [rows,cols] becomes words. In the first three kinds a row of words is a row of the
 * matrix; in the last two it is two rows, interleaved: what a product needs that sums over rows. */
typedef enum VitroWordKind {
    VITRO_WORDS_AS_THEY_ARE, /* per_word elements of 4 / per_word bytes */
    VITRO_WORDS_BF16_OF_F32,
    VITRO_WORDS_S8_OF_F32, /* round(factor[row] * x) */
    VITRO_WORDS_PAIRS_OF_F32,
    VITRO_WORDS_PAIRS_OF_BF16
} VitroWordKind;

typedef struct VitroWords {
    VitroWordKind kind;
    int per_word; /* 1, 2 or 4 elements; 1 for pairs */
    const void *from;
    int64_t stride; /* bytes between rows */
    int64_t rows, cols;
    const float *factor; /* [rows], for S8_OF_F32 */
} VitroWords;

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

/* What multiplies words of one kind. */
typedef struct VitroUnit {
    const char *name;   /* "AVX-512 FMA" */
    bool widened;       /* there is no instruction for it: words are widened and multiplied */
    int64_t tile_rows;  /* of a tile: the best number, and the most */
    int64_t depth_step; /* words of depth taken at once: others are copied first; 0: any number */
    bool rereads;       /* it takes a's rows from the second-level cache twice */
    void (*tile)(const VitroTile *t);
    /* A thread calls the first before its tiles and the second after them; NULL: need not. */
    void (*begin)(void);
    void (*end)(void);
    /* How fast `tile` could be: `rounds` times peak_flops of its operations in registers, a
     * multiply-add being two. Returns a number that depends on all of them. */
    float (*peak)(int64_t rounds);
    int64_t peak_flops;
} VitroUnit;

static inline void vitro_unit_begin(const VitroUnit *u)
{
    if (u->begin)
        u->begin();
}

static inline void vitro_unit_end(const VitroUnit *u)
{
    if (u->end)
        u->end();
}

/* The end of a product's tile: pre = x (NULL: not kept), y = scale act(x) column_scale +
 * residual. */
typedef struct VitroFinish {
    const float *tile; /* [rows][VITRO_PANEL] */
    int64_t rows, cols;
    VitroAct act;  /* NONE or GELU; others go through act first */
    void *y, *pre; /* float32, or bf16 where narrow */
    bool narrow, pre_narrow;
    int64_t stride;            /* elements between rows of y, pre and residual */
    const float *scale;        /* [rows], or NULL */
    const float *column_scale; /* [cols], or NULL */
    const float *residual;     /* may be y; NULL: none */
} VitroFinish;

typedef struct VitroKernels {
    const char *name; /* "AVX-512" */

    VitroUnit unit[VITRO_DOTS];
    /* Words [i0,i0+ni) x [j0,j0+nj) of s into out[ni,nj], or out[nj,ni], whose rows are ldo words
     * apart. Words and halves of words that s does not have are 0. */
    void (*words)(uint32_t *out, int64_t ldo, const VitroWords *s, int64_t i0, int64_t ni,
                  int64_t j0, int64_t nj);
    void (*words_transposed)(uint32_t *out, int64_t ldo, const VitroWords *s, int64_t i0,
                             int64_t ni, int64_t j0, int64_t nj);
    void (*to_bf16)(uint16_t *out, const float *x, int64_t n); /* nearest, ties to even */
    void (*from_bf16)(float *out, const uint16_t *x, int64_t n);
    /* A row as bytes: x = *scale (out - *zero), with 0 exact. */
    void (*to_u8)(uint8_t *out, float *scale, int32_t *zero, const float *x, int64_t n);
    /* In place: y = row_scale (sum - row_zero column_sum) column_scale + bias (NULL: none) */
    void (*sums_to_f32)(float *y, int64_t ldy, int64_t rows, int64_t cols, const float *row_scale,
                        const int32_t *row_zero, const int32_t *column_sum,
                        const float *column_scale, const float *bias);

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
    /* The same to some 1e-5 of dy, where dx becomes bf16. */
    void (*act_backward_narrow)(float *dx, const float *dy, const float *x, int64_t n,
                                VitroAct act);
    void (*finish)(const VitroFinish *f); /* GELU to some 1e-5 of |x| where y is narrow */
    /* y = x with dropout, its elements being first, first + 1, ... of the sample; y may be x */
    void (*dropout)(float *y, const float *x, int64_t n, uint64_t first, const VitroDropKey *key);
    /* y = s x + r; r NULL: absent; y may be x or r */
    void (*scale_add)(float *y, const float *x, float s, const float *r, int64_t n);
    void (*multiply)(float *y, const float *x, const float *f, int64_t n); /* y = x f; y may be x */
    float (*dot)(const float *a, const float *b, int64_t n);
    /* sum[n] += each of the rows of x */
    void (*add_rows)(float *sum, const float *x, int64_t ldx, int64_t rows, int64_t n);
    /* sum[n] += s a b */
    void (*add_product)(float *sum, const float *a, const float *b, float s, int64_t n);
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
} VitroKernels;

/* The best kernels that `flags` (of vitro_cpu_flags) allow. */
void vitro_kernels_init(VitroKernels *kernels, unsigned flags);

/* The tables themselves: one that exists everywhere, those of x86-64, that of AArch64. */
extern const VitroKernels vitro_kernels_c;
extern const VitroKernels vitro_kernels_avx2;
extern const VitroKernels vitro_kernels_avx512;
extern const VitroKernels vitro_kernels_neon;
/* What further instructions make better in that of AVX-512. */
void vitro_kernels_add_avx512_bf16(VitroKernels *kernels);
void vitro_kernels_add_avx512_vnni(VitroKernels *kernels);
void vitro_kernels_add_amx(VitroKernels *kernels);
/* And in that of NEON, where the compiler can give them to a single function. */
#if defined(__aarch64__) && (!defined(__clang__) || __clang_major__ >= 16)
#define VITRO_HAVE_NEON_DOTS
void vitro_kernels_add_neon_bf16(VitroKernels *kernels);
void vitro_kernels_add_neon_i8mm(VitroKernels *kernels);
void vitro_kernels_add_neon_sdot(VitroKernels *kernels);
#endif

#endif
