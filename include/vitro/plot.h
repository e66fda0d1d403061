/* SPDX-License-Identifier: Apache-2.0 */
/* Results as pictures: what a model sees in a picture, how training went, which classes it takes
 * for which; and any picture on a terminal.
 *
 * Every vitro_plot_* function draws a new RGB page into `out`, which the caller frees with
 * vitro_image_deinit; vitro_image_write_png writes it. `out` is written only on success. Texts are
 * UTF-8; what is not, or cannot be shown, is replaced by a mark. Equal arguments and equal fonts
 * give equal pixels. Safe to call from several threads. Errors: VITRO_E_NOMEM, _ARG. */
#ifndef VITRO_PLOT_H
#define VITRO_PLOT_H

#include "vitro/image.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One bar: a class and its probability. */
typedef struct VitroPlotBar {
    const char *name;   /* borrowed during the call; shortened with an ellipsis where too long */
    double probability; /* 0..1; what is outside, or NaN, is drawn as the nearer end */
} VitroPlotBar;

#define VITRO_PLOT_MAX_BARS 20

/* `picture` as it is (small ones enlarged by a whole factor, those over 1600 pixels made smaller)
 * under a one-line title, and beside or below it the first VITRO_PLOT_MAX_BARS of `bars`, in the
 * order given; with count 0 the picture alone. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_plot_prediction(VitroImage *out,
                                                             const VitroImage *picture,
                                                             const char *title,
                                                             const VitroPlotBar *bars,
                                                             int64_t count);

/* One epoch of training. NaN: there is no such value; nothing that is not finite is drawn. */
typedef struct VitroPlotEpoch {
    int64_t epoch; /* its number */
    double train_loss, val_loss;
    double train_accuracy, val_accuracy; /* 0..1 */
    double learning_rate;
} VitroPlotEpoch;

/* Loss, accuracy and learning rate by epoch. `epochs` [count], in ascending order, count >= 1. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_plot_curves(VitroImage *out,
                                                         const VitroPlotEpoch *epochs,
                                                         int64_t count);

/* A confusion matrix as a heat map under `title`: `counts` [classes,classes], a row per label, a
 * column per prediction, none negative; each row's colours are shares of its own sum. `names`
 * [classes]. Up to 20 classes have their counts in the cells, up to 100 their names beside them,
 * more are numbered; where there are more classes than pixels, neighbours share one. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_plot_confusion(VitroImage *out, const int64_t *counts,
                                                            int64_t classes,
                                                            const char *const *names,
                                                            const char *title);

/* How a terminal is told to show pixels. */
typedef enum VitroShowMethod {
    VITRO_SHOW_KITTY = 0,     /* kitty's graphics protocol, a PNG inside */
    VITRO_SHOW_SIXEL = 1,     /* DEC sixel, up to 256 colours chosen by median cut */
    VITRO_SHOW_BLOCKS = 2,    /* two pixels per character cell, 24-bit colour */
    VITRO_SHOW_BLOCKS_256 = 3 /* the same in the 6x6x6 colours of a 256-colour terminal */
} VitroShowMethod;

/* Takes some bytes; what it returns, unless VITRO_OK, ends vitro_show and is returned. */
typedef VitroStatus (*VitroShowFn)(void *user, const void *data, size_t size);

/* Sends `image` to `write` as a terminal wants it, made smaller where it is larger than
 * max_width x max_height pixels (>= 1; of VITRO_SHOW_BLOCKS a cell is one wide and two high). The
 * last byte sent is a newline. Errors: VITRO_E_ARG, _NOMEM, and what `write` returns. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_show(const VitroImage *image, VitroShowMethod method,
                                                  int max_width, int max_height, VitroShowFn write,
                                                  void *user);

#ifdef __cplusplus
}
#endif
#endif
