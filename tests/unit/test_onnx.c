/* SPDX-License-Identifier: Apache-2.0 */
/* What an ONNX file holds, read with a reader of its own: every operator finds what it takes, the
 * parameters are the checkpoint's bytes, and the file says what it is. What the graph computes is
 * for tests/python/check_onnx.py, which runs it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fs.h"
#include "harness/temp.h"
#include "vitro/vitro.h"

enum { NAMES_MAX = 1024, PATH_MAX_BYTES = 512, OUTPUTS = 5 };

static char *dir;
static char weights[PATH_MAX_BYTES], onnx[PATH_MAX_BYTES], again[PATH_MAX_BYTES];

static int make_dir(void **state)
{
    (void)state;
    dir = vt_temp_make();
    snprintf(weights, sizeof(weights), "%s/weights.safetensors", dir);
    snprintf(onnx, sizeof(onnx), "%s/model.onnx", dir);
    snprintf(again, sizeof(again), "%s/again.onnx", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    vt_temp_remove(dir);
    return 0;
}

static void ok(VitroStatus st)
{
    if (st != VITRO_OK)
        fail_msg("%s: %s", vitro_status_name(st), vitro_last_error());
}

/* ---- protocol buffers: fields of a message, one after the other -------------------------------
 */

typedef struct Bytes {
    const uint8_t *at, *end;
} Bytes;

typedef struct Field {
    uint32_t number;
    uint64_t value; /* of a number */
    Bytes bytes;    /* of text or a message */
} Field;

static uint64_t varint(Bytes *b)
{
    uint64_t v = 0;
    for (int shift = 0; b->at < b->end && shift < 64; shift += 7) {
        uint8_t c = *b->at++;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80))
            return v;
    }
    fail_msg("a number that does not end");
    return 0;
}

static bool next(Field *f, Bytes *b)
{
    if (b->at == b->end)
        return false;
    uint64_t key = varint(b);
    *f = (Field){.number = (uint32_t)(key >> 3)};
    if ((key & 7) == 0) {
        f->value = varint(b);
        return true;
    }
    assert_true((key & 7) == 2 || (key & 7) == 5);
    uint64_t n = (key & 7) == 5 ? 4 : varint(b);
    assert_true(n <= (uint64_t)(b->end - b->at));
    f->bytes = (Bytes){b->at, b->at + n};
    b->at += n;
    return true;
}

/* The n-th field of that number; fails where there is none. */
static Field find(Bytes message, uint32_t number, int n)
{
    Field f;
    while (next(&f, &message))
        if (f.number == number && n-- == 0)
            return f;
    fail_msg("no field %u", number);
    return f;
}

static int count(Bytes message, uint32_t number)
{
    Field f;
    int n = 0;
    while (next(&f, &message))
        n += f.number == number;
    return n;
}

static bool is_text(Bytes b, const char *text)
{
    return (size_t)(b.end - b.at) == strlen(text) && memcmp(b.at, text, strlen(text)) == 0;
}

/* ---- names of values --------------------------------------------------------------------------
 */

typedef struct Names {
    Bytes name[NAMES_MAX];
    int count;
} Names;

static bool has(const Names *names, Bytes b)
{
    for (int i = 0; i < names->count; i++) {
        Bytes n = names->name[i];
        if (n.end - n.at == b.end - b.at && memcmp(n.at, b.at, (size_t)(b.end - b.at)) == 0)
            return true;
    }
    return false;
}

static void add(Names *names, Bytes b)
{
    assert_true(b.end > b.at);
    if (has(names, b))
        fail_msg("two values are called %.*s", (int)(b.end - b.at), (const char *)b.at);
    assert_true(names->count < NAMES_MAX);
    names->name[names->count++] = b;
}

/* ---- files ------------------------------------------------------------------------------------
 */

