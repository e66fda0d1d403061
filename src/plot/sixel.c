/* SPDX-License-Identifier: Apache-2.0 */
/* DEC sixel graphics (VT330/VT340 programmer reference, chapter 14): bands of six rows, in each one
 * pass per colour, where a character's six bits say which rows of its column have the colour. */
#include "plot/show.h"

#include "base/alloc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- median cut -------------------------------------------------------------------------------
 *
 * Heckbert, "Color image quantization for frame buffer display" (1982): the colours that occur, at
 * 5 bits a channel, lie in one box; the box that promises most is cut at its median until there are
 * enough. */

#define BINS (1 << 15)

typedef struct Bin {
    int64_t count, sum[3];
    int key; /* 5 bits each of red, green, blue */
} Bin;

typedef struct Cut {
    int first, end; /* bins */
    int axis;       /* its longest */
    double promise; /* pixels times the square of its longest side; 0: cannot be cut */
} Cut;

static int level(const Bin *bin, int axis)
{
    return bin->key >> (10 - 5 * axis) & 31;
}

static int compare(const Bin *a, const Bin *b, int axis)
{
    int x = level(a, axis), y = level(b, axis);
    return x != y ? (x < y ? -1 : 1) : (a->key < b->key ? -1 : a->key > b->key);
}

static int by_red(const void *a, const void *b)
{
    return compare(a, b, 0);
}

static int by_green(const void *a, const void *b)
{
    return compare(a, b, 1);
}

static int by_blue(const void *a, const void *b)
{
    return compare(a, b, 2);
}

static Cut measure(const Bin *bins, int first, int end)
{
    Cut cut = {.first = first, .end = end};
    int64_t count = 0;
    int longest = 0;
    for (int i = first; i < end; i++)
        count += bins[i].count;
    for (int axis = 0; axis < 3; axis++) {
        int low = 31, high = 0;
        for (int i = first; i < end; i++) {
            int v = level(&bins[i], axis);
            low = v < low ? v : low;
            high = v > high ? v : high;
        }
        if (high - low > longest) {
            longest = high - low;
            cut.axis = axis;
        }
    }
    cut.promise = (double)count * longest * longest;
    return cut;
}

/* Sorts the cut's bins along its axis; returns where the second half of its pixels begins. */
static int halve(Bin *bins, const Cut *cut)
{
    static int (*const orders[])(const void *, const void *) = {by_red, by_green, by_blue};
    qsort(bins + cut->first, (size_t)(cut->end - cut->first), sizeof(*bins), orders[cut->axis]);
    int64_t total = 0, half = 0;
    for (int i = cut->first; i < cut->end; i++)
        total += bins[i].count;
    int at = cut->first;
    while (at < cut->end - 1 && (at == cut->first || half + bins[at].count <= total / 2))
        half += bins[at++].count;
    return at;
}

static int cut_all(Cut *cuts, Bin *bins, int bin_count, int limit)
{
    int n = 1;
    cuts[0] = measure(bins, 0, bin_count);
    while (n < limit) {
        int best = 0;
        for (int i = 1; i < n; i++)
            if (cuts[i].promise > cuts[best].promise)
                best = i;
        if (cuts[best].promise <= 0)
            break;
        int at = halve(bins, &cuts[best]), end = cuts[best].end;
        cuts[best] = measure(bins, cuts[best].first, at);
        cuts[n++] = measure(bins, at, end);
    }
    return n;
}

static int key_of(VitroRgb v)
{
    return v.c[0] >> 3 << 10 | v.c[1] >> 3 << 5 | v.c[2] >> 3;
}

/* The bins that have pixels, in front; returns how many. */
static int fill_bins(Bin *bins, const VitroImage *image)
{
    for (int y = 0; y < image->height; y++)
        for (int x = 0; x < image->width; x++) {
            VitroRgb v = vitro_pixel(image, x, y);
            Bin *bin = &bins[key_of(v)];
            bin->count++;
            for (int i = 0; i < 3; i++)
                bin->sum[i] += v.c[i];
        }
    int used = 0;
    for (int key = 0; key < BINS; key++) {
        bins[key].key = key;
        if (bins[key].count)
            bins[used++] = bins[key];
    }
    return used;
}

/* The mean of the cut's pixels. */
static VitroRgb mean_colour(const Bin *bins, const Cut *cut)
{
    int64_t count = 0, sum[3] = {0};
    for (int i = cut->first; i < cut->end; i++) {
        count += bins[i].count;
        for (int k = 0; k < 3; k++)
            sum[k] += bins[i].sum[k];
    }
    assert(count > 0); /* an empty picture has no bins, and a cut has one at least */
    VitroRgb mean;
    for (int k = 0; k < 3; k++)
        mean.c[k] = (uint8_t)((sum[k] + count / 2) / count);
    return mean;
}

