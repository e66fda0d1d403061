/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of forward.c, bottom to top. */
#include "model/model.h"

/* The two heads of DeiT: from a->dout to dpool [B,2,D], if it is wanted. */
static VitroStatus pair_backward(const VitroModel *m, VitroParams *grad, VitroActs *a,
                                 VitroTensor dpool)
{
    VitroDevice *dev = m->dev;
    VitroPairActs *p = &a->pair;
    VitroTensor dtoken = dpool.data ? p->dtoken : VITRO_NO_TENSOR;
    if (!m->cfg.num_classes)
        return dev->ops->mean_tokens_backward(dev, dpool, a->dout, 0);
    VITRO_TRY(dev->ops->mean_tokens_backward(dev, p->dboth, a->dout, 0));
    VITRO_TRY(dev->ops->take_tokens(dev, p->dhead, p->dboth, 0)); /* the other's is the same */
    if (dpool.data)
        VITRO_TRY(dev->ops->zero(dev, dpool.data, vitro_tensor_bytes(&dpool)));
    VITRO_TRY(
        vitro_linear_backward(dev, dtoken, &grad->head, p->dhead, &a->head, &m->params.head, NULL));
    if (dpool.data)
        VITRO_TRY(dev->ops->add_tokens(dev, dpool, dtoken, 0));
    VITRO_TRY(vitro_linear_backward(dev, dtoken, &grad->head_dist, p->dhead, &p->head_dist,
                                    &m->params.head_dist, NULL));
    return dpool.data ? dev->ops->add_tokens(dev, dpool, dtoken, 1) : VITRO_OK;
}

/* From a->dout down to the gradient of what the pooling gave (absent where nothing below is
 * trained). */
static VitroStatus head_backward(const VitroModel *m, VitroParams *grad, VitroActs *a,
                                 VitroTensor dpool)
{
    VitroDevice *dev = m->dev;
    const VitroParams *p = &m->params;
    bool has_head = m->cfg.num_classes, has_pre = m->cfg.representation_size;
    VitroTensor dpre = a->dout;
    if (m->cfg.distilled)
        return pair_backward(m, grad, a, dpool);
    if (has_head && has_pre) {
        dpre = a->dpre_logits;
        VITRO_TRY(vitro_linear_backward(dev, dpre, &grad->head, a->dout, &a->head, &p->head,
                                        &a->pre_logits));
    } else if (has_head) {
        return vitro_linear_backward(dev, dpool, &grad->head, a->dout, &a->head, &p->head, NULL);
    } else if (has_pre) {
        VITRO_TRY(dev->ops->epilogue_backward(dev, dpre, a->dout, &a->pre_logits.epilogue));
    }
    return vitro_linear_backward(dev, dpool, &grad->pre_logits, dpre, &a->pre_logits,
                                 &p->pre_logits, NULL);
}

/* Head, pre_logits, pooling and the final norm: from a->dout to a->dcls, or a->dx. */
static VitroStatus top_backward(const VitroModel *m, VitroParams *grad, VitroActs *a)
{
    const VitroConfig *cfg = &m->cfg;
    bool bare = !cfg->num_classes && !cfg->representation_size && !cfg->distilled;
    VitroTensor dpool = bare ? a->dout : a->dpool; /* bare: features are the output */
    if (!bare)
        VITRO_TRY(head_backward(m, grad, a, dpool));
    VitroTensor dx = vitro_pools_class_alone(cfg) ? a->dcls : a->dx;
    return vitro_pool_backward(m->dev, dx, &grad->pool, dpool, &a->pool, &m->params.pool, cfg,
                               &a->pool_scratch);
}

/* Block l: a->dx becomes the gradient of its input. */
static VitroStatus block_backward(const VitroModel *m, VitroParams *grad, VitroActs *a, int l)
{
    VitroDevice *dev = m->dev;
    const VitroBlockParams *p = &m->params.block[l];
    if (l == a->full_blocks)
        return vitro_last_block_backward(dev, a->dx, a->dcls, &grad->block[l], &a->last, p,
                                         &a->last_scratch);
    VitroTensor x = l > 0 ? a->block[l - 1].out : a->embed.out;
    if (a->mode == VITRO_MODE_TRAIN_RECOMPUTE)
        VITRO_TRY(vitro_block_recompute(dev, &a->block[l], p, x));
    return vitro_block_backward(dev, a->dx, &grad->block[l], &a->block[l], p, &a->block_scratch);
}

static VitroStatus embed_backward(const VitroModel *m, VitroParams *grad, VitroActs *a)
{
    return vitro_embed_backward(m->dev, &grad->embed, a->dx, &a->embed, &m->params.embed, &m->cfg,
                                &a->embed_scratch);
}

VitroStatus vitro_model_backward(const VitroModel *m, VitroParams *grad, VitroActs *a)
{
    if (a->mode == VITRO_MODE_TRAIN_HEAD)
        return head_backward(m, grad, a, VITRO_NO_TENSOR);
    VITRO_TRY(top_backward(m, grad, a));
    for (int l = m->cfg.depth - 1; l >= 0; l--)
        VITRO_TRY(block_backward(m, grad, a, l));
    return embed_backward(m, grad, a);
}

VitroStatus vitro_model_backward_part(const VitroModel *m, VitroParams *grad, VitroActs *a,
                                      int part)
{
    if (part > m->cfg.depth)
        return top_backward(m, grad, a);
    return part > 0 ? block_backward(m, grad, a, part - 1) : embed_backward(m, grad, a);
}
