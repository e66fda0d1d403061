/* SPDX-License-Identifier: Apache-2.0 */
/* Weight files that are damaged or hostile: each is refused with its reason, and none makes the
 * reader crash, allocate what a file merely claims, or return other values than were written. */
#include "base/alloc.h"
#include "base/fs.h"
#include "base/rng.h"
#include "ckpt/zip.h"
#include "vitro/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <cmocka.h>

#define GOLDEN "tests/golden/ckpt/"

static char dir[] = "/tmp/vitro-test-XXXXXX";
static char path[64];

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/bad", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static VitroBuf read_file(const char *file)
{
    VitroBuf b;
    vitro_buf_init(&b, 1 << 20);
    assert_int_equal(vitro_fs_read(&b, file), VITRO_OK);
    return b;
}

/* Not vitro_fs_replace, and not over a file: thousands of syncs to disk would take minutes. */
static void write_file(const void *data, size_t size)
{
    unlink(path);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* Opens the file and reads all of it; the sum of names and bytes tells two contents apart. */
static VitroStatus read_all(uint64_t *sum)
{
    VitroCheckpoint *ckpt = NULL;
    *sum = 0xcbf29ce484222325u;
    VITRO_TRY(vitro_checkpoint_open(&ckpt, path));
    VitroStatus st = VITRO_OK;
    for (int64_t i = 0; st == VITRO_OK && i < vitro_checkpoint_count(ckpt); i++) {
        const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, i);
        size_t size = (size_t)info->count * vitro_dtype_size(info->dtype);
        uint8_t *bytes = vitro_malloc(size); /* exact, for ASan */
        st = vitro_checkpoint_read_raw(ckpt, i, bytes);
        for (size_t k = 0; st == VITRO_OK && k < size; k++)
            *sum = (*sum ^ bytes[k]) * 0x100000001b3u;
        for (const char *s = info->name; *s; s++)
            *sum = (*sum ^ (uint8_t)*s) * 0x100000001b3u;
        vitro_free(bytes);
    }
    vitro_checkpoint_close(ckpt);
    return st;
}

/* The error must start with the path, and say `text` behind it. */
static void expect_failure(VitroStatus status, const char *text)
{
    uint64_t sum;
    size_t n = strlen(path);
    VitroStatus st = read_all(&sum);
    if (st != status || strncmp(vitro_last_error(), path, n) != 0 ||
        !strstr(vitro_last_error() + n, text))
        fail_msg("expected \"%s\" and status %d, got %d \"%s\"", text, (int)status, (int)st,
                 st ? vitro_last_error() : "");
}

