/* SPDX-License-Identifier: Apache-2.0 */
/* Which classes are taken for which: a confusion matrix as a heat map.
 *
 * Colours grow with a root of a cell's share of its row: a model that is right nine times in ten
 * still shows what it takes the tenth for. */
#include "plot/axis.h"
#include "plot/canvas.h"
#include "vitro/plot.h"

#include "image/decode.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define COUNTED_CLASSES 20   /* up to so many have their counts in the cells */
#define NAMED_CLASSES   100  /* up to so many have their names beside the rows */
#define MAX_CELLS       1700 /* along a side; more classes share cells */
#define MARGIN          30.0
#define TITLE_SIZE      27.0
#define AXIS_SIZE       24.0 /* of "true class", "predicted class" */
#define BAR_WIDTH       30.0
#define BAR_LABELS      84.0 /* width of the colour bar's ticks and their labels */

typedef struct Heat {
    const int64_t *counts; /* [classes,classes] */
    const char *const *names;
    int64_t classes, group; /* group: classes per cell */
    int cells, cell;        /* cells along a side; pixels along a cell's side */
    double root;            /* colours grow with share^(1/root): 2, or 3 where cells are tiny */
    double size;            /* of the names' letters */
    double row_width;       /* of the rows' labels */
    double column_angle, column_height; /* of the columns' labels */
    double left, top, side;             /* of the matrix on the page */
    int width, height;
} Heat;

/* ---- numbers ----------------------------------------------------------------------------------
 */

/* Pictures of cell (row, column), summed over the classes that it stands for. */
static double cell_count(const Heat *h, int row, int column)
{
    double sum = 0;
    for (int64_t i = row * h->group; i < (row + 1) * h->group && i < h->classes; i++)
        for (int64_t k = column * h->group; k < (column + 1) * h->group && k < h->classes; k++)
            sum += (double)h->counts[i * h->classes + k];
    return sum;
}

static uint32_t blend(uint32_t a, uint32_t b, double t)
{
    uint32_t mixed = 0;
    for (int shift = 0; shift <= 16; shift += 8) {
        double from = a >> shift & 255, to = b >> shift & 255;
        mixed |= (uint32_t)lround(from + (to - from) * t) << shift;
    }
    return mixed;
}

static double strength(const Heat *h, double share)
{
    return pow(fmin(fmax(share, 0), 1), 1 / h->root);
}

/* White to deep blue, darker all the way: it reads in print and to the colour-blind. `t` 0..1. */
static uint32_t heat_colour(double t)
{
    static const struct {
        double at;
        uint32_t rgb;
    } stops[] = {{0, 0xFFFFFF},   {0.2, 0xDDEBF6},  {0.45, 0xA0C8E4},
                 {0.7, 0x418FC6}, {0.88, 0x14609F}, {1, 0x0A3768}};
    int i = 1;
    while (i < 5 && t > stops[i].at)
        i++;
    return blend(stops[i - 1].rgb, stops[i].rgb,
                 (t - stops[i - 1].at) / (stops[i].at - stops[i - 1].at));
}

/* The matrix, a pixel per cell. A label without pictures has no shares: its row is grey. */
static VitroStatus colour_cells(VitroImage *out, const Heat *h)
{
    VITRO_TRY(vitro_image_alloc(out, h->cells, h->cells, 3));
    for (int row = 0; row < h->cells; row++) {
        uint8_t *pixel = vitro_image_row(out, row);
        double sum = 0;
        for (int column = 0; column < h->cells; column++)
            sum += cell_count(h, row, column);
        for (int column = 0; column < h->cells; column++, pixel += 3) {
            uint32_t rgb =
                sum > 0 ? heat_colour(strength(h, cell_count(h, row, column) / sum)) : VITRO_TRACK;
            pixel[0] = (uint8_t)(rgb >> 16);
            pixel[1] = (uint8_t)(rgb >> 8);
            pixel[2] = (uint8_t)rgb;
        }
    }
    return VITRO_OK;
}

/* ---- layout -----------------------------------------------------------------------------------
 */

static bool is_named(const Heat *h)
{
    return h->classes <= NAMED_CLASSES;
}

/* Class i's label in the canvas's font: its name, cut where it is very long, or its number. */
static void label(const Heat *h, VitroCanvas *c, int64_t i, char text[VITRO_TEXT_BYTES])
{
    if (!is_named(h)) {
        snprintf(text, VITRO_TEXT_BYTES, "%" PRId64, i);
        return;
    }
    vitro_text_clean(text, h->names[i]);
    vitro_text_fit(c, text, 15 * h->size);
}

static void choose_cells(Heat *h)
{
    h->group = (h->classes + MAX_CELLS - 1) / MAX_CELLS;
    h->cells = (int)((h->classes + h->group - 1) / h->group);
    int fitting = 1200 / h->cells;
    if (h->classes <= COUNTED_CLASSES)
        h->cell = fitting < 140 ? fitting : 140;
    else if (is_named(h))
        h->cell = fitting > 17 ? fitting : 17;
    else
        h->cell = h->cells > 1066 ? 1 : (1600 + h->cells / 2) / h->cells;
    h->side = (double)h->cells * h->cell;
    h->root = is_named(h) ? 2 : 3;
    h->size = is_named(h) ? fmin(22, h->cell * 0.84) : 20;
}

