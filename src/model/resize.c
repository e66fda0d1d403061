/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint for pictures or patches of another size. */
#include "base/alloc.h"
#include "ckpt/format.h"
#include "model/resample.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const rule_names[] = {
    [VITRO_POS_EMBED_TIMM] = "timm",
    [VITRO_POS_EMBED_HUGGING_FACE] = "hf",
    [VITRO_POS_EMBED_TORCHVISION] = "torchvision",
    [VITRO_POS_EMBED_GOOGLE] = "google",
    [VITRO_POS_EMBED_TIMM_NPZ] = "timm-npz",
};
enum { RULES = sizeof(rule_names) / sizeof(rule_names[0]) };

const char *vitro_pos_embed_rule_name(VitroPosEmbedRule rule)
{
    return (unsigned)rule < RULES ? rule_names[rule] : NULL;
}

VitroPosEmbedRule vitro_pos_embed_rule_of(const VitroCheckpoint *ckpt)
{
    const char *naming = vitro_checkpoint_naming(ckpt);
    if (strcmp(naming, "huggingface") == 0)
        return VITRO_POS_EMBED_HUGGING_FACE;
    if (strcmp(naming, "torchvision") == 0)
        return VITRO_POS_EMBED_TORCHVISION;
    return strcmp(naming, "flax") == 0 ? VITRO_POS_EMBED_GOOGLE : VITRO_POS_EMBED_TIMM;
}

static VitroGrid grid_of(const VitroConfig *cfg)
{
    return (VitroGrid){cfg->img_height / cfg->patch_size, cfg->img_width / cfg->patch_size};
}

/* A tensor of the file as float32, and what it is to become. */
typedef struct Change {
    int64_t index;
    int rank;
    int64_t dim[4];
    float *old, *new; /* owned; new NULL: nothing changes */
} Change;

/* c->index, rank and dim are there. */
static VitroStatus begin(Change *c, const VitroCheckpoint *ckpt)
{
    int64_t n = 1;
    for (int d = 0; d < c->rank; d++)
        n *= c->dim[d];
    c->old = vitro_malloc((size_t)vitro_checkpoint_info(ckpt, c->index)->count * sizeof(float));
    c->new = vitro_malloc((size_t)n * sizeof(float));
    if (!c->old || !c->new)
        return VITRO_NOMEM;
    return vitro_checkpoint_read_f32(ckpt, c->index, c->old);
}

static void end(Change *c, VitroCheckpoint *ckpt, bool done)
{
    if (done && c->new)
        vitro_ckpt_replace(ckpt, c->index, c->rank, c->dim, c->new);
    else
        vitro_free(c->new);
    vitro_free(c->old);
}

static VitroStatus change_pos_embed(Change *c, const VitroCheckpoint *ckpt, VitroGrid to,
                                    VitroGrid from, int64_t D, VitroPosEmbedRule rule)
{
    int64_t i = vitro_checkpoint_find(ckpt, "pos_embed");
    const VitroTensorInfo *info = i < 0 ? NULL : vitro_checkpoint_info(ckpt, i);
    int64_t patches = from.rows * from.cols, tokens = info && info->rank == 3 ? info->dim[1] : 0;
    if (tokens < patches || info->dim[0] != 1 || info->dim[2] != D)
        return vitro_fail(VITRO_E_SHAPE,
                          "pos_embed is not [1,tokens,%" PRId64 "], with a row for each of %" PRId64
                          "x%" PRId64 " patches",
                          D, from.rows, from.cols);
    int64_t prefix = tokens - patches; /* rows of class and other tokens */
    *c = (Change){.index = i, .rank = 3, .dim = {1, prefix + to.rows * to.cols, D}};
    VITRO_TRY(begin(c, ckpt));
    memcpy(c->new, c->old, (size_t)(prefix * D) * sizeof(float));
    return vitro_resample_grid(c->new + prefix *D, to, c->old + prefix * D, from, D, rule);
}

