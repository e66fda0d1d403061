/* SPDX-License-Identifier: Apache-2.0 */
/* Data sets as their publishers write them (CIFAR pickles and records, IDX), where they are found,
 * and damage of every kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "base/rng.h"
#include "harness/temp.h"
#include "vitro/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define GOLDEN "tests/golden/data/"
enum { ROW = 3072, ROWS = 3 };

static VitroStatus open_kind(VitroDataset **ds, const char *dir, VitroDatasetKind kind,
                             VitroSplit split)
{
    VitroDatasetOptions o = {.path = dir, .kind = kind, .split = split};
    return vitro_dataset_open(ds, &o);
}

static VitroDataset *must_open(const char *dir, VitroSplit split)
{
    VitroDataset *ds = NULL;
    VitroStatus st = open_kind(&ds, dir, VITRO_DATA_AUTO, split);
    if (st != VITRO_OK)
        print_error("%s\n", vitro_last_error());
    assert_int_equal(st, VITRO_OK);
    return ds;
}

/* It fails with `status`, and the text has `word` in it. */
static void check_refused(const char *dir, VitroSplit split, VitroStatus status, const char *word)
{
    VitroDataset *ds = NULL;
    VitroStatus st = open_kind(&ds, dir, VITRO_DATA_AUTO, split);
    assert_null(ds);
    if (st != status || !strstr(vitro_last_error(), word))
        print_error("expected %s with \"%s\", got %s: %s\n", vitro_status_name(status), word,
                    vitro_status_name(st), vitro_last_error());
    assert_int_equal(st, status);
    assert_non_null(strstr(vitro_last_error(), word));
}

/* ---- CIFAR ----------------------------------------------------------------------------------- */

/* What tests/golden/make_data_fixtures.py put at column c of row r. */
static int golden_byte(int r, int c)
{
    return (31 * r + 7 * c + c / 256) % 256;
}

static void check_rows(const VitroDataset *ds, int64_t first, const int *labels)
{
    for (int r = 0; r < ROWS; r++) {
        VitroImage image = {0};
        assert_int_equal(vitro_dataset_label(ds, first + r), labels[r]);
        assert_int_equal(vitro_dataset_read(ds, first + r, &image), VITRO_OK);
        assert_true(image.width == 32 && image.height == 32 && image.channels == 3);
        for (int c = 0; c < ROW; c++)
            assert_int_equal(image.pixels[c % 1024 * 3 + c / 1024], golden_byte(r, c));
        vitro_image_deinit(&image);
    }
}

static const int fine_labels[ROWS] = {99, 0, 42}, labels10[ROWS] = {9, 0, 4};

static void test_cifar100_python(void **state)
{
    (void)state;
    static const char *const files[] = {"cifar100_py2.pkl",        "cifar100_p2_bytes_keys.pkl",
                                        "cifar100_p3.pkl",         "cifar100_p4_new_numpy.pkl",
                                        "cifar100_p4_fortran.pkl", "cifar100_p5_new_numpy.pkl",
                                        "cifar100_p5_fortran.pkl"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char *dir = vt_temp_make(), path[128], name[256];
        snprintf(path, sizeof(path), GOLDEN "%s", files[i]);
        vt_copy(dir, "cifar-100-python/train", path);
        VitroDataset *ds = must_open(dir, VITRO_SPLIT_TRAIN);
        assert_int_equal(vitro_dataset_kind(ds), VITRO_DATA_CIFAR100);
        assert_string_equal(vitro_dataset_describe(ds), "CIFAR-100 (python), train, 3 images");
        assert_int_equal(vitro_dataset_count(ds), ROWS);
        assert_int_equal(vitro_dataset_class_count(ds), 100);
        assert_string_equal(vitro_dataset_class_name(ds, 0), "apple");
        assert_string_equal(vitro_dataset_class_name(ds, 99), "worm");
        assert_int_equal(vitro_dataset_fixed_size(ds), 32);
        assert_int_equal(vitro_dataset_channels(ds), 3);
        vitro_dataset_name(ds, 2, name, sizeof(name));
        assert_non_null(strstr(name, "cifar-100-python/train[2]"));
        check_rows(ds, 0, fine_labels);
        vitro_dataset_close(ds);

        ds = must_open(dir, VITRO_SPLIT_VAL); /* there is no file "test" */
        assert_int_equal(vitro_dataset_count(ds), 0);
        assert_int_equal(vitro_dataset_class_count(ds), 100);
        vitro_dataset_close(ds);
        vt_temp_remove(dir);
    }
}

