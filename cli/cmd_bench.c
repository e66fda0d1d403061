/* SPDX-License-Identifier: Apache-2.0 */
/* vitro bench: how fast a model runs, beside what the arithmetic units could do at best. */
#include "model_args.h"
#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>

typedef struct BenchArgs {
    ArgInts batch_sizes;
    ArgChoices precisions;
    bool train, json, freeze_layers, recompute;
    double seconds;
    ModelArgs model;
    DeviceArgs device;
} BenchArgs;

enum { FP32, BF16, INT8, PRECISIONS };
static const char *const precision_names[] = {"fp32", "bf16", "int8", NULL};

#define ROW(name_, type_, field_, ...)                                                             \
    {                                                                                              \
        .name = name_, .type = type_, .at = offsetof(BenchArgs, field_), __VA_ARGS__               \
    }

static const ArgOption bench_options[] = {
    ROW("batch-size", ARG_INTS, batch_sizes, .def = "1,8", .min = 1, .max = 65536,
        .help = "pictures per pass, each measured"),
    ROW("precision", ARG_CHOICES, precisions, .def = "fp32", .choices = precision_names,
        .help = "arithmetic, each measured"),
    ROW("train", ARG_FLAG, train, .help = "measure training steps in place of prediction"),
    ROW("freeze-layers", ARG_BOOL, freeze_layers, .def = "false",
        .help = "with --train: train head and pre_logits only"),
    ROW("recompute", ARG_BOOL, recompute, .def = "false",
        .help = "with --train: keep only the blocks' inputs for the backward pass"),
    ROW("seconds", ARG_REAL, seconds, .def = "3", .min = 0, .max = 3600,
        .help = "how long to measure each; the median counts"),
    ROW("json", ARG_FLAG, json, .help = "one JSON line"),
};

typedef struct Bench {
    const BenchArgs *args;
    VitroConfig config;
    VitroDevice *dev;
    VitroModel *model;
    double peak; /* 1e9 operations a second, before and after: the better one; NaN unknown */
} Bench;

typedef struct Figures {
    double ms, images_per_second, gflops, efficiency;
} Figures;

/* ---- measuring ----------------------------------------------------------------------------------
 */

#define RUNS_MAX 10000
#define RUNS_MIN 5

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

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

/* Median time of one run in seconds, after two that warm up. */
static int measure(const Work *w, double seconds, double *median)
{
    double *times = cli_alloc(RUNS_MAX, sizeof(*times));
    int runs = -2, status = CLI_OK;
    double began = cli_seconds();
    while (!status && runs < RUNS_MAX && (runs < RUNS_MIN || cli_seconds() - began < seconds)) {
        double start = cli_seconds();
        if (run_once(w))
            status = cli_fail_lib();
        if (runs >= 0)
            times[runs] = cli_seconds() - start;
        else
            began = cli_seconds();
        runs++;
    }
    if (!status) {
        qsort(times, (size_t)runs, sizeof(*times), by_size);
        *median = (times[(runs - 1) / 2] + times[runs / 2]) / 2;
    }
    free(times);
    return status;
}

