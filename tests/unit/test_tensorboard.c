/* SPDX-License-Identifier: Apache-2.0 */
/* Event files: byte for byte what the tensorboard package writes. */
#include "base/alloc.h"
#include "base/fs.h"
#include "metrics/crc32c.h"
#include "metrics/tensorboard.h"
#include "vitro/train.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static void test_crc32c(void **state)
{
    (void)state;
    uint8_t zeros[32] = {0}, up[32];
    for (int i = 0; i < 32; i++)
        up[i] = (uint8_t)i;
    /* RFC 3720, appendix B.4 */
    assert_int_equal(vitro_crc32c(zeros, 32), 0x8A9136AA);
    assert_int_equal(vitro_crc32c(up, 32), 0x46DD794E);
    assert_int_equal(vitro_crc32c("", 0), 0);
}

static void test_records(void **state)
{
    (void)state;
    char long_tag[201];
    memset(long_tag, 't', 200);
    long_tag[200] = 0;
    VitroBuf ours, golden;
    vitro_buf_init(&ours, 1 << 16);
    vitro_buf_init(&golden, 1 << 16);
    assert_int_equal(vitro_fs_read(&golden, "tests/golden/train/events.bin"), VITRO_OK);
    double t = 1700000001.5;
    assert_int_equal(vitro_event_version(&ours, 1700000000.25), VITRO_OK);
    assert_int_equal(vitro_event_scalar(&ours, t, "train_loss", 4.605170185988092, 0), VITRO_OK);
    assert_int_equal(vitro_event_scalar(&ours, t + 1, "train_acc", 0, 1), VITRO_OK);
    assert_int_equal(vitro_event_scalar(&ours, t + 2, "val_loss", 0.1, 127), VITRO_OK);
    assert_int_equal(vitro_event_scalar(&ours, t + 3, "val_acc", 1e-30, 128), VITRO_OK);
    assert_int_equal(vitro_event_scalar(&ours, t + 4, "learning_rate", -1.5, 1LL << 40), VITRO_OK);
    assert_int_equal(vitro_event_scalar(&ours, t + 5, long_tag, INFINITY, -1), VITRO_OK);
    assert_int_equal(ours.len, golden.len);
    assert_memory_equal(ours.data, golden.data, golden.len);
    vitro_buf_deinit(&ours);
    vitro_buf_deinit(&golden);
}

/* The event that makes TensorBoard forget what comes at this step and later in earlier files:
 * wall_time, step 300, session_log {status START}; the frame is the one that is tested above. */
static void test_restart(void **state)
{
    (void)state;
    static const uint8_t expected[] = {0x09, 0,    0,    0,    0,    0,    0,
                                       0xf8, 0x3f, /* 1.5 */
                                       0x10, 0xac, 0x02, 0x3a, 0x02, 0x08, 0x01};
    VitroBuf b;
    vitro_buf_init(&b, 1 << 10);
    assert_int_equal(vitro_event_restart(&b, 1.5, 300), VITRO_OK);
    assert_int_equal(b.len, 12 + sizeof(expected) + 4);
    assert_int_equal(b.data[0], sizeof(expected));
    assert_memory_equal(b.data + 12, expected, sizeof(expected));
    vitro_buf_deinit(&b);
}

static void test_tag_limit(void **state)
{
    (void)state;
    char tag[VITRO_EVENT_TAG_MAX + 2];
    memset(tag, 'x', sizeof(tag));
    tag[VITRO_EVENT_TAG_MAX + 1] = 0;
    VitroBuf b;
    vitro_buf_init(&b, 1 << 16);
    assert_int_equal(vitro_event_scalar(&b, 0, tag, 1, INT64_MIN), VITRO_E_ARG);
    assert_int_equal(b.len, 0);
    tag[VITRO_EVENT_TAG_MAX] = 0;
    assert_int_equal(vitro_event_scalar(&b, 0, tag, 1, INT64_MIN), VITRO_OK);
    vitro_buf_deinit(&b);
}

/* Two files of one directory, a thousand scalars: names differ, sizes are those of whole records.
 */
static void test_file(void **state)
{
    (void)state;
    char root[] = "/tmp/vitro-tb-XXXXXX";
    assert_non_null(mkdtemp(root));
    char *dir = vitro_path_join(root, "runs/a");
    VitroTensorboard *a, *b;
    assert_int_equal(vitro_tensorboard_open(&a, dir), VITRO_OK);
    assert_int_equal(vitro_tensorboard_open(&b, dir), VITRO_OK);
    for (int i = 0; i < 4000; i++)
        assert_int_equal(vitro_tensorboard_scalar(a, "loss", i, 1000), VITRO_OK);
    assert_int_equal(vitro_tensorboard_close(a), VITRO_OK);
    assert_int_equal(vitro_tensorboard_close(b), VITRO_OK);
    assert_int_equal(vitro_tensorboard_close(NULL), VITRO_OK);

    VitroNameList list;
    assert_int_equal(vitro_fs_list(&list, dir), VITRO_OK);
    assert_int_equal(list.count, 2);
    size_t sizes[2];
    for (int i = 0; i < 2; i++) {
        VitroMap map;
        assert_int_equal(strncmp(list.names[i], "events.out.tfevents.", 20), 0);
        char *path = vitro_path_join(dir, list.names[i]);
        assert_int_equal(vitro_map_open(&map, path), VITRO_OK);
        sizes[i] = map.size;
        vitro_map_close(&map);
        unlink(path);
        vitro_free(path);
    }
    size_t version = 16 + 9 + 2 + 13, scalar = 16 + 9 + 3 + 2 + 2 + 6 + 5;
    assert_int_equal(sizes[0], version + 4000 * scalar);
    assert_int_equal(sizes[1], version);
    vitro_list_free(&list);

    assert_int_equal(vitro_tensorboard_open(&a, "/dev/null/x"), VITRO_E_IO);
    rmdir(dir);
    vitro_free(dir);
    dir = vitro_path_join(root, "runs");
    rmdir(dir);
    rmdir(root);
    vitro_free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c), cmocka_unit_test(test_records),
        cmocka_unit_test(test_restart), cmocka_unit_test(test_tag_limit),
        cmocka_unit_test(test_file)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
