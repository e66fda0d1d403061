/* SPDX-License-Identifier: Apache-2.0 */
/* Weight files that are good: what PyTorch wrote is read, what we write is read back. The fixtures
 * are those of tests/golden/make_ckpt_fixtures.py: element i is start + i, before any view. */
#include "base/alloc.h"
#include "base/fs.h"
#include "tensor/dtype.h"
#include "vitro/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define GOLDEN "tests/golden/ckpt/"

static VitroCheckpoint *open_good(const char *path)
{
    VitroCheckpoint *ckpt = NULL;
    if (vitro_checkpoint_open(&ckpt, path) != VITRO_OK)
        fail_msg("%s", vitro_last_error());
    return ckpt;
}

/* Compares tensor `name` with `count` floats, and its shape with `dims`, 0 at its end. */
static void expect(const VitroCheckpoint *ckpt, const char *name, const char *shape,
                   const float *values)
{
    float got[4096];
    char text[64];
    size_t used = 0;
    int64_t i = vitro_checkpoint_find(ckpt, name);
    assert_true(i >= 0);
    const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, i);
    assert_string_equal(info->name, name);
    assert_true(info->count <= 4096);
    text[0] = 0;
    for (int d = 0; d < info->rank; d++)
        used +=
            (size_t)snprintf(text + used, sizeof(text) - used, d ? ",%d" : "%d", (int)info->dim[d]);
    assert_string_equal(text, shape);
    assert_int_equal(vitro_checkpoint_read_f32(ckpt, i, got), VITRO_OK);
    assert_memory_equal(got, values, (size_t)info->count * sizeof(float));
}

static void test_plain(void **state)
{
    (void)state;
    /* repacked.pth: compressed, with data descriptors and zip64 fields */
    static const char *const files[] = {GOLDEN "plain.pth", GOLDEN "repacked.pth"};
    for (size_t f = 0; f < 2; f++) {
        VitroCheckpoint *ckpt = open_good(files[f]);
        assert_string_equal(vitro_checkpoint_format(ckpt), "pth");
        assert_string_equal(vitro_checkpoint_path(ckpt), files[f]);
        assert_int_equal(vitro_checkpoint_count(ckpt), 3);
        expect(ckpt, "matrix", "2,3", (const float[]){0, 1, 2, 3, 4, 5});
        expect(ckpt, "scalar", "", (const float[]){1.5f});
        expect(ckpt, "empty", "0,3", (const float[]){0});
        assert_string_equal(vitro_checkpoint_info(ckpt, 0)->name, "matrix");
        assert_int_equal(vitro_checkpoint_find(ckpt, "absent"), -1);
        assert_null(vitro_checkpoint_metadata(ckpt));
        assert_null(vitro_checkpoint_metadata_key(ckpt, "format"));
        const float *data = vitro_checkpoint_data(ckpt, 0);
        assert_non_null(data);
        assert_true(data[5] == 5.0f);
        assert_null(vitro_checkpoint_data(ckpt, vitro_checkpoint_find(ckpt, "empty")));
        vitro_checkpoint_close(ckpt);
    }
}

