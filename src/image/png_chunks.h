/* SPDX-License-Identifier: Apache-2.0 */
/* The chunks of a PNG file, judged as strictly as Pillow 9.4's PngImagePlugin judges them. Knows
 * nothing of pixels: libpng does that in png.c. */
#ifndef VITRO_IMAGE_PNG_CHUNKS_H
#define VITRO_IMAGE_PNG_CHUNKS_H

#include "base/status.h"

typedef struct VitroPngFile {
    const uint8_t *data;
    size_t size;
} VitroPngFile;

/* What stands before, and in metadata after, the picture data. */
typedef struct VitroPngInfo {
    uint32_t width, height;
    int depth, color; /* as in IHDR; a valid pair */
    bool interlaced;
    const uint8_t *palette; /* PLTE's bytes (borrowed), or NULL */
    size_t palette_size;
    uint32_t frame_x, frame_y, frame_width, frame_height; /* where an APNG's first frame lies */
    size_t first_idat;                                    /* offset of that chunk */
    uint64_t idat_bytes;                                  /* compressed picture data there is */
    int orientation;                                      /* EXIF 1..8, 0 where none is told */
} VitroPngInfo;

enum { VITRO_PNG_GREY = 0, VITRO_PNG_RGB = 2, VITRO_PNG_PALETTE = 3 }; /* of `color` */

VitroStatus vitro_png_scan(VitroPngInfo *info, VitroPngFile file);

/* Steps through the run of IDAT chunks: *at starts as first_idat; false at its end. */
bool vitro_png_next_idat(VitroPngFile file, size_t *at, const uint8_t **bytes, size_t *count);

/* Metadata, png_text.c. Text of one file may take this much memory in Pillow. */
typedef struct VitroPngText {
    uint64_t memory;                       /* bytes of text so far */
    int from_exif, from_profile, from_xmp; /* orientation as each source tells it; 0: it does not */
} VitroPngText;

/* tEXt, zTXt, iTXt or iCCP: fails where Pillow refuses the file for it. */
VitroStatus vitro_png_text(VitroPngText *text, const char *type, const uint8_t *data, size_t size);

#endif
