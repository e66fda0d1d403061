/* SPDX-License-Identifier: Apache-2.0 */
/* vitro check: which pictures cannot be read, before a run finds out. */
#include "inputs.h"
#include "report.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef struct CheckArgs {
    bool json, exif;
    int workers;
} CheckArgs;

#define ROW(name_, type_, field_, ...)                                                             \
    {                                                                                              \
        .name = name_, .type = type_, .at = offsetof(CheckArgs, field_), __VA_ARGS__               \
    }

static const ArgOption check_options[] = {
    ROW("json", ARG_FLAG, json,
        .help = "one JSON line per broken picture, {\"file\", \"error\"}, and one with the counts"),
    ROW("exif", ARG_BOOL, exif, .def = "false", .help = "turn them by their EXIF orientation, too"),
    ROW("workers", ARG_INT, workers, .min = 0, .max = 256, .def_help = "min(cores, 8)",
        .help = "threads that read pictures"),
};

typedef struct Check {
    const CheckArgs *args;
    InputList pictures;
    int64_t done;
    Progress bar;
} Check;

/* ---- the pictures as a data set -------------------------------------------------------------- */

static int32_t no_label(void *user, int64_t i)
{
    (void)user, (void)i;
    return 0;
}

static VitroStatus read_picture(void *user, int64_t i, VitroImage *out)
{
    const Check *c = user;
    return vitro_image_read(out, c->pictures.names[i], 3, c->args->exif);
}

static void on_bad(void *user, int64_t i, const char *text)
{
    const Check *c = user;
    /* The library numbers the pictures of a data set that it does not know. */
    const char *number = strstr(text, ": ");
    const char *reason = number && strncmp(text, "picture ", 8) == 0 ? number + 2 : text;
    if (c->args->json) {
        fputs("{\"file\": ", stdout);
        put_json_string(stdout, c->pictures.names[i]);
        fputs(", \"error\": ", stdout);
        put_json_string(stdout, reason);
        fputs("}\n", stdout);
    } else {
        puts(reason); /* starts with the name; the library has made it one line of text */
    }
}

static bool on_progress(void *user, int64_t done, int64_t count)
{
    Check *c = user;
    (void)count;
    c->done = done;
    progress_update(&c->bar, done, "[check]");
    return true;
}

static int report(const Check *c, int64_t bad)
{
    int64_t count = c->pictures.count;
    if (c->args->json)
        printf("{\"pictures\": %" PRId64 ", \"broken\": %" PRId64 "}\n", count, bad);
    else if (!bad)
        printf("%" PRId64 " picture%s, none is broken\n", count, count == 1 ? "" : "s");
    int status = cli_flush();
    if (!status && bad)
        status = cli_fail("%" PRId64 " of %" PRId64 " pictures cannot be read", bad, count);
    return status;
}

static int check(Check *c)
{
    VitroCustomDataset custom = {.user = c,
                                 .count = c->pictures.count,
                                 .class_count = 1,
                                 .label = no_label,
                                 .read = read_picture,
                                 .channels = 3};
    VitroCheckOptions options = {.workers = c->args->workers >= 0 ? c->args->workers
                                                                  : cli_default_workers(64),
                                 .bad = on_bad,
                                 .progress = on_progress,
                                 .user = c};
    VitroDataset *dataset = NULL;
    int64_t bad = 0;
    if (vitro_dataset_custom(&dataset, &custom))
        return cli_fail_lib();
    progress_begin(&c->bar, c->pictures.count);
    int status = vitro_dataset_check(dataset, &options, &bad) ? cli_fail_lib() : CLI_OK;
    vitro_dataset_close(dataset);
    if (status)
        return status;
    progress_end(&c->bar, c->done, "[check]");
    return report(c, bad);
}

int cmd_check(int argc, char **argv)
{
    CheckArgs a = {.workers = -1};
    ArgSpec spec = {
        .command = "check",
        .usage = "[options] DIR|FILE...",
        .about =
            "Reads pictures as training would, and names those that cannot be read, each with\n"
            "the reason. Of a folder all pictures are read, those of its sub-folders too;\n"
            "@FILE is a list with one name per line. Exit status 1 if any is broken.",
        .operand = "IMAGE",
        .min_operands = 1,
        .max_operands = ARG_ANY_NUMBER,
        .groups = {{"Check", check_options, ARG_COUNT(check_options), &a}},
    };
    Args args;
    int status = args_parse(&args, &spec, argc, argv);
    if (status != ARGS_RUN)
        return status;
    Check c = {.args = &a};
    status = inputs_collect_all(&c.pictures, args.operands, args.operand_count);
    if (!status)
        status = check(&c);
    inputs_deinit(&c.pictures);
    args_deinit(&args);
    return status;
}
