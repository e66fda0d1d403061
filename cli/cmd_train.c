/* SPDX-License-Identifier: Apache-2.0 */
/* `vitro train`: the options, and everything that is opened before the loop of train_run.c. */
#include "classes.h"
#include "download_args.h"
#include "model_args.h"
#include "out_file.h"
#include "report.h"
#include "skip_bad.h"
#include "states.h"
#include "stop.h"
#include "train_memory.h"
#include "train_resume.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_PRESET "vit_base_patch16_224_in21k" /* what the original imports */

/* ---- options ----------------------------------------------------------------------------------
 */

typedef struct TrainArgs {
    const char *data_path;
    int dataset; /* VitroDatasetKind */
    const char *init_weights;
    char init_weights_room[WEIGHTS_PATH_BYTES];
    bool freeze_layers, recompute;
    int epochs;
    int64_t batch_size;
    double lr, lrf, momentum, weight_decay;
    int optimizer; /* VitroOptimizer */
    ArgReals betas;
    double adam_eps, warmup_epochs, clip_grad, label_smoothing;
    int accumulate, workers;
    int augment; /* index in standard, none */
    bool shuffle, skip_bad;
    int64_t max_steps;
    const char *output_dir, *log_dir, *metrics_jsonl;
    int checkpoint_format; /* VitroCheckpointFormat */
    const char *resume;
    int64_t save_every;
    int keep;
} TrainArgs;

/* In the order of the enumerations whose values they choose. */
static const char *const dataset_names[] = {"auto",  "cifar100", "cifar10", "fashion-mnist",
                                            "mnist", "folder",   NULL};
static const char *const optimizer_names[] = {"sgd", "adamw", NULL};
static const char *const augment_names[] = {"standard", "none", NULL};
static const char *const format_names[] = {"pth", "safetensors", NULL};

#define ROW(name_, type_, field_, ...)                                                             \
    {                                                                                              \
        .name = name_, .type = type_, .at = offsetof(TrainArgs, field_), __VA_ARGS__               \
    }

static const ArgOption data_options[] = {
    ROW("data-path", ARG_TEXT, data_path, .metavar = "DIR", .def = "./data",
        .help = "folder that contains, or is, the data set"),
    ROW("dataset", ARG_CHOICE, dataset, .def = "auto", .choices = dataset_names,
        .help = "kind of data set; auto: by what lies in the folder"),
    ROW("augment", ARG_CHOICE, augment, .def = "standard", .choices = augment_names,
        .help = "of training pictures. standard: RandomResizedCrop and flip; none: the eval "
                "transform"),
    ROW("shuffle", ARG_BOOL, shuffle, .def = "true",
        .help = "a new order of the training pictures each epoch"),
    ROW("workers", ARG_INT, workers, .min = 0, .max = 256,
        .def_help = "min(cores, 8), 0 at batch size 1",
        .help = "threads that prepare pictures; the numbers do not depend on it"),
    ROW("skip-bad", ARG_BOOL, skip_bad, .def = "false", .help = SKIP_BAD_HELP),
};

