/* SPDX-License-Identifier: Apache-2.0 */
/* make_fixtures FOLDER: small models, pictures and data sets for the command-line tests. All of it
 * is a function of this file: whole numbers divided by powers of two. */
#include "vitro/vitro.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "make_fixtures: %s: %s\n", #condition, vitro_last_error());            \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static const char *folder;

static const char *in_folder(const char *name)
{
    static char path[4096];
    REQUIRE(snprintf(path, sizeof(path), "%s/%s", folder, name) < (int)sizeof(path));
    return path;
}

static uint32_t state;

static uint32_t draw(uint32_t below)
{
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % below;
}

/* ---- models -----------------------------------------------------------------------------------
 */

static VitroConfig tiny_config(int channels, int classes)
{
    VitroConfig c;
    REQUIRE(vitro_config_preset(&c, "vit_tiny_patch4_32") == VITRO_OK);
    c.img_height = c.img_width = 16;
    c.patch_size = 8;
    c.in_channels = channels;
    c.num_classes = classes;
    c.embed_dim = 16;
    c.depth = 2;
    c.num_heads = 2;
    return c;
}

/* LayerNorm weights about 1, all else within +-1/4; `spoil` puts a NaN in the head. */
static void fill(VitroModel *model, bool spoil)
{
    state = 12345;
    for (int64_t i = 0; i < vitro_model_param_count(model); i++) {
        VitroParamInfo info = vitro_model_param(model, i);
        float *v = malloc((size_t)info.count * sizeof(*v));
        bool norm = strstr(info.name, "norm") && strstr(info.name, ".weight");
        for (int64_t k = 0; k < info.count; k++)
            v[k] = ((float)draw(1024) - 512) / 2048 + (norm ? 1.0f : 0.0f);
        if (spoil && strcmp(info.name, "head.bias") == 0)
            v[0] = NAN;
        REQUIRE(vitro_model_param_set(model, i, v) == VITRO_OK);
        free(v);
    }
}

static void write_model(const char *name, VitroConfig config, bool with_card, bool spoil)
{
    static const char *const classes[] = {"daisy", "red rose", "tulip"};
    VitroDevice *dev;
    VitroModel *model;
    VitroCard card = {0};
    VitroDeviceOptions options = {.name = "ref"};
    REQUIRE(vitro_device_open(&dev, &options) == VITRO_OK);
    REQUIRE(vitro_model_create(&model, dev, &config) == VITRO_OK);
    fill(model, spoil);
    card.transform =
        vitro_transform_default(config.img_height, config.img_width, config.in_channels);
    card.has_transform = true;
    if (config.num_classes == 3)
        REQUIRE(vitro_card_set_classes(&card, classes, 3) == VITRO_OK);
    if (with_card) {
        VitroCheckpointFormat format =
            strstr(name, ".pth") ? VITRO_FORMAT_PTH : VITRO_FORMAT_SAFETENSORS;
        REQUIRE(vitro_model_save(model, in_folder(name), format, &card) == VITRO_OK);
    } else {
        VitroTensorSource t[256];
        int64_t count = vitro_model_param_count(model);
        REQUIRE(count <= 256);
        for (int64_t i = 0; i < count; i++) {
            VitroParamInfo info = vitro_model_param(model, i);
            float *v = malloc((size_t)info.count * sizeof(*v));
            REQUIRE(vitro_model_param_get(model, i, v) == VITRO_OK);
            t[i] = (VitroTensorSource){
                .name = info.name, .dtype = VITRO_F32, .rank = info.rank, .data = v};
            memcpy(t[i].dim, info.dim, (size_t)info.rank * sizeof(info.dim[0]));
        }
        REQUIRE(vitro_checkpoint_write(in_folder(name), VITRO_FORMAT_SAFETENSORS, t, count, NULL) ==
                VITRO_OK);
        for (int64_t i = 0; i < count; i++)
            free((void *)t[i].data);
    }
    vitro_card_deinit(&card);
    vitro_model_free(model);
    vitro_device_close(dev);
}

/* ---- pictures and data sets ---------------------------------------------------------------------
 */

static FILE *create(const char *name)
{
    FILE *f = fopen(in_folder(name), "wb");
    REQUIRE(f);
    return f;
}

static void finish(FILE *f)
{
    REQUIRE(!ferror(f));
    REQUIRE(fclose(f) == 0);
}

/* A soft gradient with noise, `channels` 3: P6, 1: P5. */
static void write_picture(const char *name, int width, int height, int channels, uint32_t seed)
{
    FILE *f = create(name);
    state = seed;
    fprintf(f, "P%d\n%d %d\n255\n", channels == 3 ? 6 : 5, width, height);
    for (int i = 0; i < width * height * channels; i++)
        fputc((int)((uint32_t)i * 200 / (uint32_t)(width * height * channels) + draw(50)), f);
    finish(f);
}

