/* SPDX-License-Identifier: Apache-2.0 */
/* Weights under other libraries' names, and the files that these want beside them. */
#ifndef VITRO_EXPORT_NAMES_H
#define VITRO_EXPORT_NAMES_H

#include "base/status.h"
#include "vitro/export.h"

const char *vitro_naming_library(VitroNaming naming); /* for error texts */

/* names.c: the tensors of `cfg` alone, and the card as metadata; floats as for
 * vitro_export_weights. VITRO_E_UNSUPPORTED: the other library has no such tensor. */
VitroStatus vitro_names_write(const VitroCheckpoint *ckpt, const char *path,
                              VitroCheckpointFormat format, const VitroDtype *floats,
                              VitroNaming naming, const VitroConfig *cfg, const VitroCard *card);

#endif
