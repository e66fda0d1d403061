/* SPDX-License-Identifier: Apache-2.0 */
/* vitro eval: loss, accuracy, precision and recall of a model on one split of a data set. */
#include "classes.h"
#include "download_args.h"
#include "model_args.h"
#include "out_file.h"
#include "report.h"
#include "skip_bad.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef struct EvalArgs {
    const char *data_path, *confusion, *confusion_plot;
    int dataset, split;
    bool json, skip_bad;
    int64_t batch_size;
    int workers;
    DownloadArgs download;
    ModelArgs model;
    DeviceArgs device;
    TransformArgs transform;
} EvalArgs;

/* In the order of VitroDatasetKind and VitroSplit. */
static const char *const dataset_names[] = {"auto",  "cifar100", "cifar10", "fashion-mnist",
                                            "mnist", "folder",   NULL};
static const char *const split_names[] = {"train", "val", NULL};

#define ROW(name_, type_, field_, ...)                                                             \
    {                                                                                              \
        .name = name_, .type = type_, .at = offsetof(EvalArgs, field_), __VA_ARGS__                \
    }

static const ArgOption eval_options[] = {
    ROW("data-path", ARG_TEXT, data_path, .def = "./data", .metavar = "PATH",
        .help = "the folder that contains, or is, the data set"),
    ROW("dataset", ARG_CHOICE, dataset, .def = "auto", .choices = dataset_names,
        .help = "its form; auto tells by what lies in the folder"),
    ROW("split", ARG_CHOICE, split, .def = "val", .choices = split_names,
        .help = "only this split's own files need to be there"),
    ROW("json", ARG_FLAG, json, .help = "one JSON line"),
    ROW("confusion", ARG_TEXT, confusion, .metavar = "FILE.csv",
        .help = "write the confusion matrix: a row per label, a column per prediction"),
    ROW("confusion-plot", ARG_TEXT, confusion_plot, .metavar = "FILE.png",
        .help = "draw it as a heat map; a row's colours are shares of its sum"),
    ROW("batch-size", ARG_INT64, batch_size, .def = "64", .min = 1, .max = 65536,
        .help = "pictures per pass; the loss is the mean of the batches' means, as the original's"),
    ROW("workers", ARG_INT, workers, .min = 0, .max = 256,
        .def_help = "min(cores, 8), 0 at batch size 1", .help = "threads that read pictures"),
    ROW("skip-bad", ARG_BOOL, skip_bad, .def = "false", .help = SKIP_BAD_HELP),
};

typedef struct Eval {
    const EvalArgs *args;
    LoadedModel loaded;
    VitroDataset *dataset;
    VitroLoader *loader;
    VitroPredictor *predictor;
    VitroEvalResult result;
} Eval;

/* ---- figures per class --------------------------------------------------------------------------
 */

typedef struct ClassFigures {
    int64_t images;           /* with this label */
    double precision, recall; /* NaN where nothing was predicted, or labelled, as this class */
} ClassFigures;

static ClassFigures class_figures(const VitroEvalResult *r, int64_t c)
{
    int64_t labelled = 0, predicted = 0, right = r->confusion[c * r->class_count + c];
    for (int64_t i = 0; i < r->class_count; i++) {
        labelled += r->confusion[c * r->class_count + i];
        predicted += r->confusion[i * r->class_count + c];
    }
    return (ClassFigures){.images = labelled,
                          .precision = predicted ? (double)right / (double)predicted : NAN,
                          .recall = labelled ? (double)right / (double)labelled : NAN};
}

/* The data set's name for class c, else the checkpoint's, else the index. */
static const char *name_of(const Eval *e, int64_t c, char digits[24])
{
    const VitroCard *card = &e->loaded.file.card;
    if (c < vitro_dataset_class_count(e->dataset))
        return vitro_dataset_class_name(e->dataset, c);
    if (card->class_names && c < card->class_count)
        return card->class_names[c];
    snprintf(digits, 24, "%" PRId64, c);
    return digits;
}

