/* SPDX-License-Identifier: Apache-2.0 */
/* Windows and OS/2 bitmaps as Pillow 9.4's BmpImagePlugin reads them: 1, 4, 8, 16, 24 and 32 bits,
 * bit fields, RLE8 and RLE4 (bmp_rle.c), top-down and bottom-up. */
#include "image/bmp.h"

#include "image/decode.h"

#include "base/alloc.h"

#include <string.h>

#define FILE_HEADER_SIZE 14
enum { RAW = 0, RLE8 = 1, RLE4 = 2, BITFIELDS = 3 };

/* How a row's bytes become pixels. */
typedef enum Layout { BITS, PALETTE, GREY, BGR15, BGR16, BYTES } Layout;

typedef struct Header {
    uint32_t size; /* of the header; 12 is OS/2's, with 3-byte palette entries */
    int64_t width, height;
    bool top_down;
    int bits;
    uint32_t compression;
    uint64_t colors;
    uint32_t masks[4]; /* red, green, blue, alpha */
    size_t palette_at, pixels_at;

    Layout layout;
    int depth;      /* bits of a pixel as `layout` reads them */
    uint8_t rgb[3]; /* BYTES: where in the pixel each colour lies */
    int64_t stride; /* bytes from row to row */
    VitroPalette palette;
} Header;

static unsigned get16(const uint8_t *p)
{
    return (unsigned)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) | (uint32_t)get16(p + 2) << 16;
}

static VitroStatus truncated(void)
{
    return vitro_fail(VITRO_E_FORMAT, "the file is truncated");
}

static VitroStatus read_windows(Header *h, const uint8_t *p, const VitroEncoded *in)
{
    h->top_down = p[11] == 0xFF; /* the height is negative */
    h->width = get32(p + 4);
    h->height = h->top_down ? ((int64_t)1 << 32) - get32(p + 8) : get32(p + 8);
    h->bits = (int)get16(p + 14);
    h->compression = get32(p + 16);
    h->colors = get32(p + 32);
    if (h->compression != BITFIELDS)
        return VITRO_OK;
    /* A header of 40 bytes has three masks behind it, a longer one has four inside. */
    int count = h->size == 40 ? 3 : 4;
    if (in->size - FILE_HEADER_SIZE < 40u + 4u * (unsigned)count)
        return truncated();
    for (int i = 0; i < count; i++)
        h->masks[i] = get32(p + 40 + 4 * i);
    if (h->size == 40)
        h->palette_at += 12;
    return VITRO_OK;
}

static VitroStatus read_header(Header *h, const VitroEncoded *in)
{
    if (in->size < FILE_HEADER_SIZE + 4)
        return truncated();
    const uint8_t *p = in->data + FILE_HEADER_SIZE;
    h->pixels_at = get32(in->data + 10);
    h->size = get32(p);
    if (h->size != 12 && h->size != 40 && h->size != 64 && h->size != 108 && h->size != 124)
        return vitro_fail(VITRO_E_UNSUPPORTED,
                          "header of %u bytes, 12, 40, 64, 108 or 124 expected", h->size);
    if (in->size - FILE_HEADER_SIZE < h->size)
        return truncated();
    h->palette_at = FILE_HEADER_SIZE + h->size;
    if (h->size == 12) {
        h->width = get16(p + 4);
        h->height = get16(p + 6);
        h->bits = (int)get16(p + 10);
    } else {
        VITRO_TRY(read_windows(h, p, in));
    }
    if (h->bits != 1 && h->bits != 4 && h->bits != 8 && h->bits != 16 && h->bits != 24 &&
        h->bits != 32)
        return vitro_fail(VITRO_E_UNSUPPORTED, "%d bits per pixel", h->bits);
    if (h->colors == 0)
        h->colors = (uint64_t)1 << h->bits;
    /* Where the pixels claim to follow the header at once, the palette lies between. */
    if (h->pixels_at == FILE_HEADER_SIZE + h->size && h->bits <= 8)
        h->pixels_at += 4 * h->colors;
    h->stride = ((h->width * h->bits + 31) >> 3) & ~(int64_t)3;
    return vitro_image_check_claim(h->width, h->height, in->size);
}