static const ArgOption run_options[] = {
    ROW("epochs", ARG_INT, epochs, .def = "20", .min = 1, .max = 1e6,
        .help = "passes over the training pictures"),
    ROW("max-steps", ARG_INT64, max_steps, .min = 1, .max = INFINITY, .def_help = "no limit",
        .help = "optimizer steps, then the epoch ends and is the last"),
    ROW("batch-size", ARG_INT64, batch_size, .def = "64", .min = 1, .max = 1 << 20,
        .help = "pictures per batch"),
    ROW("accumulate", ARG_INT, accumulate, .def = "1", .min = 1, .max = 1 << 20,
        .help = "batches per optimizer step; an epoch's last step may have fewer"),
    ROW("lr", ARG_REAL, lr, .def = "0.001", .min = 0, .max = 1e38, .help = "first learning rate"),
    ROW("lrf", ARG_REAL, lrf, .def = "0.01", .min = 0, .max = 1e38,
        .help = "last learning rate / first; a cosine between, per epoch"),
    ROW("warmup-epochs", ARG_REAL, warmup_epochs, .def = "0", .min = 0, .max = 1e6,
        .help = "linear from 0.01 x lr, per step, then the cosine of the epoch"),
    ROW("optimizer", ARG_CHOICE, optimizer, .def = "sgd", .choices = optimizer_names,
        .help = "as torch.optim's SGD or AdamW"),
    ROW("momentum", ARG_REAL, momentum, .def = "0.9", .min = 0, .max = 1, .flags = ARG_BELOW_MAX,
        .help = "of sgd"),
    ROW("weight-decay", ARG_REAL, weight_decay, .def = "5e-5", .min = 0, .max = 1e6,
        .help = "on every parameter"),
    ROW("betas", ARG_REALS, betas, .def = "0.9,0.999", .min = 0, .max = 1, .flags = ARG_BELOW_MAX,
        .help = "of adamw: two numbers"),
    ROW("adam-eps", ARG_REAL, adam_eps, .def = "1e-8", .min = 0, .max = 1, .help = "of adamw"),
    ROW("clip-grad", ARG_REAL, clip_grad, .def = "0", .min = 0, .max = 1e12,
        .help = "largest norm of the gradient, as clip_grad_norm_; 0: no limit"),
    ROW("label-smoothing", ARG_REAL, label_smoothing, .def = "0", .min = 0, .max = 1,
        .flags = ARG_BELOW_MAX, .help = "share of the label that all classes get alike"),
    ROW("init-weights", ARG_TEXT, init_weights, .metavar = "FILE",
        .help = "starts from every tensor of FILE, the head included"),
    ROW("freeze-layers", ARG_BOOL, freeze_layers, .def_help = "true with --weights, else false",
        .help = "train head and pre_logits only"),
    ROW("recompute", ARG_BOOL, recompute, .def = "false",
        .help = "less memory, more time, the same numbers: keeps only the blocks' inputs for the "
                "backward pass"),
};

static const ArgOption output_options[] = {
    ROW("output-dir", ARG_TEXT, output_dir, .metavar = "DIR", .def = "./weights",
        .help = "where model-{epoch}, training states, class_indices.json and curves.png go"),
    ROW("checkpoint-format", ARG_CHOICE, checkpoint_format, .def = "pth", .choices = format_names,
        .help = "of model-{epoch}"),
    ROW("save-every", ARG_INT64, save_every, .def = "0", .min = 0, .max = INFINITY,
        .help = "optimizer steps from one training state to the next; 0: at epochs' ends only"),
    ROW("keep", ARG_INT, keep, .def = "0", .min = 0, .max = 1e6,
        .help = "how many of the last model-{epoch} are kept, beside the best; 0: all"),
    ROW("resume", ARG_TEXT, resume, .metavar = "latest|FILE",
        .help = "goes on from a training state; latest: the last whole one in output-dir"),
    ROW("log-dir", ARG_TEXT, log_dir, .metavar = "DIR", .def_help = "runs/<time>_<host>",
        .help = "where the TensorBoard events go"),
    ROW("metrics-jsonl", ARG_TEXT, metrics_jsonl, .metavar = "FILE",
        .help = "one JSON line per optimizer step and one per epoch"),
};

/* ---- what is open -----------------------------------------------------------------------------
 */

typedef struct Session {
    TrainArgs train_args;
    DownloadArgs download_args;
    ModelArgs model_args;
    TransformArgs transform_args;
    DeviceArgs device_args;
    Args args;

    VitroTrainState *state; /* that the run goes on from; NULL: it begins */
    char *state_path;       /* owned */
    bool latest;            /* it was found in the output folder */
    int dir_lock;           /* the output folder, locked; -1: not yet */
    ModelFile file;         /* of --weights, --init-weights or the state; file.ckpt NULL: none */
    VitroConfig config;
    VitroDataset *train_set, *val_set;
    VitroTransform transform;
    VitroDevice *dev;
    char *default_log_dir; /* owned */
    TrainNotes notes;
    TrainRun run; /* its members are owned here */
} Session;

static bool is_set(const char *text)
{
    return text && *text;
}

