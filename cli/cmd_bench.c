/* SPDX-License-Identifier: Apache-2.0 */
/* vitro bench: how fast a model runs, beside what the arithmetic units could do at best. */
#include "bench_report.h"
#include "model_args.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct BenchArgs {
    ArgInts batch_sizes;
    ArgChoices precisions;
    bool train, json, freeze_layers, recompute, profile;
    double seconds;
    ModelArgs model;
    DeviceArgs device;
} BenchArgs;

/* As bench_precision_names. */
enum { FP32, BF16, INT8, TF32 };
static const struct {
    CliPrecision option;
    VitroPrecision peak; /* whose loops tell what could be had */
} precisions[BENCH_PRECISIONS] = {
    [FP32] = {CLI_FP32, VITRO_FP32},
    [BF16] = {CLI_BF16, VITRO_PRECISION_BF16},
    [INT8] = {CLI_INT8, VITRO_PRECISION_INT8},
    [TF32] = {CLI_TF32, VITRO_PRECISION_TF32},
};

#define ROW(name_, type_, field_, ...)                                                             \
    {                                                                                              \
        .name = name_, .type = type_, .at = offsetof(BenchArgs, field_), __VA_ARGS__               \
    }

static const ArgOption bench_options[] = {
    ROW("batch-size", ARG_INTS, batch_sizes, .def = "1,8", .min = 1, .max = 65536,
        .help = "pictures per pass, each measured"),
    ROW("precision", ARG_CHOICES, precisions, .def = "fp32", .choices = bench_precision_names,
        .help = "arithmetic, each measured"),
    ROW("train", ARG_FLAG, train, .help = "measure training steps in place of prediction"),
    ROW("freeze-layers", ARG_BOOL, freeze_layers, .def = "false",
        .help = "with --train: train head and pre_logits only"),
    ROW("recompute", ARG_BOOL, recompute, .def = "false",
        .help = "with --train: keep only the blocks' inputs for the backward pass"),
    ROW("seconds", ARG_REAL, seconds, .def = "3", .min = 0, .max = 3600,
        .help = "how long to measure each, at least 5 runs; the median counts"),
    ROW("profile", ARG_FLAG, profile, .help = "tell the time by operator"),
    ROW("json", ARG_FLAG, json, .help = "one JSON line"),
};

typedef struct Bench {
    const BenchArgs *args;
    VitroConfig config;
    BenchReport report;
    /* of the precision that is measured */
    int precision;
    VitroDevice *dev;
    VitroModel *model;
} Bench;

/* ---- measuring ----------------------------------------------------------------------------------
 */

#define WARM_UPS   2
#define RUNS_MAX   10000
#define RUNS_MIN   5
#define PROBES_MIN 3

/* Probes of the peak go on between runs for at most this part of the runs' time. */
#define PROBE_SHARE 0.5

/* One thing to repeat: a pass, or a step of training. */
typedef struct Work {
    VitroPredictor *predictor; /* or */
    VitroTrainer *trainer;
    VitroBatch batch;
    float *out;
} Work;

static VitroStatus run_once(const Work *w)
{
    VitroStepResult result;
    if (w->trainer)
        return vitro_trainer_step(w->trainer, &w->batch, &result);
    return vitro_predictor_run(w->predictor, w->batch.images, w->batch.count, w->out);
}

/* Adds what the units can do now to `peaks`, and the time that took to *seconds. */
static int probe_peak(const Bench *b, BenchSeries *peaks, double *seconds)
{
    double peak, start = cli_seconds();
    VitroStatus st = vitro_device_peak_gflops(b->dev, precisions[b->precision].peak, &peak);
    if (st == VITRO_OK)
        bench_series_add(peaks, peak);
    else if (st != VITRO_E_UNSUPPORTED)
        return cli_fail_lib();
    *seconds += cli_seconds() - start;
    return CLI_OK;
}

/* Runs and probes in turn: a machine that others use too is faster and slower from second to
 * second, and both are to see the same of it. */
static int measure(const Bench *b, const Work *w, BenchSeries *times, BenchSeries *peaks)
{
    double ran = 0, probed = 0;
    for (int i = 0; i < WARM_UPS; i++)
        if (run_once(w))
            return cli_fail_lib();
    if (b->args->profile && vitro_device_profile(b->dev, true))
        return cli_fail_lib();
    int status = probe_peak(b, peaks, &probed);
    bool has_peak = peaks->count > 0;
    while (!status && times->count < RUNS_MAX &&
           (times->count < RUNS_MIN || ran < b->args->seconds)) {
        double start = cli_seconds();
        if (run_once(w))
            return cli_fail_lib();
        bench_series_add(times, cli_seconds() - start);
        ran += times->value[times->count - 1];
        if (has_peak && probed <= PROBE_SHARE * ran)
            status = probe_peak(b, peaks, &probed);
    }
    while (!status && has_peak && peaks->count < PROBES_MIN)
        status = probe_peak(b, peaks, &probed);
    return status;
}