static void test_cifar100_meta(void **state)
{
    (void)state;
    static const char *const files[] = {GOLDEN "cifar100_meta_py2.pkl",
                                        GOLDEN "cifar100_meta_p4.pkl"};
    char *dir = vt_temp_make();
    vt_copy(dir, "test", GOLDEN "cifar100_p3.pkl");
    for (int i = 0; i < 2; i++) {
        vt_copy(dir, "meta", files[i]);
        VitroDataset *ds = must_open(dir, VITRO_SPLIT_VAL);
        assert_string_equal(vitro_dataset_class_name(ds, 0), "first class");
        assert_string_equal(vitro_dataset_class_name(ds, 99), "class 99");
        check_rows(ds, 0, fine_labels);
        vitro_dataset_close(ds);
    }
    vt_copy(dir, "meta", GOLDEN "bad_meta_count.pkl");
    check_refused(dir, VITRO_SPLIT_VAL, VITRO_E_FORMAT, "names 99 classes, expected 100");
    vt_copy(dir, "meta", GOLDEN "bad_meta_type.pkl");
    check_refused(dir, VITRO_SPLIT_VAL, VITRO_E_FORMAT, "fine_label_names");
    vt_temp_remove(dir);
}

static void test_cifar10_python(void **state)
{
    (void)state;
    char *dir = vt_temp_make(), name[64];
    for (int i = 1; i <= 5; i++) {
        snprintf(name, sizeof(name), "cifar-10-batches-py/data_batch_%d", i);
        vt_copy(dir, name, GOLDEN "cifar10_batch_p4.pkl");
    }
    VitroDataset *ds = must_open(dir, VITRO_SPLIT_TRAIN);
    assert_int_equal(vitro_dataset_kind(ds), VITRO_DATA_CIFAR10);
    assert_int_equal(vitro_dataset_count(ds), 5 * ROWS);
    assert_string_equal(vitro_dataset_class_name(ds, 9), "truck");
    for (int i = 0; i < 5; i++)
        check_rows(ds, i * ROWS, labels10);
    char long_name[256];
    vitro_dataset_name(ds, 4 * ROWS + 1, long_name, sizeof(long_name));
    assert_non_null(strstr(long_name, "data_batch_5[1]"));
    vitro_dataset_close(ds);

    vt_copy(dir, "cifar-10-batches-py/batches.meta", GOLDEN "cifar10_meta_p2.pkl");
    vt_copy(dir, "cifar-10-batches-py/test_batch", GOLDEN "cifar10_batch_p4.pkl");
    ds = must_open(dir, VITRO_SPLIT_VAL);
    assert_string_equal(vitro_dataset_class_name(ds, 9), "kind 9");
    check_rows(ds, 0, labels10);
    vitro_dataset_close(ds);
    vt_temp_remove(dir);
}

static void test_bad_pickles(void **state)
{
    (void)state;
    static const struct {
        const char *file, *word;
    } bad[] = {{"bad_label.pkl", "label 100 of row 1, expected 0..99"},
               {"bad_negative_label.pkl", "label -1 of row 2"},
               {"bad_label_count.pkl", "2 labels for 3 pictures"},
               {"bad_label_type.pkl", "label of row 1"},
               {"bad_no_labels.pkl", "no \"fine_labels\""},
               {"bad_dtype.pkl", "i1"},
               {"bad_shape.pkl", "rows of 3071"},
               {"bad_rank.pkl", "rank 1"},
               {"bad_data_type.pkl", "\"data\""},
               {"bad_root.pkl", "expected a dict"}};
    char *dir = vt_temp_make(), path[128];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(path, sizeof(path), GOLDEN "%s", bad[i].file);
        vt_copy(dir, "train", path);
        check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_FORMAT, bad[i].word);
    }
    vt_temp_remove(dir);
}

/* Every truncation, and one byte too many. */
static void check_truncations(const char *dir, const char *name, VitroSplit split, size_t step)
{
    char *path = vitro_path_join(dir, name);
    VitroMap map;
    assert_int_equal(vitro_map_open(&map, path), VITRO_OK);
    size_t size = map.size;
    uint8_t *copy = vitro_calloc(size + 1, 1);
    assert_non_null(copy);
    memcpy(copy, map.data, size);
    vitro_map_close(&map);
    for (size_t n = 1; n < size; n += n + step < size ? step : 1) {
        VitroDataset *ds = NULL;
        vt_write(dir, name, copy, n);
        VitroStatus st = open_kind(&ds, dir, VITRO_DATA_AUTO, split);
        assert_true(st == VITRO_E_FORMAT || st == VITRO_E_UNSUPPORTED);
    }
    vt_write(dir, name, copy, size + 1);
    check_refused(dir, split, VITRO_E_FORMAT, name);
    vitro_free(copy);
    vitro_free(path);
}

