/* SPDX-License-Identifier: Apache-2.0 */
/* The model options, and the configuration, checkpoint and loaded model that they lead to. Knows no
 * command. */
#include "model_args.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* ---- the model ------------------------------------------------------------------------------ */

static const char *const act_names[] = {"gelu", "gelu_tanh", "quick_gelu", NULL};
static const char *const pool_names[] = {"token", "avg", "map", NULL}; /* VitroPooling */
/* auto, then in the order of VitroPosEmbedRule */
static const char *const pos_embed_names[] = {"auto",   "timm",     "hf", "torchvision",
                                              "google", "timm-npz", NULL};

#define ROW(name_, type_, field_, ...)                                                             \
    {                                                                                              \
        .name = name_, .type = type_, .at = offsetof(ModelArgs, field_), __VA_ARGS__               \
    }

static const ArgOption model_options[] = {
    /* first: model_args_group_without_weights leaves it out */
    ROW("weights", ARG_TEXT, weights, .metavar = "FILE", .flags = ARG_MAY_BE_EMPTY,
        .help = ".pth, .safetensors or .npz file, a folder with config.json and such a file, or a "
                "name that `vitro pull` has fetched; the geometry comes from it"),
    ROW("model-name", ARG_TEXT, model_name, .metavar = "NAME", .flags = ARG_MAY_BE_EMPTY,
        .help = "preset; `vitro summary --list` lists them"),
    ROW("key-map", ARG_TEXT, key_map, .metavar = "FILE", .flags = ARG_MAY_BE_EMPTY,
        .help = "names of the weight file's tensors, where it is of no known family"),
    ROW("img-size", ARG_SIZE, img_size, .min = 1, .max = 16384,
        .help = "side of the input, or its height x width, pixels"),
    ROW("patch-size", ARG_INT, config.patch_size, .min = 1, .max = 16384,
        .help = "side of a patch, pixels"),
    ROW("pos-embed", ARG_CHOICE, pos_embed, .def = "auto", .choices = pos_embed_names,
        .help = "whose rule resamples the file's position embedding for another --img-size or "
                "--patch-size. auto: that of the library whose names the tensors have, timm if "
                "unknown"),
    ROW("in-channels", ARG_INT, config.in_channels, .min = 1, .max = 1024,
        .help = "channels of the input"),
    ROW("num-classes", ARG_INT, config.num_classes, .min = 0, .max = 10000000,
        .help = "outputs of the head; 0: no head, features come out"),
    ROW("embed-dim", ARG_INT, config.embed_dim, .min = 1, .max = 65536,
        .help = "width of the tokens"),
    ROW("depth", ARG_INT, config.depth, .min = 1, .max = 1024, .help = "blocks"),
    ROW("num-heads", ARG_INT, config.num_heads, .min = 1, .max = 65536,
        .help = "attention heads; must divide embed-dim"),
    ROW("mlp-ratio", ARG_REAL, config.mlp_ratio, .min = 0, .max = 1024, .flags = ARG_ABOVE_MIN,
        .help = "the MLP is int(embed-dim x this) wide"),
    ROW("qkv-bias", ARG_BOOL, config.qkv_bias, .help = "bias of q, k and v"),
    ROW("qk-scale", ARG_REAL, config.qk_scale, .min = -1e6, .max = 1e6,
        .help = "factor of the attention scores; 0: (embed-dim/num-heads)^-0.5"),
    ROW("has-logits", ARG_BOOL, has_logits,
        .help = "whether pre_logits (Linear and Tanh) stands before the head"),
    ROW("representation-size", ARG_INT, config.representation_size, .min = 0, .max = 1000000,
        .help = "width of pre_logits; 0: none"),
    ROW("drop-ratio", ARG_REAL, config.drop_ratio, .min = 0, .max = 1, .flags = ARG_BELOW_MAX,
        .help = "dropout in training"),
    ROW("attn-drop-ratio", ARG_REAL, config.attn_drop_ratio, .min = 0, .max = 1,
        .flags = ARG_BELOW_MAX, .help = "dropout of the attention weights in training"),
    ROW("drop-path-ratio", ARG_REAL, config.drop_path_ratio, .min = 0, .max = 1,
        .flags = ARG_BELOW_MAX, .help = "stochastic depth of the last block in training"),
    ROW("patch-norm", ARG_BOOL, config.patch_norm, .help = "LayerNorm behind the patch embedding"),
    ROW("norm-eps", ARG_REAL, config.norm_eps, .min = 0, .max = 1,
        .help = "epsilon of every LayerNorm"),
    ROW("act", ARG_CHOICE, act_choice, .choices = act_names, .help = "activation of the MLP"),
    ROW("init-values", ARG_REAL, config.init_values, .min = -1e6, .max = 1e6,
        .help = "LayerScale in every block, which begins with this; 0: none"),
    ROW("global-pool", ARG_CHOICE, pool_choice, .choices = pool_names,
        .help = "what the head sees: the class token, the mean, attention pooling"),
    ROW("pool-include-prefix", ARG_BOOL, config.pool_include_prefix,
        .help = "whether avg and map see class and register tokens, too"),
    ROW("class-token", ARG_BOOL, class_token, .help = "whether there is a class token"),
    ROW("reg-tokens", ARG_INT, config.reg_tokens, .min = 0, .max = 65536,
        .help = "register tokens"),
    ROW("no-embed-class", ARG_BOOL, config.no_embed_class,
        .help = "whether only patches have position embeddings"),
    ROW("distilled", ARG_BOOL, config.distilled,
        .help = "DeiT's distillation token and second head"),
    ROW("pre-norm", ARG_BOOL, config.pre_norm,
        .help = "LayerNorm before the blocks, no bias in the patch embedding"),
    ROW("final-norm", ARG_BOOL, final_norm, .help = "whether there is a final LayerNorm"),
    ROW("fc-norm", ARG_BOOL, config.fc_norm,
        .help = "whether the final LayerNorm comes after pooling"),
    ROW("qk-norm", ARG_BOOL, config.qk_norm, .help = "LayerNorm of each head's q and k"),
    ROW("proj-bias", ARG_BOOL, proj_bias, .help = "bias of attn.proj, mlp.fc1 and mlp.fc2"),
    ROW("patch-pre-norm", ARG_BOOL, config.patch_pre_norm,
        .help = "LayerNorm of the pixels before the patch embedding"),
};

