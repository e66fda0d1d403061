/* SPDX-License-Identifier: Apache-2.0 */
/* What a weight file's reader fills in, and the table of readers. A new format is one file that
 * implements a VitroCkptFormat, one row in ckpt.c, one good and one bad golden file. */
#ifndef VITRO_CKPT_FORMAT_H
#define VITRO_CKPT_FORMAT_H

#include "base/fs.h"
#include "ckpt/zip.h"
#include "vitro/checkpoint.h"

/* A tensor as a strided view of one storage. Whoever adds one has checked that every element lies
 * inside the storage: readers trust it. */
typedef struct VitroCkptTensor {
    VitroTensorInfo info;                /* info.name points into `name` */
    char *name;                          /* as in the file; owned */
    const uint8_t *data;                 /* element 0; NULL where count is 0 */
    int64_t stride[VITRO_CKPT_MAX_RANK]; /* in elements, >= 0 */
    bool contiguous;
    int64_t record; /* of the zip, whose checksum covers it; -1: none */
} VitroCkptTensor;

typedef struct VitroCkptFormat VitroCkptFormat;

struct VitroCheckpoint {
    char *path;
    VitroMap map;
    const VitroCkptFormat *format;
    VitroCkptTensor *tensor;
    int64_t count, capacity;
    int64_t *by_name;
    size_t names_size; /* bytes of all names */
    char *metadata;    /* owned; NULL: none */
    VitroZip zip;      /* .npz, .pth in zip form; else zeroed */
    void *json;        /* .safetensors: its __metadata__ (json_t) */
};

struct VitroCkptFormat {
    const char *name;
    bool (*sniff)(const uint8_t *data, size_t size);
    /* Fills tensor, metadata, zip, json from the map. What is held at a failure is freed by
     * vitro_checkpoint_close. */
    VitroStatus (*open)(VitroCheckpoint *ckpt);
    void (*close)(VitroCheckpoint *ckpt);                                      /* optional */
    const char *(*metadata_key)(const VitroCheckpoint *ckpt, const char *key); /* optional */
    VitroStatus (*write)(VitroReplace *file, const char *path, const VitroTensorSource *tensors,
                         int64_t count, const char *metadata);
};

extern const VitroCkptFormat vitro_ckpt_torch, vitro_ckpt_safetensors, vitro_ckpt_npz;

/* Appends a copy of `t` under a name of `name_size` bytes, which must be UTF-8 without NUL.
 * info.name, info.count (from the dims), name, contiguous are computed here. */
VitroStatus vitro_ckpt_add(VitroCheckpoint *ckpt, const VitroCkptTensor *t, const char *name,
                           size_t name_size);

/* The product of the dims, each of which must be >= 0, times the element size fits int64_t. */
VitroStatus vitro_ckpt_count(int64_t *count, const char *name, VitroDtype dtype, int rank,
                             const int64_t *dim);

bool vitro_ckpt_is_utf8(const char *text, size_t size); /* valid, and without NUL */

#endif
