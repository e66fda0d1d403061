/* SPDX-License-Identifier: Apache-2.0 */
/* Folders of class folders: which files are taken, in what order, and how they are split. */
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
#include <string.h>
#include <unistd.h>

static VitroStatus open_split(VitroDataset **ds, const char *dir, VitroSplit split)
{
    VitroDatasetOptions o = {.path = dir, .split = split};
    return vitro_dataset_open(ds, &o);
}

static VitroDataset *must_open(const char *dir, VitroSplit split)
{
    VitroDataset *ds = NULL;
    VitroStatus st = open_split(&ds, dir, split);
    if (st != VITRO_OK)
        print_error("%s\n", vitro_last_error());
    assert_int_equal(st, VITRO_OK);
    assert_int_equal(vitro_dataset_kind(ds), VITRO_DATA_FOLDER);
    return ds;
}

static void check_refused(const char *dir, VitroSplit split, VitroStatus status, const char *word)
{
    VitroDataset *ds = NULL;
    assert_int_equal(open_split(&ds, dir, split), status);
    if (!strstr(vitro_last_error(), word))
        print_error("expected \"%s\" in: %s\n", word, vitro_last_error());
    assert_non_null(strstr(vitro_last_error(), word));
}

static void touch(const char *dir, const char *name)
{
    vt_write(dir, name, "", 0);
}

/* The pictures are exactly `expected`: "label path" lines below `dir`. */
static void check_pictures(const VitroDataset *ds, const char *dir, const char *expected)
{
    VitroBuf b;
    const char *text;
    vitro_buf_init(&b, 1 << 20);
    for (int64_t i = 0; i < vitro_dataset_count(ds); i++) {
        char name[512];
        vitro_dataset_name(ds, i, name, sizeof(name));
        assert_memory_equal(name, dir, strlen(dir));
        vitro_buf_printf(&b, "%d %s\n", (int)vitro_dataset_label(ds, i), name + strlen(dir) + 1);
    }
    assert_int_equal(vitro_buf_cstr(&b, &text), VITRO_OK);
    assert_string_equal(text, expected);
    vitro_buf_deinit(&b);
}

static void test_order(void **state)
{
    (void)state;
    static const char *const files[] = {
        "train/b/2.jpg",    "train/b/10.JPEG",   "train/b/.hidden.png", "train/b/notes.txt",
        "train/b/jpg",      "train/b/a/y.webp",  "train/b/a/sub/x.bmp", "train/b/a-b/z.TiFf",
        "train/B/only.pGm", "train/a.jpg/x.ppm", "train/README.md",     "train/stray.png",
        "val/b/1.tif"};
    char *dir = vt_temp_make();
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        touch(dir, files[i]);
    VitroDataset *ds = must_open(dir, VITRO_SPLIT_TRAIN);
    assert_int_equal(vitro_dataset_class_count(ds), 3);
    assert_string_equal(vitro_dataset_class_name(ds, 0), "B");
    assert_string_equal(vitro_dataset_class_name(ds, 1), "a.jpg");
    assert_string_equal(vitro_dataset_class_name(ds, 2), "b");
    assert_int_equal(vitro_dataset_fixed_size(ds), 0);
    assert_int_equal(vitro_dataset_channels(ds), 3);
    check_pictures(ds, dir,
                   "0 train/B/only.pGm\n"
                   "1 train/a.jpg/x.ppm\n"
                   "2 train/b/.hidden.png\n"
                   "2 train/b/10.JPEG\n"
                   "2 train/b/2.jpg\n"
                   "2 train/b/a/y.webp\n"
                   "2 train/b/a-b/z.TiFf\n"
                   "2 train/b/a/sub/x.bmp\n");
    assert_string_equal(vitro_dataset_describe(ds),
                        "3 class folders (train and val), train, 8 images");
    vitro_dataset_close(ds);
    ds = must_open(dir, VITRO_SPLIT_VAL);
    assert_int_equal(vitro_dataset_class_count(ds), 3);
    check_pictures(ds, dir, "2 val/b/1.tif\n");
    vitro_dataset_close(ds);
    vt_temp_remove(dir);
}

