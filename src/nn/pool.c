/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/pool.h"

#include "nn/drop.h"

#include <math.h>

static const VitroDropout no_dropout;

/* The first of the tokens that are pooled, and their number. */
static int64_t first_pooled(const VitroConfig *cfg)
{
    return cfg->pool_include_prefix ? 0 : vitro_config_prefix(cfg);
}

static int64_t pooled_tokens(const VitroConfig *cfg)
{
    return vitro_config_tokens(cfg) - first_pooled(cfg);
}

/* Whether the final norm is of all tokens, before they are pooled. */
static bool norm_comes_first(const VitroConfig *cfg)
{
    return !cfg->no_final_norm && !cfg->fc_norm && cfg->global_pool != VITRO_POOL_TOKEN;
}

/* Whether attention looks at some of the tokens only. */
static bool chooses(const VitroConfig *cfg)
{
    return cfg->global_pool == VITRO_POOL_MAP && first_pooled(cfg) > 0;
}

/* ---- attention pooling ------------------------------------------------------------------------
 */

/* The plan of one token per image, without dropout: timm has none here. */
static VitroPlan plan_of_one(const VitroPlan *plan)
{
    VitroPlan one = *plan;
    one.tokens = 1;
    one.drop = NULL;
    return one;
}

/* The MLP's plan takes `cfg` for LayerScale, which the pool's MLP has not. */
static void plan_mlp(VitroMlpActs *a, const VitroPlan *plan, VitroTensor out)
{
    VitroConfig cfg = *plan->cfg;
    VitroPlan one = plan_of_one(plan);
    cfg.init_values = 0;
    one.cfg = &cfg;
    vitro_mlp_plan(a, &one, 0, 0, out);
}

static void plan_attn(VitroAttnPoolActs *a, VitroPlan *plan)
{
    const VitroConfig *cfg = plan->cfg;
    int64_t B = plan->batch, D = cfg->embed_dim, n = pooled_tokens(cfg);
    *a = (VitroAttnPoolActs){.latent = vitro_plan3(plan, B, 1, D)};
    a->q = (VitroLinearActs){.out = vitro_plan_operand2(plan, B, D)};
    a->kv = (VitroLinearActs){.out = vitro_plan_operand3(plan, B, n, 2 * D)};
    a->ctx = vitro_plan_operand2(plan, B, D);
    if (plan->keep)
        a->lse = vitro_plan2(plan, B, cfg->num_heads);
    a->shape = (VitroAttentionShape){.heads = cfg->num_heads,
                                     .scale = 1 / sqrt((double)(D / cfg->num_heads))};
    a->proj = (VitroLinearActs){.out = vitro_plan2(plan, B, D)};
    a->q.epilogue.rows_per_sample = a->proj.epilogue.rows_per_sample = 1;
    a->kv.epilogue.rows_per_sample = n;
    a->norm = (VitroLayerNormActs){.out = vitro_plan_operand2(plan, B, D), .eps = cfg->norm_eps};
    if (plan->keep) {
        a->norm.mean = vitro_plan1(plan, B);
        a->norm.rstd = vitro_plan1(plan, B);
    }
    plan_mlp(&a->mlp, plan, vitro_plan2(plan, B, D));
}

static VitroStatus attn_forward(VitroDevice *dev, VitroAttnPoolActs *a,
                                const VitroAttnPoolParams *p, VitroTensor x)
{
    VITRO_TRY(dev->ops->tokens(dev, a->latent, VITRO_NO_TENSOR, p->latent, VITRO_NO_TENSOR,
                               VITRO_NO_TENSOR, &no_dropout));
    VITRO_TRY(vitro_linear_forward(dev, &a->q, &p->q, a->latent));
    VITRO_TRY(vitro_linear_forward(dev, &a->kv, &p->kv, x));
    VITRO_TRY(dev->ops->attention_cls(dev, a->ctx, a->lse, a->q.out, a->kv.out, &a->shape));
    VITRO_TRY(vitro_linear_forward(dev, &a->proj, &p->proj, a->ctx));
    VITRO_TRY(vitro_layernorm_forward(dev, &a->norm, &p->norm, a->proj.out));
    return vitro_mlp_forward(dev, &a->mlp, &p->mlp, a->norm.out, a->proj.out);
}

