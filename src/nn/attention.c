/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/attention.h"

#include "nn/drop.h"

#include <math.h>

VitroAttentionShape vitro_attention_shape(const VitroPlan *plan, int block)
{
    const VitroConfig *cfg = plan->cfg;
    return (VitroAttentionShape){
        .heads = cfg->num_heads,
        .scale = cfg->qk_scale != 0 ? cfg->qk_scale
                                    : 1 / sqrt((double)(cfg->embed_dim / cfg->num_heads)),
        .dropout = vitro_dropout(cfg->attn_drop_ratio, block, VITRO_SITE_ATTN, plan->drop)};
}

VitroEpilogue vitro_attention_epilogue(const VitroPlan *plan, int block, double drop_path)
{
    return (VitroEpilogue){
        .dropout = vitro_dropout(plan->cfg->drop_ratio, block, VITRO_SITE_PROJ, plan->drop),
        .path = vitro_dropout(drop_path, block, VITRO_SITE_ATTN_PATH, plan->drop),
        .rows_per_sample = plan->tokens};
}

/* ---- qk_norm ----------------------------------------------------------------------------------
 */

bool vitro_head_norm_keeps(const VitroPlan *plan)
{
    return plan->cfg->qk_norm && plan->keep;
}

void vitro_head_norm_plan(VitroHeadNormActs *a, VitroPlan *plan, int64_t rows)
{
    if (!vitro_head_norm_keeps(plan))
        return;
    a->mean = vitro_plan2(plan, rows, plan->cfg->num_heads);
    a->rstd = vitro_plan2(plan, rows, plan->cfg->num_heads);
}

VitroStatus vitro_head_norm_forward(VitroDevice *dev, const VitroHeadNormActs *a, VitroTensor y,
                                    VitroTensor x, const VitroLayerNormParams *p,
                                    const VitroAttentionShape *shape, double eps, int64_t first)
{
    return dev->ops->head_norm(dev, y, a->mean, a->rstd, x, p->gamma, p->beta, eps, first,
                               shape->heads);
}

VitroStatus vitro_head_norm_backward(VitroDevice *dev, VitroTensor dx, VitroLayerNormParams *grad,
                                     const VitroHeadNormActs *a, VitroTensor x,
                                     const VitroLayerNormParams *p,
                                     const VitroAttentionShape *shape, int64_t first)
{
    return dev->ops->head_norm_backward(dev, dx, grad->gamma, grad->beta, x, a->mean, a->rstd,
                                        p->gamma, first, shape->heads);
}

/* ---- the layer --------------------------------------------------------------------------------
 */

void vitro_attention_plan(VitroAttentionActs *a, VitroPlan *plan, int block, double drop_path,
                          VitroTensor out)
{
    const VitroConfig *cfg = plan->cfg;
    int64_t B = plan->batch, T = plan->tokens, D = cfg->embed_dim;
    *a = (VitroAttentionActs){.eps = cfg->norm_eps};
    a->normed = a->qkv.out = vitro_plan_operand3(plan, B, T, 3 * D);
    a->qkv.epilogue.rows_per_sample = T;
    if (vitro_head_norm_keeps(plan))
        a->normed = vitro_plan_operand3(plan, B, T, 3 * D);
    vitro_head_norm_plan(&a->q_norm, plan, B * T);
    vitro_head_norm_plan(&a->k_norm, plan, B * T);
    a->ctx = vitro_plan_operand3(plan, B, T, D);
    if (plan->keep)
        a->lse = vitro_plan3(plan, B, cfg->num_heads, T);
    a->shape = vitro_attention_shape(plan, block);
    a->proj.out = out;
    a->proj.epilogue = vitro_attention_epilogue(plan, block, drop_path);
    if (plan->keep && cfg->init_values != 0)
        a->proj.epilogue.pre = vitro_plan_operand3(plan, B, T, D);
}

VitroStatus vitro_attention_forward(VitroDevice *dev, VitroAttentionActs *a,
                                    const VitroAttentionParams *p, VitroTensor x,
                                    VitroTensor residual)
{
    const int64_t D = vitro_tensor_cols(&x);
    a->proj.epilogue.residual = residual;
    a->proj.epilogue.scale = p->scale;
    VITRO_TRY(vitro_linear_forward(dev, &a->qkv, &p->qkv, x)); /* Eq. 5 */
    if (p->q_norm.gamma.data) {
        VITRO_TRY(vitro_head_norm_forward(dev, &a->q_norm, a->normed, a->qkv.out, &p->q_norm,
                                          &a->shape, a->eps, 0));
        VITRO_TRY(vitro_head_norm_forward(dev, &a->k_norm, a->normed, a->normed, &p->k_norm,
                                          &a->shape, a->eps, D));
    }
    VITRO_TRY(dev->ops->attention(dev, a->ctx, a->lse, a->normed, &a->shape)); /* Eq. 6, 7 */
    return vitro_linear_forward(dev, &a->proj, &p->proj, a->ctx);              /* Eq. 8 */
}

VitroStatus vitro_attention_backward(VitroDevice *dev, VitroTensor dx, VitroAttentionParams *grad,
                                     VitroTensor dy, const VitroAttentionActs *a,
                                     const VitroAttentionParams *p, const VitroAttentionScratch *s)
{
    const int64_t D = vitro_tensor_cols(&dy);
    VitroTensor dproj;
    VITRO_TRY(vitro_branch_backward(dev, &dproj, grad->scale, dy, &a->proj.epilogue, s->dbranch));
    VITRO_TRY(vitro_linear_backward(dev, s->dctx, &grad->proj, dproj, &a->proj, &p->proj, NULL));
    VITRO_TRY(
        dev->ops->attention_backward(dev, s->dqkv, s->dctx, a->normed, a->ctx, a->lse, &a->shape));
    if (p->q_norm.gamma.data) {
        VITRO_TRY(vitro_head_norm_backward(dev, s->dqkv, &grad->q_norm, &a->q_norm, a->qkv.out,
                                           &p->q_norm, &a->shape, 0));
        VITRO_TRY(vitro_head_norm_backward(dev, s->dqkv, &grad->k_norm, &a->k_norm, a->qkv.out,
                                           &p->k_norm, &a->shape, D));
    }
    return vitro_linear_backward(dev, dx, &grad->qkv, s->dqkv, &a->qkv, &p->qkv, NULL);
}
