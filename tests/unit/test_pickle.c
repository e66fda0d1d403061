/* SPDX-License-Identifier: Apache-2.0 */
/* The unpickler: what Python writes is read, what an attacker writes is refused. */
#include "base/alloc.h"
#include "base/fs.h"
#include "base/pickle.h"
#include "base/pickle_numpy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

typedef VitroPickleNode Node;

static VitroBuf read_fixture(int protocol)
{
    VitroBuf b;
    char path[64];
    snprintf(path, sizeof(path), "tests/golden/pickle/p%d.pkl", protocol);
    vitro_buf_init(&b, 1 << 20);
    assert_int_equal(vitro_fs_read(&b, path), VITRO_OK);
    return b;
}

static void check_arrays(const Node *root)
{
    VitroNumpyArray a;
    assert_true(vitro_numpy_is_array(vitro_pickle_get(root, "data")));
    assert_int_equal(vitro_numpy_array(&a, vitro_pickle_get(root, "data")), VITRO_OK);
    assert_true(a.kind == 'u' && a.item_size == 1 && !a.fortran && a.rank == 2);
    assert_true(a.dim[0] == 2 && a.dim[1] == 128 && a.count == 256);
    for (int i = 0; i < 256; i++)
        assert_int_equal(a.data[i], i);
    vitro_numpy_array_free(&a);

    assert_int_equal(vitro_numpy_array(&a, vitro_pickle_get(root, "fortran")), VITRO_OK);
    assert_true(a.fortran && a.dim[0] == 2 && a.dim[1] == 3);
    assert_memory_equal(a.data, "\x00\x80\x01\x81\x02\x82", 6);
    vitro_numpy_array_free(&a);

    assert_int_equal(vitro_numpy_array(&a, vitro_pickle_get(root, "big")), VITRO_OK);
    assert_true(a.kind == 'i' && a.item_size == 4 && a.big_endian);
    assert_memory_equal(a.data, "\x00\x00\x00\x01\xff\xff\xff\xfe", 8);
    vitro_numpy_array_free(&a);

    assert_int_equal(vitro_numpy_array(&a, vitro_pickle_get(root, "empty")), VITRO_OK);
    assert_true(a.count == 0 && a.dim[1] == 3072);
    vitro_numpy_array_free(&a);
}

