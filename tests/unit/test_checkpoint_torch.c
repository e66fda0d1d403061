/* SPDX-License-Identifier: Apache-2.0 */
/* What we write, as PyTorch and safetensors see it: loaded by a Python that has torch, normally and
 * with weights_only=True where it knows that, and compared there. Skipped where no Python has it.
 */
#include "base/alloc.h"
#include "base/fs.h"
#include "vitro/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const char *python;
static char dir[] = "/tmp/vitro-test-XXXXXX";

static bool find_python(void)
{
    static const char *const candidates[] = {"python3", "/usr/bin/python3"};
    for (size_t i = 0; i < 2; i++) {
        char command[128];
        snprintf(command, sizeof(command), "%s -c 'import torch' >/dev/null 2>&1", candidates[i]);
        if (system(command) == 0) {
            python = candidates[i];
            return true;
        }
    }
    return false;
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
    for (size_t i = 0; i < list.count; i++) {
        char *path = vitro_path_join(dir, list.names[i]);
        unlink(path);
        vitro_free(path);
    }
    vitro_list_free(&list);
    return rmdir(dir);
}

static const float floats[] = {1, -2, 3.5f, -4, 5, -6, 7, 8, 9, 10, 11, 12};
static const double doubles[] = {0.1, 1e300};
static const uint16_t halves[] = {0x3c00, 0xc000}; /* 1, -2 */
static const uint16_t brains[] = {0x3f80, 0xc000}; /* 1, -2 */
static const int64_t longs[] = {INT64_MIN, 70000};
static const int32_t ints[] = {-70000, 7};
static const int16_t shorts[] = {-300, 7};
static const int8_t chars[] = {-3, 7};
static const uint8_t bytes[] = {1, 0, 1};

static const VitroTensorSource sources[] = {
    {"z.weight", VITRO_F32, 3, {2, 3, 2}, floats},
    {"a.bias", VITRO_F32, 1, {2}, floats},
    {"empty", VITRO_F32, 2, {0, 3}, NULL},
    {"scalar", VITRO_F32, 0, {0}, floats + 2},
    {"double", VITRO_F64, 1, {2}, doubles},
    {"half", VITRO_F16, 2, {1, 2}, halves},
    {"brain", VITRO_BF16, 1, {2}, brains},
    {"long", VITRO_I64, 1, {2}, longs},
    {"int", VITRO_I32, 1, {2}, ints},
    {"short", VITRO_I16, 1, {2}, shorts},
    {"char", VITRO_I8, 1, {2}, chars},
    {"byte", VITRO_U8, 1, {3}, bytes},
    {"caf\xc3\xa9", VITRO_BOOL, 1, {3}, bytes},
};
enum { SOURCE_COUNT = sizeof(sources) / sizeof(sources[0]) };

/* The same list as Python sees it. */
static const char expected[] =
    "import collections, inspect, json, sys, zipfile, torch\n"
    "t = torch.tensor\n"
    "expected = [\n"
    " ('z.weight', t([[[1, -2], [3.5, -4], [5, -6]], [[7, 8], [9, 10], [11, 12.]]])),\n"
    " ('a.bias', t([1., -2])), ('empty', torch.zeros(0, 3)), ('scalar', t(3.5)),\n"
    " ('double', t([0.1, 1e300], dtype=torch.float64)),\n"
    " ('half', t([[1, -2]], dtype=torch.float16)),\n"
    " ('brain', t([1, -2], dtype=torch.bfloat16)),\n"
    " ('long', t([-2**63, 70000])), ('int', t([-70000, 7], dtype=torch.int32)),\n"
    " ('short', t([-300, 7], dtype=torch.int16)), ('char', t([-3, 7], dtype=torch.int8)),\n"
    " ('byte', t([1, 0, 1], dtype=torch.uint8)), ('caf\xc3\xa9', t([True, False, True]))]\n"
    "def check(got, name):\n"
    "    for key, want in expected:\n"
    "        have = got[key]\n"
    "        assert have.dtype == want.dtype and have.shape == want.shape, (name, key)\n"
    "        assert torch.equal(have, want) and have.is_contiguous(), (name, key)\n"
    "    assert len(got) == len(expected), name\n";

