/* SPDX-License-Identifier: Apache-2.0 */
/* Every backward op of ref, in FP64, against central differences of its forward op.
 *
 * The function that is differentiated is always sum(y * dy) with a fixed random dy, so that a
 * backward op called with this dy must give its gradient. Parameter gradients start at 1, not 0:
 * they are added to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "base/rng.h"

#define STEP  1e-5
#define LIMIT 1e-8 /* of the gradient's largest element; truncation is about STEP^2 = 1e-10 */

static VitroDevice *dev;
static VitroRng rng;

/* ---- tensors: one pool, emptied before each test --------------------------------------------- */

static double pool[1 << 16];
static size_t pool_used;

static VitroTensor make(int rank, const int64_t *dim)
{
    VitroTensor t = vitro_tensor(pool + pool_used, VITRO_F64, rank, dim);
    pool_used += (size_t)vitro_tensor_count(&t);
    assert_true(pool_used <= sizeof pool / sizeof pool[0]);
    return t;
}

static VitroTensor constant(double value, int rank, const int64_t *dim)
{
    VitroTensor t = make(rank, dim);
    for (int64_t i = 0; i < vitro_tensor_count(&t); i++)
        ((double *)t.data)[i] = value;
    return t;
}

static VitroTensor normal(int rank, const int64_t *dim)
{
    VitroTensor t = make(rank, dim);
    for (int64_t i = 0; i < vitro_tensor_count(&t); i++)
        ((double *)t.data)[i] = vitro_rng_normal(&rng);
    return t;
}

#define DIM(...)                                                                                   \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[])                         \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static double dot(VitroTensor a, VitroTensor b)
{
    double sum = 0;
    for (int64_t i = 0; i < vitro_tensor_count(&a); i++)
        sum += ((double *)a.data)[i] * ((double *)b.data)[i];
    return sum;
}

static void ok(VitroStatus status)
{
    if (status != VITRO_OK)
        fail_msg("%s", vitro_last_error());
}

/* ---- the comparison -------------------------------------------------------------------------- */

typedef double (*LossFn)(const void *arguments);

/* gradient - start must be d loss/dx. */
static void check(const char *what, VitroTensor x, VitroTensor gradient, double start, LossFn loss,
                  const void *arguments)
{
    int64_t n = vitro_tensor_count(&x), worst = 0;
    double *at = x.data, *g = gradient.data, largest = 0, worst_error = -1, worst_want = 0;
    assert_int_equal(n, vitro_tensor_count(&gradient));
    for (int64_t i = 0; i < n; i++) {
        double old = at[i];
        at[i] = old + STEP;
        double above = loss(arguments);
        at[i] = old - STEP;
        double below = loss(arguments);
        at[i] = old;
        double want = (above - below) / (2 * STEP);
        double error = fabs(g[i] - start - want);
        largest = fmax(largest, fabs(want));
        if (isnan(error))
            error = INFINITY;
        if (error > worst_error)
            worst = i, worst_error = error, worst_want = want;
    }
    if (!(worst_error <= LIMIT * fmax(largest, 1)))
        fail_msg("%s[%lld]: gradient %.12g, central difference %.12g", what, (long long)worst,
                 g[worst] - start, worst_want);
}

/* ---- products -------------------------------------------------------------------------------- */

static const VitroDropState drop_state = {.seed = 5, .step = 3, .sample0 = 1};

/* Two layers, y = linear(linear(x)), each with its epilogue: the second one's backward pass goes on
 * through the first one's epilogue. */
typedef struct Mlp {
    VitroTensor x, hidden, y, residual, dy; /* [M,D] [M,F] [M,D] [M,D] [M,D] */
    VitroWeight fc1, fc2;
    VitroEpilogue e1, e2;
} Mlp;

static double mlp_loss(const void *arguments)
{
    const Mlp *p = arguments;
    ok(dev->ops->linear(dev, p->hidden, p->x, &p->fc1, &p->e1));
    ok(dev->ops->linear(dev, p->y, p->hidden, &p->fc2, &p->e2));
    return dot(p->y, p->dy);
}

