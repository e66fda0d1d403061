/* SPDX-License-Identifier: Apache-2.0 */
/* vitro predict: pictures in, classes (or features) out. */
#include "classes.h"
#include "model_args.h"
#include "npy.h"
#include "pictures.h"
#include "report.h"
#include "show.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct PredictArgs {
    const char *class_indices, *plot, *dump_input;
    int top_k;
    bool json, logits, show, skip_bad;
    int show_as;
    int64_t batch_size;
    int workers;
    ModelArgs model;
    DeviceArgs device;
    TransformArgs transform;
} PredictArgs;

#define ROW(name_, type_, field_, ...)                                                             \
    {                                                                                              \
        .name = name_, .type = type_, .at = offsetof(PredictArgs, field_), __VA_ARGS__             \
    }

static const ArgOption predict_options[] = {
    ROW("class-indices", ARG_TEXT, class_indices, .metavar = "FILE",
        .def_help = "the checkpoint's names, else class_indices.json beside the weights, else in "
                    "the current folder, else the index",
        .help = "JSON with the classes' names: {\"0\": \"name\", ...} or [\"name\", ...]"),
    ROW("top-k", ARG_INT, top_k, .def = "5", .min = 1, .max = INT32_MAX,
        .help = "how many classes to show"),
    ROW("json", ARG_FLAG, json, .help = "one JSON line per picture"),
    ROW("logits", ARG_FLAG, logits, .help = "show the logits too"),
    ROW("plot", ARG_TEXT, plot, .metavar = "FILE.png",
        .help = "draw the untransformed picture under its title, and the classes' probabilities; "
                "with several pictures a folder"),
    ROW("show", ARG_FLAG, show,
        .help = "show the same in the terminal; by half blocks the picture alone"),
    ROW("show-as", ARG_CHOICE, show_as, .def = "auto", .choices = show_names,
        .help = "how --show does it. auto: by what the terminal says of itself"),
    ROW("dump-input", ARG_TEXT, dump_input, .metavar = "FILE.npy",
        .help = "write the preprocessed tensor [N,C,H,W], float32; a picture that cannot be read "
                "has no row, and without a row there is no file"),
    ROW("batch-size", ARG_INT64, batch_size, .def = "8", .min = 1, .max = 65536,
        .help = "pictures per pass through the model"),
    ROW("workers", ARG_INT, workers, .min = 0, .max = 256,
        .def_help = "min(cores, 8), 0 at batch size 1", .help = "threads that read pictures"),
    ROW("skip-bad", ARG_BOOL, skip_bad, .def = "false",
        .help = "a picture that cannot be read is named and is no failure, if another one can"),
};

/* A run: what is open while pictures go through. */
typedef struct Predict {
    const PredictArgs *args;
    const InputList *inputs;
    LoadedModel loaded;
    ClassNames classes;
    Pictures pictures;
    NpyFile dump;
    Show show;
    VitroPredictor *predictor;
    int64_t outputs; /* logits or features per picture */
    int64_t failed;  /* pictures */
    int64_t skipped; /* those that --skip-bad forgives */
    char **plots;    /* [plot_count] names given so far, to keep them apart */
    int64_t plot_count;
    bool plot_folder;
} Predict;

/* ---- one picture's result ------------------------------------------------------------------- */

typedef struct Ranked {
    int64_t index;
    float logit;
} Ranked;

/* Largest first; of equals the one with the smaller index, as argmax picks. */
static int by_logit(const void *a, const void *b)
{
    const Ranked *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit < y->logit ? 1 : -1;
    return x->index < y->index ? -1 : x->index > y->index;
}

typedef struct Result {
    const char *name;
    const float *out; /* [outputs] logits or features */
    float *prob;      /* [outputs]; NULL for features */
    Ranked *ranked;   /* [outputs], best first; NULL for features */
    int64_t shown;    /* classes to show */
} Result;

static Result rank(const Predict *p, const char *name, const float *out)
{
    Result r = {.name = name, .out = out};
    if (p->loaded.config->num_classes == 0)
        return r;
    r.prob = cli_alloc((size_t)p->outputs, sizeof(*r.prob));
    r.ranked = cli_alloc((size_t)p->outputs, sizeof(*r.ranked));
    for (int64_t i = 0; i < p->outputs; i++)
        r.ranked[i] = (Ranked){i, out[i]};
    vitro_softmax(r.prob, out, p->outputs);
    qsort(r.ranked, (size_t)p->outputs, sizeof(*r.ranked), by_logit);
    r.shown = p->args->top_k < p->outputs ? p->args->top_k : p->outputs;
    return r;
}

