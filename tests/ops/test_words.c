/* SPDX-License-Identifier: Apache-2.0 */
/* Words, and tiles of them: every unit of every CPU mask that makes a difference here, against
 * plain loops in double. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "base/rng.h"
#include "kernels/kernels.h"
#include "tensor/dtype.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 300, STRIDE = 4 * DEPTH + 28 };

static VitroKernels kernels;

static uint32_t random_word(VitroRng *rng)
{
    return vitro_rng_u32(rng);
}

static float random_float(VitroRng *rng)
{
    return vitro_rng_float(rng) * 2 - 1;
}

/* A word of numbers between -1 and 1, or of bytes. */
static uint32_t random_operand(VitroRng *rng, VitroDot dot)
{
    if (dot == VITRO_DOT_F32)
        return vitro_f32_bits(random_float(rng));
    if (dot == VITRO_DOT_BF16)
        return vitro_bf16_from_f32(random_float(rng)) |
               (uint32_t)vitro_bf16_from_f32(random_float(rng)) << 16;
    return random_word(rng);
}

static double product_of_words(VitroDot dot, uint32_t a, uint32_t b)
{
    double sum = 0;
    if (dot == VITRO_DOT_F32)
        return (double)vitro_f32_from_bits(a) * vitro_f32_from_bits(b);
    if (dot == VITRO_DOT_BF16)
        return (double)vitro_f32_from_bits(a << 16) * vitro_f32_from_bits(b << 16) +
               (double)vitro_f32_from_bits(a & 0xffff0000) * vitro_f32_from_bits(b & 0xffff0000);
    for (int i = 0; i < 32; i += 8)
        sum += (double)(a >> i & 255) * (int8_t)(b >> i & 255);
    return sum;
}

static double value_of(VitroDot dot, float bits)
{
    if (dot == VITRO_DOT_U8S8) /* not `?:`, which would make both sides float */
        return (int32_t)vitro_f32_bits(bits);
    return bits;
}

typedef struct Operands {
    uint8_t a[(VITRO_TILE_ROWS + 1) * STRIDE];
    uint32_t b[DEPTH * VITRO_PANEL];
    float add[VITRO_TILE_ROWS][VITRO_PANEL], c[VITRO_TILE_ROWS + 1][VITRO_PANEL];
} Operands;

static void fill(Operands *o, VitroDot dot, VitroRng *rng)
{
    /* a's rows need no alignment */
    for (int r = 0; r <= VITRO_TILE_ROWS; r++)
        for (int p = 0; p < DEPTH; p++) {
            const uint32_t word = random_operand(rng, dot);
            if (r * STRIDE + 4 * p + 4 <= (int)sizeof o->a)
                memcpy(o->a + r * STRIDE + 4 * p, &word, 4);
        }
    for (int i = 0; i < DEPTH * VITRO_PANEL; i++)
        o->b[i] = random_operand(rng, dot);
    for (int r = 0; r < VITRO_TILE_ROWS; r++)
        for (int j = 0; j < VITRO_PANEL; j++)
            o->add[r][j] = dot == VITRO_DOT_U8S8 ? vitro_f32_from_bits(random_word(rng) >> 8)
                                                 : random_float(rng);
}

static double expected(const Operands *o, VitroDot dot, const VitroTile *t, int64_t r, int64_t j)
{
    double sum = 0;
    if (t->add)
        sum = value_of(dot, ((const float *)t->add)[r * t->add_stride + j]);
    for (int64_t p = 0; p < t->depth; p++) {
        uint32_t a;
        memcpy(&a, o->a + r * STRIDE + 4 * p, 4);
        sum += product_of_words(dot, a, o->b[p * VITRO_PANEL + j]);
    }
    return sum;
}

