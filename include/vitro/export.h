/* SPDX-License-Identifier: Apache-2.0 */
/* Weights for other programs. */
#ifndef VITRO_EXPORT_H
#define VITRO_EXPORT_H

#include "vitro/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Writes the model of configuration `cfg` with the parameters in `ckpt` as an ONNX file: opset 17;
 * input "images" [batch,C,height,width] float32, `batch` free; output "logits" [batch,K], or
 * "features" where the model has no head; parameters as float32 under their own names. Its metadata
 * has the card ("vitro"), and for readers that do not know it "input_size", and, as far as `card`
 * (NULL: none) has them, "class_names" and the transform: "mean", "std", "interpolation", ... The
 * file appears whole or not at all. Parameters of more than 2000 MiB together, or those of any
 * model where `external`, go into a file of their own, `path` + ".data", which belongs beside it.
 * The bytes are a function of the arguments and, where there is such a file, its name.
 * Errors: as vitro_model_load, strict; VITRO_E_UNSUPPORTED (the build has no protobuf-c; or `cfg`
 * has something that the graph cannot say, which the text names). */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_export_onnx(const VitroCheckpoint *ckpt,
                                                         const char *path, const VitroConfig *cfg,
                                                         const VitroCard *card, bool external);

#ifdef __cplusplus
}
#endif
#endif
