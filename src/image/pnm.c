/* SPDX-License-Identifier: Apache-2.0 */
/* PBM, PGM and PPM, plain (P1-P3) and raw (P4-P6), as Pillow 9.4's PpmImagePlugin reads them, with
 * one difference: a grey picture of more than 8 bits keeps its high byte, as a grey 16-bit PNG
 * does, where Pillow would clip it to white. */
#include "image/decode.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

#define MAX_TOKEN 10 /* characters of a number */

typedef struct Reader {
    const uint8_t *p, *end;
} Reader;

typedef struct Header {
    int kind; /* 1..6, the digit of the magic number */
    int64_t width, height;
    int maxval;  /* 1..65535 */
    int samples; /* per pixel */
} Header;

static bool is_space(int c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_comment(Reader *r)
{
    while (r->p < r->end && *r->p != '\n' && *r->p != '\r')
        r->p++;
    if (r->p < r->end)
        r->p++;
}

/* The next number, and the one white space behind it. A comment does not end it: Pillow takes its
 * line away, line end included, and reads on. */
static VitroStatus read_number(Reader *r, int64_t *value)
{
    int64_t v = 0;
    int length = 0;
    for (; r->p < r->end; r->p++) {
        while (r->p < r->end && *r->p == '#')
            skip_comment(r);
        if (r->p == r->end)
            break;
        if (is_space(*r->p)) {
            if (length == 0)
                continue;
            r->p++;
            break;
        }
        if (*r->p < '0' || *r->p > '9')
            return vitro_fail(VITRO_E_FORMAT, "byte %d where a number was expected", *r->p);
        if (++length > MAX_TOKEN)
            return vitro_fail(VITRO_E_FORMAT, "a number of more than %d digits", MAX_TOKEN);
        v = v * 10 + (*r->p - '0');
    }
    if (length == 0)
        return vitro_fail(VITRO_E_FORMAT, "the file is truncated");
    *value = v;
    return VITRO_OK;
}

static VitroStatus read_header(Reader *r, Header *h)
{
    h->kind = r->p[1] - '0';
    h->samples = h->kind % 3 == 0 ? 3 : 1;
    h->maxval = 1;
    r->p += 2;
    if (r->p < r->end && !is_space(*r->p))
        return vitro_fail(VITRO_E_FORMAT, "no white space after the magic number");
    VITRO_TRY(read_number(r, &h->width));
    VITRO_TRY(read_number(r, &h->height));
    if (h->kind % 3 != 1) {
        int64_t maxval;
        VITRO_TRY(read_number(r, &maxval));
        if (maxval < 1 || maxval > 65535)
            return vitro_fail(VITRO_E_FORMAT, "maximum value %lld, 1..65535 expected",
                              (long long)maxval);
        h->maxval = (int)maxval;
    }
    return vitro_image_check_size(h->width, h->height);
}

/* Fewest bytes that hold the pixels: what claims more than there is is truncated. */
static uint64_t least_bytes(const Header *h)
{
    uint64_t samples = (uint64_t)h->width * (uint64_t)h->height * (uint64_t)h->samples;
    switch (h->kind) {
    case 1:
        return samples;
    case 2:
    case 3:
        return samples * 2 - 1; /* a digit each, and white space between */
    case 4:
        return ((uint64_t)h->width + 7) / 8 * (uint64_t)h->height;
    default:
        return samples * (h->maxval > 255 ? 2 : 1);
    }
}

/* round(v / maxval * 255), half to even, for each 16-bit sample; values above maxval are clipped.
 */
static uint8_t *make_levels(const Header *h)
{
    uint8_t *levels = vitro_malloc(65536);
    if (!levels)
        return NULL;
    bool wide_grey = h->samples == 1 && h->maxval > 255;
    double top = wide_grey ? 65535 : 255;
    for (int v = 0; v < 65536; v++) {
        double level = rint((double)v / h->maxval * top);
        int clipped = level > top ? (int)top : (int)level;
        levels[v] = (uint8_t)(wide_grey ? clipped >> 8 : clipped);
    }
    return levels;
}

static VitroStatus next_bit(Reader *r, uint8_t *out)
{
    while (r->p < r->end && (is_space(*r->p) || *r->p == '#')) {
        if (*r->p == '#')
            skip_comment(r);
        else
            r->p++;
    }
    if (r->p == r->end)
        return vitro_fail(VITRO_E_FORMAT, "the file is truncated");
    if (*r->p != '0' && *r->p != '1')
        return vitro_fail(VITRO_E_FORMAT, "byte %d where 0 or 1 was expected", *r->p);
    *out = *r->p++ == '0' ? 255 : 0;
    return VITRO_OK;
}

static VitroStatus read_plain_row(Reader *r, const Header *h, const uint8_t *levels, uint8_t *row,
                                  size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (h->kind == 1) {
            VITRO_TRY(next_bit(r, &row[i]));
            continue;
        }
        int64_t v;
        VITRO_TRY(read_number(r, &v));
        if (v > h->maxval)
            return vitro_fail(VITRO_E_FORMAT, "sample %lld exceeds the maximum value %d",
                              (long long)v, h->maxval);
        row[i] = levels[v];
    }
    return VITRO_OK;
}

