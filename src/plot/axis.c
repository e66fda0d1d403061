/* SPDX-License-Identifier: Apache-2.0 */
#include "plot/axis.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* 1, 2, 2.5 or 5 times a power of ten: the least that is not below `step`. */
static double round_step(double step)
{
    static const double steps[] = {1, 2, 2.5, 5, 10};
    double power = pow(10, floor(log10(step)));
    for (int i = 0; i < 4; i++)
        if (step <= steps[i] * power * (1 + 1e-9))
            return steps[i] * power;
    return 10 * power;
}

/* Multiples of `step` from low to high, as many as there is room for. */
static void place_ticks(VitroAxis *axis, double low, double high, double step)
{
    double first = ceil(low / step - 1e-6);
    for (int i = 0; i < VITRO_AXIS_TICKS && (first + i) * step <= high + step * 1e-6; i++)
        axis->tick[axis->tick_count++] = (first + i) * step;
}

VitroAxis vitro_axis_linear(double low, double high, int wanted)
{
    VitroAxis axis = {0};
    double largest = fmax(fabs(low), fabs(high));
    /* Ticks would not differ in any digit that is shown, or have none that a double keeps. */
    if (high - low <= fmax(largest * 1e-9, 1e-290)) {
        double room = largest > 1e-280 ? largest * 0.1 : 1;
        low -= room;
        high += room;
    }
    double step = round_step((high - low) / wanted);
    axis.low = floor(low / step + 1e-6) * step;
    axis.high = ceil(high / step - 1e-6) * step;
    place_ticks(&axis, axis.low, axis.high, step);
    int exponent = (int)floor(log10(fmax(fabs(axis.low), fabs(axis.high))) + 1e-9);
    axis.exponent = exponent < -2 || exponent > 4 ? exponent : 0;
    /* As many digits as the step has: 2.5 has one more than 2. */
    double unit = pow(10, axis.exponent), shown = step / unit;
    while (axis.decimals < 9 && fabs(shown - round(shown)) > 1e-6 * shown) {
        shown *= 10;
        axis.decimals++;
    }
    return axis;
}

VitroAxis vitro_axis_log(double low, double high)
{
    VitroAxis axis = {.low = low / 1.2, .high = high * 1.2, .log = true};
    double first = ceil(log10(axis.low)), last = floor(log10(axis.high));
    double stride = ceil((last - first + 1) / 7);
    for (int i = 0; i < VITRO_AXIS_TICKS && first + i * stride <= last; i++)
        axis.tick[axis.tick_count++] = pow(10, first + i * stride);
    return axis;
}

VitroAxis vitro_axis_whole(double low, double high, int wanted)
{
    double room = high > low ? (high - low) * 0.03 : fmax(1, fabs(high) * 1e-12);
    VitroAxis axis = {.low = low - room, .high = high + room};
    place_ticks(&axis, low, high,
                high > low ? fmax(1, ceil(round_step((high - low) / wanted))) : 1);
    return axis;
}

double vitro_axis_at(const VitroAxis *axis, double v)
{
    if (axis->log)
        return (log(v) - log(axis->low)) / (log(axis->high) - log(axis->low));
    return (v - axis->low) / (axis->high - axis->low);
}

void vitro_axis_label(const VitroAxis *axis, int tick, char out[VITRO_AXIS_TEXT])
{
    double v = axis->tick[tick];
    if (axis->log && (v < 0.9e-3 || v > 1.1e4))
        vitro_axis_power((int)round(log10(v)), out);
    else if (axis->log)
        snprintf(out, VITRO_AXIS_TEXT, "%g", v);
    else
        snprintf(out, VITRO_AXIS_TEXT, "%.*f", axis->decimals, v / pow(10, axis->exponent) + 0.0);
}

void vitro_axis_power(int exponent, char out[VITRO_AXIS_TEXT])
{
    static const char *const raised[] = {
        "\xE2\x81\xB0", "\xC2\xB9",     "\xC2\xB2",     "\xC2\xB3",     "\xE2\x81\xB4",
        "\xE2\x81\xB5", "\xE2\x81\xB6", "\xE2\x81\xB7", "\xE2\x81\xB8", "\xE2\x81\xB9"};
    char digits[16];
    snprintf(digits, sizeof(digits), "%d", exponent);
    int n = snprintf(out, VITRO_AXIS_TEXT, "10");
    for (const char *d = digits; *d; d++)
        n += snprintf(out + n, (size_t)(VITRO_AXIS_TEXT - n), "%s",
                      *d == '-' ? "\xE2\x81\xBB" : raised[*d - '0']);
}