static void test_layouts(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    VitroDataset *ds;
    /* train/ alone: no validation pictures */
    touch(dir, "train/cat/1.png");
    touch(dir, "train/dog/1.png");
    touch(dir, "README");
    ds = must_open(dir, VITRO_SPLIT_VAL);
    assert_int_equal(vitro_dataset_count(ds), 0);
    assert_int_equal(vitro_dataset_class_count(ds), 2);
    vitro_dataset_close(ds);
    /* each name of val/, the first in the list winning */
    static const char *const names[] = {"test", "validation", "valid", "val"};
    for (int i = 0; i < 4; i++) {
        char file[64], expected[80];
        snprintf(file, sizeof(file), "%s/dog/2.png", names[i]);
        snprintf(expected, sizeof(expected), "1 %s\n", file);
        touch(dir, file);
        ds = must_open(dir, VITRO_SPLIT_VAL);
        check_pictures(ds, dir, expected);
        vitro_dataset_close(ds);
    }
    /* a class with an empty validation folder is fine, one that is never trained is not */
    vt_mkdir(dir, "val/cat");
    vt_mkdir(dir, "val/.empty");
    ds = must_open(dir, VITRO_SPLIT_VAL);
    check_pictures(ds, dir, "1 val/dog/2.png\n");
    vitro_dataset_close(ds);
    touch(dir, "val/cow/1.png");
    check_refused(dir, VITRO_SPLIT_VAL, VITRO_E_FORMAT, "val/cow: train/ has no class");
    vt_mkdir(dir, "train/bat");
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_FORMAT, "train/bat: a class folder without");
    vt_temp_remove(dir);

    /* val/ alone gives its own classes, and cannot train */
    dir = vt_temp_make();
    touch(dir, "val/x/1.png");
    touch(dir, "val/y/1.png");
    ds = must_open(dir, VITRO_SPLIT_VAL);
    check_pictures(ds, dir, "0 val/x/1.png\n1 val/y/1.png\n");
    vitro_dataset_close(ds);
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_IO, "there is val/ but no train/");
    vt_temp_remove(dir);

    /* pictures right in train/ */
    dir = vt_temp_make();
    touch(dir, "train/1.png");
    touch(dir, "val/1.png");
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_FORMAT, "train: no class folder");
    vt_temp_remove(dir);

    /* classes that are called "train" and "test" */
    dir = vt_temp_make();
    touch(dir, "boat/1.png");
    touch(dir, "test/1.png");
    touch(dir, "train/1.png");
    ds = must_open(dir, VITRO_SPLIT_TRAIN);
    check_pictures(ds, dir, "0 boat/1.png\n1 test/1.png\n2 train/1.png\n");
    assert_string_equal(vitro_dataset_describe(ds),
                        "3 class folders (split 80/20), train, 3 images");
    vitro_dataset_close(ds);
    ds = must_open(dir, VITRO_SPLIT_VAL);
    assert_int_equal(vitro_dataset_count(ds), 0);
    assert_int_equal(vitro_dataset_class_count(ds), 3);
    vitro_dataset_close(ds);
    vt_mkdir(dir, "cow");
    check_refused(dir, VITRO_SPLIT_VAL, VITRO_E_FORMAT, "/cow: a class folder without a picture");
    vt_temp_remove(dir);
}

/* Classes of the sizes in the fixture: CPython's picks become the validation pictures. */
static void test_split(void **state)
{
    (void)state;
    FILE *f = fopen("tests/golden/data/split.txt", "r");
    assert_non_null(f);
    char *dir = vt_temp_make(), line[4096], name[64];
    VitroBuf train, val;
    const char *text;
    vitro_buf_init(&train, 1 << 20);
    vitro_buf_init(&val, 1 << 20);
    for (int c = 0; c < 19 && fgets(line, sizeof(line), f); c++) {
        char *p = line;
        int n = (int)strtol(p, &p, 10), next = (int)strtol(p, &p, 10);
        for (int i = 0; i < n; i++) {
            bool picked = i == next && (i || n >= 5); /* no number is left: 0 */
            snprintf(name, sizeof(name), "c%02d/%04d.jpg", c, i);
            touch(dir, name);
            vitro_buf_printf(picked ? &val : &train, "%d %s\n", c, name);
            if (picked)
                next = (int)strtol(p, &p, 10);
        }
    }
    fclose(f);
    VitroDataset *ds = must_open(dir, VITRO_SPLIT_TRAIN);
    assert_int_equal(vitro_buf_cstr(&train, &text), VITRO_OK);
    check_pictures(ds, dir, text);
    assert_int_equal(vitro_dataset_class_count(ds), 19);
    vitro_dataset_close(ds);
    ds = must_open(dir, VITRO_SPLIT_VAL);
    assert_int_equal(vitro_buf_cstr(&val, &text), VITRO_OK);
    check_pictures(ds, dir, text);
    assert_int_equal(vitro_dataset_count(ds), 150);
    vitro_dataset_close(ds);
    vitro_buf_deinit(&train);
    vitro_buf_deinit(&val);
    vt_temp_remove(dir);
}

