/* SPDX-License-Identifier: Apache-2.0 */
/* One block of device memory, cut into pieces. A layout is a function that takes pieces in order:
 * run once with base = NULL it measures, run again on the block it places. Pieces taken after a
 * mark may be given back to it, so that buffers with disjoint lifetimes share memory. */
#ifndef VITRO_BACKEND_ARENA_H
#define VITRO_BACKEND_ARENA_H

#include "base/alloc.h"
#include "tensor/tensor.h"

#define VITRO_ARENA_MAX (SIZE_MAX / 2) /* where measuring stops: no machine has as much */

typedef struct VitroArena {
    uint8_t *base;     /* NULL while measuring */
    size_t used, peak; /* bytes */
} VitroArena;

static inline void *vitro_arena_take(VitroArena *a, size_t bytes)
{
    void *p = a->base ? a->base + a->used : NULL;
    size_t padded = bytes / VITRO_ALIGN * VITRO_ALIGN + (bytes % VITRO_ALIGN ? VITRO_ALIGN : 0);
    a->used = padded < VITRO_ARENA_MAX - a->used ? a->used + padded : VITRO_ARENA_MAX;
    if (a->used > a->peak)
        a->peak = a->used;
    return p;
}

static inline void vitro_arena_release(VitroArena *a, size_t mark)
{
    a->used = mark;
}

/* A tensor of the shape of `t`, whose data is replaced. */
static inline VitroTensor vitro_arena_tensor(VitroArena *a, VitroTensor t)
{
    t.data = vitro_arena_take(a, vitro_tensor_bytes(&t));
    return t;
}

#endif