/* Labels of columns lie flat where they fit, else slant, and stand where there are many. */
static void arrange(Heat *h, VitroCanvas *ruler, const char *title)
{
    char text[VITRO_TEXT_BYTES];
    choose_cells(h);
    vitro_canvas_font(ruler, h->size, false);
    for (int64_t i = 0; is_named(h) && i < h->classes; i++) {
        label(h, ruler, i, text);
        h->row_width = fmax(h->row_width, vitro_canvas_text_width(ruler, text));
    }
    if (!is_named(h)) {
        label(h, ruler, h->classes - 1, text);
        h->row_width = vitro_canvas_text_width(ruler, text) + 8;
    }
    if (is_named(h) && h->row_width > h->cell * 0.9)
        h->column_angle = h->classes <= COUNTED_CLASSES ? M_PI / 4 : M_PI / 2;
    h->column_height = h->size + (h->row_width - h->size * 0.3) * sin(h->column_angle);
    double slant = h->row_width * cos(h->column_angle) - h->cell * 0.5;
    double labels = fmax(h->row_width, h->column_angle > 0 ? slant : 0);
    h->left = MARGIN + AXIS_SIZE * 1.5 + labels + 14;
    h->top = MARGIN + TITLE_SIZE * 1.8;
    double right = h->left + h->side + 34 + BAR_WIDTH + BAR_LABELS + AXIS_SIZE;
    vitro_canvas_font(ruler, TITLE_SIZE, true);
    double title_width = fmin(vitro_canvas_text_width(ruler, title), 4000);
    double left_of_title = h->left + h->side / 2 - title_width / 2;
    if (left_of_title < MARGIN) /* the title is wider than what it stands above */
        h->left += MARGIN - left_of_title, right += MARGIN - left_of_title;
    right = fmax(right, h->left + h->side / 2 + title_width / 2);
    h->width = (int)ceil(right + MARGIN);
    h->height = (int)ceil(h->top + h->side + 16 + h->column_height + AXIS_SIZE * 1.6 + MARGIN);
}

/* ---- drawing ----------------------------------------------------------------------------------
 */

static void draw_counts(VitroCanvas *c, const Heat *h)
{
    double largest = 0, size = fmin(26, h->cell * 0.34);
    char text[32];
    for (int64_t i = 0; i < h->classes * h->classes; i++)
        largest = fmax(largest, (double)h->counts[i]);
    snprintf(text, sizeof(text), "%.0f", largest);
    vitro_canvas_font(c, size, false);
    size *= fmin(1, h->cell * 0.84 / vitro_canvas_text_width(c, text));
    vitro_canvas_font(c, size, false);
    for (int row = 0; row < h->cells; row++) {
        double sum = 0;
        for (int column = 0; column < h->cells; column++)
            sum += cell_count(h, row, column);
        for (int column = 0; column < h->cells; column++) {
            double count = cell_count(h, row, column);
            if (count <= 0) /* an empty cell says it better */
                continue;
            snprintf(text, sizeof(text), "%.0f", count);
            vitro_canvas_colour(c, count / sum > 0.4 ? 0xFFFFFF : VITRO_INK);
            vitro_canvas_text(c, h->left + (column + 0.5) * h->cell,
                              h->top + (row + 0.5) * h->cell + size * 0.36, VITRO_CENTRE, text);
        }
    }
}

static void draw_label(VitroCanvas *c, const Heat *h, int64_t i)
{
    char text[VITRO_TEXT_BYTES];
    double at = ((double)i + 0.5) / (double)h->group * h->cell;
    double x = h->left + at, y = h->top + h->side + 12;
    label(h, c, i, text);
    vitro_canvas_text(c, h->left - 12, h->top + at + h->size * 0.36, VITRO_RIGHT, text);
    if (h->column_angle > 0) {
        /* The end of a turned name stands under the middle of its column. */
        double drop = h->size * 0.36 * sin(h->column_angle);
        double down = h->size * 0.72 * cos(h->column_angle);
        vitro_canvas_text_turned(c, x + drop, y + down, h->column_angle, VITRO_RIGHT, text);
    } else {
        vitro_canvas_text(c, x, y + h->size * 0.8, VITRO_CENTRE, text);
    }
}

static void draw_labels(VitroCanvas *c, const Heat *h)
{
    vitro_canvas_font(c, h->size, false);
    vitro_canvas_colour(c, VITRO_INK);
    if (is_named(h)) {
        for (int64_t i = 0; i < h->classes; i++)
            draw_label(c, h, i);
    } else {
        VitroAxis axis = vitro_axis_whole(0, (double)(h->classes - 1), 10);
        for (int i = 0; i < axis.tick_count; i++) {
            double at = (axis.tick[i] + 0.5) / (double)h->group * h->cell;
            double bottom = h->top + h->side;
            cairo_set_line_width(c->cr, 2);
            vitro_canvas_line(c, h->left - 8, h->top + at, h->left, h->top + at);
            vitro_canvas_line(c, h->left + at, bottom, h->left + at, bottom + 8);
            draw_label(c, h, (int64_t)axis.tick[i]);
        }
    }
    vitro_canvas_font(c, AXIS_SIZE, false);
    vitro_canvas_text(c, h->left + h->side / 2, h->height - MARGIN, VITRO_CENTRE,
                      "predicted class");
    vitro_canvas_text_turned(c, MARGIN + AXIS_SIZE * 0.8, h->top + h->side / 2, M_PI / 2,
                             VITRO_CENTRE, "true class");
}