static const struct {
    const char *option;
    uint32_t bit;
} config_bits[] = {
    {"img-size", VITRO_CFG_IMG_SIZE},
    {"patch-size", VITRO_CFG_PATCH_SIZE},
    {"in-channels", VITRO_CFG_IN_CHANNELS},
    {"num-classes", VITRO_CFG_NUM_CLASSES},
    {"embed-dim", VITRO_CFG_EMBED_DIM},
    {"depth", VITRO_CFG_DEPTH},
    {"num-heads", VITRO_CFG_NUM_HEADS},
    {"mlp-ratio", VITRO_CFG_MLP_RATIO},
    {"qkv-bias", VITRO_CFG_QKV_BIAS},
    {"qk-scale", VITRO_CFG_QK_SCALE},
    {"representation-size", VITRO_CFG_REPRESENTATION_SIZE},
    {"drop-ratio", VITRO_CFG_DROP_RATIO},
    {"attn-drop-ratio", VITRO_CFG_ATTN_DROP_RATIO},
    {"drop-path-ratio", VITRO_CFG_DROP_PATH_RATIO},
    {"patch-norm", VITRO_CFG_PATCH_NORM},
    {"norm-eps", VITRO_CFG_NORM_EPS},
    {"act", VITRO_CFG_ACT},
    {"init-values", VITRO_CFG_INIT_VALUES},
    {"global-pool", VITRO_CFG_GLOBAL_POOL},
    {"pool-include-prefix", VITRO_CFG_POOL_INCLUDE_PREFIX},
    {"class-token", VITRO_CFG_CLASS_TOKEN},
    {"reg-tokens", VITRO_CFG_REG_TOKENS},
    {"no-embed-class", VITRO_CFG_NO_EMBED_CLASS},
    {"distilled", VITRO_CFG_DISTILLED},
    {"pre-norm", VITRO_CFG_PRE_NORM},
    {"final-norm", VITRO_CFG_FINAL_NORM},
    {"fc-norm", VITRO_CFG_FC_NORM},
    {"qk-norm", VITRO_CFG_QK_NORM},
    {"proj-bias", VITRO_CFG_PROJ_BIAS},
    {"patch-pre-norm", VITRO_CFG_PATCH_PRE_NORM},
};

static const char model_title[] =
    "Model (what is not given comes from the file, else from the preset)";

ArgGroup model_args_group(ModelArgs *m)
{
    return (ArgGroup){model_title, model_options, ARG_COUNT(model_options), m};
}

ArgGroup model_args_group_without_weights(ModelArgs *m)
{
    return (ArgGroup){model_title, model_options + 1, ARG_COUNT(model_options) - 1, m};
}

static bool is_set(const char *text)
{
    return text && *text;
}

bool model_args_has_weights(const ModelArgs *m)
{
    return is_set(m->weights);
}

/* The preset's configuration, with a hint where there is no such preset. */
static int read_preset(const char *name, VitroConfig *out)
{
    if (vitro_config_preset(out, name))
        return cli_usage("option --model-name: %s", vitro_last_error());
    return CLI_OK;
}