/* A class that the data set does not know is shown only if it was predicted. */
static bool is_shown(const Eval *e, int64_t c)
{
    if (c < vitro_dataset_class_count(e->dataset))
        return true;
    for (int64_t i = 0; i < e->result.class_count; i++)
        if (e->result.confusion[i * e->result.class_count + c])
            return true;
    return false;
}

/* ---- output -----------------------------------------------------------------------------------
 */

static double images_per_second(const VitroEvalResult *r)
{
    return r->seconds > 0 ? (double)r->images / r->seconds : NAN;
}

static void print_json(const Eval *e)
{
    const VitroEvalResult *r = &e->result;
    const struct {
        const char *name;
        double value;
    } figures[] = {{"loss", r->loss}, {"top1", r->top1}, {"top5", r->top5}};
    putchar('{');
    for (int i = 0; i < ARG_COUNT(figures); i++) {
        printf("\"%s\": ", figures[i].name);
        put_json_number(stdout, figures[i].value);
        fputs(", ", stdout);
    }
    printf("\"images\": %" PRId64 ", \"images_per_second\": ", r->images);
    put_json_number(stdout, images_per_second(r));
    fputs(", \"per_class\": [", stdout);
    for (int64_t c = 0, shown = 0; c < r->class_count; c++) {
        char digits[24];
        if (!is_shown(e, c))
            continue;
        ClassFigures f = class_figures(r, c);
        fputs(shown++ ? ", {\"class\": " : "{\"class\": ", stdout);
        put_json_string(stdout, name_of(e, c, digits));
        fputs(", \"precision\": ", stdout);
        put_json_number(stdout, f.precision);
        fputs(", \"recall\": ", stdout);
        put_json_number(stdout, f.recall);
        printf(", \"images\": %" PRId64 "}", f.images);
    }
    fputs("]}\n", stdout);
}

static void print_share(double v)
{
    if (isnan(v))
        printf(" %10s", "-");
    else
        printf(" %10.4f", v);
}

static void print_table(const Eval *e)
{
    const VitroEvalResult *r = &e->result;
    printf("data    %s\n", vitro_dataset_describe(e->dataset));
    printf("images  %" PRId64 "\nloss    %.6f\n", r->images, r->loss);
    printf("top-1   %.2f %%\ntop-5   %.2f %%\n", 100 * r->top1, 100 * r->top5);
    printf("speed   %.1f images/s\n\n", images_per_second(r));
    printf("%-28s %10s %10s %8s\n", "class", "precision", "recall", "images");
    for (int64_t c = 0; c < r->class_count; c++) {
        char digits[24], name[256];
        if (!is_shown(e, c))
            continue;
        ClassFigures f = class_figures(r, c);
        printf("%-28s", cli_clean(name, sizeof(name), name_of(e, c, digits)));
        print_share(f.precision);
        print_share(f.recall);
        printf(" %8" PRId64 "\n", f.images);
    }
}

/* A cell of RFC 4180. */
static void csv_cell(FILE *out, const char *s)
{
    if (!strpbrk(s, ",\"\r\n")) {
        fputs(s, out);
        return;
    }
    fputc('"', out);
    for (; *s; s++)
        fprintf(out, *s == '"' ? "\"\"" : "%c", *s);
    fputc('"', out);
}

static int write_confusion(const Eval *e)
{
    const VitroEvalResult *r = &e->result;
    OutFile file;
    char digits[24];
    int status = out_file_open(&file, e->args->confusion);
    if (status)
        return status;
    fputs("label\\prediction", file.stream);
    for (int64_t c = 0; c < r->class_count; c++) {
        fputc(',', file.stream);
        csv_cell(file.stream, name_of(e, c, digits));
    }
    for (int64_t label = 0; label < r->class_count; label++) {
        fputc('\n', file.stream);
        csv_cell(file.stream, name_of(e, label, digits));
        for (int64_t c = 0; c < r->class_count; c++)
            fprintf(file.stream, ",%" PRId64, r->confusion[label * r->class_count + c]);
    }
    fputc('\n', file.stream);
    return out_file_commit(&file);
}

