/* SPDX-License-Identifier: Apache-2.0 */
/* What a checkpoint says of itself, as JSON; docs/FORMATS.md has the schema. */
#ifndef VITRO_MODEL_CARD_H
#define VITRO_MODEL_CARD_H

#include "base/status.h"
#include "vitro/model.h"

struct json_t; /* of jansson */

/* The JSON text for `cfg` and the transform and class names of `card` (NULL: none). The caller
 * frees *out with vitro_free. */
VitroStatus vitro_card_write(char **out, const VitroConfig *cfg, const VitroCard *card);

/* Class names from ["a", "b"] or {"0": "a", "1": "b"}. */
VitroStatus vitro_card_classes_from_json(VitroCard *card, struct json_t *classes);
/* The parts must tell of one model: VITRO_E_FORMAT. */
VitroStatus vitro_card_check(const VitroCard *card);
/* config.c: a ratio for which (int)(D * ratio) is M, whatever the rounding. */
double vitro_mlp_ratio_of(int64_t D, int64_t M);

#endif
