/* SPDX-License-Identifier: Apache-2.0 */
/* Every rule is separable: along an axis each output is a weighted sum of some inputs. In double,
 * so that what is left of a difference to the originals is their own rounding. */
#include "model/resample.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

/* Output i is the sum over j < count[i] of weight[i * stride + j] * input[first[i] + j]. */
typedef struct Taps {
    int64_t n, stride;
    int64_t *first, *count; /* [n] */
    double *weight;         /* [n,stride] */
} Taps;

static void free_taps(Taps *t)
{
    vitro_free(t->first);
    vitro_free(t->count);
    vitro_free(t->weight);
    *t = (Taps){0};
}

static VitroStatus alloc_taps(Taps *t, int64_t n, int64_t stride)
{
    *t = (Taps){.n = n, .stride = stride};
    t->first = vitro_calloc((size_t)n, sizeof(*t->first));
    t->count = vitro_calloc((size_t)n, sizeof(*t->count));
    t->weight = vitro_calloc((size_t)(n * stride), sizeof(*t->weight));
    if (t->first && t->count && t->weight)
        return VITRO_OK;
    free_taps(t);
    return VITRO_NOMEM;
}

/* Keys' cubic. */
static double cubic(double x, double a)
{
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/* PyTorch's antialias = True: the filter widens where the axis shrinks; taps outside are dropped
 * and the others share their weight. */
static VitroStatus smooth_taps(Taps *t, int64_t to, int64_t from)
{
    const double scale = (double)from / (double)to, stretch = scale > 1 ? scale : 1;
    const double support = 2 * stretch;
    const int64_t most = 2 * (int64_t)ceil(support) + 1;
    VITRO_TRY(alloc_taps(t, to, most < from ? most : from));
    for (int64_t i = 0; i < to; i++) {
        const double center = ((double)i + 0.5) * scale;
        const double begin = center - support + 0.5, end = center + support + 0.5;
        const int64_t first = begin > 0 ? (int64_t)begin : 0;
        const int64_t last = end < (double)from ? (int64_t)end : from;
        double *w = t->weight + i * t->stride, sum = 0;
        t->first[i] = first;
        t->count[i] = last - first;
        for (int64_t j = 0; j < t->count[i]; j++)
            sum += w[j] = cubic(((double)(first + j) - center + 0.5) / stretch, -0.5);
        for (int64_t j = 0; j < t->count[i]; j++)
            w[j] /= sum;
    }
    return VITRO_OK;
}

/* `taps` weights for the inputs from `at` on; those outside are the border's. */
static void put_taps(Taps *t, int64_t i, int64_t at, const double *weight, int taps, int64_t from)
{
    const int64_t last = from - 1;
    const int64_t first = at < 0 ? 0 : at > last ? last : at;
    double *w = t->weight + i * t->stride;
    t->first[i] = first;
    for (int k = 0; k < taps; k++) {
        const int64_t j = at + k < first ? first : at + k > last ? last : at + k;
        w[j - first] += weight[k];
        if (t->count[i] < j - first + 1)
            t->count[i] = j - first + 1;
    }
}

/* PyTorch's antialias = False, and scipy's zoom: as many taps as the filter has, wherever they lie;
 * with `corners` the outermost inputs are the outermost outputs. */
static VitroStatus sharp_taps(Taps *t, int64_t to, int64_t from, bool is_cubic, bool corners)
{
    VITRO_TRY(alloc_taps(t, to, 4));
    const double aligned = to > 1 ? (double)(from - 1) / (double)(to - 1) : 0;
    for (int64_t i = 0; i < to; i++) {
        double at =
            corners ? (double)i * aligned : ((double)i + 0.5) * (double)from / (double)to - 0.5;
        if (!is_cubic && at < 0)
            at = 0;
        const int64_t base = (int64_t)floor(at);
        const double x = at - (double)base;
        if (is_cubic) {
            const double a = -0.75;
            const double w[4] = {cubic(x + 1, a), cubic(x, a), cubic(1 - x, a), cubic(2 - x, a)};
            put_taps(t, i, base - 1, w, 4, from);
        } else {
            put_taps(t, i, base, (const double[]){1 - x, x}, 2, from);
        }
    }
    return VITRO_OK;
}

static VitroStatus make_taps(Taps *t, int64_t to, int64_t from, VitroPosEmbedRule rule)
{
    if (rule == VITRO_POS_EMBED_TIMM)
        return smooth_taps(t, to, from);
    const bool is_cubic =
        rule == VITRO_POS_EMBED_HUGGING_FACE || rule == VITRO_POS_EMBED_TORCHVISION;
    return sharp_taps(t, to, from, is_cubic,
                      rule == VITRO_POS_EMBED_TORCHVISION || rule == VITRO_POS_EMBED_GOOGLE);
}

/* ---- position embeddings --------------------------------------------------------------------- */

/* Row i of each: the taps' sum of rows of `in`, `width` elements each. */
static void sum_rows(double *out, const Taps *t, int64_t i, const double *in, int64_t width)
{
    const double *w = t->weight + i * t->stride;
    memset(out, 0, (size_t)width * sizeof(*out));
    for (int64_t j = 0; j < t->count[i]; j++)
        for (int64_t d = 0; d < width; d++)
            out[d] += w[j] * in[(t->first[i] + j) * width + d];
}

VitroStatus vitro_resample_grid(float *out, VitroGrid to, const float *in, VitroGrid from,
                                int64_t D, VitroPosEmbedRule rule)
{
    VitroStatus st;
    Taps across = {0}, down = {0};
    const int64_t width = to.cols * D; /* of a row of the grid, as soon as its columns are done */
    double *line = vitro_malloc((size_t)(from.cols * D) * sizeof(*line));
    double *narrow = vitro_malloc((size_t)(from.rows * width) * sizeof(*narrow));
    double *row = vitro_malloc((size_t)width * sizeof(*row));
    if (!line || !narrow || !row) {
        st = VITRO_NOMEM;
        goto done;
    }
    VITRO_GOTO(make_taps(&across, to.cols, from.cols, rule));
    VITRO_GOTO(make_taps(&down, to.rows, from.rows, rule));
    for (int64_t y = 0; y < from.rows; y++) {
        for (int64_t i = 0; i < from.cols * D; i++)
            line[i] = in[y * from.cols * D + i];
        for (int64_t x = 0; x < to.cols; x++)
            sum_rows(narrow + y * width + x * D, &across, x, line, D);
    }
    for (int64_t y = 0; y < to.rows; y++) {
        sum_rows(row, &down, y, narrow, width);
        for (int64_t i = 0; i < width; i++)
            out[y * width + i] = (float)row[i];
    }
done:
    free_taps(&across);
    free_taps(&down);
    vitro_free(line);
    vitro_free(narrow);
    vitro_free(row);
    return st;
}

/* ---- patch embeddings ------------------------------------------------------------------------ */

/* The taps as a matrix [to,from]. */
static void fill_matrix(double *m, const Taps *t, int64_t from)
{
    memset(m, 0, (size_t)(t->n * from) * sizeof(*m));
    for (int64_t i = 0; i < t->n; i++)
        for (int64_t j = 0; j < t->count[i]; j++)
            m[i * from + t->first[i] + j] = t->weight[i * t->stride + j];
}

/* Cholesky: g [n,n], symmetric and positive, to the lower triangle L of g = L L^T. */
static VitroStatus factor(double *g, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            double sum = g[i * n + j];
            for (int64_t k = 0; k < j; k++)
                sum -= g[i * n + k] * g[j * n + k];
            if (i == j && !(sum > 1e-12))
                return vitro_fail(VITRO_E_NUMERIC, "patches of these sizes cannot be resized into "
                                                   "each other");
            g[i * n + j] = i == j ? sqrt(sum) : sum / g[j * n + j];
        }
    return VITRO_OK;
}

