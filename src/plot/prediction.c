/* SPDX-License-Identifier: Apache-2.0 */
/* A picture under its title, and a bar chart of what the model takes it for. */
#include "plot/canvas.h"
#include "vitro/plot.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Sides in pixels. Small pictures (CIFAR, MNIST) are enlarged by a whole factor, so that each of
 * their pixels is a square; large ones are made smaller. */
#define PLEASANT_SIDE 336
#define LARGEST_SIDE  1600
#define MARGIN        12

/* The page: the title above, the picture below; the chart beside it, or below where the picture
 * is wide. All in pixels. */
typedef struct Layout {
    int width, height;
    double title_size, title_width;
    int picture_left, picture_top, picture_width, picture_height, factor;
    /* the chart: rows of name, bar, value */
    double left, top, row, size, name_width, bar_width, value_width;
} Layout;

/* ---- layout -----------------------------------------------------------------------------------
 */

/* The size at which the picture is shown: enlarged by `factor`, or less than its own. */
static void choose_size(Layout *l, const VitroImage *picture)
{
    int w = picture->width, h = picture->height, side = w > h ? w : h;
    l->factor = side * 2 <= PLEASANT_SIDE ? PLEASANT_SIDE / side : 1;
    double scale = side <= LARGEST_SIDE ? l->factor : (double)LARGEST_SIDE / side;
    l->picture_width = w * scale < 1 ? 1 : (int)(w * scale);
    l->picture_height = h * scale < 1 ? 1 : (int)(h * scale);
    l->title_size = fmin(fmax(l->picture_width / 24.0, 15.0), 40.0);
}

static double widest_name(VitroCanvas *ruler, const VitroPlotBar *bars, int count)
{
    double widest = 0;
    for (int i = 0; i < count; i++) {
        char name[VITRO_TEXT_BYTES];
        vitro_text_clean(name, bars[i].name);
        widest = fmax(widest, vitro_canvas_text_width(ruler, name));
    }
    return widest;
}

/* The chart's columns, in letters of a size that the picture's title has, or smaller where there
 * are many rows. */
static void choose_columns(Layout *l, VitroCanvas *ruler, bool beside, const VitroPlotBar *bars,
                           int count)
{
    double fair = l->picture_height / (2.0 * count);
    l->size = fmin(fmax(fair, 14), l->title_size * (beside ? 0.9 : 0.75));
    l->row = ceil(fmin(fmax(l->picture_height / (double)count, l->size * 1.65), l->size * 2.1));
    vitro_canvas_font(ruler, l->size, false);
    l->name_width = ceil(fmin(widest_name(ruler, bars, count), l->size * 17));
    l->value_width = ceil(vitro_canvas_text_width(ruler, "100.0 %"));
    l->bar_width = ceil(l->size * 13);
}

/* `space` lies between two columns. */
static double chart_width(const Layout *l, double space)
{
    return l->name_width + l->bar_width + l->value_width + 2 * space;
}

static Layout arrange(VitroCanvas *ruler, const VitroImage *picture, const char *title,
                      const VitroPlotBar *bars, int count)
{
    Layout l = {0};
    choose_size(&l, picture);
    vitro_canvas_font(ruler, l.title_size, false);
    l.title_width = fmin(vitro_canvas_text_width(ruler, title), 4 * LARGEST_SIDE);
    int band = (int)ceil(l.title_size * 1.9);
    int content = l.picture_width, depth = l.picture_height;
    bool beside = l.picture_height * 5 >= l.picture_width * 3;
    double chart = 0;
    int gap = 0;
    if (count > 0) {
        choose_columns(&l, ruler, beside, bars, count);
        gap = (int)ceil(l.size * 1.6);
        if (!beside) { /* as wide as the picture, if that leaves room to read */
            l.name_width = fmin(l.name_width, fmax(l.picture_width * 0.35, l.size * 8));
            l.bar_width =
                fmax(l.size * 8, l.bar_width + l.picture_width - chart_width(&l, l.size * 0.6));
        }
        chart = chart_width(&l, l.size * 0.6);
        int rows = (int)(l.row * count);
        content = beside ? content + gap + (int)ceil(chart) : (int)fmax(content, ceil(chart));
        depth = beside ? (rows > depth ? rows : depth) : depth + gap / 2 + rows;
    }
    l.width = (int)fmax(content, ceil(l.title_width)) + 2 * MARGIN;
    l.height = band + depth + MARGIN;
    int left = (l.width - content) / 2;
    l.picture_left = beside || !count ? left : left + (content - l.picture_width) / 2;
    l.picture_top = beside ? band + (depth - l.picture_height) / 2 : band;
    l.left = beside ? left + l.picture_width + gap : left + (content - chart) / 2;
    l.top = beside ? band + (depth - l.row * count) / 2 : band + l.picture_height + gap / 2;
    return l;
}

