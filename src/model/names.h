/* SPDX-License-Identifier: Apache-2.0 */
/* Why a file's tensors are not those of a plain ViT. */
#ifndef VITRO_MODEL_NAMES_H
#define VITRO_MODEL_NAMES_H

#include "base/status.h"
#include "vitro/model.h"

/* `missing` is the first tensor that was not found. Always fails: the text says what differs from
 * the plain model as far as names and shapes show it (post-norm, no class token, ...), or else that
 * the names are of no known family. */
VitroStatus vitro_refuse_names(const VitroCheckpoint *ckpt, const char *missing);

/* VITRO_E_UNSUPPORTED: a tensor's name, or the shapes of the MLP, show a feature that the model
 * here does not have; the text names both. */
VitroStatus vitro_check_features(const VitroCheckpoint *ckpt);

#endif