/* add: 0 nothing, 1 a bias, 2 a matrix, 3 c itself */
static void check_tile(Operands *o, VitroDot dot, int64_t rows, int64_t cols, int64_t depth,
                       int add)
{
    VitroTile t = {.rows = rows,
                   .cols = cols,
                   .depth = depth,
                   .a = o->a,
                   .a_stride = STRIDE,
                   .b = o->b,
                   .c = o->c,
                   .c_stride = VITRO_PANEL,
                   .add = add == 0   ? NULL
                          : add == 3 ? (void *)o->c
                                     : (void *)o->add,
                   .add_stride = add == 1 ? 0 : VITRO_PANEL};
    memset(o->c, 0xff, sizeof o->c);
    if (add == 3)
        memcpy(o->c, o->add, sizeof o->add);
    double want[VITRO_TILE_ROWS][VITRO_PANEL];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < cols; j++)
            want[r][j] = expected(o, dot, &t, r, j);
    kernels.unit[dot].tile(&t);
    const double limit = dot == VITRO_DOT_U8S8 ? 0 : 1e-6 * sqrt((double)depth) + 2e-7;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < cols; j++) {
            const double got = value_of(dot, o->c[r][j]);
            if (!(fabs(got - want[r][j]) <= limit))
                fail_msg("%s: %dx%d, depth %d, add %d: c[%d][%d] is %.9g, expected %.9g",
                         kernels.unit[dot].name, (int)rows, (int)cols, (int)depth, add, (int)r,
                         (int)j, got, want[r][j]);
        }
    uint32_t after;
    memcpy(&after, &o->c[rows][0], 4);
    if (add != 3)
        assert_int_equal(after, 0xffffffff); /* the next row was not touched */
}

static void check_unit(VitroDot dot)
{
    static const int64_t cols[] = {1, 15, 16, 17, 33, 48, 63, 64};
    static const int64_t depths[] = {1, 2, 15, 16, 17, 47, 64, 257, DEPTH};
    Operands *o = malloc(sizeof *o);
    assert_non_null(o);
    VitroRng rng = vitro_rng(7, VITRO_RNG_INIT, (uint32_t)dot, 0);
    fill(o, dot, &rng);
    vitro_unit_begin(&kernels.unit[dot]);
    for (int64_t rows = 1; rows <= kernels.unit[dot].tile_rows; rows++)
        for (size_t i = 0; i < sizeof cols / sizeof *cols; i++)
            for (size_t k = 0; k < sizeof depths / sizeof *depths; k++)
                check_tile(o, dot, rows, cols[i], depths[k], (int)((rows + (int64_t)(i + k)) % 4));
    vitro_unit_end(&kernels.unit[dot]);
    assert_true(isfinite(kernels.unit[dot].peak(1000)));
    assert_true(kernels.unit[dot].peak_flops > 0);
    free(o);
}

/* ---- words ------------------------------------------------------------------------------------
 */

enum { ROWS = 37, COLS = 75 };

static float matrix[ROWS][COLS], factor[ROWS];
static uint16_t narrow[ROWS][COLS];

/* The word as the header describes it. */
static uint32_t word_of(const VitroWords *s, int64_t i, int64_t j)
{
    uint32_t word = 0;
    for (int k = 0; k < 4; k++) {
        int64_t row = i, col = 4 * j + k;
        uint32_t part = 0;
        int shift = 8 * k;
        switch (s->kind) {
        case VITRO_WORDS_S8_OF_F32:
            if (row < s->rows && col < s->cols)
                part = (uint8_t)(int8_t)rint(factor[row] * matrix[row][col]);
            break;
        case VITRO_WORDS_AS_THEY_ARE: /* of float32, one a word */
            if (k == 0 && row < s->rows && j < s->cols)
                part = vitro_f32_bits(matrix[row][j]);
            break;
        default:
            if (k > 1)
                break;
            shift = 16 * k;
            row = s->kind == VITRO_WORDS_BF16_OF_F32 ? i : 2 * i + k;
            col = s->kind == VITRO_WORDS_BF16_OF_F32 ? 2 * j + k : j;
            if (row < s->rows && col < s->cols)
                part = s->kind == VITRO_WORDS_PAIRS_OF_BF16 ? narrow[row][col]
                                                            : vitro_bf16_from_f32(matrix[row][col]);
        }
        word |= part << shift;
    }
    return word;
}

