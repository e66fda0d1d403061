/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/product.h"

#include "backend/cpu/cpu_int.h"
#include "base/alloc.h"

#include <assert.h>
#include <omp.h>
#include <stdatomic.h>
#include <string.h>

/* The depth is cut into chunks of at most this many words: a chunk of a panel is then 192 KiB. */
enum { CHUNK = 768 };
enum { GROUP = 4 }; /* panels that follow each other over the same rows of a */

static int64_t ceil_div(int64_t n, int64_t by)
{
    return (n + by - 1) / by;
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- words --------------------------------------------------------------------------------------
 */

VitroWords vitro_words_along(VitroTensor t, VitroDot dot)
{
    const int64_t K = vitro_tensor_cols(&t);
    const bool narrow = dot == VITRO_DOT_BF16 && t.dtype == VITRO_F32;
    return (VitroWords){.kind = narrow ? VITRO_WORDS_BF16_OF_F32 : VITRO_WORDS_AS_THEY_ARE,
                        .per_word = vitro_dot_per_word(dot),
                        .from = t.data,
                        .stride = K * (int64_t)vitro_dtype_size(t.dtype),
                        .rows = vitro_tensor_rows(&t),
                        .cols = K};
}

VitroWords vitro_words_over(VitroTensor t, VitroDot dot)
{
    VitroWords w = vitro_words_along(t, dot);
    if (dot == VITRO_DOT_BF16)
        w.kind = t.dtype == VITRO_F32 ? VITRO_WORDS_PAIRS_OF_F32 : VITRO_WORDS_PAIRS_OF_BF16;
    w.per_word = 1;
    return w;
}

/* ---- packing ----------------------------------------------------------------------------------
 */

static int64_t words_across(const VitroWords *w)
{
    return ceil_div(w->cols, w->per_word);
}

static int64_t words_down(const VitroWords *w)
{
    const bool pairs = w->kind == VITRO_WORDS_PAIRS_OF_F32 || w->kind == VITRO_WORDS_PAIRS_OF_BF16;
    return pairs ? ceil_div(w->rows, 2) : w->rows;
}

static int64_t depth_of(const VitroB *b)
{
    return b->transposed ? words_across(&b->words) : words_down(&b->words);
}

static int64_t cols_of(const VitroB *b)
{
    return b->transposed ? b->words.rows : b->words.cols;
}

/* Rows [d0, d0 + nd) of one panel. */
static void pack_panel(const VitroKernels *kernels, uint32_t *out, const VitroB *b, int64_t panel,
                       int64_t d0, int64_t nd)
{
    const int64_t first = panel * VITRO_PANEL;
    if (b->transposed)
        kernels->words_transposed(out, VITRO_PANEL, &b->words, first, VITRO_PANEL, d0, nd);
    else
        kernels->words(out, VITRO_PANEL, &b->words, d0, nd, first, VITRO_PANEL);
}

/* The sums of the panel's columns: a row of ones times it. */
static void sum_columns(const VitroKernels *kernels, VitroPanels *p, int64_t panel)
{
    const uint32_t ones = 0x01010101;
    const uint32_t *words = p->words + panel * p->depth * VITRO_PANEL;
    int32_t sums[VITRO_PANEL] = {0};
    vitro_unit_begin(&kernels->unit[VITRO_DOT_U8S8]);
    for (int64_t d = 0; d < p->depth; d++)
        kernels->unit[VITRO_DOT_U8S8].tile(&(VitroTile){.rows = 1,
                                                        .cols = VITRO_PANEL,
                                                        .depth = 1,
                                                        .a = &ones,
                                                        .b = words + d * VITRO_PANEL,
                                                        .c = sums,
                                                        .c_stride = VITRO_PANEL,
                                                        .add = sums});
    vitro_unit_end(&kernels->unit[VITRO_DOT_U8S8]);
    const int64_t first = panel * VITRO_PANEL, n = min64(p->cols - first, VITRO_PANEL);
    memcpy(p->sum + first, sums, (size_t)n * sizeof *sums);
}

VitroStatus vitro_panels_fill(VitroDevice *dev, VitroPanels *p, const VitroB *b)
{
    const VitroKernels *kernels = vitro_cpu(dev)->kernels;
    assert(cols_of(b) == p->cols && depth_of(b) == p->depth);
    const int64_t panels = ceil_div(p->cols, VITRO_PANEL);
    PARALLEL(p->cols * p->depth)
    for (int64_t i = 0; i < panels; i++) {
        pack_panel(kernels, p->words + i * p->depth * VITRO_PANEL, b, i, 0, p->depth);
        if (p->dot == VITRO_DOT_U8S8)
            sum_columns(kernels, p, i);
    }
    return VITRO_OK;
}

VitroStatus vitro_panels_create(VitroPanels **out, VitroDevice *dev, VitroDot dot, const VitroB *b)
{
    VitroPanels *p = vitro_calloc(1, sizeof *p);
    if (!p)
        return VITRO_NOMEM;
    p->dot = dot;
    p->cols = cols_of(b);
    p->depth = depth_of(b);
    VitroStatus st = VITRO_NOMEM;
    const size_t panels = (size_t)ceil_div(p->cols, VITRO_PANEL);
    const size_t bytes = panels * (size_t)p->depth * VITRO_PANEL * sizeof *p->words;
    p->words = vitro_malloc_aligned(bytes);
    if (!p->words)
        goto done;
    vitro_large_pages(p->words, bytes);
    if (dot == VITRO_DOT_U8S8) {
        p->scale = vitro_calloc((size_t)p->cols, sizeof *p->scale);
        p->sum = vitro_calloc((size_t)p->cols, sizeof *p->sum);
        if (!p->scale || !p->sum)
            goto done;
    }
    st = vitro_panels_fill(dev, p, b);
done:
    if (st != VITRO_OK) {
        vitro_panels_free(p);
        return st;
    }
    *out = p;
    return VITRO_OK;
}

void vitro_panels_free(VitroPanels *p)
{
    if (!p)
        return;
    vitro_free(p->words);
    vitro_free(p->scale);
    vitro_free(p->sum);
    vitro_free(p);
}

/* ---- the walk ---------------------------------------------------------------------------------
 */

typedef struct Walk {
    const VitroProduct *p;
    const VitroKernels *kernels;
    const VitroUnit *unit;
    int64_t chunk, chunks; /* of the depth, in words */
    int64_t block, blocks; /* of rows */
    int64_t panels, group, groups;
    int64_t parts; /* tasks that share a group's blocks between them */
    int64_t tasks;
    size_t sums_bytes, packed_bytes, thread_bytes;
} Walk;

static Walk plan_walk(VitroDevice *dev, const VitroProduct *p)
{
    const VitroCpu *cpu = vitro_cpu(dev);
    Walk w = {.p = p, .kernels = cpu->kernels};
    w.unit = &cpu->kernels->unit[p->dot];
    const int64_t step = w.unit->tile_rows;
    w.chunks = ceil_div(p->depth, CHUNK);
    w.chunk = ceil_div(p->depth, w.chunks);
    if (w.unit->depth_step)
        w.chunk = vitro_round_up(w.chunk, w.unit->depth_step);
    /* Measured: where rows are read twice and fast, blocks that leave room for more of b. */
    int64_t most = cpu->cache_words / (w.unit->rereads ? 4 : 1) / w.chunk;
    most = most < step ? step : most;
    w.blocks = ceil_div(p->rows, most);
    w.block = vitro_round_up(ceil_div(p->rows, w.blocks), step);
    w.blocks = ceil_div(p->rows, w.block);
    w.panels = ceil_div(p->cols, VITRO_PANEL);
    /* Enough tasks for threads that are not equally fast. */
    const int64_t enough = dev->threads == 1 ? 1 : 4 * dev->threads;
    const bool pack = !p->panels;
    w.group = w.panels * (pack ? 1 : w.blocks) / enough;
    w.group = w.group < 1 ? 1 : min64(w.group, GROUP);
    w.groups = ceil_div(w.panels, w.group);
    w.parts = pack ? min64(ceil_div(enough, w.groups), w.blocks) : w.blocks;
    if (dev->threads > 1 && w.groups * w.parts < enough && p->rows > step) {
        /* Few columns: smaller blocks of rows in place of a whole cache full. */
        const int64_t wanted = min64(ceil_div(enough, w.groups), ceil_div(p->rows, 48));
        if (wanted > w.parts) {
            w.block = vitro_round_up(ceil_div(p->rows, wanted), step);
            w.blocks = ceil_div(p->rows, w.block);
            w.parts = w.blocks;
        }
    }
    w.tasks = w.groups * w.parts;
    w.sums_bytes = w.chunks > 1 ? (size_t)(w.block * w.group * VITRO_PANEL) * sizeof(float) : 0;
    w.packed_bytes = pack ? (size_t)(w.group * p->depth * VITRO_PANEL) * sizeof(uint32_t) : 0;
    w.thread_bytes = (w.sums_bytes + w.packed_bytes + 127) / 64 * 64;
    return w;
}

/* A chunk of a panel that is wanted next: it is fetched into the second-level cache while the one
 * before is multiplied, or the first rows of each chunk would wait for main memory. */
typedef struct Ahead {
    const uint8_t *from; /* NULL: nothing */
    int64_t bytes;
} Ahead;

/* Part `i` of `n`. */
static void fetch_ahead(Ahead a, int64_t i, int64_t n)
{
    enum { LINE = 64 };
    if (!a.from)
        return;
    const int64_t lines = ceil_div(a.bytes, LINE);
    for (int64_t k = i * lines / n; k < (i + 1) * lines / n; k++)
        __builtin_prefetch(a.from + k * LINE, 0, 2);
}

/* One chunk of one panel for one block of rows. b points at the panel. */
static void walk_rows(const Walk *w, const uint32_t *b, int64_t panel, int64_t row0, int64_t row1,
                      int64_t chunk, float *sums, int64_t sums_stride, Ahead ahead)
{
    const VitroProduct *p = w->p;
    const int64_t d0 = chunk * w->chunk, col = panel * VITRO_PANEL;
    const bool first = chunk == 0, last = chunk == w->chunks - 1;
    float tile[VITRO_TILE_ROWS * VITRO_PANEL] __attribute__((aligned(64)));
    float bias[VITRO_PANEL] __attribute__((aligned(64)));
    VitroTile t = {.cols = min64(p->cols - col, VITRO_PANEL),
                   .depth = min64(p->depth - d0, w->chunk),
                   .a_stride = p->a_stride,
                   .b = b + d0 * VITRO_PANEL,
                   .c = tile,
                   .c_stride = VITRO_PANEL};
    const bool bytes = p->dot == VITRO_DOT_U8S8;
    if (p->bias) {
        memset(bias, 0, sizeof bias);
        memcpy(bias, p->bias + col, (size_t)t.cols * sizeof *bias);
        if (first && !bytes)
            t.add = bias;
    }
    const int64_t steps = ceil_div(row1 - row0, w->unit->tile_rows);
    for (int64_t row = row0, i = 0; row < row1; row += w->unit->tile_rows, i++) {
        fetch_ahead(ahead, i, steps);
        t.rows = min64(row1 - row, w->unit->tile_rows);
        t.a = (const uint8_t *)p->a + row * p->a_stride + 4 * d0;
        if (!first) {
            t.add = sums + (row - row0) * sums_stride;
            t.add_stride = sums_stride;
        }
        if (!last) {
            t.c = sums + (row - row0) * sums_stride;
            t.c_stride = sums_stride;
        }
        w->unit->tile(&t);
        if (!last)
            continue;
        if (bytes)
            w->kernels->sums_to_f32(tile, VITRO_PANEL, t.rows, t.cols, p->a_scale + row,
                                    p->a_zero + row, p->panels->sum + col, p->panels->scale + col,
                                    p->bias ? bias : NULL);
        p->finish(p->user, tile, row, t.rows, col, t.cols);
    }
}

static Ahead chunk_at(const Walk *w, const uint32_t *packed, int64_t panel, int64_t chunk)
{
    const int64_t d0 = chunk * w->chunk, depth = min64(w->p->depth - d0, w->chunk);
    return (Ahead){(const uint8_t *)(packed + (panel * w->p->depth + d0) * VITRO_PANEL),
                   depth * VITRO_PANEL * (int64_t)sizeof *packed};
}

/* `after` is what the thread wants when the block is done. */
static void walk_block(const Walk *w, int64_t block, int64_t group, const uint32_t *packed,
                       float *sums, Ahead after)
{
    const int64_t row0 = block * w->block, row1 = min64(row0 + w->block, w->p->rows);
    const int64_t first = group * w->group, n = min64(w->group, w->panels - first);
    const int64_t stride = w->group * VITRO_PANEL;
    for (int64_t c = 0; c < w->chunks; c++)
        for (int64_t i = 0; i < n; i++) {
            const bool last = i == n - 1, end = last && c == w->chunks - 1;
            const Ahead ahead = end ? after : chunk_at(w, packed, last ? 0 : i + 1, c + last);
            walk_rows(w, packed + i * w->p->depth * VITRO_PANEL, first + i, row0, row1, c,
                      sums + i * VITRO_PANEL, stride, ahead);
        }
}

/* Neighbouring tasks share what is dearer to fetch: rows of a, or the panels that are packed. */
static int64_t group_of(const Walk *w, int64_t task)
{
    return w->p->panels ? task % w->groups : task / w->parts;
}

static int64_t part_of(const Walk *w, int64_t task)
{
    return w->p->panels ? task / w->groups : task % w->parts;
}

static const uint32_t *prepared_group(const Walk *w, int64_t group)
{
    return w->p->panels->words + group * w->group * w->p->depth * VITRO_PANEL;
}

/* One task of the walk: a group of panels, and a part of the blocks of rows. `next` is the thread's
 * next one; there may be none. */
static void walk_task(const Walk *w, int64_t task, int64_t next, uint8_t *scratch)
{
    const VitroProduct *p = w->p;
    float *sums = (float *)(void *)scratch;
    const int64_t group = group_of(w, task), part = part_of(w, task);
    const uint32_t *panels;
    Ahead after = {NULL, 0};
    if (p->panels) {
        panels = prepared_group(w, group);
        if (next < w->tasks)
            after = chunk_at(w, prepared_group(w, group_of(w, next)), 0, 0);
    } else {
        uint32_t *packed = (uint32_t *)(void *)(scratch + w->sums_bytes);
        const int64_t first = group * w->group, n = min64(w->group, w->panels - first);
        for (int64_t i = 0; i < n; i++)
            pack_panel(w->kernels, packed + i * p->depth * VITRO_PANEL, p->b, first + i, 0,
                       p->depth);
        panels = packed;
    }
    const int64_t begin = part * w->blocks / w->parts, end = (part + 1) * w->blocks / w->parts;
    for (int64_t b = begin; b < end; b++)
        walk_block(w, b, group, panels, sums, b == end - 1 ? after : chunk_at(w, panels, 0, 0));
}

VitroStatus vitro_product(VitroDevice *dev, const VitroProduct *p)
{
    assert(!p->panels || (p->panels->dot == p->dot && p->panels->depth == p->depth &&
                          p->panels->cols == p->cols));
    assert(p->panels || (p->dot != VITRO_DOT_U8S8 && depth_of(p->b) == p->depth));
    if (p->rows == 0 || p->cols == 0)
        return VITRO_OK;
    const Walk w = plan_walk(dev, p);
    void *memory = NULL;
    VITRO_TRY(vitro_scratch(&memory, VITRO_SCRATCH_THREADS, (size_t)dev->threads * w.thread_bytes));
    /* A thread takes its next task before it does the one it has, to know what to fetch ahead. */
    _Atomic int64_t taken = 0;
#pragma omp parallel num_threads(dev->threads) if (w.tasks > 1 && p->rows * p->cols > 1024 &&      \
                                                   p->rows * p->cols * p->depth >= 1 << 16)
    {
        uint8_t *scratch = (uint8_t *)memory + (size_t)omp_get_thread_num() * w.thread_bytes;
        vitro_unit_begin(w.unit);
        int64_t task = atomic_fetch_add(&taken, 1);
        while (task < w.tasks) {
            const int64_t next = atomic_fetch_add(&taken, 1);
            walk_task(&w, task, next, scratch);
            task = next;
        }
        vitro_unit_end(w.unit);
    }
    return VITRO_OK;
}
