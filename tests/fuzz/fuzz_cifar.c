/* SPDX-License-Identifier: Apache-2.0 */
/* CIFAR's files: the bytes as pickled pictures, as pickled class names, and as binary records. */
#include "fuzz/fuzz.h"

#include "data/dataset.h"
#include "vitro/data.h"

#include <string.h>

/* Rows stored column by column are copied once; a node of a pickle takes up to 100 bytes. */
const FuzzLimits fuzz_limits = {4 << 20, 300};

static void open_set(VitroDatasetKind kind, VitroSplit split)
{
    VitroDatasetOptions options = {.path = fuzz_dir(), .kind = kind, .split = split};
    VitroDataset *ds = NULL;
    VitroStatus st = vitro_dataset_open(&ds, &options);
    if (st) {
        FUZZ_CHECK(!ds);
        fuzz_refused(st, NULL);
        return;
    }
    int64_t count = vitro_dataset_count(ds), classes = vitro_dataset_class_count(ds);
    for (int64_t c = 0; c < classes; c++)
        FUZZ_CHECK(vitro_dataset_class_name(ds, c));
    for (int64_t i = 0; i < count; i++) {
        VitroImage image = {0};
        FUZZ_CHECK(vitro_dataset_label(ds, i) >= 0 && vitro_dataset_label(ds, i) < classes);
        FUZZ_CHECK(vitro_dataset_read(ds, i, &image) == VITRO_OK);
        FUZZ_CHECK(image.width == 32 && image.height == 32);
        fuzz_digest_add(image.pixels, 3072);
        vitro_image_deinit(&image);
    }
    vitro_dataset_close(ds);
}

static void try_as(const char *name, const uint8_t *data, size_t size, VitroDatasetKind kind,
                   VitroSplit split)
{
    fuzz_write(name, data, size);
    open_set(kind, split);
    fuzz_remove(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_digest = 0;
    if (size && data[0] < 100 && data[0] != '(' && data[0] != '}' && data[0] != ']') {
        try_as("train.bin", data, size, VITRO_DATA_CIFAR100, VITRO_SPLIT_TRAIN);
        try_as("test_batch.bin", data, size, VITRO_DATA_CIFAR10, VITRO_SPLIT_VAL);
        return 0;
    }
    try_as("train", data, size, VITRO_DATA_CIFAR100, VITRO_SPLIT_TRAIN);
    try_as("test_batch", data, size, VITRO_DATA_CIFAR10, VITRO_SPLIT_VAL);
    /* class names beside one sound record */
    uint8_t record[3074] = {0};
    fuzz_write("train", "", 0);
    try_as("meta", data, size, VITRO_DATA_CIFAR100, VITRO_SPLIT_VAL);
    fuzz_remove("train");
    fuzz_write("train.bin", record, sizeof(record));
    try_as("fine_label_names.txt", data, size, VITRO_DATA_CIFAR100, VITRO_SPLIT_TRAIN);
    fuzz_remove("train.bin");
    return 0;
}
