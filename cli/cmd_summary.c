/* SPDX-License-Identifier: Apache-2.0 */
/* vitro summary: parameters and operations of a model, and what a file says of itself. */
#include "model_args.h"
#include "report.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef struct SummaryArgs {
    bool list, json, freeze_layers, attention, proj;
    int64_t batch_size;
    int dim, heads, tokens;
    ModelArgs model;
    DeviceArgs device; /* of every command; counting needs none */
} SummaryArgs;

#define ROW(name_, type_, field_, ...)                                                             \
    {                                                                                              \
        .name = name_, .type = type_, .at = offsetof(SummaryArgs, field_), __VA_ARGS__             \
    }

static const ArgOption summary_options[] = {
    ROW("list", ARG_FLAG, list, .help = "list the presets"),
    ROW("batch-size", ARG_INT64, batch_size, .def = "1", .min = 1, .max = 4096,
        .help = "pictures whose operations are counted"),
    ROW("freeze-layers", ARG_BOOL, freeze_layers, .def = "false",
        .help = "count head and pre_logits only as trainable"),
    ROW("json", ARG_FLAG, json, .help = "one JSON line"),
};

static const ArgOption attention_options[] = {
    ROW("attention", ARG_FLAG, attention, .help = "count one attention layer, not a model"),
    ROW("dim", ARG_INT, dim, .def = "512", .min = 1, .max = 65536, .help = "width of its tokens"),
    ROW("heads", ARG_INT, heads, .def = "1", .min = 1, .max = 65536, .help = "must divide dim"),
    ROW("tokens", ARG_INT, tokens, .def = "1024", .min = 1, .max = 65536, .help = "per picture"),
    ROW("proj", ARG_BOOL, proj, .def = "true", .help = "with the output projection"),
};

typedef struct Summary {
    const SummaryArgs *args;
    VitroConfig config;
    ModelFile file; /* closed where there is none */
    const char *name;
    int64_t params, trainable;
} Summary;

/* ---- counting ---------------------------------------------------------------------------------
 */

/* The original freezes all whose name holds neither "head" nor "pre_logits". */
static bool trains_when_frozen(const char *name)
{
    return strstr(name, "head") || strstr(name, "pre_logits");
}

static void count_param(void *user, const VitroParamInfo *info)
{
    Summary *s = user;
    s->params += info->count;
    if (!s->args->freeze_layers || trains_when_frozen(info->name))
        s->trainable += info->count;
}

static VitroFlops times(VitroFlops f, int64_t n)
{
    return (VitroFlops){f.conv * n, f.linear * n, f.matmul * n, f.layer_norm * n};
}

static int64_t products(VitroFlops f)
{
    return f.conv + f.linear + f.matmul;
}

/* ---- output -----------------------------------------------------------------------------------
 */

static void print_flops_json(VitroFlops f)
{
    printf("\"flops\": %" PRId64 ", \"flops_by_operator\": {\"conv\": %" PRId64
           ", \"linear\": %" PRId64 ", \"matmul\": %" PRId64 ", \"layer_norm\": %" PRId64
           "}, \"macs\": %" PRId64,
           products(f) + f.layer_norm, f.conv, f.linear, f.matmul, f.layer_norm, products(f));
}

static void print_config_json(const VitroConfig *c)
{
    printf("\"config\": {\"img_size\": %d, \"patch_size\": %d, \"in_channels\": %d, "
           "\"num_classes\": %d, \"embed_dim\": %d, \"depth\": %d, \"num_heads\": %d, "
           "\"mlp_ratio\": ",
           c->img_size, c->patch_size, c->in_channels, c->num_classes, c->embed_dim, c->depth,
           c->num_heads);
    put_json_number(stdout, c->mlp_ratio);
    printf(", \"qkv_bias\": %s, \"qk_scale\": ", c->qkv_bias ? "true" : "false");
    put_json_number(stdout, c->qk_scale);
    printf(", \"representation_size\": %d, \"patch_norm\": %s, \"norm_eps\": ",
           c->representation_size, c->patch_norm ? "true" : "false");
    put_json_number(stdout, c->norm_eps);
    printf(", \"act\": \"%s\"}", c->act == VITRO_ACT_GELU_TANH ? "gelu_tanh" : "gelu");
}

static void print_transform_json(const VitroTransform *t)
{
    printf(", \"transform\": {\"width\": %d, \"height\": %d, \"channels\": %d, \"rule\": \"%s\", "
           "\"resize\": %d, \"interpolation\": \"%s\", \"keep_exact\": %s, \"exif\": %s, "
           "\"mean\": ",
           t->width, t->height, t->channels, t->rule == VITRO_RESIZE_SHORT ? "short" : "squash",
           t->resize, t->filter == VITRO_BICUBIC ? "bicubic" : "bilinear",
           t->keep_exact ? "true" : "false", t->exif ? "true" : "false");
    put_json_floats(stdout, t->mean, t->channels);
    fputs(", \"std\": ", stdout);
    put_json_floats(stdout, t->std, t->channels);
    putchar('}');
}

