/* SPDX-License-Identifier: Apache-2.0 */
/* vitro convert: one weight file to another, and what tensors a file holds. */
#include "model_args.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { NAMES_KEEP, NAMES_VITRO, NAMES_TIMM, NAMES_HF, NAMES_TORCHVISION };

typedef struct ConvertArgs {
    bool list, external_data;
    int dtype, names;
    const char *class_indices;
    ModelArgs model;
    TransformArgs transform;
} ConvertArgs;

static const char *const dtype_names[] = {"keep", "f32", "f16", "bf16", "int8", NULL};
enum { DTYPE_INT8 = 4 };
static const VitroDtype dtypes[] = {VITRO_F32, VITRO_F32, VITRO_F16, VITRO_BF16, VITRO_I8};
static const char *const naming_names[] = {"keep", "vitro", "timm", "hf", "torchvision", NULL};

#define ROW(name_, type_, field_, ...)                                                             \
    {                                                                                              \
        .name = name_, .type = type_, .at = offsetof(ConvertArgs, field_), __VA_ARGS__             \
    }

static const ArgOption convert_options[] = {
    ROW("list", ARG_FLAG, list, .help = "print name, type and shape of IN's tensors"),
    ROW("dtype", ARG_CHOICE, dtype, .def = "keep", .choices = dtype_names,
        .help = "type of the floats in OUT, integers keep theirs; int8: a .safetensors file for "
                "--precision int8, its weights bytes with scales"),
    ROW("names", ARG_CHOICE, names, .choices = naming_names,
        .def_help = "keep, or vitro with any option below and --dtype int8",
        .help = "vitro: OUT is a ViT of this library, with its names for the tensors, and with the "
                "geometry, transform and classes written into it; timm, hf (Hugging Face's "
                "ViTForImageClassification), torchvision: with their names, and for the first two "
                "with the config files that they read beside it; OUT may then be a folder, for a "
                "model.safetensors"),
    ROW("class-indices", ARG_TEXT, class_indices, .metavar = "FILE",
        .help = "class names for OUT: {\"0\": \"name\", ...}"),
    ROW("external-data", ARG_FLAG, external_data,
        .help = "of an .onnx file: its weights in a file beside it, OUT.data, as it must be above "
                "2000 MiB"),
};

static void list_tensors(const VitroCheckpoint *ckpt)
{
    int widest = 0;
    for (int64_t i = 0; i < vitro_checkpoint_count(ckpt); i++) {
        char name[256];
        int n = (int)strlen(cli_clean(name, sizeof(name), vitro_checkpoint_info(ckpt, i)->name));
        widest = n > widest ? n : widest;
    }
    for (int64_t i = 0; i < vitro_checkpoint_count(ckpt); i++) {
        const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, i);
        char name[256];
        printf("%-*s  %-4s  [", widest, cli_clean(name, sizeof(name), info->name),
               vitro_dtype_name(info->dtype));
        for (int d = 0; d < info->rank; d++)
            printf("%s%" PRId64, d ? ", " : "", info->dim[d]);
        puts("]");
    }
}

static bool is_set(const char *text)
{
    return text && *text;
}

static bool is_onnx(const char *path)
{
    size_t n = strlen(path);
    return n >= 5 && strcasecmp(path + n - 5, ".onnx") == 0;
}

