/* SPDX-License-Identifier: Apache-2.0 */
/* All parameters of a ViT, as the layers see them, and THE table: name, shape, initialisation, in
 * the order of the original's named_parameters(). Gradients and moments are the same structure over
 * other memory. */
#ifndef VITRO_MODEL_PARAMS_H
#define VITRO_MODEL_PARAMS_H

#include "nn/block.h"
#include "nn/embed.h"
#include "nn/pool.h"

/* _init_vit_weights and the constructor of the original */
typedef enum VitroInit {
    VITRO_INIT_ZERO,   /* biases */
    VITRO_INIT_ONE,    /* LayerNorm's gamma */
    VITRO_INIT_SCALE,  /* LayerScale's: init_values */
    VITRO_INIT_LINEAR, /* trunc_normal_(std 0.01) */
    VITRO_INIT_TOKEN,  /* trunc_normal_(std 0.02): tokens, pos_embed, latent */
    VITRO_INIT_CONV    /* kaiming_normal_(fan_out) */
} VitroInit;

typedef struct VitroParam {
    char name[40]; /* "blocks.1023.attn.q_norm.weight" */
    VitroInit init;
    int rank;
    int64_t dim[4];    /* as a checkpoint has it */
    VitroTensor *slot; /* where the layers find it; same elements, fewer dimensions */
    /* Whose w it is: what is large, and what back ends prepare. NULL: of none. */
    VitroWeight *weight;
} VitroParam;

typedef struct VitroParams {
    VitroEmbedParams embed;
    VitroBlockParams *block; /* [depth] */
    int depth;
    VitroPoolParams pool;   /* the final norm is one of these */
    VitroWeight pre_logits; /* w [R,D], b [R]; absent unless representation_size */
    VitroWeight head;       /* w [K,R or D], b [K]; absent if num_classes is 0 */
    VitroWeight head_dist;  /* w [K,D], b [K]; absent unless distilled */

    VitroParam *list; /* [count] */
    int64_t count;
    int64_t blocks_first; /* index of the first parameter of a block, */
    int64_t norm_first;   /* of the final norm or the attention pool, */
    int64_t head_first;   /* and of pre_logits or head: all later ones are theirs, too */
} VitroParams;

/* Parameters first..end-1 of the list. */
typedef struct VitroParamRange {
    int64_t first, end;
} VitroParamRange;

/* Builds the table; no parameter has memory yet. The structure must not move afterwards. */
VitroStatus vitro_params_init(VitroParams *p, const VitroConfig *cfg, VitroDtype dtype);
void vitro_params_deinit(VitroParams *p);

/* Elements of one flat range that holds parameters first..count-1, each aligned to VITRO_ALIGN. */
int64_t vitro_params_flat_count(const VitroParams *p, int64_t first);
int64_t vitro_params_largest(const VitroParams *p); /* elements of the largest parameter */
/* Places them in `flat`, in order, and the views of them. Those before `first` stay absent. */
void vitro_params_place(VitroParams *p, int64_t first, VitroTensor flat);

/* The parts that the backward pass finishes one after the other: final norm and head (part
 * depth + 1), the blocks from the last (part depth) to the first (part 1), the embedding (0). */
VitroParamRange vitro_params_part(const VitroParams *p, int part);
/* As above, for the parameters of one range. */
int64_t vitro_params_range_count(const VitroParams *p, VitroParamRange range);
void vitro_params_place_range(VitroParams *p, VitroParamRange range, VitroTensor flat);

/* Whether devices that multiply bytes take it as such. */
static inline bool vitro_param_is_bytes(const VitroParam *e)
{
    return e->weight && !e->weight->wide;
}
/* The same for all that are no weights, whose sum is small: weights stay absent. */
int64_t vitro_params_small_count(const VitroParams *p);
void vitro_params_place_small(VitroParams *p, VitroTensor flat);
/* Gives parameter e, a weight, and the views of it other memory of elements of `dtype`, NULL: none;
 * `scale` [N] where they are bytes, else NULL. */
void vitro_params_put_weight(VitroParams *p, const VitroParam *e, void *data, VitroDtype dtype,
                             float *scale);

/* Calls fn for every VitroWeight that the model has and used as such: where the class token alone
 * is looked at, in the last block, attn.q and attn.kv in place of attn.qkv. Stops at the first
 * failure. */
typedef VitroStatus (*VitroWeightFn)(void *user, VitroWeight *weight, int64_t rows_per_image);
VitroStatus vitro_params_each_weight(VitroParams *p, const VitroConfig *cfg, bool head_only,
                                     VitroWeightFn fn, void *user);

#endif
