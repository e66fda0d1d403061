/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/block.h"

static void plan_norm(VitroLayerNormActs *a, VitroPlan *plan, VitroTensor out)
{
    int64_t B = plan->batch, T = plan->tokens;
    *a = (VitroLayerNormActs){.out = out, .eps = plan->cfg->norm_eps};
    if (plan->keep) {
        a->mean = vitro_plan1(plan, B * T);
        a->rstd = vitro_plan1(plan, B * T);
    }
}

/* torch.linspace(0, drop_path_ratio, depth)[block], a float32 that .item() made a double */
static double drop_path_of(const VitroConfig *cfg, int block)
{
    if (cfg->depth < 2)
        return 0;
    return (float)(cfg->drop_path_ratio * block / (cfg->depth - 1));
}

void vitro_block_plan(VitroBlockActs *a, VitroPlan *plan, int block, VitroTensor out)
{
    int64_t B = plan->batch, T = plan->tokens, D = plan->cfg->embed_dim;
    double path = drop_path_of(plan->cfg, block);
    VitroTensor mid = plan->keep ? vitro_plan3(plan, B, T, D) : out;
    a->out = out;
    plan_norm(&a->norm1, plan, plan->norm);
    plan_norm(&a->norm2, plan, plan->norm);
    size_t mark = plan->arena->used;
    vitro_attention_plan(&a->attn, plan, block, path, mid);
    if (!plan->keep)
        vitro_arena_release(plan->arena, mark); /* attention is done when the MLP begins */
    vitro_mlp_plan(&a->mlp, plan, block, path, out);
}

void vitro_block_plan_scratch(VitroBlockScratch *s, VitroPlan *plan)
{
    int64_t B = plan->batch, T = plan->tokens, D = plan->cfg->embed_dim;
    bool changes =
        plan->cfg->drop_ratio > 0 || plan->cfg->drop_path_ratio > 0 || plan->cfg->init_values != 0;
    VitroTensor dbranch = changes ? vitro_plan_operand3(plan, B, T, D) : VITRO_NO_TENSOR;
    s->dnorm = vitro_plan3(plan, B, T, D);
    size_t mark = plan->arena->used;
    s->attn = (VitroAttentionScratch){.dbranch = dbranch,
                                      .dctx = vitro_plan_operand3(plan, B, T, D),
                                      .dqkv = vitro_plan_operand3(plan, B, T, 3 * D)};
    vitro_arena_release(plan->arena, mark);
    s->mlp = (VitroMlpScratch){
        .dbranch = dbranch,
        .dhidden = vitro_plan_operand3(plan, B, T, vitro_config_mlp_width(plan->cfg))};
}

VitroStatus vitro_block_forward(VitroDevice *dev, VitroBlockActs *a, const VitroBlockParams *p,
                                VitroTensor x)
{
    VITRO_TRY(vitro_layernorm_forward(dev, &a->norm1, &p->norm1, x));
    VITRO_TRY(vitro_attention_forward(dev, &a->attn, &p->attn, a->norm1.out, x)); /* Eq. 2 */
    x = a->attn.proj.out;
    VITRO_TRY(vitro_layernorm_forward(dev, &a->norm2, &p->norm2, x));
    return vitro_mlp_forward(dev, &a->mlp, &p->mlp, a->norm2.out, x); /* Eq. 3 */
}

VitroStatus vitro_block_recompute(VitroDevice *dev, VitroBlockActs *a, const VitroBlockParams *p,
                                  VitroTensor x)
{
    VITRO_TRY(vitro_layernorm_forward(dev, &a->norm1, &p->norm1, x));
    VITRO_TRY(vitro_attention_forward(dev, &a->attn, &p->attn, a->norm1.out, x));
    VITRO_TRY(vitro_layernorm_forward(dev, &a->norm2, &p->norm2, a->attn.proj.out));
    if (p->mlp.scale.data) /* its gradient needs fc2's product, too; a->out gets the same bits */
        return vitro_mlp_forward(dev, &a->mlp, &p->mlp, a->norm2.out, a->attn.proj.out);
    return vitro_linear_forward(dev, &a->mlp.fc1, &p->mlp.fc1, a->norm2.out);
}

