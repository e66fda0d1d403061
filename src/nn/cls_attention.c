/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/cls_attention.h"

void vitro_cls_attention_plan(VitroClsAttentionActs *a, VitroPlan *plan, int block,
                              double drop_path, VitroTensor out)
{
    const VitroConfig *cfg = plan->cfg;
    int64_t B = plan->batch, T = plan->tokens, D = cfg->embed_dim;
    *a = (VitroClsAttentionActs){.eps = cfg->norm_eps};
    a->x = vitro_plan_operand2(plan, B, D);
    a->normed_q = a->q.out = vitro_plan_operand2(plan, B, D);
    a->q.epilogue.rows_per_sample = 1;
    a->normed_kv = a->kv.out = vitro_plan_operand3(plan, B, T, 2 * D);
    a->kv.epilogue.rows_per_sample = T;
    if (vitro_head_norm_keeps(plan)) {
        a->normed_q = vitro_plan_operand2(plan, B, D);
        a->normed_kv = vitro_plan_operand3(plan, B, T, 2 * D);
    }
    vitro_head_norm_plan(&a->q_norm, plan, B);
    vitro_head_norm_plan(&a->k_norm, plan, B * T);
    a->ctx = vitro_plan_operand2(plan, B, D);
    if (plan->keep)
        a->lse = vitro_plan2(plan, B, cfg->num_heads);
    a->shape = vitro_attention_shape(plan, block);
    a->proj.out = out;
    a->proj.epilogue = vitro_attention_epilogue(plan, block, drop_path);
    a->proj.epilogue.rows_per_sample = 1; /* the class token comes first: its dropout is the same */
    if (plan->keep && cfg->init_values != 0)
        a->proj.epilogue.pre = vitro_plan_operand2(plan, B, D);
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
    a->proj.epilogue.scale = p->scale;
    VITRO_TRY(dev->ops->take_tokens(dev, a->x, x, 0));
    VITRO_TRY(vitro_linear_forward(dev, &a->q, &p->q, a->x)); /* Eq. 5 */
    VITRO_TRY(vitro_linear_forward(dev, &a->kv, &p->kv, x));
    if (p->q_norm.gamma.data) {
        VITRO_TRY(vitro_head_norm_forward(dev, &a->q_norm, a->normed_q, a->q.out, &p->q_norm,
                                          &a->shape, a->eps, 0));
        VITRO_TRY(vitro_head_norm_forward(dev, &a->k_norm, a->normed_kv, a->kv.out, &p->k_norm,
                                          &a->shape, a->eps, 0));
    }
    VITRO_TRY(dev->ops->attention_cls(dev, a->ctx, a->lse, a->normed_q, a->normed_kv,
                                      &a->shape));                /* Eq. 6, 7 */
    return vitro_linear_forward(dev, &a->proj, &p->proj, a->ctx); /* Eq. 8 */
}

VitroStatus vitro_cls_attention_backward(VitroDevice *dev, VitroTensor dx,
                                         VitroAttentionParams *grad, VitroTensor dy,
                                         const VitroClsAttentionActs *a,
                                         const VitroAttentionParams *p,
                                         const VitroClsAttentionScratch *s)
{
    VitroTensor dproj;
    VITRO_TRY(vitro_branch_backward(dev, &dproj, grad->scale, dy, &a->proj.epilogue, s->dbranch));
    VITRO_TRY(vitro_linear_backward(dev, s->dctx, &grad->proj, dproj, &a->proj, &p->proj, NULL));
    VITRO_TRY(dev->ops->attention_cls_backward(dev, s->dq, s->dkv, s->dctx, a->normed_q,
                                               a->normed_kv, a->ctx, a->lse, &a->shape));
    if (p->q_norm.gamma.data) {
        VITRO_TRY(vitro_head_norm_backward(dev, s->dq, &grad->q_norm, &a->q_norm, a->q.out,
                                           &p->q_norm, &a->shape, 0));
        VITRO_TRY(vitro_head_norm_backward(dev, s->dkv, &grad->k_norm, &a->k_norm, a->kv.out,
                                           &p->k_norm, &a->shape, 0));
    }
    VITRO_TRY(vitro_linear_backward(dev, dx, &grad->kv, s->dkv, &a->kv, &p->kv, NULL));
    VITRO_TRY(vitro_linear_backward(dev, s->dcls, &grad->q, s->dq, &a->q, &p->q, NULL));
    return dev->ops->add_tokens(dev, dx, s->dcls, 0);
}