static void draw_lines(VitroCanvas *c, const Heat *h)
{
    double right = h->left + h->side, bottom = h->top + h->side;
    vitro_canvas_colour(c, VITRO_GRID);
    cairo_set_line_width(c->cr, 1);
    for (int i = 1; is_named(h) && i < h->cells; i++) {
        double at = i * h->cell + 0.5;
        vitro_canvas_line(c, h->left, h->top + at, right, h->top + at);
        vitro_canvas_line(c, h->left + at, h->top, h->left + at, bottom);
    }
    vitro_canvas_colour(c, VITRO_RULE);
    cairo_set_line_width(c->cr, 2);
    cairo_rectangle(c->cr, h->left, h->top, h->side, h->side);
    cairo_stroke(c->cr);
}

/* What the colours mean, at the right. */
static void draw_bar(VitroCanvas *c, const Heat *h)
{
    static const int percents[] = {0, 1, 5, 10, 25, 50, 100};
    double left = h->left + h->side + 34;
    int rows = (int)h->side;
    for (int y = 0; y < rows; y++) {
        double t = 1 - (y + 0.5) / rows;
        vitro_canvas_colour(c, heat_colour(t));
        vitro_canvas_fill_rect(c, left, h->top + y, BAR_WIDTH, 1);
    }
    vitro_canvas_colour(c, VITRO_RULE);
    cairo_set_line_width(c->cr, 2);
    cairo_rectangle(c->cr, left, h->top, BAR_WIDTH, rows);
    cairo_stroke(c->cr);
    vitro_canvas_font(c, 20, false);
    for (int i = 0; i < 7; i++) {
        char text[16];
        double y = h->top + rows * (1 - strength(h, percents[i] / 100.0));
        if (rows < 400 && percents[i] > 0 && percents[i] < 25)
            continue;
        snprintf(text, sizeof(text), "%d %%", percents[i]);
        vitro_canvas_colour(c, VITRO_RULE);
        vitro_canvas_line(c, left + BAR_WIDTH, y, left + BAR_WIDTH + 7, y);
        vitro_canvas_colour(c, VITRO_INK);
        vitro_canvas_text(c, left + BAR_WIDTH + 13, y + 7, VITRO_LEFT, text);
    }
    vitro_canvas_font(c, AXIS_SIZE, false);
    vitro_canvas_text_turned(c, left + BAR_WIDTH + BAR_LABELS + AXIS_SIZE * 0.8, h->top + rows / 2,
                             M_PI / 2, VITRO_CENTRE, "share of row");
}

static VitroStatus draw(VitroImage *out, const Heat *h, const VitroImage *cells, const char *title)
{
    VitroCanvas c;
    VitroStatus st;
    VITRO_GOTO(vitro_canvas_open(&c, h->width, h->height));
    vitro_canvas_put(&c, cells, (int)h->left, (int)h->top, h->cell);
    draw_lines(&c, h);
    if (h->classes <= COUNTED_CLASSES)
        draw_counts(&c, h);
    draw_labels(&c, h);
    draw_bar(&c, h);
    vitro_canvas_font(&c, TITLE_SIZE, true);
    vitro_canvas_colour(&c, VITRO_INK);
    vitro_canvas_text(&c, h->left + h->side / 2, MARGIN + TITLE_SIZE * 0.8, VITRO_CENTRE, title);
    st = vitro_canvas_take(&c, out);
done:
    vitro_canvas_close(&c);
    return st;
}

VitroStatus vitro_plot_confusion(VitroImage *out, const int64_t *counts, int64_t classes,
                                 const char *const *names, const char *title)
{
    if (classes < 1)
        return vitro_fail(VITRO_E_ARG, "plot: found %" PRId64 " classes, expected 1 or more",
                          classes);
    Heat h = {.counts = counts, .classes = classes, .names = names};
    char clean[VITRO_TEXT_BYTES];
    vitro_text_clean(clean, title);
    VitroCanvas ruler;
    VitroImage cells = {0};
    VitroStatus st;
    VITRO_GOTO(vitro_canvas_open(&ruler, 1, 1));
    arrange(&h, &ruler, clean);
    VITRO_GOTO(vitro_canvas_check(&ruler));
    h.left = floor(h.left);
    h.top = floor(h.top);
    VITRO_GOTO(colour_cells(&cells, &h));
    st = draw(out, &h, &cells, clean);
done:
    vitro_canvas_close(&ruler);
    vitro_image_deinit(&cells);
    return st;
}
