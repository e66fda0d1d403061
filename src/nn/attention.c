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

void vitro_attention_plan(VitroAttentionActs *a, VitroPlan *plan, int block, double drop_path,
                          VitroTensor out)
{
    const VitroConfig *cfg = plan->cfg;
    int64_t B = plan->batch, T = plan->tokens, D = cfg->embed_dim;
    *a = (VitroAttentionActs){0};
    a->qkv.out = vitro_plan_operand3(plan, B, T, 3 * D);
    a->qkv.epilogue.rows_per_sample = T;
    a->ctx = vitro_plan_operand3(plan, B, T, D);
    if (plan->keep)
        a->lse = vitro_plan3(plan, B, cfg->num_heads, T);
    a->shape = vitro_attention_shape(plan, block);
    a->proj.out = out;
    a->proj.epilogue = vitro_attention_epilogue(plan, block, drop_path);
}

VitroStatus vitro_attention_forward(VitroDevice *dev, VitroAttentionActs *a,
                                    const VitroAttentionParams *p, VitroTensor x,
                                    VitroTensor residual)
{
    a->proj.epilogue.residual = residual;
    VITRO_TRY(vitro_linear_forward(dev, &a->qkv, &p->qkv, x));                  /* Eq. 5 */
    VITRO_TRY(dev->ops->attention(dev, a->ctx, a->lse, a->qkv.out, &a->shape)); /* Eq. 6, 7 */
    return vitro_linear_forward(dev, &a->proj, &p->proj, a->ctx);               /* Eq. 8 */
}

VitroStatus vitro_attention_backward(VitroDevice *dev, VitroTensor dx, VitroAttentionParams *grad,
                                     VitroTensor dy, const VitroAttentionActs *a,
                                     const VitroAttentionParams *p, const VitroAttentionScratch *s)
{
    VitroTensor dproj = dy;
    if (vitro_epilogue_changes_gradient(&a->proj.epilogue)) {
        dproj = s->dbranch;
        VITRO_TRY(dev->ops->epilogue_backward(dev, dproj, dy, &a->proj.epilogue));
    }
    VITRO_TRY(vitro_linear_backward(dev, s->dctx, &grad->proj, dproj, &a->proj, &p->proj, NULL));
    VITRO_TRY(
        dev->ops->attention_backward(dev, s->dqkv, s->dctx, a->qkv.out, a->ctx, a->lse, &a->shape));
    return vitro_linear_backward(dev, dx, &grad->qkv, s->dqkv, &a->qkv, &p->qkv, NULL);
}
