/* SPDX-License-Identifier: Apache-2.0 */
/* What a foreign file holds, guessed from names and shapes, for the sake of a good error text: no
 * weight is ever read by such a guess. It knows the words that ViT code is written with, and no
 * file in particular. */
#include "model/names.h"

#include "base/buf.h"
#include "tensor/tensor.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_TEXT     900
#define MAX_PREFIXES 32

/* The part of a name before its first number: "transformer.layers." */
typedef struct Prefix {
    const char *name;
    size_t size;
    int64_t count; /* tensors that have it */
} Prefix;

/* What was found; NULL, 0: not found. */
typedef struct Findings {
    const VitroTensorInfo *cls, *pos, *patch; /* patch: the embedding's matrix or kernel */
    const VitroTensorInfo *final_norm;
    const VitroTensorInfo *head[2]; /* the last two matrices outside of the blocks */
    const VitroTensorInfo *wide;    /* q, k and v of another width than the tokens' */
    const VitroTensorInfo *one_head;
    int64_t D, heads, block_tensors;
    bool encoder_layer; /* torch.nn.TransformerEncoderLayer's names */
    bool qkv, qkv_bias;
} Findings;

/* ---- names ----------------------------------------------------------------------------------- */

static bool has(const char *name, const char *word)
{
    return strcasestr(name, word) != NULL;
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcasecmp(name + n - m, end) == 0;
}

/* The first number that stands for itself: between '.', '/' or '_' and '.' or '/'. */
static size_t first_number(const char *name)
{
    for (size_t i = 1; *name && name[i]; i++) {
        if (!isdigit((unsigned char)name[i]) || !strchr("./_", name[i - 1]))
            continue;
        size_t end = i + strspn(name + i, "0123456789");
        if (name[end] == '.' || name[end] == '/')
            return i;
    }
    return 0;
}

/* What most tensors are numbered by: the blocks. */
static Prefix find_blocks(const VitroCheckpoint *ckpt)
{
    Prefix list[MAX_PREFIXES] = {{0}}, best = {0};
    int count = 0;
    for (int64_t i = 0; i < vitro_checkpoint_count(ckpt); i++) {
        const char *name = vitro_checkpoint_info(ckpt, i)->name;
        size_t n = first_number(name);
        int k = 0;
        while (k < count && (list[k].size != n || memcmp(list[k].name, name, n) != 0))
            k++;
        if (!n || k == MAX_PREFIXES)
            continue;
        if (k == count)
            list[count++] = (Prefix){name, n, 0};
        list[k].count++;
        if (list[k].count > best.count)
            best = list[k];
    }
    return best;
}

/* The gain of a LayerNorm, under any name: a vector that is no bias. */
static bool is_gain(const VitroTensorInfo *t)
{
    static const char *const ends[] = {"weight", "scale", "gamma", "alpha"};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        if (ends_with(t->name, ends[i]))
            return t->rank == 1;
    return false;
}

static bool is_pos(const char *name)
{
    const char *dot = strrchr(name, '.'), *last = dot ? dot + 1 : name;
    return has(name, "pos_") || has(name, "posembed") || has(name, "position") ||
           strcmp(last, "pos") == 0 || strcmp(last, "pe") == 0;
}

/* "heads.2.", "head_0." */
static bool is_numbered_head(const char *name)
{
    const char *at = strcasestr(name, "head");
    if (!at)
        return false;
    at += 4;
    at += *at == 's';
    return strchr("._/", *at) && *at && isdigit((unsigned char)at[1]);
}

/* ---- looking --------------------------------------------------------------------------------- */

static void look_outside(Findings *f, const VitroTensorInfo *t)
{
    bool is_token = has(t->name, "cls") || has(t->name, "class_token") || has(t->name, "class_emb");
    bool is_patch = has(t->name, "patch") || has(t->name, "conv_proj");
    if (is_pos(t->name) && !(is_token && t->rank && t->count == t->dim[t->rank - 1])) {
        f->pos = t;
    } else if (is_token && t->rank && t->count == t->dim[t->rank - 1]) {
        f->cls = t;
    } else if (is_patch && (t->rank == 2 || t->rank == 4)) {
        f->patch = t;
    } else if (is_gain(t) && !is_patch) {
        f->final_norm = t;
    } else if (t->rank == 2) {
        f->head[0] = f->head[1];
        f->head[1] = t;
        f->heads++;
    }
}

static void look_inside(Findings *f, const VitroTensorInfo *t, const char *rest)
{
    bool is_qkv = has(rest, "qkv") || has(rest, "in_proj");
    f->block_tensors++;
    f->encoder_layer |= strcmp(rest, "linear1.weight") == 0;
    if (is_numbered_head(rest) && t->rank == 2 && !f->one_head)
        f->one_head = t;
    if (is_qkv && t->rank == 2 && t->dim[0] % 3 == 0 && t->dim[0] != 3 * t->dim[1])
        f->wide = t;
    f->qkv |= is_qkv && t->rank == 2;
    f->qkv_bias |= is_qkv && t->rank == 1;
}

