/* SPDX-License-Identifier: Apache-2.0 */
/* Somebody else's program: predicts with a small model that it has drawn, by the installed headers
 * and library alone, and checks that both are of one version. */
#include <vitro/vitro.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static VitroStatus predict(VitroModel **model, VitroPredictor **predictor, VitroDevice **device)
{
    VitroConfig config;
    static float image[3 * 32 * 32];
    float logits[4] = {NAN, NAN, NAN, NAN};
    VitroStatus st;
    if ((st = vitro_config_preset(&config, "vit_tiny_patch4_32")) != VITRO_OK)
        return st;
    config.embed_dim = 24;
    config.num_heads = 3;
    config.depth = 1;
    config.num_classes = 4;
    VitroDeviceOptions options = {"cpu", 1, VITRO_FP32};
    if ((st = vitro_device_open(device, &options)) != VITRO_OK ||
        (st = vitro_model_create(model, *device, &config)) != VITRO_OK ||
        (st = vitro_model_init(*model, 1)) != VITRO_OK ||
        (st = vitro_predictor_create(predictor, *model, 1)) != VITRO_OK ||
        (st = vitro_predictor_run(*predictor, image, 1, logits)) != VITRO_OK)
        return st;
    vitro_softmax(logits, logits, 4);
    float sum = logits[0] + logits[1] + logits[2] + logits[3];
    printf("sum of probabilities %.4f\n", (double)sum);
    return fabsf(sum - 1) < 1e-5f ? VITRO_OK : VITRO_E_NUMERIC;
}

int main(void)
{
    char header_version[32];
    snprintf(header_version, sizeof(header_version), "%d.%d.%d", VITRO_VERSION_MAJOR,
             VITRO_VERSION_MINOR, VITRO_VERSION_PATCH);
    if (strcmp(header_version, vitro_version()) != 0) {
        fprintf(stderr, "headers of %s, library of %s\n", header_version, vitro_version());
        return 1;
    }
    VitroModel *model = NULL;
    VitroPredictor *predictor = NULL;
    VitroDevice *device = NULL;
    VitroStatus st = predict(&model, &predictor, &device);
    if (st != VITRO_OK)
        fprintf(stderr, "%s: %s\n", vitro_status_name(st), vitro_last_error());
    vitro_predictor_free(predictor);
    vitro_model_free(model);
    vitro_device_close(device);
    return st != VITRO_OK;
}