static void print_class_json(const Predict *p, const Result *r, int64_t place)
{
    char digits[24];
    int64_t index = r->ranked[place].index;
    fputs("\"class\": ", stdout);
    put_json_string(stdout, class_name(&p->classes, index, digits));
    printf(", \"index\": %" PRId64 ", \"prob\": ", index);
    put_json_float(stdout, r->prob[index]);
}

static void print_json(const Predict *p, const Result *r)
{
    fputs("{\"file\": ", stdout);
    put_json_string(stdout, r->name);
    if (r->ranked) {
        fputs(", ", stdout);
        print_class_json(p, r, 0);
        fputs(", \"top\": [", stdout);
        for (int64_t i = 0; i < r->shown; i++) {
            fputs(i ? ", {" : "{", stdout);
            print_class_json(p, r, i);
            fputs("}", stdout);
        }
        fputs("]", stdout);
    }
    if (!r->ranked || p->args->logits) {
        printf(", \"%s\": ", r->ranked ? "logits" : "features");
        put_json_floats(stdout, r->out, p->outputs);
    }
    fputs("}\n", stdout);
}

/* The line that the original prints and titles its plot with. */
static char *title(const Predict *p, const Result *r)
{
    char digits[24], prob[PYTHON_FORMAT_BYTES], name[512];
    if (!r->ranked)
        return cli_format("features: %" PRId64, p->outputs);
    int64_t best = r->ranked[0].index;
    cli_clean(name, sizeof(name), class_name(&p->classes, best, digits));
    return cli_format("class: %s prob: %s", name, format_python_3(prob, (double)r->prob[best]));
}

static void print_text(const Predict *p, const Result *r, const char *first_line)
{
    char digits[24], prob[PYTHON_FORMAT_BYTES], name[512];
    printf("%s\n", first_line);
    if (p->inputs->count > 1) {
        char file[4096];
        printf("  file: %s\n", cli_clean(file, sizeof(file), r->name));
    }
    for (int64_t i = 0; i < r->shown && r->shown > 1; i++) {
        int64_t index = r->ranked[i].index;
        cli_clean(name, sizeof(name), class_name(&p->classes, index, digits));
        printf("  %-24s %s\n", name, format_python_3(prob, (double)r->prob[index]));
    }
    if (r->ranked && !p->args->logits)
        return;
    printf("  %s:", r->ranked ? "logits" : "values");
    for (int64_t i = 0; i < p->outputs; i++)
        printf(" %.9g", (double)r->out[i]);
    putchar('\n');
}

static void report_failure(Predict *p, const char *name, const char *reason, bool forgiven)
{
    if (forgiven)
        p->skipped++;
    else
        p->failed++;
    if (!p->args->json) {
        if (forgiven)
            cli_note("skipped: %s", reason);
        else
            cli_fail("%s", reason);
        return;
    }
    fputs("{\"file\": ", stdout);
    put_json_string(stdout, name);
    fputs(", \"error\": ", stdout);
    put_json_string(stdout, reason);
    fputs("}\n", stdout);
}

/* ---- plots ------------------------------------------------------------------------------------
 */

static bool plot_name_taken(const Predict *p, const char *path)
{
    for (int64_t i = 0; i < p->plot_count; i++)
        if (strcmp(p->plots[i], path) == 0)
            return true;
    return false;
}

/* FOLDER/<stem>.png; a second picture of one name becomes <stem>-2.png. */
static char *plot_path(Predict *p, const char *name)
{
    if (!p->plot_folder)
        return cli_strdup(p->args->plot);
    const char *slash = strrchr(name, '/');
    const char *base = strcmp(name, "-") == 0 ? "stdin" : slash ? slash + 1 : name;
    const char *dot = strrchr(base, '.');
    int stem = (int)(dot && dot > base ? (size_t)(dot - base) : strlen(base));
    char *path = cli_format("%s/%.*s.png", p->args->plot, stem, base);
    for (int64_t n = 2; plot_name_taken(p, path); n++) {
        free(path);
        path = cli_format("%s/%.*s-%" PRId64 ".png", p->args->plot, stem, base, n);
    }
    p->plots[p->plot_count++] = cli_strdup(path);
    return path;
}

/* The picture under its title, with a bar for each class that is shown. */
static int plot(VitroImage *page, const Predict *p, const Result *r, const VitroImage *picture,
                const char *text)
{
    VitroPlotBar bars[VITRO_PLOT_MAX_BARS];
    char digits[VITRO_PLOT_MAX_BARS][24];
    int count = (int)(r->shown < VITRO_PLOT_MAX_BARS ? r->shown : VITRO_PLOT_MAX_BARS);
    for (int i = 0; i < count; i++) {
        int64_t index = r->ranked[i].index;
        bars[i] = (VitroPlotBar){class_name(&p->classes, index, digits[i]), (double)r->prob[index]};
    }
    return vitro_plot_prediction(page, picture, text, bars, count) ? cli_fail_lib() : CLI_OK;
}