static Findings look(const VitroCheckpoint *ckpt, const Prefix *blocks)
{
    Findings f = {0};
    for (int64_t i = 0; i < vitro_checkpoint_count(ckpt); i++) {
        const VitroTensorInfo *t = vitro_checkpoint_info(ckpt, i);
        if (!blocks->size || strncmp(t->name, blocks->name, blocks->size) != 0)
            look_outside(&f, t);
        else if (strncmp(t->name + blocks->size, "0.", 2) == 0)
            look_inside(&f, t, t->name + blocks->size + 2);
    }
    if (f.patch)
        f.D = f.patch->dim[0];
    return f;
}

/* ---- saying ---------------------------------------------------------------------------------- */

typedef struct Text {
    char bytes[MAX_TEXT];
    size_t size;
    int count; /* of differences */
} Text;

static void say(Text *out, const char *fmt, ...) VITRO_PRINTF(2, 3);
static void say(Text *out, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (out->count++ && out->size + 2 < MAX_TEXT)
        out->size += (size_t)snprintf(out->bytes + out->size, MAX_TEXT - out->size, "; ");
    int n = vsnprintf(out->bytes + out->size, MAX_TEXT - out->size, fmt, ap);
    va_end(ap);
    out->size += n > 0 ? (size_t)n : 0;
    if (out->size >= MAX_TEXT)
        out->size = MAX_TEXT - 1;
}

static const char *shape(char out[96], const VitroTensorInfo *t)
{
    return vitro_tensor_shape_text(out, 96, t->rank, t->dim);
}

#define NAME(t) (int)(strlen((t)->name) > 60 ? 60 : strlen((t)->name)), (t)->name

static void say_blocks(Text *out, const Findings *f)
{
    char text[96];
    if (f->encoder_layer)
        say(out, "its blocks are torch.nn.TransformerEncoderLayer, which is post-norm with ReLU "
                 "unless its author said otherwise, and no tensor shows which: only pre-norm with "
                 "GELU is supported");
    if (f->one_head)
        say(out, "each attention head has matrices of its own (%.*s %s)", NAME(f->one_head),
            shape(text, f->one_head));
    if (f->wide)
        say(out, "q, k and v are %" PRId64 " wide where the tokens are %" PRId64 " (%.*s %s)",
            f->wide->dim[0] / 3, f->wide->dim[1], NAME(f->wide), shape(text, f->wide));
}

static void say_differences(Text *out, const Findings *f)
{
    char text[96], other[96];
    say_blocks(out, f);
    if (!f->final_norm)
        say(out, "no LayerNorm behind the last block: it is post-norm, or lacks the final one");
    if (f->heads > 1 && f->head[1]->dim[1] == f->head[0]->dim[0])
        say(out, "the head has two layers (%.*s %s, %.*s %s)", NAME(f->head[0]),
            shape(text, f->head[0]), NAME(f->head[1]), shape(other, f->head[1]));
}

/* numpy.savez without names: what little the order tells. */
static void say_unnamed(Text *out, const VitroCheckpoint *ckpt)
{
    int64_t n = vitro_checkpoint_count(ckpt), i = n - 1;
    bool norm = false;
    while (i >= 0 && vitro_checkpoint_info(ckpt, i)->count ==
                         vitro_checkpoint_info(ckpt, i)->dim[0]) /* the head's bias */
        i--;
    say(out, "its arrays have no names (arr_0 to arr_%" PRId64 "): nothing says which is which",
        n - 1);
    for (int matrices = 0; i >= 0 && matrices < 2; i--) {
        const VitroTensorInfo *t = vitro_checkpoint_info(ckpt, i);
        matrices += t->rank == 2 && t->dim[0] > 1;
        norm |= matrices == 1 && t->rank == 1;
    }
    if (!norm)
        say(out, "and no vectors of a final LayerNorm stand before the head's matrix");
}

static bool is_unnamed(const VitroCheckpoint *ckpt)
{
    return vitro_checkpoint_find(ckpt, "arr_0") >= 0 &&
           strncmp(vitro_checkpoint_info(ckpt, vitro_checkpoint_count(ckpt) - 1)->name, "arr_",
                   4) == 0;
}