VitroStatus vitro_block_backward(VitroDevice *dev, VitroTensor dx, VitroBlockParams *grad,
                                 const VitroBlockActs *a, const VitroBlockParams *p,
                                 const VitroBlockScratch *s)
{
    VitroTensor dnorm = s->dnorm;
    VITRO_TRY(vitro_layernorm_again(dev, &a->norm2, &p->norm2));
    VITRO_TRY(vitro_mlp_backward(dev, dnorm, &grad->mlp, dx, &a->mlp, &p->mlp, &s->mlp));
    VITRO_TRY(vitro_layernorm_backward(dev, dx, &grad->norm2, dx, dnorm, &a->norm2, &p->norm2));
    VITRO_TRY(vitro_layernorm_again(dev, &a->norm1, &p->norm1));
    VITRO_TRY(vitro_attention_backward(dev, dnorm, &grad->attn, dx, &a->attn, &p->attn, &s->attn));
    return vitro_layernorm_backward(dev, dx, &grad->norm1, dx, dnorm, &a->norm1, &p->norm1);
}

/* ---- the last block ---------------------------------------------------------------------------
 */

/* The plan of [B,1,*]: the class token comes first in its image, so that dropout, which counts
 * elements from there, treats it as it does in [B,T,*]. */
static VitroPlan plan_of_cls(const VitroPlan *plan)
{
    VitroPlan cls = *plan;
    cls.tokens = 1;
    return cls;
}

void vitro_last_block_plan(VitroLastBlockActs *a, VitroPlan *plan, int block)
{
    int64_t B = plan->batch, D = plan->cfg->embed_dim;
    double path = drop_path_of(plan->cfg, block);
    VitroPlan cls = plan_of_cls(plan);
    a->x = vitro_plan2(plan, B, D);
    a->out = plan->keep ? vitro_plan2(plan, B, D) : a->x;
    plan_norm(&a->norm1, plan, plan->norm);
    vitro_cls_attention_plan(&a->attn, plan, block, path, a->x);
    plan_norm(&a->norm2, &cls, vitro_plan_operand2(plan, B, D));
    vitro_mlp_plan(&a->mlp, &cls, block, path, a->out);
}

void vitro_last_block_plan_scratch(VitroLastBlockScratch *s, VitroPlan *plan)
{
    int64_t B = plan->batch, T = plan->tokens, D = plan->cfg->embed_dim;
    VitroPlan cls = plan_of_cls(plan);
    s->dnorm1 = vitro_plan3(plan, B, T, D);
    s->dnorm2 = vitro_plan2(plan, B, D);
    size_t mark = plan->arena->used;
    vitro_cls_attention_plan_scratch(&s->attn, plan);
    vitro_arena_release(plan->arena, mark);
    s->mlp = (VitroMlpScratch){
        .dbranch = vitro_plan_operand2(&cls, B, D),
        .dhidden = vitro_plan_operand3(&cls, B, 1, vitro_config_mlp_width(plan->cfg))};
}

VitroStatus vitro_last_block_forward(VitroDevice *dev, VitroLastBlockActs *a,
                                     const VitroBlockParams *p, VitroTensor x)
{
    VITRO_TRY(vitro_layernorm_forward(dev, &a->norm1, &p->norm1, x));
    VITRO_TRY(dev->ops->take_tokens(dev, a->x, x, 0));
    VITRO_TRY(vitro_cls_attention_forward(dev, &a->attn, &p->attn, a->norm1.out, a->x));
    VITRO_TRY(vitro_layernorm_forward(dev, &a->norm2, &p->norm2, a->x));
    return vitro_mlp_forward(dev, &a->mlp, &p->mlp, a->norm2.out, a->x);
}

VitroStatus vitro_last_block_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dout,
                                      VitroBlockParams *grad, const VitroLastBlockActs *a,
                                      const VitroBlockParams *p, const VitroLastBlockScratch *s)
{
    VitroTensor dcls = dout;
    VITRO_TRY(vitro_mlp_backward(dev, s->dnorm2, &grad->mlp, dcls, &a->mlp, &p->mlp, &s->mlp));
    VITRO_TRY(
        vitro_layernorm_backward(dev, dcls, &grad->norm2, dcls, s->dnorm2, &a->norm2, &p->norm2));
    /* norm1.out is there: no block came after this one */
    VITRO_TRY(vitro_cls_attention_backward(dev, s->dnorm1, &grad->attn, dcls, &a->attn, &p->attn,
                                           &s->attn));
    VITRO_TRY(vitro_layernorm_backward(dev, dx, &grad->norm1, VITRO_NO_TENSOR, s->dnorm1, &a->norm1,
                                       &p->norm1));
    return dev->ops->add_tokens(dev, dx, dcls, 0); /* along the residual connection */
}
