/* SPDX-License-Identifier: Apache-2.0 */
/* A ViT as a graph of ONNX operators. Knows no file. */
#ifndef VITRO_EXPORT_ONNX_VIT_H
#define VITRO_EXPORT_ONNX_VIT_H

#include "export/onnx_graph.h"
#include "vitro/model.h"

/* Adds the input "images" [batch,C,height,width], the operators, and the output "logits" [batch,K],
 * or "features" where the model has no head. The parameters themselves, under their own names, are
 * the caller's to add. What `cfg` asks for and the graph has no operators for: VITRO_E_UNSUPPORTED.
 */
VitroStatus vitro_onnx_add_vit(VitroOnnx *g, const VitroConfig *cfg);

#endif
