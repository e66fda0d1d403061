/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/embed.h"

#include "nn/drop.h"

static int64_t patch_size(const VitroConfig *cfg)
{
    return (int64_t)cfg->in_channels * cfg->patch_size * cfg->patch_size;
}

void vitro_embed_plan(VitroEmbedActs *a, VitroPlan *plan)
{
    const VitroConfig *cfg = plan->cfg;
    int64_t B = plan->batch, N = plan->patches, D = cfg->embed_dim;
    *a = (VitroEmbedActs){0};
    a->pos_drop = vitro_dropout(cfg->drop_ratio, 0, VITRO_SITE_POS, plan->drop);
    a->out = vitro_plan3(plan, B, plan->tokens, D);
    size_t mark = plan->arena->used;
    a->proj.out = vitro_plan3(plan, B, N, D);
    a->proj.epilogue.rows_per_sample = N;
    a->norm.eps = cfg->norm_eps;
    if (cfg->patch_norm && plan->keep) {
        a->norm.mean = vitro_plan1(plan, B * N);
        a->norm.rstd = vitro_plan1(plan, B * N);
        mark = plan->arena->used;
    }
    if (cfg->patch_norm)
        a->norm.out = vitro_plan3(plan, B, N, D);
    a->patches = vitro_plan_operand3(plan, B, N, patch_size(cfg));
    vitro_arena_release(plan->arena, mark); /* all else is done when the first block begins */
}

void vitro_embed_plan_scratch(VitroEmbedScratch *s, VitroPlan *plan)
{
    int64_t B = plan->batch, N = plan->patches, D = plan->cfg->embed_dim;
    s->patches = vitro_plan_operand3(plan, B, N, patch_size(plan->cfg));
    s->demb = vitro_plan3(plan, B, N, D);
    s->dproj = plan->cfg->patch_norm ? vitro_plan3(plan, B, N, D) : s->demb;
}

VitroStatus vitro_embed_forward(VitroDevice *dev, VitroEmbedActs *a, const VitroEmbedParams *p,
                                const VitroConfig *cfg, VitroTensor images)
{
    a->images = images;
    VITRO_TRY(dev->ops->patchify(dev, a->patches, images, cfg->patch_size));
    VITRO_TRY(vitro_linear_forward(dev, &a->proj, &p->proj, a->patches));
    VitroTensor emb = a->proj.out;
    if (cfg->patch_norm) {
        VITRO_TRY(vitro_layernorm_forward(dev, &a->norm, &p->norm, emb));
        emb = a->norm.out;
    }
    return dev->ops->tokens(dev, a->out, emb, p->cls_token, VITRO_NO_TENSOR, p->pos_embed,
                            &a->pos_drop);
}

VitroStatus vitro_embed_backward(VitroDevice *dev, VitroEmbedParams *grad, VitroTensor dx,
                                 const VitroEmbedActs *a, const VitroEmbedParams *p,
                                 const VitroConfig *cfg, const VitroEmbedScratch *s)
{
    VITRO_TRY(dev->ops->tokens_backward(dev, s->demb, grad->cls_token, VITRO_NO_TENSOR,
                                        grad->pos_embed, dx, dx.dim[1] - 1, &a->pos_drop));
    if (s->dproj.data != s->demb.data)
        VITRO_TRY(vitro_layernorm_backward(dev, s->dproj, &grad->norm, VITRO_NO_TENSOR, s->demb,
                                           &a->norm, &p->norm));
    VITRO_TRY(dev->ops->patchify(dev, s->patches, a->images, cfg->patch_size));
    VitroLinearActs proj = {.x = s->patches};
    return vitro_linear_backward(dev, VITRO_NO_TENSOR, &grad->proj, s->dproj, &proj, &p->proj,
                                 NULL);
}
