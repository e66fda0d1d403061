/* SPDX-License-Identifier: Apache-2.0 */
/* Other names for a file's tensors, tensors put together from several of them, without copying
 * (model/keymap.c says which), and others in their place (model/resize.c). It must not know what
 * the names mean. */
#include "base/alloc.h"
#include "ckpt/format.h"
#include "tensor/dtype.h"

#include <assert.h>
#include <string.h>

static void set_shape(VitroCkptTensor *t, int rank, const int64_t *dim)
{
    int64_t step = 1;
    t->info.rank = rank;
    for (int i = rank; i-- > 0;) {
        t->info.dim[i] = dim[i];
        t->stride[i] = step;
        step *= dim[i] > 1 ? dim[i] : 1;
    }
}

/* Element `i` of the first dimension. */
static void take_slice(VitroCkptTensor *t, int64_t i)
{
    assert(t->info.rank > 0 && i < t->info.dim[0]);
    const size_t at = (size_t)(i * t->stride[0]) * vitro_dtype_size(t->info.dtype);
    t->info.count /= t->info.dim[0];
    t->data = t->info.count ? t->data + at : NULL;
    t->info.rank--;
    memmove(t->info.dim, t->info.dim + 1, (size_t)t->info.rank * sizeof(t->info.dim[0]));
    memmove(t->stride, t->stride + 1, (size_t)t->info.rank * sizeof(t->stride[0]));
    t->contiguous = vitro_ckpt_is_contiguous(t);
}

static VitroCkptTensor turned(const VitroCkptTensor *from, const VitroCkptSource *s)
{
    VitroCkptTensor out = *from;
    if (s->is_slice)
        take_slice(&out, s->slice);
    if (s->view_rank) {
        assert(out.contiguous);
        set_shape(&out, s->view_rank, s->view);
    }
    const VitroCkptTensor whole = out, *t = &whole;
    for (int i = 0; i < s->axis_count; i++) {
        out.info.dim[i] = t->info.dim[s->axis[i]];
        out.stride[i] = t->stride[s->axis[i]];
    }
    out.contiguous = vitro_ckpt_is_contiguous(&out);
    return out;
}

/* Fills *out; what it holds is freed by vitro_ckpt_free_tensors, also after a failure. */
static VitroStatus make(VitroCkptTensor *out, const VitroCheckpoint *ckpt, const VitroCkptMove *m)
{
    VitroCkptTensor first = turned(&ckpt->tensor[m->source[0].index], &m->source[0]);
    char *name = vitro_strdup(m->name);
    if (!name)
        return VITRO_NOMEM;
    *out = first;
    out->name = name;
    out->info.name = name;
    out->part = NULL;
    out->part_count = 0;
    if (m->source_count == 1 && m->rank == first.info.rank &&
        memcmp(m->dim, first.info.dim, (size_t)m->rank * sizeof(m->dim[0])) == 0 &&
        !m->source[0].axis_count)
        return VITRO_OK; /* nothing but another name: strides and all */
    if (m->source_count > 1 || !first.contiguous) {
        out->part = vitro_calloc((size_t)m->source_count, sizeof(*out->part));
        if (!out->part)
            return VITRO_NOMEM;
        out->part_count = m->source_count;
        out->data = NULL;
        out->record = -1;
        out->contiguous = false;
        out->info.count = 0;
        for (int64_t i = 0; i < m->source_count; i++) {
            const VitroCkptTensor *from = &ckpt->tensor[m->source[i].index];
            assert(!from->part_count && !from->memory && from->info.dtype == first.info.dtype);
            out->part[i] = turned(from, &m->source[i]);
            out->part[i].name = NULL;
            out->part[i].info.name = name;
            out->info.count += out->part[i].info.count;
        }
    }
    set_shape(out, m->rank, m->dim);
    return VITRO_OK;
}

void vitro_ckpt_replace(VitroCheckpoint *ckpt, int64_t i, int rank, const int64_t *dim, float *data)
{
    VitroCkptTensor *t = &ckpt->tensor[i];
    vitro_free(t->part);
    vitro_free(t->memory);
    t->part = NULL;
    t->part_count = 0;
    t->data = t->memory = data;
    t->record = -1;
    t->contiguous = true;
    t->info.dtype = VITRO_F32;
    set_shape(t, rank, dim);
    t->info.count = 1;
    for (int d = 0; d < rank; d++)
        t->info.count *= dim[d];
}

VitroStatus vitro_ckpt_rearrange(VitroCheckpoint *ckpt, const VitroCkptMove *move, int64_t count)
{
    int64_t *order = NULL;
    VitroCkptTensor *list = vitro_calloc((size_t)count, sizeof(*list));
    VitroStatus st = list ? VITRO_OK : VITRO_NOMEM;
    for (int64_t i = 0; i < count && st == VITRO_OK; i++)
        st = make(&list[i], ckpt, &move[i]);
    if (st == VITRO_OK)
        st = vitro_ckpt_index_names(&order, list, count);
    if (st != VITRO_OK) {
        vitro_ckpt_free_tensors(list, list ? count : 0);
        return st;
    }
    vitro_ckpt_free_tensors(ckpt->tensor, ckpt->count);
    vitro_free(ckpt->by_name);
    ckpt->tensor = list;
    ckpt->count = ckpt->capacity = count;
    ckpt->by_name = order;
    return VITRO_OK;
}
