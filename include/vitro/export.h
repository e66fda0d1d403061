/* SPDX-License-Identifier: Apache-2.0 */
/* Weights for other programs. */
#ifndef VITRO_EXPORT_H
#define VITRO_EXPORT_H

#include "vitro/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whose names a file's tensors get. The values are pinned. */
typedef enum VitroNaming {
    VITRO_NAMES_VITRO = 0, /* this library's own, the original's */
    VITRO_NAMES_TIMM = 1,  /* the same; with a config.json */
    VITRO_NAMES_HUGGINGFACE =
        2, /* ViTForImageClassification's; config.json, preprocessor_config.json
            */
    VITRO_NAMES_TORCHVISION = 3 /* torchvision.models.VisionTransformer's */
} VitroNaming;

/* Writes the tensors of the model `cfg` (whose names in `ckpt` are this library's) under the names
 * of `naming`, q, k and v apart where these have them apart, and the card as metadata. `floats`: as
 * for vitro_checkpoint_convert. Beside `path` come the JSON files that the other library reads,
 * with the geometry, and from `card` (NULL: none) class names and transform; names that are missing
 * become LABEL_<i>, a transform that is missing vitro_transform_default's. The files replace those
 * of an earlier export to `path`; VITRO_E_ARG: there is a config.json, and no `path` that it could
 * belong to. Errors: as vitro_model_load, strict; VITRO_E_UNSUPPORTED (the other library has no
 * place for something, which the text names), VITRO_E_IO, _NOMEM. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_export_weights(
    const VitroCheckpoint *ckpt, const char *path, VitroCheckpointFormat format,
    const VitroDtype *floats, VitroNaming naming, const VitroConfig *cfg, const VitroCard *card);

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