static void write_text(const char *name, const char *text)
{
    FILE *f = create(name);
    fputs(text, f);
    finish(f);
}

static void make_dir(const char *name)
{
    REQUIRE(mkdir(in_folder(name), 0777) == 0);
}

/* The layout of cifar-10-batches-bin: records of a label and 3 planes of 32x32. */
static void write_cifar10(const char *name, int rows)
{
    FILE *f = create(name);
    state = 99;
    for (int i = 0; i < rows; i++) {
        fputc(i % 10, f);
        for (int k = 0; k < 3072; k++)
            fputc((int)draw(256), f);
    }
    finish(f);
}

static void write_pictures(void)
{
    write_picture("a.ppm", 20, 18, 3, 1);
    write_picture("b.ppm", 16, 16, 3, 2);
    write_picture("grey.pgm", 24, 40, 1, 3);
    write_text("broken.ppm", "P6\n20 18\n255\ntoo short");
    write_text("notes.txt", "no picture\n");
    make_dir("pictures");
    write_picture("pictures/one.ppm", 18, 18, 3, 4);
    write_picture("pictures/two.ppm", 30, 20, 3, 5);
    write_text("pictures/notes.txt", "not a picture\n");
    make_dir("empty");
    static const char *const classes[] = {"daisy", "red rose", "tulip"};
    make_dir("flowers");
    make_dir("flowers/train");
    make_dir("flowers/val");
    for (uint32_t c = 0; c < 3; c++)
        for (uint32_t i = 0; i < 4; i++) {
            char name[64];
            const char *split = i < 2 ? "train" : "val";
            snprintf(name, sizeof(name), "flowers/%s/%s", split, classes[c]);
            if (i % 2 == 0)
                make_dir(name);
            snprintf(name, sizeof(name), "flowers/%s/%s/%u.ppm", split, classes[c], i);
            write_picture(name, 20, 20, 3, 10 * c + i);
        }
    make_dir("cifar-10-batches-bin");
    write_cifar10("cifar-10-batches-bin/test_batch.bin", 20);
}

/* bare.safetensors under other names, and the key map that leads back. */
static void write_foreign(void)
{
    VitroCheckpoint *ckpt;
    write_text("away.map", "blocks.*.attn.qkv.weight = layer.*.in.weight\n"
                           "cls_token = token\n"
                           "head.weight(1,0) = out.kernel\n");
    write_text("foreign.map", "# from foreign.npz to the names of Vitro\n"
                              "layer.*.in.weight = blocks.*.attn.qkv.weight\n"
                              "token = cls_token\n"
                              "out.kernel(1,0) = head.weight\n");
    char map[4096];
    REQUIRE(snprintf(map, sizeof(map), "%s", in_folder("away.map")) < (int)sizeof(map));
    REQUIRE(vitro_checkpoint_open(&ckpt, in_folder("bare.safetensors")) == VITRO_OK);
    REQUIRE(vitro_checkpoint_adopt_names(ckpt, map) == VITRO_OK);
    REQUIRE(vitro_checkpoint_convert(ckpt, in_folder("foreign.npz"), VITRO_FORMAT_NPZ, NULL,
                                     NULL) == VITRO_OK);
    vitro_checkpoint_close(ckpt);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_fixtures FOLDER\n");
        return 2;
    }
    folder = argv[1];
    write_model("model.pth", tiny_config(3, 3), true, false);
    write_model("model.safetensors", tiny_config(3, 3), true, false);
    write_model("bare.safetensors", tiny_config(3, 3), false, false);
    write_model("features.pth", tiny_config(3, 0), true, false);
    write_model("grey.pth", tiny_config(1, 3), true, false);
    VitroConfig wide = tiny_config(3, 3); /* enough inputs for bytes, but in fc2 */
    wide.embed_dim = 192;
    wide.depth = 1;
    wide.mlp_ratio = 0.5;
    write_model("wide.pth", wide, true, false);
    write_model("nan.pth", tiny_config(3, 3), true, true);
    VitroConfig cifar = tiny_config(3, 10);
    cifar.img_height = cifar.img_width = 32;
    write_model("cifar.pth", cifar, true, false);
    write_foreign();
    write_pictures();
    write_text("names.json", "{\"0\": \"zero\", \"1\": \"one\", \"2\": \"two\"}\n");
    write_text("names2.json", "[\"zero\", \"one\"]\n");
    write_text("damaged.json", "{\"0\": \"zero\", ");
    write_text("list.txt", "a.ppm\r\n\npictures\nb.ppm\n");
    return 0;
}
