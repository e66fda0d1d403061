/* SPDX-License-Identifier: Apache-2.0 */
/* Products of bf16 and of bytes for CPUs with AMX: tile registers of 16 rows by 64 bytes, two of
 * rows of c by two of columns at a time. A panel is the form in which AMX wants b as it is. */
#if defined(__x86_64__) && defined(__linux__)
#include "kernels/kernels.h"

#include <immintrin.h>
#include <string.h>

#define AMX static __attribute__((target("amx-tile,amx-bf16,amx-int8,avx512f,avx512bw,avx512vl")))

enum { SIDE = 16, STEP = 16 /* words of depth */, PADDED = 256 /* words of a's rows copied */ };

typedef struct TileConfig {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} TileConfig;

/* Registers 0-3: c, 4 and 5: a, 6 and 7: b; all of them whole. Static, as gcc 12 takes the
 * intrinsic to read eight bytes of it only. */
static const TileConfig config = {.palette = 1,
                                  .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                                  .rows = {SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE}};

AMX void amx_begin(void)
{
    _tile_loadconfig(&config);
}

AMX void amx_end(void)
{
    _tile_release();
}

/* The next step's rows of b, while this one is multiplied: the processor follows no tile loads by
 * itself, and each would wait for the second-level cache. */
AMX void ask_ahead(const uint32_t *b)
{
    for (int r = 0; r < STEP; r++) {
        _mm_prefetch((const char *)(b + r * VITRO_PANEL), _MM_HINT_T0);
        _mm_prefetch((const char *)(b + r * VITRO_PANEL + SIDE), _MM_HINT_T0);
    }
}

/* The next `depth` words of 16 or 32 rows and of 16 or 32 columns; sums are in registers 0-3. */
#define ACCUMULATE(name, multiply)                                                                 \
    AMX void name(const uint8_t *a, int64_t a_stride, const uint32_t *b, int64_t depth,            \
                  const bool low, const bool right)                                                \
    {                                                                                              \
        for (int64_t p = 0; p < depth; p += STEP, a += 4 * STEP, b += STEP * VITRO_PANEL) {        \
            ask_ahead(b + STEP * VITRO_PANEL);                                                     \
            _tile_loadd(4, a, (size_t)a_stride);                                                   \
            _tile_loadd(6, b, 4 * VITRO_PANEL);                                                    \
            multiply(0, 4, 6);                                                                     \
            if (right) {                                                                           \
                _tile_loadd(7, b + SIDE, 4 * VITRO_PANEL);                                         \
                multiply(1, 4, 7);                                                                 \
            }                                                                                      \
            if (low) {                                                                             \
                _tile_loadd(5, a + SIDE * a_stride, (size_t)a_stride);                             \
                multiply(2, 5, 6);                                                                 \
                if (right)                                                                         \
                    multiply(3, 5, 7);                                                             \
            }                                                                                      \
        }                                                                                          \
    }

ACCUMULATE(accumulate_bf16, _tile_dpbf16ps)
ACCUMULATE(accumulate_u8s8, _tile_dpbusd)
#undef ACCUMULATE

/* Registers 0-3 from and to a 32 x 32 corner of rows `stride` floats apart. */
AMX void load_sums(const float *from, int64_t stride)
{
    const size_t apart = (size_t)stride * 4;
    _tile_loadd(0, from, apart);
    _tile_loadd(1, from + SIDE, apart);
    _tile_loadd(2, from + SIDE * stride, apart);
    _tile_loadd(3, from + SIDE * stride + SIDE, apart);
}

AMX void zero_sums(void)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

AMX void store_sums(float *to, int64_t stride, const bool low, const bool right)
{
    const size_t apart = (size_t)stride * 4;
    _tile_stored(0, to, apart);
    if (right)
        _tile_stored(1, to + SIDE, apart);
    if (low)
        _tile_stored(2, to + SIDE * stride, apart);
    if (low && right)
        _tile_stored(3, to + SIDE * stride + SIDE, apart);
}

/* Adds columns [col, col + 32) to registers 0-3. Whole rows and steps come straight from a and b;
 * what is left of either through copies filled up with zeros, as tile registers have one shape. */
