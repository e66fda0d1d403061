/* SPDX-License-Identifier: Apache-2.0 */
/* NumPy archives: a zip of <name>.npy, each a short header and the elements (numpy/lib/format.py,
 * numpy/lib/npyio.py). Ours add the member vitro.json, which numpy.load shows as bytes. The header
 * is a Python literal: it is read with a grammar of its own that knows the three keys and no more.
 */
#include "base/alloc.h"
#include "ckpt/format.h"

#include <stdio.h>
#include <string.h>

#define MAX_HEADER   10000 /* bytes, as numpy.load's max_header_size */
#define MAX_METADATA ((size_t)16 << 20)
#define METADATA     "vitro.json"
#define SUFFIX       ".npy"
#define MAGIC        "\x93NUMPY"

/* numpy's type codes; one byte has no order, and bfloat16 of JAX is "void of two bytes". */
static const struct {
    const char *descr;
    VitroDtype dtype;
} dtypes[] = {{"<f4", VITRO_F32}, {"<f2", VITRO_F16}, {"|V2", VITRO_BF16}, {"<f8", VITRO_F64},
              {"|u1", VITRO_U8},  {"|i1", VITRO_I8},  {"<i2", VITRO_I16},  {"<i4", VITRO_I32},
              {"<i8", VITRO_I64}, {"|b1", VITRO_BOOL}};

enum { DTYPE_COUNT = sizeof(dtypes) / sizeof(dtypes[0]) };

/* ---- the header's text ----------------------------------------------------------------------- */

typedef struct Text {
    const char *at, *end;
} Text;

static void skip_blanks(Text *t)
{
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\t' || *t->at == '\n'))
        t->at++;
}

/* Takes `c`, with the blanks before it. */
static bool take(Text *t, char c)
{
    skip_blanks(t);
    if (t->at == t->end || *t->at != c)
        return false;
    t->at++;
    return true;
}

static bool take_word(Text *t, const char *word)
{
    size_t n = strlen(word);
    skip_blanks(t);
    if ((size_t)(t->end - t->at) < n || memcmp(t->at, word, n) != 0)
        return false;
    t->at += n;
    return true;
}

/* 'text' or "text", without escapes: none of numpy's keys and types needs one. */
static bool take_string(Text *t, char *out, size_t size)
{
    skip_blanks(t);
    if (t->at == t->end || (*t->at != '\'' && *t->at != '"'))
        return false;
    char quote = *t->at++;
    size_t n = 0;
    for (; t->at < t->end && *t->at != quote; t->at++) {
        if (*t->at == '\\' || n + 1 >= size)
            return false;
        out[n++] = *t->at;
    }
    out[n] = 0;
    return t->at < t->end && *t->at++ == quote;
}

/* A count; Python 2 wrote 3L. */
static bool take_count(Text *t, int64_t *out)
{
    int64_t n = 0;
    skip_blanks(t);
    const char *first = t->at;
    for (; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++)
        if (__builtin_mul_overflow(n, (int64_t)10, &n) ||
            __builtin_add_overflow(n, (int64_t)(*t->at - '0'), &n))
            return false;
    *out = n;
    if (t->at == first)
        return false;
    if (t->at < t->end && *t->at == 'L')
        t->at++;
    return true;
}

/* (), (3,), (3, 4), (3, 4,) */
static VitroStatus take_shape(VitroTensorInfo *info, Text *t, const char *name)
{
    bool ok = take(t, '('), comma = true;
    info->rank = 0;
    while (ok && !take(t, ')')) {
        int64_t n = 0;
        ok = comma && take_count(t, &n);
        if (ok && info->rank == VITRO_CKPT_MAX_RANK)
            return vitro_fail(VITRO_E_UNSUPPORTED,
                              "tensor \"%s\" has more than %d dimensions, which are the most "
                              "supported",
                              name, VITRO_CKPT_MAX_RANK);
        if (ok)
            info->dim[info->rank++] = n;
        comma = take(t, ',');
    }
    if (ok && (info->rank != 1 || comma)) /* (3) is no tuple */
        return VITRO_OK;
    return vitro_fail(VITRO_E_FORMAT, "tensor \"%s\": its shape is no tuple of counts", name);
}