/* dx [B,n,D] from dout [B,D], which is lost. */
static VitroStatus attn_backward(VitroDevice *dev, VitroTensor dx, VitroAttnPoolParams *grad,
                                 VitroTensor dout, const VitroAttnPoolActs *a,
                                 const VitroAttnPoolParams *p, const VitroPoolScratch *s)
{
    VITRO_TRY(vitro_mlp_backward(dev, s->dmlp, &grad->mlp, dout, &a->mlp, &p->mlp, &s->mlp));
    VITRO_TRY(
        vitro_layernorm_backward(dev, s->dproj, &grad->norm, dout, s->dmlp, &a->norm, &p->norm));
    VITRO_TRY(vitro_linear_backward(dev, s->dctx, &grad->proj, s->dproj, &a->proj, &p->proj, NULL));
    VITRO_TRY(dev->ops->attention_cls_backward(dev, s->dq, s->dkv, s->dctx, a->q.out, a->kv.out,
                                               a->ctx, a->lse, &a->shape));
    VITRO_TRY(vitro_linear_backward(dev, dx, &grad->kv, s->dkv, &a->kv, &p->kv, NULL));
    VITRO_TRY(vitro_linear_backward(dev, s->dlatent, &grad->q, s->dq, &a->q, &p->q, NULL));
    return dev->ops->tokens_backward(dev, VITRO_NO_TENSOR, grad->latent, VITRO_NO_TENSOR,
                                     VITRO_NO_TENSOR, s->dlatent, 0, &no_dropout);
}

/* ---- the whole --------------------------------------------------------------------------------
 */

/* `rows` LayerNorms of width D. */
static void plan_norm(VitroLayerNormActs *a, VitroPlan *plan, VitroTensor out)
{
    *a = (VitroLayerNormActs){.out = out, .eps = plan->cfg->norm_eps};
    if (plan->keep) {
        a->mean = vitro_plan1(plan, vitro_tensor_rows(&out));
        a->rstd = vitro_plan1(plan, vitro_tensor_rows(&out));
    }
}

void vitro_pool_plan(VitroPoolActs *a, VitroPlan *plan)
{
    const VitroConfig *cfg = plan->cfg;
    int64_t B = plan->batch, D = cfg->embed_dim;
    *a = (VitroPoolActs){0};
    if (cfg->distilled)
        a->out = a->chosen = vitro_plan3(plan, B, 2, D);
    if (norm_comes_first(cfg))
        plan_norm(&a->norm, plan, vitro_plan3(plan, B, plan->tokens, D));
    if (chooses(cfg))
        a->chosen = vitro_plan3(plan, B, pooled_tokens(cfg), D);
    if (cfg->global_pool == VITRO_POOL_AVG)
        a->out = a->mean = vitro_plan2(plan, B, D);
    if (cfg->global_pool == VITRO_POOL_MAP) {
        plan_attn(&a->attn, plan);
        a->out = a->attn.mlp.fc2.out;
    }
    if (cfg->no_final_norm || norm_comes_first(cfg))
        return;
    plan_norm(&a->norm, plan,
              cfg->distilled ? vitro_plan3(plan, B, 2, D) : vitro_plan2(plan, B, D));
    a->out = a->norm.out;
}

static void plan_attn_scratch(VitroPoolScratch *s, VitroPlan *plan)
{
    const VitroConfig *cfg = plan->cfg;
    int64_t B = plan->batch, D = cfg->embed_dim;
    s->dmlp = vitro_plan2(plan, B, D);
    s->dproj = vitro_plan2(plan, B, D);
    s->dctx = vitro_plan_operand2(plan, B, D);
    s->dq = vitro_plan_operand2(plan, B, D);
    s->dkv = vitro_plan_operand3(plan, B, pooled_tokens(cfg), 2 * D);
    s->dlatent = vitro_plan3(plan, B, 1, D);
    s->mlp.dhidden = vitro_plan_operand3(plan, B, 1, vitro_config_mlp_width(cfg));
}

void vitro_pool_plan_scratch(VitroPoolScratch *s, VitroPlan *plan)
{
    const VitroConfig *cfg = plan->cfg;
    int64_t B = plan->batch, D = cfg->embed_dim;
    *s = (VitroPoolScratch){0};
    if (!cfg->no_final_norm && !norm_comes_first(cfg) && !vitro_pools_class_alone(cfg))
        s->dpooled = cfg->distilled ? vitro_plan3(plan, B, 2, D) : vitro_plan2(plan, B, D);
    if (chooses(cfg))
        s->dchosen = vitro_plan3(plan, B, pooled_tokens(cfg), D);
    if (norm_comes_first(cfg))
        s->dnormed = vitro_plan3(plan, B, plan->tokens, D);
    if (cfg->global_pool == VITRO_POOL_MAP)
        plan_attn_scratch(s, plan);
}