static VitroStatus change_patch_embed(Change *c, const VitroCheckpoint *ckpt,
                                      const VitroConfig *cfg, int64_t to, VitroPosEmbedRule rule)
{
    int64_t i = vitro_checkpoint_find(ckpt, "patch_embed.proj.weight");
    int64_t D = cfg->embed_dim, C = cfg->in_channels, from = cfg->patch_size;
    if (i < 0 || vitro_checkpoint_info(ckpt, i)->count != D * C * from * from)
        return vitro_fail(VITRO_E_SHAPE,
                          "patch_embed.proj.weight is not [%" PRId64 ",%" PRId64 ",%" PRId64
                          ",%" PRId64 "]",
                          D, C, from, from);
    if (cfg->patch_pre_norm)
        return vitro_fail(VITRO_E_UNSUPPORTED, "patches that are normalised before the embedding "
                                               "cannot be resized");
    if (to > VITRO_RESAMPLE_MAX_PATCH || from > VITRO_RESAMPLE_MAX_PATCH)
        return vitro_fail(VITRO_E_UNSUPPORTED,
                          "patches of %" PRId64 " pixels cannot be resized to %" PRId64
                          ": %d is the largest size",
                          from, to, VITRO_RESAMPLE_MAX_PATCH);
    *c = (Change){.index = i, .rank = 4, .dim = {D, C, to, to}};
    VITRO_TRY(begin(c, ckpt));
    return vitro_resample_patches(c->new, to, c->old, from, D * C, rule);
}

/* Both changes, or none. */
static VitroStatus set_size(VitroCheckpoint *ckpt, const VitroConfig *cfg, const VitroConfig *wish,
                            VitroPosEmbedRule rule, char *note, size_t note_size)
{
    VitroGrid from = grid_of(cfg), to = grid_of(wish);
    Change patch = {0}, pos = {0};
    size_t n = 0;
    VitroStatus st = VITRO_OK;
    if (wish->patch_size != cfg->patch_size) {
        VITRO_GOTO(change_patch_embed(&patch, ckpt, cfg, wish->patch_size, rule));
        n = (size_t)snprintf(note, note_size, "patch_embed resized from %d to %d pixels",
                             cfg->patch_size, wish->patch_size);
    }
    if (from.rows != to.rows || from.cols != to.cols) {
        VITRO_GOTO(change_pos_embed(&pos, ckpt, to, from, cfg->embed_dim, rule));
        snprintf(note + n, note_size - n,
                 "%spos_embed resampled from %" PRId64 "x%" PRId64 " to %" PRId64 "x%" PRId64
                 " patches by the rule '%s'",
                 n ? ", " : "", from.rows, from.cols, to.rows, to.cols, rule_names[rule]);
    }
done:
    end(&patch, ckpt, st == VITRO_OK);
    end(&pos, ckpt, st == VITRO_OK);
    return st;
}

VitroStatus vitro_checkpoint_set_size(VitroCheckpoint *ckpt, VitroConfig *cfg, int height,
                                      int width, int patch_size, VitroPosEmbedRule rule, char *note,
                                      size_t note_size)
{
    char text[256] = "";
    VitroConfig wish = *cfg;
    wish.img_height = height ? height : cfg->img_height;
    wish.img_width = width ? width : cfg->img_width;
    wish.patch_size = patch_size ? patch_size : cfg->patch_size;
    if ((unsigned)rule >= RULES)
        return vitro_fail(VITRO_E_ARG, "%d is no rule for position embeddings", (int)rule);
    VITRO_TRY(vitro_config_validate(cfg));
    VITRO_TRY(vitro_config_validate(&wish));
    VitroStatus st = set_size(ckpt, cfg, &wish, rule, text, sizeof(text));
    if (st != VITRO_OK)
        return vitro_fail_prefix(st, "%s", vitro_checkpoint_path(ckpt));
    if (note && note_size)
        snprintf(note, note_size, "%s", text);
    *cfg = wish;
    return VITRO_OK;
}
