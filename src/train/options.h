/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of the training options. */
#ifndef VITRO_TRAIN_OPTIONS_H
#define VITRO_TRAIN_OPTIONS_H

#include "vitro/train.h"

VitroMode vitro_train_mode(const VitroTrainOptions *options);
/* VITRO_E_ARG: the text names the option, its value and the range. */
VitroStatus vitro_train_options_validate(const VitroTrainOptions *options);

#endif
