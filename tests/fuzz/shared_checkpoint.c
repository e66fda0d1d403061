/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that may be asked of a weight file: what the library accepts must be readable to the
 * last element, or be told by its checksum. */
#include "fuzz/fuzz.h"

#include "base/alloc.h"
#include "vitro/model.h"

#include <string.h>

static void read_tensor(const VitroCheckpoint *ckpt, int64_t i, const char *path)
{
    const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, i);
    FUZZ_CHECK(info->rank >= 0 && info->rank <= VITRO_CKPT_MAX_RANK && info->count >= 0);
    __int128 count = 1;
    for (int d = 0; d < info->rank; d++) {
        FUZZ_CHECK(info->dim[d] >= 0);
        count = count > INT64_MAX ? count : count * info->dim[d];
    }
    bool is_empty = info->count == 0;
    FUZZ_CHECK(is_empty || count == info->count);
    FUZZ_CHECK(vitro_checkpoint_find(ckpt, info->name) == i);
    size_t bytes = (size_t)info->count * vitro_dtype_size(info->dtype);
    uint8_t *raw = vitro_malloc(bytes); /* exact, for the sanitizer */
    FUZZ_CHECK(raw);
    VitroStatus st = vitro_checkpoint_read_raw(ckpt, i, raw);
    if (st) {
        fuzz_refused(st, path);
        FUZZ_CHECK(strstr(vitro_last_error(), "checksum"));
        fuzz_damaged = true;
    } else {
        fuzz_digest_add(info->name, strlen(info->name) + 1);
        fuzz_digest_add(info->dim, sizeof(info->dim[0]) * (size_t)info->rank);
        fuzz_digest_add(raw, bytes);
    }
    const void *mapped = vitro_checkpoint_data(ckpt, i);
    FUZZ_CHECK(!mapped || (!st && memcmp(mapped, raw, bytes) == 0));
    vitro_free(raw);
    if (info->count > (int64_t)1 << 18)
        return;
    float *values = vitro_malloc((size_t)info->count * sizeof(*values));
    FUZZ_CHECK(values);
    VitroStatus again = vitro_checkpoint_read_f32(ckpt, i, values);
    if (again)
        fuzz_refused(again, path);
    FUZZ_CHECK(!st || again);
    vitro_free(values);
}

/* What the file says of itself, and which model it holds. */
static void ask_model(VitroCheckpoint *ckpt, const char *path)
{
    VitroCard card = {0};
    VitroConfig config;
    VitroStatus st = vitro_card_read(&card, ckpt);
    if (st) {
        fuzz_refused(st, path);
    } else {
        if (card.has_transform)
            fuzz_digest_add(&card.transform.width, sizeof(card.transform.width));
        for (int64_t c = 0; c < card.class_count; c++)
            FUZZ_CHECK(card.class_names[c]);
    }
    VitroStatus names = vitro_checkpoint_adopt_names(ckpt, NULL);
    if (names)
        fuzz_refused(names, NULL);
    if (!st && !names) {
        char note[256];
        VitroStatus found =
            vitro_config_from_checkpoint(&config, note, sizeof(note), ckpt, &card, NULL, 0);
        FUZZ_CHECK(!found || *vitro_last_error());
        FUZZ_CHECK(found || vitro_config_validate(&config) == VITRO_OK);
    }
    vitro_card_deinit(&card);
}

bool fuzz_checkpoint(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file(data, size);
    VitroCheckpoint *ckpt = NULL;
    fuzz_digest = 0;
    fuzz_damaged = false;
    VitroStatus st = vitro_checkpoint_open(&ckpt, path);
    if (st) {
        FUZZ_CHECK(!ckpt);
        fuzz_refused(st, path);
        return false;
    }
    fuzz_digest_add("", 0);
    int64_t count = vitro_checkpoint_count(ckpt), total = 0;
    for (int64_t i = 0; i < count; i++) {
        /* Views may show elements again and again; once is enough here. */
        total += vitro_checkpoint_info(ckpt, i)->count;
        if (total < (int64_t)1 << 22)
            read_tensor(ckpt, i, path);
    }
    const char *about = vitro_checkpoint_metadata(ckpt);
    if (about)
        fuzz_digest_add(about, strlen(about));
    ask_model(ckpt, path);
    vitro_checkpoint_close(ckpt);
    return true;
}
