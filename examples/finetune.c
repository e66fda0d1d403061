/* SPDX-License-Identifier: Apache-2.0 */
/* Teaches a trained model the classes of your own pictures: a folder per class.
 *
 *     cc finetune.c $(pkg-cfg --cflags --libs vitro) -o finetune
 *     ./finetune vit_base_patch16_224_in21k.pth flowers tuned.pth 10
 * Only a new head is trained. A fifth of the pictures is kept back to measure with. */
#include <vitro/vitro.h>
#include <stdio.h>
#include <stdlib.h>

#define BATCH 16

/* Ends the program where a call failed; predict.c shows how to pass the status on instead. */
static void must(VitroStatus st)
{
    if (st == VITRO_OK)
        return;
    fprintf(stderr, "finetune: %s: %s\n", vitro_status_name(st), vitro_last_error());
    exit(1);
}

static void train_epoch(VitroTrainer *trainer, VitroLoader *loader, int epoch)
{
    VitroBatch batch;
    VitroStepResult step;
    double loss = 0;
    must(vitro_loader_start(loader, (uint32_t)epoch, 0));
    while (must(vitro_loader_next(loader, &batch)), batch.count > 0) {
        must(vitro_trainer_step(trainer, &batch, &step));
        loss += step.loss;
    }
    vitro_trainer_end_epoch(trainer);
    printf("epoch %d: loss %.4f\n", epoch, loss / (double)vitro_loader_batches(loader));
}

int main(int argc, char **argv)
{
    VitroTrainOptions options = vitro_train_options_default();
    options.freeze = true; /* all but the head */
    options.batch_size = BATCH;
    options.epochs = argc == 5 ? (int)strtol(argv[4], NULL, 10) : 0;
    if (options.epochs < 1) {
        fprintf(stderr, "usage: finetune WEIGHTS FOLDER OUT.pth EPOCHS\n");
        return 2;
    }
    VitroCheckpoint *file;
    VitroCard card = {0}; /* what a file says of itself: transform, class names, ... */
    VitroConfig cfg;
    must(vitro_checkpoint_open(&file, argv[1]));
    must(vitro_card_read(&card, file));
    must(vitro_config_from_checkpoint(&cfg, NULL, 0, file, &card, NULL, 0));
    if (!card.has_transform)
        card.transform = vitro_transform_default(cfg.img_height, cfg.img_width, cfg.in_channels);
    card.has_transform = true;
    VitroDataset *train, *val;
    VitroDatasetOptions set = {.path = argv[2], .channels = cfg.in_channels};
    must(vitro_dataset_open(&train, &set));
    set.split = VITRO_SPLIT_VAL;
    must(vitro_dataset_open(&val, &set));
    cfg.num_classes = (int)vitro_dataset_class_count(train);
    VitroDevice *device;
    VitroModel *model;
    must(vitro_device_open(&device, NULL));
    must(vitro_model_create(&model, device, &cfg));
    must(vitro_model_init(model, 0)); /* draws the head; the file's tensors replace the rest */
    must(vitro_model_load(model, file, &(VitroLoadOptions){.skip_head = true}, NULL));

    /* Batches, decoded by two threads while the model computes. */
    VitroLoader *train_loader, *val_loader;
    VitroLoaderOptions how = {.batch_size = BATCH, .workers = 2, .transform = card.transform};
    must(vitro_loader_open(&val_loader, val, &how));
    how.augment = how.shuffle = true;
    must(vitro_loader_open(&train_loader, train, &how));

    VitroTrainer *trainer;
    must(vitro_trainer_create(&trainer, model, &options, vitro_loader_batches(train_loader)));
    for (int epoch = 0; epoch < options.epochs; epoch++)
        train_epoch(trainer, train_loader, epoch);
    VitroPredictor *predictor;
    VitroEvalResult result;
    must(vitro_predictor_create(&predictor, model, BATCH));
    must(vitro_evaluate(predictor, val_loader, &result, false, NULL, NULL));
    printf("right: %.1f %% of %lld pictures\n", 100 * result.top1, (long long)result.images);
    must(vitro_card_set_classes(&card, vitro_dataset_class_names(train), cfg.num_classes));
    must(vitro_model_save(model, argv[3], VITRO_FORMAT_PTH, &card));

    vitro_eval_result_deinit(&result);
    vitro_predictor_free(predictor);
    vitro_trainer_free(trainer);
    vitro_loader_close(train_loader);
    vitro_loader_close(val_loader);
    vitro_model_free(model);
    vitro_device_close(device);
    vitro_dataset_close(train);
    vitro_dataset_close(val);
    vitro_card_deinit(&card);
    vitro_checkpoint_close(file);
    return 0;
}
