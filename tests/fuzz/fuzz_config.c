/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files of other libraries beside a checkpoint, and the index of several files. */
#include "fuzz/fuzz.h"

#include "vitro/model.h"

#include <stdio.h>
#include <string.h>

const FuzzLimits fuzz_limits = {4 << 20, 400};

/* A checkpoint of one tensor that says nothing of itself. */
static void write_weights(void)
{
    static const char header[] =
        "{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}  ";
    const uint64_t size = sizeof(header) - 1;
    uint8_t file[8 + sizeof(header) - 1 + 4] = {0};
    for (int i = 0; i < 8; i++)
        file[i] = (uint8_t)(size >> 8 * i);
    memcpy(file + 8, header, size);
    fuzz_write("model.safetensors", file, sizeof(file));
}

static void add_card(const VitroCard *card)
{
    fuzz_digest_add(&card->config_known, sizeof(card->config_known));
    for (int64_t c = 0; c < card->class_count; c++)
        fuzz_digest_add(card->class_names[c], strlen(card->class_names[c]));
    if (!card->has_transform)
        return;
    const VitroTransform *t = &card->transform;
    FUZZ_CHECK(t->width > 0 && t->height > 0 && (t->channels == 1 || t->channels == 3));
    FUZZ_CHECK(t->resize_width > 0 && t->resize_height > 0);
    for (int c = 0; c < t->channels; c++)
        FUZZ_CHECK(t->std[c] > 0);
    fuzz_digest_add(&t->width, sizeof(t->width));
}

static void beside(const char *name, const uint8_t *data, size_t size)
{
    VitroCheckpoint *ckpt;
    VitroCard card = {0};
    fuzz_write(name, data, size);
    FUZZ_CHECK(!vitro_checkpoint_open(&ckpt, fuzz_dir()));
    VitroStatus st = vitro_card_read(&card, ckpt);
    if (st)
        fuzz_refused(st, fuzz_dir());
    else
        add_card(&card);
    FUZZ_CHECK(!st || (!card.class_names && !card.source));
    vitro_card_deinit(&card);
    vitro_checkpoint_close(ckpt);
    fuzz_remove(name);
}

/* Whose tensors may be in model.safetensors, and in no other file. */
static void as_index(const uint8_t *data, size_t size)
{
    static const char name[] = "model.safetensors.index.json";
    char path[256];
    VitroCheckpoint *ckpt;
    fuzz_write(name, data, size);
    snprintf(path, sizeof(path), "%s/%s", fuzz_dir(), name);
    VitroStatus st = vitro_checkpoint_open(&ckpt, path);
    if (st) {
        fuzz_refused(st, path);
    } else {
        FUZZ_CHECK(vitro_checkpoint_count(ckpt) <= 1);
        fuzz_digest_add(name, 1);
        vitro_checkpoint_close(ckpt);
    }
    fuzz_remove(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready)
        write_weights();
    ready = true;
    fuzz_digest = 0;
    beside("config.json", data, size);
    beside("preprocessor_config.json", data, size);
    as_index(data, size);
    return 0;
}