static const VitroAct acts[] = {VITRO_ACT_GELU, VITRO_ACT_GELU_TANH, VITRO_ACT_GELU_QUICK};

void model_args_set(ModelArgs *m, const VitroConfig *cfg)
{
    m->config = *cfg;
    m->has_logits = cfg->representation_size > 0;
    for (int i = 0; i < ARG_COUNT(acts); i++)
        if (acts[i] == cfg->act)
            m->act_choice = i;
    m->pool_choice = (int)cfg->global_pool;
    m->class_token = !cfg->no_class_token;
    m->final_norm = !cfg->no_final_norm;
    m->proj_bias = !cfg->no_proj_bias;
}

/* "runs/best.pth" is a file that is not there, not a name. */
static bool has_weights_extension(const char *path)
{
    VitroCheckpointFormat format;
    return vitro_checkpoint_format_of(&format, path) == VITRO_OK;
}

int weights_resolve(const char **path, char room[WEIGHTS_PATH_BYTES])
{
    if (!is_set(*path) || access(*path, F_OK) == 0 || !vitro_hub_is_name(*path) ||
        has_weights_extension(*path))
        return CLI_OK;
    if (vitro_hub_find(room, WEIGHTS_PATH_BYTES, *path))
        return cli_fail_lib();
    *path = room;
    return CLI_OK;
}

int model_args_resolve(ModelArgs *m, const Args *args)
{
    int status = weights_resolve(&m->weights, m->weights_room);
    if (status)
        return status;
    m->given = 0;
    for (int i = 0; i < ARG_COUNT(config_bits); i++)
        if (args_given(args, config_bits[i].option))
            m->given |= config_bits[i].bit;
    m->config.img_height = m->img_size.height;
    m->config.img_width = m->img_size.width;
    m->config.act = acts[m->act_choice];
    m->config.global_pool = (VitroPooling)m->pool_choice;
    m->config.no_class_token = !m->class_token;
    m->config.no_final_norm = !m->final_norm;
    m->config.no_proj_bias = !m->proj_bias;
    m->has_logits_given = args_given(args, "has-logits");
    bool size_given = m->given & VITRO_CFG_REPRESENTATION_SIZE;
    if (m->has_logits_given && m->has_logits && size_given && m->config.representation_size == 0)
        return cli_usage("options --has-logits true and --representation-size 0 contradict each "
                         "other");
    if (m->has_logits_given && !m->has_logits) {
        m->config.representation_size = 0;
        m->given |= VITRO_CFG_REPRESENTATION_SIZE;
    }
    VitroConfig preset;
    return is_set(m->model_name) ? read_preset(m->model_name, &preset) : CLI_OK;
}

int model_args_config(const ModelArgs *m, const char *default_preset, int has_logits_default,
                      VitroConfig *out)
{
    VitroConfig config;
    if (m->pos_embed)
        return cli_usage("option --pos-embed has no meaning without a weight file");
    int status = read_preset(is_set(m->model_name) ? m->model_name : default_preset, &config);
    if (status)
        return status;
    int preset_size = config.representation_size;
    vitro_config_apply(&config, &m->config, m->given);
    int has_logits = m->has_logits_given ? m->has_logits : has_logits_default;
    if (!(m->given & VITRO_CFG_REPRESENTATION_SIZE) && has_logits >= 0)
        config.representation_size = !has_logits ? 0 : preset_size ? preset_size : config.embed_dim;
    if (vitro_config_validate(&config))
        return cli_usage("%s", vitro_last_error());
    *out = config;
    return CLI_OK;
}

/* ---- a checkpoint --------------------------------------------------------------------------- */

/* What --model-name states about a file: the width, the depth and the patches; where the file does
 * not tell, its heads, and under timm's names what no tensor shows. The rest (classes, image size)
 * differs between files of one preset. */
static uint32_t preset_statements(const ModelArgs *m, const ModelFile *file, VitroConfig *given)
{
    const VitroCard *card = &file->card;
    VitroConfig preset;
    *given = m->config;
    if (!is_set(m->model_name) || vitro_config_preset(&preset, m->model_name))
        return m->given;
    uint32_t stated = VITRO_CFG_EMBED_DIM | VITRO_CFG_DEPTH | VITRO_CFG_PATCH_SIZE;
    bool same_width = !(m->given & VITRO_CFG_EMBED_DIM) || m->config.embed_dim == preset.embed_dim;
    if (!(card->config_known & VITRO_CFG_NUM_HEADS) && same_width)
        stated |= VITRO_CFG_NUM_HEADS;
    if (!card->config_known && strcmp(vitro_checkpoint_naming(file->ckpt), "timm") == 0)
        stated |= VITRO_CFG_NORM_EPS | VITRO_CFG_ACT | VITRO_CFG_GLOBAL_POOL |
                  VITRO_CFG_POOL_INCLUDE_PREFIX;
    vitro_config_apply(given, &preset, stated & ~m->given);
    return m->given | stated;
}

