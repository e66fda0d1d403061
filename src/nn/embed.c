/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/embed.h"

#include "nn/drop.h"

static int64_t patch_size(const VitroConfig *cfg)
{
    return (int64_t)cfg->in_channels * cfg->patch_size * cfg->patch_size;
}

static void plan_norm(VitroLayerNormActs *a, VitroPlan *plan, int64_t rows)
{
    a->eps = plan->cfg->norm_eps;
    if (plan->keep) {
        a->mean = vitro_plan1(plan, rows);
        a->rstd = vitro_plan1(plan, rows);
    }
}

void vitro_embed_plan(VitroEmbedActs *a, VitroPlan *plan)
{
    const VitroConfig *cfg = plan->cfg;
    int64_t B = plan->batch, N = plan->patches, D = cfg->embed_dim, pixels = patch_size(cfg);
    *a = (VitroEmbedActs){0};
    a->pos_drop = vitro_dropout(cfg->drop_ratio, 0, VITRO_SITE_POS, plan->drop);
    a->tokens = a->out = vitro_plan3(plan, B, plan->tokens, D);
    if (cfg->patch_pre_norm)
        plan_norm(&a->pre_norm, plan, B * N);
    if (cfg->patch_norm)
        plan_norm(&a->norm, plan, B * N);
    if (cfg->pre_norm)
        plan_norm(&a->norm_pre, plan, B * plan->tokens);
    if (cfg->pre_norm && plan->keep)
        a->tokens = vitro_plan3(plan, B, plan->tokens, D);
    size_t mark = plan->arena->used;
    if (cfg->pre_norm && !plan->keep)
        a->tokens = vitro_plan3(plan, B, plan->tokens, D);
    a->norm_pre.out = a->out;
    a->proj.out = vitro_plan3(plan, B, N, D);
    a->proj.epilogue.rows_per_sample = N;
    if (cfg->patch_norm && plan->keep)
        mark = plan->arena->used;
    if (cfg->patch_norm)
        a->norm.out = vitro_plan3(plan, B, N, D);
    /* what LayerNorm reads is no operand of a product */
    a->patches = cfg->patch_pre_norm ? vitro_plan3(plan, B, N, pixels)
                                     : vitro_plan_operand3(plan, B, N, pixels);
    if (cfg->patch_pre_norm)
        a->pre_norm.out = vitro_plan_operand3(plan, B, N, pixels);
    vitro_arena_release(plan->arena, mark); /* all else is done when the first block begins */
}

void vitro_embed_plan_scratch(VitroEmbedScratch *s, VitroPlan *plan)
{
    const VitroConfig *cfg = plan->cfg;
    int64_t B = plan->batch, N = plan->patches, D = cfg->embed_dim, pixels = patch_size(cfg);
    *s = (VitroEmbedScratch){.patches = vitro_plan_operand3(plan, B, N, pixels)};
    if (cfg->patch_pre_norm) {
        s->raw = vitro_plan3(plan, B, N, pixels);
        s->dpixels[0] = vitro_plan3(plan, B, N, pixels);
        s->dpixels[1] = vitro_plan3(plan, B, N, pixels);
    }
    if (cfg->pre_norm)
        s->dtokens = vitro_plan3(plan, B, plan->tokens, D);
    s->demb = vitro_plan3(plan, B, N, D);
    s->dproj = cfg->patch_norm ? vitro_plan3(plan, B, N, D) : s->demb;
}

VitroStatus vitro_embed_forward(VitroDevice *dev, VitroEmbedActs *a, const VitroEmbedParams *p,
                                const VitroConfig *cfg, VitroTensor images)
{
    a->images = images;
    VITRO_TRY(dev->ops->patchify(dev, a->patches, images, cfg->patch_size));
    VitroTensor patches = a->patches;
    if (cfg->patch_pre_norm) {
        VITRO_TRY(vitro_layernorm_forward(dev, &a->pre_norm, &p->pre_norm, patches));
        patches = a->pre_norm.out;
    }
    VITRO_TRY(vitro_linear_forward(dev, &a->proj, &p->proj, patches));
    VitroTensor emb = a->proj.out;
    if (cfg->patch_norm) {
        VITRO_TRY(vitro_layernorm_forward(dev, &a->norm, &p->norm, emb));
        emb = a->norm.out;
    }
    VITRO_TRY(dev->ops->tokens(dev, a->tokens, emb, p->cls_token, p->reg_token, p->pos_embed,
                               &a->pos_drop));
    if (cfg->pre_norm)
        VITRO_TRY(vitro_layernorm_forward(dev, &a->norm_pre, &p->norm_pre, a->tokens));
    return VITRO_OK;
}

/* The weight's gradient, and that of the norm before it: from s->dproj. */
static VitroStatus proj_backward(VitroDevice *dev, VitroEmbedParams *grad, const VitroEmbedActs *a,
                                 const VitroEmbedParams *p, const VitroConfig *cfg,
                                 const VitroEmbedScratch *s)
{
    VitroLinearActs proj = {.x = s->patches};
    if (!cfg->patch_pre_norm) {
        VITRO_TRY(dev->ops->patchify(dev, s->patches, a->images, cfg->patch_size));
        return vitro_linear_backward(dev, VITRO_NO_TENSOR, &grad->proj, s->dproj, &proj, &p->proj,
                                     NULL);
    }
    VitroLayerNormActs norm = a->pre_norm;
    norm.out = s->patches;
    VITRO_TRY(dev->ops->patchify(dev, s->raw, a->images, cfg->patch_size));
    VITRO_TRY(vitro_layernorm_forward(dev, &norm, &p->pre_norm, s->raw));
    VITRO_TRY(
        vitro_linear_backward(dev, s->dpixels[0], &grad->proj, s->dproj, &proj, &p->proj, NULL));
    return vitro_layernorm_backward(dev, s->dpixels[1], &grad->pre_norm, VITRO_NO_TENSOR,
                                    s->dpixels[0], &norm, &p->pre_norm);
}

VitroStatus vitro_embed_backward(VitroDevice *dev, VitroEmbedParams *grad, VitroTensor dx,
                                 const VitroEmbedActs *a, const VitroEmbedParams *p,
                                 const VitroConfig *cfg, const VitroEmbedScratch *s)
{
    if (cfg->pre_norm) {
        VITRO_TRY(vitro_layernorm_backward(dev, s->dtokens, &grad->norm_pre, VITRO_NO_TENSOR, dx,
                                           &a->norm_pre, &p->norm_pre));
        dx = s->dtokens;
    }
    VITRO_TRY(dev->ops->tokens_backward(dev, s->demb, grad->cls_token, grad->reg_token,
                                        grad->pos_embed, dx, s->demb.dim[1], &a->pos_drop));
    if (cfg->patch_norm)
        VITRO_TRY(vitro_layernorm_backward(dev, s->dproj, &grad->norm, VITRO_NO_TENSOR, s->demb,
                                           &a->norm, &p->norm));
    return proj_backward(dev, grad, a, p, cfg, s);
}