/* ---- drawing ----------------------------------------------------------------------------------
 */

static void draw_bar(VitroCanvas *c, const Layout *l, const VitroPlotBar *bar, int row)
{
    double top = l->top + row * l->row, space = l->size * 0.6;
    double baseline = top + l->row / 2 + l->size * 0.36, left = l->left + l->name_width + space;
    double p = fmin(fmax(bar->probability, 0), 1); /* NaN: 0 */
    double thick = fmin(l->row * 0.62, l->size * 1.2), y = top + (l->row - thick) / 2;
    char name[VITRO_TEXT_BYTES], value[16];
    vitro_text_clean(name, bar->name);
    vitro_text_fit(c, name, l->name_width);
    vitro_canvas_colour(c, VITRO_INK);
    vitro_canvas_text(c, l->left + l->name_width, baseline, VITRO_RIGHT, name);
    vitro_canvas_colour(c, VITRO_TRACK);
    vitro_canvas_fill_rect(c, left, y, l->bar_width, thick);
    vitro_canvas_colour(c, row == 0 ? VITRO_BLUE : VITRO_BLUE_PALE);
    vitro_canvas_fill_rect(c, left, y, fmax(p * l->bar_width, 1), thick);
    snprintf(value, sizeof(value), p > 0 && p < 0.0005 ? "<0.1 %%" : "%.1f %%", 100 * p);
    vitro_canvas_colour(c, row == 0 ? VITRO_INK : VITRO_INK_SOFT);
    vitro_canvas_text(c, left + l->bar_width + space + l->value_width, baseline, VITRO_RIGHT,
                      value);
}

static VitroStatus draw(VitroImage *out, const Layout *l, const VitroImage *shown,
                        const char *title, const VitroPlotBar *bars, int count)
{
    VitroCanvas c;
    VitroStatus st;
    VITRO_GOTO(vitro_canvas_open(&c, l->width, l->height));
    vitro_canvas_put(&c, shown, l->picture_left, l->picture_top, l->factor);
    vitro_canvas_font(&c, l->title_size, false);
    vitro_canvas_colour(&c, 0);
    vitro_canvas_text(&c, fmax((l->width - l->title_width) / 2, MARGIN), l->title_size * 1.3,
                      VITRO_LEFT, title);
    vitro_canvas_font(&c, l->size, false);
    for (int i = 0; i < count; i++)
        draw_bar(&c, l, &bars[i], i);
    st = vitro_canvas_take(&c, out);
done:
    vitro_canvas_close(&c);
    return st;
}

VitroStatus vitro_plot_prediction(VitroImage *out, const VitroImage *picture, const char *title,
                                  const VitroPlotBar *bars, int64_t count)
{
    if (count < 0)
        return vitro_fail(VITRO_E_ARG, "plot: found %lld bars, expected 0 or more",
                          (long long)count);
    int rows = (int)(count < VITRO_PLOT_MAX_BARS ? count : VITRO_PLOT_MAX_BARS);
    char clean[VITRO_TEXT_BYTES];
    vitro_text_clean(clean, title);
    VitroCanvas ruler;
    VitroImage small = {0};
    VitroStatus st;
    VITRO_GOTO(vitro_canvas_open(&ruler, 1, 1));
    Layout l = arrange(&ruler, picture, clean, bars, rows);
    VITRO_GOTO(vitro_canvas_check(&ruler));
    const VitroImage *shown = picture;
    if (l.picture_width < picture->width || l.picture_height < picture->height) {
        VITRO_GOTO(vitro_image_resize(&small, picture, NULL, l.picture_width, l.picture_height,
                                      VITRO_BILINEAR));
        shown = &small;
    }
    st = draw(out, &l, shown, clean, bars, rows);
done:
    vitro_canvas_close(&ruler);
    vitro_image_deinit(&small);
    return st;
}
