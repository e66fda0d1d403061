/* SPDX-License-Identifier: Apache-2.0 */
/* libvitro: Vision Transformers in C. Everything at once; or include the parts you need. Whole
 * programs are in examples/, what they stand on is told in docs/LIBRARY.md.
 *
 *     VitroDevice *dev;
 *     VitroCheckpoint *ckpt;
 *     VitroCard card = {0};
 *     VitroConfig cfg;
 *     VitroModel *model;
 *     VitroPredictor *predictor;
 *     VitroImage picture = {0};
 *     if (vitro_device_open(&dev, NULL) || vitro_checkpoint_open(&ckpt, "model.pth") ||
 *         vitro_card_read(&card, ckpt) ||
 *         vitro_config_from_checkpoint(&cfg, NULL, 0, ckpt, &card, NULL, 0) ||
 *         vitro_model_open(&model, dev, &cfg, ckpt, NULL, NULL) ||
 *         vitro_predictor_create(&predictor, model, 1) ||
 *         vitro_image_read(&picture, "tulip.jpg", 3, false))
 *         return fprintf(stderr, "%s\n", vitro_last_error()), 1;
 *     VitroTransform t = card.transform;
 *     if (!card.has_transform)
 *         t = vitro_transform_default(cfg.img_height, cfg.img_width, 3);
 *     float *input = malloc(sizeof(float) * 3 * t.width * t.height);
 *     float *logits = malloc(sizeof(float) * vitro_config_outputs(&cfg));
 *     if (vitro_transform_apply(input, &picture, &t) ||
 *         vitro_predictor_run(predictor, input, 1, logits))
 *         return fprintf(stderr, "%s\n", vitro_last_error()), 1;
 */
#ifndef VITRO_H
#define VITRO_H

#include "vitro/base.h"
#include "vitro/checkpoint.h"
#include "vitro/data.h"
#include "vitro/device.h"
#include "vitro/download.h"
#include "vitro/export.h"
#include "vitro/hub.h"
#include "vitro/image.h"
#include "vitro/model.h"
#include "vitro/plot.h"
#include "vitro/session.h"
#include "vitro/train.h"

#endif
