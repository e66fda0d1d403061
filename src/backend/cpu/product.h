/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products c = a b, of any size, on all threads: the walk over tiles (kernels/body/tile.inc)
 * that keeps a's rows in the second-level cache and reads b once for each block of them. Knows no
 * layer: what becomes of a finished tile is the caller's function.
 *
 * Which thread computes a tile changes nothing in it, and how its depth is cut depends on the depth
 * alone: results have the same bits for every number of threads. */
#ifndef VITRO_BACKEND_CPU_PRODUCT_H
#define VITRO_BACKEND_CPU_PRODUCT_H

#include "backend/backend.h"
#include "kernels/kernels.h"

/* The matrix t as rows of words of `dot`: each of its rows as one, */
VitroWords vitro_words_along(VitroTensor t, VitroDot dot);
/* or, for products that sum over its rows, a row of words for each of them (F32) or each two
 * (BF16). */
VitroWords vitro_words_over(VitroTensor t, VitroDot dot);
/* Bytes between rows of `depth` words: an odd number of cache lines, as rows that are a power of
 * two apart would share few sets. */
static inline int64_t vitro_row_stride(int64_t depth)
{
    return ((depth * 4 + 63) / 64 | 1) * 64;
}

/* ---- b: packed beforehand, or on the way ---------------------------------------------------- */

typedef struct VitroPanels {
    VitroDot dot;
    int64_t cols, depth; /* depth in words */
    uint32_t *words;     /* [ceil(cols/64)][depth][64] */
    float *scale;        /* [cols] of each column's bytes; U8S8 only, as is the next */
    int32_t *sum;        /* [cols] of them: what a's zero point adds, times itself */
} VitroPanels;

/* b[depth,cols] as words; `transposed`: the matrix that `words` describes has b's columns as its
 * rows, as a weight w in x w^T. */
typedef struct VitroB {
    VitroWords words;
    bool transposed;
} VitroB;

VitroStatus vitro_panels_create(VitroPanels **out, VitroDevice *dev, VitroDot dot, const VitroB *b);
/* After the matrix changed: the same shape again. */
VitroStatus vitro_panels_fill(VitroDevice *dev, VitroPanels *panels, const VitroB *b);
void vitro_panels_free(VitroPanels *panels); /* NULL is fine */

/* --- the product ------------------------------------------------------------------------------ */

/* tile[rows][VITRO_PANEL]: rows [row, row + rows) and columns [col, col + cols) of c, bias added.
 * The function may write anywhere in the tile; several threads call it, each for its own tiles. */
typedef void VitroFinishFn(const void *user, float *tile, int64_t row, int64_t rows, int64_t col,
                           int64_t cols);

typedef struct VitroProduct {
    VitroDot dot;
    int64_t rows, cols, depth; /* depth in words */
    const void *a;             /* [rows] of depth words */
    int64_t a_stride;          /* bytes */
    const float *a_scale;      /* [rows], U8S8 only, as is the next */
    const int32_t *a_zero;
    const VitroPanels *panels; /* b packed; or NULL, */
    const VitroB *b;           /* and each thread packs what it needs (F32 and BF16 only) */
    const float *bias;         /* [cols], or NULL */
    VitroFinishFn *finish;
    const void *user;
} VitroProduct;

VitroStatus vitro_product(VitroDevice *dev, const VitroProduct *p);

#endif
