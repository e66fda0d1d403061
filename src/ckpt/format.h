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
typedef struct VitroCkptTensor VitroCkptTensor;
struct VitroCkptTensor {
    VitroTensorInfo info;                /* info.name points into `name` */
    char *name;                          /* as in the file; owned */
    const uint8_t *data;                 /* element 0; NULL where count is 0, or it has parts */
    int64_t stride[VITRO_CKPT_MAX_RANK]; /* in elements, >= 0 */
    bool contiguous;
    int64_t record; /* of the zip, whose checksum covers it; -1: none */
    /* Made by vitro_ckpt_rearrange: its elements are those of the parts, one behind the other.
     * Owned; parts have no parts and no name of their own. */
    VitroCkptTensor *part;
    int64_t part_count; /* 0: a tensor of the file */
    void *memory;       /* owned: where `data` is no part of the file; else NULL */
};

typedef struct VitroCkptFormat VitroCkptFormat;

struct VitroCheckpoint {
    char *path;
    VitroMap map;
    const VitroCkptFormat *format;
    VitroCkptTensor *tensor;
    int64_t count, capacity;
    int64_t *by_name;
    size_t names_size;  /* bytes of all names */
    char *metadata;     /* owned; NULL: none */
    char *training;     /* .pth: see vitro_torch_read_args; owned; NULL: none */
    const char *naming; /* static; NULL: unknown */
    char *remark;       /* owned; what adopt_names left out, or NULL */
    VitroZip zip;       /* .npz, .pth in zip form; else zeroed */
    void *json;         /* .safetensors: its __metadata__ (json_t) */
    /* Of an index: the files that have the tensors, owned, each without a tensor of its own. */
    VitroCheckpoint **shard;
    int shard_count;
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

/* safetensors.c: a .safetensors file whose every byte a checksum covers: a U8 tensor "seal", which
 * is its last, holds the CRC-32 of all before it, little-endian. `notes` are further strings of its
 * __metadata__. `tensors` may not be of one-byte elements. Errors as vitro_checkpoint_write. */
#define VITRO_SEAL_BYTES 4
VitroStatus vitro_sealed_write(const char *path, const VitroTensorSource *tensors, int64_t count,
                               const char *metadata, const VitroNote *notes, int64_t note_count);
/* VITRO_E_FORMAT: torn, altered, or no such file; the text starts with the path. */
VitroStatus vitro_sealed_check(const VitroCheckpoint *ckpt);

/* ckpt.c: what vitro_checkpoint_write asks of its arguments. */
VitroStatus vitro_ckpt_check_sources(const VitroTensorSource *tensors, int64_t count,
                                     const char *metadata);

extern const VitroCkptFormat vitro_ckpt_torch, vitro_ckpt_safetensors, vitro_ckpt_npz;

/* Appends a copy of `t` under a name of `name_size` bytes, which must be UTF-8 without NUL.
 * info.name, info.count (from the dims), name, contiguous are computed here. */
VitroStatus vitro_ckpt_add(VitroCheckpoint *ckpt, const VitroCkptTensor *t, const char *name,
                           size_t name_size);

/* The product of the dims, each of which must be >= 0, times the element size fits int64_t. */
VitroStatus vitro_ckpt_count(int64_t *count, const char *name, VitroDtype dtype, int rank,
                             const int64_t *dim);

/* How a tensor of a new list is made of the file's: each source, or one element of its first
 * dimension, seen in another shape, turned by numpy.transpose(axes), all joined along the first
 * dimension, and that seen in another shape. Of as many elements each time. */
typedef struct VitroCkptSource {
    int64_t index;                 /* of the old list */
    bool is_slice;                 /* only element `slice` of the first dimension */
    int64_t slice;
    int view_rank; /* 0: in its own shape */
    int64_t view[VITRO_CKPT_MAX_RANK];
    int axis_count;                /* 0: not turned; else its rank */
    int axis[VITRO_CKPT_MAX_RANK]; /* a permutation */
} VitroCkptSource;
typedef struct VitroCkptMove {
    const char *name;
    const VitroCkptSource *source;
    int64_t source_count; /* >= 1; all of one dtype */
    int rank;
    int64_t dim[VITRO_CKPT_MAX_RANK];
} VitroCkptMove;

/* Replaces the list of tensors. On failure (memory; two tensors of one name, VITRO_E_FORMAT) the
 * old list stays. */
VitroStatus vitro_ckpt_rearrange(VitroCheckpoint *ckpt, const VitroCkptMove *move, int64_t count);

/* shards.c: fills format, shard and tensor from the index at ckpt->path. Errors start with a path.
 */
VitroStatus vitro_ckpt_open_shards(VitroCheckpoint *ckpt);

/* Tensor i becomes another under its name: float32 in `data`, which is taken over. */
void vitro_ckpt_replace(VitroCheckpoint *ckpt, int64_t i, int rank, const int64_t *dim,
                        float *data);

/* ckpt.c: the order of names; fails where two are equal. The caller frees *out. */
VitroStatus vitro_ckpt_index_names(int64_t **out, const VitroCkptTensor *tensor, int64_t count);
void vitro_ckpt_free_tensors(VitroCkptTensor *tensor, int64_t count);
bool vitro_ckpt_is_contiguous(const VitroCkptTensor *t);

/* Tensor i will not be read soon: its pages leave the process (see vitro_map_forget). What was
 * inflated stays where it is. Nothing but speed and memory depends on it. */
void vitro_ckpt_forget(const VitroCheckpoint *ckpt, int64_t i);

/* The tensor whose name is `name` and `end` together, or -1. */
int64_t vitro_ckpt_find_joined(const VitroCheckpoint *ckpt, const char *name, const char *end);

/* scales.c: the scales of tensor i, which is I8: one for each element of dim[0], finite and not
 * negative; the caller frees *out (vitro_free). Errors, which start with the path: there are none
 * (VITRO_E_UNSUPPORTED), or others than that (VITRO_E_FORMAT). */
VitroStatus vitro_ckpt_read_scales(float **out, const VitroCheckpoint *ckpt, int64_t i);
/* vitro_checkpoint_read_f32 of such a tensor. */
VitroStatus vitro_ckpt_read_scaled(const VitroCheckpoint *ckpt, int64_t i, float *out);

bool vitro_ckpt_is_utf8(const char *text, size_t size); /* valid, and without NUL */

#endif