/* Numbers without meaning, in [-1, 1): speed does not depend on them. */
static float *synthetic_images(const VitroConfig *c, int64_t count)
{
    int64_t n = count * c->in_channels * c->img_size * c->img_size;
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
    VitroStatus st = b->args->train
                         ? vitro_trainer_create(&w->trainer, b->model, &options, RUNS_MAX)
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

/* A full step of training counts three passes (forward, two products for the gradients of each),
 * one of the head alone counts one. */
static int bench_one(const Bench *b, int64_t batch_size, Figures *out)
{
    Work w = {0};
    double seconds = 0;
    int status = make_work(&w, b, batch_size);
    if (!status)
        status = measure(&w, b->args->seconds, &seconds);
    free_work(&w);
    if (status)
        return status;
    int passes = b->args->train && !b->args->freeze_layers ? 3 : 1;
    out->ms = 1e3 * seconds;
    out->images_per_second = (double)batch_size / seconds;
    out->gflops = 2e-9 * (double)vitro_config_macs(&b->config) * passes * out->images_per_second;
    return CLI_OK;
}

/* The peak as measured now, if that is more than before. */
static int update_peak(Bench *b)
{
    double peak;
    VitroStatus st = vitro_device_peak_gflops(b->dev, VITRO_FP32, &peak);
    if (st == VITRO_E_UNSUPPORTED)
        return CLI_OK;
    if (st)
        return cli_fail_lib();
    b->peak = isnan(b->peak) || peak > b->peak ? peak : b->peak;
    return CLI_OK;
}

/* ---- output -----------------------------------------------------------------------------------
 */

static void print_json(const Bench *b, const Figures *figures)
{
    const BenchArgs *a = b->args;
    fputs("{\"device\": ", stdout);
    put_json_string(stdout, vitro_device_describe(b->dev));
    printf(", \"threads\": %d, \"macs\": %" PRId64 ", \"peak_gflops\": {",
           vitro_device_threads(b->dev), vitro_config_macs(&b->config));
    for (int i = 0; i < PRECISIONS; i++) {
        printf("%s\"%s\": ", i ? ", " : "", precision_names[i]);
        put_json_number(stdout, i == FP32 ? b->peak : NAN);
    }
    fputs("}, \"results\": [", stdout);
    for (int i = 0; i < a->batch_sizes.count; i++) {
        printf("%s{\"mode\": \"%s\", \"precision\": \"fp32\", \"batch_size\": %" PRId64
               ", \"images_per_second\": ",
               i ? ", " : "", a->train ? "train" : "infer", a->batch_sizes.value[i]);
        put_json_number(stdout, figures[i].images_per_second);
        fputs(", \"ms\": ", stdout);
        put_json_number(stdout, figures[i].ms);
        fputs(", \"gflops\": ", stdout);
        put_json_number(stdout, figures[i].gflops);
        fputs(", \"efficiency\": ", stdout);
        put_json_number(stdout, figures[i].efficiency);
        putchar('}');
    }
    fputs("]}\n", stdout);
}

static void print_table(const Bench *b, const Figures *figures)
{
    const BenchArgs *a = b->args;
    printf("device   %s\n", vitro_device_describe(b->dev));
    printf("model    %.3f GMAC per picture\n", 1e-9 * (double)vitro_config_macs(&b->config));
    if (!isnan(b->peak))
        printf("peak     %.1f GFLOP/s fp32\n", b->peak);
    printf("\n%-6s %-9s %6s %12s %12s %10s %10s\n", "mode", "precision", "batch", "images/s", "ms",
           "GFLOP/s", "of peak");
    for (int i = 0; i < a->batch_sizes.count; i++) {
        const Figures *f = &figures[i];
        printf("%-6s %-9s %6" PRId64 " %12.2f %12.3f %10.1f", a->train ? "train" : "infer", "fp32",
               a->batch_sizes.value[i], f->images_per_second, f->ms, f->gflops);
        if (isnan(f->efficiency))
            printf(" %10s\n", "-");
        else
            printf(" %10.3f\n", f->efficiency);
    }
}

/* ---- the run ----------------------------------------------------------------------------------
 */

static int run(Bench *b)
{
    const BenchArgs *a = b->args;
    Figures figures[ARG_LIST_MAX];
    int status = device_args_open(&a->device, &b->dev);
    if (status)
        return status;
    if (vitro_model_create(&b->model, b->dev, &b->config) ||
        vitro_model_init(b->model, (uint64_t)a->device.seed))
        return cli_fail_lib();
    status = update_peak(b);
    for (int i = 0; i < a->batch_sizes.count && !status; i++)
        status = bench_one(b, a->batch_sizes.value[i], &figures[i]);
    if (!status)
        status = update_peak(b);
    if (status)
        return status;
    for (int i = 0; i < a->batch_sizes.count; i++)
        figures[i].efficiency = figures[i].gflops / b->peak;
    if (a->json)
        print_json(b, figures);
    else
        print_table(b, figures);
    return CLI_OK;
}

static int bench(BenchArgs *a, const Args *args)
{
    Bench b = {.args = a, .peak = NAN};
    int status = model_args_resolve(&a->model, args);
    if (!status && a->freeze_layers && !a->train)
        status = cli_usage("option --freeze-layers needs --train");
    if (!status && a->recompute && (!a->train || a->freeze_layers))
        status = cli_usage("option --recompute %s",
                           a->train ? "has no meaning with --freeze-layers true" : "needs --train");
    for (int i = 0; i < a->precisions.count && !status; i++)
        if (a->precisions.value[i] != FP32)
            status = cli_fail("option --precision: %s is not in this build; it has fp32",
                              precision_names[a->precisions.value[i]]);
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
    vitro_model_free(b.model);
    vitro_device_close(b.dev);
    return status;
}

int cmd_bench(int argc, char **argv)
{
    BenchArgs a = {0};
    ArgSpec spec = {
        .command = "bench",
        .usage = "--model-name NAME [options]",
        .about = "Measures prediction or training on made-up pictures, and the peak of the\n"
                 "arithmetic units in the same run. GFLOP/s count 2 per multiply-add of the\n"
                 "model as it is written down, done or not (the last block does only what the\n"
                 "class token needs); three passes for a full step of training. Without\n"
                 "--model-name: vit_base_patch16_224. Of --weights only the geometry is used.",
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