/* x [n] of L L^T x = b, in place of b, whose elements are `step` apart. */
static void solve(double *b, int64_t step, const double *L, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = 0; k < i; k++)
            b[i * step] -= L[i * n + k] * b[k * step];
        b[i * step] /= L[i * n + i];
    }
    for (int64_t i = n; i-- > 0;) {
        for (int64_t k = i + 1; k < n; k++)
            b[i * step] -= L[k * n + i] * b[k * step];
        b[i * step] /= L[i * n + i];
    }
}

/* m = A [to,from] becomes the pseudo-inverse of A^T, of the same shape: A (A^T A)^-1 where it
 * enlarges, (A A^T)^-1 A where it shrinks. `g` has room for the smaller side's square. */
static VitroStatus invert(double *m, int64_t to, int64_t from, double *g)
{
    const bool grows = to > from;
    const int64_t n = grows ? from : to, depth = grows ? to : from;
    const int64_t along = grows ? 1 : from, across = grows ? from : 1;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t k = 0; k < depth; k++)
                sum += m[i * along + k * across] * m[j * along + k * across];
            g[i * n + j] = sum;
        }
    VITRO_TRY(factor(g, n));
    for (int64_t k = 0; k < depth; k++)
        solve(m + k * across, along, g, n);
    return VITRO_OK;
}

/* out [to,to] = m in [from,from] m^T; `half` has room for [to,from]. */
static void resize_filter(float *out, const float *in, const double *m, double *half, int64_t to,
                          int64_t from)
{
    for (int64_t i = 0; i < to; i++)
        for (int64_t x = 0; x < from; x++) {
            double sum = 0;
            for (int64_t y = 0; y < from; y++)
                sum += m[i * from + y] * (double)in[y * from + x];
            half[i * from + x] = sum;
        }
    for (int64_t i = 0; i < to; i++)
        for (int64_t j = 0; j < to; j++) {
            double sum = 0;
            for (int64_t x = 0; x < from; x++)
                sum += m[j * from + x] * half[i * from + x];
            out[i * to + j] = (float)sum;
        }
}

VitroStatus vitro_resample_patches(float *out, int64_t to, const float *in, int64_t from, int64_t n,
                                   VitroPosEmbedRule rule)
{
    VitroStatus st;
    Taps taps = {0};
    const int64_t least = to < from ? to : from;
    double *m = vitro_malloc((size_t)(to * from) * sizeof(*m));
    double *half = vitro_malloc((size_t)(to * from) * sizeof(*half));
    double *g = vitro_malloc((size_t)(least * least) * sizeof(*g));
    if (!m || !half || !g) {
        st = VITRO_NOMEM;
        goto done;
    }
    /* timm's loader of .npz files has a resize of its own here, too; the others have none */
    VITRO_GOTO(
        make_taps(&taps, to, from, rule == VITRO_POS_EMBED_TIMM_NPZ ? rule : VITRO_POS_EMBED_TIMM));
    fill_matrix(m, &taps, from);
    VITRO_GOTO(invert(m, to, from, g));
    for (int64_t i = 0; i < n; i++)
        resize_filter(out + i * to * to, in + i * from * from, m, half, to, from);
done:
    free_taps(&taps);
    vitro_free(m);
    vitro_free(half);
    vitro_free(g);
    return st;
}
