/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of the training options. */
#ifndef VITRO_TRAIN_OPTIONS_H
#define VITRO_TRAIN_OPTIONS_H

#include "model/params.h"
#include "vitro/train.h"

VitroMode vitro_train_mode(const VitroTrainOptions *options);
/* Whether no more gradients are held than those of one part of the parameters: where memory is to
 * be saved, and no step needs them all. */
bool vitro_train_by_parts(const VitroTrainOptions *options);
/* Elements of the gradients that a trainer holds for the parameters `p`. */
int64_t vitro_train_grad_count(const VitroTrainOptions *options, const VitroParams *p);
/* VITRO_E_ARG: the text names the option, its value and the range. */
VitroStatus vitro_train_options_validate(const VitroTrainOptions *options);

#endif