/* least_bytes() vouches for the bytes. */
static void read_raw_row(Reader *r, const Header *h, const uint8_t *levels, uint8_t *row, size_t n)
{
    const uint8_t *p = r->p;
    if (h->kind == 4) {
        for (size_t i = 0; i < n; i++)
            row[i] = p[i / 8] >> (7 - i % 8) & 1 ? 0 : 255;
        r->p += (n + 7) / 8;
    } else if (h->maxval > 255) {
        for (size_t i = 0; i < n; i++)
            row[i] = levels[p[2 * i] << 8 | p[2 * i + 1]];
        r->p += 2 * n;
    } else {
        for (size_t i = 0; i < n; i++)
            row[i] = levels[p[i]];
        r->p += n;
    }
}

static VitroStatus read_rows(Reader *r, const Header *h, VitroImage *image, uint8_t *row,
                             const uint8_t *levels)
{
    for (int y = 0; y < image->height; y++) {
        size_t n = (size_t)image->width * (size_t)h->samples;
        if (h->kind <= 3)
            VITRO_TRY(read_plain_row(r, h, levels, row, n));
        else
            read_raw_row(r, h, levels, row, n);
        uint8_t *dst = vitro_image_row(image, y);
        if (h->samples == 3)
            vitro_row_from_rgb(dst, image->channels, row, image->width);
        else
            vitro_row_from_grey(dst, image->channels, row, image->width);
    }
    return VITRO_OK;
}

VitroStatus vitro_pnm_decode(VitroImage *out, VitroEncoded *in)
{
    Reader r = {in->data, in->data + in->size};
    Header h;
    VITRO_TRY(read_header(&r, &h));
    size_t left = (size_t)(r.end - r.p);
    if (least_bytes(&h) > left)
        return vitro_fail(VITRO_E_FORMAT, "truncated: %zu bytes of data, at least %llu expected",
                          left, (unsigned long long)least_bytes(&h));
    VitroStatus st = VITRO_NOMEM;
    VitroImage image = {0};
    uint8_t *levels = make_levels(&h);
    uint8_t *row = vitro_malloc((size_t)h.width * (size_t)h.samples);
    if (!levels || !row)
        goto done;
    VITRO_GOTO(vitro_image_alloc(&image, h.width, h.height, in->channels));
    VITRO_GOTO(read_rows(&r, &h, &image, row, levels));
    *out = image;
    image = (VitroImage){0};
done:
    vitro_image_deinit(&image);
    vitro_free(levels);
    vitro_free(row);
    return st;
}