static void check_plain(const Node *root)
{
    static const int64_t labels[] = {0, 255, 256, -1, 70000, 1LL << 40, -(1LL << 40), 1};
    int64_t v = 0;
    const Node *list = vitro_pickle_get(root, "labels");
    for (size_t i = 0; i < 8; i++)
        assert_true(vitro_pickle_int(vitro_pickle_at(list, i), &v) && v == labels[i]);
    assert_true(vitro_pickle_is(vitro_pickle_at(list, 8), VITRO_PICKLE_NONE));
    assert_null(vitro_pickle_at(list, 9));

    list = vitro_pickle_get(root, "scalars");
    assert_true(vitro_numpy_int(vitro_pickle_at(list, 0), &v) && v == -3);
    assert_true(vitro_numpy_int(vitro_pickle_at(list, 1), &v) && v == 7);
    assert_true(vitro_numpy_int(vitro_pickle_at(list, 2), &v) && v == 200);
    assert_false(vitro_numpy_int(list, &v));

    assert_true(vitro_pickle_get(root, "real")->u.real == 0.1);
    const Node *huge = vitro_pickle_get(root, "huge");
    assert_true(vitro_pickle_is(huge, VITRO_PICKLE_LONG) && huge->u.bytes.size == 10);
    assert_memory_equal(huge->u.bytes.data, "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);

    const uint8_t *raw;
    uint8_t *owned;
    size_t size;
    assert_int_equal(vitro_pickle_bytes(vitro_pickle_get(root, "raw"), &raw, &size, &owned), 0);
    assert_int_equal(size, 256);
    for (int i = 0; i < 256; i++)
        assert_int_equal(raw[i], i);
    vitro_free(owned);
    assert_int_equal(vitro_pickle_bytes(vitro_pickle_get(root, "nothing"), &raw, &size, &owned), 0);
    assert_int_equal(size, 0);
    vitro_free(owned);
    assert_int_equal(vitro_pickle_get(root, "long text")->u.bytes.size, 300);

    const Node *ordered = vitro_pickle_get(root, "ordered");
    assert_true(vitro_pickle_is_call(ordered, "collections", "OrderedDict"));
    assert_true(vitro_pickle_int(vitro_pickle_get(ordered, "a"), &v) && v == 1);
    assert_int_equal(vitro_pickle_get(ordered, "b")->u.seq.count, 4);
    const Node *shared = vitro_pickle_get(root, "shared");
    assert_ptr_equal(vitro_pickle_at(shared, 0), vitro_pickle_at(shared, 1));
}

static void test_what_python_writes(void **state)
{
    (void)state;
    for (int protocol = 2; protocol <= 5; protocol++) {
        VitroBuf b = read_fixture(protocol);
        VitroPickle p;
        assert_int_equal(vitro_pickle_parse(&p, b.data, b.len), VITRO_OK);
        assert_int_equal(p.used, b.len);
        check_arrays(p.root);
        check_plain(p.root);
        assert_null(vitro_pickle_get(p.root, "absent"));
        vitro_pickle_free(&p);
        vitro_buf_deinit(&b);
    }
}

/* A large array is a view of the input, as long as the protocol stores bytes as bytes. */
static void test_arrays_are_views(void **state)
{
    (void)state;
    VitroBuf b = read_fixture(3);
    VitroPickle p;
    VitroNumpyArray a;
    assert_int_equal(vitro_pickle_parse(&p, b.data, b.len), VITRO_OK);
    assert_int_equal(vitro_numpy_array(&a, vitro_pickle_get(p.root, "data")), VITRO_OK);
    assert_null(a.owned);
    assert_true(a.data > b.data && a.data < b.data + b.len);
    vitro_numpy_array_free(&a);
    vitro_pickle_free(&p);
    vitro_buf_deinit(&b);
}

/* Every prefix of a good file is refused; a copy of the exact size lets ASan see an overread. */
static void test_truncated_everywhere(void **state)
{
    (void)state;
    for (int protocol = 2; protocol <= 5; protocol++) {
        VitroBuf b = read_fixture(protocol);
        for (size_t n = 0; n < b.len; n++) {
            VitroPickle p;
            uint8_t *copy = vitro_malloc(n);
            memcpy(copy, b.data, n);
            assert_int_equal(vitro_pickle_parse(&p, copy, n), VITRO_E_FORMAT);
            assert_null(p.root);
            vitro_free(copy);
        }
        vitro_buf_deinit(&b);
    }
}

#define S(text) text, sizeof(text) - 1

static void test_python2_and_text_opcodes(void **state)
{
    (void)state;
    VitroPickle p;
    int64_t v;
    assert_int_equal(vitro_pickle_parse(&p, S("\x80\x02}U\x01kI-9223372036854775808\ns.")), 0);
    assert_true(vitro_pickle_int(vitro_pickle_get(p.root, "k"), &v) && v == INT64_MIN);
    vitro_pickle_free(&p);
    assert_int_equal(vitro_pickle_parse(&p, S("(I01\nI00\nI12\nT\x02\0\0\0hit.")), 0);
    assert_true(vitro_pickle_is(vitro_pickle_at(p.root, 0), VITRO_PICKLE_BOOL));
    assert_true(vitro_pickle_int(vitro_pickle_at(p.root, 2), &v) && v == 12);
    assert_true(vitro_pickle_is_text(vitro_pickle_at(p.root, 3), "hi"));
    vitro_pickle_free(&p);
    /* bytes after STOP belong to the caller */
    assert_int_equal(vitro_pickle_parse(&p, S("N.more")), 0);
    assert_int_equal(p.used, 2);
    vitro_pickle_free(&p);
}

/* The classic attack: it becomes a node that names os.system, and nothing else happens. */
static void test_calls_are_data(void **state)
{
    (void)state;
    VitroPickle p;
    assert_int_equal(vitro_pickle_parse(&p, S("cos\nsystem\n(U\x09touch /aatR.")), 0);
    assert_true(vitro_pickle_is_call(p.root, "os", "system"));
    assert_true(vitro_pickle_is_text(vitro_pickle_at(p.root, 0), "touch /aa"));
    VitroNumpyArray a;
    assert_int_equal(vitro_numpy_array(&a, p.root), VITRO_E_FORMAT);
    vitro_pickle_free(&p);
}

static void test_bad(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        size_t size;
        VitroStatus status;
        const char *text; /* the whole error */
    } bad[] = {
        {S(""), VITRO_E_FORMAT, "pickle: ends at offset 0 without STOP"},
        {S("."), VITRO_E_FORMAT,
         "pickle: offset 0, opcode 0x2e STOP: takes 1 values, the stack has 0"},
        {S("NN."), VITRO_E_FORMAT,
         "pickle: offset 2, opcode 0x2e STOP: 1 values are left on the stack"},
        {S("\xff"), VITRO_E_FORMAT, "pickle: offset 0: 0xff is no opcode"},
        {S("\x80\x06N."), VITRO_E_UNSUPPORTED,
         "pickle: offset 0, opcode 0x80 PROTO: protocol 6, at most 5 is known"},
        {S("S'x'\n."), VITRO_E_UNSUPPORTED,
         "pickle: offset 0, opcode 0x53 STRING: is not supported"},
        {S("\x97."), VITRO_E_UNSUPPORTED,
         "pickle: offset 0, opcode 0x97 NEXT_BUFFER: is not supported"},
        {S("\x95\xff\xff\xff\xff\xff\xff\xff\xffN."), VITRO_E_FORMAT,
         "pickle: offset 0, opcode 0x95 FRAME: of 18446744073709551615 bytes, 2 remain"},
        {S("B\xff\xff\xff\xffx."), VITRO_E_FORMAT,
         "pickle: offset 0, opcode 0x42 BINBYTES: needs 4294967295 bytes, 2 remain"},
        {S("\x8e\xff\xff\xff\xff\xff\xff\xff\xffx."), VITRO_E_FORMAT,
         "pickle: offset 0, opcode 0x8e BINBYTES8: needs 18446744073709551615 bytes, 2 remain"},
        {S("h\0."), VITRO_E_FORMAT, "pickle: offset 0, opcode 0x68 BINGET: memo has no entry 0"},
        {S("Nr\xff\xff\xff\xff."), VITRO_E_FORMAT,
         "pickle: offset 1, opcode 0x72 LONG_BINPUT: memo index 4294967295 after 2 opcodes"},
        {S("Nt."), VITRO_E_FORMAT,
         "pickle: offset 1, opcode 0x74 TUPLE: there is no mark on the stack"},
        {S("N(\x85."), VITRO_E_FORMAT,
         "pickle: offset 2, opcode 0x85 TUPLE1: takes 1 values, the stack has 0"},
        {S("NNa."), VITRO_E_FORMAT,
         "pickle: offset 2, opcode 0x61 APPEND: cannot put items into None"},
        {S("}(Nu."), VITRO_E_FORMAT,
         "pickle: offset 3, opcode 0x75 SETITEMS: 1 items are no key, value pairs"},
        {S("cm\nn\n)RNa}NNs0NNs."), VITRO_E_FORMAT,
         "pickle: offset 16, opcode 0x73 SETITEM: items and pairs in one object"},
        {S("cm\nn\nNR."), VITRO_E_FORMAT,
         "pickle: offset 6, opcode 0x52 REDUCE: its arguments are None, not a tuple"},
        {S("cm\nn\n)RNbNb."), VITRO_E_FORMAT,
         "pickle: offset 10, opcode 0x62 BUILD: gives an object its second state"},
        {S("]Nb."), VITRO_E_FORMAT, "pickle: offset 2, opcode 0x62 BUILD: gives a state to a list"},
        {S("K\1K\2\x93."), VITRO_E_FORMAT,
         "pickle: offset 4, opcode 0x93 STACK_GLOBAL: takes two strings, not an int and an int"},
        {S("cmodule"), VITRO_E_FORMAT,
         "pickle: offset 0, opcode 0x63 GLOBAL: its line does not end"},
        {S("I9223372036854775808\n."), VITRO_E_FORMAT,
         "pickle: offset 0, opcode 0x49 INT: \"9223372036854775808\" is no 64-bit integer"},
        {S("I\n."), VITRO_E_FORMAT, "pickle: offset 0, opcode 0x49 INT: \"\" is no 64-bit integer"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        VitroPickle p;
        assert_int_equal(vitro_pickle_parse(&p, bad[i].data, bad[i].size), bad[i].status);
        assert_string_equal(vitro_last_error(), bad[i].text);
    }
}

static void expect_deep(const char *unit, const char *begin, const char *end)
{
    VitroBuf b;
    VitroPickle p;
    vitro_buf_init(&b, 1 << 20);
    vitro_buf_printf(&b, "%s", begin);
    for (int i = 0; i < 2000; i++)
        vitro_buf_printf(&b, "%s", unit);
    vitro_buf_printf(&b, "%s.", end);
    assert_int_equal(vitro_pickle_parse(&p, b.data, b.len), VITRO_E_FORMAT);
    assert_non_null(strstr(vitro_last_error(), "nested deeper than 1000"));
    vitro_buf_deinit(&b);
}

static void test_bombs(void **state)
{
    (void)state;
    expect_deep("\x85", "N", "");
    expect_deep("(", "", "");
    expect_deep("Q", "N", "");
    expect_deep("q\1h\1a", "]", ""); /* a list that holds itself, again and again */

    /* 2^500 values when walked, a few hundred nodes as they are */
    VitroBuf b;
    VitroPickle p;
    vitro_buf_init(&b, 1 << 20);
    vitro_buf_printf(&b, "N");
    for (int i = 0; i < 500; i++)
        vitro_buf_printf(&b, "2\x86");
    vitro_buf_printf(&b, ".");
    assert_int_equal(vitro_pickle_parse(&p, b.data, b.len), VITRO_OK);
    assert_true(p.memory < 100 * b.len);
    vitro_pickle_free(&p);
    vitro_buf_deinit(&b);
}

static void test_bad_arrays(void **state)
{
    (void)state;
#define ARRAY(shape, dtype, data)                                                                  \
    "cnumpy.core.multiarray\n_reconstruct\n)R(K\1" shape "cnumpy\ndtype\n(U\2" dtype               \
    "tR(K\3U\1|tbI00\nU\4" data "tb."
    static const struct {
        const char *data;
        size_t size;
        VitroStatus status;
    } bad[] = {
        {S(ARRAY("K\2K\2\x86", "u1", "abcd")), VITRO_OK},
        {S(ARRAY("K\2K\3\x86", "u1", "abcd")), VITRO_E_FORMAT},
        {S(ARRAY("K\2K\2\x86", "u2", "abcd")), VITRO_E_FORMAT},
        {S(ARRAY("J\xff\xff\xff\xffJ\xfc\xff\xff\xff\x86", "u1", "abcd")), VITRO_E_FORMAT},
        {S(ARRAY("I4611686018427387904\nK\4\x86", "u1", "abcd")), VITRO_E_FORMAT},
        {S(ARRAY("I4611686018427387904\n\x85", "i4", "abcd")), VITRO_E_FORMAT},
        {S(ARRAY("U\1\4\x85", "u1", "abcd")), VITRO_E_FORMAT},
        {S(ARRAY("N", "u1", "abcd")), VITRO_E_FORMAT},
        {S(ARRAY("K\4\x85", "O8", "abcd")), VITRO_E_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        VitroPickle p;
        VitroNumpyArray a;
        assert_int_equal(vitro_pickle_parse(&p, bad[i].data, bad[i].size), VITRO_OK);
        assert_int_equal(vitro_numpy_array(&a, p.root), bad[i].status);
        vitro_pickle_free(&p);
    }
}

static void test_every_allocation_fails(void **state)
{
    (void)state;
    VitroBuf b = read_fixture(2);
    for (uint64_t n = 1;; n++) {
        VitroPickle p;
        VitroNumpyArray a = {0};
        vitro_alloc_fail_at(n);
        VitroStatus st = vitro_pickle_parse(&p, b.data, b.len);
        if (st == VITRO_OK)
            st = vitro_numpy_array(&a, vitro_pickle_get(p.root, "data"));
        vitro_alloc_fail_at(0);
        vitro_numpy_array_free(&a);
        vitro_pickle_free(&p);
        if (st == VITRO_OK) {
            assert_true(n > 4);
            break;
        }
        assert_int_equal(st, VITRO_E_NOMEM);
    }
    vitro_buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_python_writes),
        cmocka_unit_test(test_arrays_are_views),
        cmocka_unit_test(test_truncated_everywhere),
        cmocka_unit_test(test_python2_and_text_opcodes),
        cmocka_unit_test(test_calls_are_data),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_bad_arrays),
        cmocka_unit_test(test_every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
