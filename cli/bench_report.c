/* SPDX-License-Identifier: Apache-2.0 */
/* What `vitro bench` found, as a table and as JSON. */
#include "bench_report.h"

#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const bench_precision_names[] = {"fp32", "bf16", "int8", "tf32", NULL};

/* ---- series ------------------------------------------------------------------------------------
 */

void bench_series_add(BenchSeries *s, double v)
{
    if (s->count == s->capacity) {
        int capacity = s->capacity ? 2 * s->capacity : 64;
        double *value = cli_alloc((size_t)capacity, sizeof(*value));
        if (s->count)
            memcpy(value, s->value, (size_t)s->count * sizeof(*value));
        free(s->value);
        s->value = value;
        s->capacity = capacity;
    }
    s->value[s->count++] = v;
}

void bench_series_deinit(BenchSeries *s)
{
    free(s->value);
    *s = (BenchSeries){0};
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double bench_series_median(const BenchSeries *s)
{
    int n = s->count;
    if (n == 0)
        return NAN;
    double *sorted = cli_alloc((size_t)n, sizeof(*sorted));
    memcpy(sorted, s->value, (size_t)n * sizeof(*sorted));
    qsort(sorted, (size_t)n, sizeof(*sorted), by_size);
    double median = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
    free(sorted);
    return median;
}

/* fmin and fmax pass over NaN. */
double bench_series_min(const BenchSeries *s)
{
    double min = NAN;
    for (int i = 0; i < s->count; i++)
        min = fmin(min, s->value[i]);
    return min;
}

double bench_series_max(const BenchSeries *s)
{
    double max = NAN;
    for (int i = 0; i < s->count; i++)
        max = fmax(max, s->value[i]);
    return max;
}

void bench_report_deinit(BenchReport *r)
{
    for (int i = 0; i < BENCH_PRECISIONS; i++)
        bench_series_deinit(&r->peaks[i]);
    for (int i = 0; i < r->count; i++)
        free(r->results[i].operators);
    free(r->results);
    *r = (BenchReport){0};
}

/* ---- JSON --------------------------------------------------------------------------------------
 */

static void put_number(const char *key, double v)
{
    printf(", \"%s\": ", key);
    put_json_number(stdout, v);
}

static void put_operator(const BenchOperator *o)
{
    fputs("{\"operator\": ", stdout);
    put_json_string(stdout, o->row.op);
    fputs(", \"shape\": ", stdout);
    put_json_string(stdout, o->row.shape);
    printf(", \"calls\": %" PRId64, o->calls);
    put_number("ms", o->ms);
    put_number("share", o->share);
    put_number("gflops", o->gflops);
    put_number("efficiency", o->efficiency);
    put_number("gb_per_second", o->gb_per_second);
    putchar('}');
}

static void put_result(const BenchResult *f)
{
    printf("{\"mode\": \"%s\", \"precision\": \"%s\", \"batch_size\": %" PRId64, f->mode,
           f->precision, f->batch_size);
    put_number("images_per_second", f->images_per_second);
    put_number("ms", f->ms);
    put_number("gflops", f->gflops);
    put_number("efficiency", f->efficiency);
    put_number("peak_gflops", f->peak);
    put_number("peak_best_gflops", f->peak_best);
    put_number("ms_min", f->ms_min);
    printf(", \"runs\": %d", f->runs);
    if (f->operators) {
        fputs(", \"profile\": [", stdout);
        for (int i = 0; i < f->operator_count; i++) {
            fputs(i ? ", " : "", stdout);
            put_operator(&f->operators[i]);
        }
        putchar(']');
    }
    putchar('}');
}

static void put_peaks(const char *key, const BenchReport *r, double (*of)(const BenchSeries *peaks))
{
    printf(", \"%s\": {", key);
    for (int i = 0; i < BENCH_PRECISIONS; i++) {
        if (i > 2 && isnan(of(&r->peaks[i]))) /* tf32: only where a GPU has it */
            continue;
        printf("%s\"%s\": ", i ? ", " : "", bench_precision_names[i]);
        put_json_number(stdout, of(&r->peaks[i]));
    }
    putchar('}');
}

void bench_print_json(const BenchReport *r)
{
    fputs("{\"device\": ", stdout);
    put_json_string(stdout, r->device);
    printf(", \"threads\": %d, \"macs\": %" PRId64, r->threads, r->macs);
    put_peaks("peak_gflops", r, bench_series_median);
    put_peaks("peak_best_gflops", r, bench_series_max);
    fputs(", \"results\": [", stdout);
    for (int i = 0; i < r->count; i++) {
        fputs(i ? ", " : "", stdout);
        put_result(&r->results[i]);
    }
    fputs("]}\n", stdout);
}

/* ---- tables ------------------------------------------------------------------------------------
 */

/* A column: the number, or a dash where there is none. */
static void cell(int width, int digits, double v)
{
    if (isnan(v))
        printf(" %*s", width, "-");
    else
        printf(" %*.*f", width, digits, v);
}

static void print_operators(const BenchResult *f)
{
    double ms = 0;
    printf("\n%s %s, batch %" PRId64 ": one run, the mean of %d\n", f->mode, f->precision,
           f->batch_size, f->runs);
    printf("%-22s %-28s %6s %10s %7s %9s %8s %7s\n", "operator", "shape", "calls", "ms", "share",
           "GFLOP/s", "of peak", "GB/s");
    for (int i = 0; i < f->operator_count; i++) {
        const BenchOperator *o = &f->operators[i];
        printf("%-22s %-28s %6" PRId64, o->row.op, o->row.shape, o->calls);
        cell(10, 3, o->ms);
        cell(7, 3, o->share);
        cell(9, 1, o->gflops);
        cell(8, 3, o->efficiency);
        cell(7, 1, o->gb_per_second);
        putchar('\n');
        ms += o->ms;
    }
    printf("%-22s %-28s %6s", "all", "", "");
    cell(10, 3, ms);
    putchar('\n');
}

void bench_print_table(const BenchReport *r)
{
    printf("device   %s\n", r->device);
    printf("model    %.3f GMAC per picture\n", 1e-9 * (double)r->macs);
    for (int i = 0; i < BENCH_PRECISIONS; i++)
        if (r->peaks[i].count)
            printf("peak     %.1f GFLOP/s %s, the median of %d; the best %.1f\n",
                   bench_series_median(&r->peaks[i]), bench_precision_names[i], r->peaks[i].count,
                   bench_series_max(&r->peaks[i]));
    printf("\n%-6s %-9s %6s %12s %12s %12s %10s %10s %8s\n", "mode", "precision", "batch",
           "images/s", "ms", "ms min", "GFLOP/s", "peak", "of peak");
    for (int i = 0; i < r->count; i++) {
        const BenchResult *f = &r->results[i];
        printf("%-6s %-9s %6" PRId64, f->mode, f->precision, f->batch_size);
        cell(12, 2, f->images_per_second);
        cell(12, 3, f->ms);
        cell(12, 3, f->ms_min);
        cell(10, 1, f->gflops);
        cell(10, 1, f->peak);
        cell(8, 3, f->efficiency);
        putchar('\n');
    }
    for (int i = 0; i < r->count; i++)
        if (r->results[i].operators)
            print_operators(&r->results[i]);
}
