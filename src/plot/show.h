/* SPDX-License-Identifier: Apache-2.0 */
/* The encoders of vitro_show, each into a buffer. */
#ifndef VITRO_PLOT_SHOW_H
#define VITRO_PLOT_SHOW_H

#include "base/buf.h"
#include "vitro/plot.h"

VitroStatus vitro_show_kitty(VitroBuf *out, const VitroImage *image);
VitroStatus vitro_show_sixel(VitroBuf *out, const VitroImage *image);
VitroStatus vitro_show_blocks(VitroBuf *out, const VitroImage *image, bool true_colour);

/* Bytes of pixel (x,y), grey or RGB, as RGB. */
typedef struct VitroRgb {
    uint8_t c[3];
} VitroRgb;

static inline VitroRgb vitro_pixel(const VitroImage *image, int x, int y)
{
    size_t at = ((size_t)y * (size_t)image->width + (size_t)x) * (size_t)image->channels;
    const uint8_t *p = image->pixels + at;
    return image->channels == 3 ? (VitroRgb){{p[0], p[1], p[2]}} : (VitroRgb){{p[0], p[0], p[0]}};
}

/* At most `limit` colours [palette_count] and which of them each pixel has, by median cut. */
typedef struct VitroQuantized {
    VitroRgb palette[256];
    int palette_count;
    uint8_t *index; /* [height,width]; vitro_free it */
} VitroQuantized;
VitroStatus vitro_quantize(VitroQuantized *out, const VitroImage *image, int limit);

#endif
