/* SPDX-License-Identifier: Apache-2.0 */
/* JPEG through libjpeg-turbo, driven as Pillow 9.4's JpegDecode.c drives it: slow integer IDCT,
 * fancy upsampling, warnings ignored, and a source that suspends at the end of the data, so that a
 * truncated file is an error and not a grey rest. */
#include "image/decode.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

/* Nobody writes more; a hostile file repeats scans of a huge picture for hours. */
#define MAX_SCANS 500

typedef struct Decoder {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf failed;
    VitroStatus status; /* set before the jump */
    VitroImage image;
    uint8_t *row; /* one scan line as libjpeg gives it */
} Decoder;

static void on_error(j_common_ptr jpeg)
{
    Decoder *d = jpeg->client_data;
    int code = jpeg->err->msg_code;
    bool unsupported = code == JERR_SOF_UNSUPPORTED || code == JERR_BAD_PRECISION ||
                       code == JERR_CONVERSION_NOTIMPL || code == JERR_ARITH_NOTIMPL;
    char text[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, text);
    d->status = code == JERR_OUT_OF_MEMORY ? VITRO_E_NOMEM
                : unsupported              ? VITRO_E_UNSUPPORTED
                                           : VITRO_E_FORMAT;
    vitro_fail(d->status, "%s", text);
    longjmp(d->failed, 1);
}

static void on_message(j_common_ptr jpeg)
{
    (void)jpeg; /* warnings do not make a picture unreadable */
}

static void on_progress(j_common_ptr jpeg)
{
    Decoder *d = jpeg->client_data;
    if (d->jpeg.input_scan_number <= MAX_SCANS)
        return;
    d->status = vitro_fail(VITRO_E_FORMAT, "more than %d scans", MAX_SCANS);
    longjmp(d->failed, 1);
}

static void source_nothing(j_decompress_ptr jpeg)
{
    (void)jpeg;
}

static boolean source_fill(j_decompress_ptr jpeg)
{
    (void)jpeg;
    return FALSE; /* suspend: there is no more data */
}

static void source_skip(j_decompress_ptr jpeg, long count)
{
    struct jpeg_source_mgr *s = jpeg->src;
    size_t n = count < 0 ? 0 : (size_t)count;
    if (n > s->bytes_in_buffer)
        n = s->bytes_in_buffer;
    s->next_input_byte += n;
    s->bytes_in_buffer -= n;
}

static void setup(Decoder *d, const VitroEncoded *in)
{
    d->jpeg.err = jpeg_std_error(&d->errors);
    d->errors.error_exit = on_error;
    d->errors.output_message = on_message;
    d->jpeg.client_data = d;
    jpeg_create_decompress(&d->jpeg);
    d->source = (struct jpeg_source_mgr){.next_input_byte = in->data,
                                         .bytes_in_buffer = in->size,
                                         .init_source = source_nothing,
                                         .fill_input_buffer = source_fill,
                                         .skip_input_data = source_skip,
                                         .resync_to_restart = jpeg_resync_to_restart,
                                         .term_source = source_nothing};
    d->jpeg.src = &d->source;
    d->progress.progress_monitor = on_progress;
    d->jpeg.progress = &d->progress;
    jpeg_save_markers(&d->jpeg, JPEG_APP0 + 1, 0xFFFF);
}

static VitroStatus truncated(void)
{
    return vitro_fail(VITRO_E_FORMAT, "the file is truncated");
}

/* A Huffman-coded block takes one bit at least: what claims more is not worth allocating for. */
static VitroStatus check_claim(const Decoder *d, const VitroEncoded *in)
{
    const jpeg_component_info *c = &d->jpeg.comp_info[0];
    uint64_t blocks = (uint64_t)c->width_in_blocks * c->height_in_blocks;
    if (!d->jpeg.arith_code && blocks / 8 > in->size)
        return vitro_fail(VITRO_E_FORMAT, "%zu bytes cannot hold %u x %u pixels", in->size,
                          d->jpeg.image_width, d->jpeg.image_height);
    return vitro_image_check_claim(d->jpeg.image_width, d->jpeg.image_height, in->size);
}