static VitroStatus take_dtype(VitroTensorInfo *info, Text *t, const char *name)
{
    char descr[32];
    skip_blanks(t);
    if (t->at < t->end && *t->at == '[')
        return vitro_fail(VITRO_E_UNSUPPORTED, "tensor \"%s\" has records for elements", name);
    if (!take_string(t, descr, sizeof(descr)))
        return vitro_fail(VITRO_E_FORMAT, "tensor \"%s\": its type is no short string", name);
    for (int i = 0; i < DTYPE_COUNT; i++) {
        bool is_one_byte = vitro_dtype_size(dtypes[i].dtype) == 1;
        if (strcmp(descr + 1, dtypes[i].descr + 1) == 0 &&
            (descr[0] == dtypes[i].descr[0] || (is_one_byte && strchr("<>=", descr[0])) ||
             (dtypes[i].dtype == VITRO_BF16 && descr[0] == '<'))) {
            info->dtype = dtypes[i].dtype;
            return VITRO_OK;
        }
    }
    return vitro_fail(VITRO_E_UNSUPPORTED,
                      "tensor \"%s\": elements of type \"%s\" are not supported", name, descr);
}

/* {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }: all three, in any order. */
static VitroStatus parse_header(VitroTensorInfo *info, bool *fortran, Text t, const char *name)
{
    enum { DESCR = 1, ORDER = 2, SHAPE = 4, ALL = 7 };
    int seen = 0;
    bool ok = take(&t, '{'), comma = true;
    while (ok && !take(&t, '}')) {
        char key[16];
        int bit = 0;
        ok = comma && take_string(&t, key, sizeof(key)) && take(&t, ':');
        if (ok && strcmp(key, "descr") == 0) {
            bit = DESCR;
            VITRO_TRY(take_dtype(info, &t, name));
        } else if (ok && strcmp(key, "shape") == 0) {
            bit = SHAPE;
            VITRO_TRY(take_shape(info, &t, name));
        } else if (ok && strcmp(key, "fortran_order") == 0) {
            bit = ORDER;
            *fortran = take_word(&t, "True");
            ok = *fortran || take_word(&t, "False");
        }
        ok = ok && bit && !(seen & bit);
        seen |= bit;
        comma = take(&t, ',');
    }
    skip_blanks(&t);
    if (ok && seen == ALL && t.at == t.end)
        return VITRO_OK;
    return vitro_fail(VITRO_E_FORMAT,
                      "tensor \"%s\": its header is not {'descr': ..., 'fortran_order': ..., "
                      "'shape': ...}",
                      name);
}

/* ---- one member ------------------------------------------------------------------------------ */

/* Finds the header's text; *data_at is where the elements begin. */
static VitroStatus find_header(Text *t, size_t *data_at, const uint8_t *data, size_t size,
                               const char *name)
{
    if (size < 10 || memcmp(data, MAGIC, 6) != 0)
        return vitro_fail(VITRO_E_FORMAT, "tensor \"%s\" does not begin as a .npy file", name);
    int major = data[6], minor = data[7];
    if (major < 1 || major > 3 || minor != 0)
        return vitro_fail(VITRO_E_UNSUPPORTED,
                          "tensor \"%s\" has .npy version %d.%d, 1.0 to 3.0 are read", name, major,
                          minor);
    size_t at = major == 1 ? 10 : 12, n = data[8] | (size_t)data[9] << 8;
    if (major > 1 && size >= 12)
        n |= (size_t)data[10] << 16 | (size_t)data[11] << 24;
    if (n > MAX_HEADER)
        return vitro_fail(VITRO_E_FORMAT,
                          "tensor \"%s\": a header of %zu bytes, at most %d are read", name, n,
                          MAX_HEADER);
    if (size < at || n > size - at || n == 0 || data[at + n - 1] != '\n')
        return vitro_fail(VITRO_E_FORMAT, "tensor \"%s\": its header is cut off", name);
    *t = (Text){(const char *)data + at, (const char *)data + at + n};
    *data_at = at + n;
    return VITRO_OK;
}

