/* SPDX-License-Identifier: Apache-2.0 */
/* RLE8 and RLE4 as Pillow 9.4's BmpRleDecoder reads them, its departures from the format included:
 * a jump's two operands are the second pair of bytes after its code, and an odd run of literal
 * nibbles loses its last. Equal pixels matter more here than right ones. */
#include "image/bmp.h"

#include <string.h>

typedef struct Decoder {
    const VitroBmpRle *in;
    uint8_t *index;
    size_t at;   /* in the file */
    size_t done; /* pixels; may run past in->count, what lies there is not stored */
    size_t x;    /* as Pillow counts it */
} Decoder;

static void put(Decoder *d, size_t n, uint8_t even, uint8_t odd)
{
    for (size_t i = 0; i < n && d->done + i < d->in->count; i++)
        d->index[d->done + i] = i % 2 ? odd : even;
    d->done += n;
}

static bool have(const Decoder *d, size_t n)
{
    return d->at <= d->in->size && d->in->size - d->at >= n;
}

static void put_run(Decoder *d, size_t n, uint8_t value)
{
    size_t left = d->in->width > d->x ? d->in->width - d->x : 0;
    if (n > left)
        n = left;
    if (d->in->four_bits)
        put(d, n, value >> 4, value & 15);
    else
        put(d, n, value, value);
    d->x += n;
}

static bool put_literals(Decoder *d, size_t n)
{
    size_t bytes = d->in->four_bits ? n / 2 : n, left = d->in->size - d->at;
    bool whole = bytes <= left; /* what there is of a truncated run still counts */
    const uint8_t *p = d->in->data + d->at;
    for (size_t i = 0; i < (whole ? bytes : left); i++) {
        if (d->in->four_bits)
            put(d, 2, p[i] >> 4, p[i] & 15);
        else
            put(d, 1, p[i], p[i]);
    }
    d->x += n;
    d->at += bytes;
    d->at += d->at % 2; /* aligned to the file's 16-bit words */
    return whole;
}

static bool jump(Decoder *d)
{
    if (!have(d, 4))
        return false;
    const uint8_t *p = d->in->data + d->at;
    put(d, p[2] + p[3] * d->in->width, 0, 0);
    d->x = d->done % d->in->width;
    d->at += 4;
    return true;
}

VitroStatus vitro_bmp_rle_decode(uint8_t *index, const VitroBmpRle *rle)
{
    Decoder d = {.in = rle, .index = index, .at = rle->at};
    bool more = true;
    while (more && d.done < rle->count && have(&d, 2)) {
        uint8_t count = rle->data[d.at], value = rle->data[d.at + 1];
        d.at += 2;
        if (count) {
            put_run(&d, count, value);
        } else if (value == 0) {
            put(&d, (rle->width - d.done % rle->width) % rle->width, 0, 0);
            d.x = 0;
        } else if (value == 2) {
            more = jump(&d);
        } else {
            more = value != 1 && put_literals(&d, value);
        }
    }
    if (d.done < rle->count)
        return vitro_fail(VITRO_E_FORMAT, "truncated: %zu of %zu pixels", d.done, rle->count);
    return VITRO_OK;
}
