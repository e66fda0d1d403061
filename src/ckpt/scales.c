/* SPDX-License-Identifier: Apache-2.0 */
/* Floats kept as bytes: a tensor "x" of I8 whose companion "x_scale" has a factor for each element
 * of its first dimension. It must not know which tensors are kept so. */
#include "base/alloc.h"
#include "ckpt/format.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

#include <math.h>

#define SUFFIX "_scale"

int64_t vitro_checkpoint_scale_of(const VitroCheckpoint *ckpt, int64_t i)
{
    const VitroTensorInfo *info = &ckpt->tensor[i].info;
    return info->dtype == VITRO_I8 && info->rank ? vitro_ckpt_find_joined(ckpt, info->name, SUFFIX)
                                                 : -1;
}

static VitroStatus check_values(const float *scale, int64_t n, const VitroCheckpoint *ckpt,
                                const char *name)
{
    for (int64_t k = 0; k < n; k++)
        if (!(scale[k] >= 0) || isinf(scale[k]))
            return vitro_fail(
                VITRO_E_FORMAT,
                "%s: tensor \"%s\": element %lld is %g, expected a finite number that "
                "is not negative",
                ckpt->path, name, (long long)k, (double)scale[k]);
    return VITRO_OK;
}

VitroStatus vitro_ckpt_read_scales(float **out, const VitroCheckpoint *ckpt, int64_t i)
{
    const VitroTensorInfo *info = &ckpt->tensor[i].info;
    const int64_t k = vitro_checkpoint_scale_of(ckpt, i);
    char shape[128];
    if (k < 0)
        return vitro_fail(VITRO_E_UNSUPPORTED,
                          "%s: tensor \"%s\" is I8, not a float, and there is no tensor \"%s" SUFFIX
                          "\" with the scales of its rows",
                          ckpt->path, info->name, info->name);
    const VitroTensorInfo *s = &ckpt->tensor[k].info;
    if (s->dtype != VITRO_F32 || s->rank != 1 || s->dim[0] != info->dim[0])
        return vitro_fail(
            VITRO_E_FORMAT,
            "%s: tensor \"%s\" is %s %s, expected F32 [%lld], a scale for each row of "
            "\"%s\"",
            ckpt->path, s->name, vitro_dtype_name(s->dtype),
            vitro_tensor_shape_text(shape, sizeof(shape), s->rank, s->dim), (long long)info->dim[0],
            info->name);
    float *scale = vitro_malloc((size_t)s->count * sizeof(*scale));
    if (!scale)
        return VITRO_NOMEM;
    VitroStatus st = vitro_checkpoint_read_f32(ckpt, k, scale);
    if (st == VITRO_OK)
        st = check_values(scale, s->count, ckpt, s->name);
    if (st == VITRO_OK)
        *out = scale;
    else
        vitro_free(scale);
    return st;
}

VitroStatus vitro_ckpt_read_scaled(const VitroCheckpoint *ckpt, int64_t i, float *out)
{
    const VitroTensorInfo *info = &ckpt->tensor[i].info;
    float *scale;
    VITRO_TRY(vitro_ckpt_read_scales(&scale, ckpt, i));
    /* Else the last quarter of `out`: a byte is read before a float lies there. */
    const int8_t *bytes = vitro_checkpoint_data(ckpt, i);
    VitroStatus st = VITRO_OK;
    if (!bytes && info->count) {
        int8_t *end = (int8_t *)(out + info->count) - info->count;
        st = vitro_checkpoint_read_raw(ckpt, i, end);
        bytes = end;
    }
    const int64_t K = info->count ? info->count / info->dim[0] : 0;
    for (int64_t n = 0; st == VITRO_OK && K && n < info->dim[0]; n++)
        vitro_f32_from_bytes(out + n * K, bytes + n * K, scale[n], K);
    vitro_free(scale);
    return st;
}