/* Numbers without meaning, in [-1, 1): speed does not depend on them. */
static float *synthetic_images(const VitroConfig *c, int64_t count)
{
    int64_t n = count * c->in_channels * c->img_height * c->img_width;
    float *images = cli_alloc((size_t)n, sizeof(*images));
    uint32_t state = 1;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u; /* Numerical Recipes' generator */
        images[i] = (float)(state >> 8) * 0x1p-23f - 1;
    }
    return images;
}

static int make_work(Work *w, const Bench *b, int64_t batch_size)
{
    const VitroConfig *c = &b->config;
    int32_t *labels = cli_alloc((size_t)batch_size, sizeof(*labels));
    int64_t *index = cli_alloc((size_t)batch_size, sizeof(*index));
    for (int64_t i = 0; i < batch_size; i++) {
        labels[i] = c->num_classes ? (int32_t)(i % c->num_classes) : 0;
        index[i] = i;
    }
    w->batch = (VitroBatch){.count = batch_size,
                            .images = synthetic_images(c, batch_size),
                            .labels = labels,
                            .index = index};
    w->out = cli_alloc((size_t)(batch_size * vitro_config_outputs(c)), sizeof(*w->out));
    VitroTrainOptions options = vitro_train_options_default();
    options.batch_size = batch_size;
    options.freeze = b->args->freeze_layers;
    options.recompute = b->args->recompute;
    options.lr = 1e-6; /* so that the parameters stay ordinary numbers however long this runs */
    VitroStatus st =
        b->args->train ? vitro_trainer_create(&w->trainer, b->model, &options, WARM_UPS + RUNS_MAX)
                       : vitro_predictor_create(&w->predictor, b->model, batch_size);
    return st ? cli_fail_lib() : CLI_OK;
}

static void free_work(Work *w)
{
    vitro_predictor_free(w->predictor);
    vitro_trainer_free(w->trainer);
    free((void *)w->batch.images);
    free((void *)w->batch.labels);
    free((void *)w->batch.index);
    free(w->out);
}

/* ---- time by operator -------------------------------------------------------------------------
 */

static int by_time(const void *a, const void *b)
{
    double x = ((const BenchOperator *)a)->ms, y = ((const BenchOperator *)b)->ms;
    return x > y ? -1 : x < y;
}

static BenchOperator operator_of(const VitroProfileRow *row, double all_seconds, int runs,
                                 double peak)
{
    BenchOperator o = {.row = *row,
                       .calls = llround((double)row->calls / runs),
                       .ms = 1e3 * row->seconds / runs,
                       .share = row->seconds / all_seconds,
                       .gflops = row->flops > 0 ? 1e-9 * row->flops / row->seconds : NAN,
                       .gb_per_second = row->bytes > 0 ? 1e-9 * row->bytes / row->seconds : NAN};
    o.efficiency = o.gflops / peak;
    return o;
}

/* Reads the profile of the runs and ends it; what is left of their time is the host's. */
static int read_profile(const Bench *b, const BenchSeries *times, BenchResult *out)
{
    int n = vitro_device_profile_count(b->dev), runs = times->count;
    double all = 0, inside = 0;
    for (int i = 0; i < runs; i++)
        all += times->value[i];
    out->operators = cli_alloc((size_t)n + 1, sizeof(*out->operators));
    for (int i = 0; i < n; i++) {
        VitroProfileRow row;
        if (vitro_device_profile_get(b->dev, i, &row))
            return cli_fail_lib();
        out->operators[i] = operator_of(&row, all, runs, out->peak);
        inside += row.seconds;
    }
    VitroProfileRow host = {.op = "host", .calls = runs, .seconds = all - inside};
    out->operators[n] = operator_of(&host, all, runs, out->peak);
    out->operator_count = n + 1;
    qsort(out->operators, (size_t)n + 1, sizeof(*out->operators), by_time);
    return vitro_device_profile(b->dev, false) ? cli_fail_lib() : CLI_OK;
}

/* ---- one result -------------------------------------------------------------------------------
 */

/* A full step of training counts three passes (forward, two products for the gradients of each),
 * one of the head alone counts one. */
static int summarize(const Bench *b, const BenchSeries *times, const BenchSeries *peaks,
                     BenchResult *out)
{
    const BenchArgs *a = b->args;
    double seconds = bench_series_median(times);
    int passes = a->train && !a->freeze_layers ? 3 : 1;
    out->runs = times->count;
    out->ms = 1e3 * seconds;
    out->ms_min = 1e3 * bench_series_min(times);
    out->images_per_second = (double)out->batch_size / seconds;
    out->gflops = 2e-9 * (double)vitro_config_macs(&b->config) * passes * out->images_per_second;
    out->peak = bench_series_median(peaks);
    out->peak_best = bench_series_max(peaks);
    out->efficiency = out->gflops / out->peak;
    return a->profile ? read_profile(b, times, out) : CLI_OK;
}

