/* SPDX-License-Identifier: Apache-2.0 */
/* A development tool, not installed: does what each line of standard input asks and prints a check
 * sum, so that a script can compare the image room with Pillow and torchvision in bulk. Lines:
 *   decode CHANNELS EXIF PATH
 *   resize CHANNELS FILTER LEFT TOP WIDTH HEIGHT OUT_WIDTH OUT_HEIGHT PATH
 *   pixels CHANNELS FILTER RULE RESIZE WIDTH HEIGHT PATH
 * Answers "ok WIDTH HEIGHT CRC32" or "fail STATUS TEXT". */
#include "vitro/image.h"

#include <stdio.h>
#include <string.h>

#include <zlib.h>

static void answer(VitroStatus st, VitroImage *image)
{
    if (st == VITRO_OK) {
        size_t n = (size_t)image->width * (size_t)image->height * (size_t)image->channels;
        printf("ok %d %d %08lx\n", image->width, image->height, crc32_z(0, image->pixels, n));
    } else {
        printf("fail %s %s\n", vitro_status_name(st), vitro_last_error());
    }
    fflush(stdout);
    vitro_image_deinit(image);
}

static void do_decode(const char *line)
{
    int channels, exif, at = 0;
    if (sscanf(line, "decode %d %d %n", &channels, &exif, &at) < 2 || !at)
        return;
    VitroImage image = {0};
    VitroStatus st = vitro_image_read(&image, line + at, channels, exif);
    answer(st, &image);
}

static void do_resize(const char *line)
{
    int channels, filter, w, h, at = 0;
    VitroBox b;
    if (sscanf(line, "resize %d %d %d %d %d %d %d %d %n", &channels, &filter, &b.left, &b.top,
               &b.width, &b.height, &w, &h, &at) < 8 ||
        !at)
        return;
    VitroImage image = {0}, out = {0};
    VitroStatus st = vitro_image_read(&image, line + at, channels, false);
    if (st == VITRO_OK)
        st = vitro_image_resize(&out, &image, &b, w, h, (VitroFilter)filter);
    answer(st, &out);
    vitro_image_deinit(&image);
}

static void do_pixels(const char *line)
{
    int channels, filter, rule, resize, w, h, at = 0;
    if (sscanf(line, "pixels %d %d %d %d %d %d %n", &channels, &filter, &rule, &resize, &w, &h,
               &at) < 6 ||
        !at)
        return;
    VitroTransform t = vitro_transform_default(224, 224, channels);
    t.width = w, t.height = h, t.resize_height = t.resize_width = resize;
    t.rule = (VitroResizeRule)rule, t.filter = (VitroFilter)filter;
    VitroImage image = {0}, out = {0};
    VitroStatus st = vitro_image_read(&image, line + at, channels, false);
    if (st == VITRO_OK)
        st = vitro_transform_pixels(&out, &image, &t);
    answer(st, &out);
    vitro_image_deinit(&image);
}

int main(void)
{
    char line[8192];
    while (fgets(line, sizeof(line), stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "decode ", 7) == 0)
            do_decode(line);
        else if (strncmp(line, "resize ", 7) == 0)
            do_resize(line);
        else if (strncmp(line, "pixels ", 7) == 0)
            do_pixels(line);
        else
            printf("fail ? %s\n", line);
    }
    return 0;
}
