/* SPDX-License-Identifier: Apache-2.0 */
/* What the layers' activations are planned for. */
#ifndef VITRO_NN_PLAN_H
#define VITRO_NN_PLAN_H

#include "backend/arena.h"
#include "backend/backend.h"

typedef struct VitroPlan {
    VitroArena *arena;
    const VitroConfig *cfg;
    VitroDtype dtype;               /* of the residual stream and all else */
    VitroDtype operand;             /* of what products multiply */
    int64_t batch, tokens, patches; /* B, T, N */
    bool keep;                      /* the layer being planned keeps what its backward needs */
    const VitroDropState *drop;     /* NULL: dropout off */
    VitroTensor norm; /* [B,T,D] what norm1 or norm2 gave last, in whichever block: one for all */
} VitroPlan;

/* New pieces of the arena: [d0], [d0,d1], [d0,d1,d2]. */
static inline VitroTensor vitro_plan1(VitroPlan *p, int64_t d0)
{
    return vitro_arena_tensor(p->arena, vitro_tensor1(NULL, p->dtype, d0));
}
static inline VitroTensor vitro_plan2(VitroPlan *p, int64_t d0, int64_t d1)
{
    return vitro_arena_tensor(p->arena, vitro_tensor2(NULL, p->dtype, d0, d1));
}
static inline VitroTensor vitro_plan3(VitroPlan *p, int64_t d0, int64_t d1, int64_t d2)
{
    return vitro_arena_tensor(p->arena, vitro_tensor3(NULL, p->dtype, d0, d1, d2));
}

/* The same of what products multiply. */
static inline VitroTensor vitro_plan_operand2(VitroPlan *p, int64_t d0, int64_t d1)
{
    return vitro_arena_tensor(p->arena, vitro_tensor2(NULL, p->operand, d0, d1));
}
static inline VitroTensor vitro_plan_operand3(VitroPlan *p, int64_t d0, int64_t d1, int64_t d2)
{
    return vitro_arena_tensor(p->arena, vitro_tensor3(NULL, p->operand, d0, d1, d2));
}

#endif
