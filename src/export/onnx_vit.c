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

/* x / (1 + e^(-1.702 x)) */
static const char *gelu_quick(const Vit *v, const char *name, const char *x)
{
    const char *slope = vitro_onnx_scalar(v->g, in(v, name, "slope"), 1.702);
    const char *y = op(v, "Mul", in(v, name, "scaled"), INPUTS(x, slope));
    return op(v, "Mul", name, INPUTS(x, op(v, "Sigmoid", in(v, name, "sigmoid"), INPUTS(y))));
}

static const char *activation(const Vit *v, const char *name, const char *x)
{
    return v->cfg->act == VITRO_ACT_GELU        ? gelu(v, name, x)
           : v->cfg->act == VITRO_ACT_GELU_TANH ? gelu_tanh(v, name, x)
                                                : gelu_quick(v, name, x);
}

/* [B,T,D] -> [B,H,T,D/H], or [B,H,D/H,T]; `norm` (NULL: none) is of each head. */
static const char *by_heads(const Vit *v, const char *name, const char *x, const char *norm,
                            bool turned)
{
    static const int64_t tokens_first[] = {0, 2, 1, 3}, tokens_last[] = {0, 2, 3, 1};
    const VitroOnnxAttribute perm[] = {{.name = "perm",
                                        .type = VITRO_ONNX_INTS,
                                        .count = 4,
                                        .ints = turned ? tokens_last : tokens_first},
                                       {0}};
    const char *y = op(v, "Reshape", in(v, name, "heads"), INPUTS(x, v->heads_shape));
    if (norm)
        y = layer_norm(v, norm, y);
    return vitro_onnx_node(v->g, "Transpose", in(v, name, "by_heads"), INPUTS(y), perm);
}

/* softmax(q k^T) v of [B,H,n,D/H], [B,H,D/H,T] and [B,H,T,D/H], heads joined again: [B,n,D] */
static const char *attend(const Vit *v, const char *name, const char *q, const char *k,
                          const char *values)
{
    const char *scores = op(v, "MatMul", in(v, name, "scores"), INPUTS(q, k)); /* [B,H,n,T] */
    const char *weights = vitro_onnx_node(v->g, "Softmax", in(v, name, "softmax"), INPUTS(scores),
                                          ATTRIBUTES(INT("axis", -1)));
    const char *y = op(v, "MatMul", in(v, name, "context"), INPUTS(weights, values));
    y = vitro_onnx_node(v->g, "Transpose", in(v, name, "by_tokens"), INPUTS(y),
                        ATTRIBUTES(INTS("perm", 0, 2, 1, 3)));
    return op(v, "Reshape", in(v, name, "joined"), INPUTS(y, v->tokens_shape));
}

/* Of x [B,T,D]. */
static const char *attention(const Vit *v, const char *name, const char *x)
{
    static const char *const parts[] = {"q", "k", "v"};
    const VitroConfig *cfg = v->cfg;
    const char *qkv[3];
    vitro_onnx_split(v->g, in(v, name, "split"), linear(v, in(v, name, "qkv"), x, cfg->qkv_bias), 2,
                     3, parts, qkv);
    const char *q = by_heads(v, in(v, name, "split.q"), qkv[0],
                             cfg->qk_norm ? in(v, name, "q_norm") : NULL, false);
    const char *k = by_heads(v, in(v, name, "split.k"), qkv[1],
                             cfg->qk_norm ? in(v, name, "k_norm") : NULL, true);
    const char *values = by_heads(v, in(v, name, "split.v"), qkv[2], NULL, false);
    q = op(v, "Mul", in(v, name, "q_scaled"), INPUTS(q, v->scale));
    return linear(v, in(v, name, "proj"), attend(v, name, q, k, values), !cfg->no_proj_bias);
}

static const char *mlp(const Vit *v, const char *name, const char *x, bool bias)
{
    const char *y = linear(v, in(v, name, "fc1"), x, bias);
    return linear(v, in(v, name, "fc2"), activation(v, in(v, name, "act"), y), bias);
}

/* LayerScale, where the model has it. */
static const char *scaled(const Vit *v, const char *name, const char *x)
{
    return v->cfg->init_values != 0 ? op(v, "Mul", name, INPUTS(x, in(v, name, "gamma"))) : x;
}

