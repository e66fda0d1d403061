/* SPDX-License-Identifier: Apache-2.0 */
/* What the zip form and the legacy form of torch.save share: a pickled dict of tensors, whose
 * elements lie in storages that the pickle names by key. */
#ifndef VITRO_CKPT_TORCH_STATE_H
#define VITRO_CKPT_TORCH_STATE_H

#include "base/pickle.h"
#include "ckpt/format.h"

#define VITRO_TORCH_NO_DTYPE ((VitroDtype)-1)

/* ("storage", class, key, location, numel[, view]) */
typedef struct VitroTorchStorageId {
    const char *key; /* a view of the pickle */
    size_t key_size;
    VitroDtype dtype; /* or VITRO_TORCH_NO_DTYPE: untyped, or a type that Vitro lacks */
    size_t item_size; /* bytes; 1 where untyped */
    int64_t bytes;    /* of the whole storage */
    bool untyped;
    int64_t view_at, view_bytes; /* the part that tensors see; old files only, else all of it */
} VitroTorchStorageId;

/* False where the node is no persistent id of a storage that makes sense. */
bool vitro_torch_storage_id(VitroTorchStorageId *id, const VitroPickleNode *n);

/* Where a storage's bytes lie. */
typedef struct VitroTorchStorage {
    const uint8_t *data;
    size_t size;    /* bytes that the file really has */
    int64_t record; /* of the zip; -1: none */
} VitroTorchStorage;

/* Fails where the file has no such storage. */
typedef VitroStatus (*VitroTorchFindFn)(void *context, VitroTorchStorage *out,
                                        const VitroTorchStorageId *id);

/* Adds the tensors of the state dict that `root` is or wraps. */
VitroStatus vitro_torch_read_state(VitroCheckpoint *ckpt, const VitroPickleNode *root,
                                   VitroTorchFindFn find, void *context);

/* The form of torch.save before 1.6: five pickles, then the storages one after another. */
bool vitro_torch_legacy_sniff(const uint8_t *data, size_t size);
VitroStatus vitro_torch_legacy_open(VitroCheckpoint *ckpt);

/* torch_write.c: the zip form. */
VitroStatus vitro_torch_write(VitroReplace *file, const char *path,
                              const VitroTensorSource *tensors, int64_t count,
                              const char *metadata);

/* torch_args.c: the plain values among root's "args" and "arch" as JSON text, {"arch": ..., "args":
 * {...}}; *out stays as it is where there are none. The caller frees it with vitro_free. */
VitroStatus vitro_torch_read_args(char **out, const VitroPickleNode *root);

#endif