static int check_contradictions(const Session *s)
{
    const TrainArgs *a = &s->train_args;
    if (a->betas.count != 2)
        return cli_usage("option --betas: found %d numbers, expected 2", a->betas.count);
    if (model_args_has_weights(&s->model_args) && is_set(a->init_weights))
        return cli_usage("options --weights and --init-weights contradict each other: the first "
                         "leaves out the head, the second loads it");
    bool frozen = args_given(&s->args, "freeze-layers") ? a->freeze_layers
                                                        : model_args_has_weights(&s->model_args);
    if (a->recompute && frozen)
        return cli_usage("option --recompute has no meaning with --freeze-layers true%s, which "
                         "keeps nothing of the blocks",
                         args_given(&s->args, "freeze-layers") ? "" : " (as --weights implies)");
    if (s->device_args.precision == CLI_INT8)
        return cli_usage("option --precision: int8 is for prediction, train takes fp32, bf16, "
                         "tf32 and fp64");
    if (!is_set(a->data_path) || !is_set(a->output_dir))
        return cli_usage("option --%s: found an empty path",
                         is_set(a->data_path) ? "output-dir" : "data-path");
    return download_args_check(&s->download_args);
}

/* ---- the state to go on from ------------------------------------------------------------------
 */

/* Finds and opens the state; its options are in force where the command line has no others. */
static int open_state(Session *s)
{
    const TrainArgs *a = &s->train_args;
    int status = CLI_OK;
    if (!is_set(a->resume))
        return CLI_OK;
    s->latest = strcmp(a->resume, "latest") == 0;
    if (s->latest)
        status = states_find_latest(&s->state, &s->state_path, a->output_dir);
    else if (vitro_train_state_open(&s->state, a->resume))
        status = cli_fail("option --resume: %s", vitro_last_error());
    else
        s->state_path = cli_strdup(a->resume);
    if (!status && !s->state)
        cli_note("option --resume: there is no training state in %s: starting afresh",
                 a->output_dir);
    if (status || !s->state)
        return status;
    cli_note("going on from %s: epoch %" PRIu32 ", batch %" PRId64 ", %" PRId64 " steps done",
             s->state_path, vitro_train_state_epoch(s->state), vitro_train_state_batch(s->state),
             vitro_train_state_steps(s->state));
    return train_resume_options(&s->args, s->state);
}

/* Its weights take the place of all others, and its names are the model's own. */
static void forget_weights(Session *s)
{
    if (model_args_has_weights(&s->model_args) || is_set(s->train_args.init_weights))
        cli_note("the weights are the state's: %s is not read",
                 model_args_has_weights(&s->model_args) ? s->model_args.weights
                                                        : s->train_args.init_weights);
    s->model_args.weights = s->model_args.key_map = s->train_args.init_weights = NULL;
}

/* ---- model and data ---------------------------------------------------------------------------
 */

/* What a file does not decide: the new head, and what only training uses. */
#define DROP_FIELDS (VITRO_CFG_DROP_RATIO | VITRO_CFG_ATTN_DROP_RATIO | VITRO_CFG_DROP_PATH_RATIO)
#define HEAD_FIELDS (VITRO_CFG_NUM_CLASSES | VITRO_CFG_REPRESENTATION_SIZE)

/* A model that continues a file's: its body, another head. */
static int resolve_body(Session *s, const char *path)
{
    const ModelArgs *m = &s->model_args;
    int status = model_file_open(&s->file, m, path, HEAD_FIELDS | DROP_FIELDS);
    if (status)
        return status;
    s->config = s->file.config;
    int file_size = s->config.representation_size;
    s->config.representation_size = 0;
    if (m->has_logits_given && m->has_logits)
        s->config.representation_size = file_size ? file_size : s->config.embed_dim;
    vitro_config_apply(&s->config, &m->config, m->given & (HEAD_FIELDS | DROP_FIELDS));
    if (file_size && !s->config.representation_size)
        cli_note("%s: pre_logits is dropped (--has-logits true keeps it)", path);
    return CLI_OK;
}

