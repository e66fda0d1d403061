/* SPDX-License-Identifier: Apache-2.0 */
/* The paper, top to bottom: "An Image is Worth 16x16 Words", section 3.1. */
#include "model/model.h"

VitroStatus vitro_model_forward(const VitroModel *m, VitroActs *a)
{
    VitroDevice *dev = m->dev;
    const VitroParams *p = &m->params;
    VITRO_TRY(vitro_embed_forward(dev, &a->embed, &p->embed, &m->cfg, a->images)); /* Eq. 1 */
    VitroTensor x = a->embed.out;                                                  /* [B,T,D] */
    int last = m->cfg.depth - 1;
    for (int l = 0; l < last; l++) {
        VITRO_TRY(vitro_block_forward(dev, &a->block[l], &p->block[l], x)); /* Eq. 2, 3 */
        x = a->block[l].out;
    }
    /* Eq. 4 looks at the class token only, and LayerNorm acts on each token alone: from the last
     * block's queries on, no other token matters. */
    VITRO_TRY(vitro_last_block_forward(dev, &a->last, &p->block[last], x));   /* [B,D] */
    VITRO_TRY(vitro_layernorm_forward(dev, &a->norm, &p->norm, a->last.out)); /* [B,D] */
    VitroTensor features = a->norm.out;
    if (m->cfg.representation_size) {
        VITRO_TRY(vitro_linear_forward(dev, &a->pre_logits, &p->pre_logits, features)); /* [B,R] */
        features = a->pre_logits.out;
    }
    if (m->cfg.num_classes)
        VITRO_TRY(vitro_linear_forward(dev, &a->head, &p->head, features)); /* [B,K] */
    return VITRO_OK;
}
