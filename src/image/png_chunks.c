/* SPDX-License-Identifier: Apache-2.0 */
/* Walks the chunks of a PNG file down to its IEND: every check sum must be right and every known
 * chunk long enough. Pillow 9.4 verifies no check sum from the picture data on and misses no IEND;
 * here a file that its own format shows to be damaged does not pass. */
#include "image/png_chunks.h"

#include "image/decode.h"

#include <string.h>

#include <zlib.h>

#define SIGNATURE_SIZE 8

typedef struct Chunk {
    char type[5];
    const uint8_t *data;
    uint32_t size;
    size_t next; /* offset of the chunk after it */
} Chunk;

typedef struct Scan {
    VitroPngFile file;
    VitroPngInfo *info;
    VitroPngText text;
    bool animated, has_sequence;
    uint32_t sequence;
} Scan;

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* A letter, digit or underscore: what Pillow takes for a chunk's name. */
static bool is_word(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Type and length of the chunk at `at`; `data` and `next` may lie beyond the file. */
static bool chunk_header(Chunk *c, VitroPngFile file, size_t at)
{
    if (at > file.size || file.size - at < 8)
        return false;
    const uint8_t *p = file.data + at;
    for (int i = 4; i < 8; i++)
        if (!is_word(p[i]))
            return false;
    c->size = get32(p);
    memcpy(c->type, p + 4, 4);
    c->type[4] = 0;
    c->data = p + 8;
    c->next = at + 12 + c->size;
    return true;
}

static bool is(const Chunk *c, const char *type)
{
    return memcmp(c->type, type, 4) == 0;
}

static VitroStatus check_crc(const Chunk *c, VitroPngFile file)
{
    if (c->next > file.size)
        return vitro_fail(VITRO_E_FORMAT, "the file is truncated in chunk %s", c->type);
    const uint8_t *end = c->data + c->size;
    uLong crc = crc32_z(0, c->data - 4, (size_t)c->size + 4);
    if (crc != get32(end))
        return vitro_fail(VITRO_E_FORMAT, "chunk %s is damaged: its check sum is %08x, not %08x",
                          c->type, (unsigned)crc, (unsigned)get32(end));
    return VITRO_OK;
}

static VitroStatus read_ihdr(Scan *s, const Chunk *c)
{
    VitroPngInfo *info = s->info;
    if (c->data[11])
        return vitro_fail(VITRO_E_UNSUPPORTED, "filter method %d, 0 expected", c->data[11]);
    info->width = get32(c->data);
    info->height = get32(c->data + 4);
    info->depth = c->data[8];
    info->color = c->data[9];
    info->interlaced = c->data[12] != 0;
    return VITRO_OK;
}

static VitroStatus read_fctl(Scan *s, const Chunk *c)
{
    VitroPngInfo *info = s->info;
    uint32_t sequence = get32(c->data);
    if (sequence != (s->has_sequence ? s->sequence + 1 : 0))
        return vitro_fail(VITRO_E_FORMAT, "animation frames out of sequence");
    s->has_sequence = true;
    s->sequence = sequence;
    uint32_t w = get32(c->data + 4), h = get32(c->data + 8);
    uint32_t x = get32(c->data + 12), y = get32(c->data + 16);
    if (w == 0 || h == 0 || (uint64_t)x + w > info->width || (uint64_t)y + h > info->height)
        return vitro_fail(VITRO_E_FORMAT, "animation frame %u x %u at (%u,%u) leaves %u x %u", w, h,
                          x, y, info->width, info->height);
    if (!info->first_idat) {
        info->frame_x = x, info->frame_y = y;
        info->frame_width = w, info->frame_height = h;
    }
    return VITRO_OK;
}

/* Bytes that Pillow reads from a tRNS chunk of this picture. */
static uint32_t trns_minimum(const VitroPngInfo *info)
{
    return info->color == VITRO_PNG_GREY                      ? 2
           : info->color == VITRO_PNG_RGB && info->depth == 8 ? 6
                                                              : 0;
}

static uint32_t minimum_size(const Scan *s, const Chunk *c)
{
    static const struct {
        const char *type;
        uint32_t size;
    } table[] = {{"IHDR", 13}, {"gAMA", 4}, {"sRGB", 1}, {"pHYs", 9}, {"acTL", 8}, {"fcTL", 26}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (is(c, table[i].type))
            return table[i].size;
    return is(c, "tRNS") ? trns_minimum(s->info) : 0;
}

/* Any chunk but IDAT and IEND, whole in the file. */
static VitroStatus read_chunk(Scan *s, const Chunk *c)
{
    VitroPngInfo *info = s->info;
    uint32_t minimum = minimum_size(s, c);
    if (c->size < minimum)
        return vitro_fail(VITRO_E_FORMAT, "chunk %s has %u bytes, at least %u expected", c->type,
                          c->size, minimum);
    if (is(c, "IHDR"))
        return info->first_idat ? VITRO_OK : read_ihdr(s, c);
    if (is(c, "PLTE") && info->color == VITRO_PNG_PALETTE && !info->first_idat) {
        if (c->size / 3 > 256)
            return vitro_fail(VITRO_E_FORMAT, "%u palette entries, at most 256 expected",
                              c->size / 3);
        info->palette = c->data;
        info->palette_size = c->size;
    } else if (is(c, "cHRM") && c->size % 4) {
        return vitro_fail(VITRO_E_FORMAT, "chunk cHRM has %u bytes, a multiple of 4 expected",
                          c->size);
    } else if (is(c, "acTL")) {
        s->animated = get32(c->data) > 1;
    } else if (is(c, "fcTL")) {
        return read_fctl(s, c);
    } else if (is(c, "eXIf")) {
        s->text.from_exif = vitro_exif_orientation(c->data, c->size);
    }
    return vitro_png_text(&s->text, c->type, c->data, c->size);
}

static VitroStatus check_kind(const VitroPngInfo *info)
{
    static const uint8_t depths[7] = {/* bit n: depth 2^n, by colour type */
                                      [0] = 1 | 2 | 4 | 8 | 16,
                                      [2] = 8 | 16,
                                      [3] = 1 | 2 | 4 | 8,
                                      [4] = 8 | 16,
                                      [6] = 8 | 16};
    bool power = info->depth > 0 && info->depth <= 16 && !(info->depth & (info->depth - 1));
    if (info->color > 6 || !power || !(depths[info->color] & info->depth))
        return vitro_fail(VITRO_E_FORMAT, "no header, or colour type %d with %d bits in it",
                          info->color, info->depth);
    return vitro_image_check_size(info->width, info->height);
}

/* Up to the first IDAT. */
static VitroStatus scan_head(Scan *s)
{
    for (size_t at = SIGNATURE_SIZE;;) {
        Chunk c;
        if (!chunk_header(&c, s->file, at))
            return vitro_fail(VITRO_E_FORMAT,
                              "the file is truncated, or no chunk begins at byte %zu", at);
        if (is(&c, "IDAT")) {
            s->info->first_idat = at;
            return check_kind(s->info);
        }
        if (is(&c, "IEND") || is(&c, "fdAT"))
            return vitro_fail(VITRO_E_FORMAT, "chunk %s before any IDAT", c.type);
        VITRO_TRY(check_crc(&c, s->file));
        VITRO_TRY(read_chunk(s, &c));
        at = c.next;
    }
}

static VitroStatus scan_idat(Scan *s, size_t *at)
{
    Chunk c;
    while (chunk_header(&c, s->file, *at) && is(&c, "IDAT")) {
        VITRO_TRY(check_crc(&c, s->file));
        s->info->idat_bytes += c.size;
        *at = c.next;
    }
    return VITRO_OK;
}

/* Down to IEND. Pillow forgives damage behind the pixels; but it shows that the file is not what
 * was written. */
static VitroStatus scan_tail(Scan *s, size_t at)
{
    bool next_frame = false;
    for (;;) {
        Chunk c;
        if (!chunk_header(&c, s->file, at))
            return vitro_fail(VITRO_E_FORMAT, "the file is truncated: no chunk IEND at byte %zu",
                              at);
        VITRO_TRY(check_crc(&c, s->file));
        if (is(&c, "IEND"))
            return VITRO_OK;
        next_frame |= is(&c, "fcTL") && s->animated;
        if (!next_frame && !is(&c, "IDAT") && !is(&c, "fdAT"))
            VITRO_TRY(read_chunk(s, &c));
        at = c.next;
    }
}

VitroStatus vitro_png_scan(VitroPngInfo *info, VitroPngFile file)
{
    *info = (VitroPngInfo){.color = -1};
    Scan s = {.file = file, .info = info};
    VITRO_TRY(scan_head(&s));
    size_t at = info->first_idat;
    VITRO_TRY(scan_idat(&s, &at));
    VITRO_TRY(scan_tail(&s, at));
    if (info->frame_width == 0) {
        info->frame_width = info->width;
        info->frame_height = info->height;
    }
    info->orientation = s.text.from_exif      ? s.text.from_exif
                        : s.text.from_profile ? s.text.from_profile
                                              : s.text.from_xmp;
    return VITRO_OK;
}

bool vitro_png_next_idat(VitroPngFile file, size_t *at, const uint8_t **bytes, size_t *count)
{
    Chunk c;
    if (!chunk_header(&c, file, *at) || !is(&c, "IDAT"))
        return false;
    *bytes = c.data;
    *count = c.size;
    *at = c.next;
    return true;
}