static VitroStatus choose_bitfields(Header *h)
{
    static const struct {
        int bits;
        uint32_t masks[4];
        Layout layout;
        uint8_t rgb[3];
    } known[] = {
        {32, {0xFF0000, 0xFF00, 0xFF, 0}, BYTES, {2, 1, 0}},
        {32, {0xFF0000, 0xFF00, 0xFF, 0xFF000000}, BYTES, {2, 1, 0}},
        {32, {0, 0, 0, 0}, BYTES, {2, 1, 0}},
        {32, {0xFF000000, 0xFF0000, 0xFF00, 0}, BYTES, {3, 2, 1}},
        {32, {0xFF000000, 0xFF0000, 0xFF00, 0xFF}, BYTES, {3, 2, 1}},
        {32, {0xFF, 0xFF00, 0xFF0000, 0xFF000000}, BYTES, {0, 1, 2}},
        {24, {0xFF0000, 0xFF00, 0xFF}, BYTES, {2, 1, 0}},
        {16, {0xF800, 0x7E0, 0x1F}, BGR16, {0}},
        {16, {0x7C00, 0x3E0, 0x1F}, BGR15, {0}},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        size_t compared = (h->bits == 32 ? 4 : 3) * sizeof(uint32_t);
        if (known[i].bits == h->bits && memcmp(known[i].masks, h->masks, compared) == 0) {
            h->layout = known[i].layout;
            memcpy(h->rgb, known[i].rgb, 3);
            return VITRO_OK;
        }
    }
    return vitro_fail(VITRO_E_UNSUPPORTED, "%d bits with the colour masks %08x %08x %08x %08x",
                      h->bits, h->masks[0], h->masks[1], h->masks[2], h->masks[3]);
}

/* Reads the palette. As in Pillow, one of just black and white makes the pixels single bits,
 * whatever the header says of bits per pixel. */
static VitroStatus read_palette(Header *h, const VitroEncoded *in)
{
    size_t entry = h->size == 12 ? 3 : 4;
    if (h->colors > 65536)
        return vitro_fail(VITRO_E_UNSUPPORTED, "%llu palette entries",
                          (unsigned long long)h->colors);
    vitro_palette_init(&h->palette);
    bool grey = true;
    uint64_t read = 0;
    for (; read < h->colors && h->palette_at + entry * (read + 1) <= in->size; read++) {
        const uint8_t *p = in->data + h->palette_at + entry * read;
        uint8_t level = (uint8_t)(h->colors == 2 ? read * 255 : read);
        grey = grey && p[0] == level && p[1] == level && p[2] == level;
        if (read < 256) {
            uint8_t *rgb = h->palette.rgb[read];
            rgb[0] = p[2], rgb[1] = p[1], rgb[2] = p[0];
        }
    }
    grey = grey && read == h->colors;
    if (!grey && read > 256)
        return vitro_fail(VITRO_E_FORMAT, "%llu palette entries, at most 256 expected",
                          (unsigned long long)h->colors);
    h->layout = !grey ? PALETTE : h->colors == 2 ? BITS : h->bits == 8 ? GREY : PALETTE;
    h->depth = h->layout == BITS ? 1 : h->bits;
    if (h->pixels_at == 0)
        h->pixels_at = h->palette_at + entry * (size_t)h->colors;
    return VITRO_OK;
}

static VitroStatus choose_layout(Header *h, const VitroEncoded *in)
{
    if (h->compression > BITFIELDS)
        return vitro_fail(VITRO_E_UNSUPPORTED, "compression %u, 0..3 expected", h->compression);
    h->depth = h->bits;
    h->layout = h->bits == 16 ? BGR15 : BYTES;
    memcpy(h->rgb, "\2\1\0", 3);
    if (h->compression == BITFIELDS)
        VITRO_TRY(choose_bitfields(h));
    if (h->bits <= 8)
        return read_palette(h, in);
    if (h->pixels_at == 0)
        h->pixels_at = h->palette_at;
    return VITRO_OK;
}