static void mlp(VitroAct act1, VitroAct act2, bool drop)
{
    enum { M = 6, D = 5, F = 7, ROWS = 2 };
    Mlp p = {.x = normal(DIM(M, D)),
             .hidden = make(DIM(M, F)),
             .y = make(DIM(M, D)),
             .residual = normal(DIM(M, D)),
             .dy = normal(DIM(M, D)),
             .fc1 = {.w = normal(DIM(F, D)), .b = normal(DIM(F))},
             .fc2 = {.w = normal(DIM(D, F)), .b = normal(DIM(D))},
             .e1 = {.act = act1, .pre = make(DIM(M, F)), .rows_per_sample = ROWS},
             .e2 = {.act = act2, .pre = make(DIM(M, D)), .rows_per_sample = ROWS}};
    p.e2.residual = p.residual;
    p.e2.scale = normal(DIM(D));
    if (drop) {
        p.e1.dropout = (VitroDropout){.ratio = 0.3, .site = 1, .state = &drop_state};
        p.e2.dropout = (VitroDropout){.ratio = 0.4, .site = 2, .state = &drop_state};
        p.e2.path = (VitroDropout){.ratio = 0.5, .site = 3, .state = &drop_state};
    }
    VitroTensor dpre2 = make(DIM(M, D)), dpre1 = make(DIM(M, F)), dx = make(DIM(M, D));
    VitroWeight d1 = {.w = constant(1, DIM(F, D)), .b = constant(1, DIM(F))};
    VitroWeight d2 = {.w = constant(1, DIM(D, F)), .b = constant(1, DIM(D))};

    VitroTensor dscale = constant(1, DIM(D));

    mlp_loss(&p);
    ok(dev->ops->scale_backward(dev, dscale, p.dy, &p.e2));
    ok(dev->ops->epilogue_backward(dev, dpre2, p.dy, &p.e2));
    ok(dev->ops->linear_backward(dev, dpre1, &d2, dpre2, p.hidden, &p.fc2, &p.e1));
    ok(dev->ops->linear_backward(dev, dx, &d1, dpre1, p.x, &p.fc1, NULL));

    check("x", p.x, dx, 0, mlp_loss, &p);
    check("fc1.w", p.fc1.w, d1.w, 1, mlp_loss, &p);
    check("fc1.b", p.fc1.b, d1.b, 1, mlp_loss, &p);
    check("fc2.w", p.fc2.w, d2.w, 1, mlp_loss, &p);
    check("fc2.b", p.fc2.b, d2.b, 1, mlp_loss, &p);
    check("residual", p.residual, p.dy, 0, mlp_loss, &p);
    check("scale", p.e2.scale, dscale, 1, mlp_loss, &p);
}

static void test_products(void **state)
{
    (void)state;
    for (int act1 = VITRO_ACT_NONE; act1 <= VITRO_ACT_GELU_QUICK; act1++)
        for (int act2 = VITRO_ACT_NONE; act2 <= VITRO_ACT_GELU_QUICK; act2++)
            for (int drop = 0; drop < 2; drop++) {
                pool_used = 0;
                mlp((VitroAct)act1, (VitroAct)act2, drop);
            }
}

/* ---- layer norm ------------------------------------------------------------------------------ */

typedef struct Norm {
    VitroTensor x, y, mean, rstd, gamma, beta, dy;
} Norm;

static double norm_loss(const void *arguments)
{
    const Norm *p = arguments;
    ok(dev->ops->layernorm(dev, p->y, p->mean, p->rstd, p->x, p->gamma, p->beta, 1e-6));
    return dot(p->y, p->dy);
}

