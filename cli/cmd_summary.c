/* SPDX-License-Identifier: Apache-2.0 */
/* vitro summary: layers, parameters, operations and memory of a model, and what a file says of
 * itself. */
#include "layers.h"
#include "model_args.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef struct SummaryArgs {
    bool list, json, freeze_layers, recompute, every_block, attention, proj;
    int64_t batch_size;
    int dim, heads, tokens;
    ModelArgs model;
    DeviceArgs device; /* whose memory is told; threads and seed change nothing here */
} SummaryArgs;

#define ROW(name_, type_, field_, ...)                                                             \
    {                                                                                              \
        .name = name_, .type = type_, .at = offsetof(SummaryArgs, field_), __VA_ARGS__             \
    }

static const ArgOption summary_options[] = {
    ROW("list", ARG_FLAG, list, .help = "list the presets"),
    ROW("batch-size", ARG_INT64, batch_size, .def = "1", .min = 1, .max = 4096,
        .help = "pictures whose operations and activations are counted"),
    ROW("freeze-layers", ARG_BOOL, freeze_layers, .def = "false",
        .help = "count head and pre_logits only as trainable"),
    ROW("recompute", ARG_BOOL, recompute, .def = "false",
        .help = "count the memory of training with --recompute true"),
    ROW("every-block", ARG_FLAG, every_block,
        .help = "a line for each layer of each block, equal as they are; JSON has them always"),
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
    LayerTable layers;
    const char *device; /* its name */
    VitroMemory predict;
    VitroTrainMemory train; /* with SGD; none of it where there is no head */
} Summary;

static int element_bytes(const SummaryArgs *a)
{
    return a->device.precision == CLI_FP64 ? 8 : 4;
}

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

/* ---- output -----------------------------------------------------------------------------------
 */

static void print_counts_json(int64_t params, int64_t trainable, VitroFlops f)
{
    printf("\"params\": %" PRId64 ", \"trainable_params\": %" PRId64 ", ", params, trainable);
    printf("\"flops\": %" PRId64 ", \"flops_by_operator\": {\"conv\": %" PRId64
           ", \"linear\": %" PRId64 ", \"matmul\": %" PRId64 ", \"layer_norm\": %" PRId64
           "}, \"macs\": %" PRId64,
           flops_total(f), f.conv, f.linear, f.matmul, f.layer_norm, flops_products(f));
}

/* One number for a square, else [height, width]: as the card has it. */
static void put_json_size(int height, int width)
{
    if (height == width)
        printf("%d", height);
    else
        printf("[%d, %d]", height, width);
}

static const char *act_name(VitroAct act)
{
    return act == VITRO_ACT_GELU_TANH    ? "gelu_tanh"
           : act == VITRO_ACT_GELU_QUICK ? "quick_gelu"
                                         : "gelu";
}

static const char *const pool_names[] = {"token", "avg", "map"}; /* VitroPooling */

static void print_switch_json(const char *name, bool there, bool value)
{
    if (there)
        printf(", \"%s\": %s", name, value ? "true" : "false");
}

/* timm's arguments that are not the original's, as the card has them. */
static void print_timm_json(const VitroConfig *c)
{
    if (c->init_values != 0) {
        fputs(", \"init_values\": ", stdout);
        put_json_number(stdout, c->init_values);
    }
    if (c->global_pool != VITRO_POOL_TOKEN)
        printf(", \"global_pool\": \"%s\"", pool_names[c->global_pool]);
    if (c->reg_tokens)
        printf(", \"reg_tokens\": %d", c->reg_tokens);
    print_switch_json("pool_include_prefix", c->pool_include_prefix, true);
    print_switch_json("class_token", c->no_class_token, false);
    print_switch_json("no_embed_class", c->no_embed_class, true);
    print_switch_json("distilled", c->distilled, true);
    print_switch_json("pre_norm", c->pre_norm, true);
    print_switch_json("final_norm", c->no_final_norm, false);
    print_switch_json("fc_norm", c->fc_norm, true);
    print_switch_json("qk_norm", c->qk_norm, true);
    print_switch_json("proj_bias", c->no_proj_bias, false);
    print_switch_json("patch_pre_norm", c->patch_pre_norm, true);
}

