/* SPDX-License-Identifier: Apache-2.0 */
/* The forward pass of src/model/forward.c as an ONNX graph: the same lines, each of which adds
 * operators instead of computing. Constants keep the names and the layout that the parameters have
 * in a checkpoint; readers of the file turn matrices once, when they load it. */
#include "export/onnx_vit.h"

#if VITRO_HAVE_PROTOBUF_C

#include <math.h>

/* What all lines write to and look at. */
typedef struct Vit {
    VitroOnnx *g;
    const VitroConfig *cfg;
    const char *half, *one;                 /* constants of one element */
    const char *scale;                      /* of q */
    const char *heads_shape, *tokens_shape; /* [B,T,D] as [B,T,H,D/H] and back */
} Vit;

#define INPUTS(...)     ((const char *const[]){__VA_ARGS__, NULL})
#define ATTRIBUTES(...) ((const VitroOnnxAttribute[]){__VA_ARGS__, {0}})
#define INT(name_, n)                                                                              \
    {                                                                                              \
        .name = name_, .type = VITRO_ONNX_INT, .i = (n)                                            \
    }
#define FLOAT(name_, x)                                                                            \
    {                                                                                              \
        .name = name_, .type = VITRO_ONNX_FLOAT, .f = (x)                                          \
    }
#define INTS(name_, ...)                                                                           \
    {                                                                                              \
        .name = name_, .type = VITRO_ONNX_INTS, .ints = (const int64_t[]){__VA_ARGS__},            \
        .count = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))                         \
    }
#define DIMS(...)                                                                                  \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[])                         \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

/* A name of the graph: "blocks.0" and "attn" are "blocks.0.attn". */
static const char *in(const Vit *v, const char *scope, const char *name)
{
    return vitro_onnx_name(v->g, "%s.%s", scope, name);
}

static const char *op(const Vit *v, const char *type, const char *name, const char *const *inputs)
{
    return vitro_onnx_node(v->g, type, name, inputs, NULL);
}

/* ---- layers ---------------------------------------------------------------------------------- */

/* x [B,T,K] -> [B,T,N] */
static const char *linear(const Vit *v, const char *name, const char *x, bool bias)
{
    const char *w = vitro_onnx_node(v->g, "Transpose", in(v, name, "weight_t"),
                                    INPUTS(in(v, name, "weight")), ATTRIBUTES(INTS("perm", 1, 0)));
    if (!bias)
        return op(v, "MatMul", name, INPUTS(x, w));
    const char *y = op(v, "MatMul", in(v, name, "matmul"), INPUTS(x, w));
    return op(v, "Add", name, INPUTS(y, in(v, name, "bias")));
}

/* x [B,K] -> [B,N] */
static const char *linear_of_rows(const Vit *v, const char *name, const char *x)
{
    return vitro_onnx_node(v->g, "Gemm", name,
                           INPUTS(x, in(v, name, "weight"), in(v, name, "bias")),
                           ATTRIBUTES(INT("transB", 1)));
}

static const char *layer_norm(const Vit *v, const char *name, const char *x)
{
    return vitro_onnx_node(v->g, "LayerNormalization", name,
                           INPUTS(x, in(v, name, "weight"), in(v, name, "bias")),
                           ATTRIBUTES(INT("axis", -1), FLOAT("epsilon", v->cfg->norm_eps)));
}

/* x/2 (1 + erf(x/sqrt 2)), in the order that runtimes know as GELU */
static const char *gelu(const Vit *v, const char *name, const char *x)
{
    const char *root = vitro_onnx_scalar(v->g, in(v, name, "root"), M_SQRT2);
    const char *e =
        op(v, "Erf", in(v, name, "erf"), INPUTS(op(v, "Div", in(v, name, "div"), INPUTS(x, root))));
    e = op(v, "Add", in(v, name, "add"), INPUTS(e, v->one));
    e = op(v, "Mul", in(v, name, "mul"), INPUTS(x, e));
    return op(v, "Mul", name, INPUTS(e, v->half));
}

/* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
static const char *gelu_tanh(const Vit *v, const char *name, const char *x)
{
    const char *cubic = vitro_onnx_scalar(v->g, in(v, name, "cubic"), 0.044715);
    const char *root = vitro_onnx_scalar(v->g, in(v, name, "root"), sqrt(M_2_PI));
    const char *y = op(v, "Mul", in(v, name, "square"), INPUTS(x, x));
    y = op(v, "Mul", in(v, name, "cube"), INPUTS(y, x));
    y = op(v, "Mul", in(v, name, "scaled"), INPUTS(y, cubic));
    y = op(v, "Add", in(v, name, "sum"), INPUTS(x, y));
    y = op(v, "Mul", in(v, name, "inner"), INPUTS(y, root));
    y = op(v, "Tanh", in(v, name, "tanh"), INPUTS(y));
    y = op(v, "Add", in(v, name, "add"), INPUTS(y, v->one));
    y = op(v, "Mul", in(v, name, "mul"), INPUTS(x, y));
    return op(v, "Mul", name, INPUTS(y, v->half));
}

static const char *activation(const Vit *v, const char *name, const char *x)
{
    return v->cfg->act == VITRO_ACT_GELU ? gelu(v, name, x) : gelu_tanh(v, name, x);
}

/* [B,T,D] -> [B,H,T,D/H], or [B,H,D/H,T] */
static const char *by_heads(const Vit *v, const char *name, const char *x, bool turned)
{
    static const int64_t tokens_first[] = {0, 2, 1, 3}, tokens_last[] = {0, 2, 3, 1};
    const VitroOnnxAttribute perm[] = {{.name = "perm",
                                        .type = VITRO_ONNX_INTS,
                                        .count = 4,
                                        .ints = turned ? tokens_last : tokens_first},
                                       {0}};
    const char *y = op(v, "Reshape", in(v, name, "heads"), INPUTS(x, v->heads_shape));
    return vitro_onnx_node(v->g, "Transpose", in(v, name, "by_heads"), INPUTS(y), perm);
}

/* softmax(q k^T * scale) v, of x [B,T,D] */
static const char *attention(const Vit *v, const char *name, const char *x)
{
    static const char *const parts[] = {"q", "k", "v"};
    const char *qkv[3];
    vitro_onnx_split(v->g, in(v, name, "split"), linear(v, in(v, name, "qkv"), x, v->cfg->qkv_bias),
                     2, 3, parts, qkv);
    const char *q = by_heads(v, in(v, name, "q"), qkv[0], false);
    const char *k = by_heads(v, in(v, name, "k"), qkv[1], true);
    const char *values = by_heads(v, in(v, name, "v"), qkv[2], false);
    q = op(v, "Mul", in(v, name, "q.scaled"), INPUTS(q, v->scale));
    const char *scores = op(v, "MatMul", in(v, name, "scores"), INPUTS(q, k)); /* [B,H,T,T] */
    const char *weights = vitro_onnx_node(v->g, "Softmax", in(v, name, "softmax"), INPUTS(scores),
                                          ATTRIBUTES(INT("axis", -1)));
    const char *y = op(v, "MatMul", in(v, name, "context"), INPUTS(weights, values));
    y = vitro_onnx_node(v->g, "Transpose", in(v, name, "by_tokens"), INPUTS(y),
                        ATTRIBUTES(INTS("perm", 0, 2, 1, 3)));
    y = op(v, "Reshape", in(v, name, "joined"), INPUTS(y, v->tokens_shape)); /* [B,T,D] */
    return linear(v, in(v, name, "proj"), y, true);
}

static const char *mlp(const Vit *v, const char *name, const char *x)
{
    const char *y = linear(v, in(v, name, "fc1"), x, true);
    return linear(v, in(v, name, "fc2"), activation(v, in(v, name, "act"), y), true);
}

static const char *block(const Vit *v, const char *name, const char *x)
{
    const char *y = attention(v, in(v, name, "attn"), layer_norm(v, in(v, name, "norm1"), x));
    x = op(v, "Add", in(v, name, "add1"), INPUTS(x, y)); /* Eq. 2 */
    y = mlp(v, in(v, name, "mlp"), layer_norm(v, in(v, name, "norm2"), x));
    return op(v, "Add", in(v, name, "add2"), INPUTS(x, y)); /* Eq. 3 */
}