/* The classes that are shown, and they alone: a model of 1000 classes may be measured on 10. */
static int plot_confusion(const Eval *e)
{
    const VitroEvalResult *r = &e->result;
    int64_t *shown = cli_alloc((size_t)r->class_count, sizeof(*shown)), count = 0;
    for (int64_t c = 0; c < r->class_count; c++)
        if (is_shown(e, c))
            shown[count++] = c;
    int64_t *cells = cli_alloc((size_t)(count * count), sizeof(*cells));
    char **names = cli_alloc((size_t)count, sizeof(*names));
    for (int64_t i = 0; i < count; i++) {
        char digits[24];
        names[i] = cli_strdup(name_of(e, shown[i], digits));
        for (int64_t k = 0; k < count; k++)
            cells[i * count + k] = r->confusion[shown[i] * r->class_count + shown[k]];
    }
    char *title = cli_format("top-1 %.2f %%, %" PRId64 " pictures", 100 * r->top1, r->images);
    VitroImage page = {0};
    int status = CLI_OK;
    if (vitro_plot_confusion(&page, cells, count, (const char *const *)names, title) ||
        vitro_image_write_png(e->args->confusion_plot, &page))
        status = cli_fail_lib();
    vitro_image_deinit(&page);
    for (int64_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
    free(title);
    free(cells);
    free(shown);
    return status;
}

/* ---- the run ----------------------------------------------------------------------------------
 */

/* The folder's class names against the checkpoint's: another order means other numbers. */
static void compare_classes(const Eval *e)
{
    const VitroCard *card = &e->loaded.file.card;
    int64_t count = vitro_dataset_class_count(e->dataset);
    if (!card->class_names || vitro_dataset_kind(e->dataset) != VITRO_DATA_FOLDER)
        return;
    for (int64_t c = 0; c < count && c < card->class_count; c++) {
        const char *here = vitro_dataset_class_name(e->dataset, c);
        if (strcmp(here, card->class_names[c]) == 0)
            continue;
        cli_note("warning: class %" PRId64 " is '%s' in the data set and '%s' in %s: the figures "
                 "compare classes by number",
                 c, here, card->class_names[c], e->args->model.weights);
        return;
    }
}

static int open_data(Eval *e)
{
    const EvalArgs *a = e->args;
    const VitroConfig *config = e->loaded.config;
    VitroDatasetOptions options = {.path = a->data_path,
                                   .kind = (VitroDatasetKind)a->dataset,
                                   .split = (VitroSplit)a->split,
                                   .channels = config->in_channels};
    VitroTransform transform;
    int status = transform_args_make(&a->transform, &e->loaded.file.card, config, &transform);
    if (!status)
        status = download_args_run(&a->download, a->data_path, options.kind);
    if (status)
        return status;
    options.exif = transform.exif;
    if (vitro_dataset_open(&e->dataset, &options))
        return cli_fail_lib();
    if (vitro_dataset_count(e->dataset) == 0)
        return cli_fail("%s: found no pictures in the split %s", a->data_path,
                        split_names[a->split]);
    int64_t classes = class_count_needed(e->dataset);
    if (config->num_classes < classes)
        return cli_fail("%s: found %" PRId64 " classes, the model in %s has %d", a->data_path,
                        classes, a->model.weights, config->num_classes);
    /* CIFAR and IDX pictures that already have the model's size are taken as they are. */
    if (transform_args_keep_exact(&a->transform, e->dataset, config))
        transform.keep_exact = true;
    int workers = a->workers >= 0 ? a->workers : cli_default_workers(a->batch_size);
    status = skip_bad(a->skip_bad, e->dataset, &transform, workers);
    if (status)
        return status;
    VitroLoaderOptions loader = {
        .transform = transform, .batch_size = a->batch_size, .workers = workers};
    return vitro_loader_open(&e->loader, e->dataset, &loader) ? cli_fail_lib() : CLI_OK;
}

typedef struct Watch {
    Progress bar;
    int64_t done;
    char text[128];
} Watch;

static bool watch(void *user, int64_t batch, int64_t batches, double mean_loss, double accuracy,
                  int64_t images)
{
    Watch *w = user;
    (void)batches;
    (void)images;
    w->done = batch;
    snprintf(w->text, sizeof(w->text), "[eval] loss: %.3f, acc: %.3f", mean_loss, accuracy);
    progress_update(&w->bar, batch, w->text);
    return true;
}

static int run(Eval *e)
{
    const EvalArgs *a = e->args;
    int status = loaded_model_open(&e->loaded, &a->model, &a->device);
    if (status)
        return status;
    if (e->loaded.config->num_classes == 0)
        return cli_fail("%s: the model has no head: it gives features, not classes",
                        a->model.weights);
    status = open_data(e);
    if (status)
        return status;
    compare_classes(e);
    int64_t count = vitro_dataset_count(e->dataset);
    if (vitro_predictor_create(&e->predictor, e->loaded.model,
                               a->batch_size < count ? a->batch_size : count))
        return cli_fail_lib();
    if (a->confusion)
        status = out_file_check(a->confusion);
    if (!status && a->confusion_plot)
        status = out_file_check(a->confusion_plot);
    if (status)
        return status;
    Watch w = {.text = "[eval]"};
    progress_begin(&w.bar, vitro_loader_batches(e->loader));
    if (vitro_evaluate(e->predictor, e->loader, &e->result, true, watch, &w))
        return cli_fail_lib();
    progress_end(&w.bar, w.done, w.text);
    if (!isfinite(e->result.loss))
        return cli_fail("%s: the model's output is not finite: the weights are damaged, or too "
                        "large for this arithmetic",
                        a->model.weights);
    /* First the result: a disk that is full by now does not take it along. */
    if (a->json)
        print_json(e);
    else
        print_table(e);
    if (a->confusion)
        status = write_confusion(e);
    if (!status && a->confusion_plot)
        status = plot_confusion(e);
    return status;
}

static int eval(EvalArgs *a, const Args *args)
{
    if (a->confusion && a->confusion_plot && strcmp(a->confusion, a->confusion_plot) == 0)
        return cli_usage("options --confusion and --confusion-plot name the same file, %s",
                         a->confusion);
    int status = model_args_resolve(&a->model, args);
    if (!status)
        status = download_args_check(&a->download);
    if (!status)
        status = transform_args_resolve(&a->transform, args);
    if (status)
        return status;
    Eval e = {.args = a};
    status = run(&e);
    vitro_eval_result_deinit(&e.result);
    vitro_predictor_free(e.predictor);
    vitro_loader_close(e.loader);
    vitro_dataset_close(e.dataset);
    loaded_model_close(&e.loaded);
    return status;
}

int cmd_eval(int argc, char **argv)
{
    EvalArgs a = {.workers = -1};
    ArgSpec spec = {
        .command = "eval",
        .usage = "--weights FILE --data-path PATH [options]",
        .about = "Measures a trained model on one split of a data set: loss, top-1 and top-5\n"
                 "accuracy, precision and recall of each class.",
        .groups = {{"Evaluation", eval_options, ARG_COUNT(eval_options), &a},
                   download_args_group(&a.download),
                   model_args_group(&a.model),
                   transform_args_group(&a.transform),
                   device_args_group(&a.device)},
    };
    Args args;
    int status = args_parse(&args, &spec, argc, argv);
    if (status != ARGS_RUN)
        return status;
    status = eval(&a, &args);
    args_deinit(&args);
    return status;
}