static const char load_pth[] =
    "path = sys.argv[1]\n"
    "known = 'weights_only' in inspect.signature(torch.load).parameters\n"
    "for args in [{'weights_only': True}, {'weights_only': False}] if known else [{}]:\n"
    "    got = torch.load(path, **args)\n"
    "    assert type(got) is collections.OrderedDict\n"
    "    assert list(got) == [key for key, _ in expected]\n"
    "    check(got, str(args))\n"
    "    got['z.weight'].zero_()\n"
    "    assert got['a.bias'].tolist() == [1, -2], 'storages are shared'\n"
    "with zipfile.ZipFile(path) as z:\n"
    "    assert z.testzip() is None\n"
    "    assert json.loads(z.read('model-7/vitro.json')) == {'name': 'caf\xc3\xa9'}\n"
    "    for i in z.infolist():\n"
    "        extra = int.from_bytes(open(path, 'rb').read()[i.header_offset + 28:][:2], 'little')\n"
    "        data = i.header_offset + 30 + len(i.filename.encode()) + extra\n"
    "        assert data % 64 == 0, i.filename\n"
    "torch.save(torch.load(path), path + '.again')\n";

/* Debian has no safetensors package: the format is read by its definition. */
static const char load_safetensors[] =
    "data = open(sys.argv[1], 'rb').read()\n"
    "n = int.from_bytes(data[:8], 'little')\n"
    "header = json.loads(data[8:8 + n])\n"
    "assert header.pop('__metadata__') == {'format': 'pt', 'vitro': '{\"name\": "
    "\"caf\xc3\xa9\"}'}\n"
    "names = {'F64': 'float64', 'F32': 'float32', 'F16': 'float16', 'BF16': 'bfloat16',\n"
    " 'I64': 'int64', 'I32': 'int32', 'I16': 'int16', 'I8': 'int8', 'U8': 'uint8',\n"
    " 'BOOL': 'bool'}\n"
    "assert n % 8 == 0 and list(header) == [key for key, _ in expected]\n"
    "got, at = {}, 0\n"
    "for key, row in sorted(header.items(), key=lambda x: x[1]['data_offsets']):\n"
    "    begin, end = row['data_offsets']\n"
    "    assert begin == at, key\n"
    "    at, dtype = end, getattr(torch, names[row['dtype']])\n"
    "    raw = bytearray(data[8 + n + begin:8 + n + end])\n"
    "    flat = torch.frombuffer(raw, dtype=dtype) if raw else torch.zeros(0, dtype=dtype)\n"
    "    got[key] = flat.reshape(row['shape'])\n"
    "assert 8 + n + at == len(data)\n"
    "check(got, 'safetensors')\n";

static void run_python(const char *code, const char *file)
{
    char command[256], *script = vitro_path_join(dir, "check.py");
    VitroBuf b;
    vitro_buf_init(&b, 1 << 20);
    vitro_buf_printf(&b, "%s%s", expected, code);
    assert_int_equal(vitro_fs_replace(script, b.data, b.len), VITRO_OK);
    snprintf(command, sizeof(command), "PYTHONUTF8=1 %s %s %s", python, script, file);
    assert_int_equal(system(command), 0); /* what is wrong stands on stderr */
    vitro_buf_deinit(&b);
    vitro_free(script);
}

static void test_pth(void **state)
{
    (void)state;
    char *file = vitro_path_join(dir, "model-7.pth");
    assert_int_equal(vitro_checkpoint_write(file, VITRO_FORMAT_PTH, sources, SOURCE_COUNT,
                                            "{\"name\": \"caf\xc3\xa9\"}"),
                     VITRO_OK);
    run_python(load_pth, file);
    /* and back: what this PyTorch makes of it */
    char *again = vitro_asprintf("%s.again", file);
    VitroCheckpoint *ckpt = NULL;
    assert_int_equal(vitro_checkpoint_open(&ckpt, again), VITRO_OK);
    assert_int_equal(vitro_checkpoint_count(ckpt), SOURCE_COUNT);
    for (int i = 0; i < SOURCE_COUNT; i++) {
        uint8_t got[64];
        const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, i);
        assert_string_equal(info->name, sources[i].name);
        assert_int_equal(info->dtype, sources[i].dtype);
        assert_int_equal(vitro_checkpoint_read_raw(ckpt, i, got), VITRO_OK);
        if (info->count)
            assert_memory_equal(got, sources[i].data,
                                (size_t)info->count * vitro_dtype_size(info->dtype));
    }
    vitro_checkpoint_close(ckpt);
    vitro_free(again);
    vitro_free(file);
}

static void test_safetensors(void **state)
{
    (void)state;
    char *file = vitro_path_join(dir, "model.safetensors");
    assert_int_equal(vitro_checkpoint_write(file, VITRO_FORMAT_SAFETENSORS, sources, SOURCE_COUNT,
                                            "{\"name\": \"caf\xc3\xa9\"}"),
                     VITRO_OK);
    run_python(load_safetensors, file);
    vitro_free(file);
}

int main(void)
{
    if (!find_python()) {
        printf("skipped: no python3 with the module torch (Debian: python3-torch)\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pth),
        cmocka_unit_test(test_safetensors),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