static void check_words(const VitroWords *s, int64_t i0, int64_t ni, int64_t j0, int64_t nj)
{
    static uint32_t out[64][80], turned[80][64];
    memset(out, 0xee, sizeof out);
    memset(turned, 0xee, sizeof turned);
    kernels.words(out[0], 80, s, i0, ni, j0, nj);
    kernels.words_transposed(turned[0], 64, s, i0, ni, j0, nj);
    for (int64_t i = 0; i < ni; i++)
        for (int64_t j = 0; j < nj; j++) {
            assert_int_equal(out[i][j], word_of(s, i0 + i, j0 + j));
            assert_int_equal(turned[j][i], word_of(s, i0 + i, j0 + j));
        }
    assert_int_equal(out[ni - 1][nj], 0xeeeeeeee);
    assert_int_equal(turned[nj - 1][ni], 0xeeeeeeee);
    assert_int_equal(turned[nj][0], 0xeeeeeeee);
}

static void check_all_words(void)
{
    VitroRng rng = vitro_rng(8, VITRO_RNG_INIT, 0, 0);
    for (int i = 0; i < ROWS; i++) {
        factor[i] = 100 + (float)i / 2;
        for (int j = 0; j < COLS; j++) {
            matrix[i][j] = random_float(&rng) * 0.9f;
            narrow[i][j] = (uint16_t)random_word(&rng);
        }
    }
    matrix[3][5] = NAN, matrix[4][6] = INFINITY; /* not for bytes: the caller scales those */
    const VitroWords kinds[] = {
        {.kind = VITRO_WORDS_AS_THEY_ARE, .per_word = 1, .from = matrix},
        {.kind = VITRO_WORDS_BF16_OF_F32, .per_word = 2, .from = matrix},
        {.kind = VITRO_WORDS_PAIRS_OF_F32, .per_word = 1, .from = matrix},
        {.kind = VITRO_WORDS_PAIRS_OF_BF16, .per_word = 1, .from = narrow},
        {.kind = VITRO_WORDS_S8_OF_F32, .per_word = 4, .from = matrix, .factor = factor}};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        VitroWords s = kinds[k];
        if (s.kind == VITRO_WORDS_S8_OF_F32)
            matrix[3][5] = matrix[4][6] = 0.5f;
        s.stride = (s.from == (void *)narrow ? 2 : 4) * COLS;
        for (int64_t rows = ROWS - 3; rows <= ROWS; rows++)
            for (int64_t cols = COLS - 5; cols <= COLS; cols++) {
                s.rows = rows, s.cols = cols;
                check_words(&s, 0, 40, 0, 79);
                check_words(&s, 3, 5, 2, 17);
                check_words(&s, 0, 1, 0, 1);
            }
    }
}

/* ---- rounding ---------------------------------------------------------------------------------
 */

static void check_bf16(void)
{
    static float x[70], back[70];
    static uint16_t y[70];
    VitroRng rng = vitro_rng(9, VITRO_RNG_INIT, 0, 0);
    for (int round = 0; round < 200; round++)
        for (int n = 1; n <= 67; n += 11) {
            for (int i = 0; i < n; i++)
                x[i] = vitro_f32_from_bits(random_word(&rng));
            x[0] = round % 2 ? 1.00390625f : INFINITY; /* a tie */
            memset(y, 0xee, sizeof y);
            kernels.to_bf16(y, x, n);
            assert_int_equal(y[n], 0xeeee);
            kernels.from_bf16(back, y, n);
            for (int i = 0; i < n; i++) {
                if (isnan(x[i]))
                    assert_true(isnan(back[i]));
                else
                    assert_int_equal(y[i], vitro_bf16_from_f32(x[i]));
                assert_int_equal(vitro_f32_bits(back[i]), (uint32_t)y[i] << 16);
            }
        }
}