/* Writes it, shows it, or both. Half blocks are too coarse for letters: there the picture stands
 * alone, under the lines that were printed. */
static int draw(Predict *p, int64_t i, const Result *r, const char *text)
{
    VitroImage picture = {0}, page = {0};
    char *path = p->args->plot ? plot_path(p, p->inputs->names[i]) : NULL;
    int status = pictures_read(&p->pictures, i, 3, &picture) ? cli_fail_lib() : CLI_OK;
    if (!status && (path || show_is_fine(&p->show)))
        status = plot(&page, p, r, &picture, text);
    if (!status && path && vitro_image_write_png(path, &page))
        status = cli_fail_lib();
    if (!status && p->show.on)
        status = show_picture(&p->show, show_is_fine(&p->show) ? &page : &picture);
    vitro_image_deinit(&page);
    vitro_image_deinit(&picture);
    free(path);
    return status;
}

/* A result must not take the place of what it is made from. */
static int check_output(const Predict *p, const char *option, const char *path)
{
    if (same_file(path, vitro_checkpoint_path(p->loaded.file.ckpt)))
        return cli_usage("option --%s: %s is the file of the weights", option, path);
    for (int64_t i = 0; i < p->inputs->count; i++)
        if (same_file(path, p->inputs->names[i]))
            return cli_usage("option --%s: %s is one of the pictures", option, path);
    return CLI_OK;
}

/* FOLDER/x.png would be replaced by its own plot. */
static int check_plot_folder(const Predict *p)
{
    for (int64_t i = 0; i < p->inputs->count; i++) {
        const char *name = p->inputs->names[i], *slash = strrchr(name, '/');
        const char *dot = strrchr(name, '.');
        if (!dot || strcmp(dot, ".png") != 0)
            continue;
        char *folder = slash ? cli_format("%.*s/", (int)(slash - name), name) : cli_strdup(".");
        bool same = same_file(folder, p->args->plot);
        free(folder);
        if (same)
            return cli_usage("option --plot: %s would be replaced by its plot; name another folder",
                             name);
    }
    return CLI_OK;
}

static int prepare_plots(Predict *p)
{
    const char *plot = p->args->plot;
    struct stat info;
    if (!plot)
        return CLI_OK;
    bool exists = stat(plot, &info) == 0, folder = exists && S_ISDIR(info.st_mode);
    p->plot_folder = p->inputs->count > 1 || folder || plot[strlen(plot) - 1] == '/';
    if (!p->plot_folder) {
        int status = check_output(p, "plot", plot);
        return status ? status : out_file_check(plot);
    }
    p->plots = cli_alloc((size_t)p->inputs->count, sizeof(*p->plots));
    if (exists && !folder)
        return cli_fail("option --plot: %s is a file; several pictures need a folder", plot);
    int status = check_plot_folder(p);
    return status ? status : make_folders(plot);
}

/* ---- the run ----------------------------------------------------------------------------------
 */

static bool all_finite(const float *v, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return false;
    return true;
}

static int report_picture(Predict *p, int64_t i, const float *input, const float *out)
{
    const char *name = p->inputs->names[i];
    if (p->pictures.errors[i]) {
        report_failure(p, name, p->pictures.errors[i], p->args->skip_bad);
        return CLI_OK;
    }
    if (p->args->dump_input)
        npy_append(&p->dump, input);
    if (!all_finite(out, p->outputs)) {
        char *reason = cli_format("%s: the model's output is not finite: the weights are damaged, "
                                  "or too large for this arithmetic",
                                  name);
        report_failure(p, name, reason, false);
        free(reason);
        return CLI_OK;
    }
    Result r = rank(p, name, out);
    char *first_line = title(p, &r);
    if (p->args->json)
        print_json(p, &r);
    else
        print_text(p, &r, first_line);
    int status = p->args->plot || p->show.on ? draw(p, i, &r, first_line) : CLI_OK;
    free(first_line);
    free(r.prob);
    free(r.ranked);
    return status;
}

static int run_batches(Predict *p, int64_t batch_size)
{
    const VitroConfig *c = p->loaded.config;
    int64_t input_size = (int64_t)c->in_channels * c->img_height * c->img_width;
    float *out = cli_alloc((size_t)(batch_size * p->outputs), sizeof(*out));
    VitroBatch batch;
    Progress bar;
    int status;
    int64_t done = 0;
    /* Only where the results do not pass by on the same screen. */
    bool watched = isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO) && p->inputs->count > batch_size;
    progress_begin(&bar, p->inputs->count);
    while ((status = pictures_next(&p->pictures, &batch)) == CLI_OK && batch.count > 0) {
        if (vitro_predictor_run(p->predictor, batch.images, batch.count, out))
            status = cli_fail_lib();
        for (int64_t i = 0; i < batch.count && !status; i++)
            status = report_picture(p, batch.index[i], batch.images + i * input_size,
                                    out + i * p->outputs);
        if (!status)
            status = cli_flush();
        if (status)
            break;
        done += batch.count;
        if (watched)
            progress_update(&bar, done, "[predict]");
    }
    if (watched && !status)
        progress_end(&bar, done, "[predict]");
    free(out);
    return status;
}