static void test_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        VitroDtype dtype;
    } rows[] = {{"float32", VITRO_F32}, {"float16", VITRO_F16}, {"bfloat16", VITRO_BF16},
                {"float64", VITRO_F64}, {"int8", VITRO_I8},     {"int16", VITRO_I16},
                {"int32", VITRO_I32},   {"int64", VITRO_I64},   {"uint8", VITRO_U8},
                {"bool", VITRO_BOOL}};
    static const char *const files[] = {GOLDEN "kinds.pth", GOLDEN "kinds_legacy.pth"};
    for (size_t f = 0; f < 2; f++) {
        VitroCheckpoint *ckpt = open_good(files[f]);
        assert_int_equal(vitro_checkpoint_count(ckpt), 10);
        for (int i = 0; i < 10; i++) {
            const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, i);
            assert_string_equal(info->name, rows[i].name); /* the file's order */
            assert_int_equal(info->dtype, rows[i].dtype);
            if (i < 4)
                expect(ckpt, info->name, "5", (const float[]){-2, -1, 0, 1, 2});
            else
                assert_int_equal(vitro_checkpoint_read_f32(ckpt, i, NULL), VITRO_E_UNSUPPORTED);
        }
        int64_t longs[5];
        uint8_t bytes[5];
        assert_int_equal(vitro_checkpoint_read_raw(ckpt, 7, longs), VITRO_OK);
        assert_true(longs[0] == -2 && longs[4] == 2);
        assert_int_equal(vitro_checkpoint_read_raw(ckpt, 8, bytes), VITRO_OK);
        assert_memory_equal(bytes, "\xfa\xfb\xfc\xfd\xfe", 5);
        assert_int_equal(vitro_checkpoint_read_raw(ckpt, 9, bytes), VITRO_OK);
        assert_memory_equal(bytes, "\0\1\0\1\0", 5);
        vitro_checkpoint_close(ckpt);
    }
}

static void test_views(void **state)
{
    (void)state;
    static const char *const files[] = {GOLDEN "views.pth", GOLDEN "views_legacy.pth"};
    for (size_t f = 0; f < 2; f++) {
        float whole[24], turned[24], expanded[20], big[3000];
        for (int i = 0; i < 24; i++) {
            whole[i] = (float)i;
            turned[i] = (float)(i / 6 + 12 * (i / 3 % 2) + 4 * (i % 3)); /* [4,2,3] */
        }
        for (int i = 0; i < 20; i++)
            expanded[i] = 3;
        for (int i = 0; i < 3000; i++)
            big[i] = (float)(i % 30 * 100 + i / 30); /* [100,30] */
        VitroCheckpoint *ckpt = open_good(files[f]);
        expect(ckpt, "whole", "2,3,4", whole);
        expect(ckpt, "turned", "4,2,3", turned);
        expect(ckpt, "part", "5", (const float[]){5, 8, 11, 14, 17});
        expect(ckpt, "expanded", "4,5", expanded);
        expect(ckpt, "half_t", "3,2", (const float[]){0, 3, 1, 4, 2, 5});
        expect(ckpt, "big_t", "100,30", big);
        uint16_t raw[6];
        int64_t i = vitro_checkpoint_find(ckpt, "half_t");
        assert_int_equal(vitro_checkpoint_read_raw(ckpt, i, raw), VITRO_OK);
        assert_int_equal(raw[1], vitro_f16_from_f32(3));
        assert_null(vitro_checkpoint_data(ckpt, i)); /* not contiguous in the file */
        vitro_checkpoint_close(ckpt);
    }
}

