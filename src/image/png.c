/* SPDX-License-Identifier: Apache-2.0 */
/* PNG through libpng. libpng sees only what makes pixels: a header, a dummy palette and the IDAT
 * data that png_chunks.c vouched for; so no metadata can trouble it, and gAMA, tRNS and iCCP change
 * no pixel, as in Pillow. Depth 16 keeps its high byte. */
#include "image/decode.h"
#include "image/png_chunks.h"

#include "base/alloc.h"

#include <string.h>

#include <png.h>

#define MAX_DEFLATE_RATIO 1032 /* a stream of deflate cannot grow by more */
#define PREFIX_SIZE       (8 + 25 + 12 + 768 + 8)

/* The file as libpng is to see it. */
typedef struct Stream {
    VitroPngFile file;
    size_t next_idat; /* offset in the file */
    uint8_t prefix[PREFIX_SIZE];
    const uint8_t *head, *body; /* what comes next: first the rest of `prefix`, then chunk data */
    size_t head_left, body_left;
    bool ended;
} Stream;

typedef struct Decoder {
    png_structp png;
    png_infop png_info;
    VitroPngInfo info;
    VitroPalette palette;
    Stream stream;
    VitroStatus status;
    VitroImage image;
    size_t row_bytes;
    uint8_t *raster; /* one row, or all where the picture is interlaced */
    uint8_t *blank;  /* a row of zero pixels, for what an APNG's first frame leaves free */
} Decoder;

/* libpng has delivered the last row and looks at what follows it. Pillow does not look: an error
 * there (a stream without its end) leaves the picture whole. */
static bool all_rows_read(png_structp png, const VitroPngInfo *info)
{
    return info->interlaced ? png_get_current_pass_number(png) >= 7
                            : png_get_current_row_number(png) >= info->frame_height;
}

static void on_error(png_structp png, png_const_charp text)
{
    Decoder *d = png_get_error_ptr(png);
    d->status = all_rows_read(png, &d->info) ? VITRO_OK : vitro_fail(VITRO_E_FORMAT, "%s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png, (void)text;
}

static void put32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24), p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8), p[3] = (uint8_t)v;
}

/* Chunk header at p; check sums are left 0, libpng is told not to look at them. */
static uint8_t *put_chunk(uint8_t *p, const char *type, uint32_t size)
{
    put32(p, size);
    memcpy(p + 4, type, 4);
    return p + 8;
}

static bool next_chunk(Stream *s, uint8_t *p)
{
    if (!vitro_png_next_idat(s->file, &s->next_idat, &s->body, &s->body_left))
        return false;
    p = put_chunk(p, "IDAT", (uint32_t)s->body_left);
    s->head = s->prefix;
    s->head_left = (size_t)(p - s->prefix);
    return true;
}

static void stream_open(Stream *s, VitroPngFile file, const VitroPngInfo *info)
{
    *s = (Stream){.file = file, .next_idat = info->first_idat};
    memcpy(s->prefix, "\x89PNG\r\n\x1A\n", 8);
    uint8_t *p = put_chunk(s->prefix + 8, "IHDR", 13);
    put32(p, info->frame_width);
    put32(p + 4, info->frame_height);
    p[8] = (uint8_t)info->depth;
    p[9] = (uint8_t)info->color;
    p[12] = info->interlaced;
    p += 13 + 4;
    if (info->color == VITRO_PNG_PALETTE)
        p = put_chunk(p, "PLTE", 3u << info->depth) + (3u << info->depth) + 4;
    next_chunk(s, p);
}

static void on_read(png_structp png, png_bytep dst, size_t count)
{
    Stream *s = png_get_io_ptr(png);
    while (count) {
        /* Behind each IDAT's data: its check sum, then the next chunk's header. */
        if (!s->head_left && !s->body_left) {
            memset(s->prefix, 0, 4);
            if (s->ended)
                png_error(png, "the file is truncated");
            s->ended = !next_chunk(s, s->prefix + 4);
            if (s->ended)
                s->head = s->prefix, s->head_left = 4;
        }
        size_t *left = s->head_left ? &s->head_left : &s->body_left;
        const uint8_t **from = s->head_left ? &s->head : &s->body;
        size_t n = count < *left ? count : *left;
        memcpy(dst, *from, n);
        *from += n;
        *left -= n;
        dst += n;
        count -= n;
    }
}

