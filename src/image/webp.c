/* SPDX-License-Identifier: Apache-2.0 */
/* WebP through libwebp and its demuxer: the first frame on a black canvas, alpha dropped. That is
 * what Pillow gets from WebPAnimDecoder, which never blends a first frame. */
#include "image/decode.h"

#include "base/alloc.h"

#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

static void find_orientation(WebPDemuxer *demuxer, VitroEncoded *in)
{
    WebPChunkIterator chunk;
    if (!WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk))
        return;
    const uint8_t *p = chunk.chunk.bytes;
    size_t n = chunk.chunk.size;
    if (n >= 6 && memcmp(p, "Exif\0\0", 6) == 0) /* some writers keep JPEG's prefix */
        p += 6, n -= 6;
    int orientation = vitro_exif_orientation(p, n);
    if (orientation)
        in->orientation = orientation;
    WebPDemuxReleaseChunkIterator(&chunk);
}

/* Decodes the frame into its place on the RGB canvas. */
static VitroStatus decode_frame(VitroImage *canvas, const WebPIterator *frame)
{
    if (frame->x_offset < 0 || frame->y_offset < 0 ||
        frame->width > canvas->width - frame->x_offset ||
        frame->height > canvas->height - frame->y_offset)
        return vitro_fail(VITRO_E_FORMAT, "frame of %d x %d at (%d,%d) leaves the canvas %d x %d",
                          frame->width, frame->height, frame->x_offset, frame->y_offset,
                          canvas->width, canvas->height);
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return vitro_fail(VITRO_E_INTERNAL, "libwebp is older than its headers");
    size_t stride = vitro_image_stride(canvas);
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba =
        vitro_image_row(canvas, frame->y_offset) + (size_t)frame->x_offset * 3;
    config.output.u.RGBA.stride = (int)stride;
    config.output.u.RGBA.size = stride * (size_t)(frame->height - 1) + (size_t)frame->width * 3;
    VP8StatusCode code = WebPDecode(frame->fragment.bytes, frame->fragment.size, &config);
    WebPFreeDecBuffer(&config.output);
    if (code == VP8_STATUS_OUT_OF_MEMORY)
        return vitro_fail(VITRO_E_NOMEM, "no memory for %d x %d pixels", frame->width,
                          frame->height);
    if (code != VP8_STATUS_OK)
        return vitro_fail(VITRO_E_FORMAT, "damaged or truncated picture data (libwebp status %d)",
                          (int)code);
    return VITRO_OK;
}

static VitroStatus decode_first(VitroImage *canvas, WebPDemuxer *demuxer, size_t file_bytes)
{
    int64_t width = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH);
    int64_t height = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT);
    VITRO_TRY(vitro_image_check_claim(width, height, file_bytes));
    WebPIterator frame;
    if (!WebPDemuxGetFrame(demuxer, 1, &frame))
        return vitro_fail(VITRO_E_FORMAT, "no picture in the file");
    VitroStatus st = vitro_image_alloc(canvas, width, height, 3);
    if (st == VITRO_OK) {
        memset(canvas->pixels, 0, vitro_image_stride(canvas) * (size_t)height);
        st = decode_frame(canvas, &frame);
    }
    WebPDemuxReleaseIterator(&frame);
    return st;
}

/* In place: a grey row is never longer than the part of the RGB rows already read. */
static void to_grey(VitroImage *image)
{
    size_t count = (size_t)image->width * (size_t)image->height;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *p = image->pixels + 3 * i;
        image->pixels[i] = vitro_luma(p[0], p[1], p[2]);
    }
    image->channels = 1;
}

VitroStatus vitro_webp_decode(VitroImage *out, VitroEncoded *in)
{
    WebPData data = {in->data, in->size};
    WebPDemuxer *demuxer = WebPDemux(&data);
    if (!demuxer)
        return vitro_fail(VITRO_E_FORMAT, "truncated or damaged container (%zu bytes)", in->size);
    find_orientation(demuxer, in);
    VitroImage canvas = {0};
    VitroStatus st = decode_first(&canvas, demuxer, in->size);
    WebPDemuxDelete(demuxer);
    if (st != VITRO_OK) {
        vitro_image_deinit(&canvas);
        return st;
    }
    if (in->channels == 1)
        to_grey(&canvas);
    *out = canvas;
    return VITRO_OK;
}