/* The names change, and OUT says what it is, if that is asked for or told. */
static int resolve_names(ConvertArgs *a, const Args *args, bool *transform_given)
{
    static const char *const transform[] = {"transform", "mean",          "std", "crop-pct",
                                            "crop-mode", "interpolation", "exif"};
    *transform_given = false;
    for (int i = 0; i < ARG_COUNT(transform); i++)
        *transform_given |= args_given(args, transform[i]);
    bool told = a->dtype == DTYPE_INT8 || *transform_given || a->model.given ||
                a->model.has_logits_given || a->model.pos_embed || is_set(a->model.model_name) ||
                is_set(a->model.key_map) || is_set(a->class_indices);
    if (told && args_given(args, "names") && a->names == NAMES_KEEP)
        return cli_usage(
            "option --names: found 'keep', expected vitro: %s a file of this library's names",
            a->dtype == DTYPE_INT8 ? "--dtype int8 makes"
                                   : "the options about the model are written into");
    if (told && a->names == NAMES_KEEP)
        a->names = NAMES_VITRO;
    if (a->dtype == DTYPE_INT8 && a->names != NAMES_VITRO)
        return cli_usage("option --names: found '%s', expected vitro: --dtype int8 makes files for "
                         "this program",
                         naming_names[a->names]);
    return CLI_OK;
}

/* Says what was written. `before`: whose names the tensors had, or NULL. */
static int report(const char *out, const char *before)
{
    VitroCheckpoint *ckpt;
    if (vitro_checkpoint_open(&ckpt, out))
        return cli_fail_lib();
    if (before)
        cli_note("%s: %" PRId64 " tensors (%s names before)", out, vitro_checkpoint_count(ckpt),
                 before);
    else
        cli_note("%s: %" PRId64 " tensors", out, vitro_checkpoint_count(ckpt));
    vitro_checkpoint_close(ckpt);
    return CLI_OK;
}

/* As the file is. */
static int convert_plain(const ConvertArgs *a, const char *in, const char *out,
                         VitroCheckpointFormat format)
{
    VitroCheckpoint *ckpt = NULL;
    const VitroDtype *floats = a->dtype ? &dtypes[a->dtype] : NULL;
    if (vitro_checkpoint_open(&ckpt, in))
        return cli_fail_lib();
    int status = vitro_checkpoint_convert(ckpt, out, format, floats, NULL) ? cli_fail_lib()
                                                                           : report(out, NULL);
    vitro_checkpoint_close(ckpt);
    return status;
}

/* ---- whether all of the model is there ---------------------------------------------------------
 */

typedef struct Check {
    const VitroCheckpoint *ckpt;
    char missing[128]; /* "": none */
    bool *used;        /* [tensors of the file] */
} Check;

static void check_param(void *user, const VitroParamInfo *info)
{
    Check *c = user;
    int64_t i = vitro_checkpoint_find(c->ckpt, info->name);
    if (i >= 0) {
        int64_t scale = vitro_checkpoint_scale_of(c->ckpt, i);
        c->used[i] = true;
        if (scale >= 0)
            c->used[scale] = true;
    } else if (!c->missing[0])
        snprintf(c->missing, sizeof(c->missing), "%s", info->name);
}

/* A file that calls itself a model must be one: else predict would refuse it, strict as it is. */
static int check_complete(const ModelFile *file, const char *in)
{
    Check c = {.ckpt = file->ckpt};
    char name[256];
    int64_t count = vitro_checkpoint_count(file->ckpt), i = 0;
    c.used = cli_alloc((size_t)count, sizeof(*c.used));
    int status = CLI_OK;
    if (vitro_config_each_param(&file->config, check_param, &c))
        status = cli_fail_lib();
    while (i < count && c.used[i])
        i++;
    if (!status && c.missing[0])
        status = cli_fail("%s: the model needs a tensor \"%s\", and under this library's names the "
                          "file has none",
                          in, c.missing);
    else if (!status && i < count)
        status =
            cli_fail("%s: tensor \"%s\" is no part of the model; a line '- NAME' of a key map "
                     "leaves it out",
                     in, cli_clean(name, sizeof(name), vitro_checkpoint_info(file->ckpt, i)->name));
    free(c.used);
    return status;
}