static void test_layernorm(void **state)
{
    (void)state;
    enum { M = 4, D = 9 };
    Norm p = {.x = normal(DIM(M, D)),
              .y = make(DIM(M, D)),
              .mean = make(DIM(M)),
              .rstd = make(DIM(M)),
              .gamma = normal(DIM(D)),
              .beta = normal(DIM(D)),
              .dy = normal(DIM(M, D))};
    VitroTensor dgamma = constant(1, DIM(D)), dbeta = constant(1, DIM(D));
    VitroTensor dx = make(DIM(M, D)), add = constant(2, DIM(M, D));
    norm_loss(&p);
    ok(dev->ops->layernorm_backward(dev, dx, dgamma, dbeta, add, p.dy, p.x, p.mean, p.rstd,
                                    p.gamma));
    check("x", p.x, dx, 2, norm_loss, &p);
    check("gamma", p.gamma, dgamma, 1, norm_loss, &p);
    check("beta", p.beta, dbeta, 1, norm_loss, &p);
}

/* q_norm and then k_norm of (q, k, v), as attention uses them. */
typedef struct HeadNorm {
    VitroTensor x, y, mean[2], rstd[2], gamma[2], beta[2], dy;
} HeadNorm;

enum { HEADS_M = 3, HEADS = 2, HEADS_DH = 4, HEADS_D = HEADS * HEADS_DH };

static double head_norm_loss(const void *arguments)
{
    const HeadNorm *p = arguments;
    for (int i = 0; i < 2; i++)
        ok(dev->ops->head_norm(dev, p->y, p->mean[i], p->rstd[i], i ? p->y : p->x, p->gamma[i],
                               p->beta[i], 1e-6, i * HEADS_D, HEADS));
    return dot(p->y, p->dy);
}

static void test_head_norm(void **state)
{
    (void)state;
    HeadNorm p = {.x = normal(DIM(HEADS_M, 3 * HEADS_D)),
                  .y = make(DIM(HEADS_M, 3 * HEADS_D)),
                  .dy = normal(DIM(HEADS_M, 3 * HEADS_D))};
    VitroTensor dx = make(DIM(HEADS_M, 3 * HEADS_D)), dgamma[2], dbeta[2];
    for (int i = 0; i < 2; i++) {
        p.mean[i] = make(DIM(HEADS_M, HEADS));
        p.rstd[i] = make(DIM(HEADS_M, HEADS));
        p.gamma[i] = normal(DIM(HEADS_DH));
        p.beta[i] = normal(DIM(HEADS_DH));
        dgamma[i] = constant(1, DIM(HEADS_DH));
        dbeta[i] = constant(1, DIM(HEADS_DH));
    }
    head_norm_loss(&p);
    memcpy(dx.data, p.dy.data, vitro_tensor_bytes(&dx));
    for (int i = 0; i < 2; i++)
        ok(dev->ops->head_norm_backward(dev, dx, dgamma[i], dbeta[i], p.x, p.mean[i], p.rstd[i],
                                        p.gamma[i], i * HEADS_D, HEADS));
    check("x", p.x, dx, 0, head_norm_loss, &p);
    for (int i = 0; i < 2; i++) {
        check("gamma", p.gamma[i], dgamma[i], 1, head_norm_loss, &p);
        check("beta", p.beta[i], dbeta[i], 1, head_norm_loss, &p);
    }
}

/* ---- attention ------------------------------------------------------------------------------- */

typedef struct Attention {
    VitroTensor qkv, ctx, lse, dctx;
    VitroAttentionShape shape;
} Attention;

static double attention_loss(const void *arguments)
{
    const Attention *p = arguments;
    ok(dev->ops->attention(dev, p->ctx, p->lse, p->qkv, &p->shape));
    return dot(p->ctx, p->dctx);
}

