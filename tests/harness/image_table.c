/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/image_table.h"

#include <stdio.h>
#include <string.h>

#include <zlib.h>

unsigned image_crc(const VitroImage *image)
{
    size_t n = (size_t)image->width * (size_t)image->height * (size_t)image->channels;
    return (unsigned)crc32_z(0, image->pixels, n);
}

static bool refused(const char *path)
{
    VitroImage image = {0};
    VitroStatus st = vitro_image_read(&image, path, 3, false);
    if (st == VITRO_OK)
        printf("%s: read, but Pillow refuses it\n", path);
    vitro_image_deinit(&image);
    return st == VITRO_E_FORMAT || st == VITRO_E_UNSUPPORTED;
}

static bool matches(const char *path, int width, int height, const unsigned crc[4])
{
    for (int i = 0; i < 4; i++) {
        VitroImage image = {0};
        bool upright = i >= 2, swapped;
        if (vitro_image_read(&image, path, i % 2 ? 1 : 3, upright) != VITRO_OK) {
            printf("refused, but Pillow reads it: %s\n", vitro_last_error());
            return false;
        }
        swapped = upright && image.width == height && image.height == width;
        bool size = swapped || (image.width == width && image.height == height);
        bool same = size && image_crc(&image) == crc[i];
        if (!same)
            printf("%s: %d x %d, check sum %08x of variant %d; Pillow: %d x %d, %08x\n", path,
                   image.width, image.height, image_crc(&image), i, width, height, crc[i]);
        vitro_image_deinit(&image);
        if (!same)
            return false;
    }
    return true;
}

int image_table_check(const char *table, const char *root, int *wrong)
{
    int right = 0;
    char line[1024], name[512], path[1024];
    FILE *f = fopen(table, "r");
    *wrong = f ? 0 : 1;
    while (f && fgets(line, sizeof(line), f)) {
        int w, h;
        unsigned crc[4];
        int n = sscanf(line, "%511s %d %d %x %x %x %x", name, &w, &h, &crc[0], &crc[1], &crc[2],
                       &crc[3]);
        snprintf(path, sizeof(path), "%s/%s", root, name);
        bool ok = n == 7 ? matches(path, w, h, crc) : n == 1 && refused(path);
        right += ok;
        *wrong += !ok;
    }
    if (f)
        fclose(f);
    return right;
}