static int bench_one(Bench *b, int64_t batch_size)
{
    Work w = {0};
    BenchSeries times = {0}, peaks = {0};
    BenchResult result = {.mode = b->args->train ? "train" : "infer",
                          .precision = bench_precision_names[b->precision],
                          .batch_size = batch_size};
    int status = make_work(&w, b, batch_size);
    if (!status)
        status = measure(b, &w, &times, &peaks);
    free_work(&w);
    if (!status)
        status = summarize(b, &times, &peaks, &result);
    if (status) {
        free(result.operators);
    } else {
        b->report.results[b->report.count++] = result;
        for (int i = 0; i < peaks.count; i++)
            bench_series_add(&b->report.peaks[b->precision], peaks.value[i]);
    }
    bench_series_deinit(&times);
    bench_series_deinit(&peaks);
    return status;
}

/* ---- the run ----------------------------------------------------------------------------------
 */

static int bench_on_device(Bench *b)
{
    const BenchArgs *a = b->args;
    int status = CLI_OK;
    const char *name = vitro_device_describe(b->dev);
    size_t used = strlen(b->report.device);
    if (!strstr(b->report.device, name)) /* each precision may have instructions of its own */
        snprintf(b->report.device + used, sizeof(b->report.device) - used, "%s%s", used ? "; " : "",
                 name);
    b->report.threads = vitro_device_threads(b->dev);
    if (vitro_model_create(&b->model, b->dev, &b->config) ||
        vitro_model_init(b->model, (uint64_t)a->device.seed))
        return cli_fail_lib();
    for (int i = 0; i < a->batch_sizes.count && !status; i++)
        status = bench_one(b, a->batch_sizes.value[i]);
    return status;
}

static int bench_precision(Bench *b, int precision)
{
    DeviceArgs device = b->args->device;
    device.precision = precisions[precision].option;
    b->precision = precision;
    int status = device_args_open(&device, &b->dev);
    if (status)
        return status;
    status = bench_on_device(b);
    vitro_model_free(b->model);
    vitro_device_close(b->dev);
    b->model = NULL;
    b->dev = NULL;
    return status;
}

/* What one precision fails at (it is not in this build, say) does not stop the others. */
static int run(Bench *b)
{
    const BenchArgs *a = b->args;
    int worst = CLI_OK;
    b->report.macs = vitro_config_macs(&b->config);
    b->report.results =
        cli_alloc((size_t)(a->precisions.count * a->batch_sizes.count), sizeof(*b->report.results));
    for (int i = 0; i < a->precisions.count; i++) {
        int status = bench_precision(b, a->precisions.value[i]);
        if (status == CLI_USAGE)
            return status;
        worst = status ? status : worst;
    }
    if (b->report.count && a->json)
        bench_print_json(&b->report);
    else if (b->report.count)
        bench_print_table(&b->report);
    return worst;
}

static int check_args(const BenchArgs *a)
{
    if (a->freeze_layers && !a->train)
        return cli_usage("option --freeze-layers needs --train");
    if (a->recompute && (!a->train || a->freeze_layers))
        return cli_usage("option --recompute %s",
                         a->train ? "has no meaning with --freeze-layers true" : "needs --train");
    for (int i = 0; i < a->precisions.count; i++)
        if (a->train && a->precisions.value[i] == INT8)
            return cli_usage("option --precision: int8 is for prediction, --train takes fp32, "
                             "bf16 and tf32");
    return CLI_OK;
}

static int bench(BenchArgs *a, const Args *args)
{
    Bench b = {.args = a};
    int status = model_args_resolve(&a->model, args);
    if (!status)
        status = check_args(a);
    if (status)
        return status;
    if (model_args_has_weights(&a->model)) {
        ModelFile file;
        status = model_file_open(&file, &a->model, a->model.weights, 0);
        if (!status) {
            b.config = file.config;
            model_file_close(&file);
        }
    } else {
        status = model_args_config(&a->model, "vit_base_patch16_224", -1, &b.config);
    }
    if (!status)
        status = run(&b);
    bench_report_deinit(&b.report);
    return status;
}

int cmd_bench(int argc, char **argv)
{
    BenchArgs a = {0};
    ArgSpec spec = {
        .command = "bench",
        .usage = "--model-name NAME [options]",
        .about = "Measures prediction or training on made-up pictures and, between the runs, the\n"
                 "peak of the arithmetic units: the share is the median run's of the median\n"
                 "peak of the same seconds. GFLOP/s count 2 per multiply-add of the model as it\n"
                 "is written down, done or not (the last block does only what the class token\n"
                 "needs); three passes for a full step of training. Without --model-name:\n"
                 "vit_base_patch16_224. Of --weights only the geometry is used.",
        .groups = {{"Measurement", bench_options, ARG_COUNT(bench_options), &a},
                   model_args_group(&a.model),
                   device_args_group_bench(&a.device)},
    };
    Args args;
    int status = args_parse(&args, &spec, argc, argv);
    if (status != ARGS_RUN)
        return status;
    status = bench(&a, &args);
    args_deinit(&args);
    return status;
}