static int run(Predict *p)
{
    const PredictArgs *a = p->args;
    int64_t count = p->inputs->count;
    int64_t batch_size = a->batch_size < count ? a->batch_size : count;
    int workers = a->workers >= 0 ? a->workers : cli_default_workers(batch_size);
    VitroTransform transform;
    int status = loaded_model_open(&p->loaded, &a->model, &a->device);
    if (status)
        return status;
    const VitroConfig *config = p->loaded.config;
    p->outputs = vitro_config_outputs(config);
    status = transform_args_make(&a->transform, &p->loaded.file.card, config, &transform);
    if (!status)
        status = class_names_find(&p->classes, a->class_indices, &p->loaded.file.card,
                                  vitro_checkpoint_path(p->loaded.file.ckpt), config->num_classes);
    if (!status)
        status = prepare_plots(p);
    if (!status && a->dump_input)
        status = check_output(p, "dump-input", a->dump_input);
    if (!status && a->dump_input && a->plot && strcmp(a->dump_input, a->plot) == 0)
        status = cli_usage("options --dump-input and --plot name the same file, %s", a->plot);
    if (!status && a->dump_input)
        status = npy_open(&p->dump, a->dump_input, config->in_channels, config->img_height,
                          config->img_width);
    if (!status && vitro_predictor_create(&p->predictor, p->loaded.model, batch_size))
        status = cli_fail_lib();
    if (!status)
        status = pictures_open(&p->pictures, p->inputs, &transform, batch_size, workers);
    if (!status)
        status = run_batches(p, batch_size);
    if (!status && p->dump.rows > 0)
        status = npy_commit(&p->dump);
    return status;
}

static void close_run(Predict *p)
{
    pictures_close(&p->pictures);
    npy_abort(&p->dump);
    vitro_predictor_free(p->predictor);
    class_names_deinit(&p->classes);
    loaded_model_close(&p->loaded);
    for (int64_t i = 0; i < p->plot_count; i++)
        free(p->plots[i]);
    free(p->plots);
}

static int predict(PredictArgs *a, const Args *args)
{
    int status = model_args_resolve(&a->model, args);
    if (!status)
        status = transform_args_resolve(&a->transform, args);
    if (!status && !model_args_has_weights(&a->model))
        status =
            cli_usage("option --weights is missing: expected a .pth, .safetensors or .npz file");
    a->show |= args_given(args, "show-as");
    if (!status && a->show && a->json)
        status = cli_usage("options --show and --json contradict each other: both want standard "
                           "output");
    InputList inputs;
    if (!status)
        status = inputs_collect(&inputs, args->operands, args->operand_count);
    if (status)
        return status;
    Predict p = {.args = a, .inputs = &inputs};
    if (a->show)
        show_open(&p.show, a->show_as);
    status = run(&p);
    if (!status && p.failed) {
        status = CLI_FAILED;
        if (a->json)
            cli_fail("%" PRId64 " of %" PRId64
                     " pictures failed: \"error\" in their lines says why",
                     p.failed, inputs.count);
    }
    if (!status && p.skipped == inputs.count)
        status = cli_fail("--skip-bad: not one of %" PRId64 " pictures can be read", p.skipped);
    close_run(&p);
    inputs_deinit(&inputs);
    return status;
}

int cmd_predict(int argc, char **argv)
{
    PredictArgs a = {.workers = -1};
    ArgSpec spec = {
        .command = "predict",
        .usage = "--weights FILE [options] IMAGE...",
        .about = "Says what a trained model sees in pictures.\n\n"
                 "IMAGE is a file, a folder (its pictures by name; where it holds none, those of\n"
                 "its sub-folders), @FILE for a list with one name per line, or - for one picture\n"
                 "on standard input. The transform is the one the file was trained with, where it\n"
                 "says so.",
        .operand = "IMAGE",
        .min_operands = 1,
        .max_operands = ARG_ANY_NUMBER,
        .groups = {{"Prediction", predict_options, ARG_COUNT(predict_options), &a},
                   model_args_group(&a.model),
                   transform_args_group(&a.transform),
                   device_args_group(&a.device)},
    };
    Args args;
    int status = args_parse(&args, &spec, argc, argv);
    if (status != ARGS_RUN)
        return status;
    status = predict(&a, &args);
    args_deinit(&args);
    return status;
}
