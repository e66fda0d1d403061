/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers along one side of a plot: which range is shown, where the ticks are, how they read.
 * Knows nothing of pixels. */
#ifndef VITRO_PLOT_AXIS_H
#define VITRO_PLOT_AXIS_H

#include <stdbool.h>

#define VITRO_AXIS_TICKS 16
#define VITRO_AXIS_TEXT  40

typedef struct VitroAxis {
    double low, high; /* low < high */
    bool log;         /* equal ratios at equal distances */
    double tick[VITRO_AXIS_TICKS];
    int tick_count;
    int exponent, decimals; /* labels are of tick / 10^exponent; not where `log` */
} VitroAxis;

/* Covers low..high (finite, low <= high) with round ends and some `wanted` intervals; the range is
 * widened where it is empty. */
VitroAxis vitro_axis_linear(double low, double high, int wanted);
/* Ticks at powers of ten; 0 < low, 100 * low <= high. */
VitroAxis vitro_axis_log(double low, double high);
/* Whole numbers low..high with a small margin on either side; low <= high. */
VitroAxis vitro_axis_whole(double low, double high, int wanted);

/* Where v lies: 0 at low, 1 at high. */
double vitro_axis_at(const VitroAxis *axis, double v);
void vitro_axis_label(const VitroAxis *axis, int tick, char out[VITRO_AXIS_TEXT]);
/* "10" with `exponent` raised, in UTF-8. */
void vitro_axis_power(int exponent, char out[VITRO_AXIS_TEXT]);

#endif
