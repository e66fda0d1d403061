/* SPDX-License-Identifier: Apache-2.0 */
/* vitro convert: one weight file to another, and what tensors a file holds. */
#include "args.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef struct ConvertArgs {
    bool list;
    int dtype;
} ConvertArgs;

static const char *const dtype_names[] = {"keep", "f32", "f16", "bf16", NULL};
static const VitroDtype dtypes[] = {VITRO_F32, VITRO_F32, VITRO_F16, VITRO_BF16};

#define ROW(name_, type_, field_, ...)                                                             \
    {                                                                                              \
        .name = name_, .type = type_, .at = offsetof(ConvertArgs, field_), __VA_ARGS__             \
    }

static const ArgOption convert_options[] = {
    ROW("list", ARG_FLAG, list, .help = "print name, type and shape of IN's tensors"),
    ROW("dtype", ARG_CHOICE, dtype, .def = "keep", .choices = dtype_names,
        .help = "type of the floats in OUT; integers keep theirs"),
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

static int convert(const VitroCheckpoint *ckpt, const char *path, const ConvertArgs *a)
{
    VitroCheckpointFormat format;
    if (vitro_checkpoint_format_of(&format, path))
        return cli_usage("%s", vitro_last_error());
    if (vitro_checkpoint_convert(ckpt, path, format, a->dtype ? &dtypes[a->dtype] : NULL, NULL))
        return cli_fail_lib();
    cli_note("%s: %" PRId64 " tensors", path, vitro_checkpoint_count(ckpt));
    return CLI_OK;
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
                 "--dtype is given.",
        .operand = "FILE",
        .min_operands = 1,
        .max_operands = 2,
        .groups = {{"Convert", convert_options, ARG_COUNT(convert_options), &a}}};
    Args args;
    int status = args_parse(&args, &spec, argc, argv);
    if (status != ARGS_RUN)
        return status;
    VitroCheckpoint *ckpt = NULL;
    if (args.operand_count != (a.list ? 1 : 2))
        status = cli_usage("vitro convert: found %d operand%s, expected %s", args.operand_count,
                           args.operand_count == 1 ? "" : "s",
                           a.list ? "one file with --list" : "two files: IN OUT");
    else if (vitro_checkpoint_open(&ckpt, args.operands[0]))
        status = cli_fail_lib();
    else if (a.list) {
        list_tensors(ckpt);
        status = CLI_OK;
    } else
        status = convert(ckpt, args.operands[1], &a);
    vitro_checkpoint_close(ckpt);
    args_deinit(&args);
    return status;
}
