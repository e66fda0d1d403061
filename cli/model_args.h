/* SPDX-License-Identifier: Apache-2.0 */
/* The options that several commands share, and what they lead to: the model's configuration, the
 * device, the transform, an opened checkpoint, a loaded model.
 *
 *     ModelArgs model = {0};
 *     DeviceArgs device = {0};
 *     TransformArgs transform = {0};
 *     ArgSpec spec = {..., .groups = {..., model_args_group(&model), device_args_group(&device),
 *                                     transform_args_group(&transform)}};
 *     (args_parse)
 *     model_args_resolve(&model, &args)    which fields of VitroConfig were given
 *
 * then one of
 *     model_args_config()                  preset and given fields: a new model
 *     model_file_open()                    a checkpoint: geometry from the file
 *     loaded_model_open()                  the same, with device, model and tensors: ready to run
 */
#ifndef VITRO_CLI_MODEL_ARGS_H
#define VITRO_CLI_MODEL_ARGS_H

#include "device_args.h"
#include "transform_args.h"

/* ---- the model ------------------------------------------------------------------------------ */

enum { WEIGHTS_PATH_BYTES = 4096 };
/* Where *path is no file and the name of a published checkpoint, it becomes the path of that one's
 * weights in the cache, in `room`; CLI_FAILED where the cache has none. */
int weights_resolve(const char **path, char room[WEIGHTS_PATH_BYTES]);

typedef struct ModelArgs {
    const char *model_name; /* NULL or "": not given */
    const char *weights;    /* NULL or "": none */
    char weights_room[WEIGHTS_PATH_BYTES];
    const char *key_map;    /* NULL or "": the naming tells itself */
    VitroConfig config;     /* the fields whose bits are in `given` */
    ArgSize img_size;
    int pos_embed;  /* 0: by the file; else 1 + VitroPosEmbedRule */
    uint32_t given; /* VitroConfigField; written by model_args_resolve */
    bool has_logits;
    bool has_logits_given; /* written by model_args_resolve */
    int act_choice, pool_choice;
    bool class_token, final_norm, proj_bias;
} ModelArgs;

ArgGroup model_args_group(ModelArgs *m);
/* The same without --weights: the file is an operand. */
ArgGroup model_args_group_without_weights(ModelArgs *m);
/* After args_parse: fills `given`, and the preset's fields that a --model-name states about a
 * checkpoint. CLI_USAGE: no such preset, or options that contradict each other. */
int model_args_resolve(ModelArgs *m, const Args *args);
/* The preset (--model-name, else `default_preset`) with the given fields in place: a model that no
 * file describes. `has_logits_default`: 1 or 0 where --has-logits was not given, -1: the preset's
 * own. Validated. */
int model_args_config(const ModelArgs *m, const char *default_preset, int has_logits_default,
                      VitroConfig *out);
bool model_args_has_weights(const ModelArgs *m);
/* The options as they would have to be given for `cfg`. */
void model_args_set(ModelArgs *m, const VitroConfig *cfg);

/* ---- a checkpoint --------------------------------------------------------------------------- */

typedef struct ModelFile {
    VitroCheckpoint *ckpt;
    VitroCard card;
    VitroConfig config; /* the geometry of the file's model, head and pre_logits included */
} ModelFile;

/* Opens `path` and tells the geometry; a guess is noted on stderr. The given fields must agree with
 * the file, except those in `ignore` (VitroConfigField bits: train gives a model another head), and
 * the sizes of picture and patch: the file's are changed to them, and the card's transform with
 * them, which is noted too. On failure nothing is left open. */
int model_file_open(ModelFile *f, const ModelArgs *m, const char *path, uint32_t ignore);
void model_file_close(ModelFile *f);

/* ---- a model, ready to run
 * ------------------------------------------------------------------------------- */

/* A model with its file's tensors on its device, for predict, eval and the like. */
typedef struct LoadedModel {
    VitroDevice *dev;
    ModelFile file;
    VitroModel *model;
    const VitroConfig *config; /* the model's own */
} LoadedModel;

/* Needs --weights. On failure nothing is left open. */
int loaded_model_open(LoadedModel *l, const ModelArgs *m, const DeviceArgs *d);
void loaded_model_close(LoadedModel *l);

#endif
