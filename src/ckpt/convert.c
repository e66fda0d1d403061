/* SPDX-License-Identifier: Apache-2.0 */
/* From one weight file to another: other container, other float type, the same tensors in the same
 * order. It must not know how any format stores things. */
#include "base/alloc.h"
#include "ckpt/format.h"
#include "tensor/dtype.h"

#include <string.h>

/* Tensors that share or expand a storage are written in full. What that may come to: */
#define MAX_GROWTH 64 /* times the file */
#define SLACK      ((uint64_t)256 << 20)

VitroStatus vitro_checkpoint_format_of(VitroCheckpointFormat *out, const char *path)
{
    static const struct {
        const char *extension;
        VitroCheckpointFormat format;
    } known[] = {{".pth", VITRO_FORMAT_PTH},
                 {".pt", VITRO_FORMAT_PTH},
                 {".bin", VITRO_FORMAT_PTH},
                 {".safetensors", VITRO_FORMAT_SAFETENSORS},
                 {".npz", VITRO_FORMAT_NPZ}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (vitro_path_has_ext(path, known[i].extension)) {
            *out = known[i].format;
            return VITRO_OK;
        }
    }
    return vitro_fail(
        VITRO_E_ARG,
        "%s: its extension names no format: expected .pth, .pt, .bin, .safetensors or "
        ".npz",
        path);
}

/* Tensor i in the type `to`, as a pointer into the file or in new memory, *owned. */
static VitroStatus load(VitroTensorSource *out, void **owned, const VitroCheckpoint *ckpt,
                        int64_t i, VitroDtype to)
{
    const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, i);
    size_t count = (size_t)info->count;
    *out = (VitroTensorSource){.name = info->name, .dtype = to, .rank = info->rank};
    memcpy(out->dim, info->dim, sizeof(out->dim));
    if (to == info->dtype) {
        out->data = vitro_checkpoint_data(ckpt, i);
        if (out->data)
            return VITRO_OK;
        out->data = *owned = vitro_malloc(count * vitro_dtype_size(to));
        return *owned ? vitro_checkpoint_read_raw(ckpt, i, *owned) : VITRO_NOMEM;
    }
    float *values = vitro_malloc(count * sizeof(*values));
    if (!values)
        return VITRO_NOMEM;
    VitroStatus st = vitro_checkpoint_read_f32(ckpt, i, values);
    out->data = *owned = values;
    if (st != VITRO_OK || to == VITRO_F32)
        return st;
    out->data = *owned = vitro_malloc(count * vitro_dtype_size(to));
    st = *owned ? VITRO_OK : VITRO_NOMEM;
    if (st == VITRO_OK)
        vitro_f32_to(*owned, to, values, info->count);
    vitro_free(values);
    return st;
}

static VitroStatus check_size(const VitroCheckpoint *ckpt)
{
    uint64_t total = 0, limit = MAX_GROWTH * (uint64_t)ckpt->map.size + SLACK;
    for (int64_t i = 0; i < ckpt->count && total <= limit; i++)
        total +=
            (uint64_t)ckpt->tensor[i].info.count * vitro_dtype_size(ckpt->tensor[i].info.dtype);
    if (total > limit)
        return vitro_fail(VITRO_E_UNSUPPORTED,
                          "%s: its tensors, written in full, are more than %d times the file",
                          ckpt->path, MAX_GROWTH);
    return VITRO_OK;
}

VitroStatus vitro_checkpoint_convert(const VitroCheckpoint *ckpt, const char *path,
                                     VitroCheckpointFormat format, const VitroDtype *floats,
                                     const char *metadata)
{
    VitroStatus st = VITRO_E_NOMEM;
    int64_t count = ckpt->count, written = 0;
    if (floats && *floats != VITRO_F32 && *floats != VITRO_F16 && *floats != VITRO_BF16)
        return vitro_fail(VITRO_E_ARG, "%s: floats can become F32, F16 or BF16, not %s", path,
                          vitro_dtype_name(*floats));
    VITRO_TRY(check_size(ckpt));
    VitroTensorSource *source = vitro_calloc((size_t)count, sizeof(*source));
    void **owned = vitro_calloc((size_t)count, sizeof(*owned));
    bool *is_scale = vitro_calloc((size_t)count, sizeof(*is_scale));
    if (!source || !owned || !is_scale)
        goto done;
    for (int64_t i = 0; i < count && floats; i++) {
        int64_t k = vitro_checkpoint_scale_of(ckpt, i);
        if (k >= 0)
            is_scale[k] = true;
    }
    for (int64_t i = 0; i < count; i++) {
        VitroDtype dtype = ckpt->tensor[i].info.dtype;
        bool to_float = vitro_dtype_is_float(dtype) || vitro_checkpoint_scale_of(ckpt, i) >= 0;
        if (is_scale[i])
            continue;
        VITRO_GOTO(
            load(&source[written], &owned[written], ckpt, i, floats && to_float ? *floats : dtype));
        written++;
    }
    st =
        vitro_checkpoint_write(path, format, source, written, metadata ? metadata : ckpt->metadata);
done:
    for (int64_t i = 0; owned && i < count; i++)
        vitro_free(owned[i]);
    vitro_free(is_scale);
    vitro_free(owned);
    vitro_free(source);
    return st;
}
