/* SPDX-License-Identifier: Apache-2.0 */
/* How training went: loss, accuracy and learning rate by epoch, in three panels. */
#include "plot/axis.h"
#include "plot/canvas.h"
#include "vitro/plot.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* In pixels: drawn large enough to be printed across a page. */
#define PAGE_WIDTH    1800
#define PAGE_HEIGHT   580
#define TEXT_SIZE     20.0
#define TITLE_SIZE    23.0
#define PANEL_TOP     84.0
#define PANEL_HEIGHT  404.0
#define MARKER_SPACE  22.0  /* epochs nearer than this are drawn without markers */
#define LARGEST_VALUE 1e200 /* so that no difference of two overflows */

typedef struct Series {
    const char *name;
    uint32_t colour;
    size_t at; /* offset of its double in VitroPlotEpoch */
} Series;

typedef struct Panel {
    const char *title;
    Series series[2];
    int series_count;
    bool percent;       /* values are 0..1 and shown as 0..100 % */
    double left, width; /* of the plot's area, in pixels */
    VitroAxis x, y;
} Panel;

typedef struct Curves {
    const VitroPlotEpoch *epochs; /* [count] */
    int64_t count;
} Curves;

/* ---- values -----------------------------------------------------------------------------------
 */

static double value(const Curves *c, const Panel *p, const Series *s, int64_t i)
{
    double v;
    memcpy(&v, (const char *)&c->epochs[i] + s->at, sizeof(v));
    return p->percent ? 100 * v : v;
}

static bool is_drawn(double v)
{
    return fabs(v) <= LARGEST_VALUE; /* false of NaN */
}

static int64_t count_drawn(const Curves *c, const Panel *p, const Series *s)
{
    int64_t n = 0;
    for (int64_t i = 0; i < c->count; i++)
        n += is_drawn(value(c, p, s, i));
    return n;
}

static bool has_markers(const Curves *c, const Panel *p)
{
    return (double)c->count * MARKER_SPACE <= p->width;
}

/* The panel's axes; false where there is nothing to draw. */
static bool choose_axes(const Curves *c, Panel *p)
{
    double low = INFINITY, high = -INFINITY;
    for (int k = 0; k < p->series_count; k++)
        for (int64_t i = 0; i < c->count; i++) {
            double v = value(c, p, &p->series[k], i);
            if (is_drawn(v)) {
                low = fmin(low, v);
                high = fmax(high, v);
            }
        }
    int wanted = PAGE_WIDTH / p->width > 5 ? 4 : 7;
    p->x =
        vitro_axis_whole((double)c->epochs[0].epoch, (double)c->epochs[c->count - 1].epoch, wanted);
    if (low > high) {
        p->y = vitro_axis_linear(0, 1, 5);
        return false;
    }
    if (!p->percent && low > 0 && high > 100 * low && p->series_count > 1) {
        p->y = vitro_axis_log(low, high);
        return true;
    }
    /* From zero, unless that would press the curves together; a level line has zero below it. */
    if (low > 0 && (low < 0.5 * high || c->count == 1 || high - low < 1e-3 * high))
        low = 0;
    if (low == 0 && high == 0)
        high = 1;
    p->y = vitro_axis_linear(low, high, 5);
    if (p->percent && low >= 0 && high <= 100) { /* no room for what cannot be */
        p->y.low = fmax(p->y.low, 0);
        p->y.high = fmin(p->y.high, 100);
        while (p->y.tick_count > 1 && p->y.tick[p->y.tick_count - 1] > p->y.high + 1e-6)
            p->y.tick_count--;
        while (p->y.tick_count > 1 && p->y.tick[0] < -1e-6)
            memmove(p->y.tick, p->y.tick + 1, (size_t)--p->y.tick_count * sizeof(*p->y.tick));
    }
    return true;
}

/* ---- the frame --------------------------------------------------------------------------------
 */

static double pixel_x(const Panel *p, double epoch)
{
    return p->left + p->width * vitro_axis_at(&p->x, epoch);
}

