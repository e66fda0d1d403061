/* SPDX-License-Identifier: Apache-2.0 */
/* Weights and passes of Pillow 9.4's resampler (libImaging/Resample.c): across first, rounded to 8
 * bits, then down. Only the rows and columns that the asked part needs are computed. The sums are
 * in resize_kernels.c and resize_x86.c. */
#include "image/resize.h"

#include "image/decode.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

static const double PI = 3.14159265358979323846;

typedef struct Filter {
    double support;
    double (*weight)(double x);
} Filter;

static double triangle(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* Keys' cubic, a = -0.5. The order of the operations is Pillow's. */
static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
    return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
}

static double sinc(double x)
{
    x *= PI;
    return x == 0.0 ? 1.0 : sin(x) / x;
}

static double lanczos(double x)
{
    return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
}

static double box(double x)
{
    return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

/* Pillow has the two constants in single precision. */
static double hamming(double x)
{
    x = fabs(x);
    if (x >= 1.0)
        return 0.0;
    return sinc(x) * ((double)0.54f + (double)0.46f * cos(x * PI));
}

static const Filter filters[] = {[VITRO_BILINEAR] = {1.0, triangle},
                                 [VITRO_BICUBIC] = {2.0, cubic},
                                 [VITRO_LANCZOS] = {3.0, lanczos},
                                 [VITRO_BOX] = {0.5, box},
                                 [VITRO_HAMMING] = {1.0, hamming}};

/* The outputs [from, from + n) of `whole`, made of `size` inputs. */
typedef struct Axis {
    int size;
    int64_t whole, from;
    int n;
} Axis;

static void free_taps(VitroTaps *t)
{
    vitro_free(t->first);
    vitro_free(t->count);
    vitro_free(t->high);
    vitro_free(t->low);
    *t = (VitroTaps){0};
}

static VitroStatus alloc_taps(VitroTaps *t, int n, int64_t most)
{
    int64_t stride = (most + VITRO_RESIZE_PAD - 1) / VITRO_RESIZE_PAD * VITRO_RESIZE_PAD;
    if (stride > INT32_MAX / (int64_t)sizeof(int16_t) / n)
        return vitro_fail(VITRO_E_NOMEM, "a filter of %lld weights for each of %d pixels",
                          (long long)most, n);
    *t = (VitroTaps){.n = n, .stride = (int)stride};
    t->first = vitro_calloc((size_t)n, sizeof(*t->first));
    t->count = vitro_calloc((size_t)n, sizeof(*t->count));
    t->high = vitro_calloc((size_t)(n * stride), sizeof(*t->high));
    t->low = vitro_calloc((size_t)(n * stride), sizeof(*t->low));
    if (t->first && t->count && t->high && t->low)
        return VITRO_OK;
    free_taps(t);
    return VITRO_NOMEM;
}

static void store_weight(VitroTaps *t, int64_t at, double weight)
{
    double scaled = weight * (1 << VITRO_RESIZE_BITS);
    int k = (int)(weight < 0 ? scaled - 0.5 : scaled + 0.5);
    int low = k & ((1 << VITRO_RESIZE_LOW_BITS) - 1);
    t->low[at] = (int16_t)low;
    t->high[at] = (int16_t)((k - low) / (1 << VITRO_RESIZE_LOW_BITS));
}

/* precompute_coeffs and normalize_coeffs_8bpc. Sizes pass through float there, as the box does. */
static VitroStatus make_taps(VitroTaps *t, const Axis *axis, const Filter *filter)
{
    double scale = (double)(float)axis->size / (double)axis->whole;
    double stretch = scale < 1.0 ? 1.0 : scale;
    double support = filter->support * stretch, shrink = 1.0 / stretch;
    double most = ceil(support) * 2 + 1;
    VITRO_TRY(alloc_taps(t, axis->n, most < axis->size ? (int64_t)most : axis->size));
    double *weights = vitro_malloc((size_t)t->stride * sizeof(*weights));
    if (!weights) {
        free_taps(t);
        return VITRO_NOMEM;
    }
    for (int i = 0; i < t->n; i++) {
        double center = ((double)(axis->from + i) + 0.5) * scale, sum = 0.0;
        double begin = center - support + 0.5, end = center + support + 0.5;
        int first = begin < 0 ? 0 : (int)begin;
        int count = (end > axis->size ? axis->size : (int)end) - first;
        for (int j = 0; j < count; j++) {
            weights[j] = filter->weight((j + first - center + 0.5) * shrink);
            sum += weights[j];
        }
        for (int j = 0; j < count; j++)
            store_weight(t, (int64_t)i * t->stride + j, sum != 0.0 ? weights[j] / sum : weights[j]);
        t->first[i] = first;
        t->count[i] = count;
    }
    vitro_free(weights);
    return VITRO_OK;
}

/* One axis of the work: which inputs it needs, and the taps, or none where sizes are equal. */
typedef struct Pass {
    bool needed;
    int begin, end; /* inputs */
    VitroTaps taps; /* first[] counts from `begin` */
} Pass;

static VitroStatus make_pass(Pass *p, const Axis *axis, const Filter *filter)
{
    *p = (Pass){.needed = axis->whole != axis->size};
    if (!p->needed) {
        p->begin = (int)axis->from;
        p->end = p->begin + axis->n;
        return VITRO_OK;
    }
    VITRO_TRY(make_taps(&p->taps, axis, filter));
    int last = axis->n - 1; /* both ends of the windows only grow */
    p->begin = p->taps.first[0];
    p->end = p->taps.first[last] + p->taps.count[last];
    for (int i = 0; i < axis->n; i++)
        p->taps.first[i] -= p->begin;
    return VITRO_OK;
}

/* The first input pixel that either pass needs. */
static const uint8_t *origin(const VitroImage *in, const VitroBox *box, const Pass *x,
                             const Pass *y)
{
    return vitro_image_row(in, box->top + y->begin) +
           (size_t)(box->left + x->begin) * (size_t)in->channels;
}

/* rows x (end - begin) pixels at `in` to rows x taps.n pixels at `out`. */
static VitroStatus run_across(uint8_t *out, const uint8_t *in, size_t in_stride, int rows,
                              int channels, const Pass *pass, VitroResizeAcrossFn across)
{
    /* Rows are copied to where the kernels may read beyond their end. */
    size_t used = (size_t)(pass->end - pass->begin) * (size_t)channels;
    size_t padded = used + VITRO_RESIZE_SLACK;
    size_t out_stride = (size_t)pass->taps.n * (size_t)channels;
    uint8_t *scratch = vitro_calloc(VITRO_RESIZE_ROWS, padded);
    if (!scratch)
        return VITRO_NOMEM;
    for (int y = 0; y < rows; y += VITRO_RESIZE_ROWS) {
        int n = rows - y < VITRO_RESIZE_ROWS ? rows - y : VITRO_RESIZE_ROWS;
        const uint8_t *from[VITRO_RESIZE_ROWS];
        uint8_t *to[VITRO_RESIZE_ROWS];
        for (int r = 0; r < n; r++) {
            memcpy(scratch + (size_t)r * padded, in + (size_t)(y + r) * in_stride, used);
            from[r] = scratch + (size_t)r * padded;
            to[r] = out + (size_t)(y + r) * out_stride;
        }
        across(to, from, n, channels, &pass->taps);
    }
    vitro_free(scratch);
    return VITRO_OK;
}

static VitroStatus run_passes(VitroImage *out, const uint8_t *in, size_t in_stride, const Pass *x,
                              const Pass *y)
{
    VitroResizeKernels kernels = vitro_resize_kernels();
    int rows = y->end - y->begin;
    size_t stride = vitro_image_stride(out);
    uint8_t *narrow = NULL;
    if (x->needed) {
        if (y->needed && !(narrow = vitro_malloc((size_t)rows * stride)))
            return VITRO_NOMEM;
        uint8_t *to = narrow ? narrow : out->pixels;
        VitroStatus st = run_across(to, in, in_stride, rows, out->channels, x, kernels.across);
        if (st != VITRO_OK) {
            vitro_free(narrow);
            return st;
        }
        in = to;
        in_stride = stride;
    }
    for (int i = 0; i < out->height && in != out->pixels; i++) {
        uint8_t *row = vitro_image_row(out, i);
        if (y->needed)
            kernels.down(row, in, in_stride, stride, &y->taps, i);
        else
            memcpy(row, in + (size_t)i * in_stride, stride);
    }
    vitro_free(narrow);
    return VITRO_OK;
}

static VitroStatus check_plan(const VitroImage *in, const VitroResizePlan *p)
{
    const VitroBox *b = &p->box;
    if (b->left < 0 || b->top < 0 || b->width < 1 || b->height < 1 ||
        b->width > in->width - b->left || b->height > in->height - b->top)
        return vitro_fail(VITRO_E_ARG, "crop of %d x %d at (%d,%d) leaves the picture %d x %d",
                          b->width, b->height, b->left, b->top, in->width, in->height);
    if (p->width < 1 || p->height < 1)
        return vitro_fail(VITRO_E_ARG, "size %lld x %lld, each side must be at least 1",
                          (long long)p->width, (long long)p->height);
    if ((int)p->filter < VITRO_BILINEAR || p->filter > VITRO_NEAREST)
        return vitro_fail(VITRO_E_ARG, "filter %d is none of the known ones", (int)p->filter);
    return VITRO_OK;
}

/* ---- the nearest pixel ---------------------------------------------------------------------- */

/* Which input each output is: ImagingScaleAffine adds the scale up, output by output. Far out,
 * where no picture is but one that is nearly a line, a product is near enough. */
static VitroStatus nearest_inputs(int **out, const Axis *axis)
{
    enum { ADDED = 1 << 20 };
    const double scale = (double)axis->size / (double)axis->whole;
    int *input = vitro_malloc((size_t)axis->n * sizeof(*input));
    if (!input)
        return VITRO_NOMEM;
    double at = scale * 0.5;
    if (axis->from > ADDED)
        at += scale * (double)axis->from;
    for (int64_t i = 0; i < axis->from && axis->from <= ADDED; i++)
        at += scale;
    for (int i = 0; i < axis->n; i++, at += scale)
        input[i] = at < axis->size ? (int)at : axis->size - 1;
    *out = input;
    return VITRO_OK;
}

static VitroStatus resize_nearest(VitroImage *out, const VitroImage *in, const VitroBox *box,
                                  const Axis *across, const Axis *down)
{
    VitroStatus st;
    int *column = NULL, *row = NULL;
    VitroImage image = {0};
    const size_t channels = (size_t)in->channels;
    VITRO_GOTO(vitro_image_alloc(&image, across->n, down->n, in->channels));
    VITRO_GOTO(nearest_inputs(&column, across));
    VITRO_GOTO(nearest_inputs(&row, down));
    for (int y = 0; y < down->n; y++) {
        const uint8_t *from = vitro_image_row(in, box->top + row[y]) + (size_t)box->left * channels;
        uint8_t *to = vitro_image_row(&image, y);
        for (int x = 0; x < across->n; x++)
            memcpy(to + (size_t)x * channels, from + (size_t)column[x] * channels, channels);
    }
    *out = image;
    image = (VitroImage){0};
done:
    vitro_free(column);
    vitro_free(row);
    vitro_image_deinit(&image);
    return st;
}

VitroStatus vitro_image_resize_part(VitroImage *out, const VitroImage *in,
                                    const VitroResizePlan *plan)
{
    VITRO_TRY(check_plan(in, plan));
    Axis across = {plan->box.width, plan->width, plan->left, plan->part_width};
    Axis down = {plan->box.height, plan->height, plan->top, plan->part_height};
    if (plan->filter == VITRO_NEAREST)
        return resize_nearest(out, in, &plan->box, &across, &down);
    const Filter *filter = &filters[plan->filter];
    VitroStatus st;
    Pass x = {0}, y = {0};
    VitroImage image = {0};
    VITRO_GOTO(vitro_image_alloc(&image, plan->part_width, plan->part_height, in->channels));
    VITRO_GOTO(make_pass(&x, &across, filter));
    VITRO_GOTO(make_pass(&y, &down, filter));
    VITRO_GOTO(run_passes(&image, origin(in, &plan->box, &x, &y), vitro_image_stride(in), &x, &y));
    *out = image;
    image = (VitroImage){0};
done:
    free_taps(&x.taps);
    free_taps(&y.taps);
    vitro_image_deinit(&image);
    return st;
}

VitroStatus vitro_image_resize(VitroImage *out, const VitroImage *in, const VitroBox *box,
                               int width, int height, VitroFilter filter)
{
    VitroResizePlan plan = {.box = box ? *box : (VitroBox){0, 0, in->width, in->height},
                            .width = width,
                            .height = height,
                            .part_width = width,
                            .part_height = height,
                            .filter = filter};
    return vitro_image_resize_part(out, in, &plan);
}