static void attention(int64_t B, int64_t T, int64_t H, int64_t Dh, double ratio)
{
    pool_used = 0;
    int64_t D = H * Dh;
    Attention p = {.qkv = normal(DIM(B, T, 3 * D)),
                   .ctx = make(DIM(B, T, D)),
                   .lse = make(DIM(B, H, T)),
                   .dctx = normal(DIM(B, T, D)),
                   .shape = {.heads = H,
                             .scale = 1 / sqrt((double)Dh),
                             .dropout = {.ratio = ratio, .site = 4, .state = &drop_state}}};
    VitroTensor dqkv = make(DIM(B, T, 3 * D));
    attention_loss(&p);
    ok(dev->ops->attention_backward(dev, dqkv, p.dctx, p.qkv, p.ctx, p.lse, &p.shape));
    check("qkv", p.qkv, dqkv, 0, attention_loss, &p);
}

static void test_attention(void **state)
{
    (void)state;
    attention(2, 5, 2, 3, 0);
    attention(2, 5, 2, 3, 0.3);
    attention(1, 3, 1, 70, 0.2); /* wider than the kernel's slice of sums */
}

typedef struct AttentionCls {
    VitroTensor q, kv, ctx, lse, dctx;
    VitroAttentionShape shape;
} AttentionCls;

static double attention_cls_loss(const void *arguments)
{
    const AttentionCls *p = arguments;
    ok(dev->ops->attention_cls(dev, p->ctx, p->lse, p->q, p->kv, &p->shape));
    return dot(p->ctx, p->dctx);
}

static void attention_cls(int64_t B, int64_t T, int64_t H, int64_t Dh, double ratio)
{
    pool_used = 0;
    int64_t D = H * Dh;
    AttentionCls p = {.q = normal(DIM(B, D)),
                      .kv = normal(DIM(B, T, 2 * D)),
                      .ctx = make(DIM(B, D)),
                      .lse = make(DIM(B, H)),
                      .dctx = normal(DIM(B, D)),
                      .shape = {.heads = H,
                                .scale = 1 / sqrt((double)Dh),
                                .dropout = {.ratio = ratio, .site = 4, .state = &drop_state}}};
    VitroTensor dq = make(DIM(B, D)), dkv = make(DIM(B, T, 2 * D));
    attention_cls_loss(&p);
    ok(dev->ops->attention_cls_backward(dev, dq, dkv, p.dctx, p.q, p.kv, p.ctx, p.lse, &p.shape));
    check("q", p.q, dq, 0, attention_cls_loss, &p);
    check("kv", p.kv, dkv, 0, attention_cls_loss, &p);
}