static VitroBuf make_safetensors(void)
{
    static const float values[] = {1, 2, 3, 4, 5, 6};
    static const VitroTensorSource t[] = {{"weight", VITRO_F32, 2, {2, 3}, values},
                                          {"bias", VITRO_F16, 1, {3}, values}};
    assert_int_equal(vitro_checkpoint_write(path, VITRO_FORMAT_SAFETENSORS, t, 2, "{}"), VITRO_OK);
    return read_file(path);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void test_truncated_everywhere(void **state)
{
    (void)state;
    VitroBuf files[] = {read_file(GOLDEN "plain.pth"), read_file(GOLDEN "training_legacy.pth"),
                        read_file(GOLDEN "repacked.pth"), make_safetensors()};
    for (size_t f = 0; f < 4; f++) {
        for (size_t n = 0; n < files[f].len; n++) {
            uint64_t sum;
            write_file(files[f].data, n);
            assert_int_equal(read_all(&sum), VITRO_E_FORMAT);
        }
        vitro_buf_deinit(&files[f]);
    }
}

/* Zip files have checksums: whatever byte is changed, the file is refused or reads as before. */
static void test_each_byte_changed(void **state)
{
    (void)state;
    static const char *const files[] = {GOLDEN "plain.pth", GOLDEN "repacked.pth"};
    for (size_t f = 0; f < 2; f++) {
        uint64_t good, sum;
        size_t refused = 0;
        VitroBuf b = read_file(files[f]);
        write_file(b.data, b.len);
        assert_int_equal(read_all(&good), VITRO_OK);
        for (size_t i = 0; i < b.len; i++) {
            b.data[i] ^= 0x11;
            write_file(b.data, b.len);
            if (read_all(&sum) != VITRO_OK)
                refused++;
            else if (sum != good)
                fail_msg("byte %zu of %s changed the tensors unseen", i, files[f]);
            b.data[i] ^= 0x11;
        }
        assert_true(refused > b.len / 3);
        vitro_buf_deinit(&b);
    }
}

static void test_checksum(void **state)
{
    (void)state;
    VitroBuf b = read_file(GOLDEN "plain.pth");
    uint8_t *at = memmem(b.data, b.len, "\0\0\0\0\0\0\x80\x3f", 8); /* 0.0f, 1.0f */
    assert_non_null(at);
    at[6] ^= 1;
    write_file(b.data, b.len);
    VitroCheckpoint *ckpt = NULL;
    float values[6];
    assert_int_equal(vitro_checkpoint_open(&ckpt, path), VITRO_OK); /* elements are read later */
    assert_int_equal(vitro_checkpoint_read_f32(ckpt, 0, values), VITRO_E_FORMAT);
    assert_null(vitro_checkpoint_data(ckpt, 0));
    assert_int_equal(vitro_checkpoint_read_f32(ckpt, 1, values), VITRO_OK);
    vitro_checkpoint_close(ckpt);
    expect_failure(VITRO_E_FORMAT, "tensor \"matrix\": zip: record \"plain/data/0\": its checksum");
    vitro_buf_deinit(&b);
}

/* Random damage, from a fixed seed. A run of more rounds: VITRO_FUZZ_ROUNDS=100000. */
static int fuzz_rounds(void)
{
    const char *text = getenv("VITRO_FUZZ_ROUNDS");
    return text ? (int)strtol(text, NULL, 10) : 300;
}

static void mutate(VitroBuf *to, const VitroBuf *from, VitroRng *rng)
{
    static const uint8_t odd[] = {0, 1, 0x7f, 0x80, 0xff, '(', 't', 'R', 'K', '0', '[', '"'};
    to->len = 0;
    vitro_buf_append(to, from->data, from->len);
    for (uint32_t n = 1 + vitro_rng_below(rng, 6); n > 0; n--) {
        size_t at = vitro_rng_below(rng, (uint32_t)to->len);
        uint32_t kind = vitro_rng_below(rng, 4);
        if (kind == 0)
            to->data[at] ^= (uint8_t)(1 << vitro_rng_below(rng, 8));
        else if (kind == 1)
            to->data[at] = odd[vitro_rng_below(rng, sizeof(odd))];
        else if (kind == 2)
            to->data[at] = to->data[vitro_rng_below(rng, (uint32_t)to->len)];
        else
            memmove(to->data + at, to->data + vitro_rng_below(rng, (uint32_t)(at + 1)),
                    to->len - at);
    }
}

static void test_random_damage(void **state)
{
    (void)state;
    VitroBuf files[] = {read_file(GOLDEN "plain.pth"), read_file(GOLDEN "training_legacy.pth"),
                        read_file(GOLDEN "repacked.pth"), make_safetensors()};
    VitroBuf b;
    vitro_buf_init(&b, 1 << 20);
    for (uint32_t f = 0; f < 4; f++) {
        for (int round = 0; round < fuzz_rounds(); round++) {
            uint64_t sum;
            VitroRng rng = vitro_rng(7, VITRO_RNG_SHUFFLE, f, (uint32_t)round);
            mutate(&b, &files[f], &rng);
            write_file(b.data, b.len);
            VitroStatus st = read_all(&sum);
            assert_true(st == VITRO_OK || st == VITRO_E_FORMAT || st == VITRO_E_UNSUPPORTED);
        }
        vitro_buf_deinit(&files[f]);
    }
    vitro_buf_deinit(&b);
}

/* ---- pickles --------------------------------------------------------------------------------- */

/* A .pth of this pickle, and of one storage "0" of six floats. */
static void write_pth(const void *pickle, size_t size)
{
    static const float storage[] = {0, 1, 2, 3, 4, 5};
    VitroReplace file;
    VitroZipWriter w;
    assert_int_equal(vitro_replace_begin(&file, path), VITRO_OK);
    vitro_zip_writer_init(&w, &file);
    assert_int_equal(vitro_zip_writer_add(&w, "x/data.pkl", pickle, size, NULL), VITRO_OK);
    assert_int_equal(vitro_zip_writer_add(&w, "x/data/0", storage, sizeof(storage), NULL), 0);
    assert_int_equal(vitro_zip_writer_add(&w, "x/version", "3\n", 2, NULL), VITRO_OK);
    assert_int_equal(vitro_zip_writer_add(&w, "x/unused", "never used", 10, NULL), VITRO_OK);
    assert_int_equal(vitro_zip_writer_finish(&w), VITRO_OK);
    vitro_zip_writer_deinit(&w);
    assert_int_equal(rename(file.temp_path, path), 0); /* commit, but without the slow syncs */
    vitro_replace_abort(&file);
}

#define STORAGE_OF(class, key, numel) "(U\7storagectorch\n" class "\nU\1" key "U\3cpu" numel "tQ"
#define STORAGE                       STORAGE_OF("FloatStorage", "0", "K\6")
#define CALL(function, args)          "ctorch._utils\n" function "\n(" args "tR"
#define TENSOR(storage, offset, size, stride)                                                      \
    CALL("_rebuild_tensor_v2", storage offset size stride "\x89}")
#define NAMED(name, tensor) "U\1" name tensor "s"
#define GOOD                TENSOR(STORAGE, "K\0", "K\2K\3\x86", "K\3K\1\x86")
#define HUGE_INT            "\x8a\6\0\0\0\0\0\1" /* 2^40 */
#define MAX_INT             "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"
#define MINUS_1             "J\xff\xff\xff\xff"

static const struct {
    const char *pickle;
    size_t size;
    VitroStatus status;
    const char *text;
} pickles[] = {
#define ROW(status, text, pickle)                                                                  \
    {                                                                                              \
        pickle, sizeof(pickle) - 1, status, text                                                   \
    }
#define ONE(status, text, tensor) ROW(status, text, "}" NAMED("a", tensor) ".")
#define VIEW(status, text, offset, size, stride)                                                   \
    ONE(status, text, TENSOR(STORAGE, offset, size, stride))
    ONE(VITRO_OK, "", GOOD),
    VIEW(VITRO_OK, "", "K\5", "K\1\x85", "K\1\x85"),
    VIEW(VITRO_OK, "", "K\6", "K\0\x85", "K\1\x85"),
    VIEW(VITRO_OK, "", "K\0", "M\xe8\3K\2\x86", "K\0K\5\x86"),
    VIEW(VITRO_E_FORMAT, "reaches element 6 of a storage of 6", "K\6", "K\1\x85", "K\1\x85"),
    VIEW(VITRO_E_FORMAT, "reaches element 6 of a storage of 6", "K\0", "K\2K\2\x86", "K\4K\2\x86"),
    VIEW(VITRO_E_FORMAT, "its storage offset is no count", MINUS_1, "K\1\x85", "K\1\x85"),
    VIEW(VITRO_E_FORMAT, "its storage offset is no count", "N", "K\1\x85", "K\1\x85"),
    VIEW(VITRO_E_FORMAT, "its shape[0] is no count", "K\0", MINUS_1 "\x85", "K\1\x85"),
    VIEW(VITRO_E_FORMAT, "its stride[0] is no count", "K\0", "K\1\x85", MINUS_1 "\x85"),
    VIEW(VITRO_E_FORMAT, "its shape is None, not a tuple", "K\0", "N", "K\1\x85"),
    VIEW(VITRO_E_FORMAT, "has 1 dimensions and 2 strides", "K\0", "K\1\x85", "K\1K\1\x86"),
    VIEW(VITRO_E_FORMAT, "its dimensions overflow", "K\0", HUGE_INT HUGE_INT "\x86", "K\0K\0\x86"),
    VIEW(VITRO_E_FORMAT, "its dimensions overflow", "K\0", "K\0" HUGE_INT HUGE_INT "\x87",
         "K\0K\0K\0\x87"),
    VIEW(VITRO_E_FORMAT, "its strides overflow", "K\0", HUGE_INT "\x85", MAX_INT "\x85"),
    VIEW(VITRO_E_FORMAT, "its strides overflow", "K\1", "K\2\x85", MAX_INT "\x85"),
    VIEW(VITRO_E_FORMAT, "reaches element 9223372036854775807", MAX_INT, "K\1\x85", "K\1\x85"),
    VIEW(VITRO_E_UNSUPPORTED, "its 1099511627776 elements are views of 6", "K\0", HUGE_INT "\x85",
         "K\0\x85"),
    VIEW(VITRO_E_UNSUPPORTED, "has 9 dimensions, at most 8", "K\0", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t",
         "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t"),
#define OTHER(status, text, class, key, numel)                                                     \
    ONE(status, text, TENSOR(STORAGE_OF(class, key, numel), "K\0", "K\1\x85", "K\1\x85"))
    OTHER(VITRO_E_FORMAT, "storage \"0\" has 24 bytes, 28", "FloatStorage", "0", "K\7"),
    OTHER(VITRO_E_FORMAT, "storage \"0\" has 24 bytes, 48", "DoubleStorage", "0", "K\6"),
    OTHER(VITRO_E_FORMAT, "is not described as one", "FloatStorage", "0", MINUS_1),
    OTHER(VITRO_E_FORMAT, "is not described as one", "FloatStorage", "0", MAX_INT),
    OTHER(VITRO_E_FORMAT, "is not described as one", "OddStorage", "0", "K\6"),
    OTHER(VITRO_E_FORMAT, "record \"data/1\", is not in the file", "FloatStorage", "1", "K\6"),
    OTHER(VITRO_E_UNSUPPORTED, "element type is not supported", "UntypedStorage", "0", "K\x18"),
    ONE(VITRO_E_FORMAT, "is not described as one", TENSOR("N", "K\0", "K\1\x85", "K\1\x85")),
    ONE(VITRO_OK, "", CALL("_rebuild_parameter", GOOD "\x88}")),
    ONE(VITRO_OK, "",
        CALL("_rebuild_tensor_v3",
             STORAGE_OF("UntypedStorage", "0", "K\x18") "K\0K\6\x85K\1\x85\x89}ctorch\nfloat32\n")),
    ONE(VITRO_OK, "", /* a tensor with attributes, of PyTorch 2 */
        "ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\n"
        "ctorch\nTensor\n(" STORAGE "K\0K\6\x85K\1\x85\x89}t}tR"),
    ONE(VITRO_E_FORMAT, "its element type is not that of its storage",
        CALL("_rebuild_tensor_v3", STORAGE "K\0K\6\x85K\1\x85\x89}ctorch\nint32\n")),
    ONE(VITRO_E_FORMAT, "it was saved from the meta device",
        CALL("_rebuild_meta_tensor_no_storage", "ctorch\nfloat32\nK\1\x85K\1\x85\x89")),
    ONE(VITRO_E_UNSUPPORTED, "is made by _rebuild_sparse_tensor",
        CALL("_rebuild_sparse_tensor", "")),
    ONE(VITRO_E_FORMAT, "is nothing, not a tensor", CALL("_rebuild_parameter", "N")),
    ROW(VITRO_E_FORMAT, "two tensors are named \"a\"", "}" NAMED("a", GOOD) NAMED("a", GOOD) "."),
    ROW(VITRO_E_FORMAT, "name of tensor 0 is not UTF-8", "}" NAMED("\xff", GOOD) "."),
    ROW(VITRO_E_FORMAT, "name of tensor 0 is not UTF-8", "}" NAMED("\0", GOOD) "."),
    ROW(VITRO_E_FORMAT, "a tensor's name is an int", "}K\1" GOOD "s."),
    ROW(VITRO_E_FORMAT, "holds a list, not a dict of tensors", "]" GOOD "a."),
    ROW(VITRO_E_UNSUPPORTED, "a Python object of class os.system", "cos\nsystem\n(U\2lstR."),
    ROW(VITRO_OK, "", "}."),
    ROW(VITRO_OK, "", "}U\5modelccollections\nOrderedDict\n)R" NAMED("a", GOOD) "s."),
    ROW(VITRO_OK, "", "ccollections\nOrderedDict\n(](U\1a" GOOD "latR."),  /* Python 2 */
    ROW(VITRO_OK, "", "}" NAMED("a", GOOD) "U\1bcos\nsystem\n(U\2lstRs."), /* inert, ignored */
    ROW(VITRO_E_FORMAT, "offset 1: 0xff is no opcode", "}\xff."),
};

static void test_pickles(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(pickles) / sizeof(pickles[0]); i++) {
        uint64_t sum;
        write_pth(pickles[i].pickle, pickles[i].size);
        if (pickles[i].status != VITRO_OK)
            expect_failure(pickles[i].status, pickles[i].text);
        else if (read_all(&sum) != VITRO_OK)
            fail_msg("pickle %zu: %s", i, vitro_last_error());
    }
}