static void set_up(Decoder *d)
{
    png_set_read_fn(d->png, &d->stream, on_read);
    png_set_user_limits(d->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* ours is in the scan */
    png_set_benign_errors(d->png, 1);
    png_set_crc_action(d->png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
    png_set_option(d->png, PNG_MAXIMUM_INFLATE_WINDOW, PNG_OPTION_ON); /* as zlib's default */
    png_read_info(d->png, d->png_info);
    png_set_strip_16(d->png);
    png_set_strip_alpha(d->png);
    if (d->info.color == VITRO_PNG_PALETTE)
        png_set_packing(d->png);
    else if (d->info.color == VITRO_PNG_GREY && d->info.depth < 8)
        png_set_expand_gray_1_2_4_to_8(d->png);
}

static void convert(const Decoder *d, uint8_t *dst, const uint8_t *src, uint32_t n)
{
    int channels = d->image.channels;
    if (d->info.color == VITRO_PNG_PALETTE)
        vitro_row_from_palette(dst, channels, &d->palette, src, (int)n);
    else if (d->info.color & 2)
        vitro_row_from_rgb(dst, channels, src, (int)n);
    else
        vitro_row_from_grey(dst, channels, src, (int)n);
}

/* An APNG's first frame may be smaller than the picture: the rest is zero. */
static VitroStatus clear_canvas(Decoder *d)
{
    const VitroPngInfo *info = &d->info;
    if (info->frame_width == info->width && info->frame_height == info->height)
        return VITRO_OK;
    d->blank = vitro_calloc(info->width, 3);
    if (!d->blank)
        return VITRO_NOMEM;
    for (int y = 0; y < d->image.height; y++)
        convert(d, vitro_image_row(&d->image, y), d->blank, info->width);
    return VITRO_OK;
}

static uint8_t *raster_row(const Decoder *d, uint32_t y)
{
    return d->raster + (d->info.interlaced ? y * d->row_bytes : 0);
}

/* Row y of the frame to its place in the picture. */
static void convert_row(const Decoder *d, uint32_t y)
{
    const VitroPngInfo *info = &d->info;
    uint8_t *row = vitro_image_row(&d->image, (int)(info->frame_y + y));
    convert(d, row + (size_t)info->frame_x * (size_t)d->image.channels, raster_row(d, y),
            info->frame_width);
}

static VitroStatus read_rows(Decoder *d, int channels)
{
    const VitroPngInfo *info = &d->info;
    int passes = png_set_interlace_handling(d->png);
    png_read_update_info(d->png, d->png_info);
    d->row_bytes = png_get_rowbytes(d->png, d->png_info);
    VITRO_TRY(vitro_image_alloc(&d->image, info->width, info->height, channels));
    VITRO_TRY(clear_canvas(d));
    d->raster = vitro_calloc(info->interlaced ? info->frame_height : 1, d->row_bytes);
    if (!d->raster)
        return VITRO_NOMEM;
    for (int pass = 0; pass < passes; pass++) {
        for (uint32_t y = 0; y < info->frame_height; y++) {
            png_read_row(d->png, raster_row(d, y), NULL);
            if (pass == passes - 1 && y + 1 < info->frame_height)
                convert_row(d, y);
        }
    }
    return VITRO_OK;
}

/* Refuses a header that promises more than the data can hold, before memory is taken for it. */
static VitroStatus check_claim(const VitroPngInfo *info, size_t file_bytes)
{
    static const int samples[7] = {1, 0, 3, 1, 2, 0, 4};
    uint64_t bits = (uint64_t)info->frame_width * info->frame_height *
                    (uint64_t)(samples[info->color] * info->depth);
    if (bits / 8 / MAX_DEFLATE_RATIO > info->idat_bytes)
        return vitro_fail(VITRO_E_FORMAT, "%llu bytes of data cannot hold %u x %u pixels",
                          (unsigned long long)info->idat_bytes, info->frame_width,
                          info->frame_height);
    return vitro_image_check_claim(info->width, info->height, file_bytes);
}

static VitroStatus run(Decoder *d, int channels)
{
    d->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, d, on_error, on_warning);
    d->png_info = d->png ? png_create_info_struct(d->png) : NULL;
    if (!d->png_info)
        return vitro_fail(VITRO_E_NOMEM, "no memory for libpng");
    VitroStatus st;
    if (setjmp(png_jmpbuf(d->png))) {
        st = d->status;
    } else {
        set_up(d);
        st = read_rows(d, channels);
    }
    if (st == VITRO_OK) /* the last row: an error may have come between reading and converting it */
        convert_row(d, d->info.frame_height - 1);
    return st;
}

VitroStatus vitro_png_decode(VitroImage *out, VitroEncoded *in)
{
    Decoder *d = vitro_calloc(1, sizeof(*d));
    if (!d)
        return VITRO_NOMEM;
    VitroPngFile file = {in->data, in->size};
    VitroStatus st = VITRO_OK;
    VITRO_GOTO(vitro_png_scan(&d->info, file));
    VITRO_GOTO(check_claim(&d->info, in->size));
    vitro_palette_init(&d->palette);
    if (d->info.palette)
        memcpy(d->palette.rgb, d->info.palette, d->info.palette_size / 3 * 3);
    if (d->info.orientation)
        in->orientation = d->info.orientation;
    stream_open(&d->stream, file, &d->info);
    VITRO_GOTO(run(d, in->channels));
    *out = d->image;
    d->image = (VitroImage){0};
done:
    png_destroy_read_struct(&d->png, &d->png_info, NULL);
    vitro_image_deinit(&d->image);
    vitro_free(d->raster);
    vitro_free(d->blank);
    vitro_free(d);
    return st;
}