static const char *block(const Vit *v, const char *name, const char *x)
{
    const char *y = attention(v, in(v, name, "attn"), layer_norm(v, in(v, name, "norm1"), x));
    x = op(v, "Add", in(v, name, "add1"), INPUTS(x, scaled(v, in(v, name, "ls1"), y))); /* Eq. 2 */
    y = mlp(v, in(v, name, "mlp"), layer_norm(v, in(v, name, "norm2"), x), !v->cfg->no_proj_bias);
    return op(v, "Add", in(v, name, "add2"), INPUTS(x, scaled(v, in(v, name, "ls2"), y))); /* 3 */
}

/* ---- pictures to tokens ---------------------------------------------------------------------- */

/* images [B,C,height,width] -> [B,D,height/P,width/P] */
static const char *convolve(const Vit *v, const char *name, const char *images)
{
    const int64_t P = v->cfg->patch_size;
    const VitroOnnxAttribute size[] = {INTS("kernel_shape", P, P), INTS("strides", P, P), {0}};
    const char *weight = in(v, name, "weight");
    if (v->cfg->pre_norm) /* a LayerNorm follows: timm leaves the bias out */
        return vitro_onnx_node(v->g, "Conv", name, INPUTS(images, weight), size);
    return vitro_onnx_node(v->g, "Conv", name, INPUTS(images, weight, in(v, name, "bias")), size);
}

/* The pixels of each patch as a row, [B,N,C*P*P], normed, times the kernel as a matrix: [B,N,D] */
static const char *embed_normed_pixels(const Vit *v, const char *name, const char *images)
{
    const VitroConfig *c = v->cfg;
    VitroOnnx *g = v->g;
    const int64_t P = c->patch_size, C = c->in_channels, rows = c->img_height / P,
                  columns = c->img_width / P, pixels = C * P * P;
    const char *proj = in(v, name, "proj");
    if (c->img_height % P || c->img_width % P)
        images = op(v, "Slice", in(v, name, "whole_patches"),
                    INPUTS(images, vitro_onnx_ints(g, in(v, name, "starts"), DIMS(0, 0)),
                           vitro_onnx_ints(g, in(v, name, "ends"), DIMS(rows * P, columns * P)),
                           vitro_onnx_ints(g, in(v, name, "axes"), DIMS(2, 3))));
    const char *shape =
        vitro_onnx_ints(g, in(v, name, "cut_shape"), DIMS(0, C, rows, P, columns, P));
    const char *x = op(v, "Reshape", in(v, name, "cut"), INPUTS(images, shape));
    x = vitro_onnx_node(g, "Transpose", in(v, name, "patches"), INPUTS(x),
                        ATTRIBUTES(INTS("perm", 0, 2, 4, 1, 3, 5)));
    shape = vitro_onnx_ints(g, in(v, name, "pixels_shape"), DIMS(0, rows * columns, pixels));
    x = op(v, "Reshape", in(v, name, "pixels"), INPUTS(x, shape));
    x = layer_norm(v, in(v, name, "pre_norm"), x);
    shape = vitro_onnx_ints(g, in(v, proj, "matrix_shape"), DIMS(c->embed_dim, pixels));
    const char *w = op(v, "Reshape", in(v, proj, "matrix"), INPUTS(in(v, proj, "weight"), shape));
    w = vitro_onnx_node(g, "Transpose", in(v, proj, "matrix_t"), INPUTS(w),
                        ATTRIBUTES(INTS("perm", 1, 0)));
    if (c->pre_norm)
        return op(v, "MatMul", proj, INPUTS(x, w));
    x = op(v, "MatMul", in(v, proj, "matmul"), INPUTS(x, w));
    return op(v, "Add", proj, INPUTS(x, in(v, proj, "bias")));
}

/* images [B,C,height,width] -> [B,N,D] */
static const char *patch_embed(const Vit *v, const char *name, const char *images)
{
    const char *y;
    if (v->cfg->patch_pre_norm) {
        y = embed_normed_pixels(v, name, images);
    } else {
        const char *shape =
            vitro_onnx_ints(v->g, in(v, name, "shape"), DIMS(0, v->cfg->embed_dim, -1));
        y = convolve(v, in(v, name, "proj"), images);
        y = op(v, "Reshape", in(v, name, "flat"), INPUTS(y, shape));
        y = vitro_onnx_node(v->g, "Transpose", name, INPUTS(y), ATTRIBUTES(INTS("perm", 0, 2, 1)));
    }
    return v->cfg->patch_norm ? layer_norm(v, in(v, name, "norm"), y) : y;
}