static void test_truncated_pickles(void **state)
{
    (void)state;
    static const char *const files[] = {GOLDEN "cifar100_py2.pkl",
                                        GOLDEN "cifar100_p2_bytes_keys.pkl",
                                        GOLDEN "cifar100_p5_new_numpy.pkl"};
    char *dir = vt_temp_make();
    for (int i = 0; i < 3; i++) {
        vt_copy(dir, "train", files[i]);
        check_truncations(dir, "train", VITRO_SPLIT_TRAIN, 37);
    }
    vt_copy(dir, "train", GOLDEN "cifar100_p3.pkl");
    vt_copy(dir, "meta", GOLDEN "cifar100_meta_py2.pkl");
    check_truncations(dir, "meta", VITRO_SPLIT_TRAIN, 11);
    vt_temp_remove(dir);
}

/* `records` CIFAR records of `head` label bytes, the last of which is (7 r) mod 10. */
static uint8_t *make_records(int records, int head, size_t *size)
{
    *size = (size_t)records * (size_t)(head + ROW);
    uint8_t *data = vitro_calloc(*size, 1), *p = data;
    assert_non_null(data);
    for (int r = 0; r < records; r++) {
        p[head - 1] = (uint8_t)(7 * r % 10);
        p += head;
        for (int c = 0; c < ROW; c++)
            *p++ = (uint8_t)golden_byte(r, c);
    }
    return data;
}

static void test_cifar100_binary(void **state)
{
    (void)state;
    static const int labels[ROWS] = {0, 7, 4};
    char *dir = vt_temp_make();
    size_t size;
    uint8_t *data = make_records(ROWS, 2, &size);
    data[0] = 200; /* the coarse label is nobody's business */
    vt_write(dir, "cifar-100-binary/train.bin", data, size);
    vt_write(dir, "cifar-100-binary/test.bin", data, size / 3);
    VitroDataset *ds = must_open(dir, VITRO_SPLIT_TRAIN);
    assert_string_equal(vitro_dataset_describe(ds), "CIFAR-100 (binary), train, 3 images");
    check_rows(ds, 0, labels);
    vitro_dataset_close(ds);
    ds = must_open(dir, VITRO_SPLIT_VAL);
    assert_string_equal(vitro_dataset_describe(ds), "CIFAR-100 (binary), val, 1 image");
    vitro_dataset_close(ds);

    char names[1000] = "";
    size_t len = 0;
    for (int c = 0; c < 100; c++)
        len += (size_t)snprintf(names + len, sizeof(names) - len, "n%d \r\n", c);
    vt_write(dir, "cifar-100-binary/fine_label_names.txt", names, len);
    ds = must_open(dir, VITRO_SPLIT_TRAIN);
    assert_string_equal(vitro_dataset_class_name(ds, 99), "n99");
    vitro_dataset_close(ds);
    vt_write(dir, "cifar-100-binary/fine_label_names.txt", names, len - 6);
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_FORMAT, "names 99 classes");
    vt_write(dir, "cifar-100-binary/fine_label_names.txt", "a\0b", 3);
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_FORMAT, "fine_label_names.txt");

    vt_write(dir, "cifar-100-binary/fine_label_names.txt", names, len);
    data[3074 + 1] = 100;
    vt_write(dir, "cifar-100-binary/train.bin", data, size);
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_FORMAT, "label 100 of row 1, expected 0..99");
    vt_write(dir, "cifar-100-binary/train.bin", data, size - 1);
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_FORMAT, "9221 bytes");
    vt_write(dir, "cifar-100-binary/train.bin", data, 0);
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_FORMAT, "no training image");
    vitro_free(data);
    vt_temp_remove(dir);
}

static void test_cifar10_binary(void **state)
{
    (void)state;
    static const int labels[ROWS] = {0, 7, 4};
    char *dir = vt_temp_make(), name[64];
    size_t size;
    uint8_t *data = make_records(ROWS, 1, &size);
    for (int i = 1; i <= 5; i++) {
        snprintf(name, sizeof(name), "data_batch_%d.bin", i);
        vt_write(dir, name, data, size);
    }
    VitroDataset *ds = must_open(dir, VITRO_SPLIT_TRAIN);
    assert_int_equal(vitro_dataset_kind(ds), VITRO_DATA_CIFAR10);
    assert_int_equal(vitro_dataset_count(ds), 15);
    check_rows(ds, 12, labels);
    vitro_dataset_close(ds);
    char *path = vitro_path_join(dir, "data_batch_3.bin");
    remove(path);
    vitro_free(path);
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_IO, "data_batch_3.bin");
    vitro_free(data);
    vt_temp_remove(dir);
}