static void test_attention_cls(void **state)
{
    (void)state;
    attention_cls(2, 5, 2, 3, 0);
    attention_cls(2, 5, 2, 3, 0.3);
    attention_cls(1, 3, 1, 70, 0.2);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

typedef struct Tokens {
    VitroTensor emb, cls, reg, pos, x, dx;
    VitroTensor some, dsome, mean, dmean; /* two tokens from the second on, and their mean */
    VitroDropout dropout;
} Tokens;

static double tokens_loss(const void *arguments)
{
    const Tokens *p = arguments;
    ok(dev->ops->tokens(dev, p->x, p->emb, p->cls, p->reg, p->pos, &p->dropout));
    return dot(p->x, p->dx);
}

static double some_loss(const void *arguments)
{
    const Tokens *p = arguments;
    ok(dev->ops->take_tokens(dev, p->some, p->x, 1));
    return dot(p->some, p->dsome);
}

static double mean_loss(const void *arguments)
{
    const Tokens *p = arguments;
    ok(dev->ops->mean_tokens(dev, p->mean, p->x, 1));
    return dot(p->mean, p->dmean);
}

/* `placed`: rows of pos. */
static void tokens(int64_t placed)
{
    enum { B = 3, N = 3, R = 2, T = 1 + R + N, D = 5 };
    Tokens p = {.emb = normal(DIM(B, N, D)),
                .cls = normal(DIM(D)),
                .reg = normal(DIM(R, D)),
                .pos = normal(DIM(placed, D)),
                .x = make(DIM(B, T, D)),
                .some = make(DIM(B, 2, D)),
                .dsome = normal(DIM(B, 2, D)),
                .mean = make(DIM(B, D)),
                .dmean = normal(DIM(B, D)),
                .dx = normal(DIM(B, T, D)),
                .dropout = {.ratio = 0.4, .site = 9, .state = &drop_state}};
    VitroTensor demb = make(DIM(B, N, D)), dx = make(DIM(B, T, D));
    VitroTensor dcls = constant(1, DIM(D)), dreg = constant(1, DIM(R, D));
    VitroTensor dpos = constant(1, DIM(placed, D));
    tokens_loss(&p);
    ok(dev->ops->tokens_backward(dev, demb, dcls, dreg, dpos, p.dx, N, &p.dropout));
    check("emb", p.emb, demb, 0, tokens_loss, &p);
    check("cls", p.cls, dcls, 1, tokens_loss, &p);
    check("reg", p.reg, dreg, 1, tokens_loss, &p);
    check("pos", p.pos, dpos, 1, tokens_loss, &p);

    memset(dx.data, 0, vitro_tensor_bytes(&dx));
    ok(dev->ops->add_tokens(dev, dx, p.dsome, 1));
    check("x", p.x, dx, 0, some_loss, &p);
    ok(dev->ops->mean_tokens_backward(dev, dx, p.dmean, 1));
    check("x", p.x, dx, 0, mean_loss, &p);
}

static void test_tokens(void **state)
{
    (void)state;
    tokens(6);
    pool_used = 0;
    tokens(3);
}

/* ---- loss ------------------------------------------------------------------------------------ */

typedef struct Loss {
    VitroTensor logits;
    double smoothing;
} Loss;

enum { LOSS_B = 3, LOSS_K = 6 };
static const int32_t labels[LOSS_B] = {0, 5, 2};

static double cross_entropy_loss(const void *arguments)
{
    const Loss *p = arguments;
    double losses[LOSS_B], sum = 0;
    int32_t best[LOSS_B];
    ok(dev->ops->cross_entropy(dev, losses, best, VITRO_NO_TENSOR, p->logits, labels, p->smoothing,
                               NAN));
    for (int b = 0; b < LOSS_B; b++)
        sum += losses[b];
    return sum / LOSS_B;
}

static void test_cross_entropy(void **state)
{
    (void)state;
    static const double smoothings[] = {0, 0.1, 1};
    for (int i = 0; i < 3; i++) {
        Loss p = {.logits = normal(DIM(LOSS_B, LOSS_K)), .smoothing = smoothings[i]};
        VitroTensor dlogits = make(DIM(LOSS_B, LOSS_K));
        double losses[LOSS_B];
        int32_t best[LOSS_B];
        ok(dev->ops->cross_entropy(dev, losses, best, dlogits, p.logits, labels, p.smoothing,
                                   1.0 / LOSS_B));
        check("logits", p.logits, dlogits, 0, cross_entropy_loss, &p);
    }
}

/* ---- main ------------------------------------------------------------------------------------ */

static int empty_pool(void **state)
{
    (void)state;
    pool_used = 0;
    rng = vitro_rng(1, VITRO_RNG_INIT, 0, 0);
    return 0;
}

static int open_device(void **state)
{
    (void)state;
    VitroDeviceOptions options = {.name = "ref", .threads = 1, .precision = VITRO_FP64};
    return vitro_device_open(&dev, &options) == VITRO_OK ? 0 : -1;
}

static int close_device(void **state)
{
    (void)state;
    vitro_device_close(dev);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_products, empty_pool),
        cmocka_unit_test_setup(test_layernorm, empty_pool),
        cmocka_unit_test_setup(test_head_norm, empty_pool),
        cmocka_unit_test_setup(test_attention, empty_pool),
        cmocka_unit_test_setup(test_attention_cls, empty_pool),
        cmocka_unit_test_setup(test_tokens, empty_pool),
        cmocka_unit_test_setup(test_cross_entropy, empty_pool),
    };
    return cmocka_run_group_tests_name("ops/gradients", tests, open_device, close_device);
}