/* The pooling itself: x [B,T,D] -> *x. */
static VitroStatus pool(VitroDevice *dev, VitroPoolActs *a, const VitroPoolParams *p,
                        const VitroConfig *cfg, VitroTensor *x)
{
    if (cfg->global_pool == VITRO_POOL_AVG) {
        VITRO_TRY(dev->ops->mean_tokens(dev, a->mean, *x, first_pooled(cfg)));
        *x = a->mean;
    } else if (cfg->global_pool == VITRO_POOL_MAP) {
        if (chooses(cfg)) {
            VITRO_TRY(dev->ops->take_tokens(dev, a->chosen, *x, first_pooled(cfg)));
            *x = a->chosen;
        }
        VITRO_TRY(attn_forward(dev, &a->attn, &p->attn, *x));
        *x = a->attn.mlp.fc2.out;
    } else if (cfg->distilled) {
        VITRO_TRY(dev->ops->take_tokens(dev, a->chosen, *x, 0));
        *x = a->chosen;
    }
    return VITRO_OK;
}

VitroStatus vitro_pool_forward(VitroDevice *dev, VitroPoolActs *a, const VitroPoolParams *p,
                               const VitroConfig *cfg, VitroTensor x)
{
    bool first = norm_comes_first(cfg);
    if (first) {
        VITRO_TRY(vitro_layernorm_forward(dev, &a->norm, &p->norm, x));
        x = a->norm.out;
    }
    VITRO_TRY(pool(dev, a, p, cfg, &x));
    if (!first && !cfg->no_final_norm) {
        VITRO_TRY(vitro_layernorm_forward(dev, &a->norm, &p->norm, x));
        x = a->norm.out;
    }
    a->out = x; /* without a norm, the class token is the last block's own */
    return VITRO_OK;
}

static VitroStatus scatter(VitroDevice *dev, VitroTensor dx, VitroTensor dchosen, int64_t first)
{
    VITRO_TRY(dev->ops->zero(dev, dx.data, vitro_tensor_bytes(&dx)));
    return dev->ops->add_tokens(dev, dx, dchosen, first);
}

/* dx [B,T,D] from dout, the gradient of what the pooling gave. */
static VitroStatus pool_backward(VitroDevice *dev, VitroTensor dx, VitroPoolParams *grad,
                                 VitroTensor dout, const VitroPoolActs *a, const VitroPoolParams *p,
                                 const VitroConfig *cfg, const VitroPoolScratch *s)
{
    if (cfg->global_pool == VITRO_POOL_AVG)
        return dev->ops->mean_tokens_backward(dev, dx, dout, first_pooled(cfg));
    if (cfg->distilled)
        return scatter(dev, dx, dout, 0);
    VitroTensor dchosen = chooses(cfg) ? s->dchosen : dx;
    VITRO_TRY(attn_backward(dev, dchosen, &grad->attn, dout, &a->attn, &p->attn, s));
    return chooses(cfg) ? scatter(dev, dx, dchosen, first_pooled(cfg)) : VITRO_OK;
}

VitroStatus vitro_pool_backward(VitroDevice *dev, VitroTensor dx, VitroPoolParams *grad,
                                VitroTensor dout, const VitroPoolActs *a, const VitroPoolParams *p,
                                const VitroConfig *cfg, const VitroPoolScratch *s)
{
    if (norm_comes_first(cfg)) {
        VITRO_TRY(pool_backward(dev, s->dnormed, grad, dout, a, p, cfg, s));
        return vitro_layernorm_backward(dev, dx, &grad->norm, VITRO_NO_TENSOR, s->dnormed, &a->norm,
                                        &p->norm);
    }
    bool alone = vitro_pools_class_alone(cfg);
    if (!cfg->no_final_norm) {
        VitroTensor dpooled = alone ? dx : s->dpooled;
        VITRO_TRY(vitro_layernorm_backward(dev, dpooled, &grad->norm, VITRO_NO_TENSOR, dout,
                                           &a->norm, &p->norm));
        dout = dpooled;
    } else if (alone) {
        return dev->ops->take_tokens(
            dev, dx, vitro_tensor3(dout.data, dout.dtype, dout.dim[0], 1, dout.dim[1]), 0);
    }
    return alone ? VITRO_OK : pool_backward(dev, dx, grad, dout, a, p, cfg, s);
}
