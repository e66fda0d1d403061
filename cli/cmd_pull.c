/* SPDX-License-Identifier: Apache-2.0 */
/* vitro pull: published checkpoints into the cache, and what is there. */
#include "args.h"
#include "fetch_bar.h"
#include "report.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

typedef struct PullArgs {
    bool list;
    const char *endpoint;
} PullArgs;

#define ROW(name_, type_, field_, ...)                                                             \
    {                                                                                              \
        .name = name_, .type = type_, .at = offsetof(PullArgs, field_), __VA_ARGS__                \
    }

static const ArgOption pull_options[] = {
    ROW("list", ARG_FLAG, list, .help = "what is in the cache: name, commit, size, weight file"),
    ROW("endpoint", ARG_TEXT, endpoint, .metavar = "URL",
        .def_help = "$HF_ENDPOINT, else https://huggingface.co",
        .help = "address of the hub, or of a mirror of it"),
};

static void print_entry(void *user, const VitroHubEntry *e)
{
    (void)user;
    printf("%s  %.12s  %.1f MB  %s\n", e->name, e->commit, (double)e->bytes / 1e6, e->path);
}

static int list(void)
{
    return vitro_hub_list(print_entry, NULL) ? cli_fail_lib() : CLI_OK;
}

/* Says where it is, on stdout the path alone. */
static int report(const char *name, VitroPulled how)
{
    char path[4096];
    if (how == VITRO_PULLED_OFFLINE)
        cli_note("warning: %s; taking what the cache has", vitro_last_error());
    else if (how == VITRO_PULLED_ALREADY)
        cli_note("%s: the cache has the newest commit", name);
    if (vitro_hub_find(path, sizeof(path), name))
        return cli_fail_lib();
    puts(path);
    return CLI_OK;
}

static int pull(const PullArgs *a, const char *name)
{
    FetchBar bar = {0};
    VitroPulled how;
    VitroPullOptions o = {
        .name = name, .endpoint = a->endpoint, .progress = fetch_bar_watch, .user = &bar};
    if (!vitro_hub_is_name(name)) {
        char shown[120];
        return cli_usage("found the name '%s', expected OWNER/NAME or OWNER/NAME@REVISION, each of "
                         "letters, digits, '-', '_' and '.'",
                         cli_clean(shown, sizeof(shown), name));
    }
    VitroStatus st = vitro_hub_pull(&how, &o);
    fetch_bar_end(&bar);
    return st ? cli_fail_lib() : report(name, how);
}

int cmd_pull(int argc, char **argv)
{
    PullArgs a = {0};
    const ArgSpec spec = {
        .command = "pull",
        .usage = "[options] OWNER/NAME[@REVISION]...\n       vitro pull --list",
        .about =
            "Brings published weights, with their config files, from huggingface.co into the\n"
            "cache ($XDG_CACHE_HOME/vitro/hub, else ~/.cache/vitro/hub) and prints the path.\n"
            "From then on the name serves as --weights, without a network:\n"
            "    vitro pull timm/vit_base_patch16_224.augreg2_in21k_ft_in1k\n"
            "    vitro predict --weights timm/vit_base_patch16_224.augreg2_in21k_ft_in1k a.jpg\n"
            "A transfer that broke off is continued. HF_ENDPOINT names a mirror; HF_TOKEN is\n"
            "sent to the hub alone, for what is not public.",
        .operand = "NAME",
        .min_operands = 0,
        .max_operands = ARG_ANY_NUMBER,
        .groups = {{"Pull", pull_options, ARG_COUNT(pull_options), &a}}};
    Args args;
    int status = args_parse(&args, &spec, argc, argv);
    if (status != ARGS_RUN)
        return status;
    if (a.list == (args.operand_count > 0))
        status = cli_usage("vitro pull: found %s, expected a name or --list",
                           a.list ? "a name and --list" : "no name");
    else
        status = a.list ? list() : CLI_OK;
    for (int i = 0; i < args.operand_count && !status; i++)
        status = pull(&a, args.operands[i]);
    args_deinit(&args);
    return status;
}