static void print_config_json(const VitroConfig *c)
{
    fputs("\"config\": {\"img_size\": ", stdout);
    put_json_size(c->img_height, c->img_width);
    printf(", \"patch_size\": %d, \"in_channels\": %d, "
           "\"num_classes\": %d, \"embed_dim\": %d, \"depth\": %d, \"num_heads\": %d, "
           "\"mlp_ratio\": ",
           c->patch_size, c->in_channels, c->num_classes, c->embed_dim, c->depth, c->num_heads);
    put_json_number(stdout, c->mlp_ratio);
    printf(", \"qkv_bias\": %s, \"qk_scale\": ", c->qkv_bias ? "true" : "false");
    put_json_number(stdout, c->qk_scale);
    printf(", \"representation_size\": %d, \"patch_norm\": %s, \"norm_eps\": ",
           c->representation_size, c->patch_norm ? "true" : "false");
    put_json_number(stdout, c->norm_eps);
    printf(", \"act\": \"%s\"", act_name(c->act));
    print_timm_json(c);
    putchar('}');
}

static void print_transform_json(const VitroTransform *t)
{
    static const char *const rules[] = {"short", "squash", "long"}; /* as the card has it */
    printf(", \"transform\": {\"width\": %d, \"height\": %d, \"channels\": %d, \"rule\": \"%s\", "
           "\"resize\": ",
           t->width, t->height, t->channels, rules[t->rule]);
    put_json_size(t->resize_height ? t->resize_height : t->height,
                  t->resize_width ? t->resize_width : t->width);
    fputs(", \"crop_pct\": ", stdout);
    put_json_number(stdout, t->crop_pct);
    printf(", \"crop\": \"%s\", \"interpolation\": \"%s\", \"keep_exact\": %s, \"exif\": %s, "
           "\"mean\": ",
           t->crop == VITRO_CROP_EVEN ? "even" : "floor", transform_filter_name(t->filter),
           t->keep_exact ? "true" : "false", t->exif ? "true" : "false");
    put_json_floats(stdout, t->mean, t->channels);
    fputs(", \"std\": ", stdout);
    put_json_floats(stdout, t->std, t->channels);
    putchar('}');
}

static int64_t predict_total(const VitroMemory *m)
{
    return m->params + m->activations;
}

/* Whether there is something that labels could train, in this precision. */
static bool trains(const Summary *s)
{
    return s->config.num_classes && s->args->device.precision != CLI_INT8;
}

static void print_memory_json(const Summary *s)
{
    printf(", \"memory\": {\"device\": \"%s\", \"precision\": \"%s\", \"params\": %" PRId64
           ", \"predict\": {\"activations\": %" PRId64 ", \"total\": %" PRId64 "}, \"train\": ",
           s->device, cli_precision_names[s->args->device.precision], s->predict.params,
           s->predict.activations, predict_total(&s->predict));
    if (trains(s))
        printf("{\"activations\": %" PRId64 ", \"gradients\": %" PRId64 ", \"momentum\": %" PRId64
               ", \"total\": %" PRId64 "}}",
               s->train.activations, s->train.gradients, s->train.optimizer, s->train.total);
    else
        printf("null}");
}

/* Of the file's tensors: those of bytes with scales. */
static int64_t count_bytes(const VitroCheckpoint *ckpt)
{
    int64_t n = 0;
    for (int64_t i = 0; i < vitro_checkpoint_count(ckpt); i++)
        n += vitro_checkpoint_scale_of(ckpt, i) >= 0;
    return n;
}