/* What the options say about the model goes into the card. */
static int complete_card(const ConvertArgs *a, const char *in, ModelFile *file,
                         bool transform_given)
{
    VitroCard *card = &file->card;
    int status = CLI_OK;
    if (transform_given)
        status = transform_args_make(&a->transform, card, &file->config, &card->transform);
    card->has_transform |= transform_given && !status;
    if (!status && is_set(a->class_indices) && vitro_card_read_classes(card, a->class_indices))
        status = cli_fail_lib();
    if (!status && card->class_count && card->class_count != file->config.num_classes)
        status = cli_fail("%s: found %" PRId64 " class names, expected the model's %d",
                          is_set(a->class_indices) ? a->class_indices : in, card->class_count,
                          file->config.num_classes);
    return status;
}

static int write_onnx(const ConvertArgs *a, const char *out, const ModelFile *file)
{
    if (vitro_export_onnx(file->ckpt, out, &file->config, &file->card, a->external_data))
        return cli_fail_lib();
    const int64_t count = vitro_checkpoint_count(file->ckpt);
    cli_note("%s: ONNX, opset 17, %" PRId64 " tensors (%s names before)", out, count,
             vitro_checkpoint_naming(file->ckpt));
    return CLI_OK;
}

static VitroStatus write_weights(const ConvertArgs *a, const char *out, const ModelFile *file)
{
    static const VitroNaming namings[] = {[NAMES_TIMM] = VITRO_NAMES_TIMM,
                                          [NAMES_HF] = VITRO_NAMES_HUGGINGFACE,
                                          [NAMES_TORCHVISION] = VITRO_NAMES_TORCHVISION};
    VitroCheckpointFormat format;
    const VitroDtype *floats = a->dtype ? &dtypes[a->dtype] : NULL;
    VitroStatus st = vitro_checkpoint_format_of(&format, out);
    if (st)
        return st;
    if (a->names == NAMES_VITRO)
        return vitro_checkpoint_convert_model(file->ckpt, out, format, floats, &file->config,
                                              &file->card);
    return vitro_export_weights(file->ckpt, out, format, floats, namings[a->names], &file->config,
                                &file->card);
}

static int write_model(const ConvertArgs *a, const char *out, const ModelFile *file)
{
    if (write_weights(a, out, file))
        return cli_fail_lib();
    return report(out, vitro_checkpoint_naming(file->ckpt));
}

/* As a ViT: renamed, with a card. */
static int convert_model(const ConvertArgs *a, const char *in, const char *out,
                         bool transform_given)
{
    ModelFile file;
    int status = model_file_open(&file, &a->model, in, 0);
    if (status)
        return status;
    status = check_complete(&file, in);
    if (!status)
        status = complete_card(a, in, &file, transform_given);
    if (!status)
        status = is_onnx(out) ? write_onnx(a, out, &file) : write_model(a, out, &file);
    model_file_close(&file);
    return status;
}

static int list(const ConvertArgs *a, const char *in)
{
    VitroCheckpoint *ckpt = NULL;
    const char *map = is_set(a->model.key_map) ? a->model.key_map : NULL;
    int status = CLI_OK;
    if (vitro_checkpoint_open(&ckpt, in) ||
        (a->names == NAMES_VITRO && vitro_checkpoint_adopt_names(ckpt, map)))
        status = cli_fail_lib();
    else
        list_tensors(ckpt);
    vitro_checkpoint_close(ckpt);
    return status;
}

/* OUT where it may be a folder, for another library: DIR/model.safetensors. The folder is made. The
 * caller frees the result. */
static char *output_path(const ConvertArgs *a, const char *out)
{
    static const char name[] = "/model.safetensors";
    size_t n = strlen(out);
    struct stat info;
    bool is_dir = stat(out, &info) == 0 && S_ISDIR(info.st_mode);
    if (a->names <= NAMES_VITRO || !(is_dir || (n && out[n - 1] == '/'))) {
        char *copy = cli_alloc(n + 1, 1);
        memcpy(copy, out, n + 1);
        return copy;
    }
    char *path = cli_alloc(n + sizeof(name), 1);
    while (n > 1 && out[n - 1] == '/')
        n--;
    memcpy(path, out, n);
    path[n] = 0;
    if (!is_dir && mkdir(path, 0777) != 0) {
        cli_fail("%s: cannot be made: %s", path, strerror(errno));
        free(path);
        return NULL;
    }
    memcpy(path + n, name, sizeof(name));
    return path;
}