static void set_strides(VitroCkptTensor *t, bool fortran)
{
    int64_t step = 1; /* cannot overflow: vitro_ckpt_count has multiplied them all */
    int rank = t->info.rank;
    for (int i = 0; i < rank; i++) {
        int d = fortran ? i : rank - 1 - i;
        t->stride[d] = step;
        step *= t->info.dim[d] > 1 ? t->info.dim[d] : 1;
    }
}

static VitroStatus read_member(VitroCheckpoint *ckpt, int64_t record, const char *name)
{
    const uint8_t *data;
    const size_t size = ckpt->zip.entry[record].size;
    VitroCkptTensor t = {.record = record};
    Text text;
    size_t at;
    int64_t count;
    bool fortran = false;
    VITRO_TRY(vitro_zip_bytes(&ckpt->zip, record, &data));
    VITRO_TRY(find_header(&text, &at, data, size, name));
    VITRO_TRY(parse_header(&t.info, &fortran, text, name));
    VITRO_TRY(vitro_ckpt_count(&count, name, t.info.dtype, t.info.rank, t.info.dim));
    size_t bytes = (size_t)count * vitro_dtype_size(t.info.dtype);
    if (bytes != size - at)
        return vitro_fail(VITRO_E_FORMAT, "tensor \"%s\" needs %zu bytes and has %zu", name, bytes,
                          size - at);
    t.data = count ? data + at : NULL;
    set_strides(&t, fortran);
    return vitro_ckpt_add(ckpt, &t, name, strlen(name));
}

static VitroStatus read_metadata(VitroCheckpoint *ckpt, int64_t record)
{
    const uint8_t *text;
    size_t size = ckpt->zip.entry[record].size;
    if (size > MAX_METADATA)
        return vitro_fail(VITRO_E_FORMAT, METADATA " has %zu bytes, at most %zu are read", size,
                          MAX_METADATA);
    VITRO_TRY(vitro_zip_bytes(&ckpt->zip, record, &text));
    VITRO_TRY(vitro_zip_verify(&ckpt->zip, record));
    if (!vitro_ckpt_is_utf8((const char *)text, size))
        return vitro_fail(VITRO_E_FORMAT, METADATA " is not UTF-8 text");
    ckpt->metadata = vitro_strndup((const char *)text, size);
    return ckpt->metadata ? VITRO_OK : VITRO_NOMEM;
}

/* ---- the archive ----------------------------------------------------------------------------- */

static bool ends_with(const char *name, size_t size, const char *end)
{
    size_t n = strlen(end);
    return size >= n && memcmp(name + size - n, end, n) == 0;
}

/* A zip whose first record is named like an array, or is our metadata where there are no arrays; or
 * a zip without records, as numpy.savez() makes. */
static bool sniff(const uint8_t *data, size_t size)
{
    if (size == 22 && memcmp(data, "PK\5\6", 4) == 0)
        return true;
    if (!vitro_zip_sniff(data, size) || size < 30)
        return false;
    const char *name = (const char *)data + 30;
    size_t name_size = data[26] | (size_t)data[27] << 8;
    return name_size <= size - 30 &&
           (ends_with(name, name_size, SUFFIX) ||
            (name_size == strlen(METADATA) && memcmp(name, METADATA, name_size) == 0));
}