/* Red, green and blue of a CIFAR picture to grey, as Pillow's convert("L"). */
static void test_channels(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    size_t size;
    uint8_t *data = make_records(1, 2, &size);
    vt_write(dir, "train.bin", data, size);
    VitroDatasetOptions o = {.path = dir, .channels = 1};
    VitroDataset *ds = NULL;
    assert_int_equal(vitro_dataset_open(&ds, &o), VITRO_OK);
    assert_int_equal(vitro_dataset_channels(ds), 1);
    VitroImage image = {0};
    assert_int_equal(vitro_dataset_read(ds, 0, &image), VITRO_OK);
    assert_int_equal(image.channels, 1);
    for (int p = 0; p < 1024; p++) {
        const uint8_t *q = data + 2 + p;
        assert_int_equal(image.pixels[p],
                         (19595 * q[0] + 38470 * q[1024] + 7471 * q[2048] + 32768) >> 16);
    }
    vitro_image_deinit(&image);
    assert_int_equal(vitro_dataset_read(ds, 1, &image), VITRO_E_ARG);
    assert_int_equal(vitro_dataset_read(ds, -1, &image), VITRO_E_ARG);
    vitro_dataset_close(ds);
    o.channels = 2;
    assert_int_equal(vitro_dataset_open(&ds, &o), VITRO_E_ARG);
    vitro_free(data);
    vt_temp_remove(dir);
}

/* ---- IDX ------------------------------------------------------------------------------------- */

enum { IDX_COUNT = 11, IDX_H = 4, IDX_W = 3, IDX_SIZE = 16 + IDX_COUNT * IDX_H * IDX_W };

static void put_be32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24), p[1] = (uint8_t)(v >> 16), p[2] = (uint8_t)(v >> 8),
    p[3] = (uint8_t)v;
}

static void make_idx(uint8_t *images, uint8_t *labels)
{
    put_be32(images, 0x803);
    put_be32(images + 4, IDX_COUNT);
    put_be32(images + 8, IDX_H);
    put_be32(images + 12, IDX_W);
    for (int i = 16; i < IDX_SIZE; i++)
        images[i] = (uint8_t)(i * 5);
    put_be32(labels, 0x801);
    put_be32(labels + 4, IDX_COUNT);
    for (int i = 0; i < IDX_COUNT; i++)
        labels[8 + i] = (uint8_t)(i % 10);
}

/* Appends a gzip member to `out`; returns its size. */
static size_t gzip(uint8_t *out, size_t room, const uint8_t *in, size_t n)
{
    z_stream z = {
        .next_in = (Bytef *)in, .avail_in = (uInt)n, .next_out = out, .avail_out = (uInt)room};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}

static void check_idx(const VitroDataset *ds)
{
    assert_int_equal(vitro_dataset_count(ds), IDX_COUNT);
    assert_int_equal(vitro_dataset_class_count(ds), 10);
    assert_int_equal(vitro_dataset_fixed_size(ds), 0); /* 3x4 is no square */
    assert_int_equal(vitro_dataset_channels(ds), 1);
    for (int i = 0; i < IDX_COUNT; i++) {
        VitroImage image = {0};
        assert_int_equal(vitro_dataset_label(ds, i), i % 10);
        assert_int_equal(vitro_dataset_read(ds, i, &image), VITRO_OK);
        assert_true(image.width == IDX_W && image.height == IDX_H && image.channels == 1);
        for (int p = 0; p < IDX_W * IDX_H; p++)
            assert_int_equal(image.pixels[p], (16 + i * IDX_W * IDX_H + p) * 5 % 256);
        vitro_image_deinit(&image);
    }
}

