/* SPDX-License-Identifier: Apache-2.0 */
/* Somebody else's C++ program: the same library behind destructors and an exception. */
#include <vitro/vitro.h>

#include <cmath>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <vector>

static void must(VitroStatus st)
{
    if (st != VITRO_OK)
        throw std::runtime_error(std::string(vitro_status_name(st)) + ": " + vitro_last_error());
}

struct Free {
    void operator()(VitroDevice *p) const { vitro_device_close(p); }
    void operator()(VitroModel *p) const { vitro_model_free(p); }
    void operator()(VitroPredictor *p) const { vitro_predictor_free(p); }
};
template <class T> using Owned = std::unique_ptr<T, Free>;

int main()
try {
    VitroConfig config;
    must(vitro_config_preset(&config, "vit_tiny_patch4_28"));
    config.embed_dim = 24;
    config.num_heads = 3;
    config.depth = 1;
    VitroDeviceOptions options{"ref", 1, VITRO_FP32};
    VitroDevice *device = nullptr;
    VitroModel *model = nullptr;
    VitroPredictor *predictor = nullptr;
    must(vitro_device_open(&device, &options));
    Owned<VitroDevice> device_owner(device);
    must(vitro_model_create(&model, device, &config));
    Owned<VitroModel> model_owner(model);
    must(vitro_model_init(model, 1));
    must(vitro_predictor_create(&predictor, model, 2));
    Owned<VitroPredictor> predictor_owner(predictor);
    std::vector<float> images(2 * 28 * 28, 0.25f), logits(2 * config.num_classes, NAN);
    must(vitro_predictor_run(predictor, images.data(), 2, logits.data()));
    for (int k = 0; k < config.num_classes; k++)
        if (!(logits[k] == logits[k + config.num_classes]))
            throw std::runtime_error("two equal pictures, two different answers");
    config.num_heads = 5; /* does not divide 24: must be refused, with words */
    VitroModel *none = nullptr;
    if (vitro_model_create(&none, device, &config) != VITRO_E_ARG || !*vitro_last_error())
        throw std::runtime_error("a bad configuration was accepted");
    std::printf("C++ too, on %s\n", vitro_device_name(device));
    return 0;
} catch (const std::exception &e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
}