static void print_json(const Summary *s)
{
    const VitroCard *card = &s->file.card;
    printf("{\"params\": %" PRId64 ", \"trainable_params\": %" PRId64 ", ", s->params,
           s->trainable);
    print_flops_json(times(vitro_config_flops(&s->config), s->args->batch_size));
    printf(", \"batch_size\": %" PRId64 ", \"tokens\": %" PRId64 ", ", s->args->batch_size,
           vitro_config_tokens(&s->config));
    print_config_json(&s->config);
    if (s->file.ckpt) {
        fputs(", \"file\": ", stdout);
        put_json_string(stdout, s->name);
        printf(", \"format\": \"%s\", \"names\": \"%s\"", vitro_checkpoint_format(s->file.ckpt),
               vitro_checkpoint_naming(s->file.ckpt));
        if (card->has_transform)
            print_transform_json(&card->transform);
        fputs(card->class_names ? ", \"classes\": [" : "", stdout);
        for (int64_t i = 0; card->class_names && i < card->class_count; i++) {
            fputs(i ? ", " : "", stdout);
            put_json_string(stdout, card->class_names[i]);
        }
        fputs(card->class_names ? "]" : "", stdout);
    }
    fputs("}\n", stdout);
}

static void print_row(void *user, const VitroParamInfo *info)
{
    (void)user;
    char shape[96], count[GROUPED_BYTES];
    int n = 0;
    for (int k = 0; k < info->rank; k++)
        n += snprintf(shape + n, sizeof(shape) - (size_t)n, "%s%" PRId64, k ? "," : "[",
                      info->dim[k]);
    snprintf(shape + n, sizeof(shape) - (size_t)n, "]");
    printf("%-32s %-20s %14s\n", info->name, shape, format_grouped(count, info->count));
}

static void print_file(const Summary *s)
{
    const VitroCard *card = &s->file.card;
    const VitroTransform *t = &card->transform;
    char name[256];
    printf("file      %s (%s, %" PRId64 " tensors, %s names)\n",
           cli_clean(name, sizeof(name), s->name), vitro_checkpoint_format(s->file.ckpt),
           vitro_checkpoint_count(s->file.ckpt), vitro_checkpoint_naming(s->file.ckpt));
    if (!card->has_transform) {
        puts("transform not in the file");
    } else {
        printf("transform ");
        if (t->keep_exact)
            printf("pictures of %dx%d as they are, else ", t->width, t->height);
        if (t->rule == VITRO_RESIZE_SHORT)
            printf("Resize(%d) ", t->resize);
        else
            printf("Resize(%d,%d) ", t->height, t->width);
        printf("%s, CenterCrop(%d), mean", t->filter == VITRO_BICUBIC ? "bicubic" : "bilinear",
               t->width);
        for (int c = 0; c < t->channels; c++)
            printf(" %.6g", (double)t->mean[c]);
        printf(", std");
        for (int c = 0; c < t->channels; c++)
            printf(" %.6g", (double)t->std[c]);
        putchar('\n');
    }
    printf("classes   ");
    for (int64_t i = 0; card->class_names && i < card->class_count && i < 8; i++)
        printf("%s%s", i ? ", " : "", cli_clean(name, sizeof(name), card->class_names[i]));
    if (!card->class_names)
        printf("no names in the file");
    else if (card->class_count > 8)
        printf(", ... (%" PRId64 ")", card->class_count);
    putchar('\n');
}

static void print_config(const Summary *s)
{
    const VitroConfig *c = &s->config;
    printf("input     %dx%dx%d, patches of %d, %" PRId64 " tokens\n", c->in_channels, c->img_size,
           c->img_size, c->patch_size, vitro_config_tokens(c));
    printf("encoder   width %d, depth %d, heads %d, MLP %" PRId64 ", %s, qkv bias %s, eps %g\n",
           c->embed_dim, c->depth, c->num_heads, vitro_config_mlp_width(c),
           c->act == VITRO_ACT_GELU_TANH ? "gelu_tanh" : "gelu", c->qkv_bias ? "yes" : "no",
           c->norm_eps);
    printf("output    %" PRId64 " %s", vitro_config_outputs(c),
           c->num_classes ? "classes" : "features");
    if (c->representation_size)
        printf(", pre_logits %d", c->representation_size);
    putchar('\n');
}