static VitroConfig small_config(void)
{
    VitroConfig cfg;
    ok(vitro_config_preset(&cfg, "vit_tiny_patch4_32"));
    cfg.img_height = 12;
    cfg.img_width = 8;
    cfg.embed_dim = 16;
    cfg.depth = 2;
    cfg.num_heads = 2;
    cfg.num_classes = OUTPUTS;
    cfg.patch_norm = true;
    cfg.representation_size = 6;
    return cfg;
}

static VitroCheckpoint *open_weights(const VitroConfig *cfg)
{
    VitroDevice *dev;
    VitroModel *m;
    VitroCheckpoint *ckpt;
    ok(vitro_device_open(&dev, &(VitroDeviceOptions){.name = "ref"}));
    ok(vitro_model_create(&m, dev, cfg));
    ok(vitro_model_init(m, 3));
    ok(vitro_model_save(m, weights, VITRO_FORMAT_SAFETENSORS, NULL));
    vitro_model_free(m);
    vitro_device_close(dev);
    ok(vitro_checkpoint_open(&ckpt, weights));
    return ckpt;
}

static bool can_export(void)
{
    return strstr(vitro_build_info(), "protobuf-c not found") == NULL;
}

/* ---- tests ------------------------------------------------------------------------------------
 */

static void check_nodes(Bytes graph, Names *known)
{
    Field f, g;
    Names nodes = {.count = 0};
    for (Bytes all = graph; next(&f, &all);) {
        if (f.number != 1)
            continue;
        add(&nodes, find(f.bytes, 3, 0).bytes);
        for (Bytes node = f.bytes; next(&g, &node);)
            if (g.number == 1 && !has(known, g.bytes))
                fail_msg("an operator takes %.*s, which does not come before it",
                         (int)(g.bytes.end - g.bytes.at), (const char *)g.bytes.at);
        for (Bytes node = f.bytes; next(&g, &node);)
            if (g.number == 2)
                add(known, g.bytes);
    }
    assert_true(nodes.count > 60);
}

/* Tensor `t` is the checkpoint's of that name, if it is one of its: inside, or in `data`. */
static int check_tensor(Bytes t, const VitroCheckpoint *ckpt, const VitroMap *data)
{
    char name[128];
    Bytes text = find(t, 8, 0).bytes, raw;
    snprintf(name, sizeof(name), "%.*s", (int)(text.end - text.at), (const char *)text.at);
    int64_t i = vitro_checkpoint_find(ckpt, name);
    if (i < 0)
        return 0;
    const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, i);
    assert_int_equal(find(t, 2, 0).value, 1); /* FLOAT */
    assert_int_equal(count(t, 1), info->rank);
    for (int d = 0; d < info->rank; d++)
        assert_int_equal(find(t, 1, d).value, info->dim[d]);
    if (data->data) {
        assert_int_equal(find(t, 14, 0).value, 1); /* EXTERNAL */
        assert_int_equal(count(t, 9), 0);
        assert_true(is_text(find(find(t, 13, 0).bytes, 2, 0).bytes, "model.onnx.data"));
        char offset[24], length[24];
        Bytes b = find(find(t, 13, 1).bytes, 2, 0).bytes;
        snprintf(offset, sizeof(offset), "%.*s", (int)(b.end - b.at), (const char *)b.at);
        b = find(find(t, 13, 2).bytes, 2, 0).bytes;
        snprintf(length, sizeof(length), "%.*s", (int)(b.end - b.at), (const char *)b.at);
        raw.at = data->data + strtoull(offset, NULL, 10);
        raw.end = raw.at + strtoull(length, NULL, 10);
        assert_int_equal(strtoull(offset, NULL, 10) % 4096, 0);
        assert_true(raw.end <= data->data + data->size);
    } else {
        raw = find(t, 9, 0).bytes;
    }
    assert_int_equal(raw.end - raw.at, info->count * (int64_t)sizeof(float));
    assert_memory_equal(raw.at, vitro_checkpoint_data(ckpt, i), (size_t)(raw.end - raw.at));
    return 1;
}

