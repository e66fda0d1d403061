/* SPDX-License-Identifier: Apache-2.0 */
/* Gradient clipping by the norm of the whole gradient. */
#ifndef VITRO_TRAIN_CLIP_H
#define VITRO_TRAIN_CLIP_H

/* What torch.nn.utils.clip_grad_norm_ multiplies every gradient with:
 * min(1, max_norm / (norm + 1e-6)), norm = sqrt(sum_of_squares). 1 where max_norm is 0 (off). */
double vitro_clip_scale(double sum_of_squares, double max_norm);

#endif
