/* SPDX-License-Identifier: Apache-2.0 */
/* Published data sets, where this machine has them: Debian's dataset-fashion-mnist, and a folder of
 * optional material ($VITRO_SHARED, else ../shared) with MNIST's test set and CIFAR's binary files,
 * gzipped. Skipped where neither is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "harness/temp.h"
#include "vitro/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#define FASHION "/usr/share/datasets"

static char *shared_path(const char *name)
{
    const char *root = getenv("VITRO_SHARED");
    char *path = vitro_path_join(root ? root : "../shared", name);
    assert_non_null(path);
    return path;
}

/* Each class has as many pictures as `expected` says (NULL: all the same), and pictures decode. */
static void check_set(const char *dir, VitroSplit split, VitroDatasetKind kind, int64_t count,
                      const int *expected)
{
    VitroDatasetOptions o = {.path = dir, .split = split};
    VitroDataset *ds = NULL;
    VitroStatus st = vitro_dataset_open(&ds, &o);
    if (st != VITRO_OK)
        print_error("%s\n", vitro_last_error());
    assert_int_equal(st, VITRO_OK);
    assert_int_equal(vitro_dataset_kind(ds), kind);
    assert_int_equal(vitro_dataset_count(ds), count);
    int64_t classes = vitro_dataset_class_count(ds), seen[100] = {0}, sum = 0;
    for (int64_t i = 0; i < count; i++)
        seen[vitro_dataset_label(ds, i)]++;
    for (int64_t c = 0; c < classes; c++)
        assert_int_equal(seen[c], expected ? expected[c] : count / classes);
    for (int64_t i = 0; i < count; i += 997) {
        VitroImage image = {0};
        assert_int_equal(vitro_dataset_read(ds, i, &image), VITRO_OK);
        for (int p = 0; p < image.width * image.height * image.channels; p++)
            sum += image.pixels[p];
        vitro_image_deinit(&image);
    }
    assert_true(sum > 0);
    vitro_dataset_close(ds);
}

static void test_fashion_mnist(void **state)
{
    (void)state;
    if (!vitro_fs_is_dir(FASHION "/fashion-mnist"))
        skip();
    check_set(FASHION, VITRO_SPLIT_TRAIN, VITRO_DATA_FASHION_MNIST, 60000, NULL);
    check_set(FASHION "/fashion-mnist", VITRO_SPLIT_VAL, VITRO_DATA_FASHION_MNIST, 10000, NULL);
}

static void test_mnist(void **state)
{
    (void)state;
    static const int counts[] = {980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009};
    char *dir = shared_path("data/mnist");
    bool there = vitro_fs_is_dir(dir);
    if (there)
        check_set(dir, VITRO_SPLIT_VAL, VITRO_DATA_MNIST, 10000, counts);
    vitro_free(dir);
    if (!there)
        skip();
}

/* Unzips `from` to dir/name. */
static void gunzip(const char *dir, const char *name, const char *from)
{
    VitroBuf b;
    gzFile f = gzopen(from, "rb");
    assert_non_null(f);
    vitro_buf_init(&b, 1 << 26);
    for (;;) {
        uint8_t *at;
        assert_int_equal(vitro_buf_extend(&b, 1 << 20, &at), VITRO_OK);
        int n = gzread(f, at, 1 << 20);
        assert_true(n >= 0);
        b.len -= (size_t)((1 << 20) - n);
        if (n == 0)
            break;
    }
    assert_int_equal(gzclose(f), Z_OK);
    vt_write(dir, name, b.data, b.len);
    vitro_buf_deinit(&b);
}

static void check_zipped(const char *from, const char *name, VitroDatasetKind kind)
{
    char *path = shared_path(from), *dir = vt_temp_make();
    bool there = vitro_fs_is_file(path);
    if (there) {
        gunzip(dir, name, path);
        check_set(dir, VITRO_SPLIT_VAL, kind, 10000, NULL);
    }
    vitro_free(path);
    vt_temp_remove(dir);
    if (!there)
        skip();
}

static void test_cifar100(void **state)
{
    (void)state;
    check_zipped("data/cifar-100-binary/test.bin.gz", "cifar-100-binary/test.bin",
                 VITRO_DATA_CIFAR100);
}

static void test_cifar10(void **state)
{
    (void)state;
    check_zipped("data/cifar-10-binary/test_batch.bin.gz", "test_batch.bin", VITRO_DATA_CIFAR10);
}

int main(void)
{
    char *shared = shared_path("data");
    bool any = vitro_fs_is_dir(shared) || vitro_fs_is_dir(FASHION "/fashion-mnist");
    if (!any)
        print_message("skipped: neither %s nor %s/fashion-mnist is there\n", shared, FASHION);
    vitro_free(shared);
    if (!any)
        return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fashion_mnist),
        cmocka_unit_test(test_mnist),
        cmocka_unit_test(test_cifar100),
        cmocka_unit_test(test_cifar10),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
