/* SPDX-License-Identifier: Apache-2.0 */
/* Tells the formats apart by their first bytes and hands the picture to its codec. Knows no format
 * beyond its signature. */
#include "image/decode.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fs.h"

#include <string.h>

/* An uncompressed picture of VITRO_MAX_PIXELS pixels of 48 bits fits; endless input does not. */
#define MAX_FILE_BYTES ((size_t)5 << 28)

typedef VitroStatus (*DecodeFn)(VitroImage *out, VitroEncoded *in);

typedef struct Signature {
    const char *format;
    size_t offset, length;
    const char *bytes;
    DecodeFn decode; /* NULL: known, but not read by this library */
} Signature;

#define SIGNATURE(format, offset, bytes, decode)                                                   \
    {                                                                                              \
        format, offset, sizeof(bytes) - 1, bytes, decode                                           \
    }

static const Signature signatures[] = {
    SIGNATURE("JPEG", 0, "\xFF\xD8\xFF", vitro_jpeg_decode),
    SIGNATURE("PNG", 0, "\x89PNG\r\n\x1A\n", vitro_png_decode),
    SIGNATURE("WebP", 8, "WEBPVP8 ", vitro_webp_decode),
    SIGNATURE("WebP", 8, "WEBPVP8L", vitro_webp_decode),
    SIGNATURE("WebP", 8, "WEBPVP8X", vitro_webp_decode),
    SIGNATURE("BMP", 0, "BM", vitro_bmp_decode),
    SIGNATURE("PBM", 0, "P1", vitro_pnm_decode),
    SIGNATURE("PGM", 0, "P2", vitro_pnm_decode),
    SIGNATURE("PPM", 0, "P3", vitro_pnm_decode),
    SIGNATURE("PBM", 0, "P4", vitro_pnm_decode),
    SIGNATURE("PGM", 0, "P5", vitro_pnm_decode),
    SIGNATURE("PPM", 0, "P6", vitro_pnm_decode),
    SIGNATURE("PAM", 0, "P7\n", NULL),
    SIGNATURE("PFM", 0, "PF\n", NULL),
    SIGNATURE("GIF", 0, "GIF8", NULL),
    SIGNATURE("TIFF", 0, "II*\0", NULL),
    SIGNATURE("TIFF", 0, "MM\0*", NULL),
    SIGNATURE("BigTIFF", 0, "II+\0", NULL),
    SIGNATURE("BigTIFF", 0, "MM\0+", NULL),
    SIGNATURE("JPEG 2000", 0, "\0\0\0\x0CjP  \r\n", NULL),
    SIGNATURE("JPEG 2000", 0, "\xFF\x4F\xFF\x51", NULL),
    SIGNATURE("JPEG XL", 0, "\0\0\0\x0CJXL ", NULL),
    SIGNATURE("JPEG XL", 0, "\xFF\x0A", NULL),
    SIGNATURE("AVIF", 4, "ftypavi", NULL),
    SIGNATURE("HEIF", 4, "ftyphe", NULL),
    SIGNATURE("HEIF", 4, "ftypmif1", NULL),
    SIGNATURE("ICO", 0, "\0\0\1\0", NULL),
    SIGNATURE("CUR", 0, "\0\0\2\0", NULL),
    SIGNATURE("PSD", 0, "8BPS", NULL),
    SIGNATURE("DDS", 0, "DDS ", NULL),
    SIGNATURE("QOI", 0, "qoif", NULL),
    SIGNATURE("OpenEXR", 0, "\x76\x2F\x31\x01", NULL),
    SIGNATURE("Radiance HDR", 0, "#?RADIANCE", NULL),
    SIGNATURE("farbfeld", 0, "farbfeld", NULL),
    SIGNATURE("MNG", 0, "\x8AMNG\r\n\x1A\n", NULL),
    SIGNATURE("SVG", 0, "<svg", NULL),
    SIGNATURE("XML or SVG", 0, "<?xml", NULL),
    SIGNATURE("HTML", 0, "<!DOCTYPE", NULL),
    SIGNATURE("HTML", 0, "<html", NULL),
    SIGNATURE("PDF", 0, "%PDF", NULL),
    SIGNATURE("gzip", 0, "\x1F\x8B", NULL),
    SIGNATURE("zip", 0, "PK\3\4", NULL),
};

static const Signature *find_signature(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < sizeof(signatures) / sizeof(signatures[0]); i++) {
        const Signature *s = &signatures[i];
        if (size >= s->offset + s->length && !memcmp(data + s->offset, s->bytes, s->length))
            return s;
    }
    return NULL;
}

static VitroStatus decode(VitroImage *out, VitroEncoded *in, bool exif)
{
    if (in->size == 0)
        return vitro_fail(VITRO_E_FORMAT, "empty file, a picture was expected");
    const Signature *s = find_signature(in->data, in->size);
    if (!s)
        return vitro_fail(VITRO_E_FORMAT,
                          "not a picture: its first bytes are none of JPEG, PNG, WebP, BMP, PPM, "
                          "PGM or PBM");
    if (!s->decode)
        return vitro_fail(VITRO_E_UNSUPPORTED,
                          "%s is not supported; use JPEG, PNG, WebP, BMP, PPM or PGM", s->format);
    VitroImage image = {0};
    VitroStatus st = s->decode(&image, in);
    if (st != VITRO_OK)
        return vitro_fail_prefix(st, "%s", s->format);
    if (exif)
        st = vitro_image_orient(&image, in->orientation);
    if (st != VITRO_OK) {
        vitro_image_deinit(&image);
        return st;
    }
    *out = image;
    return VITRO_OK;
}

VitroStatus vitro_image_decode(VitroImage *out, const void *data, size_t size, const char *name,
                               int channels, bool exif)
{
    if (channels != 1 && channels != 3)
        return vitro_fail(VITRO_E_ARG, "%d channels asked for, 1 or 3 expected", channels);
    VitroEncoded in = {.data = data, .size = size, .channels = channels, .orientation = 1};
    VitroStatus st = decode(out, &in, exif);
    return st == VITRO_OK ? st : vitro_fail_prefix(st, "%s", name);
}

VitroStatus vitro_image_read(VitroImage *out, const char *path, int channels, bool exif)
{
    VitroBuf file;
    vitro_buf_init(&file, MAX_FILE_BYTES);
    VitroStatus st = vitro_fs_read(&file, path);
    if (st == VITRO_OK)
        st = vitro_image_decode(out, file.data, file.len,
                                strcmp(path, "-") == 0 ? "standard input" : path, channels, exif);
    vitro_buf_deinit(&file);
    return st;
}