static int convert_to_onnx(const ConvertArgs *a, const Args *args, const char *in,
                           bool transform_given)
{
    const char *const *file = args->operands;
    if (dtypes[a->dtype] != VITRO_F32)
        return cli_usage("option --dtype: found %s and OUT '%s', expected f32: ONNX files are "
                         "written in float32",
                         dtype_names[a->dtype], file[1]);
    if (args_given(args, "names"))
        return cli_usage("option --names has no meaning for OUT '%s': the tensors of ONNX files "
                         "have this library's names",
                         file[1]);
    return convert_model(a, in, file[1], transform_given);
}

static int run(ConvertArgs *a, const Args *args)
{
    VitroCheckpointFormat format;
    bool transform_given;
    const char *const *file = args->operands, *in = file[0];
    char room[WEIGHTS_PATH_BYTES];
    if (args->operand_count != (a->list ? 1 : 2))
        return cli_usage("vitro convert: found %d operand%s, expected %s", args->operand_count,
                         args->operand_count == 1 ? "" : "s",
                         a->list ? "one file with --list" : "two files: IN OUT");
    int status = weights_resolve(&in, room);
    if (!status)
        status = model_args_resolve(&a->model, args);
    if (!status)
        status = transform_args_resolve(&a->transform, args);
    if (!status)
        status = resolve_names(a, args, &transform_given);
    if (status)
        return status;
    if (a->list && a->dtype)
        return cli_usage("option --dtype has no meaning with --list, which tells what a file has");
    if (a->list && a->names > NAMES_VITRO)
        return cli_usage("option --names: found '%s', expected keep or vitro with --list",
                         naming_names[a->names]);
    if (a->list)
        return list(a, in);
    if (is_onnx(file[1]))
        return convert_to_onnx(a, args, in, transform_given);
    if (a->external_data)
        return cli_usage("option --external-data is for .onnx files, found '%s'", file[1]);
    char *out = output_path(a, file[1]);
    if (!out)
        return CLI_FAILED;
    if (vitro_checkpoint_format_of(&format, out))
        status = cli_usage("%s", vitro_last_error());
    else if (a->dtype == DTYPE_INT8 && format != VITRO_FORMAT_SAFETENSORS)
        status =
            cli_usage("option --dtype: found int8 and OUT '%s', expected a .safetensors file", out);
    else if (a->names == NAMES_KEEP)
        status = convert_plain(a, in, out, format);
    else
        status = convert_model(a, in, out, transform_given);
    free(out);
    return status;
}

int cmd_convert(int argc, char **argv)
{
    ConvertArgs a = {0};
    const ArgSpec spec = {
        .command = "convert",
        .usage = "[options] IN OUT\n       vitro convert --list IN",
        .about = "Writes the tensors of a weight file to another, whose extension says its\n"
                 "format: .pth, .pt, .bin (PyTorch), .safetensors or .npz (NumPy). Names, order,\n"
                 "shapes and what the file says of itself are kept; so are all bits unless\n"
                 "--dtype is given. With --names vitro, a key map, or options about the model or\n"
                 "the transform, OUT is a file that predict, eval and train take without options.\n"
                 "OUT may also be an .onnx file: the whole model, for other runtimes.",
        .operand = "FILE",
        .min_operands = 1,
        .max_operands = 2,
        .groups = {{"Convert", convert_options, ARG_COUNT(convert_options), &a},
                   model_args_group_without_weights(&a.model),
                   transform_args_group(&a.transform)}};
    Args args;
    int status = args_parse(&args, &spec, argc, argv);
    if (status != ARGS_RUN)
        return status;
    status = run(&a, &args);
    args_deinit(&args);
    return status;
}
