/* SPDX-License-Identifier: Apache-2.0 */
/* What other libraries say of a checkpoint: Hugging Face's config.json and
 * preprocessor_config.json, and timm's config.json, beside the file; the arguments of its training
 * inside it. */
#ifndef VITRO_MODEL_SIDECAR_H
#define VITRO_MODEL_SIDECAR_H

#include "base/status.h"
#include "vitro/model.h"

/* Fills the empty `card` with what is there; it stays empty where there is nothing, or nothing
 * about a ViT, which the log then tells. Nothing that the files name is opened. Errors, which start
 * with the file's path: VITRO_E_IO; VITRO_E_FORMAT (a field has another type or is out of its
 * range); VITRO_E_UNSUPPORTED (a model or a transform that cannot be expressed). */
VitroStatus vitro_sidecar_read(VitroCard *card, const VitroCheckpoint *ckpt);

#endif
