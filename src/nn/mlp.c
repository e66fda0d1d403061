/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/mlp.h"

#include "nn/drop.h"

void vitro_mlp_plan(VitroMlpActs *a, VitroPlan *plan, int block, double drop_path, VitroTensor out)
{
    const VitroConfig *cfg = plan->cfg;
    int64_t B = plan->batch, T = plan->tokens, M = vitro_config_mlp_width(cfg);
    *a = (VitroMlpActs){0};
    a->fc1.out = vitro_plan_operand3(plan, B, T, M);
    a->fc1.epilogue = (VitroEpilogue){
        .act = cfg->act,
        .pre = plan->keep ? vitro_plan_operand3(plan, B, T, M) : VITRO_NO_TENSOR,
        .dropout = vitro_dropout(cfg->drop_ratio, block, VITRO_SITE_FC1, plan->drop),
        .rows_per_sample = T};
    a->fc2.out = out;
    a->fc2.epilogue = (VitroEpilogue){
        .dropout = vitro_dropout(cfg->drop_ratio, block, VITRO_SITE_FC2, plan->drop),
        .path = vitro_dropout(drop_path, block, VITRO_SITE_MLP_PATH, plan->drop),
        .rows_per_sample = T};
    if (plan->keep && cfg->init_values != 0)
        a->fc2.epilogue.pre = vitro_plan_operand3(plan, B, T, cfg->embed_dim);
}

VitroStatus vitro_mlp_forward(VitroDevice *dev, VitroMlpActs *a, const VitroMlpParams *p,
                              VitroTensor x, VitroTensor residual)
{
    a->fc2.epilogue.residual = residual;
    a->fc2.epilogue.scale = p->scale;
    VITRO_TRY(vitro_linear_forward(dev, &a->fc1, &p->fc1, x));
    return vitro_linear_forward(dev, &a->fc2, &p->fc2, a->fc1.out);
}

VitroStatus vitro_mlp_backward(VitroDevice *dev, VitroTensor dx, VitroMlpParams *grad,
                               VitroTensor dy, const VitroMlpActs *a, const VitroMlpParams *p,
                               const VitroMlpScratch *s)
{
    VitroTensor dfc2;
    VITRO_TRY(vitro_branch_backward(dev, &dfc2, grad->scale, dy, &a->fc2.epilogue, s->dbranch));
    VITRO_TRY(vitro_linear_backward(dev, s->dhidden, &grad->fc2, dfc2, &a->fc2, &p->fc2, &a->fc1));
    return vitro_linear_backward(dev, dx, &grad->fc1, s->dhidden, &a->fc1, &p->fc1, NULL);
}