static double pixel_y(const Panel *p, double v)
{
    return PANEL_TOP + PANEL_HEIGHT * (1 - vitro_axis_at(&p->y, v));
}

static void draw_axes(VitroCanvas *canvas, const Panel *p)
{
    char label[VITRO_AXIS_TEXT];
    double bottom = PANEL_TOP + PANEL_HEIGHT;
    vitro_canvas_font(canvas, TEXT_SIZE, false);
    cairo_set_line_width(canvas->cr, 1.5);
    for (int i = 0; i < p->y.tick_count; i++) {
        double y = pixel_y(p, p->y.tick[i]);
        vitro_canvas_colour(canvas, VITRO_GRID);
        vitro_canvas_line(canvas, p->left, y, p->left + p->width, y);
        vitro_axis_label(&p->y, i, label);
        vitro_canvas_colour(canvas, VITRO_INK_SOFT);
        vitro_canvas_text(canvas, p->left - 12, y + TEXT_SIZE * 0.36, VITRO_RIGHT, label);
    }
    cairo_set_line_width(canvas->cr, 2);
    for (int i = 0; i < p->x.tick_count; i++) {
        double x = pixel_x(p, p->x.tick[i]);
        vitro_canvas_colour(canvas, VITRO_RULE);
        vitro_canvas_line(canvas, x, bottom, x, bottom + 7);
        vitro_axis_label(&p->x, i, label);
        vitro_canvas_colour(canvas, VITRO_INK_SOFT);
        vitro_canvas_text(canvas, x, bottom + 29, VITRO_CENTRE, label);
    }
    vitro_canvas_colour(canvas, VITRO_RULE);
    vitro_canvas_line(canvas, p->left, bottom, p->left + p->width, bottom);
    vitro_canvas_colour(canvas, VITRO_INK);
    vitro_canvas_text(canvas, p->left + p->width / 2, bottom + 61, VITRO_CENTRE, "epoch");
}

/* "loss", "learning rate (x 10^-4)" */
static void draw_title(VitroCanvas *canvas, const Panel *p)
{
    char text[120], power[VITRO_AXIS_TEXT];
    const char *unit = p->percent ? " (%)" : "";
    snprintf(text, sizeof(text), "%s%s", p->title, unit);
    if (p->y.exponent) {
        vitro_axis_power(p->y.exponent, power);
        snprintf(text, sizeof(text), "%s (\xC3\x97 %s)", p->title, power);
    }
    vitro_canvas_font(canvas, TITLE_SIZE, true);
    vitro_canvas_colour(canvas, VITRO_INK);
    vitro_canvas_text(canvas, p->left, PANEL_TOP - 34, VITRO_LEFT, text);
}

static void draw_marker(VitroCanvas *canvas, double x, double y, uint32_t colour)
{
    vitro_canvas_colour(canvas, 0xFFFFFF);
    cairo_arc(canvas->cr, x, y, 7.5, 0, 2 * M_PI);
    cairo_fill(canvas->cr);
    vitro_canvas_colour(canvas, colour);
    cairo_arc(canvas->cr, x, y, 5.5, 0, 2 * M_PI);
    cairo_fill(canvas->cr);
}

/* From right to left above the panel, where no curve runs. */
static void draw_legend(VitroCanvas *canvas, const Curves *c, const Panel *p)
{
    double right = p->left + p->width, y = PANEL_TOP - 34;
    vitro_canvas_font(canvas, TEXT_SIZE, false);
    for (int k = p->series_count - 1; k >= 0 && p->series_count > 1; k--) {
        const Series *s = &p->series[k];
        if (!count_drawn(c, p, s))
            continue;
        vitro_canvas_colour(canvas, VITRO_INK);
        vitro_canvas_text(canvas, right, y, VITRO_RIGHT, s->name);
        right -= vitro_canvas_text_width(canvas, s->name) + 10;
        vitro_canvas_colour(canvas, s->colour);
        cairo_set_line_width(canvas->cr, 3.5);
        vitro_canvas_line(canvas, right - 36, y - 7, right, y - 7);
        if (has_markers(c, p))
            draw_marker(canvas, right - 18, y - 7, s->colour);
        right -= 36 + 26;
    }
}