AMX void half_panel(const VitroTile *t, const bool bytes, int64_t col)
{
    const bool right = t->cols - col > SIDE, low = t->rows > SIDE;
    const int64_t height = low ? 2 * SIDE : SIDE;
    const int64_t whole = t->depth / STEP * STEP;
    const uint32_t *b = (const uint32_t *)t->b + col;
    uint32_t rows[2 * SIDE][PADDED], tail[STEP][VITRO_PANEL];
    for (int64_t p = 0; p < t->depth;) {
        const bool last = p == whole;
        int64_t n = last ? t->depth - whole : whole - p;
        const uint8_t *a = (const uint8_t *)t->a + 4 * p;
        int64_t stride = t->a_stride;
        const uint32_t *from = b + p * VITRO_PANEL;
        if (last || t->rows < height) {
            n = n < PADDED ? n : PADDED;
            const size_t used = (size_t)((n + STEP - 1) / STEP * STEP) * 4;
            for (int64_t r = 0; r < height; r++) {
                memset(rows[r], 0, used);
                if (r < t->rows)
                    memcpy(rows[r], a + r * stride, (size_t)n * 4);
            }
            a = (const uint8_t *)rows;
            stride = sizeof rows[0];
        }
        if (last) {
            memset(tail, 0, sizeof tail);
            for (int64_t d = 0; d < n; d++)
                memcpy(tail[d], from + d * VITRO_PANEL, (right ? 2 : 1) * SIDE * sizeof *from);
            from = tail[0];
        }
        if (bytes)
            accumulate_u8s8(a, stride, from, n, low, right);
        else
            accumulate_bf16(a, stride, from, n, low, right);
        p += n;
    }
}

/* Sums begin as `add` in either case, so that a row's bits do not depend on its neighbours. The
 * processor keeps subnormal sums of bf16 at 0, which no logit notices. */
AMX void amx_tile(const VitroTile *t, const bool bytes)
{
    const float *add = t->add;
    if (t->rows == 2 * SIDE && t->cols % (2 * SIDE) == 0) {
        for (int64_t col = 0; col < t->cols; col += 2 * SIDE) {
            if (add)
                load_sums(add + col, t->add_stride);
            else
                zero_sums();
            half_panel(t, bytes, col);
            store_sums((float *)t->c + col, t->c_stride, true, true);
        }
        return;
    }
    float sums[2 * SIDE * VITRO_PANEL] __attribute__((aligned(64)));
    if (add) {
        memset(sums, 0, sizeof sums);
        for (int64_t r = 0; r < t->rows; r++)
            memcpy(sums + r * VITRO_PANEL, add + r * t->add_stride, (size_t)t->cols * sizeof *sums);
    }
    for (int64_t col = 0; col < t->cols; col += 2 * SIDE) {
        if (add)
            load_sums(sums + col, VITRO_PANEL);
        else
            zero_sums();
        half_panel(t, bytes, col);
        store_sums(sums + col, VITRO_PANEL, t->rows > SIDE, t->cols - col > SIDE);
    }
    for (int64_t r = 0; r < t->rows; r++)
        for (int64_t j = 0; j < t->cols; j += 16)
            _mm512_storeu_ps((float *)t->c + r * t->c_stride + j,
                             _mm512_load_ps(sums + r * VITRO_PANEL + j));
}

AMX void tile_bf16(const VitroTile *t)
{
    amx_tile(t, false);
}

AMX void tile_u8s8(const VitroTile *t)
{
    amx_tile(t, true);
}

/* Four sums, as there are registers for; operands are 0, which takes as long as numbers. */
#define PEAK(name, multiply)                                                                       \
    AMX float name(int64_t rounds)                                                                 \
    {                                                                                              \
        float out[SIDE][SIDE];                                                                     \
        amx_begin();                                                                               \
        _tile_zero(0);                                                                             \
        _tile_zero(1);                                                                             \
        _tile_zero(2);                                                                             \
        _tile_zero(3);                                                                             \
        _tile_zero(4);                                                                             \
        _tile_zero(6);                                                                             \
        for (; rounds > 0; rounds--) {                                                             \
            multiply(0, 4, 6);                                                                     \
            multiply(1, 4, 6);                                                                     \
            multiply(2, 4, 6);                                                                     \
            multiply(3, 4, 6);                                                                     \
        }                                                                                          \
        _tile_stored(3, out, 64);                                                                  \
        amx_end();                                                                                 \
        return out[0][0];                                                                          \
    }

PEAK(peak_bf16, _tile_dpbf16ps)
PEAK(peak_u8s8, _tile_dpbusd)

void vitro_kernels_add_amx(VitroKernels *kernels)
{
    const int64_t macs = (int64_t)4 * SIDE * SIDE * STEP; /* a word's product each */
    kernels->unit[VITRO_DOT_BF16] = (VitroUnit){.name = "AMX BF16",
                                                .tile_rows = 2 * SIDE,
                                                .depth_step = STEP,
                                                .rereads = true,
                                                .tile = tile_bf16,
                                                .begin = amx_begin,
                                                .end = amx_end,
                                                .peak = peak_bf16,
                                                .peak_flops = macs * 4};
    kernels->unit[VITRO_DOT_U8S8] = (VitroUnit){.name = "AMX INT8",
                                                .tile_rows = 2 * SIDE,
                                                .depth_step = STEP,
                                                .rereads = true,
                                                .tile = tile_u8s8,
                                                .begin = amx_begin,
                                                .end = amx_end,
                                                .peak = peak_u8s8,
                                                .peak_flops = macs * 8};
}
#else
typedef int vitro_no_amx_here;
#endif
