/* SPDX-License-Identifier: Apache-2.0 */
#include "train/clip.h"

#include <math.h>

double vitro_clip_scale(double sum_of_squares, double max_norm)
{
    if (max_norm == 0)
        return 1;
    double scale = max_norm / (sqrt(sum_of_squares) + 1e-6);
    return scale < 1 ? scale : 1;
}