static void check_file(const VitroCheckpoint *ckpt, bool external)
{
    VitroMap map, data = {0};
    Names known = {.count = 0};
    Field f;
    int params = 0;
    ok(vitro_map_open(&map, onnx));
    if (external) {
        char path[PATH_MAX_BYTES + 8];
        snprintf(path, sizeof(path), "%s.data", onnx);
        ok(vitro_map_open(&data, path));
    }
    Bytes model = {map.data, map.data + map.size}, graph = find(model, 7, 0).bytes;
    assert_int_equal(find(find(model, 8, 0).bytes, 2, 0).value, 17);
    assert_true(is_text(find(model, 2, 0).bytes, "vitro"));
    assert_true(is_text(find(model, 3, 0).bytes, vitro_version()));
    add(&known, find(find(graph, 11, 0).bytes, 1, 0).bytes);
    for (Bytes all = graph; next(&f, &all);) {
        if (f.number == 5) {
            add(&known, find(f.bytes, 8, 0).bytes);
            params += check_tensor(f.bytes, ckpt, &data);
        }
    }
    assert_int_equal(params, vitro_checkpoint_count(ckpt));
    check_nodes(graph, &known);
    assert_true(has(&known, find(find(graph, 12, 0).bytes, 1, 0).bytes));
    vitro_map_close(&map);
    if (external)
        vitro_map_close(&data);
}

static void test_file(void **state)
{
    (void)state;
    VitroConfig cfg = small_config();
    VitroCheckpoint *ckpt = open_weights(&cfg);
    ok(vitro_export_onnx(ckpt, onnx, &cfg, NULL, false));
    check_file(ckpt, false);
    ok(vitro_export_onnx(ckpt, again, &cfg, NULL, false));
    VitroMap a, b;
    ok(vitro_map_open(&a, onnx));
    ok(vitro_map_open(&b, again));
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    vitro_map_close(&a);
    vitro_map_close(&b);
    ok(vitro_export_onnx(ckpt, onnx, &cfg, NULL, true));
    check_file(ckpt, true);
    vitro_checkpoint_close(ckpt);
}

/* Nothing is left of a file that could not be finished. */
static void test_refused(void **state)
{
    (void)state;
    VitroConfig cfg = small_config(), other = cfg;
    VitroCheckpoint *ckpt = open_weights(&cfg);
    char path[PATH_MAX_BYTES + 8];
    snprintf(path, sizeof(path), "%s/other.onnx", dir);
    other.depth = 3;
    assert_int_equal(vitro_export_onnx(ckpt, path, &other, NULL, false), VITRO_E_FORMAT);
    assert_non_null(strstr(vitro_last_error(), "blocks.2.norm1.weight"));
    assert_false(vitro_fs_is_file(path));
    other = cfg;
    other.num_heads = 3;
    assert_int_equal(vitro_export_onnx(ckpt, path, &other, NULL, false), VITRO_E_ARG);
    snprintf(path, sizeof(path), "%s/nowhere/other.onnx", dir);
    assert_int_equal(vitro_export_onnx(ckpt, path, &cfg, NULL, false), VITRO_E_IO);
    vitro_checkpoint_close(ckpt);
}

/* A build without protobuf-c says so. */
static void test_absent(void **state)
{
    (void)state;
    VitroConfig cfg = small_config();
    VitroCheckpoint *ckpt = open_weights(&cfg);
    assert_int_equal(vitro_export_onnx(ckpt, onnx, &cfg, NULL, false), VITRO_E_UNSUPPORTED);
    assert_non_null(strstr(vitro_last_error(), "libprotobuf-c"));
    vitro_checkpoint_close(ckpt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_refused),
    };
    const struct CMUnitTest without[] = {cmocka_unit_test(test_absent)};
    if (!can_export())
        return cmocka_run_group_tests(without, make_dir, remove_dir);
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
