/* SPDX-License-Identifier: Apache-2.0 */
/* Which dropout of the model draws which numbers. A site is part of what a seed means: never
 * renumber. */
#ifndef VITRO_NN_DROP_H
#define VITRO_NN_DROP_H

#include "backend/backend.h"

typedef enum VitroDropSite {
    VITRO_SITE_POS = 0, /* pos_drop, once per model; the others once per block */
    VITRO_SITE_ATTN = 1,
    VITRO_SITE_PROJ = 2,
    VITRO_SITE_ATTN_PATH = 3,
    VITRO_SITE_FC1 = 4,
    VITRO_SITE_FC2 = 5,
    VITRO_SITE_MLP_PATH = 6,
    VITRO_SITES_PER_BLOCK = 8
} VitroDropSite;

static inline VitroDropout vitro_dropout(double ratio, int block, VitroDropSite site,
                                         const VitroDropState *state)
{
    return (VitroDropout){.ratio = ratio,
                          .site = (uint32_t)(block * VITRO_SITES_PER_BLOCK + (int)site),
                          .state = state};
}

#endif