/* The same pickles, damaged beneath good checksums. */
static void test_random_pickles(void **state)
{
    (void)state;
    const size_t count = sizeof(pickles) / sizeof(pickles[0]);
    VitroBuf b, from;
    vitro_buf_init(&b, 1 << 20);
    for (int round = 0; round < fuzz_rounds(); round++) {
        uint64_t sum;
        VitroRng rng = vitro_rng(8, VITRO_RNG_SHUFFLE, 0, (uint32_t)round);
        size_t i = vitro_rng_below(&rng, (uint32_t)count);
        vitro_buf_init(&from, 1 << 20);
        vitro_buf_append(&from, pickles[i].pickle, pickles[i].size);
        mutate(&b, &from, &rng);
        vitro_buf_deinit(&from);
        write_pth(b.data, b.len);
        VitroStatus st = read_all(&sum);
        assert_true(st == VITRO_OK || st == VITRO_E_FORMAT || st == VITRO_E_UNSUPPORTED);
    }
    vitro_buf_deinit(&b);
}

/* One long name, used again and again by two bytes each: the names would outgrow the file. */
static void test_name_bomb(void **state)
{
    (void)state;
    VitroBuf b;
    vitro_buf_init(&b, 1 << 20);
    vitro_buf_append(&b, "}X\x10\x27\0\0", 6);
    for (int i = 0; i < 10000; i++)
        vitro_buf_append(&b, "n", 1);
    vitro_buf_append(&b, "q\1" GOOD "q\2s", sizeof("q\1" GOOD "q\2s") - 1);
    for (int i = 0; i < 1000; i++)
        vitro_buf_append(&b, "h\1h\2s", 5);
    vitro_buf_append(&b, ".", 1);
    write_pth(b.data, b.len);
    expect_failure(VITRO_E_FORMAT, "its tensors' names repeat");
    vitro_buf_deinit(&b);
}