/* ---- the curves -------------------------------------------------------------------------------
 */

static void draw_series(VitroCanvas *canvas, const Curves *c, const Panel *p, const Series *s)
{
    bool pen_down = false;
    vitro_canvas_colour(canvas, s->colour);
    cairo_set_line_width(canvas->cr, 3.5);
    cairo_set_line_join(canvas->cr, CAIRO_LINE_JOIN_ROUND);
    for (int64_t i = 0; i < c->count; i++) {
        double v = value(c, p, s, i);
        if (!is_drawn(v)) {
            pen_down = false;
            continue;
        }
        double x = pixel_x(p, (double)c->epochs[i].epoch);
        if (pen_down)
            cairo_line_to(canvas->cr, x, pixel_y(p, v));
        else
            cairo_move_to(canvas->cr, x, pixel_y(p, v));
        pen_down = true;
    }
    cairo_stroke(canvas->cr);
    for (int64_t i = 0; i < c->count; i++) {
        bool alone = (i == 0 || !is_drawn(value(c, p, s, i - 1))) &&
                     (i == c->count - 1 || !is_drawn(value(c, p, s, i + 1)));
        double v = value(c, p, s, i);
        if (is_drawn(v) && (alone || has_markers(c, p)))
            draw_marker(canvas, pixel_x(p, (double)c->epochs[i].epoch), pixel_y(p, v), s->colour);
    }
}

static void draw_panel(VitroCanvas *canvas, const Curves *c, Panel *p)
{
    bool any = choose_axes(c, p);
    draw_title(canvas, p);
    draw_axes(canvas, p);
    if (!any) {
        vitro_canvas_colour(canvas, VITRO_INK_SOFT);
        vitro_canvas_text(canvas, p->left + p->width / 2, PANEL_TOP + PANEL_HEIGHT / 2,
                          VITRO_CENTRE, "no finite values");
        return;
    }
    draw_legend(canvas, c, p);
    for (int k = 0; k < p->series_count; k++)
        draw_series(canvas, c, p, &p->series[k]);
}

#define FIELD(name) offsetof(VitroPlotEpoch, name)

VitroStatus vitro_plot_curves(VitroImage *out, const VitroPlotEpoch *epochs, int64_t count)
{
    if (count < 1)
        return vitro_fail(VITRO_E_ARG, "plot: found %lld epochs, expected 1 or more",
                          (long long)count);
    Curves c = {epochs, count};
    Panel panels[] = {{.title = "loss",
                       .series = {{"train", VITRO_BLUE, FIELD(train_loss)},
                                  {"validation", VITRO_VERMILION, FIELD(val_loss)}},
                       .series_count = 2,
                       .left = 92,
                       .width = 570},
                      {.title = "accuracy",
                       .series = {{"train", VITRO_BLUE, FIELD(train_accuracy)},
                                  {"validation", VITRO_VERMILION, FIELD(val_accuracy)}},
                       .series_count = 2,
                       .percent = true,
                       .left = 770,
                       .width = 570},
                      {.title = "learning rate",
                       .series = {{"learning rate", VITRO_GREEN, FIELD(learning_rate)}},
                       .series_count = 1,
                       .left = 1456,
                       .width = 310}};
    VitroCanvas canvas;
    VitroStatus st;
    VITRO_GOTO(vitro_canvas_open(&canvas, PAGE_WIDTH, PAGE_HEIGHT));
    for (size_t i = 0; i < sizeof(panels) / sizeof(panels[0]); i++)
        draw_panel(&canvas, &c, &panels[i]);
    st = vitro_canvas_take(&canvas, out);
done:
    vitro_canvas_close(&canvas);
    return st;
}
