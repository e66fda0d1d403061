/* SPDX-License-Identifier: Apache-2.0 */
/* Weights in several files become one, so that nobody else has to know of shards. */
#include "base/alloc.h"
#include "hub/hub_int.h"
#include "vitro/checkpoint.h"

#include <string.h>

/* Adds a file's tensors; what does not lie in it as it is to be written is copied. */
static VitroStatus add_tensors(VitroTensorSource *tensor, void **owned, int64_t *count,
                               const VitroCheckpoint *ckpt)
{
    for (int64_t i = 0; i < vitro_checkpoint_count(ckpt); i++, ++*count) {
        const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, i);
        VitroTensorSource *t = &tensor[*count];
        *t = (VitroTensorSource){.name = info->name, .dtype = info->dtype, .rank = info->rank};
        memcpy(t->dim, info->dim, sizeof(t->dim));
        t->data = vitro_checkpoint_data(ckpt, i);
        if (t->data)
            continue;
        t->data = owned[*count] = vitro_malloc((size_t)info->count * vitro_dtype_size(info->dtype));
        if (!t->data)
            return VITRO_NOMEM;
        VITRO_TRY(vitro_checkpoint_read_raw(ckpt, i, owned[*count]));
    }
    return VITRO_OK;
}

VitroStatus vitro_hub_join(const char *out, const char *const *paths, int count)
{
    int64_t total = 0, added = 0;
    VitroTensorSource *tensor = NULL;
    void **owned = NULL;
    VitroStatus st = VITRO_E_NOMEM;
    VitroCheckpoint **ckpt = vitro_calloc((size_t)count, sizeof(*ckpt));
    if (!ckpt)
        return VITRO_NOMEM;
    for (int i = 0; i < count; i++) {
        VITRO_GOTO(vitro_checkpoint_open(&ckpt[i], paths[i]));
        total += vitro_checkpoint_count(ckpt[i]);
    }
    st = VITRO_E_NOMEM;
    tensor = vitro_calloc((size_t)total, sizeof(*tensor));
    owned = vitro_calloc((size_t)total, sizeof(*owned));
    if (!tensor || !owned)
        goto done;
    for (int i = 0; i < count; i++)
        VITRO_GOTO(add_tensors(tensor, owned, &added, ckpt[i]));
    st = vitro_checkpoint_write(out, VITRO_FORMAT_SAFETENSORS, tensor, total, NULL);
done:
    for (int64_t i = 0; owned && i < total; i++)
        vitro_free(owned[i]);
    vitro_free(owned);
    vitro_free(tensor);
    for (int i = 0; i < count; i++)
        vitro_checkpoint_close(ckpt[i]);
    vitro_free(ckpt);
    return st;
}
