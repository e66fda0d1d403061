/* SPDX-License-Identifier: Apache-2.0 */
/* What `vitro bench` found, as a table and as JSON. Measures nothing. */
#ifndef VITRO_CLI_BENCH_REPORT_H
#define VITRO_CLI_BENCH_REPORT_H

#include "cli.h"

/* Numbers that came one after the other. */
typedef struct BenchSeries {
    double *value;
    int count, capacity;
} BenchSeries;

void bench_series_add(BenchSeries *s, double v);
void bench_series_deinit(BenchSeries *s);
/* NaN where nothing was added. */
double bench_series_median(const BenchSeries *s);
double bench_series_min(const BenchSeries *s);
double bench_series_max(const BenchSeries *s);

/* A kind of operator's part of one run; NaN: not counted for this kind. */
typedef struct BenchOperator {
    VitroProfileRow row; /* of all runs; op "host": what passes outside operators */
    int64_t calls;       /* a run, as the next */
    double ms, share;    /* share of the run's time */
    double gflops, efficiency, gb_per_second;
} BenchOperator;

typedef struct BenchResult {
    const char *mode, *precision;
    int64_t batch_size;
    int runs;
    double ms, ms_min;                            /* median, and the fastest run */
    double images_per_second, gflops, efficiency; /* of the median */
    double peak, peak_best;   /* 1e9 operations a second, between these runs; NaN: unknown */
    BenchOperator *operators; /* by time; NULL without --profile */
    int operator_count;
} BenchResult;

#define BENCH_PRECISIONS 4
extern const char *const bench_precision_names[]; /* fp32 bf16 int8 tf32, ends with NULL */

typedef struct BenchReport {
    char device[512]; /* "cpu: ...; cpu: ...": all that were opened */
    int threads;
    int64_t macs;                        /* of one picture, nominal */
    BenchSeries peaks[BENCH_PRECISIONS]; /* all probes */
    BenchResult *results;
    int count;
} BenchReport;

void bench_report_deinit(BenchReport *r);
/* One line. */
void bench_print_json(const BenchReport *r);
void bench_print_table(const BenchReport *r);

#endif
