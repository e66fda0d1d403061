/* SPDX-License-Identifier: Apache-2.0 */
#include "train_curves.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void train_curves_append(TrainCurves *c, const VitroPlotEpoch *epoch)
{
    if (c->count == c->room) {
        int64_t room = c->room ? 2 * c->room : 64;
        VitroPlotEpoch *grown = cli_alloc((size_t)room, sizeof(*grown));
        if (c->count)
            memcpy(grown, c->epochs, (size_t)c->count * sizeof(*grown));
        free(c->epochs);
        c->epochs = grown;
        c->room = room;
    }
    c->epochs[c->count++] = *epoch;
}

void train_curves_add(TrainCurves *c, const EpochRecord *r, const char *output_dir)
{
    VitroPlotEpoch epoch = {.epoch = r->epoch,
                            .train_loss = r->train_loss,
                            .val_loss = r->has_val ? r->val_loss : NAN,
                            .train_accuracy = r->train_acc,
                            .val_accuracy = r->has_val ? r->val_acc : NAN,
                            .learning_rate = r->learning_rate};
    train_curves_append(c, &epoch);
    train_curves_draw(c, output_dir);
}

void train_curves_draw(const TrainCurves *c, const char *output_dir)
{
    char *path = cli_format("%s/curves.png", output_dir);
    VitroImage page = {0};
    if (vitro_plot_curves(&page, c->epochs, c->count) || vitro_image_write_png(path, &page))
        cli_note("warning: the curves are not drawn: %s", vitro_last_error());
    vitro_image_deinit(&page);
    free(path);
}

void train_curves_deinit(TrainCurves *c)
{
    free(c->epochs);
    *c = (TrainCurves){0};
}