/* ---- zip ------------------------------------------------------------------------------------- */

/* Overwrites `size` bytes, `offset` behind the n-th occurrence of a signature. */
static void patch(VitroBuf *b, const char *signature, int n, size_t offset, const void *bytes,
                  size_t size)
{
    uint8_t *at = b->data;
    for (int i = 0; i <= n; i++) {
        at = memmem(at + (i > 0), b->len - (size_t)(at + (i > 0) - b->data), signature, 4);
        assert_non_null(at);
    }
    memcpy(at + offset, bytes, size);
}

static void test_zip(void **state)
{
    (void)state;
    static const struct {
        const char *signature;
        int n;
        size_t offset;
        const char *bytes;
        size_t size;
        VitroStatus status;
        const char *text;
    } rows[] = {
        {"PK\5\6", 0, 20, "\1\0", 2, VITRO_E_FORMAT, "no directory at the end"},
        {"PK\5\6", 0, 4, "\1\0", 2, VITRO_E_UNSUPPORTED, "archives of several parts"},
        {"PK\5\6", 0, 8, "\x77\x77\x77\x77", 4, VITRO_E_FORMAT, "does not fit before offset"},
        {"PK\5\6", 0, 8, "\1\0\1\0", 4, VITRO_E_FORMAT, "bytes too many"},
        {"PK\5\6", 0, 16, "\xff\xff\xff\x7f", 4, VITRO_E_FORMAT, "does not fit before offset"},
        {"PK\5\6", 0, 16, "\1\0\0\0", 4, VITRO_E_FORMAT, "no directory entry at offset 1"},
        {"PK\1\2", 1, 42, "\xf0\xff\xff\xff", 4, VITRO_E_FORMAT, "no header at offset 4294967280"},
        {"PK\1\2", 1, 42, "\0\0\0\0", 4, VITRO_E_FORMAT, "its header and the directory differ"},
        {"PK\1\2", 1, 20, "\xf0\xff\0\0\xf0\xff\0\0", 8, VITRO_E_FORMAT, "reaches beyond offset"},
        {"PK\1\2", 1, 20, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, VITRO_E_FORMAT,
         "reaches beyond offset"},
        {"PK\1\2", 1, 24, "\1\0\0\0", 4, VITRO_E_FORMAT, "is stored, but 1 bytes became 24"},
        {"PK\1\2", 1, 28, "\xff\xff", 2, VITRO_E_FORMAT, "is cut off"},
        {"PK\1\2", 1, 10, "\x0c\0", 2, VITRO_E_UNSUPPORTED, "has compression method 12"},
        {"PK\1\2", 1, 16, "\0\0\0\0", 4, VITRO_E_FORMAT, "its header and the directory differ"},
        {"PK\3\4", 1, 26, "\xff\xff", 2, VITRO_E_FORMAT, "reaches beyond offset"},
        {"PK\3\4", 1, 6, "\1", 1, VITRO_E_FORMAT, "its header and the directory differ"},
        {"PK\1\2", 1, 8, "\1", 1, VITRO_E_UNSUPPORTED, "is encrypted"},
        {"r us", 0, 0, "lost", 4, VITRO_E_FORMAT, "record \"x/unused\": its checksum is"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        write_pth(pickles[0].pickle, pickles[0].size);
        VitroBuf b = read_file(path);
        patch(&b, rows[i].signature, rows[i].n, rows[i].offset, rows[i].bytes, rows[i].size);
        write_file(b.data, b.len);
        expect_failure(rows[i].status, rows[i].text);
        vitro_buf_deinit(&b);
    }
}

/* Directories that the writer's own parts can make, but honest writers do not. */
static void test_zip_overlaps(void **state)
{
    (void)state;
    for (int twice = 0; twice < 2; twice++) {
        VitroReplace file;
        VitroZipWriter w;
        assert_int_equal(vitro_replace_begin(&file, path), VITRO_OK);
        vitro_zip_writer_init(&w, &file);
        assert_int_equal(vitro_zip_writer_add(&w, "x/data.pkl", "}.", 2, NULL), VITRO_OK);
        if (twice) { /* the same name, elsewhere */
            assert_int_equal(vitro_zip_writer_add(&w, "x/data.pkl", "}.", 2, NULL), VITRO_OK);
        } else { /* the same record, by two entries */
            size_t n = w.directory.len;
            uint8_t *copy;
            assert_int_equal(vitro_buf_extend(&w.directory, n, &copy), VITRO_OK);
            memcpy(copy, w.directory.data, n);
            w.count++;
        }
        assert_int_equal(vitro_zip_writer_finish(&w), VITRO_OK);
        vitro_zip_writer_deinit(&w);
        assert_int_equal(rename(file.temp_path, path), 0);
        vitro_replace_abort(&file);
        expect_failure(VITRO_E_FORMAT, twice ? "zip: two records are named \"x/data.pkl\""
                                             : "zip: records overlap at offset 0");
    }
}

/* A compressed record that claims more than DEFLATE can hold, or other than it does. */
static void test_zip_bombs(void **state)
{
    (void)state;
    static const struct {
        int n; /* which record: 0 data.pkl, 1 data/0 */
        const char *size, *text;
    } rows[] = {
        {0, "\xfe\xff\xff\xff", "has 4294967294 bytes, at most 67108864 are read"},
        {0, "\1\0\0\0", "\"plain/data.pkl\": its compressed data are damaged"},
        {0, "\xff\xff\0\0", "\"plain/data.pkl\": its compressed data are damaged"},
        {1, "\xfe\xff\xff\xff", "4294967294 bytes cannot come from 17 compressed ones"},
        {1, "\x17\0\0\0", "\"plain/data/0\": its compressed data are damaged"},
        {1, "\x19\0\0\0", "\"plain/data/0\": its compressed data are damaged"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        VitroBuf b = read_file(GOLDEN "repacked.pth");
        patch(&b, "PK\1\2", rows[i].n, 24, rows[i].size, 4);
        write_file(b.data, b.len);
        vitro_buf_deinit(&b);
        expect_failure(VITRO_E_FORMAT, rows[i].text);
    }
}

/* 64 MiB of zeros in 64 KiB, more than once: the sum is limited, not only each. */
static void test_zip_bomb_of_many(void **state)
{
    (void)state;
    enum { RECORD = 40 << 20 };
    uint8_t *zeros = vitro_calloc(RECORD, 1), *packed = vitro_malloc(RECORD / 512);
    z_stream z = {
        .next_in = zeros, .avail_in = RECORD, .next_out = packed, .avail_out = RECORD / 512};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    const uint32_t size = RECORD, crc = (uint32_t)crc32_z(0, zeros, RECORD);
    VitroReplace file;
    VitroZipWriter w;
    assert_int_equal(vitro_replace_begin(&file, path), VITRO_OK);
    vitro_zip_writer_init(&w, &file);
    for (int i = 0; i < 3; i++) {
        const char *name = (const char *[]){"x/0", "x/1", "x/2"}[i];
        assert_int_equal(vitro_zip_writer_add(&w, name, packed, z.total_out, NULL), VITRO_OK);
    }
    assert_int_equal(vitro_zip_writer_finish(&w), VITRO_OK);
    vitro_zip_writer_deinit(&w);
    assert_int_equal(rename(file.temp_path, path), 0);
    vitro_replace_abort(&file);
    VitroBuf b = read_file(path);
    for (int i = 0; i < 3; i++) { /* what was stored was compressed all along */
        patch(&b, "PK\3\4", i, 8, "\x08", 1);
        patch(&b, "PK\3\4", i, 14, &crc, 4);
        patch(&b, "PK\3\4", i, 22, &size, 4);
        patch(&b, "PK\1\2", i, 10, "\x08", 1);
        patch(&b, "PK\1\2", i, 16, &crc, 4);
        patch(&b, "PK\1\2", i, 24, &size, 4);
    }
    VitroZip zip;
    const uint8_t *bytes;
    assert_int_equal(vitro_zip_open(&zip, b.data, b.len), VITRO_OK);
    assert_int_equal(vitro_zip_bytes(&zip, 0, &bytes), VITRO_OK);
    assert_int_equal(vitro_zip_verify(&zip, 0), VITRO_OK);
    assert_int_equal(vitro_zip_bytes(&zip, 1, &bytes), VITRO_E_FORMAT);
    assert_non_null(strstr(vitro_last_error(), "compressed records hold more than"));
    vitro_zip_close(&zip);
    vitro_buf_deinit(&b);
    vitro_free(zeros);
    vitro_free(packed);
}

/* ---- safetensors ----------------------------------------------------------------------------- */

static void write_safetensors(const char *header, size_t data_size)
{
    VitroBuf b;
    uint64_t n = strlen(header);
    uint8_t *data;
    vitro_buf_init(&b, 1 << 20);
    for (int i = 0; i < 8; i++)
        vitro_buf_append(&b, &(uint8_t){(uint8_t)(n >> 8 * i)}, 1);
    vitro_buf_append(&b, header, n);
    assert_int_equal(vitro_buf_extend(&b, data_size, &data), VITRO_OK);
    memset(data, 0, data_size);
    write_file(b.data, b.len);
    vitro_buf_deinit(&b);
}

static void test_safetensors(void **state)
{
    (void)state;
#define T(dtype, shape, offsets)                                                                   \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
    static const struct {
        const char *header;
        VitroStatus status;
        const char *text;
    } rows[] = {
        {"{\"a\":" T("F32", "[2]", "[0,8]") "}   ", VITRO_OK, ""},
        {"{\"a\":" T("F32", "[]", "[4,8]") ",\"b\":" T("F32", "[1]", "[0,4]") "}", VITRO_OK, ""},
        {"{\"a\":" T("F32", "[2]", "[0,8]") ",\"b\":" T("F32", "[3,0]", "[8,8]") "}", VITRO_OK, ""},
        {"{\"a\":" T("F32", "[2]", "[0,4]") "}", VITRO_E_FORMAT, "needs 8 bytes and has 4"},
        {"{\"a\":" T("F32", "[1]", "[0,4]") "}", VITRO_E_FORMAT,
         "has 8 bytes of data, its tensors"},
        {"{\"a\":" T("F32", "[1]", "[4,8]") "}", VITRO_E_FORMAT, "starts at byte 4 of the data, 0"},
        {"{\"a\":" T("F32", "[2]", "[0,8]") ",\"b\":" T("F32", "[1]", "[4,8]") "}", VITRO_E_FORMAT,
         "\"b\" starts at byte 4 of the data, 8"},
        {"{\"a\":" T("F32", "[2]", "[4,12]") "}", VITRO_E_FORMAT, "bytes [4, 12) of 8"},
        {"{\"a\":" T("F32", "[2]", "[8,0]") "}", VITRO_E_FORMAT, "bytes [8, 0) of 8"},
        {"{\"a\":" T("F32", "[2]", "[-8,0]") "}", VITRO_E_FORMAT, "bytes [-8, 0) of 8"},
        {"{\"a\":" T("F32", "[-2]", "[0,8]") "}", VITRO_E_FORMAT, "dimension 0 is -2"},
        {"{\"a\":" T("F32", "[2.0]", "[0,8]") "}", VITRO_E_FORMAT, "dimension 0 is no integer"},
        {"{\"a\":" T("F32", "[4611686018427387904,4,0]", "[0,0]") "}", VITRO_E_FORMAT, "overflow"},
        {"{\"a\":" T("F32", "[4611686018427387904]", "[0,8]") "}", VITRO_E_FORMAT, "overflow"},
        {"{\"a\":" T("F32", "[99999999999999999999]", "[0,8]") "}", VITRO_E_FORMAT, "header: "},
        {"{\"a\":" T("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]") "}", VITRO_E_UNSUPPORTED,
         "has 9 dimensions"},
        {"{\"a\":" T("F8_E4M3", "[8]", "[0,8]") "}", VITRO_E_UNSUPPORTED, "dtype F8_E4M3"},
        {"{\"a\":" T("F32", "2", "[0,8]") "}", VITRO_E_FORMAT, "its shape is no array"},
        {"{\"a\":" T("F32", "[2]", "[0]") "}", VITRO_E_FORMAT, "data_offsets are no two integers"},
        {"{\"a\":" T("F32", "[2]", "8") "}", VITRO_E_FORMAT, "data_offsets are no two integers"},
        {"{\"a\":[]}", VITRO_E_FORMAT, "expected dtype, shape, data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", VITRO_E_FORMAT, "expected dtype, shape"},
        {"{\"a\":{\"x\":0,\"shape\":[2],\"data_offsets\":[0,8]}}", VITRO_E_FORMAT, "dtype missing"},
        {"{\"a\":" T("F32", "[1]", "[0,4]") ",\"a\":" T("F32", "[1]", "[4,8]") "}", VITRO_E_FORMAT,
         "header: duplicate"},
        {"{\"a\\u0000b\":" T("F32", "[2]", "[0,8]") "}", VITRO_E_FORMAT, "header: "},
        {"{\"\xff\":" T("F32", "[2]", "[0,8]") "}", VITRO_E_FORMAT, "header: "},
        {"{\"a\":" T("F32", "[2]", "[0,8]") "} x", VITRO_E_FORMAT, "header: "},
        {"{\"a\":[[[0]]]}", VITRO_E_FORMAT, "nested deeper than 3 at byte 7"},
        {"{\"__metadata__\":[]}", VITRO_E_FORMAT, "__metadata__ is no object"},
        {"{\"__metadata__\":{\"k\":1}}", VITRO_E_FORMAT, "\"k\" is no string"},
        {"{", VITRO_E_FORMAT, "header: "},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t sum;
        write_safetensors(rows[i].header, 8);
        if (rows[i].status != VITRO_OK)
            expect_failure(rows[i].status, rows[i].text);
        else if (read_all(&sum) != VITRO_OK)
            fail_msg("header %zu: %s", i, vitro_last_error());
    }
    write_file("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
    expect_failure(VITRO_E_FORMAT, "header of 18446744073709551615 bytes in a file of 10");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncated_everywhere),
        cmocka_unit_test(test_each_byte_changed),
        cmocka_unit_test(test_checksum),
        cmocka_unit_test(test_random_damage),
        cmocka_unit_test(test_pickles),
        cmocka_unit_test(test_random_pickles),
        cmocka_unit_test(test_name_bomb),
        cmocka_unit_test(test_zip),
        cmocka_unit_test(test_zip_overlaps),
        cmocka_unit_test(test_zip_bombs),
        cmocka_unit_test(test_zip_bomb_of_many),
        cmocka_unit_test(test_safetensors),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