/* Training checkpoints, names with prefixes, parameters, another protocol: the same two tensors. */
static void test_wrappers(void **state)
{
    (void)state;
    static const char *const files[] = {GOLDEN "training.pth",  GOLDEN "training_legacy.pth",
                                        GOLDEN "nested.pth",    GOLDEN "parameters.pth",
                                        GOLDEN "protocol4.pth", GOLDEN "protocol4_legacy.pth"};
    for (size_t f = 0; f < sizeof(files) / sizeof(files[0]); f++) {
        VitroCheckpoint *ckpt = open_good(files[f]);
        assert_int_equal(vitro_checkpoint_count(ckpt), 2);
        expect(ckpt, "weight", "2,3", (const float[]){0, 1, 2, 3, 4, 5});
        expect(ckpt, "bias", "2", (const float[]){6, 7});
        vitro_checkpoint_close(ckpt);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        VitroStatus status;
        const char *text;
    } rows[] = {
        {GOLDEN "object.pth", VITRO_E_UNSUPPORTED,
         "holds a Python object of class __main__.Layer, whose code is not in the file; save "
         "model.state_dict() instead"},
        {GOLDEN "object_legacy.pth", VITRO_E_UNSUPPORTED,
         "holds a Python object of class __main__.Layer, whose code is not in the file; save "
         "model.state_dict() instead"},
        {GOLDEN "object_inside.pth", VITRO_E_UNSUPPORTED,
         "holds a Python object of class __main__.Layer, whose code is not in the file; save "
         "model.state_dict() instead"},
        {GOLDEN "bare.pth", VITRO_E_FORMAT, "holds a tensor, not a dict of tensors"},
        {GOLDEN "no_tensors.pth", VITRO_E_FORMAT,
         "holds no named tensors; its keys are: epoch, lr"},
        {GOLDEN "complex.pth", VITRO_E_UNSUPPORTED,
         "tensor \"z\": its element type is not supported"},
        {GOLDEN "quantized.pth", VITRO_E_UNSUPPORTED,
         "tensor \"q\": is made by _rebuild_qtensor, which is no plain tensor"},
        {GOLDEN "locked.zip", VITRO_E_UNSUPPORTED, "zip: record \"a/data.pkl\" is encrypted"},
        {"tests/golden/pickle/p2.pkl", VITRO_E_FORMAT, "is no .pth, .safetensors or .npz file"},
        {"tests/golden", VITRO_E_IO,
         "is a folder without model.safetensors, pytorch_model.bin or "
         "model.safetensors.index.json"},
        {"tests/golden/absent.pth", VITRO_E_IO, "cannot open: No such file or directory"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        VitroCheckpoint *ckpt = NULL;
        char text[512];
        assert_int_equal(vitro_checkpoint_open(&ckpt, rows[i].path), rows[i].status);
        assert_null(ckpt);
        snprintf(text, sizeof(text), "%s: %s", rows[i].path, rows[i].text);
        assert_string_equal(vitro_last_error(), text);
    }
    vitro_checkpoint_close(NULL);
}

/* ---- writing --------------------------------------------------------------------------------- */

static char dir[] = "/tmp/vitro-test-XXXXXX";
static char path[64];

static const char *in_dir(const char *name)
{
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    VitroNameList list;
    if (vitro_fs_list(&list, dir) != VITRO_OK)
        return -1;
    for (size_t i = 0; i < list.count; i++)
        unlink(in_dir(list.names[i]));
    vitro_list_free(&list);
    return rmdir(dir);
}

static const float matrix[] = {1, -2, 3, -4, 5, -6};
static const double doubles[] = {0.1, 1e300};
static const uint16_t halves[] = {0x3c00, 0xc000};
static const int64_t longs[] = {INT64_MIN, 7};
static const uint8_t flags[] = {1, 0, 1};

static const VitroTensorSource sources[] = {
    {"blocks.0.norm.weight", VITRO_F32, 2, {2, 3}, matrix},
    {"flags", VITRO_BOOL, 1, {3}, flags},
    {"doubles", VITRO_F64, 1, {2}, doubles},
    {"empty", VITRO_F32, 3, {70000, 0, 3}, NULL},
    {"scalar", VITRO_F32, 0, {0}, matrix},
    {"halves", VITRO_F16, 3, {1, 2, 1}, halves},
    {"brains", VITRO_BF16, 1, {1}, halves},
    {"longs", VITRO_I64, 1, {2}, longs},
    {"\xc3\xa9 \"quoted\\\"", VITRO_U8, 1, {3}, flags},
};
enum { SOURCE_COUNT = sizeof(sources) / sizeof(sources[0]) };

static const char about[] = "{\"class_names\": [\"caf\xc3\xa9\", \"a\\\"b\"]}";

static void check_round_trip(const char *file, const char *format)
{
    VitroCheckpoint *ckpt = open_good(file);
    assert_string_equal(vitro_checkpoint_format(ckpt), format);
    assert_string_equal(vitro_checkpoint_metadata(ckpt), about);
    assert_int_equal(vitro_checkpoint_count(ckpt), SOURCE_COUNT);
    for (int i = 0; i < SOURCE_COUNT; i++) {
        const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, i);
        uint8_t bytes[64];
        assert_string_equal(info->name, sources[i].name);
        assert_int_equal(info->dtype, sources[i].dtype);
        assert_int_equal(info->rank, sources[i].rank);
        assert_memory_equal(info->dim, sources[i].dim, sizeof(info->dim));
        assert_int_equal(vitro_checkpoint_read_raw(ckpt, i, bytes), VITRO_OK);
        if (info->count == 0)
            continue;
        size_t size = (size_t)info->count * vitro_dtype_size(info->dtype);
        assert_memory_equal(bytes, sources[i].data, size);
        assert_non_null(vitro_checkpoint_data(ckpt, i)); /* we write aligned */
        assert_memory_equal(vitro_checkpoint_data(ckpt, i), sources[i].data, size);
    }
    vitro_checkpoint_close(ckpt);
}