static void print_json(const Summary *s)
{
    const VitroCard *card = &s->file.card;
    putchar('{');
    print_counts_json(s->params, s->trainable, layers_flops(&s->layers));
    printf(", \"batch_size\": %" PRId64 ", \"tokens\": %" PRId64 ", ", s->args->batch_size,
           vitro_config_tokens(&s->config));
    print_config_json(&s->config);
    print_memory_json(s);
    fputs(", ", stdout);
    layers_print_json(&s->layers);
    if (s->file.ckpt) {
        fputs(", \"file\": ", stdout);
        put_json_string(stdout, s->name);
        printf(", \"format\": \"%s\", \"names\": \"%s\"", vitro_checkpoint_format(s->file.ckpt),
               vitro_checkpoint_naming(s->file.ckpt));
        printf(", \"int8_weights\": %" PRId64, count_bytes(s->file.ckpt));
        if (card->source) {
            fputs(", \"described_by\": ", stdout);
            put_json_string(stdout, card->source);
        }
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

/* "224", or "384,512": height before width, as torchvision takes sizes. */
static void print_size(int height, int width)
{
    printf("%d", height);
    if (width != height)
        printf(",%d", width);
}

static void print_transform(const VitroTransform *t)
{
    int height = t->resize_height ? t->resize_height : t->height;
    int width = t->resize_width ? t->resize_width : t->width;
    printf("transform ");
    if (t->keep_exact)
        printf("pictures of %dx%d as they are, else ", t->width, t->height);
    bool in_proportion = t->rule != VITRO_RESIZE_SQUASH && height != width;
    printf("%s(",
           in_proportion ? "ResizeKeepRatio" : "Resize"); /* as torchvision and timm say it */
    if (t->rule == VITRO_RESIZE_SQUASH)
        printf("%d,%d", height, width);
    else
        print_size(height, width);
    printf(") %s%s, CenterCrop(", t->rule == VITRO_RESIZE_LONG ? "inside a border, " : "",
           transform_filter_name(t->filter));
    print_size(t->height, t->width);
    printf("), mean");
    for (int c = 0; c < t->channels; c++)
        printf(" %.6g", (double)t->mean[c]);
    printf(", std");
    for (int c = 0; c < t->channels; c++)
        printf(" %.6g", (double)t->std[c]);
    putchar('\n');
}

static void print_file(const Summary *s)
{
    const VitroCard *card = &s->file.card;
    char name[256];
    printf("file      %s (%s, %" PRId64 " tensors, %s names)\n",
           cli_clean(name, sizeof(name), s->name), vitro_checkpoint_format(s->file.ckpt),
           vitro_checkpoint_count(s->file.ckpt), vitro_checkpoint_naming(s->file.ckpt));
    if (count_bytes(s->file.ckpt))
        printf("weights   %" PRId64 " matrices of int8 with scales, made for --precision int8\n",
               count_bytes(s->file.ckpt));
    if (card->source)
        printf("described by %s\n", card->source);
    if (!card->has_transform)
        puts("transform not in the file");
    else
        print_transform(&card->transform);
    printf("classes   ");
    for (int64_t i = 0; card->class_names && i < card->class_count && i < 8; i++)
        printf("%s%s", i ? ", " : "", cli_clean(name, sizeof(name), card->class_names[i]));
    if (!card->class_names)
        printf("no names in the file");
    else if (card->class_count > 8)
        printf(", ... (%" PRId64 ")", card->class_count);
    putchar('\n');
}

/* What differs from the original's model; nothing where nothing does. */
static void print_variant(const VitroConfig *c)
{
    char tokens[32];
    snprintf(tokens, sizeof(tokens), "%d register token%s", c->reg_tokens,
             c->reg_tokens == 1 ? "" : "s");
    const struct {
        bool there;
        const char *what;
    } parts[] = {
        {c->no_class_token, "no class token"},
        {c->distilled, "distillation token and second head"},
        {c->reg_tokens > 0, tokens},
        {c->no_embed_class, "positions for patches only"},
        {c->patch_pre_norm, "LayerNorm of the pixels"},
        {c->patch_norm, "LayerNorm behind the patch embedding"},
        {c->pre_norm, "LayerNorm before the blocks"},
        {c->init_values != 0, "LayerScale"},
        {c->qk_norm, "LayerNorm of q and k"},
        {c->no_proj_bias, "no bias in proj, fc1 and fc2"},
        {c->global_pool == VITRO_POOL_AVG, "mean of the tokens"},
        {c->global_pool == VITRO_POOL_MAP, "attention pooling"},
        {c->pool_include_prefix, "pooling over prefix tokens, too"},
        {c->fc_norm, "final norm behind the pooling"},
        {c->no_final_norm, "no final norm"},
    };
    bool any = false;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (parts[i].there) {
            printf("%s%s", any ? ", " : "variant   ", parts[i].what);
            any = true;
        }
    if (any)
        putchar('\n');
}

static void print_config(const Summary *s)
{
    const VitroConfig *c = &s->config;
    printf("input     %dx%dx%d, patches of %d, %" PRId64 " tokens\n", c->in_channels, c->img_height,
           c->img_width, c->patch_size, vitro_config_tokens(c));
    printf("encoder   width %d, depth %d, heads %d, MLP %" PRId64 ", %s, qkv bias %s, eps %g\n",
           c->embed_dim, c->depth, c->num_heads, vitro_config_mlp_width(c), act_name(c->act),
           c->qkv_bias ? "yes" : "no", c->norm_eps);
    print_variant(c);
    printf("output    %" PRId64 " %s", vitro_config_outputs(c),
           c->num_classes ? "classes" : "features");
    if (c->representation_size)
        printf(", pre_logits %d", c->representation_size);
    putchar('\n');
}

static void print_memory(const Summary *s)
{
    const VitroMemory *p = &s->predict;
    const VitroTrainMemory *t = &s->train;
    char total[GROUPED_BYTES];
    printf("Memory (%s, %s, batch size %" PRId64 "), in bytes:\n", s->device,
           cli_precision_names[s->args->device.precision], s->args->batch_size);
    printf("  predict %s (parameters %" PRId64 ", activations %" PRId64 ")\n",
           format_grouped(total, predict_total(p)), p->params, p->activations);
    if (trains(s))
        printf("  train   %s (parameters %" PRId64 ", activations %" PRId64 ", gradients %" PRId64
               ", momentum %" PRId64 ")\n",
               format_grouped(total, t->total), t->params, t->activations, t->gradients,
               t->optimizer);
}

static void print_text(const Summary *s)
{
    char total[GROUPED_BYTES];
    VitroFlops f = layers_flops(&s->layers);
    printf("model     %s\n", s->file.ckpt ? "as its file says" : s->name);
    if (s->file.ckpt)
        print_file(s);
    print_config(s);
    putchar('\n');
    layers_print(&s->layers, s->args->every_block);
    printf("\n%s total parameters.\n", format_grouped(total, s->params));
    printf("%s training parameters.\n", format_grouped(total, s->trainable));
    printf("FLOPs: %" PRId64 " (batch size %" PRId64 ": conv %" PRId64 ", linear %" PRId64
           ", matmul %" PRId64 ", layer_norm %" PRId64 ")\nFLOPs by module: ",
           flops_total(f), s->args->batch_size, f.conv, f.linear, f.matmul, f.layer_norm);
    layers_print_modules(&s->layers);
    printf("\nMACs: %" PRId64 "\n", flops_products(f));
    print_memory(s);
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
                   name, c->embed_dim, c->depth, c->num_heads, c->in_channels, c->img_height,
                   c->img_width, c->patch_size, c->num_classes,
                   c->representation_size ? "pre_logits" : "", format_grouped(total, s.params));
        if (json) {
            print_config_json(c);
            puts("}");
        }
    }
    return CLI_OK;
}