static void test_idx_forms(void **state)
{
    (void)state;
    uint8_t images[IDX_SIZE], labels[8 + IDX_COUNT], zipped[1024];
    make_idx(images, labels);
    static const char *const names[][2] = {
        {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"},
        {"train-images.idx3-ubyte", "train-labels.idx1-ubyte"},
        {"raw/train-images-idx3-ubyte", "raw/train-labels-idx1-ubyte"},
        {"MNIST/raw/train-images-idx3-ubyte", "MNIST/raw/train-labels-idx1-ubyte"}};
    for (int i = 0; i < 4; i++) {
        char *dir = vt_temp_make();
        vt_write(dir, names[i][0], images, sizeof(images));
        vt_write(dir, names[i][1], labels, sizeof(labels));
        VitroDataset *ds = must_open(dir, VITRO_SPLIT_TRAIN);
        assert_int_equal(vitro_dataset_kind(ds), VITRO_DATA_MNIST);
        assert_string_equal(vitro_dataset_class_name(ds, 9), "9");
        check_idx(ds);
        vitro_dataset_close(ds);
        assert_int_equal(open_kind(&ds, dir, VITRO_DATA_FASHION_MNIST, VITRO_SPLIT_TRAIN),
                         i < 3 ? VITRO_OK : VITRO_E_UNSUPPORTED);
        if (i < 3) {
            assert_string_equal(vitro_dataset_class_name(ds, 9), "Ankle boot");
            vitro_dataset_close(ds);
        }
        vt_temp_remove(dir);
    }
    /* gzipped, the images in two members */
    char *dir = vt_temp_make(), *sub = vitro_path_join(dir, "Fashion-Mnist-Copy");
    size_t n = gzip(zipped, sizeof(zipped), images, 100);
    n += gzip(zipped + n, sizeof(zipped) - n, images + 100, sizeof(images) - 100);
    vt_write(sub, "t10k-images-idx3-ubyte.gz", zipped, n);
    n = gzip(zipped, sizeof(zipped), labels, sizeof(labels));
    vt_write(sub, "t10k-labels-idx1-ubyte.gz", zipped, n);
    VitroDataset *ds = must_open(sub, VITRO_SPLIT_VAL);
    assert_int_equal(vitro_dataset_kind(ds), VITRO_DATA_FASHION_MNIST);
    check_idx(ds);
    vitro_dataset_close(ds);
    check_refused(sub, VITRO_SPLIT_TRAIN, VITRO_E_IO, "train-images-idx3-ubyte");
    /* grey, replicated */
    VitroDatasetOptions o = {.path = sub, .split = VITRO_SPLIT_VAL, .channels = 3};
    assert_int_equal(vitro_dataset_open(&ds, &o), VITRO_OK);
    VitroImage image = {0};
    assert_int_equal(vitro_dataset_read(ds, 1, &image), VITRO_OK);
    for (int p = 0; p < 3 * IDX_W * IDX_H; p++)
        assert_int_equal(image.pixels[p], (16 + IDX_W * IDX_H + p / 3) * 5 % 256);
    vitro_image_deinit(&image);
    vitro_dataset_close(ds);
    vitro_free(sub);
    vt_temp_remove(dir);
}

static void test_bad_idx(void **state)
{
    (void)state;
    uint8_t images[IDX_SIZE + 1] = {0}, labels[8 + IDX_COUNT + 1] = {0};
    static const char image_name[] = "train-images-idx3-ubyte",
                      label_name[] = "train-labels-idx1-ubyte";
    char *dir = vt_temp_make();
    make_idx(images, labels);
    vt_write(dir, image_name, images, IDX_SIZE);
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_IO, label_name);
    static const struct {
        int at;
        uint32_t value;
        const char *word;
    } bad[] = {{0, 0x801, "starts with"},     {0, 0xd03, "starts with"},
               {0, 0x1000803, "starts with"}, {4, IDX_COUNT + 1, "claims 144"},
               {4, 0xffffffff, "4294967295"}, {8, 0, "3x0"},
               {12, 0x10000, "65536x4"},      {8, 0xffffffff, "3x4294967295"},
               {12, IDX_W - 1, "claims 88"},  {4, 0x7fffffff, "claims 25769803764"}};
    vt_write(dir, label_name, labels, 8 + IDX_COUNT);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        make_idx(images, labels);
        put_be32(images + bad[i].at, bad[i].value);
        vt_write(dir, image_name, images, IDX_SIZE);
        check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_FORMAT, bad[i].word);
    }
    make_idx(images, labels);
    vt_write(dir, image_name, images, IDX_SIZE);
    check_truncations(dir, image_name, VITRO_SPLIT_TRAIN, 1);
    vt_write(dir, image_name, images, IDX_SIZE);
    check_truncations(dir, label_name, VITRO_SPLIT_TRAIN, 1);
    labels[8 + 5] = 10;
    vt_write(dir, label_name, labels, 8 + IDX_COUNT);
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_FORMAT, "label 10 of row 5, expected 0..9");
    labels[8 + 5] = 5;
    put_be32(labels + 4, IDX_COUNT - 1);
    vt_write(dir, label_name, labels, 8 + IDX_COUNT - 1);
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_FORMAT, "10 labels for 11 images");
    vt_temp_remove(dir);
}

