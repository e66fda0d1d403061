/* SPDX-License-Identifier: Apache-2.0 */
/* MNIST's files, plain and gzipped: the bytes as pictures beside sound labels, then as labels
 * beside sound pictures. */
#include "fuzz/fuzz.h"

#include "base/alloc.h"
#include "vitro/data.h"

#include <string.h>
#include <zlib.h>

/* As in idx.c, for a gzipped file; and the labels, as numbers of four bytes. */
const FuzzLimits fuzz_limits = {80 << 20, 400};

#define MAX_ENTRIES 100000u

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* How many entries the file claims, 0 where it cannot be told. */
static uint32_t claimed(const uint8_t *data, size_t size, bool gzipped)
{
    uint8_t head[8];
    if (!gzipped)
        return size >= 8 ? be32(data + 4) : 0;
    z_stream z = {.next_in = (Bytef *)(uintptr_t)data,
                  .avail_in = (uInt)size,
                  .next_out = head,
                  .avail_out = sizeof(head)};
    if (inflateInit2(&z, 16 + MAX_WBITS) != Z_OK)
        return 0;
    inflate(&z, Z_SYNC_FLUSH);
    inflateEnd(&z);
    return z.avail_out == 0 ? be32(head + 4) : 0;
}

static void write_sound(const char *name, uint32_t count, int ndim)
{
    uint8_t head[16] = {
        0, 0, 8, (uint8_t)ndim, 0, 0, (uint8_t)(count >> 8), (uint8_t)count, 0, 0, 0, 1, 0,
        0, 0, 1};
    head[5] = (uint8_t)(count >> 16);
    size_t head_size = 4 + 4 * (size_t)ndim;
    uint8_t *file = vitro_calloc(head_size + count, 1);
    FUZZ_CHECK(file);
    memcpy(file, head, head_size);
    fuzz_write(name, file, head_size + count);
    vitro_free(file);
}

static void open_set(void)
{
    VitroDatasetOptions options = {.path = fuzz_dir(), .kind = VITRO_DATA_MNIST};
    VitroDataset *ds = NULL;
    VitroStatus st = vitro_dataset_open(&ds, &options);
    if (st) {
        FUZZ_CHECK(!ds);
        fuzz_refused(st, NULL);
        return;
    }
    fuzz_digest_add("", 0);
    int64_t count = vitro_dataset_count(ds);
    for (int64_t i = 0; i < count; i++) {
        VitroImage image = {0};
        FUZZ_CHECK(vitro_dataset_label(ds, i) >= 0 && vitro_dataset_label(ds, i) < 10);
        if (i >= 64 && i + 1 < count)
            continue;
        FUZZ_CHECK(vitro_dataset_read(ds, i, &image) == VITRO_OK);
        fuzz_digest_add(image.pixels, (size_t)image.width * (size_t)image.height);
        vitro_image_deinit(&image);
        int32_t label = vitro_dataset_label(ds, i);
        fuzz_digest_add(&label, sizeof(label));
    }
    vitro_dataset_close(ds);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[2] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"};
    bool gzipped = size >= 2 && data[0] == 0x1f;
    uint32_t count = claimed(data, size, gzipped);
    fuzz_digest = 0;
    for (int role = 0; role < 2; role++) {
        char name[64];
        memcpy(name, names[role], strlen(names[role]) + 1);
        if (gzipped)
            memcpy(name + strlen(name), ".gz", 4);
        fuzz_write(name, data, size);
        write_sound(names[1 - role], count < MAX_ENTRIES ? count : 1, role ? 3 : 1);
        open_set();
        fuzz_remove(name);
        fuzz_remove(names[1 - role]);
    }
    return 0;
}