static void check_bytes(void)
{
    static float x[80], sums[3][VITRO_PANEL];
    static uint8_t y[80];
    VitroRng rng = vitro_rng(10, VITRO_RNG_INIT, 0, 0);
    for (int n = 1; n <= 75; n++)
        for (int kind = 0; kind < 4; kind++) {
            for (int i = 0; i < n; i++) /* both signs, one, the other, all zero */
                x[i] = kind == 0   ? random_float(&rng)
                       : kind == 1 ? 3 + random_float(&rng)
                       : kind == 2 ? -3 + random_float(&rng)
                                   : 0;
            float scale = NAN;
            int32_t zero = -1;
            memset(y, 0xee, sizeof y);
            kernels.to_u8(y, &scale, &zero, x, n);
            assert_int_equal(y[n], 0xee);
            assert_in_range(zero, 0, 255);
            for (int i = 0; i < n; i++) /* the rounding, and that of 0's place */
                assert_true(fabs(scale * (y[i] - zero) - x[i]) <= scale * 1.01);
        }
    int32_t bits[3][VITRO_PANEL], zero[3] = {0, 7, 255}, column[VITRO_PANEL];
    float row_scale[3] = {0.5f, 0.25f, 2}, column_scale[VITRO_PANEL], bias[VITRO_PANEL];
    for (int j = 0; j < VITRO_PANEL; j++) {
        column[j] = (int32_t)(random_float(&rng) * 1000);
        column_scale[j] = random_float(&rng);
        bias[j] = random_float(&rng);
        for (int r = 0; r < 3; r++)
            bits[r][j] = (int32_t)(random_float(&rng) * 100000);
    }
    memcpy(sums, bits, sizeof sums);
    kernels.sums_to_f32(sums[0], VITRO_PANEL, 3, VITRO_PANEL - 1, row_scale, zero, column,
                        column_scale, bias);
    for (int r = 0; r < 3; r++)
        for (int j = 0; j < VITRO_PANEL - 1; j++) {
            const double want = (double)row_scale[r] * (bits[r][j] - (double)zero[r] * column[j]) *
                                    column_scale[j] +
                                bias[j];
            assert_true(fabs(sums[r][j] - want) <= 1e-6 * fabs(want) + 1e-6);
        }
    assert_memory_equal(&sums[1][VITRO_PANEL - 1], &bits[1][VITRO_PANEL - 1], 4);
}

static void test_every_mask(void **state)
{
    (void)state;
    const unsigned masks[] = {0,
                              VITRO_CPU_AVX2,
                              VITRO_CPU_AVX2 | VITRO_CPU_AVX512,
                              VITRO_CPU_AVX2 | VITRO_CPU_AVX512 | VITRO_CPU_AVX512_BF16,
                              ~(unsigned)VITRO_CPU_AMX,
                              VITRO_CPU_NEON,
                              VITRO_CPU_NEON | VITRO_CPU_NEON_SDOT,
                              ~0u};
    unsigned done[sizeof masks / sizeof *masks] = {0};
    int count = 0;
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        vitro_cpu_set_mask(masks[i]);
        const unsigned flags = vitro_cpu_flags();
        bool known = false;
        for (int k = 0; k < count; k++)
            known = known || done[k] == flags;
        if (known)
            continue;
        done[count++] = flags;
        vitro_kernels_init(&kernels, flags);
        printf("%s: %s; %s; %s\n", kernels.name, kernels.unit[VITRO_DOT_F32].name,
               kernels.unit[VITRO_DOT_BF16].name, kernels.unit[VITRO_DOT_U8S8].name);
        for (int dot = 0; dot < VITRO_DOTS; dot++)
            check_unit((VitroDot)dot);
        check_all_words();
        check_bf16();
        check_bytes();
    }
    vitro_cpu_set_mask(~0u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_mask)};
    return cmocka_run_group_tests_name("ops/words", tests, NULL, NULL);
}