VitroStatus vitro_quantize(VitroQuantized *out, const VitroImage *image, int limit)
{
    Cut cuts[256];
    size_t pixels = (size_t)image->width * (size_t)image->height;
    Bin *bins = vitro_calloc(BINS, sizeof(*bins));
    uint8_t *map = vitro_malloc(BINS), *index = vitro_malloc(pixels);
    VitroStatus st = VITRO_NOMEM;
    if (!bins || !map || !index)
        goto done;
    out->palette_count = cut_all(cuts, bins, fill_bins(bins, image), limit);
    for (int i = 0; i < out->palette_count; i++) {
        out->palette[i] = mean_colour(bins, &cuts[i]);
        for (int k = cuts[i].first; k < cuts[i].end; k++)
            map[bins[k].key] = (uint8_t)i;
    }
    for (int y = 0; y < image->height; y++)
        for (int x = 0; x < image->width; x++)
            index[(size_t)y * (size_t)image->width + (size_t)x] =
                map[key_of(vitro_pixel(image, x, y))];
    out->index = index;
    index = NULL;
    st = VITRO_OK;
done:
    vitro_free(bins);
    vitro_free(map);
    vitro_free(index);
    return st;
}

/* ---- sixel ------------------------------------------------------------------------------------
 */

/* n times the character of six bits: "!n" repeats. */
static void put_run(VitroBuf *out, uint8_t bits, int n)
{
    char c = (char)(63 + bits);
    if (n > 3)
        vitro_buf_printf(out, "!%d%c", n, c);
    else
        for (int i = 0; i < n; i++)
            vitro_buf_append(out, &c, 1);
}

/* One colour of a band; nothing stands behind its last pixel. */
static void put_pass(VitroBuf *out, const uint8_t *bits, int width)
{
    while (width > 0 && !bits[width - 1])
        width--;
    for (int x = 0, run; x < width; x += run) {
        for (run = 1; x + run < width && bits[x + run] == bits[x];)
            run++;
        put_run(out, bits[x], run);
    }
}

/* Rows y .. y+5. `bits` [palette_count,width] is zeroed, and left so. */
static void put_band(VitroBuf *out, const VitroQuantized *q, int width, int rows,
                     const uint8_t *index, uint8_t *bits)
{
    bool used[256] = {false};
    for (int y = 0; y < rows; y++)
        for (int x = 0; x < width; x++, index++) {
            used[*index] = true;
            bits[(size_t)*index * (size_t)width + (size_t)x] |= (uint8_t)(1 << y);
        }
    const char *back = ""; /* "$": to the band's begin */
    for (int i = 0; i < q->palette_count; i++) {
        uint8_t *pass = bits + (size_t)i * (size_t)width;
        if (!used[i])
            continue;
        vitro_buf_printf(out, "%s#%d", back, i);
        put_pass(out, pass, width);
        memset(pass, 0, (size_t)width);
        back = "$";
    }
}

VitroStatus vitro_show_sixel(VitroBuf *out, const VitroImage *image)
{
    VitroQuantized q = {0};
    VITRO_TRY(vitro_quantize(&q, image, 256));
    uint8_t *bits = vitro_calloc((size_t)q.palette_count, (size_t)image->width);
    if (!bits) {
        vitro_free(q.index);
        return VITRO_NOMEM;
    }
    /* Square pixels; what is not drawn keeps its colour; the size, so that the terminal can
     * prepare; colours in percent. */
    vitro_buf_printf(out, "\033P0;1;0q\"1;1;%d;%d", image->width, image->height);
    for (int i = 0; i < q.palette_count; i++) {
        const uint8_t *c = q.palette[i].c;
        vitro_buf_printf(out, "#%d;2;%d;%d;%d", i, (c[0] * 100 + 127) / 255,
                         (c[1] * 100 + 127) / 255, (c[2] * 100 + 127) / 255);
    }
    for (int y = 0; y < image->height; y += 6) {
        int rows = image->height - y < 6 ? image->height - y : 6;
        if (y > 0)
            vitro_buf_append(out, "-", 1); /* the next band */
        put_band(out, &q, image->width, rows, q.index + (size_t)y * (size_t)image->width, bits);
    }
    vitro_free(bits);
    vitro_free(q.index);
    return vitro_buf_append(out, "\033\\\n", 3);
}
