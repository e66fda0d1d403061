/* SPDX-License-Identifier: Apache-2.0 */
/* The paper, top to bottom: "An Image is Worth 16x16 Words", section 3.1. */
#include "model/model.h"

/* DeiT's output: the mean of what the class token's head and the distillation token's say, or of
 * the two tokens where there are no heads. */
static VitroStatus pair_forward(const VitroModel *m, VitroActs *a, VitroTensor tokens)
{
    VitroDevice *dev = m->dev;
    VitroPairActs *p = &a->pair;
    if (!m->cfg.num_classes)
        return dev->ops->mean_tokens(dev, a->out, tokens, 0);
    VITRO_TRY(dev->ops->take_tokens(dev, p->token[0], tokens, 0));
    VITRO_TRY(dev->ops->take_tokens(dev, p->token[1], tokens, 1));
    VITRO_TRY(vitro_linear_forward(dev, &a->head, &m->params.head, p->token[0]));
    VITRO_TRY(vitro_linear_forward(dev, &p->head_dist, &m->params.head_dist, p->token[1]));
    VITRO_TRY(dev->ops->zero(dev, p->both.data, vitro_tensor_bytes(&p->both)));
    VITRO_TRY(dev->ops->add_tokens(dev, p->both, a->head.out, 0));
    VITRO_TRY(dev->ops->add_tokens(dev, p->both, p->head_dist.out, 1));
    return dev->ops->mean_tokens(dev, a->out, p->both, 0);
}

static VitroStatus head_forward(const VitroModel *m, VitroActs *a, VitroTensor features)
{
    VitroDevice *dev = m->dev;
    const VitroParams *p = &m->params;
    a->features = features;
    if (m->cfg.distilled)
        return pair_forward(m, a, features);
    if (m->cfg.representation_size) {
        VITRO_TRY(vitro_linear_forward(dev, &a->pre_logits, &p->pre_logits, features)); /* [B,R] */
        a->features = features = a->pre_logits.out;
    }
    if (m->cfg.num_classes) {
        VITRO_TRY(vitro_linear_forward(dev, &a->head, &p->head, features)); /* [B,K] */
        features = a->head.out;
    }
    a->out = features;
    return VITRO_OK;
}

VitroStatus vitro_model_forward(const VitroModel *m, VitroActs *a)
{
    VitroDevice *dev = m->dev;
    const VitroParams *p = &m->params;
    VITRO_TRY(vitro_embed_forward(dev, &a->embed, &p->embed, &m->cfg, a->images)); /* Eq. 1 */
    VitroTensor x = a->embed.out;                                                  /* [B,T,D] */
    for (int l = 0; l < a->full_blocks; l++) {
        VITRO_TRY(vitro_block_forward(dev, &a->block[l], &p->block[l], x)); /* Eq. 2, 3 */
        x = a->block[l].out;
    }
    /* Eq. 4 looks at the class token only, and LayerNorm acts on each token alone: from the last
     * block's queries on, no other token matters. */
    if (vitro_pools_class_alone(&m->cfg)) {
        VITRO_TRY(vitro_last_block_forward(dev, &a->last, &p->block[a->full_blocks], x));
        x = a->last.out; /* [B,D] */
    }
    VITRO_TRY(vitro_pool_forward(dev, &a->pool, &p->pool, &m->cfg, x)); /* [B,D] */
    return head_forward(m, a, a->pool.out);
}
