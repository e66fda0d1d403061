/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of forward.c, bottom to top. */
#include "model/model.h"

/* From a->dout down to the gradient of the final norm's output (absent where nothing below is
 * trained). */
static VitroStatus head_backward(const VitroModel *m, VitroParams *grad, VitroActs *a,
                                 VitroTensor dnorm)
{
    VitroDevice *dev = m->dev;
    const VitroParams *p = &m->params;
    bool has_head = m->cfg.num_classes, has_pre = m->cfg.representation_size;
    VitroTensor dpre = a->dout;
    if (has_head && has_pre) {
        dpre = a->dpre_logits;
        VITRO_TRY(vitro_linear_backward(dev, dpre, &grad->head, a->dout, &a->head, &p->head,
                                        &a->pre_logits));
    } else if (has_head) {
        return vitro_linear_backward(dev, dnorm, &grad->head, a->dout, &a->head, &p->head, NULL);
    } else if (has_pre) {
        VITRO_TRY(dev->ops->epilogue_backward(dev, dpre, a->dout, &a->pre_logits.epilogue));
    }
    return vitro_linear_backward(dev, dnorm, &grad->pre_logits, dpre, &a->pre_logits,
                                 &p->pre_logits, NULL);
}

/* Head, pre_logits and the final norm: from a->dout to a->dcls. */
static VitroStatus top_backward(const VitroModel *m, VitroParams *grad, VitroActs *a)
{
    bool bare = !m->cfg.num_classes && !m->cfg.representation_size; /* features are the output */
    VitroTensor dnorm = bare ? a->dout : a->dnorm;
    if (!bare)
        VITRO_TRY(head_backward(m, grad, a, dnorm));
    return vitro_layernorm_backward(m->dev, a->dcls, &grad->norm, VITRO_NO_TENSOR, dnorm, &a->norm,
                                    &m->params.norm);
}

/* Block l: a->dx becomes the gradient of its input. */
static VitroStatus block_backward(const VitroModel *m, VitroParams *grad, VitroActs *a, int l)
{
    VitroDevice *dev = m->dev;
    const VitroBlockParams *p = &m->params.block[l];
    if (l == m->cfg.depth - 1)
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