static void test_bad_gzip(void **state)
{
    (void)state;
    uint8_t images[IDX_SIZE + 1] = {0}, labels[8 + IDX_COUNT], zipped[2048] = {0};
    static const char name[] = "train-images-idx3-ubyte.gz";
    char *dir = vt_temp_make();
    make_idx(images, labels);
    vt_write(dir, "train-labels-idx1-ubyte", labels, sizeof(labels));
    size_t n = gzip(zipped, sizeof(zipped), images, IDX_SIZE);
    vt_write(dir, name, zipped, n);
    check_truncations(dir, name, VITRO_SPLIT_TRAIN, 1);
    zipped[n - 6] ^= 1; /* the checksum */
    vt_write(dir, name, zipped, n);
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_FORMAT, "incorrect data check");
    n = gzip(zipped, sizeof(zipped), images, IDX_SIZE + 1);
    vt_write(dir, name, zipped, n);
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_FORMAT, "data follows the 132 bytes");
    n = gzip(zipped, sizeof(zipped), images, IDX_SIZE - 1);
    vt_write(dir, name, zipped, n);
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_FORMAT, "holds 131 bytes");
    put_be32(images + 4, 1u << 30); /* 12 GiB */
    n = gzip(zipped, sizeof(zipped), images, IDX_SIZE);
    vt_write(dir, name, zipped, n);
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_FORMAT, "more than");
    vt_temp_remove(dir);
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* Whatever a file says, it opens or is refused; what opens can be read. Seeds are fixed. */
static void check_mutations(const char *dir, const char *name, int rounds)
{
    char *path = vitro_path_join(dir, name);
    VitroBuf b;
    vitro_buf_init(&b, 1 << 20);
    assert_int_equal(vitro_fs_read(&b, path), VITRO_OK);
    VitroRng rng = vitro_rng(1, VITRO_RNG_SHUFFLE, (uint32_t)b.len, 0);
    int opened = 0, refused = 0;
    for (int round = 0; round < rounds; round++) {
        uint8_t saved[4];
        uint32_t at[4], n = 1 + vitro_rng_below(&rng, 4);
        for (uint32_t i = 0; i < n; i++) {
            at[i] = vitro_rng_below(&rng, (uint32_t)b.len);
            saved[i] = b.data[at[i]];
            b.data[at[i]] = (uint8_t)vitro_rng_u32(&rng);
        }
        vt_write(dir, name, b.data, b.len);
        VitroDataset *ds = NULL;
        VitroStatus st = open_kind(&ds, dir, VITRO_DATA_AUTO, VITRO_SPLIT_TRAIN);
        assert_true(st == VITRO_OK || st == VITRO_E_FORMAT || st == VITRO_E_UNSUPPORTED);
        st == VITRO_OK ? opened++ : refused++;
        for (int64_t i = 0; st == VITRO_OK && i < vitro_dataset_count(ds); i++) {
            VitroImage image = {0};
            assert_int_equal(vitro_dataset_read(ds, i, &image), VITRO_OK);
            vitro_image_deinit(&image);
        }
        vitro_dataset_close(ds);
        while (n-- > 0)
            b.data[at[n]] = saved[n];
    }
    assert_true(opened + refused == rounds && refused > 0);
    vitro_buf_deinit(&b);
    vitro_free(path);
}

static void test_mutations(void **state)
{
    (void)state;
    static const char *const files[] = {GOLDEN "cifar100_py2.pkl", GOLDEN "cifar100_p4_fortran.pkl",
                                        GOLDEN "cifar100_p5_new_numpy.pkl"};
    uint8_t images[IDX_SIZE], labels[8 + IDX_COUNT], zipped[1024];
    char *dir = vt_temp_make();
    for (int i = 0; i < 3; i++) {
        vt_copy(dir, "train", files[i]);
        check_mutations(dir, "train", 200);
    }
    vt_copy(dir, "train", GOLDEN "cifar100_p3.pkl");
    vt_copy(dir, "meta", GOLDEN "cifar100_meta_py2.pkl");
    check_mutations(dir, "meta", 200);
    vt_temp_remove(dir);
    dir = vt_temp_make();
    make_idx(images, labels);
    vt_write(dir, "train-labels-idx1-ubyte", labels, sizeof(labels));
    size_t n = gzip(zipped, sizeof(zipped), images, sizeof(images));
    vt_write(dir, "train-images-idx3-ubyte.gz", zipped, n);
    check_mutations(dir, "train-images-idx3-ubyte.gz", 300);
    check_mutations(dir, "train-labels-idx1-ubyte", 100);
    vt_temp_remove(dir);
}

/* ---- what is found where --------------------------------------------------------------------- */

