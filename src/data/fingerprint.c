/* SPDX-License-Identifier: Apache-2.0 */
/* What tells one data set from another, wherever it lies. */
#include "base/alloc.h"
#include "base/md5.h"
#include "data/dataset.h"

#include <string.h>

/* Of sets that hold their pixels in memory, so many pictures are looked at. */
enum { SAMPLES = 64 };

static void add_number(VitroMd5 *m, int64_t v)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)v >> 8 * i);
    vitro_md5_update(m, bytes, sizeof(bytes));
}

static void add_text(VitroMd5 *m, const char *text)
{
    vitro_md5_update(m, text, strlen(text) + 1);
}

static VitroStatus add_pixels(VitroMd5 *m, const VitroDataset *ds)
{
    size_t bytes = (size_t)ds->width * (size_t)ds->height * (size_t)ds->channels;
    uint8_t *pixels = vitro_malloc(bytes);
    if (!pixels)
        return VITRO_NOMEM;
    int64_t samples = ds->count < SAMPLES ? ds->count : SAMPLES;
    for (int64_t k = 0; k < samples; k++) {
        ds->ops->fill(ds, k * ds->count / samples, pixels);
        vitro_md5_update(m, pixels, bytes);
    }
    vitro_free(pixels);
    return VITRO_OK;
}

VitroStatus vitro_dataset_fingerprint(const VitroDataset *ds, char out[VITRO_FINGERPRINT_BYTES])
{
    VitroMd5 m;
    vitro_md5_init(&m);
    add_number(&m, (int64_t)ds->classes.count);
    for (size_t c = 0; c < ds->classes.count; c++)
        add_text(&m, ds->classes.names[c]);
    add_number(&m, ds->count);
    for (int64_t i = 0; i < ds->count; i++) {
        add_number(&m, ds->labels[i]);
        if (ds->ops->short_name)
            add_text(&m, ds->ops->short_name(ds, i));
    }
    if (ds->ops->fill && ds->count)
        VITRO_TRY(add_pixels(&m, ds));
    vitro_md5_final(&m, out);
    return VITRO_OK;
}
