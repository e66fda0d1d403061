/* SPDX-License-Identifier: Apache-2.0 */
/* make_onnx FOLDER: a small model for each argument of the configuration, with random parameters,
 * as <name>.onnx, with an input of four pictures and its output by the back end "ref" as plain
 * float32 in <name>.in and <name>.out. tests/python/check_onnx.py runs them elsewhere. */
#include "vitro/vitro.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 4 };

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "make_onnx: %s: %s\n", #condition, vitro_last_error());                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static uint32_t state = 1;

static float noise(void)
{
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) * 0x1p-23f - 1;
}

static void write_floats(const char *folder, const char *name, const char *end, const float *data,
                         size_t count)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s.%s", folder, name, end);
    FILE *f = fopen(path, "wb");
    REQUIRE(f && fwrite(data, sizeof(*data), count, f) == count && fclose(f) == 0);
}

static void fill(VitroModel *model)
{
    for (int64_t i = 0; i < vitro_model_param_count(model); i++) {
        VitroParamInfo info = vitro_model_param(model, i);
        float *v = malloc((size_t)info.count * sizeof(*v));
        REQUIRE(v && vitro_model_param_get(model, i, v) == VITRO_OK);
        for (int64_t k = 0; k < info.count; k++)
            v[k] += 0.2f * noise();
        REQUIRE(vitro_model_param_set(model, i, v) == VITRO_OK);
        free(v);
    }
}

static void make(const char *folder, const char *name, const VitroConfig *cfg)
{
    VitroDevice *dev;
    VitroModel *model;
    VitroPredictor *predictor;
    VitroCheckpoint *ckpt;
    char path[4096];
    const size_t pixels =
        (size_t)cfg->in_channels * (size_t)cfg->img_height * (size_t)cfg->img_width;
    const size_t outputs = (size_t)vitro_config_outputs(cfg);
    float *in = malloc(IMAGES * pixels * sizeof(*in)),
          *out = malloc(IMAGES * outputs * sizeof(*out));
    REQUIRE(in && out);
    REQUIRE(vitro_device_open(&dev, &(VitroDeviceOptions){.name = "ref"}) == VITRO_OK);
    REQUIRE(vitro_model_create(&model, dev, cfg) == VITRO_OK);
    REQUIRE(vitro_model_init(model, 1) == VITRO_OK);
    fill(model);
    for (size_t i = 0; i < IMAGES * pixels; i++)
        in[i] = 2 * noise();
    REQUIRE(vitro_predictor_create(&predictor, model, IMAGES) == VITRO_OK);
    REQUIRE(vitro_predictor_run(predictor, in, IMAGES, out) == VITRO_OK);
    write_floats(folder, name, "in", in, IMAGES * pixels);
    write_floats(folder, name, "out", out, IMAGES * outputs);
    snprintf(path, sizeof(path), "%s/%s.safetensors", folder, name);
    REQUIRE(vitro_model_save(model, path, VITRO_FORMAT_SAFETENSORS, NULL) == VITRO_OK);
    REQUIRE(vitro_checkpoint_open(&ckpt, path) == VITRO_OK);
    snprintf(path, sizeof(path), "%s/%s.onnx", folder, name);
    REQUIRE(vitro_export_onnx(ckpt, path, cfg, NULL, false) == VITRO_OK);
    vitro_checkpoint_close(ckpt);
    vitro_predictor_free(predictor);
    vitro_model_free(model);
    vitro_device_close(dev);
    free(in);
    free(out);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_onnx FOLDER\n");
        return 2;
    }
    VitroConfig plain;
    REQUIRE(vitro_config_preset(&plain, "vit_tiny_patch4_32") == VITRO_OK);
    plain.img_height = 14;
    plain.img_width = 21; /* a remainder each way */
    plain.embed_dim = 24;
    plain.depth = 2;
    plain.num_heads = 3;
    plain.num_classes = 7;
    VitroConfig c;
#define MAKE(name, ...)                                                                            \
    do {                                                                                           \
        c = plain;                                                                                 \
        __VA_ARGS__;                                                                               \
        make(argv[1], name, &c);                                                                   \
    } while (0)
    MAKE("plain", (void)c);
    MAKE("layer_scale", c.init_values = 0.1);
    MAKE("avg", c.global_pool = VITRO_POOL_AVG);
    MAKE("avg_fc_norm", c.global_pool = VITRO_POOL_AVG, c.fc_norm = true);
    MAKE("avg_prefix", c.global_pool = VITRO_POOL_AVG, c.pool_include_prefix = true);
    MAKE("avg_no_class", c.global_pool = VITRO_POOL_AVG, c.no_class_token = true);
    MAKE("map", c.global_pool = VITRO_POOL_MAP);
    MAKE("map_fc_norm_registers", c.global_pool = VITRO_POOL_MAP, c.fc_norm = true,
         c.reg_tokens = 3);
    MAKE("map_features", c.global_pool = VITRO_POOL_MAP, c.no_class_token = true,
         c.num_classes = 0);
    MAKE("registers", c.reg_tokens = 2);
    MAKE("no_embed_class", c.no_embed_class = true, c.reg_tokens = 2);
    MAKE("distilled", c.distilled = true);
    MAKE("distilled_features", c.distilled = true, c.num_classes = 0);
    MAKE("pre_norm", c.pre_norm = true);
    MAKE("no_final_norm", c.no_final_norm = true);
    MAKE("fc_norm", c.fc_norm = true);
    MAKE("qk_norm", c.qk_norm = true);
    MAKE("no_proj_bias", c.no_proj_bias = true, c.qkv_bias = false);
    MAKE("patch_pre_norm", c.patch_pre_norm = true, c.patch_norm = true);
    MAKE("patch_pre_norm_pre_norm", c.patch_pre_norm = true, c.pre_norm = true);
    MAKE("quick_gelu", c.act = VITRO_ACT_GELU_QUICK);
    MAKE("gelu_tanh_pre_logits", c.act = VITRO_ACT_GELU_TANH, c.representation_size = 10);
    return 0;
}