static void test_nothing_recognised(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_UNSUPPORTED, "found an empty folder");
    vt_write(dir, "a.jpg", "", 0);
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_UNSUPPORTED,
                  "found a.jpg (pictures must lie in a folder per class)");
    vt_write(dir, "cifar-100-python.tar.gz", "", 0);
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_UNSUPPORTED,
                  "(unpack cifar-100-python.tar.gz first)");
    assert_non_null(strstr(vitro_last_error(), "nothing recognised: expected one of"));
    for (int i = 0; i < 9; i++) {
        char name[32];
        snprintf(name, sizeof(name), "z%d", i);
        vt_write(dir, name, "", 0);
    }
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_UNSUPPORTED, "z0, z1, z2, z3 and 5 more");
    VitroDataset *ds = NULL;
    static const char *const words[] = {
        "",          "cifar-100-python",  "cifar-10-batches-py", "FashionMNIST/raw",
        "MNIST/raw", "folder of pictures"};
    for (int kind = 1; kind <= 5; kind++) {
        assert_int_equal(open_kind(&ds, dir, (VitroDatasetKind)kind, VITRO_SPLIT_TRAIN),
                         VITRO_E_UNSUPPORTED);
        assert_non_null(strstr(vitro_last_error(), words[kind]));
    }
    check_refused("/nowhere/at/all", VITRO_SPLIT_TRAIN, VITRO_E_IO, "/nowhere/at/all");
    check_refused("tests/CMakeLists.txt", VITRO_SPLIT_VAL, VITRO_E_IO, "is a file");
    vt_temp_remove(dir);
}

static void test_which_is_taken(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    size_t size;
    uint8_t *data = make_records(1, 2, &size);
    /* Two forms of one data set: the one that has the split. */
    vt_copy(dir, "cifar-100-python/train", GOLDEN "cifar100_p3.pkl");
    vt_write(dir, "cifar-100-binary/test.bin", data, size);
    VitroDataset *ds = must_open(dir, VITRO_SPLIT_TRAIN);
    assert_int_equal(vitro_dataset_count(ds), 3);
    vitro_dataset_close(ds);
    ds = must_open(dir, VITRO_SPLIT_VAL);
    assert_string_equal(vitro_dataset_describe(ds), "CIFAR-100 (binary), val, 1 image");
    vitro_dataset_close(ds);
    /* Two data sets: the caller must say which. */
    vt_copy(dir, "cifar-10-batches-py/test_batch", GOLDEN "cifar10_batch_p4.pkl");
    check_refused(dir, VITRO_SPLIT_VAL, VITRO_E_UNSUPPORTED, "more than one data set");
    assert_int_equal(open_kind(&ds, dir, VITRO_DATA_CIFAR10, VITRO_SPLIT_VAL), VITRO_OK);
    assert_int_equal(vitro_dataset_kind(ds), VITRO_DATA_CIFAR10);
    vitro_dataset_close(ds);
    vitro_free(data);
    vt_temp_remove(dir);
}

static void test_bad_options(void **state)
{
    (void)state;
    VitroDataset *ds = NULL;
    VitroDatasetOptions o = {.path = NULL};
    assert_int_equal(vitro_dataset_open(&ds, &o), VITRO_E_ARG);
    o.path = "";
    assert_int_equal(vitro_dataset_open(&ds, &o), VITRO_E_ARG);
    o.path = ".";
    o.kind = (VitroDatasetKind)6;
    assert_int_equal(vitro_dataset_open(&ds, &o), VITRO_E_ARG);
    o.kind = VITRO_DATA_AUTO;
    o.split = (VitroSplit)2;
    assert_int_equal(vitro_dataset_open(&ds, &o), VITRO_E_ARG);
    vitro_dataset_close(NULL);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    uint8_t images[IDX_SIZE], labels[8 + IDX_COUNT], zipped[1024];
    vt_copy(dir, "a/train", GOLDEN "cifar100_p4_fortran.pkl");
    vt_copy(dir, "a/meta", GOLDEN "cifar100_meta_py2.pkl");
    make_idx(images, labels);
    vt_write(dir, "b/train-labels-idx1-ubyte", labels, sizeof(labels));
    size_t n = gzip(zipped, sizeof(zipped), images, sizeof(images));
    vt_write(dir, "b/train-images-idx3-ubyte.gz", zipped, n);
    vt_write(dir, "c/cat/1.png", "", 0);
    vt_write(dir, "c/cat/more/2.png", "", 0);
    vt_write(dir, "c/dog/1.png", "", 0);
    vt_write(dir, "d/train/cat/1.png", "", 0);
    vt_write(dir, "d/val/cat/1.png", "", 0);
    vt_mkdir(dir, "e");
    for (char name[] = "a"; name[0] <= 'e'; name[0]++) {
        char *path = vitro_path_join(dir, name);
        VitroStatus st = VITRO_E_NOMEM;
        int nth = 1;
        for (; st == VITRO_E_NOMEM; nth++) {
            VitroDataset *ds = NULL;
            vitro_alloc_fail_at((uint64_t)nth);
            st = open_kind(&ds, path, VITRO_DATA_AUTO, name[0] == 'd');
            vitro_alloc_fail_at(0);
            vitro_dataset_close(ds);
        }
        assert_int_equal(st, name[0] == 'e' ? VITRO_E_UNSUPPORTED : VITRO_OK);
        assert_true(nth > 10);
        vitro_free(path);
    }
    vt_temp_remove(dir);
}

