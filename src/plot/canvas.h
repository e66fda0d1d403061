/* SPDX-License-Identifier: Apache-2.0 */
/* A white page to draw on with Cairo: fonts, texts of any bytes and any length, colours; turned
 * into an RGB picture at the end. Knows nothing of what is drawn. */
#ifndef VITRO_PLOT_CANVAS_H
#define VITRO_PLOT_CANVAS_H

#include "base/status.h"
#include "vitro/image.h"

#include <cairo.h>

typedef struct VitroCanvas {
    cairo_surface_t *surface; /* RGB24 */
    cairo_t *cr;
    int width, height;
} VitroCanvas;

/* Colours as 0xRRGGBB. The two of curves and bars are from the set of Okabe and Ito ("Color
 * Universal Design", 2008), which stays apart for the colour-blind and in grey. */
enum {
    VITRO_INK = 0x1A1A1A,
    VITRO_INK_SOFT = 0x5A5A5A,
    VITRO_RULE = 0x8A8A8A, /* axes */
    VITRO_GRID = 0xE3E3E3,
    VITRO_TRACK = 0xF0F0F0, /* behind bars, and cells without data */
    VITRO_BLUE = 0x0072B2,
    VITRO_BLUE_PALE = 0x8DBFE0,
    VITRO_VERMILION = 0xD55E00,
    VITRO_GREEN = 0x009E73
};

typedef enum VitroAlign { VITRO_LEFT, VITRO_CENTRE, VITRO_RIGHT } VitroAlign;

/* A white page; vitro_canvas_close it, also after a failure. */
VitroStatus vitro_canvas_open(VitroCanvas *c, int width, int height);
void vitro_canvas_close(VitroCanvas *c);
/* What Cairo has failed with since the page was opened. It draws nothing after that. */
VitroStatus vitro_canvas_check(const VitroCanvas *c);
/* The page as a new RGB picture, or what Cairo has failed with since it was opened. */
VitroStatus vitro_canvas_take(VitroCanvas *c, VitroImage *out);

void vitro_canvas_colour(VitroCanvas *c, uint32_t rgb);
void vitro_canvas_fill_rect(VitroCanvas *c, double x, double y, double width, double height);
void vitro_canvas_line(VitroCanvas *c, double x0, double y0, double x1, double y1);
/* Copies `picture` [height,width], each of its pixels a square of `factor`. */
void vitro_canvas_put(VitroCanvas *c, const VitroImage *picture, int left, int top, int factor);

/* All texts must be clean (vitro_text_clean): Cairo draws nothing after one invalid byte. */
void vitro_canvas_font(VitroCanvas *c, double size, bool bold);
double vitro_canvas_text_width(VitroCanvas *c, const char *text);
void vitro_canvas_text(VitroCanvas *c, double x, double baseline, VitroAlign align,
                       const char *text);
/* The same, turned counter-clockwise by `angle` (radians) about (x, baseline). */
void vitro_canvas_text_turned(VitroCanvas *c, double x, double baseline, double angle,
                              VitroAlign align, const char *text);

#define VITRO_TEXT_BYTES 516 /* holds any clean text with its NUL */

/* Valid UTF-8 without controls: a wrong byte becomes U+FFFD, a control a space; cut at 512 bytes,
 * never inside a character. */
void vitro_text_clean(char clean[VITRO_TEXT_BYTES], const char *text);
/* Shortens a clean text, with an ellipsis at its end, until it is at most `width` wide in the
 * canvas's font. */
void vitro_text_fit(VitroCanvas *c, char text[VITRO_TEXT_BYTES], double width);

#endif