static int resolve_config(Session *s)
{
    const ModelArgs *m = &s->model_args;
    const char *whole = s->state ? s->state_path : s->train_args.init_weights;
    if (model_args_has_weights(m))
        return resolve_body(s, m->weights);
    if (!is_set(whole))
        return model_args_config(m, DEFAULT_PRESET, 0, &s->config);
    int status = model_file_open(&s->file, m, whole, DROP_FIELDS);
    if (status)
        return status;
    s->config = s->file.config;
    vitro_config_apply(&s->config, &m->config, m->given & DROP_FIELDS);
    return CLI_OK;
}

static int open_split(VitroDataset **out, const Session *s, VitroSplit split)
{
    VitroDatasetOptions options = {.path = s->train_args.data_path,
                                   .kind = (VitroDatasetKind)s->train_args.dataset,
                                   .split = split,
                                   .channels = s->config.in_channels,
                                   .exif = s->transform.exif};
    if (vitro_dataset_open(out, &options))
        return cli_fail("option --data-path: %s", vitro_last_error());
    cli_note("%s", vitro_dataset_describe(*out));
    return CLI_OK;
}

/* The head has one output per class unless it was told or loaded. */
static int fit_classes(Session *s)
{
    int64_t classes = vitro_dataset_class_count(s->train_set);
    bool loaded = s->state || is_set(s->train_args.init_weights);
    if (!loaded && !(s->model_args.given & VITRO_CFG_NUM_CLASSES))
        s->config.num_classes = classes < INT32_MAX ? (int)classes : INT32_MAX;
    int64_t needed = class_count_needed(s->train_set), val = class_count_needed(s->val_set);
    needed = val > needed ? val : needed;
    if (s->config.num_classes < needed)
        return cli_fail("%s: found %d classes, the labels in %s need %" PRId64,
                        s->state ? s->state_path
                        : loaded ? s->train_args.init_weights
                                 : "option --num-classes",
                        s->config.num_classes, s->train_args.data_path, needed);
    if (vitro_config_validate(&s->config))
        return cli_fail_lib();
    return CLI_OK;
}

/* The weights were trained on pictures of the state's transform. */
static int check_transform(Session *s)
{
    const VitroTransform *t = &s->transform, *then = &s->file.card.transform;
    bool same = s->file.card.has_transform && t->rule == then->rule && t->crop == then->crop &&
                t->resize_width == then->resize_width && t->resize_height == then->resize_height &&
                t->filter == then->filter && t->exif == then->exif;
    for (int c = 0; c < t->channels; c++)
        same = same && t->mean[c] == then->mean[c] && t->std[c] == then->std[c];
    s->transform = *then; /* keep_exact, too, which options decide only when a run begins */
    return same ? CLI_OK
                : cli_fail("options of the transform: they differ from those of the run to go on "
                           "with, which cannot change on the way");
}

static int leave_out_bad(Session *s)
{
    const TrainArgs *a = &s->train_args;
    int workers = args_given(&s->args, "workers") ? a->workers : cli_default_workers(a->batch_size);
    bool augmented = a->augment == 0; /* random crops are of moderate shapes */
    int status = skip_bad(a->skip_bad, s->train_set, augmented ? NULL : &s->transform, workers);
    return status ? status : skip_bad(a->skip_bad, s->val_set, &s->transform, workers);
}

static int open_data(Session *s)
{
    const TransformArgs *t = &s->transform_args;
    int status = transform_args_make(t, &s->file.card, &s->config, &s->transform);
    if (!status)
        status = download_args_run(&s->download_args, s->train_args.data_path,
                                   (VitroDatasetKind)s->train_args.dataset);
    if (!status)
        status = open_split(&s->train_set, s, VITRO_SPLIT_TRAIN);
    if (!status)
        status = open_split(&s->val_set, s, VITRO_SPLIT_VAL);
    if (status)
        return status;
    if (s->state)
        status = check_transform(s);
    /* CIFAR and IDX pictures that have the model's size are not resized and cropped again. */
    else if (!transform_args_rule_given(t))
        s->transform.keep_exact = transform_args_keep_exact(t, s->train_set, &s->config);
    if (!status)
        status = leave_out_bad(s);
    if (!status && s->state)
        status = train_resume_check_data(s->state, s->train_set, s->val_set);
    return status ? status : fit_classes(s);
}

