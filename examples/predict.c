/* SPDX-License-Identifier: Apache-2.0 */
/* What is in this picture?
 *
 *     cc predict.c $(pkg-config --cflags --libs vitro) -o predict
 *     ./predict model.pth tulip.jpg
 *
 * The weight file tells the model's geometry, the transform of the pictures and, where it was
 * trained by vitro, the classes' names. */
#include <vitro/vitro.h>

#include <stdio.h>
#include <stdlib.h>

/* Everything that is open. All of it starts as NULL or zero, and every free takes that. */
typedef struct Session {
    VitroDevice *device;
    VitroCheckpoint *file;
    VitroCard card; /* what the file says of itself */
    VitroConfig config;
    VitroModel *model;
    VitroPredictor *predictor;
    VitroImage picture;
    float *input, *probs;
} Session;

static VitroStatus load(Session *s, const char *weights)
{
    VitroStatus st;
    if ((st = vitro_device_open(&s->device, NULL)) != VITRO_OK ||
        (st = vitro_checkpoint_open(&s->file, weights)) != VITRO_OK ||
        (st = vitro_card_read(&s->card, s->file)) != VITRO_OK ||
        (st = vitro_config_from_checkpoint(&s->config, NULL, 0, s->file, &s->card, NULL, 0)) ||
        (st = vitro_model_open(&s->model, s->device, &s->config, s->file, NULL, NULL)))
        return st;
    return vitro_predictor_create(&s->predictor, s->model, 1);
}

static VitroStatus predict(Session *s, const char *path)
{
    int channels = s->config.in_channels;
    int height = s->config.img_height, width = s->config.img_width;
    int64_t classes = vitro_config_outputs(&s->config);
    VitroTransform transform = s->card.has_transform
                                   ? s->card.transform
                                   : vitro_transform_default(height, width, channels);
    s->input = malloc(sizeof(float) * (size_t)channels * (size_t)height * (size_t)width);
    s->probs = malloc(sizeof(float) * (size_t)classes);
    if (!s->input || !s->probs)
        return VITRO_E_NOMEM;
    VitroStatus st;
    if ((st = vitro_image_read(&s->picture, path, channels, false)) != VITRO_OK ||
        (st = vitro_transform_apply(s->input, &s->picture, &transform)) != VITRO_OK ||
        (st = vitro_predictor_run(s->predictor, s->input, 1, s->probs)) != VITRO_OK)
        return st;
    vitro_softmax(s->probs, s->probs, classes);
    return VITRO_OK;
}

static void print_best(const Session *s)
{
    int64_t best = 0;
    for (int64_t i = 1; i < vitro_config_outputs(&s->config); i++)
        if (s->probs[i] > s->probs[best])
            best = i;
    if (best < s->card.class_count)
        printf("class: %s prob: %.3g\n", s->card.class_names[best], (double)s->probs[best]);
    else
        printf("class: %lld prob: %.3g\n", (long long)best, (double)s->probs[best]);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: predict WEIGHTS PICTURE\n");
        return 2;
    }
    Session s = {0};
    VitroStatus st = load(&s, argv[1]);
    if (st == VITRO_OK)
        st = predict(&s, argv[2]);
    if (st == VITRO_OK)
        print_best(&s);
    else
        fprintf(stderr, "predict: %s: %s\n", vitro_status_name(st), vitro_last_error());

    free(s.input);
    free(s.probs);
    vitro_image_deinit(&s.picture);
    vitro_predictor_free(s.predictor);
    vitro_model_free(s.model);
    vitro_card_deinit(&s.card);
    vitro_checkpoint_close(s.file); /* after the model: its weights lie there */
    vitro_device_close(s.device);   /* last of all: the model lives on it */
    return st == VITRO_OK ? 0 : 1;
}