/* The parameter `name` [1,n,D] for every image. */
static const char *for_each_image(const Vit *v, const char *name, const char *images, int64_t n)
{
    const char *batch = vitro_onnx_node(v->g, "Shape", in(v, name, "batch"), INPUTS(images),
                                        ATTRIBUTES(INT("start", 0), INT("end", 1)));
    const char *rest = vitro_onnx_ints(v->g, in(v, name, "shape"), DIMS(n, v->cfg->embed_dim));
    const char *shape = vitro_onnx_node(v->g, "Concat", in(v, name, "batch_shape"),
                                        INPUTS(batch, rest), ATTRIBUTES(INT("axis", 0)));
    return op(v, "Expand", in(v, name, "expanded"), INPUTS(name, shape));
}

/* Prefix tokens before the patches, and positions: Eq. 1. [B,N,D] -> [B,T,D] */
static const char *add_tokens(const Vit *v, const char *images, const char *x)
{
    const VitroConfig *c = v->cfg;
    const char *parts[5];
    int count = 0;
    if (!c->no_class_token)
        parts[count++] = for_each_image(v, "cls_token", images, 1);
    if (c->distilled)
        parts[count++] = for_each_image(v, "dist_token", images, 1);
    if (c->reg_tokens)
        parts[count++] = for_each_image(v, "reg_token", images, c->reg_tokens);
    if (c->no_embed_class)
        x = op(v, "Add", "patches_embedded", INPUTS(x, "pos_embed"));
    parts[count++] = x;
    parts[count] = NULL;
    if (count > 1)
        x = vitro_onnx_node(v->g, "Concat", "tokens", parts, ATTRIBUTES(INT("axis", 1)));
    if (!c->no_embed_class)
        x = op(v, "Add", "embedded", INPUTS(x, "pos_embed"));
    return c->pre_norm ? layer_norm(v, "norm_pre", x) : x;
}

/* ---- tokens to features ---------------------------------------------------------------------- */

/* Token i: [B,T,D] -> [B,D] */
static const char *take_token(const Vit *v, const char *name, const char *x, int64_t i)
{
    return vitro_onnx_node(v->g, "Gather", name,
                           INPUTS(x, vitro_onnx_int(v->g, in(v, name, "index"), i)),
                           ATTRIBUTES(INT("axis", 1)));
}

/* The tokens that are pooled. */
static const char *choose(const Vit *v, const char *x)
{
    const int64_t first = v->cfg->pool_include_prefix ? 0 : vitro_config_prefix(v->cfg);
    if (first == 0)
        return x;
    return op(v, "Slice", "pool.tokens",
              INPUTS(x, vitro_onnx_ints(v->g, "pool.starts", DIMS(first)),
                     vitro_onnx_ints(v->g, "pool.ends", DIMS(INT64_MAX)),
                     vitro_onnx_ints(v->g, "pool.axes", DIMS(1))));
}

/* timm's AttentionPoolLatent: [B,n,D] -> [B,D] */
static const char *attention_pool(const Vit *v, const char *name, const char *x)
{
    static const char *const parts[] = {"k", "v"};
    const char *kv[2];
    const char *scale = vitro_onnx_scalar(v->g, in(v, name, "scale"),
                                          1 / sqrt((double)v->cfg->embed_dim / v->cfg->num_heads));
    const char *q = linear(v, in(v, name, "q"), in(v, name, "latent"), true); /* [1,1,D] */
    vitro_onnx_split(v->g, in(v, name, "split"), linear(v, in(v, name, "kv"), x, true), 2, 2, parts,
                     kv);
    q = op(v, "Mul", in(v, name, "q_scaled"),
           INPUTS(by_heads(v, in(v, name, "q"), q, NULL, false), scale));
    const char *k = by_heads(v, in(v, name, "split.k"), kv[0], NULL, true);
    const char *values = by_heads(v, in(v, name, "split.v"), kv[1], NULL, false);
    x = linear(v, in(v, name, "proj"), attend(v, name, q, k, values), true); /* [B,1,D] */
    const char *y = mlp(v, in(v, name, "mlp"), layer_norm(v, in(v, name, "norm"), x), true);
    x = op(v, "Add", in(v, name, "add"), INPUTS(x, y));
    return take_token(v, in(v, name, "row"), x, 0);
}