/* ---- what is printed before the start ---------------------------------------------------------
 */

/* runs/Nov23_06-15-38_host, as torch's SummaryWriter names it */
static char *make_log_dir(void)
{
    char when[32] = "", host[256] = "localhost";
    time_t now = time(NULL);
    struct tm local;
    if (localtime_r(&now, &local))
        strftime(when, sizeof(when), "%b%d_%H-%M-%S", &local);
    if (gethostname(host, sizeof(host) - 1) != 0 || !host[0])
        snprintf(host, sizeof(host), "localhost");
    return cli_format("runs/%s_%s", when, host);
}

/* Writes what is in force back into the options' structs, and prints them all. */
static void print_settings(Session *s)
{
    TrainArgs *a = &s->train_args;
    if (!args_given(&s->args, "workers"))
        a->workers = cli_default_workers(a->batch_size);
    if (!args_given(&s->args, "freeze-layers"))
        a->freeze_layers = model_args_has_weights(&s->model_args);
    if (!is_set(a->log_dir))
        a->log_dir = s->default_log_dir = make_log_dir();

    ModelArgs *m = &s->model_args;
    model_args_set(m, &s->config);
    m->img_size = (ArgSize){s->config.img_height, s->config.img_width};
    if (!is_set(m->model_name) && !s->file.ckpt)
        m->model_name = DEFAULT_PRESET;

    transform_args_show(&s->transform_args, &s->transform);
    s->device_args.device = vitro_device_name(s->dev);
    s->device_args.threads = vitro_device_threads(s->dev);

    args_print(&s->args, stdout);
    printf("\nUsing %d dataloader workers every process\n", a->workers);
}

/* A list of strings as Python's repr() writes it. */
static void print_names(char **names, int64_t count)
{
    char shown[128];
    putchar('[');
    for (int64_t i = 0; i < count; i++) {
        const char *quote = strchr(names[i], '\'') ? "\"" : "'";
        cli_clean(shown, sizeof(shown), names[i]);
        printf("%s%s%s%s", i ? ", " : "", quote, shown, quote);
    }
    putchar(']');
}

/* As PyTorch prints what load_state_dict(strict=False) returns. */
static void print_load_report(const VitroLoadReport *r)
{
    fputs("_IncompatibleKeys(missing_keys=", stdout);
    print_names(r->missing, r->missing_count);
    fputs(", unexpected_keys=", stdout);
    print_names(r->unexpected, r->unexpected_count);
    puts(")");
}

static void print_trained(const Session *s)
{
    char grouped[GROUPED_BYTES];
    int64_t trained = 0;
    for (int64_t i = 0; i < vitro_model_param_count(s->run.model); i++) {
        VitroParamInfo info = vitro_model_param(s->run.model, i);
        if (!vitro_trainer_trains(s->run.trainer, i))
            continue;
        printf("training %s\n", info.name);
        trained += info.count;
    }
    printf("%s training parameters.\n", format_grouped(grouped, trained));
    fflush(stdout);
}

/* ---- everything else that is opened -----------------------------------------------------------
 */

