/* SPDX-License-Identifier: Apache-2.0 */
/* Matrix products by oneDNN. Its .c file is the only one that includes dnnl.h and sees that the C
 * APIs of oneDNN 2.x (Debian 12) and 3.x (Debian 13) differ. It knows matrices, not tensors.
 *
 * Primitives are built at the first product of their shape and kept; a warm product allocates
 * nothing of ours. All functions but open, close, pack, repack and unpack may be called by several
 * threads at once. */
#ifndef VITRO_BACKEND_CPU_ONEDNN_H
#define VITRO_BACKEND_CPU_ONEDNN_H

#include "base/status.h"
#include "vitro/model.h" /* VitroAct */

typedef struct VitroOnednn VitroOnednn; /* engine and primitives of one device */
typedef struct VitroPacked VitroPacked; /* a right-hand matrix in oneDNN's own blocked form */

/* `threads` >= 1: what each product may use. `flags`: as of vitro_cpu_flags. */
VitroStatus vitro_onednn_open(VitroOnednn **out, int threads, unsigned flags);
void vitro_onednn_close(VitroOnednn *dnn);
/* "oneDNN 2.6.3": the library that is running. */
void vitro_onednn_version(char *out, size_t size);

/* Packs b[k,n] for products with about m rows; b is stored [n,k] if b_transposed. *out stays NULL
 * where oneDNN would read b as it is. Borrows b, whose elements repack reads again. */
VitroStatus vitro_onednn_pack(VitroOnednn *dnn, VitroPacked **out, int64_t m, int64_t n, int64_t k,
                              const float *b, bool b_transposed);
VitroStatus vitro_onednn_repack(VitroOnednn *dnn, VitroPacked *packed);
void vitro_onednn_unpack(VitroPacked *packed); /* frees it; NULL is fine */

/* dst[m,n] = act(a[m,k] b[k,n] + bias[n]) + residual[m,n]; all dense. */
typedef struct VitroMatmul {
    int64_t m, n, k;
    float *dst;
    const float *a;
    bool a_transposed; /* a is stored [k,m] */
    const float *b;
    bool b_transposed;         /* b is stored [n,k] */
    const VitroPacked *packed; /* b packed, or NULL */
    const float *bias;         /* or NULL */
    VitroAct act;
    const float *residual; /* or NULL; dst itself: +=. Else it must not overlap dst */
} VitroMatmul;

VitroStatus vitro_onednn_matmul(VitroOnednn *dnn, const VitroMatmul *mm);

#endif
