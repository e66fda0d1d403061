/* SPDX-License-Identifier: Apache-2.0 */
#include "train/schedule.h"

#include <math.h>

#define PI 3.14159265358979323846 /* Python's math.pi */

double vitro_schedule_epoch_lr(const VitroSchedule *s, int64_t epoch)
{
    double lf = (1 + cos((double)epoch * PI / s->epochs)) / 2 * (1 - s->lrf) + s->lrf;
    return s->lr * lf;
}

double vitro_schedule_step_lr(const VitroSchedule *s, int64_t epoch, int64_t step)
{
    if (step >= s->warmup_steps)
        return vitro_schedule_epoch_lr(s, epoch);
    return s->lr * (0.01 + 0.99 * ((double)step / (double)s->warmup_steps));
}