static void test_links(void **state)
{
    (void)state;
    char *dir = vt_temp_make(), path[256];
    touch(dir, "store/1.png");
    touch(dir, "set/b/2.png");
    snprintf(path, sizeof(path), "%s/set/a", dir);
    assert_int_equal(symlink("../store", path), 0);
    snprintf(path, sizeof(path), "%s/set/b/gone.png", dir);
    assert_int_equal(symlink("nowhere", path), 0);
    char *set = vitro_path_join(dir, "set");
    VitroDataset *ds = must_open(set, VITRO_SPLIT_TRAIN);
    check_pictures(ds, set, "0 a/1.png\n1 b/2.png\n1 b/gone.png\n");
    VitroImage image = {0};
    assert_int_equal(vitro_dataset_read(ds, 2, &image), VITRO_E_IO);
    assert_non_null(strstr(vitro_last_error(), "b/gone.png"));
    vitro_dataset_close(ds);
    snprintf(path, sizeof(path), "%s/set/b/loop", dir);
    assert_int_equal(symlink("..", path), 0);
    check_refused(set, VITRO_SPLIT_TRAIN, VITRO_E_UNSUPPORTED, "a link back to b");
    vitro_free(set);
    vt_temp_remove(dir);
}

static void count_warnings(void *user, VitroLogLevel level, const char *line)
{
    assert_int_equal(level, VITRO_LOG_WARN);
    assert_non_null(strstr(line, "one class"));
    ++*(int *)user;
}

/* The folder above the right one is a data set of one class, too. */
static void test_one_class(void **state)
{
    (void)state;
    int warnings = 0;
    char *dir = vt_temp_make();
    vitro_set_log(count_warnings, &warnings);
    touch(dir, "flowers/1.png");
    vitro_dataset_close(must_open(dir, VITRO_SPLIT_TRAIN));
    touch(dir, "flowers/rose/1.png");
    touch(dir, "flowers/tulip/1.png");
    vitro_dataset_close(must_open(dir, VITRO_SPLIT_TRAIN));
    assert_int_equal(warnings, 0);
    vt_temp_remove(dir);
    dir = vt_temp_make();
    touch(dir, "flowers/rose/1.png");
    touch(dir, "flowers/tulip/1.png");
    VitroDataset *ds = must_open(dir, VITRO_SPLIT_TRAIN);
    check_pictures(ds, dir, "0 flowers/rose/1.png\n0 flowers/tulip/1.png\n");
    vitro_dataset_close(ds);
    assert_int_equal(warnings, 1);
    vitro_set_log(NULL, NULL);
    vt_temp_remove(dir);
}

static void test_too_deep(void **state)
{
    (void)state;
    char *dir = vt_temp_make(), name[512] = "a";
    for (int i = 0; i < 64; i++)
        memcpy(name + 1 + 2 * i, "/b", 3);
    memcpy(name + 1 + 2 * 64, "/x.png", 7);
    touch(dir, name);
    VitroDataset *ds = must_open(dir, VITRO_SPLIT_TRAIN);
    assert_int_equal(vitro_dataset_count(ds), 1);
    vitro_dataset_close(ds);
    memcpy(name + 1 + 2 * 64, "/b", 3);
    vt_mkdir(dir, name);
    check_refused(dir, VITRO_SPLIT_TRAIN, VITRO_E_UNSUPPORTED, "more than 64 deep");
    vt_temp_remove(dir);
}

static void test_read(void **state)
{
    (void)state;
    static const char ppm[] = "P6\n2 1\n255\n\x10\x20\x30\x40\x50\x60";
    char *dir = vt_temp_make();
    vt_write(dir, "c/1.ppm", ppm, sizeof(ppm) - 1);
    vt_write(dir, "c/2.ppm", ppm, sizeof(ppm) - 2);
    for (int channels = 0; channels <= 3; channels++) {
        if (channels == 2)
            continue;
        VitroDatasetOptions o = {.path = dir, .channels = channels};
        VitroDataset *ds = NULL;
        VitroImage image = {0};
        assert_int_equal(vitro_dataset_open(&ds, &o), VITRO_OK);
        assert_int_equal(vitro_dataset_channels(ds), channels ? channels : 3);
        assert_int_equal(vitro_dataset_read(ds, 0, &image), VITRO_OK);
        assert_true(image.width == 2 && image.height == 1);
        assert_int_equal(image.channels, channels ? channels : 3);
        if (channels != 1)
            assert_memory_equal(image.pixels, "\x10\x20\x30\x40\x50\x60", 6);
        vitro_image_deinit(&image);
        assert_int_equal(vitro_dataset_read(ds, 1, &image), VITRO_E_FORMAT);
        assert_non_null(strstr(vitro_last_error(), "c/2.ppm"));
        vitro_dataset_close(ds);
    }
    vt_temp_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),     cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_split),     cmocka_unit_test(test_links),
        cmocka_unit_test(test_one_class), cmocka_unit_test(test_too_deep),
        cmocka_unit_test(test_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