/* The sizes of picture and patch that were given become the file's. A preset's name asks for
 * nothing: it must fit. */
static int set_sizes(ModelFile *f, const ModelArgs *m, const VitroConfig *given, uint32_t stated,
                     const char *path)
{
    VitroConfig *c = &f->config;
    char note[256];
    bool sized = stated & VITRO_CFG_IMG_SIZE, asked = m->given & VITRO_CFG_PATCH_SIZE;
    if (!asked && (stated & VITRO_CFG_PATCH_SIZE) && given->patch_size != c->patch_size)
        return cli_fail("%s: patch_size was given as %d, but in the file's tensors it is %d", path,
                        given->patch_size, c->patch_size);
    VitroPosEmbedRule rule =
        m->pos_embed ? (VitroPosEmbedRule)(m->pos_embed - 1) : vitro_pos_embed_rule_of(f->ckpt);
    if (vitro_checkpoint_set_size(f->ckpt, c, sized ? given->img_height : 0,
                                  sized ? given->img_width : 0, asked ? given->patch_size : 0, rule,
                                  note, sizeof(note)))
        return cli_fail_lib();
    if (note[0])
        cli_note("%s: %s", path, note);
    VitroTransform *t = &f->card.transform;
    if (f->card.has_transform && (t->height != c->img_height || t->width != c->img_width))
        vitro_transform_set_size(t, c->img_height, c->img_width);
    return CLI_OK;
}

int model_file_open(ModelFile *f, const ModelArgs *m, const char *path, uint32_t ignore)
{
    ModelFile opened = {0};
    VitroConfig given;
    char note[512] = "";
    if (vitro_checkpoint_open(&opened.ckpt, path))
        return cli_fail_lib();
    if (vitro_card_read(&opened.card, opened.ckpt) ||
        vitro_checkpoint_adopt_names(opened.ckpt, is_set(m->key_map) ? m->key_map : NULL))
        goto failed;
    uint32_t stated = preset_statements(m, &opened, &given) & ~ignore;
    if (vitro_config_from_checkpoint(&opened.config, note, sizeof(note), opened.ckpt, &opened.card,
                                     &given, stated))
        goto failed;
    if (vitro_checkpoint_remark(opened.ckpt))
        cli_note("%s", vitro_checkpoint_remark(opened.ckpt));
    if (note[0])
        cli_note("%s", note);
    if (opened.config.num_classes == 0 && vitro_card_set_classes(&opened.card, NULL, 0))
        goto failed;
    if (m->has_logits_given && m->has_logits && !(ignore & VITRO_CFG_REPRESENTATION_SIZE) &&
        opened.config.representation_size == 0) {
        model_file_close(&opened);
        return cli_fail("%s: --has-logits is true, but the file has no pre_logits", path);
    }
    vitro_card_assume_transform(&opened.card, opened.ckpt, &opened.config, note, sizeof(note));
    if (note[0])
        cli_note("%s: %s", path, note);
    int status = set_sizes(&opened, m, &given, stated, path);
    if (status) {
        model_file_close(&opened);
        return status;
    }
    *f = opened;
    return CLI_OK;
failed:
    model_file_close(&opened);
    return cli_fail_lib();
}

void model_file_close(ModelFile *f)
{
    vitro_card_deinit(&f->card);
    vitro_checkpoint_close(f->ckpt);
    f->ckpt = NULL;
}

/* ---- a model, ready to run
 * ------------------------------------------------------------------------------- */

int loaded_model_open(LoadedModel *l, const ModelArgs *m, const DeviceArgs *d)
{
    LoadedModel loaded = {0};
    if (!model_args_has_weights(m))
        return cli_usage("option --weights is missing: expected a .pth, .safetensors or .npz file");
    int status = model_file_open(&loaded.file, m, m->weights, 0);
    if (status)
        return status;
    status = device_args_open(d, &loaded.dev);
    if (!status) {
        VitroLoadOptions strict = {.strict = true};
        if (vitro_model_open(&loaded.model, loaded.dev, &loaded.file.config, loaded.file.ckpt,
                             &strict, NULL))
            status = cli_fail_lib();
    }
    if (status) {
        loaded_model_close(&loaded);
        return status;
    }
    loaded.config = vitro_model_config(loaded.model);
    *l = loaded;
    return CLI_OK;
}

void loaded_model_close(LoadedModel *l)
{
    vitro_model_free(l->model);
    vitro_device_close(l->dev);
    model_file_close(&l->file);
    *l = (LoadedModel){0};
}
