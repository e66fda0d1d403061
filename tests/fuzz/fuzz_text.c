/* SPDX-License-Identifier: Apache-2.0 */
/* Texts: class names as JSON, a model's card as JSON, key maps, lists of class names. */
#include "fuzz/fuzz.h"

#include "base/alloc.h"
#include "data/dataset.h"
#include "model/keymap.h"
#include "vitro/model.h"

#include <string.h>

const FuzzLimits fuzz_limits = {4 << 20, 400};

static void as_classes(const char *path)
{
    VitroCard card = {0};
    VitroStatus st = vitro_card_read_classes(&card, path);
    if (st)
        fuzz_refused(st, path);
    for (int64_t c = 0; c < card.class_count; c++)
        fuzz_digest_add(card.class_names[c], strlen(card.class_names[c]));
    FUZZ_CHECK(st || card.class_count > 0);
    vitro_card_deinit(&card);
}

static void as_names(const char *path)
{
    VitroNameList list = {0};
    VitroStatus st = vitro_names_read(&list, path);
    if (st)
        fuzz_refused(st, path);
    for (size_t i = 0; i < list.count; i++)
        FUZZ_CHECK(*list.names[i]);
    vitro_list_free(&list);
}

/* A file of three tensors whose card is the text. */
static void make_file(VitroBuf *zip, const uint8_t *text, size_t size)
{
    char member[3][128 + 64];
    FuzzRecord record[4];
    static const char *const names[3] = {"layers.0.wq.weight.npy", "layers.1.wq.weight.npy",
                                         "cls.npy"};
    for (int i = 0; i < 3; i++) {
        static const char head[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4), }";
        memset(member[i], ' ', 128);
        memcpy(member[i], "\x93NUMPY\1\0\x76\0", 10);
        memcpy(member[i] + 10, head, sizeof(head) - 1);
        member[i][127] = '\n';
        memset(member[i] + 128, i, 32);
        record[i] = (FuzzRecord){names[i], member[i], 128 + 32};
    }
    record[3] = (FuzzRecord){"vitro.json", text, size};
    fuzz_zip(zip, record, 4);
}

static void as_card(const uint8_t *data, size_t size)
{
    VitroBuf zip;
    vitro_buf_init(&zip, (size_t)1 << 28);
    make_file(&zip, data, size);
    fuzz_checkpoint(zip.data, zip.len);
    vitro_buf_deinit(&zip);
}

static void as_key_map(const uint8_t *data, size_t size)
{
    VitroKeyMap *map = NULL;
    VitroCheckpoint *ckpt = NULL;
    VitroBuf zip;
    VitroStatus st = vitro_key_map_parse(&map, (const char *)data, size);
    if (st) {
        FUZZ_CHECK(!map);
        fuzz_refused(st, "line ");
        return;
    }
    vitro_buf_init(&zip, (size_t)1 << 28);
    make_file(&zip, (const uint8_t *)"{}", 2);
    FUZZ_CHECK(!vitro_checkpoint_open(&ckpt, fuzz_file(zip.data, zip.len)));
    (void)vitro_key_map_fits(map, ckpt);
    st = vitro_key_map_rename(map, ckpt);
    if (st)
        fuzz_refused(st, NULL);
    for (int64_t i = 0; i < vitro_checkpoint_count(ckpt); i++) {
        float values[64];
        const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, i);
        FUZZ_CHECK(*info->name && info->count <= 64);
        FUZZ_CHECK(!vitro_checkpoint_read_f32(ckpt, i, values));
    }
    vitro_checkpoint_close(ckpt);
    vitro_key_map_free(map);
    vitro_buf_deinit(&zip);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_digest = 0;
    char *text = vitro_malloc(size); /* exact, for the sanitizer */
    FUZZ_CHECK(text);
    if (size)
        memcpy(text, data, size);
    as_key_map((const uint8_t *)text, size);
    vitro_free(text);
    as_card(data, size);
    fuzz_digest = 0;
    const char *path = fuzz_file(data, size);
    as_classes(path);
    as_names(path);
    return 0;
}