static void test_round_trips(void **state)
{
    (void)state;
    assert_int_equal(
        vitro_checkpoint_write(in_dir("a.pth"), VITRO_FORMAT_PTH, sources, SOURCE_COUNT, about),
        VITRO_OK);
    check_round_trip(in_dir("a.pth"), "pth");
    assert_int_equal(vitro_checkpoint_write(in_dir("a.safetensors"), VITRO_FORMAT_SAFETENSORS,
                                            sources, SOURCE_COUNT, about),
                     VITRO_OK);
    check_round_trip(in_dir("a.safetensors"), "safetensors");
    VitroCheckpoint *ckpt = open_good(in_dir("a.safetensors"));
    assert_string_equal(vitro_checkpoint_metadata_key(ckpt, "format"), "pt");
    assert_null(vitro_checkpoint_metadata_key(ckpt, "absent"));
    vitro_checkpoint_close(ckpt);
}

/* Nothing at all is a weight file too, and metadata may be absent. */
static void test_empty(void **state)
{
    (void)state;
    for (int f = VITRO_FORMAT_PTH; f <= VITRO_FORMAT_SAFETENSORS; f++) {
        const char *file = in_dir("empty");
        assert_int_equal(vitro_checkpoint_write(file, (VitroCheckpointFormat)f, NULL, 0, NULL), 0);
        VitroCheckpoint *ckpt = open_good(file);
        assert_int_equal(vitro_checkpoint_count(ckpt), 0);
        assert_null(vitro_checkpoint_metadata(ckpt));
        vitro_checkpoint_close(ckpt);
    }
}

static VitroBuf read_file(const char *file)
{
    VitroBuf b;
    vitro_buf_init(&b, 1 << 20);
    assert_int_equal(vitro_fs_read(&b, file), VITRO_OK);
    return b;
}

static void test_bytes_are_a_function(void **state)
{
    (void)state;
    for (int f = VITRO_FORMAT_PTH; f <= VITRO_FORMAT_SAFETENSORS; f++) {
        const char *file = in_dir("same");
        VitroBuf b[2];
        for (int i = 0; i < 2; i++) {
            assert_int_equal(vitro_checkpoint_write(file, (VitroCheckpointFormat)f, sources,
                                                    SOURCE_COUNT, about),
                             VITRO_OK);
            b[i] = read_file(file);
        }
        assert_int_equal(b[0].len, b[1].len);
        assert_memory_equal(b[0].data, b[1].data, b[0].len);
        vitro_buf_deinit(&b[0]);
        vitro_buf_deinit(&b[1]);
    }
}