static VitroStatus read_header(Decoder *d, const VitroEncoded *in)
{
    int got;
    do
        got = jpeg_read_header(&d->jpeg, FALSE);
    while (got == JPEG_HEADER_TABLES_ONLY);
    if (got == JPEG_SUSPENDED)
        return truncated();
    int components = d->jpeg.num_components;
    if (components != 1 && components != 3 && components != 4)
        return vitro_fail(VITRO_E_UNSUPPORTED, "%d components, 1, 3 or 4 expected", components);
    VITRO_TRY(vitro_image_check_size(d->jpeg.image_width, d->jpeg.image_height));
    VITRO_TRY(check_claim(d, in));
    d->jpeg.out_color_space = components == 1   ? JCS_GRAYSCALE
                              : components == 3 ? JCS_RGB
                                                : JCS_CMYK;
    d->jpeg.dct_method = JDCT_ISLOW;
    return VITRO_OK;
}

/* The first APP1 segment that says "Exif", as Pillow 9.4 takes it. */
static void find_orientation(const Decoder *d, VitroEncoded *in)
{
    for (jpeg_saved_marker_ptr m = d->jpeg.marker_list; m; m = m->next) {
        if (m->data_length < 6 || memcmp(m->data, "Exif\0", 5) != 0)
            continue;
        int orientation = vitro_exif_orientation(m->data + 6, m->data_length - 6);
        if (orientation && m->data[5] == 0)
            in->orientation = orientation;
        return;
    }
}

static VitroStatus read_rows(Decoder *d, int channels)
{
    VitroImage *image = &d->image;
    int components = d->jpeg.output_components;
    for (int y = 0; y < image->height; y++) {
        uint8_t *dst = vitro_image_row(image, y);
        JSAMPROW row = components == channels ? dst : d->row;
        if (jpeg_read_scanlines(&d->jpeg, &row, 1) != 1)
            return truncated();
        if (row == dst)
            continue;
        if (components == 1)
            vitro_row_from_grey(dst, channels, row, image->width);
        else if (components == 3)
            vitro_row_from_rgb(dst, channels, row, image->width);
        else
            vitro_row_from_inverted_cmyk(dst, channels, row, image->width);
    }
    return VITRO_OK;
}

/* Everything that can jump. With all rows read a missing end marker does not matter, as in Pillow;
 * a marker that makes no sense still does. */
static VitroStatus run(Decoder *d, VitroEncoded *in)
{
    if (setjmp(d->failed))
        return d->status;
    setup(d, in);
    VITRO_TRY(read_header(d, in));
    find_orientation(d, in);
    if (!jpeg_start_decompress(&d->jpeg))
        return truncated();
    VITRO_TRY(
        vitro_image_alloc(&d->image, d->jpeg.output_width, d->jpeg.output_height, in->channels));
    d->row = vitro_malloc((size_t)d->jpeg.output_width * (size_t)d->jpeg.output_components);
    if (!d->row)
        return VITRO_NOMEM;
    VITRO_TRY(read_rows(d, in->channels));
    jpeg_finish_decompress(&d->jpeg);
    return VITRO_OK;
}

VitroStatus vitro_jpeg_decode(VitroImage *out, VitroEncoded *in)
{
    Decoder *d = vitro_calloc(1, sizeof(*d));
    if (!d)
        return VITRO_NOMEM;
    VitroStatus st = run(d, in);
    if (st == VITRO_OK)
        *out = d->image;
    else
        vitro_image_deinit(&d->image);
    jpeg_destroy_decompress(&d->jpeg);
    vitro_free(d->row);
    vitro_free(d);
    return st;
}
