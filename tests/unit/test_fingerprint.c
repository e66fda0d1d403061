/* SPDX-License-Identifier: Apache-2.0 */
/* What counts as the same data set: not where it lies, but names, labels, classes and pixels. */
#include "harness/temp.h"
#include "vitro/data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

typedef char Print[VITRO_FINGERPRINT_BYTES];

static void print_of(Print out, const char *dir, VitroSplit split)
{
    VitroDataset *ds;
    VitroDatasetOptions options = {.path = dir, .split = split};
    assert_int_equal(vitro_dataset_open(&ds, &options), VITRO_OK);
    memset(out, 0, sizeof(Print));
    assert_int_equal(vitro_dataset_fingerprint(ds, out), VITRO_OK);
    assert_int_equal(strlen(out), VITRO_FINGERPRINT_BYTES - 1);
    vitro_dataset_close(ds);
}

/* Opening a folder reads names only: the files may be empty. */
static char *make_folder(const char *const *names)
{
    char *dir = vt_temp_make();
    for (int i = 0; names[i]; i++)
        vt_write(dir, names[i], "", 0);
    return dir;
}

static void test_folder(void **state)
{
    (void)state;
    /* the same elsewhere; another name; another class of a picture; another class's name; one less
     */
    static const char *const sets[][6] = {
        {"train/a/1.png", "train/a/2.png", "train/b/3.png", "val/a/4.png"},
        {"train/a/1.png", "train/a/2.png", "train/b/3.png", "val/a/5.png"},
        {"train/a/1.png", "train/a/x.png", "train/b/3.png", "val/a/4.png"},
        {"train/a/1.png", "train/b/2.png", "train/b/3.png", "val/a/4.png"},
        {"train/a/1.png", "train/a/2.png", "train/c/3.png", "val/a/4.png"},
        {"train/a/1.png", "train/b/3.png", "val/a/4.png"},
    };
    Print print[6], val[6];
    for (int i = 0; i < 6; i++) {
        char *dir = make_folder(sets[i]);
        print_of(print[i], dir, VITRO_SPLIT_TRAIN);
        print_of(val[i], dir, VITRO_SPLIT_VAL);
        vt_temp_remove(dir);
        for (int k = 0; k < i; k++)
            if ((strcmp(print[i], print[k]) == 0) != (i == 1))
                fail_msg("sets %d and %d", k, i);
    }
    assert_string_not_equal(val[0], val[1]);
    assert_string_equal(val[0], val[2]);
}

static void write_idx(const char *dir, uint8_t pixel, uint8_t label)
{
    uint8_t images[16 + 2 * 28 * 28] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28};
    uint8_t labels[8 + 2] = {0, 0, 8, 1, 0, 0, 0, 2, 1, label};
    images[sizeof(images) - 1] = pixel;
    vt_write(dir, "train-images-idx3-ubyte", images, sizeof(images));
    vt_write(dir, "train-labels-idx1-ubyte", labels, sizeof(labels));
}

static void test_pixels(void **state)
{
    (void)state;
    Print first, same, pixel, label;
    char *dir = vt_temp_make(), *other = vt_temp_make();
    write_idx(dir, 1, 2);
    print_of(first, dir, VITRO_SPLIT_TRAIN);
    write_idx(other, 1, 2);
    print_of(same, other, VITRO_SPLIT_TRAIN);
    write_idx(dir, 9, 2);
    print_of(pixel, dir, VITRO_SPLIT_TRAIN);
    write_idx(dir, 1, 3);
    print_of(label, dir, VITRO_SPLIT_TRAIN);
    assert_string_equal(first, same);
    assert_string_not_equal(first, pixel);
    assert_string_not_equal(first, label);
    vt_temp_remove(dir);
    vt_temp_remove(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_pixels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