static int print_text(const Summary *s)
{
    char total[GROUPED_BYTES];
    VitroFlops f = times(vitro_config_flops(&s->config), s->args->batch_size);
    printf("model     %s\n", s->file.ckpt ? "as its file says" : s->name);
    if (s->file.ckpt)
        print_file(s);
    print_config(s);
    printf("\n%-32s %-20s %14s\n", "parameter", "shape", "count");
    if (vitro_config_each_param(&s->config, print_row, NULL))
        return cli_fail_lib();
    printf("\n%s total parameters.\n", format_grouped(total, s->params));
    printf("%s training parameters.\n", format_grouped(total, s->trainable));
    printf("FLOPs: %" PRId64 " (batch size %" PRId64 ": conv %" PRId64 ", linear %" PRId64
           ", matmul %" PRId64 ", layer_norm %" PRId64 ")\nMACs: %" PRId64 "\n",
           products(f) + f.layer_norm, s->args->batch_size, f.conv, f.linear, f.matmul,
           f.layer_norm, products(f));
    return CLI_OK;
}

/* ---- the three things it can do ---------------------------------------------------------------
 */

static int list_presets(bool json)
{
    for (int i = 0; i < vitro_preset_count(); i++) {
        Summary s = {.args = &(SummaryArgs){0}};
        char total[GROUPED_BYTES];
        const char *name = vitro_preset_name(i);
        if (vitro_config_preset(&s.config, name) ||
            vitro_config_each_param(&s.config, count_param, &s))
            return cli_fail_lib();
        const VitroConfig *c = &s.config;
        if (json)
            printf("{\"name\": \"%s\", \"params\": %" PRId64 ", ", name, s.params);
        else
            printf("%-30s %4d/%2d/%2d  %dx%dx%d patch %2d  %5d classes %-10s %12s parameters\n",
                   name, c->embed_dim, c->depth, c->num_heads, c->in_channels, c->img_size,
                   c->img_size, c->patch_size, c->num_classes,
                   c->representation_size ? "pre_logits" : "", format_grouped(total, s.params));
        if (json) {
            print_config_json(c);
            puts("}");
        }
    }
    return CLI_OK;
}

static int attention(const SummaryArgs *a)
{
    if (a->dim % a->heads)
        return cli_usage("option --heads: found %d, expected a divisor of --dim %d", a->heads,
                         a->dim);
    VitroFlops f = times(vitro_attention_flops(a->tokens, a->dim, a->proj), a->batch_size);
    int64_t params = (int64_t)a->dim * a->dim * 3;
    if (a->proj)
        params += (int64_t)a->dim * a->dim + a->dim;
    if (a->json) {
        printf("{\"params\": %" PRId64 ", \"trainable_params\": %" PRId64 ", ", params, params);
        print_flops_json(f);
        puts("}");
    } else {
        printf("%s FLOPs: %" PRId64 "\n", a->heads == 1 ? "Self-Attention" : "Multi-Head Attention",
               products(f));
    }
    return CLI_OK;
}

static int model(SummaryArgs *a, const Args *args)
{
    Summary s = {.args = a};
    int status = model_args_resolve(&a->model, args);
    if (status)
        return status;
    const char *preset = "vit_base_patch16_224_in21k";
    bool from_file = model_args_has_weights(&a->model);
    s.name = from_file                                     ? a->model.weights
             : a->model.model_name && *a->model.model_name ? a->model.model_name
                                                           : preset;
    if (from_file) {
        status = model_file_open(&s.file, &a->model, a->model.weights, 0);
        s.config = s.file.config;
    } else {
        status = model_args_config(&a->model, preset, -1, &s.config);
    }
    if (!status && vitro_config_each_param(&s.config, count_param, &s))
        status = cli_fail_lib();
    if (!status && a->json)
        print_json(&s);
    else if (!status)
        status = print_text(&s);
    if (from_file)
        model_file_close(&s.file);
    return status;
}

int cmd_summary(int argc, char **argv)
{
    SummaryArgs a = {0};
    ArgSpec spec = {
        .command = "summary",
        .usage = "[--model-name NAME | --weights FILE] [options]",
        .about = "Counts parameters and operations of a model, or shows what a file holds.\n\n"
                 "FLOPs are counted as fvcore does: one per multiply-add, LayerNorm five per\n"
                 "element. MACs are the products alone. Without --model-name:\n"
                 "vit_base_patch16_224_in21k.",
        .groups = {{"Summary", summary_options, ARG_COUNT(summary_options), &a},
                   {"One attention layer", attention_options, ARG_COUNT(attention_options), &a},
                   model_args_group(&a.model),
                   device_args_group(&a.device)},
    };
    Args args;
    int status = args_parse(&args, &spec, argc, argv);
    if (status != ARGS_RUN)
        return status;
    if (a.list)
        status = list_presets(a.json);
    else if (a.attention)
        status = attention(&a);
    else
        status = model(&a, &args);
    args_deinit(&args);
    return status;
}