static int make_model(Session *s)
{
    TrainRun *run = &s->run;
    bool strict = is_set(s->train_args.init_weights);
    VitroLoadOptions options = {.strict = strict,
                                .skip_head = !strict,
                                .skip_pre_logits = !strict && !s->config.representation_size};
    VitroLoadReport report = {0};
    bool drawn = !strict && !s->state;
    if (vitro_model_create(&run->model, s->dev, &s->config) ||
        (drawn && vitro_model_init(run->model, (uint64_t)s->device_args.seed)))
        return cli_fail_lib();
    if (!s->file.ckpt || s->state) /* a state is loaded when the trainer is there */
        return CLI_OK;
    if (vitro_model_load(run->model, s->file.ckpt, &options, &report))
        return cli_fail_lib();
    if (!strict)
        print_load_report(&report);
    vitro_load_report_deinit(&report);
    return CLI_OK;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static VitroLoaderOptions loader_options(const Session *s, bool training)
{
    const TrainArgs *a = &s->train_args;
    return (VitroLoaderOptions){.transform = s->transform,
                                .augment = training && a->augment == 0,
                                .shuffle = training && a->shuffle,
                                .batch_size = a->batch_size,
                                .workers = a->workers,
                                .seed = (uint64_t)s->device_args.seed};
}

static int open_loader(VitroLoader **out, const Session *s, VitroDataset *ds, bool training)
{
    VitroLoaderOptions options = loader_options(s, training);
    options.batch_size = smaller(options.batch_size, vitro_dataset_count(ds));
    return vitro_loader_open(out, ds, &options) ? cli_fail_lib() : CLI_OK;
}

static int open_validation(Session *s)
{
    TrainRun *run = &s->run;
    int64_t images = vitro_dataset_count(s->val_set);
    if (images == 0) {
        cli_note("there are no validation images: validation is skipped");
        return CLI_OK;
    }
    int status = open_loader(&run->val, s, s->val_set, false);
    if (!status && vitro_predictor_create(&run->predictor, run->model,
                                          smaller(s->train_args.batch_size, images)))
        status = cli_fail_lib();
    return status;
}

static VitroTrainOptions train_options(const Session *s)
{
    const TrainArgs *a = &s->train_args;
    return (VitroTrainOptions){.optimizer = (VitroOptimizer)a->optimizer,
                               .lr = a->lr,
                               .lrf = a->lrf,
                               .momentum = a->momentum,
                               .weight_decay = a->weight_decay,
                               .beta1 = a->betas.value[0],
                               .beta2 = a->betas.value[1],
                               .adam_eps = a->adam_eps,
                               .warmup_epochs = a->warmup_epochs,
                               .clip_grad = a->clip_grad,
                               .label_smoothing = a->label_smoothing,
                               .accumulate = a->accumulate,
                               .epochs = a->epochs,
                               .batch_size =
                                   smaller(a->batch_size, vitro_dataset_count(s->train_set)),
                               .freeze = a->freeze_layers,
                               .recompute = a->recompute,
                               .seed = (uint64_t)s->device_args.seed};
}

static int check_memory(Session *s)
{
    TrainMemory memory = {.config = &s->config,
                          .dev = s->dev,
                          .precision = device_args_precision(&s->device_args),
                          .train_set = s->train_set,
                          .val_set = s->val_set,
                          .options = train_options(s),
                          .loader = loader_options(s, false)};
    return train_memory_check(&memory, &s->train_args.batch_size, &s->train_args.accumulate);
}

static int open_trainer(Session *s)
{
    TrainRun *run = &s->run;
    VitroTrainOptions options = train_options(s);
    int status = open_loader(&run->train, s, s->train_set, true);
    if (status)
        return status;
    VitroStatus st =
        vitro_trainer_create(&run->trainer, run->model, &options, vitro_loader_batches(run->train));
    if (st == VITRO_E_NOMEM)
        return cli_fail("%s: a smaller --batch-size needs less", vitro_last_error());
    if (st)
        return cli_fail_lib();
    return s->state ? train_state_load(run, s->state) : CLI_OK;
}

/* The card that every checkpoint gets, and class_indices.json: a name per output, or those that the
 * data set has. */
static int write_classes(Session *s)
{
    VitroCard *card = &s->run.card;
    int64_t count = smaller(vitro_dataset_class_count(s->train_set), s->config.num_classes);
    const char **names = cli_alloc((size_t)count, sizeof(*names));
    for (int64_t c = 0; c < count; c++)
        names[c] = vitro_dataset_class_name(s->train_set, c);
    char *path = cli_format("%s/class_indices.json", s->train_args.output_dir);
    card->transform = s->transform;
    card->has_transform = true;
    int status = make_folders(s->train_args.output_dir);
    if (!status)
        status = states_lock(&s->dir_lock, s->train_args.output_dir);
    if (!status &&
        (vitro_card_set_classes(card, names, count) || vitro_card_write_classes(card, path)))
        status = cli_fail_lib();
    free(names);
    free(path);
    return status;
}

/* Where the run begins, and where it goes on, in its folder and its logs. */
static int open_outputs(Session *s)
{
    const TrainArgs *a = &s->train_args;
    const char *jsonl = is_set(a->metrics_jsonl) ? a->metrics_jsonl : NULL;
    int status = write_classes(s);
    if (!status)
        status = train_notes_make(&s->notes, &s->args, s->train_set, s->val_set);
    if (!status && !s->state)
        status = train_log_open(&s->run.log, a->log_dir, jsonl);
    if (!status && s->state) {
        TrainLogMark mark;
        bool marked = train_state_mark(&mark, s->state);
        status = train_log_reopen(&s->run.log, a->log_dir, jsonl, marked ? &mark : NULL,
                                  vitro_train_state_epoch(s->state));
    }
    return status;
}

/* ---- the command ------------------------------------------------------------------------------
 */

static int train(Session *s)
{
    const TrainArgs *a = &s->train_args;
    int status = check_contradictions(s);
    if (!status)
        status = resolve_config(s);
    if (!status)
        status = open_data(s);
    if (!status)
        status = device_args_open(&s->device_args, &s->dev);
    if (status)
        return status;
    print_settings(s);
    status = check_memory(s);
    if (!status)
        status = make_model(s);
    if (!status)
        status = open_trainer(s);
    if (!status)
        status = open_validation(s);
    if (status)
        return status;
    print_trained(s);
    status = open_outputs(s);
    if (status)
        return train_log_close(&s->run.log, status);
    vitro_train_state_close(s->state); /* and with it its mapped file */
    s->state = NULL;
    model_file_close(&s->file);
    s->run.notes = &s->notes;
    s->run.epochs = a->epochs;
    s->run.max_steps = a->max_steps;
    s->run.save_every = a->save_every;
    s->run.keep = a->keep;
    s->run.state_path = s->state_path;
    /* Where the latest whole state was taken, what is later is damaged. */
    s->run.begins_over = !(s->state_path && s->latest);
    s->run.output_dir = a->output_dir;
    s->run.format = (VitroCheckpointFormat)a->checkpoint_format;
    stop_catch();
    return train_log_close(&s->run.log, train_run(&s->run));
}

static void close_session(Session *s)
{
    vitro_loader_close(s->run.train);
    vitro_loader_close(s->run.val);
    vitro_trainer_free(s->run.trainer);
    vitro_predictor_free(s->run.predictor);
    train_curves_deinit(&s->run.curves);
    vitro_card_deinit(&s->run.card);
    vitro_model_free(s->run.model);
    vitro_device_close(s->dev);
    vitro_dataset_close(s->train_set);
    vitro_dataset_close(s->val_set);
    model_file_close(&s->file);
    vitro_train_state_close(s->state);
    train_notes_deinit(&s->notes);
    free(s->state_path);
    free(s->default_log_dir);
    if (s->dir_lock >= 0)
        close(s->dir_lock);
    args_deinit(&s->args);
}

int cmd_train(int argc, char **argv)
{
    Session s = {.dir_lock = -1, .run.log = TRAIN_LOG_CLOSED};
    ArgSpec spec = {
        .command = "train",
        .usage = "[options]",
        .about =
            "Trains a Vision Transformer on a data set of labelled pictures, and validates it\n"
            "after each epoch.",
        .groups = {{"Data", data_options, ARG_COUNT(data_options), &s.train_args},
                   download_args_group(&s.download_args),
                   {"Training", run_options, ARG_COUNT(run_options), &s.train_args},
                   {"Output", output_options, ARG_COUNT(output_options), &s.train_args},
                   model_args_group(&s.model_args),
                   transform_args_group(&s.transform_args),
                   device_args_group(&s.device_args)}};
    int status = args_parse(&s.args, &spec, argc, argv);
    if (status != ARGS_RUN)
        return status;
    status = open_state(&s);
    if (!status)
        status = model_args_resolve(&s.model_args, &s.args);
    if (!status && s.state)
        forget_weights(&s);
    if (!status)
        status = weights_resolve(&s.train_args.init_weights, s.train_args.init_weights_room);
    if (!status)
        status = transform_args_resolve(&s.transform_args, &s.args);
    if (!status)
        status = train(&s);
    close_session(&s);
    return status;
}