/* Final norm and pooling, in timm's order: Eq. 4. [B,T,D] -> [B,D], of a distilled model [B,T,D] */
static const char *pool(const Vit *v, const char *x)
{
    const VitroConfig *c = v->cfg;
    const bool token = c->global_pool == VITRO_POOL_TOKEN;
    if (token && !c->distilled) /* LayerNorm acts on each token alone: the class token's will do */
        x = take_token(v, "class_token", x, 0);
    if (!c->no_final_norm && !c->fc_norm)
        x = layer_norm(v, "norm", x);
    if (c->global_pool == VITRO_POOL_AVG)
        x = vitro_onnx_node(v->g, "ReduceMean", "pool", INPUTS(choose(v, x)),
                            ATTRIBUTES(INTS("axes", 1), INT("keepdims", 0)));
    if (c->global_pool == VITRO_POOL_MAP)
        x = attention_pool(v, "attn_pool", choose(v, x));
    return !c->no_final_norm && c->fc_norm ? layer_norm(v, "fc_norm", x) : x;
}

/* What a distilled model says: the mean of both tokens' heads, or of the tokens. */
static const char *pair_of_heads(const Vit *v, const char *x)
{
    const char *cls = take_token(v, "class_token", x, 0);
    const char *dist = take_token(v, "distillation_token", x, 1);
    if (v->cfg->num_classes) {
        cls = linear_of_rows(v, "head", cls);
        dist = linear_of_rows(v, "head_dist", dist);
    }
    return op(v, "Mul", "mean", INPUTS(op(v, "Add", "sum", INPUTS(cls, dist)), v->half));
}

static const char *head(const Vit *v, const char *x)
{
    if (v->cfg->distilled)
        return pair_of_heads(v, x);
    if (v->cfg->representation_size)
        x = op(v, "Tanh", "pre_logits", INPUTS(linear_of_rows(v, "pre_logits.fc", x)));
    return v->cfg->num_classes ? linear_of_rows(v, "head", x) : x;
}

/* ---- the model ------------------------------------------------------------------------------- */

VitroStatus vitro_onnx_add_vit(VitroOnnx *g, const VitroConfig *cfg)
{
    const int64_t D = cfg->embed_dim, H = cfg->num_heads;
    Vit vit = {.g = g, .cfg = cfg}, *v = &vit;
    const char *images =
        vitro_onnx_input(g, "images", DIMS(0, cfg->in_channels, cfg->img_height, cfg->img_width));
    const bool whole_gelu = cfg->act != VITRO_ACT_GELU_QUICK;
    if (whole_gelu || cfg->distilled)
        v->half = vitro_onnx_scalar(g, "half", 0.5);
    if (whole_gelu)
        v->one = vitro_onnx_scalar(g, "one", 1);
    v->scale = vitro_onnx_scalar(g, "attn_scale",
                                 cfg->qk_scale != 0 ? cfg->qk_scale : 1 / sqrt((double)D / H));
    v->heads_shape = vitro_onnx_ints(g, "heads_shape", DIMS(0, 0, H, D / H));
    v->tokens_shape = vitro_onnx_ints(g, "tokens_shape", DIMS(0, 0, D));

    const char *x = add_tokens(v, images, patch_embed(v, "patch_embed", images)); /* Eq. 1 */
    for (int l = 0; l < cfg->depth; l++)
        x = block(v, vitro_onnx_name(g, "blocks.%d", l), x); /* Eq. 2, 3 */
    x = head(v, pool(v, x));                                 /* Eq. 4 */
    const char *name = cfg->num_classes ? "logits" : "features";
    vitro_onnx_output(g, op(v, "Identity", name, INPUTS(x)), DIMS(0, vitro_config_outputs(cfg)));
    return vitro_onnx_status(g);
}

#endif
