/* SPDX-License-Identifier: Apache-2.0 */
/* Weight files as containers of named tensors: PyTorch .pth (zip and legacy), .safetensors and
 * NumPy .npz. They know nothing of ViTs; vitro/model.h gives the names a meaning. Files are told
 * apart by their first bytes. Reading never runs code from a file. */
#ifndef VITRO_CHECKPOINT_H
#define VITRO_CHECKPOINT_H

#include "vitro/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The values are pinned. */
typedef enum VitroDtype {
    VITRO_F32 = 0,
    VITRO_F16 = 1,
    VITRO_BF16 = 2,
    VITRO_F64 = 3,
    VITRO_U8 = 4,
    VITRO_I8 = 5,
    VITRO_I16 = 6,
    VITRO_I32 = 7,
    VITRO_I64 = 8,
    VITRO_BOOL = 9
} VitroDtype;

VITRO_API size_t vitro_dtype_size(VitroDtype dtype);      /* bytes */
VITRO_API const char *vitro_dtype_name(VitroDtype dtype); /* "F32", ... as safetensors spells it */
VITRO_API bool vitro_dtype_is_float(VitroDtype dtype);

#define VITRO_CKPT_MAX_RANK 8

typedef struct VitroTensorInfo {
    const char *name; /* borrowed from the checkpoint; wrapper prefixes removed */
    VitroDtype dtype;
    int rank;                         /* 0..VITRO_CKPT_MAX_RANK */
    int64_t dim[VITRO_CKPT_MAX_RANK]; /* each >= 0 */
    int64_t count;                    /* elements */
} VitroTensorInfo;

typedef struct VitroCheckpoint VitroCheckpoint; /* several threads may read one */

/* Opens a file, or a model.safetensors.index.json with the files that it lists beside it, or what
 * of model.safetensors, pytorch_model.bin and such an index is in a folder; validates the
 * structure; the tensors' bytes stay in the mapped file until read, so the file must not be cut
 * short meanwhile. Dicts named state_dict, model_state_dict, model or net, and the prefixes
 * "module.",
 * "_orig_mod." and "model." of all names are looked through. Entries of the outer dict that are no
 * tensors are ignored. Errors: VITRO_E_IO, _FORMAT, _UNSUPPORTED, _NOMEM; texts start with the
 * path. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_checkpoint_open(VitroCheckpoint **out,
                                                             const char *path);
VITRO_API void vitro_checkpoint_close(VitroCheckpoint *ckpt); /* NULL is fine */

VITRO_API const char *vitro_checkpoint_path(const VitroCheckpoint *ckpt);
VITRO_API const char *
vitro_checkpoint_format(const VitroCheckpoint *ckpt); /* "pth" | "safetensors" | "npz" */
VITRO_API int64_t vitro_checkpoint_count(const VitroCheckpoint *ckpt);
/* The i-th tensor, in the file's own order; 0 <= i < count. */
VITRO_API const VitroTensorInfo *vitro_checkpoint_info(const VitroCheckpoint *ckpt, int64_t i);
VITRO_API int64_t vitro_checkpoint_find(const VitroCheckpoint *ckpt, const char *name); /* or -1 */

/* Floats may be kept as bytes: the elements [n,...] of an I8 tensor "x" stand for themselves times
 * element n of the F32 tensor "x_scale". That one's index, or -1: tensor i is not I8, or has none.
 */
VITRO_API int64_t vitro_checkpoint_scale_of(const VitroCheckpoint *ckpt, int64_t i);

/* Tensor i as contiguous float32, `out` of info->count elements (F16/BF16 widen exactly, F64 rounds
 * to nearest, so does I8 times its scale). The record's checksum is verified where the format has
 * one. Errors: VITRO_E_FORMAT (also of scales: wrong shape, negative, not finite),
 * VITRO_E_UNSUPPORTED for a dtype that is no float, or I8 without scales, VITRO_E_NOMEM. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_checkpoint_read_f32(const VitroCheckpoint *ckpt,
                                                                 int64_t i, float *out);
/* Tensor i as contiguous elements of its own dtype, info->count * vitro_dtype_size(dtype) bytes. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_checkpoint_read_raw(const VitroCheckpoint *ckpt,
                                                                 int64_t i, void *out);
/* The tensor's bytes inside the mapped file where they are contiguous there, else NULL. Its
 * checksum is verified by the first call. Aligned to the element size at least, or NULL. */
VITRO_API const void *vitro_checkpoint_data(const VitroCheckpoint *ckpt, int64_t i);

/* What the file says of itself: the text of the record <stem>/vitro.json (.pth) or vitro.json
 * (.npz) or of the `vitro` key of __metadata__ (.safetensors). NULL where absent. Borrowed. */
VITRO_API const char *vitro_checkpoint_metadata(const VitroCheckpoint *ckpt);
/* Any other string of a .safetensors file's __metadata__. NULL where absent. Borrowed. */
VITRO_API const char *vitro_checkpoint_metadata_key(const VitroCheckpoint *ckpt, const char *key);

/* Whose names the tensors had before vitro_checkpoint_adopt_names (vitro/model.h): "timm" (nothing
 * had to be changed), "torchvision", "huggingface", "flax", "key map"; "unknown" if of no known
 * family, or if it was not called. Static storage. */
VITRO_API const char *vitro_checkpoint_naming(const VitroCheckpoint *ckpt);
/* What vitro_checkpoint_adopt_names left out as no part of a model (a decoder, a pooler, ...): one
 * line for people, or NULL. Borrowed. */
VITRO_API const char *vitro_checkpoint_remark(const VitroCheckpoint *ckpt);

/* A string that a file carries under a key; UTF-8. */
typedef struct VitroNote {
    const char *key, *value;
} VitroNote;

/* A tensor to be written: contiguous elements in host memory. */
typedef struct VitroTensorSource {
    const char *name;
    VitroDtype dtype;
    int rank;
    int64_t dim[VITRO_CKPT_MAX_RANK];
    const void *data;
} VitroTensorSource;

typedef enum VitroCheckpointFormat {
    VITRO_FORMAT_PTH = 0, /* zip form of torch.save: an OrderedDict, loads with weights_only */
    VITRO_FORMAT_SAFETENSORS = 1,
    VITRO_FORMAT_NPZ = 2 /* as numpy.savez; bfloat16 as "|V2", which NumPy itself lacks */
} VitroCheckpointFormat;

/* Writes `count` tensors and, if not NULL, `metadata` (JSON text), whole or not at all. The bytes
 * are a function of the arguments and of the file's stem. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_checkpoint_write(const char *path,
                                                              VitroCheckpointFormat format,
                                                              const VitroTensorSource *tensors,
                                                              int64_t count, const char *metadata);

/* The format that the extension of `path` states: .pth, .pt or .bin, .safetensors, .npz in any
 * case. VITRO_E_ARG: another. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_checkpoint_format_of(VitroCheckpointFormat *out,
                                                                  const char *path);

/* Writes the tensors of `ckpt` in its order, and `metadata` (NULL: the checkpoint's own). Elements
 * keep their bits; but where `floats` is not NULL, floats are rounded to *floats (VITRO_F32, _F16
 * or _BF16) as PyTorch's to() does, and so is what is kept as bytes, whose scales are left out.
 * `path` may be the checkpoint's own file. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_checkpoint_convert(const VitroCheckpoint *ckpt,
                                                                const char *path,
                                                                VitroCheckpointFormat format,
                                                                const VitroDtype *floats,
                                                                const char *metadata);

#ifdef __cplusplus
}
#endif
#endif