/* One row to `index` (grey levels, palette indices) or `rgb`. */
static void unpack_row(const Header *h, uint8_t *row, const uint8_t *p)
{
    for (int64_t x = 0; x < h->width; x++) {
        uint8_t *rgb = row + 3 * x;
        unsigned v;
        switch (h->layout) {
        case BITS:
            row[x] = p[x / 8] >> (7 - x % 8) & 1 ? 255 : 0;
            break;
        case GREY:
            row[x] = p[x];
            break;
        case PALETTE:
            v = (unsigned)(x * h->depth);
            row[x] = (uint8_t)(p[v / 8] >> (8 - h->depth - (int)(v % 8)) & ((1 << h->depth) - 1));
            break;
        case BGR15:
            v = get16(p + 2 * x);
            rgb[0] = (uint8_t)((v >> 10 & 31) * 255 / 31);
            rgb[1] = (uint8_t)((v >> 5 & 31) * 255 / 31);
            rgb[2] = (uint8_t)((v & 31) * 255 / 31);
            break;
        case BGR16:
            v = get16(p + 2 * x);
            rgb[0] = (uint8_t)((v >> 11) * 255 / 31);
            rgb[1] = (uint8_t)((v >> 5 & 63) * 255 / 63);
            rgb[2] = (uint8_t)((v & 31) * 255 / 31);
            break;
        case BYTES:
            for (int c = 0; c < 3; c++)
                rgb[c] = p[x * (h->depth / 8) + h->rgb[c]];
            break;
        }
    }
}

static void convert_row(const Header *h, VitroImage *image, int y, const uint8_t *row)
{
    uint8_t *dst = vitro_image_row(image, h->top_down ? y : image->height - 1 - y);
    if (h->layout == PALETTE)
        vitro_row_from_palette(dst, image->channels, &h->palette, row, image->width);
    else if (h->layout == BITS || h->layout == GREY)
        vitro_row_from_grey(dst, image->channels, row, image->width);
    else
        vitro_row_from_rgb(dst, image->channels, row, image->width);
}

static VitroStatus read_raw(VitroImage *image, const Header *h, const VitroEncoded *in)
{
    int64_t row_bytes = (h->width * h->depth + 7) / 8;
    uint64_t need =
        h->pixels_at + (uint64_t)h->stride * (uint64_t)(h->height - 1) + (uint64_t)row_bytes;
    if (need > in->size)
        return vitro_fail(VITRO_E_FORMAT, "truncated: %zu bytes, at least %llu expected", in->size,
                          (unsigned long long)need);
    uint8_t *row = vitro_malloc((size_t)h->width * 3);
    VitroStatus st =
        row ? vitro_image_alloc(image, h->width, h->height, in->channels) : VITRO_NOMEM;
    for (int y = 0; st == VITRO_OK && y < image->height; y++) {
        unpack_row(h, row, in->data + h->pixels_at + (size_t)h->stride * (size_t)y);
        convert_row(h, image, y, row);
    }
    vitro_free(row);
    return st;
}

static VitroStatus read_rle(VitroImage *image, const Header *h, const VitroEncoded *in)
{
    if (h->layout != PALETTE && h->layout != GREY)
        return vitro_fail(VITRO_E_UNSUPPORTED, "run lengths with %d bits per pixel and no palette",
                          h->bits);
    VitroBmpRle rle = {.data = in->data,
                       .size = in->size,
                       .at = h->pixels_at,
                       .width = (size_t)h->width,
                       .count = (size_t)(h->width * h->height),
                       .four_bits = h->compression == RLE4};
    uint8_t *index = vitro_malloc(rle.count);
    if (!index)
        return VITRO_NOMEM;
    VitroStatus st = vitro_bmp_rle_decode(index, &rle);
    if (st == VITRO_OK)
        st = vitro_image_alloc(image, h->width, h->height, in->channels);
    for (int y = 0; st == VITRO_OK && y < image->height; y++)
        convert_row(h, image, y, index + rle.width * (size_t)y);
    vitro_free(index);
    return st;
}

VitroStatus vitro_bmp_decode(VitroImage *out, VitroEncoded *in)
{
    Header h = {0};
    VITRO_TRY(read_header(&h, in));
    VITRO_TRY(choose_layout(&h, in));
    VitroImage image = {0};
    bool rle = h.compression == RLE8 || h.compression == RLE4;
    VITRO_TRY(rle ? read_rle(&image, &h, in) : read_raw(&image, &h, in));
    *out = image;
    return VITRO_OK;
}
