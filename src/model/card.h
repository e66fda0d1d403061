/* SPDX-License-Identifier: Apache-2.0 */
/* What a checkpoint says of itself, as JSON; docs/FORMATS.md has the schema. */
#ifndef VITRO_MODEL_CARD_H
#define VITRO_MODEL_CARD_H

#include "base/status.h"
#include "vitro/model.h"

/* The JSON text for `cfg` and the transform and class names of `card` (NULL: none). The caller
 * frees *out with vitro_free. */
VitroStatus vitro_card_write(char **out, const VitroConfig *cfg, const VitroCard *card);

#endif