/* What cannot be written leaves the file that was there, and no other. */
static void test_failed_writes(void **state)
{
    (void)state;
    const char *file = in_dir("kept");
    assert_int_equal(vitro_fs_replace(file, "old", 3), VITRO_OK);
    static const struct {
        VitroTensorSource t[2];
        int64_t count;
        const char *metadata;
    } bad[] = {
        {{{"a", VITRO_F32, 1, {1}, matrix}, {"a", VITRO_F32, 1, {1}, matrix}}, 2, NULL},
        {{{NULL, VITRO_F32, 1, {1}, matrix}}, 1, NULL},
        {{{"\xff", VITRO_F32, 1, {1}, matrix}}, 1, NULL},
        {{{"a", VITRO_F32, 1, {-1}, matrix}}, 1, NULL},
        {{{"a", VITRO_F32, 9, {1}, matrix}}, 1, NULL},
        {{{"a", VITRO_F32, -1, {1}, matrix}}, 1, NULL},
        {{{"a", VITRO_F32, 1, {1}, NULL}}, 1, NULL},
        {{{"a", VITRO_F32, 2, {INT64_MAX, 2}, matrix}}, 1, NULL},
        {{{"a", (VitroDtype)77, 1, {1}, matrix}}, 1, NULL},
        {{{"a", VITRO_F32, 1, {1}, matrix}}, 1, "\xff"},
        {{{"a", VITRO_F32, 1, {1}, matrix}}, -1, NULL},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        for (int f = 0; f < 3; f++) /* 2 is no format */
            assert_int_equal(vitro_checkpoint_write(file, (VitroCheckpointFormat)f, bad[i].t,
                                                    bad[i].count, bad[i].metadata),
                             VITRO_E_ARG);
    VitroTensorSource reserved = sources[0];
    reserved.name = "__metadata__";
    assert_int_equal(vitro_checkpoint_write(file, VITRO_FORMAT_SAFETENSORS, &reserved, 1, NULL),
                     VITRO_E_ARG);
    assert_int_equal(
        vitro_checkpoint_write(in_dir("absent/a.pth"), VITRO_FORMAT_PTH, sources, 1, NULL),
        VITRO_E_IO);
    VitroBuf b = read_file(in_dir("kept"));
    assert_int_equal(b.len, 3);
    vitro_buf_deinit(&b);
}

/* Each allocation fails in turn: no crash, no leak, no file. Then it works. */
static void test_every_allocation_fails(void **state)
{
    (void)state;
    for (int f = VITRO_FORMAT_PTH; f <= VITRO_FORMAT_SAFETENSORS; f++) {
        const char *file = in_dir(f ? "oom.safetensors" : "oom.pth");
        VitroStatus st = VITRO_E_NOMEM;
        for (uint64_t n = 1; st != VITRO_OK; n++) {
            vitro_alloc_fail_at(n);
            st = vitro_checkpoint_write(file, (VitroCheckpointFormat)f, sources, SOURCE_COUNT,
                                        about);
            vitro_alloc_fail_at(0);
            assert_true(st == VITRO_OK || (st == VITRO_E_NOMEM && !vitro_fs_is_file(file)));
        }
    }
    static const char *const files[] = {GOLDEN "training.pth", GOLDEN "views_legacy.pth",
                                        GOLDEN "repacked.pth", NULL};
    for (size_t f = 0; f < 4; f++) {
        const char *file = files[f] ? files[f] : in_dir("oom.safetensors");
        VitroStatus st = VITRO_E_NOMEM;
        uint64_t n = 1;
        for (; st != VITRO_OK; n++) {
            VitroCheckpoint *ckpt = NULL;
            float values[4096];
            vitro_alloc_fail_at(n);
            st = vitro_checkpoint_open(&ckpt, file);
            for (int64_t i = 0; st == VITRO_OK && i < vitro_checkpoint_count(ckpt); i++)
                if (vitro_dtype_is_float(vitro_checkpoint_info(ckpt, i)->dtype))
                    st = vitro_checkpoint_read_f32(ckpt, i, values);
            vitro_alloc_fail_at(0);
            vitro_checkpoint_close(ckpt);
            assert_true(st == VITRO_OK || st == VITRO_E_NOMEM);
        }
        assert_true(n > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),         cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_views),         cmocka_unit_test(test_wrappers),
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_empty),         cmocka_unit_test(test_bytes_are_a_function),
        cmocka_unit_test(test_failed_writes), cmocka_unit_test(test_every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