/* The original's Attention module: what its layers are. */
static void attention_layers(LayerTable *t, const SummaryArgs *a)
{
    int64_t B = a->batch_size, T = a->tokens, D = a->dim;
    bool qkv_bias = a->model.config.qkv_bias; /* false unless given, as the original's */
    VitroFlops all = vitro_attention_flops(T, D, a->proj), qkv = vitro_attention_flops(T, D, false);
    VitroLayerInfo info = {.name = "qkv",
                           .kind = VITRO_LAYER_LINEAR,
                           .block = -1,
                           .rank = 3,
                           .dim = {B, T, 3 * D},
                           .params = 3 * D * D + (qkv_bias ? 3 * D : 0),
                           .flops = {.linear = B * qkv.linear}};
    layers_add(t, &info);
    info.name = "matmul";
    info.kind = VITRO_LAYER_MATMUL;
    info.dim[2] = D;
    info.params = 0;
    info.flops = (VitroFlops){.matmul = B * all.matmul};
    layers_add(t, &info);
    if (!a->proj)
        return;
    info.name = "proj";
    info.kind = VITRO_LAYER_LINEAR;
    info.params = D * D + D;
    info.flops = (VitroFlops){.linear = B * (all.linear - qkv.linear)};
    layers_add(t, &info);
}

static int attention(const SummaryArgs *a)
{
    VitroDevice *dev; /* says whether there is such a device and such a precision */
    if (a->dim % a->heads)
        return cli_usage("option --heads: found %d, expected a divisor of --dim %d", a->heads,
                         a->dim);
    int status = device_args_open(&a->device, &dev);
    if (status)
        return status;
    vitro_device_close(dev);
    LayerTable t = {.element_bytes = element_bytes(a)};
    attention_layers(&t, a);
    VitroFlops f = layers_flops(&t);
    if (a->json) {
        putchar('{');
        print_counts_json(layers_params(&t), layers_params(&t), f);
        fputs(", ", stdout);
        layers_print_json(&t);
        puts("}");
    } else {
        printf("%s FLOPs: %" PRId64 "\n", a->heads == 1 ? "Self-Attention" : "Multi-Head Attention",
               flops_total(f));
    }
    layers_deinit(&t);
    return CLI_OK;
}