/* ---- a data set of the caller's -------------------------------------------------------------- */

static int32_t custom_label(void *user, int64_t i)
{
    (void)user;
    return (int32_t)(i % 3);
}

static VitroStatus custom_read(void *user, int64_t i, VitroImage *image)
{
    (void)user;
    if (i == 7)
        return VITRO_E_IO;
    *image = (VitroImage){.width = 2, .height = 1, .channels = i == 8 ? 1 : 3};
    image->pixels = vitro_calloc(6, 1);
    return image->pixels ? VITRO_OK : VITRO_E_NOMEM;
}

static void count_close(void *user)
{
    ++*(int *)user;
}

static void test_custom(void **state)
{
    (void)state;
    int closed = 0;
    VitroCustomDataset custom = {.user = &closed,
                                 .count = 10,
                                 .class_count = 3,
                                 .label = custom_label,
                                 .read = custom_read,
                                 .close = count_close,
                                 .channels = 3};
    VitroDataset *ds = NULL;
    VitroImage image = {0};
    char name[32];
    assert_int_equal(vitro_dataset_custom(&ds, &custom), VITRO_OK);
    assert_int_equal(vitro_dataset_count(ds), 10);
    assert_string_equal(vitro_dataset_class_name(ds, 2), "2");
    assert_int_equal(vitro_dataset_label(ds, 5), 2);
    assert_int_equal(vitro_dataset_read(ds, 0, &image), VITRO_OK);
    vitro_image_deinit(&image);
    assert_int_equal(vitro_dataset_read(ds, 7, &image), VITRO_E_IO);
    assert_string_equal(vitro_last_error(), "picture 7: read() gave VITRO_E_IO");
    assert_int_equal(vitro_dataset_read(ds, 8, &image), VITRO_E_FORMAT);
    vitro_dataset_name(ds, 9, name, sizeof(name));
    assert_string_equal(name, "picture 9");
    vitro_dataset_name(ds, 9, name, 4);
    assert_string_equal(name, "pic");
    vitro_dataset_name(ds, 10, name, sizeof(name));
    assert_string_equal(name, "");
    vitro_dataset_close(ds);
    assert_int_equal(closed, 1);

    custom.class_count = 2;
    assert_int_equal(vitro_dataset_custom(&ds, &custom), VITRO_E_ARG);
    assert_string_equal(vitro_last_error(), "picture 2: label 2, expected 0..1");
    assert_int_equal(closed, 1); /* a failed open leaves `user` with the caller */
    custom.class_count = 0;
    assert_int_equal(vitro_dataset_custom(&ds, &custom), VITRO_E_ARG);
    custom.class_count = 3;
    custom.channels = 4;
    assert_int_equal(vitro_dataset_custom(&ds, &custom), VITRO_E_ARG);
    custom.channels = 3;
    custom.count = -1;
    assert_int_equal(vitro_dataset_custom(&ds, &custom), VITRO_E_ARG);
    static const char *const names[] = {"x", "y", "z"};
    custom.count = 0;
    custom.class_names = names;
    assert_int_equal(vitro_dataset_custom(&ds, &custom), VITRO_OK);
    assert_string_equal(vitro_dataset_class_name(ds, 1), "y");
    vitro_dataset_close(ds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cifar100_python),
        cmocka_unit_test(test_cifar100_meta),
        cmocka_unit_test(test_cifar10_python),
        cmocka_unit_test(test_bad_pickles),
        cmocka_unit_test(test_truncated_pickles),
        cmocka_unit_test(test_cifar100_binary),
        cmocka_unit_test(test_cifar10_binary),
        cmocka_unit_test(test_channels),
        cmocka_unit_test(test_idx_forms),
        cmocka_unit_test(test_bad_idx),
        cmocka_unit_test(test_bad_gzip),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_nothing_recognised),
        cmocka_unit_test(test_which_is_taken),
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_every_allocation_may_fail),
        cmocka_unit_test(test_custom),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
