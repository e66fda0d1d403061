/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/cls_attention.h"

void vitro_cls_attention_plan(VitroClsAttentionActs *a, VitroPlan *plan, int block,
                              double drop_path, VitroTensor out)
{
    const VitroConfig *cfg = plan->cfg;
    int64_t B = plan->batch, T = plan->tokens, D = cfg->embed_dim;
    *a = (VitroClsAttentionActs){0};
    a->x = vitro_plan_operand2(plan, B, D);
    a->q.out = vitro_plan_operand2(plan, B, D);
    a->q.epilogue.rows_per_sample = 1;
    a->kv.out = vitro_plan_operand3(plan, B, T, 2 * D);
    a->kv.epilogue.rows_per_sample = T;
    a->ctx = vitro_plan_operand2(plan, B, D);
    if (plan->keep)
        a->lse = vitro_plan2(plan, B, cfg->num_heads);
    a->shape = vitro_attention_shape(plan, block);
    a->proj.out = out;
    a->proj.epilogue = vitro_attention_epilogue(plan, block, drop_path);
    a->proj.epilogue.rows_per_sample = 1; /* the class token comes first: its dropout is the same */
}

void vitro_cls_attention_plan_scratch(VitroClsAttentionScratch *s, VitroPlan *plan)
{
    int64_t B = plan->batch, D = plan->cfg->embed_dim;
    *s = (VitroClsAttentionScratch){.dbranch = vitro_plan_operand2(plan, B, D),
                                    .dctx = vitro_plan_operand2(plan, B, D),
                                    .dq = vitro_plan_operand2(plan, B, D),
                                    .dkv = vitro_plan_operand3(plan, B, plan->tokens, 2 * D),
                                    .dcls = vitro_plan2(plan, B, D)};
}

VitroStatus vitro_cls_attention_forward(VitroDevice *dev, VitroClsAttentionActs *a,
                                        const VitroAttentionParams *p, VitroTensor x,
                                        VitroTensor residual)
{
    a->proj.epilogue.residual = residual;
    VITRO_TRY(dev->ops->take_tokens(dev, a->x, x, 0));
    VITRO_TRY(vitro_linear_forward(dev, &a->q, &p->q, a->x)); /* Eq. 5 */
    VITRO_TRY(vitro_linear_forward(dev, &a->kv, &p->kv, x));
    VITRO_TRY(dev->ops->attention_cls(dev, a->ctx, a->lse, a->q.out, a->kv.out,
                                      &a->shape));                /* Eq. 6, 7 */
    return vitro_linear_forward(dev, &a->proj, &p->proj, a->ctx); /* Eq. 8 */
}

VitroStatus vitro_cls_attention_backward(VitroDevice *dev, VitroTensor dx,
                                         VitroAttentionParams *grad, VitroTensor dy,
                                         const VitroClsAttentionActs *a,
                                         const VitroAttentionParams *p,
                                         const VitroClsAttentionScratch *s)
{
    VitroTensor dproj = dy;
    if (vitro_epilogue_changes_gradient(&a->proj.epilogue)) {
        dproj = s->dbranch;
        VITRO_TRY(dev->ops->epilogue_backward(dev, dproj, dy, &a->proj.epilogue));
    }
    VITRO_TRY(vitro_linear_backward(dev, s->dctx, &grad->proj, dproj, &a->proj, &p->proj, NULL));
    VITRO_TRY(dev->ops->attention_cls_backward(dev, s->dq, s->dkv, s->dctx, a->q.out, a->kv.out,
                                               a->ctx, a->lse, &a->shape));
    VITRO_TRY(vitro_linear_backward(dev, dx, &grad->kv, s->dkv, &a->kv, &p->kv, NULL));
    VITRO_TRY(vitro_linear_backward(dev, s->dcls, &grad->q, s->dq, &a->q, &p->q, NULL));
    return dev->ops->add_tokens(dev, dx, s->dcls, 0);
}
