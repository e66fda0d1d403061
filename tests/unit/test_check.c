/* SPDX-License-Identifier: Apache-2.0 */
/* Which pictures of a data set cannot be read, and the data set without them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/status.h"
#include "harness/temp.h"
#include "vitro/data.h"

#include <stdio.h>
#include <string.h>

enum { COUNT = 1000 };

static int32_t no_label(void *user, int64_t i)
{
    (void)user;
    return (int32_t)(i % 3);
}

/* Each seventh is broken; one that the user names has no memory. */
static VitroStatus read_some(void *user, int64_t i, VitroImage *out)
{
    if (user && i == *(int64_t *)user)
        return vitro_fail(VITRO_E_NOMEM, "no memory");
    if (i % 7 == 3)
        return vitro_fail(VITRO_E_FORMAT, "broken");
    return vitro_image_init(out, 2, 2, 3);
}

typedef struct Seen {
    int64_t last, bad, done, stop_at;
} Seen;

static void on_bad(void *user, int64_t i, const char *reason)
{
    Seen *s = user;
    char text[64];
    assert_true(i > s->last && i % 7 == 3);
    snprintf(text, sizeof(text), "picture %d: broken", (int)i);
    assert_string_equal(reason, text);
    s->last = i;
    s->bad++;
}

static bool on_progress(void *user, int64_t done, int64_t count)
{
    Seen *s = user;
    assert_true(done >= s->done && done <= count && count == COUNT);
    s->done = done;
    return !s->stop_at || done < s->stop_at;
}

static VitroStatus check(Seen *s, int workers, int64_t *no_memory, int64_t *bad)
{
    VitroCustomDataset custom = {.user = no_memory,
                                 .count = COUNT,
                                 .class_count = 3,
                                 .label = no_label,
                                 .read = read_some,
                                 .channels = 3};
    VitroCheckOptions options = {
        .workers = workers, .bad = on_bad, .progress = on_progress, .user = s};
    VitroDataset *ds;
    *s = (Seen){.last = -1, .stop_at = s->stop_at};
    assert_int_equal(vitro_dataset_custom(&ds, &custom), VITRO_OK);
    int64_t first = 0;
    assert_int_equal(vitro_dataset_leave_out(ds, &first, 1), VITRO_E_UNSUPPORTED);
    VitroStatus st = vitro_dataset_check(ds, &options, bad);
    vitro_dataset_close(ds);
    return st;
}

static void test_check(void **state)
{
    (void)state;
    for (int workers = 0; workers < 6; workers++) {
        Seen s = {0};
        int64_t bad = -1, no_memory = 500;
        assert_int_equal(check(&s, workers, NULL, &bad), VITRO_OK);
        assert_int_equal(bad, 143);
        assert_int_equal(s.bad, 143);
        assert_int_equal(s.done, COUNT);
        /* a machine at its end says nothing about the pictures */
        assert_int_equal(check(&s, workers, &no_memory, &bad), VITRO_E_NOMEM);
        assert_non_null(strstr(vitro_last_error(), "no memory"));
        s.stop_at = 1;
        assert_int_equal(check(&s, workers, NULL, &bad), VITRO_E_CANCELLED);
    }
    Seen s = {0};
    int64_t bad;
    assert_int_equal(check(&s, -1, NULL, &bad), VITRO_E_ARG);
}

static void test_leave_out(void **state)
{
    (void)state;
    static const char pixel[] = "P6 1 1 255\nabc";
    char *dir = vt_temp_make(), name[256];
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "%s/%d.ppm", i < 3 ? "a" : "b", i);
        vt_write(dir, name, pixel, i == 1 || i == 4 ? 3 : sizeof(pixel) - 1);
    }
    VitroDatasetOptions options = {.path = dir, .kind = VITRO_DATA_FOLDER};
    VitroDataset *ds;
    /* five pictures: int(n * 0.2) of each class is none, so all are for training */
    assert_int_equal(vitro_dataset_open(&ds, &options), VITRO_OK);
    assert_int_equal(vitro_dataset_count(ds), 5);
    const int64_t wrong[][2] = {{1, 1}, {4, 1}, {-1, 2}, {1, 5}}, right[2] = {1, 4};
    for (int i = 0; i < 4; i++)
        assert_int_equal(vitro_dataset_leave_out(ds, wrong[i], 2), VITRO_E_ARG);
    assert_int_equal(vitro_dataset_leave_out(ds, right, 0), VITRO_OK);
    assert_int_equal(vitro_dataset_leave_out(ds, right, 2), VITRO_OK);
    assert_int_equal(vitro_dataset_count(ds), 3);
    static const char *const kept[] = {"a/0.ppm", "a/2.ppm", "b/3.ppm"};
    static const int32_t labels[] = {0, 0, 1};
    for (int64_t i = 0; i < 3; i++) {
        VitroImage image = {0};
        vitro_dataset_name(ds, i, name, sizeof(name));
        assert_non_null(strstr(name, kept[i]));
        assert_int_equal(vitro_dataset_label(ds, i), labels[i]);
        assert_int_equal(vitro_dataset_read(ds, i, &image), VITRO_OK);
        vitro_image_deinit(&image);
    }
    assert_non_null(strstr(vitro_dataset_describe(ds), "2 left out"));
    vitro_dataset_close(ds);
    vt_temp_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_leave_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