/* images [B,C,S,S] -> [B,N,D] */
static const char *patch_embed(const Vit *v, const char *name, const char *images)
{
    const int64_t P = v->cfg->patch_size, D = v->cfg->embed_dim;
    const char *proj = in(v, name, "proj");
    const char *y = vitro_onnx_node(v->g, "Conv", proj,
                                    INPUTS(images, in(v, proj, "weight"), in(v, proj, "bias")),
                                    ATTRIBUTES(INTS("kernel_shape", P, P), INTS("strides", P, P)));
    y = op(v, "Reshape", in(v, name, "flat"),
           INPUTS(y, vitro_onnx_ints(v->g, in(v, name, "shape"), DIMS(0, D, -1))));
    y = vitro_onnx_node(v->g, "Transpose", name, INPUTS(y), ATTRIBUTES(INTS("perm", 0, 2, 1)));
    return v->cfg->patch_norm ? layer_norm(v, in(v, name, "norm"), y) : y;
}

/* The class token before the patches, and positions: Eq. 1. [B,N,D] -> [B,T,D] */
static const char *add_tokens(const Vit *v, const char *images, const char *patches)
{
    const char *batch = vitro_onnx_node(v->g, "Shape", "batch", INPUTS(images),
                                        ATTRIBUTES(INT("start", 0), INT("end", 1)));
    const char *rest = vitro_onnx_ints(v->g, "cls_token.shape", DIMS(1, v->cfg->embed_dim));
    const char *shape = vitro_onnx_node(v->g, "Concat", "cls_token.batch_shape",
                                        INPUTS(batch, rest), ATTRIBUTES(INT("axis", 0)));
    const char *cls = op(v, "Expand", "cls_token.expanded", INPUTS("cls_token", shape));
    const char *x =
        vitro_onnx_node(v->g, "Concat", "tokens", INPUTS(cls, patches), ATTRIBUTES(INT("axis", 1)));
    return op(v, "Add", "embedded", INPUTS(x, "pos_embed"));
}

/* ---- the model ------------------------------------------------------------------------------- */

VitroStatus vitro_onnx_add_vit(VitroOnnx *g, const VitroConfig *cfg)
{
    const int64_t C = cfg->in_channels, D = cfg->embed_dim, H = cfg->num_heads;
    const bool has_head = cfg->num_classes > 0;
    Vit vit = {.g = g, .cfg = cfg}, *v = &vit;
    const char *images = vitro_onnx_input(g, "images", DIMS(0, C, cfg->img_height, cfg->img_width));
    v->half = vitro_onnx_scalar(g, "half", 0.5);
    v->one = vitro_onnx_scalar(g, "one", 1);
    v->scale = vitro_onnx_scalar(g, "attn_scale",
                                 cfg->qk_scale != 0 ? cfg->qk_scale : 1 / sqrt((double)D / H));
    v->heads_shape = vitro_onnx_ints(g, "heads_shape", DIMS(0, 0, H, D / H));
    v->tokens_shape = vitro_onnx_ints(g, "tokens_shape", DIMS(0, 0, D));

    const char *x = add_tokens(v, images, patch_embed(v, "patch_embed", images)); /* Eq. 1 */
    for (int l = 0; l < cfg->depth; l++)
        x = block(v, vitro_onnx_name(g, "blocks.%d", l), x); /* Eq. 2, 3 */
    /* LayerNorm acts on each token alone: the class token's will do. */
    x = vitro_onnx_node(g, "Gather", "class_token", INPUTS(x, vitro_onnx_int(g, "first", 0)),
                        ATTRIBUTES(INT("axis", 1))); /* [B,D] */
    x = layer_norm(v, "norm", x);                    /* Eq. 4 */
    if (cfg->representation_size)
        x = op(v, "Tanh", "pre_logits", INPUTS(linear_of_rows(v, "pre_logits.fc", x)));
    if (has_head)
        x = linear_of_rows(v, "head", x);
    const char *out = op(v, "Identity", has_head ? "logits" : "features", INPUTS(x));
    vitro_onnx_output(g, out, DIMS(0, vitro_config_outputs(cfg)));
    return vitro_onnx_status(g);
}

#endif
