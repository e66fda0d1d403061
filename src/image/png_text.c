/* SPDX-License-Identifier: Apache-2.0 */
/* Text and profile chunks of a PNG file: inflated under Pillow 9.4's limits, and searched for the
 * orientation where Pillow looks for it. Knows nothing of the other chunks. */
#include "base/buf.h"
#include "image/decode.h"
#include "image/png_chunks.h"

#include <string.h>

#include <zlib.h>

#define MAX_TEXT_CHUNK  ((size_t)1 << 20)               /* PngImagePlugin.MAX_TEXT_CHUNK */
#define MAX_TEXT_MEMORY (64 * (uint64_t)MAX_TEXT_CHUNK) /* PngImagePlugin.MAX_TEXT_MEMORY */

/* A zlib stream. One that is damaged counts as empty, one that goes beyond the limit is an error.
 */
static VitroStatus inflate_text(VitroBuf *out, const uint8_t *data, size_t size)
{
    z_stream z = {.next_in = (Bytef *)data, .avail_in = (uInt)size};
    if (inflateInit(&z) != Z_OK)
        return vitro_fail(VITRO_E_NOMEM, "no memory for zlib");
    VitroStatus st = VITRO_OK;
    int code = Z_OK;
    while (st == VITRO_OK && code == Z_OK && z.avail_in && out->len < MAX_TEXT_CHUNK) {
        uint8_t part[4096]; /* divides MAX_TEXT_CHUNK */
        z.next_out = part;
        z.avail_out = sizeof(part);
        code = inflate(&z, Z_SYNC_FLUSH);
        st = vitro_buf_append(out, part, sizeof(part) - z.avail_out);
    }
    if (st == VITRO_OK && code == Z_OK && z.avail_in)
        st = vitro_fail(VITRO_E_FORMAT, "compressed text exceeds %zu bytes: a decompression bomb?",
                        MAX_TEXT_CHUNK);
    if (code < 0 && code != Z_BUF_ERROR)
        out->len = 0;
    inflateEnd(&z);
    return st;
}

/* tiff:Orientation="6" or <tiff:Orientation>6, as PIL.Image.getexif looks for it. */
static int xmp_orientation(const uint8_t *text, size_t size)
{
    static const char key[] = "tiff:Orientation";
    const size_t length = sizeof(key) - 1;
    for (const uint8_t *p = text, *end = text + size; (size_t)(end - p) > length + 2; p++) {
        p = memchr(p, 't', (size_t)(end - p) - length - 2);
        if (!p)
            return 0;
        if (memcmp(p, key, length) != 0)
            continue;
        const uint8_t *q = p + length;
        q += *q == '>' ? 1 : memcmp(q, "=\"", 2) == 0 ? 2 : 0;
        if (q > p + length && q < end && *q >= '0' && *q <= '9')
            return *q <= '8' ? *q - '0' : 0;
    }
    return 0;
}

static int hex_digit(int c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

/* ImageMagick's "Raw profile type exif": three lines of heading, then the bytes in hexadecimal. */
static int profile_orientation(const uint8_t *text, size_t size)
{
    const uint8_t *p = text, *end = text + size;
    for (int line = 0; line < 3; line++) {
        p = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
        if (!p)
            return 0;
        p++;
    }
    uint8_t block[1024]; /* the first directory lies at the start */
    size_t n = 0;
    for (int high = -1; p < end && n < sizeof(block); p++) {
        int digit = hex_digit(*p);
        if (digit < 0)
            continue;
        if (high >= 0)
            block[n++] = (uint8_t)(high << 4 | digit);
        high = high >= 0 ? -1 : digit;
    }
    size_t skip = n >= 6 && memcmp(block, "Exif\0\0", 6) == 0 ? 6 : 0;
    return vitro_exif_orientation(block + skip, n - skip);
}

static VitroStatus keep(VitroPngText *t, const uint8_t *key, size_t key_size, const uint8_t *value,
                        size_t size)
{
    static const char profile[] = "Raw profile type exif", xmp[] = "XML:com.adobe.xmp";
    t->memory += size;
    if (t->memory > MAX_TEXT_MEMORY)
        return vitro_fail(VITRO_E_FORMAT, "text chunks exceed %llu bytes",
                          (unsigned long long)MAX_TEXT_MEMORY);
    if (key_size == sizeof(profile) - 1 && memcmp(key, profile, key_size) == 0)
        t->from_profile = profile_orientation(value, size);
    else if (key_size == sizeof(xmp) - 1 && memcmp(key, xmp, key_size) == 0)
        t->from_xmp = xmp_orientation(value, size);
    return VITRO_OK;
}

/* Keyword, flag, method, language, translated keyword, text; zero bytes between. */
static VitroStatus read_itxt(VitroPngText *t, const uint8_t *key, const uint8_t *p,
                             const uint8_t *end, VitroBuf *plain)
{
    size_t key_size = (size_t)(p - key) - 1;
    if (end - p < 2)
        return VITRO_OK;
    bool compressed = p[0] != 0, known = p[1] == 0;
    p += 2;
    for (int field = 0; field < 2; field++) {
        p = p < end ? memchr(p, 0, (size_t)(end - p)) : NULL;
        if (!p)
            return VITRO_OK;
        p++;
    }
    if (!compressed)
        return keep(t, key, key_size, p, (size_t)(end - p));
    if (!known)
        return VITRO_OK;
    VITRO_TRY(inflate_text(plain, p, (size_t)(end - p)));
    return keep(t, key, key_size, plain->data, plain->len);
}

static VitroStatus read_text(VitroPngText *t, const char *type, const uint8_t *data, size_t size,
                             VitroBuf *plain)
{
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    const uint8_t *end = data + size, *value = zero ? zero + 1 : end;
    size_t key_size = zero ? (size_t)(zero - data) : size;
    if (memcmp(type, "tEXt", 4) == 0)
        return keep(t, data, key_size, value, (size_t)(end - value));
    if (memcmp(type, "iTXt", 4) == 0)
        return zero ? read_itxt(t, data, value, end, plain) : VITRO_OK;
    bool is_profile = memcmp(type, "iCCP", 4) == 0;
    if (is_profile && !zero)
        return vitro_fail(VITRO_E_FORMAT, "chunk iCCP has no profile name");
    if (value == end)
        return VITRO_OK;
    if (!is_profile && value[0] != 0)
        return vitro_fail(VITRO_E_FORMAT, "compression method %d in chunk %s, 0 expected", value[0],
                          type);
    VITRO_TRY(inflate_text(plain, value + 1, (size_t)(end - value) - 1));
    return is_profile ? VITRO_OK : keep(t, data, key_size, plain->data, plain->len);
}

VitroStatus vitro_png_text(VitroPngText *text, const char *type, const uint8_t *data, size_t size)
{
    if (!strstr("tEXt zTXt iTXt iCCP", type))
        return VITRO_OK;
    VitroBuf plain;
    vitro_buf_init(&plain, MAX_TEXT_CHUNK);
    VitroStatus st = read_text(text, type, data, size, &plain);
    vitro_buf_deinit(&plain);
    return st;
}