/* Words that only models have which are no plain ViT here. The first that a name holds is told. */
static const struct {
    const char *word, *feature;
} features[] = {
    {"blocks.0.mlp.w12.", "a gated MLP (SwiGLU)"},
    {"blocks.0.mlp.w1.", "a gated MLP (SwiGLU)"},
    {"blocks.0.mlp.fc1_g.", "a gated MLP (SwiGLU)"},
    {"blocks.0.mlp.gate_proj.", "a gated MLP (SwiGLU)"},
    {"blocks.0.mlp.norm.", "a norm before mlp.fc2 (scale_mlp_norm)"},
    {"blocks.0.attn.norm.", "a norm before attn.proj (scale_attn_norm)"},
    {"blocks.0.attn.lambda_q1", "differential attention"},
    {"blocks.0.attn.q_bias", "biases of q and v alone (BEiT, EVA)"},
    {"blocks.0.attn.q_proj.", "q, k and v apart (EVA)"},
    {"blocks.0.gamma_1", "LayerScale under BEiT's name, which comes with its position biases"},
    {"relative_position_bias_table", "relative position biases"},
    {"rel_pos", "relative position biases"},
    {"rope", "rotary position embedding (RoPE)"},
    {"blocks.0.attns.", "parallel blocks (ParallelThingsBlock)"},
    {"blocks.0.in_proj.", "parallel blocks (ParallelScalingBlock)"},
    {"patch_embed.backbone.", "a convolutional stem (hybrid)"},
    {"patch_embed.conv", "a convolutional stem"},
    {"embedding_root/", "a convolutional stem (hybrid)"},
    {"conv_stem", "a convolutional stem"},
    {"layers.0.blocks.", "stages of blocks (Swin)"},
    {"mlp.weights_in.", "a gated MLP (SwiGLU)"},
    {"ls1.lambda1", "LayerScale under Dinov2's names of Hugging Face"},
    {"layer_scale1.lambda1", "LayerScale under Dinov2's names of Hugging Face"},
};

VitroStatus vitro_check_features(const VitroCheckpoint *ckpt)
{
    for (size_t k = 0; k < sizeof(features) / sizeof(features[0]); k++)
        for (int64_t i = 0; i < vitro_checkpoint_count(ckpt); i++) {
            const VitroTensorInfo *t = vitro_checkpoint_info(ckpt, i);
            if (strstr(t->name, features[k].word))
                return vitro_fail(VITRO_E_UNSUPPORTED,
                                  "not a plain ViT: it has %s, as \"%.*s\" shows",
                                  features[k].feature, NAME(t));
        }
    int64_t fc1 = vitro_checkpoint_find(ckpt, "blocks.0.mlp.fc1.weight");
    int64_t fc2 = vitro_checkpoint_find(ckpt, "blocks.0.mlp.fc2.weight");
    if (fc1 >= 0 && fc2 >= 0) {
        const VitroTensorInfo *a = vitro_checkpoint_info(ckpt, fc1);
        const VitroTensorInfo *b = vitro_checkpoint_info(ckpt, fc2);
        if (a->rank == 2 && b->rank == 2 && a->dim[0] == 2 * b->dim[1])
            return vitro_fail(
                VITRO_E_UNSUPPORTED,
                "not a plain ViT: it has a gated MLP (SwiGLU): blocks.0.mlp.fc1.weight "
                "makes %" PRId64 " numbers, blocks.0.mlp.fc2.weight takes %" PRId64,
                a->dim[0], b->dim[1]);
    }
    if (vitro_checkpoint_find(ckpt, "blocks.0.norm1.weight") >= 0 &&
        vitro_checkpoint_find(ckpt, "blocks.0.norm1.bias") < 0)
        return vitro_fail(VITRO_E_UNSUPPORTED,
                          "not a plain ViT: it has RMSNorm, or a LayerNorm without bias: there is "
                          "blocks.0.norm1.weight, but no blocks.0.norm1.bias");
    return VITRO_OK;
}

VitroStatus vitro_refuse_names(const VitroCheckpoint *ckpt, const char *missing)
{
    Text text = {.bytes = ""};
    Findings f = {0};
    Prefix blocks = find_blocks(ckpt);
    if (vitro_checkpoint_count(ckpt) == 0)
        return vitro_fail(VITRO_E_FORMAT, "holds no tensors");
    if (strcmp(vitro_checkpoint_naming(ckpt), "key map") == 0)
        return vitro_fail(VITRO_E_FORMAT,
                          "with the key map's names, too, there is no tensor \"%s\"", missing);
    if (is_unnamed(ckpt)) {
        say_unnamed(&text, ckpt);
    } else {
        f = look(ckpt, &blocks);
        if (f.patch && f.pos && f.block_tensors)
            say_differences(&text, &f);
    }
    if (text.count)
        return vitro_fail(VITRO_E_UNSUPPORTED, "not a plain ViT: %s", text.bytes);
    const VitroTensorInfo *first = vitro_checkpoint_info(ckpt, 0);
    if (!f.patch || !f.pos || !f.block_tensors)
        return vitro_fail(
            VITRO_E_FORMAT,
            "not a ViT under known names: no tensor \"%s\", the first one is \"%.*s\"; "
            "if it is one, state --key-map FILE",
            missing, NAME(first));
    return vitro_fail(VITRO_E_FORMAT,
                      "a ViT%s under names of no known family: no tensor \"%s\", the first one is "
                      "\"%.*s\"; state --key-map FILE (which activation its MLP has, no tensor "
                      "shows: only GELU is supported)",
                      f.qkv && !f.qkv_bias ? " without qkv bias" : "", missing, NAME(first));
}
