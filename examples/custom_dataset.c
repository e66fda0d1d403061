/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures that lie in no folder: these are drawn on demand; they might come from a database or a
 * camera. A small model learns, from scratch, to tell lying from upright stripes.
 *
 *     cc custom_dataset.c $(pkg-config --cflags --libs vitro) -o custom_dataset
 *     ./custom_dataset */
#include <vitro/vitro.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 16, BATCH = 32, EPOCHS = 4 };
static const char *const class_names[] = {"lying", "upright"};

static int32_t label(void *user, int64_t i)
{
    (void)user;
    return (int32_t)(i % 2); /* odd pictures are upright */
}

/* Draws picture i. The loader's threads call this at the same time, so it writes nothing that they
 * share; and the same i gives the same picture, so that every epoch sees the same set. */
static VitroStatus draw(void *user, int64_t i, VitroImage *image)
{
    const uint32_t *seed = user;
    uint32_t random = ((uint32_t)i + *seed) * 2654435761u;
    int width = 2 + (int)(random >> 16) % 3, shift = (int)(random >> 24) % 8;
    VitroStatus st = vitro_image_init(image, SIDE, SIDE, 1);
    for (int k = 0; st == VITRO_OK && k < SIDE * SIDE; k++)
        image->pixels[k] = ((i % 2 ? k % SIDE : k / SIDE) + shift) / width % 2 ? 255 : 0;
    return st;
}

static void must(VitroStatus st)
{
    if (st != VITRO_OK) {
        fprintf(stderr, "custom_dataset: %s: %s\n", vitro_status_name(st), vitro_last_error());
        exit(1);
    }
}

static VitroLoader *open_loader(VitroDataset **set, int64_t count, uint32_t *seed)
{
    VitroCustomDataset own = {.user = seed, .count = count, .class_count = 2, .channels = 1};
    own.label = label, own.read = draw, own.class_names = class_names;
    VitroLoader *loader;
    VitroLoaderOptions how = {.batch_size = BATCH, .workers = 2, .shuffle = true};
    how.transform = vitro_transform_default(SIDE, SIDE, 1);
    how.transform.keep_exact = true; /* the pictures have the model's size already */
    must(vitro_dataset_custom(set, &own));
    must(vitro_loader_open(&loader, *set, &how));
    return loader;
}

int main(void)
{
    uint32_t train_seed = 1, val_seed = 1000000;
    VitroDataset *train_set, *val_set;
    VitroLoader *train = open_loader(&train_set, 640, &train_seed);
    VitroLoader *val = open_loader(&val_set, 200, &val_seed);
    VitroDevice *device;
    VitroModel *model;
    VitroConfig config;
    must(vitro_config_preset(&config, "vit_tiny_patch4_28"));
    config.img_height = config.img_width = SIDE, config.num_classes = 2, config.embed_dim = 32;
    config.depth = 2, config.num_heads = 2;
    must(vitro_device_open(&device, NULL));
    must(vitro_model_create(&model, device, &config));
    must(vitro_model_init(model, 0));

    VitroTrainer *trainer;
    VitroTrainOptions options = vitro_train_options_default();
    options.optimizer = VITRO_ADAMW, options.lr = 0.004;
    options.epochs = EPOCHS, options.batch_size = BATCH;
    must(vitro_trainer_create(&trainer, model, &options, vitro_loader_batches(train)));
    for (uint32_t epoch = 0; epoch < EPOCHS; epoch++) {
        VitroBatch batch;
        VitroStepResult step;
        must(vitro_loader_start(train, epoch, 0));
        while (must(vitro_loader_next(train, &batch)), batch.count > 0)
            must(vitro_trainer_step(trainer, &batch, &step));
        vitro_trainer_end_epoch(trainer);
    }
    VitroPredictor *predictor;
    VitroEvalResult result;
    must(vitro_predictor_create(&predictor, model, BATCH));
    must(vitro_evaluate(predictor, val, &result, false, NULL, NULL));
    printf("right: %.1f %% of %lld pictures\n", 100 * result.top1, (long long)result.images);

    vitro_eval_result_deinit(&result);
    vitro_predictor_free(predictor);
    vitro_trainer_free(trainer);
    vitro_model_free(model);
    vitro_device_close(device);
    vitro_loader_close(train);
    vitro_loader_close(val);
    vitro_dataset_close(train_set);
    vitro_dataset_close(val_set);
    return 0;
}