/* The counts of s->config. */
static int count(Summary *s)
{
    const SummaryArgs *a = s->args;
    VitroPrecision precision = device_args_precision(&a->device);
    VitroTrainOptions train = vitro_train_options_default();
    train.batch_size = a->batch_size;
    train.freeze = a->freeze_layers;
    train.recompute = a->recompute;
    if (vitro_config_each_param(&s->config, count_param, s) ||
        vitro_config_memory(&s->predict, &s->config, precision, VITRO_MODE_INFER, a->batch_size) ||
        vitro_train_memory(&s->train, &s->config, precision, &train))
        return cli_fail_lib();
    return layers_of_model(&s->layers, &s->config, a->batch_size, element_bytes(a));
}

static int model(SummaryArgs *a, const Args *args)
{
    Summary s = {.args = a};
    VitroDevice *dev = NULL;
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
    if (!status)
        status = device_args_open(&a->device, &dev);
    if (!status) {
        s.device = vitro_device_name(dev);
        status = count(&s);
    }
    if (!status && a->json)
        print_json(&s);
    else if (!status)
        print_text(&s);
    layers_deinit(&s.layers);
    vitro_device_close(dev);
    if (from_file)
        model_file_close(&s.file);
    return status;
}

/* ---- the command line -------------------------------------------------------------------------
 */

/* Fails if one of these options was given, except that of the name `except`. */
static int refuse(const Args *args, const ArgOption *options, int n, const char *except,
                  const char *why)
{
    for (int i = 0; i < n; i++)
        if (args_given(args, options[i].name) && strcmp(options[i].name, except) != 0)
            return cli_usage("option --%s has no meaning %s", options[i].name, why);
    return CLI_OK;
}

/* Options that what was asked for would not look at. Those of the device every command takes. */
static int refuse_ignored(SummaryArgs *a, const Args *args)
{
    const ArgGroup models = model_args_group(&a->model);
    const char *with = a->list ? "with --list" : "with --attention";
    int status = CLI_OK;
    if (a->recompute && a->freeze_layers)
        return cli_usage("option --recompute has no meaning with --freeze-layers true");
    if (!a->list && !a->attention)
        return refuse(args, attention_options, ARG_COUNT(attention_options), "attention",
                      "without --attention");
    if (a->list)
        status = refuse(args, attention_options, ARG_COUNT(attention_options), "", with);
    if (!status)
        status = refuse(args, models.options, models.count, a->list ? "" : "qkv-bias", with);
    static const char *const of_models[] = {"freeze-layers", "recompute", "every-block"};
    for (int i = 0; i < 3 && !status; i++)
        if (args_given(args, of_models[i]))
            status = cli_usage("option --%s has no meaning %s", of_models[i], with);
    if (!status && a->list && args_given(args, "batch-size"))
        status = cli_usage("option --batch-size has no meaning %s", with);
    return status;
}

int cmd_summary(int argc, char **argv)
{
    SummaryArgs a = {0};
    ArgSpec spec = {
        .command = "summary",
        .usage = "[--model-name NAME | --weights FILE] [options]",
        .about = "Counts layers, parameters, operations and memory of a model, or shows what a\n"
                 "file holds.\n\n"
                 "FLOPs are counted as fvcore does: one per multiply-add, LayerNorm five per\n"
                 "element. MACs are the products alone. Memory is counted, not taken; --device,\n"
                 "--backend and --precision say whose, --threads and --seed change nothing.\n"
                 "Without --model-name: vit_base_patch16_224_in21k.",
        .groups = {{"Summary", summary_options, ARG_COUNT(summary_options), &a},
                   {"One attention layer", attention_options, ARG_COUNT(attention_options), &a},
                   model_args_group(&a.model),
                   device_args_group(&a.device)},
    };
    Args args;
    int status = args_parse(&args, &spec, argc, argv);
    if (status != ARGS_RUN)
        return status;
    status = refuse_ignored(&a, &args);
    if (!status)
        status = a.list ? list_presets(a.json) : a.attention ? attention(&a) : model(&a, &args);
    args_deinit(&args);
    return status;
}
