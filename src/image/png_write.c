/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures to PNG: 8-bit grey or RGB and nothing else inside, so that equal pixels give equal
 * bytes. */
#include "image/decode.h"

#include "base/alloc.h"
#include "base/fs.h"

#include <string.h>

#include <png.h>

VitroStatus vitro_png_encode(uint8_t **out, size_t *size, const VitroImage *image)
{
    png_image png;
    memset(&png, 0, sizeof(png));
    png.version = PNG_IMAGE_VERSION;
    png.width = (png_uint_32)image->width;
    png.height = (png_uint_32)image->height;
    png.format = image->channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    size_t limit = PNG_IMAGE_PNG_SIZE_MAX(png), used = limit;
    uint8_t *data = vitro_malloc(limit);
    if (!data)
        return VITRO_NOMEM;
    if (!png_image_write_to_memory(&png, data, &used, 0, image->pixels, 0, NULL)) {
        vitro_free(data);
        return vitro_fail(VITRO_E_NOMEM, "PNG: %s", png.message);
    }
    *out = data;
    *size = used;
    return VITRO_OK;
}

VitroStatus vitro_image_write_png(const char *path, const VitroImage *image)
{
    uint8_t *data;
    size_t size;
    VITRO_TRY(vitro_png_encode(&data, &size, image));
    VitroStatus st = vitro_fs_replace(path, data, size);
    vitro_free(data);
    return st;
}