static VitroStatus open_npz(VitroCheckpoint *ckpt)
{
    VITRO_TRY(vitro_zip_open(&ckpt->zip, ckpt->map.data, ckpt->map.size));
    for (size_t i = 0; i < ckpt->zip.count; i++) {
        const VitroZipEntry *e = &ckpt->zip.entry[i];
        if (e->name_size == strlen(METADATA) && memcmp(e->name, METADATA, e->name_size) == 0)
            VITRO_TRY(read_metadata(ckpt, (int64_t)i));
        if (!ends_with(e->name, e->name_size, SUFFIX))
            continue; /* no array, for numpy neither */
        size_t n = e->name_size - strlen(SUFFIX);
        if (!vitro_ckpt_is_utf8(e->name, n))
            return vitro_fail(VITRO_E_FORMAT, "the name of record %zu is not UTF-8 text", i);
        char *name = vitro_strndup(e->name, n);
        if (!name)
            return VITRO_NOMEM;
        VitroStatus st = read_member(ckpt, (int64_t)i, name);
        vitro_free(name);
        VITRO_TRY(st);
    }
    return VITRO_OK;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Version 1.0, padded so that the elements begin at a multiple of 64 bytes, as numpy.save does. */
static VitroStatus make_header(VitroBuf *b, const VitroTensorSource *t)
{
    const char *descr = "";
    uint8_t *length;
    for (int i = 0; i < DTYPE_COUNT; i++)
        if (dtypes[i].dtype == t->dtype)
            descr = dtypes[i].descr;
    VITRO_TRY(vitro_buf_append(b, MAGIC "\1\0\0\0", 10));
    VITRO_TRY(vitro_buf_printf(b, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr));
    for (int i = 0; i < t->rank; i++)
        VITRO_TRY(vitro_buf_printf(b, "%s%lld%s", i ? " " : "", (long long)t->dim[i],
                                   t->rank == 1 || i + 1 < t->rank ? "," : ""));
    VITRO_TRY(vitro_buf_append(b, "), }", 4));
    while (b->len % 64 != 63)
        VITRO_TRY(vitro_buf_append(b, " ", 1));
    VITRO_TRY(vitro_buf_append(b, "\n", 1));
    length = b->data + 8;
    length[0] = (uint8_t)((b->len - 10) & 0xff);
    length[1] = (uint8_t)((b->len - 10) >> 8);
    return VITRO_OK;
}

static VitroStatus add_tensor(VitroZipWriter *w, const VitroTensorSource *t)
{
    VitroBuf header;
    VitroStatus st = VITRO_E_NOMEM;
    size_t bytes = vitro_dtype_size(t->dtype); /* vitro_checkpoint_write has checked the product */
    for (int i = 0; i < t->rank; i++)
        bytes *= (size_t)t->dim[i];
    vitro_buf_init(&header, MAX_HEADER);
    char *name = vitro_asprintf("%s" SUFFIX, t->name);
    if (name)
        st = make_header(&header, t);
    if (st == VITRO_OK)
        st = vitro_zip_writer_add_two(w, name, header.data, header.len, bytes ? t->data : "", bytes,
                                      NULL);
    vitro_free(name);
    vitro_buf_deinit(&header);
    return st;
}

static VitroStatus write_npz(VitroReplace *file, const char *path, const VitroTensorSource *tensors,
                             int64_t count, const char *metadata)
{
    (void)path;
    VitroZipWriter w;
    VitroStatus st = VITRO_OK;
    vitro_zip_writer_init(&w, file);
    for (int64_t i = 0; i < count; i++)
        VITRO_GOTO(add_tensor(&w, &tensors[i]));
    if (metadata) /* last: what the first record is named tells the format */
        VITRO_GOTO(vitro_zip_writer_add(&w, METADATA, metadata, strlen(metadata), NULL));
    st = vitro_zip_writer_finish(&w);
done:
    vitro_zip_writer_deinit(&w);
    return st;
}

const VitroCkptFormat vitro_ckpt_npz = {
    .name = "npz", .sniff = sniff, .open = open_npz, .write = write_npz};
