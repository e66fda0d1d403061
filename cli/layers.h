/* SPDX-License-Identifier: Apache-2.0 */
/* The layer table of `vitro summary`: collected once, written as text or JSON. Knows neither
 * options nor files. */
#ifndef VITRO_CLI_LAYERS_H
#define VITRO_CLI_LAYERS_H

#include "report.h"

typedef struct Layer {
    char name[40];
    VitroLayerInfo info; /* its name is not used: it is gone */
} Layer;

typedef struct LayerTable {
    Layer *layers;
    int64_t count, room;
    int element_bytes; /* of parameters and activations */
} LayerTable;

/* All layers of `cfg` at `batch` images. End with layers_deinit, on failure too. */
int layers_of_model(LayerTable *t, const VitroConfig *cfg, int64_t batch, int element_bytes);
/* A VitroLayerFn that appends; `user` is the table. */
void layers_add(void *user, const VitroLayerInfo *info);
void layers_deinit(LayerTable *t);

int64_t flops_products(VitroFlops f); /* without LayerNorm */
int64_t flops_total(VitroFlops f);
VitroFlops layers_flops(const LayerTable *t);
int64_t layers_params(const LayerTable *t);

/* The table with a header. Equal blocks are one line with their sum and the layers of one block
 * under it, unless `every_block`. */
void layers_print(const LayerTable *t, bool every_block);
/* "patch_embed 115605504, blocks 17466312960, ..." without a newline */
void layers_print_modules(const LayerTable *t);
/* "modules": [{...}, ...], "flops_by_module": {"": ..., "patch_embed": ..., ...} */
void layers_print_json(const LayerTable *t);

#endif
