/* SPDX-License-Identifier: Apache-2.0 */
/* The safetensors format: a little-endian u64 N, N bytes of JSON, then the tensors' bytes, which
 * must tile the rest of the file exactly (safetensors/src/tensor.rs, Metadata::validate). */
#include "base/alloc.h"
#include "base/crc32.h"
#include "ckpt/format.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HEADER 100000000 /* bytes; the format's own limit */
#define MAX_VALUES 4000000   /* in the header: what one costs is many times its text */
#define MAX_DEPTH  3         /* of brackets: all, tensor, shape */
#define ALIGNMENT  64        /* of what we write; the format asks for 8 */

/* ---- reading --------------------------------------------------------------------------------- */

static uint64_t header_size(const uint8_t *data)
{
    uint64_t n = 0;
    for (int i = 8; i-- > 0;)
        n = n << 8 | data[i];
    return n;
}

static bool sniff(const uint8_t *data, size_t size)
{
    return size >= 9 && data[8] == '{';
}

/* The JSON library recurses, and turns each value into a block of memory: look before that. */
static VitroStatus prescan(const char *text, size_t size)
{
    int depth = 0;
    size_t values = 0;
    bool in_string = false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
            continue;
        }
        in_string = c == '"';
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        values += c == ',' || c == ':' || c == '[' || c == '{';
        if (depth > MAX_DEPTH)
            return vitro_fail(VITRO_E_FORMAT, "header: nested deeper than %d at byte %zu",
                              MAX_DEPTH, i);
        if (values > MAX_VALUES)
            return vitro_fail(VITRO_E_UNSUPPORTED, "header: more than %d values", MAX_VALUES);
    }
    return VITRO_OK;
}

static VitroStatus parse_header(json_t **out, const char *text, size_t size)
{
    json_error_t e;
    VITRO_TRY(prescan(text, size));
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &e);
    if (root && json_is_object(root)) {
        *out = root;
        return VITRO_OK;
    }
    json_decref(root);
    if (!root && json_error_code(&e) == json_error_out_of_memory)
        return vitro_fail(VITRO_E_NOMEM, "header: no memory to parse it");
    return vitro_fail(VITRO_E_FORMAT, "header: %s at byte %d", root ? "no JSON object" : e.text,
                      root ? 0 : e.position);
}

static VitroStatus read_dtype(VitroDtype *out, const char *name, json_t *value)
{
    const char *text = json_string_value(value);
    for (int d = VITRO_F32; text && d <= VITRO_BOOL; d++) {
        if (strcmp(text, vitro_dtype_name((VitroDtype)d)) == 0) {
            *out = (VitroDtype)d;
            return VITRO_OK;
        }
    }
    return vitro_fail(text ? VITRO_E_UNSUPPORTED : VITRO_E_FORMAT,
                      "tensor \"%s\": dtype %s is not supported", name, text ? text : "missing");
}

static VitroStatus read_shape(VitroTensorInfo *info, const char *name, json_t *value)
{
    if (!json_is_array(value))
        return vitro_fail(VITRO_E_FORMAT, "tensor \"%s\": its shape is no array", name);
    if (json_array_size(value) > VITRO_CKPT_MAX_RANK)
        return vitro_fail(VITRO_E_UNSUPPORTED,
                          "tensor \"%s\" has %zu dimensions, at most %d are supported", name,
                          json_array_size(value), VITRO_CKPT_MAX_RANK);
    info->rank = (int)json_array_size(value);
    for (int i = 0; i < info->rank; i++) {
        json_t *n = json_array_get(value, (size_t)i);
        if (!json_is_integer(n))
            return vitro_fail(VITRO_E_FORMAT, "tensor \"%s\": dimension %d is no integer", name, i);
        info->dim[i] = json_integer_value(n);
    }
    return VITRO_OK;
}

typedef struct Extent {
    int64_t begin, end;
    const char *name;
} Extent;

/* One row of the header. `data` is what follows the header, of `size` bytes. */
static VitroStatus read_tensor(VitroCkptTensor *t, Extent *x, const uint8_t *data, size_t size,
                               json_t *row)
{
    const char *name = x->name;
    json_t *offsets = json_object_get(row, "data_offsets"), *begin, *end;
    int64_t count, bytes;
    if (!json_is_object(row) || json_object_size(row) != 3)
        return vitro_fail(VITRO_E_FORMAT,
                          "tensor \"%s\": expected dtype, shape, data_offsets and nothing else",
                          name);
    VITRO_TRY(read_dtype(&t->info.dtype, name, json_object_get(row, "dtype")));
    VITRO_TRY(read_shape(&t->info, name, json_object_get(row, "shape")));
    begin = json_array_get(offsets, 0);
    end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return vitro_fail(VITRO_E_FORMAT, "tensor \"%s\": its data_offsets are no two integers",
                          name);
    x->begin = json_integer_value(begin);
    x->end = json_integer_value(end);
    if (x->begin < 0 || x->end < x->begin || (uint64_t)x->end > size)
        return vitro_fail(VITRO_E_FORMAT, "tensor \"%s\": bytes [%lld, %lld) of %zu", name,
                          (long long)x->begin, (long long)x->end, size);
    VITRO_TRY(vitro_ckpt_count(&count, name, t->info.dtype, t->info.rank, t->info.dim));
    bytes = count * (int64_t)vitro_dtype_size(t->info.dtype);
    if (bytes != x->end - x->begin)
        return vitro_fail(VITRO_E_FORMAT, "tensor \"%s\" needs %lld bytes and has %lld", name,
                          (long long)bytes, (long long)(x->end - x->begin));
    t->data = bytes ? data + x->begin : NULL;
    int64_t step = 1;
    for (int i = t->info.rank; i-- > 0; step *= t->info.dim[i])
        t->stride[i] = step;
    return VITRO_OK;
}

static int compare_extents(const void *a, const void *b)
{
    const Extent *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static VitroStatus check_tiling(Extent *x, size_t count, size_t size)
{
    int64_t at = 0;
    if (count)
        qsort(x, count, sizeof(*x), compare_extents);
    for (size_t i = 0; i < count; i++) {
        if (x[i].begin != at)
            return vitro_fail(VITRO_E_FORMAT,
                              "tensor \"%s\" starts at byte %lld of the data, %lld was expected",
                              x[i].name, (long long)x[i].begin, (long long)at);
        at = x[i].end;
    }
    if ((uint64_t)at != size)
        return vitro_fail(VITRO_E_FORMAT, "has %zu bytes of data, its tensors have %lld", size,
                          (long long)at);
    return VITRO_OK;
}

static VitroStatus read_tensors(VitroCheckpoint *ckpt, Extent *extent, json_t *header,
                                const uint8_t *data, size_t size)
{
    size_t count = 0;
    const char *name;
    json_t *row;
    json_object_foreach(header, name, row)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        VitroCkptTensor t = {.record = -1};
        extent[count].name = name;
        VITRO_TRY(read_tensor(&t, &extent[count], data, size, row));
        VITRO_TRY(vitro_ckpt_add(ckpt, &t, name, strlen(name)));
        count++;
    }
    return check_tiling(extent, count, size);
}

static VitroStatus read_metadata(VitroCheckpoint *ckpt, json_t *metadata)
{
    const char *key;
    json_t *value;
    if (!metadata)
        return VITRO_OK;
    if (!json_is_object(metadata))
        return vitro_fail(VITRO_E_FORMAT, "header: __metadata__ is no object");
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return vitro_fail(VITRO_E_FORMAT, "header: __metadata__: \"%s\" is no string", key);
    }
    ckpt->json = json_incref(metadata);
    const char *text = json_string_value(json_object_get(metadata, "vitro"));
    if (!text)
        return VITRO_OK;
    ckpt->metadata = vitro_strdup(text);
    return ckpt->metadata ? VITRO_OK : VITRO_NOMEM;
}

static VitroStatus open_safetensors(VitroCheckpoint *ckpt)
{
    const uint8_t *data = ckpt->map.data;
    uint64_t n = header_size(data), rest = ckpt->map.size - 8;
    if (n > MAX_HEADER || n > rest)
        return vitro_fail(VITRO_E_FORMAT, "header of %llu bytes in a file of %zu",
                          (unsigned long long)n, ckpt->map.size);
    json_t *header;
    VITRO_TRY(parse_header(&header, (const char *)data + 8, (size_t)n));
    VitroStatus st = VITRO_E_NOMEM;
    Extent *extent = vitro_calloc(json_object_size(header), sizeof(*extent));
    if (extent)
        st = read_metadata(ckpt, json_object_get(header, "__metadata__"));
    if (st == VITRO_OK)
        st = read_tensors(ckpt, extent, header, data + 8 + n, (size_t)(rest - n));
    vitro_free(extent);
    json_decref(header);
    return st;
}

static void close_safetensors(VitroCheckpoint *ckpt)
{
    json_decref(ckpt->json);
}

static const char *metadata_key(const VitroCheckpoint *ckpt, const char *key)
{
    return json_string_value(json_object_get(ckpt->json, key));
}

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct Slot {
    const VitroTensorSource *tensor;
    int64_t bytes, begin;
} Slot;

static int64_t byte_count(const VitroTensorSource *t)
{
    int64_t n = (int64_t)vitro_dtype_size(t->dtype); /* vitro_checkpoint_write has checked it all */
    for (int i = 0; i < t->rank; i++)
        n *= t->dim[i];
    return n;
}

/* Largest elements first, so that all are aligned; then by name, as the reference writer does. */
static int compare_slots(const void *a, const void *b)
{
    const VitroTensorSource *x = (*(const Slot *const *)a)->tensor,
                            *y = (*(const Slot *const *)b)->tensor;
    size_t m = vitro_dtype_size(x->dtype), n = vitro_dtype_size(y->dtype);
    return m != n ? (m < n ? 1 : -1) : strcmp(x->name, y->name);
}

static VitroStatus place(Slot *slot, const Slot **order, const VitroTensorSource *tensors,
                         int64_t count)
{
    int64_t at = 0;
    for (int64_t i = 0; i < count; i++) {
        slot[i] = (Slot){&tensors[i], byte_count(&tensors[i]), 0};
        order[i] = &slot[i];
    }
    if (count)
        qsort(order, (size_t)count, sizeof(*order), compare_slots);
    for (int64_t i = 0; i < count; i++) {
        slot[order[i] - slot].begin = at;
        if (__builtin_add_overflow(at, order[i]->bytes, &at))
            return vitro_fail(VITRO_E_ARG, "the tensors' sizes overflow");
    }
    return VITRO_OK;
}

static json_t *header_row(const Slot *s)
{
    json_t *shape = json_array();
    for (int i = 0; i < s->tensor->rank; i++) {
        if (json_array_append_new(shape, json_integer(s->tensor->dim[i])) != 0) {
            json_decref(shape); /* no memory; a shape with a hole would be another shape */
            return NULL;
        }
    }
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype", vitro_dtype_name(s->tensor->dtype), "shape",
                     shape, "data_offsets", (json_int_t)s->begin,
                     (json_int_t)(s->begin + s->bytes));
}

static int append(const char *text, size_t size, void *buf)
{
    return vitro_buf_append(buf, text, size) == VITRO_OK ? 0 : -1;
}

/* What a file is to hold. */
typedef struct Contents {
    const VitroTensorSource *tensors;
    int64_t count;
    const char *metadata; /* NULL: none */
    const VitroNote *notes;
    int64_t note_count;
    bool sealed; /* the last tensor, by place too, is the seal */
} Contents;

/* Appends the header's text: rows in the caller's order, whatever the order of the data. */
static VitroStatus make_header(VitroBuf *out, const Slot *slot, const Contents *c)
{
    json_t *header = json_object(), *about = json_pack("{s:s}", "format", "pt");
    int bad = !header || !about;
    if (c->metadata)
        bad |= json_object_set_new(about, "vitro", json_string(c->metadata));
    for (int64_t i = 0; i < c->note_count; i++)
        bad |= json_object_set_new(about, c->notes[i].key, json_string(c->notes[i].value));
    bad |= json_object_set_new(header, "__metadata__", about);
    int64_t count = c->count;
    for (int64_t i = 0; i < count && !bad; i++)
        bad |= json_object_set_new(header, slot[i].tensor->name, header_row(&slot[i]));
    bad = bad || json_dump_callback(header, append, out, JSON_COMPACT);
    json_decref(header);
    if (out->status != VITRO_OK)
        return out->status;
    return bad ? vitro_fail(VITRO_E_NOMEM, "no memory for the header") : VITRO_OK;
}

/* The file, and the checksum of what went into it. */
typedef struct Sink {
    VitroReplace *file;
    bool summed;
    uint32_t crc;
} Sink;

static VitroStatus put(Sink *s, const void *data, size_t n)
{
    if (s->summed)
        s->crc = vitro_crc32(s->crc, data, n);
    return vitro_replace_write(s->file, data, n);
}

static VitroStatus write_header(Sink *out, const VitroBuf *text)
{
    static const char spaces[] = "                                                                ";
    uint8_t length[8];
    size_t n = text->len, padding = (ALIGNMENT - (8 + n) % ALIGNMENT) % ALIGNMENT;
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)(n + padding) >> 8 * i);
    VITRO_TRY(put(out, length, sizeof(length)));
    VITRO_TRY(put(out, text->data, n));
    return put(out, spaces, padding);
}

static void put_seal(uint8_t seal[VITRO_SEAL_BYTES], uint32_t crc)
{
    for (int i = 0; i < VITRO_SEAL_BYTES; i++)
        seal[i] = (uint8_t)(crc >> 8 * i);
}

static VitroStatus write_contents(VitroReplace *file, const Contents *c)
{
    VitroStatus st = VITRO_E_NOMEM;
    VitroBuf header;
    Sink out = {.file = file, .summed = c->sealed};
    int64_t count = c->count;
    vitro_buf_init(&header, MAX_HEADER - ALIGNMENT);
    Slot *slot = vitro_calloc((size_t)count, sizeof(*slot));
    const Slot **order = vitro_calloc((size_t)count, sizeof(*order));
    if (!slot || !order)
        goto done;
    for (int64_t i = 0; i < count; i++) {
        if (strcmp(c->tensors[i].name, "__metadata__") == 0) {
            st = vitro_fail(VITRO_E_ARG, "a tensor cannot be named __metadata__");
            goto done;
        }
    }
    VITRO_GOTO(place(slot, order, c->tensors, count));
    VITRO_GOTO(make_header(&header, slot, c));
    VITRO_GOTO(write_header(&out, &header));
    int64_t plain = c->sealed ? count - 1 : count;
    for (int64_t i = 0; i < plain; i++)
        VITRO_GOTO(put(&out, order[i]->tensor->data, (size_t)order[i]->bytes));
    if (c->sealed) {
        uint8_t seal[VITRO_SEAL_BYTES];
        put_seal(seal, out.crc);
        VITRO_GOTO(put(&out, seal, sizeof(seal)));
    }
done:
    vitro_buf_deinit(&header);
    vitro_free(order);
    vitro_free(slot);
    return st;
}

static VitroStatus write_safetensors(VitroReplace *file, const char *path,
                                     const VitroTensorSource *tensors, int64_t count,
                                     const char *metadata)
{
    (void)path;
    Contents c = {.tensors = tensors, .count = count, .metadata = metadata};
    return write_contents(file, &c);
}

/* ---- sealed files ------------------------------------------------------------------------------
 */

#define SEAL_NAME "seal"

VitroStatus vitro_sealed_write(const char *path, const VitroTensorSource *tensors, int64_t count,
                               const char *metadata, const VitroNote *notes, int64_t note_count)
{
    uint8_t none[VITRO_SEAL_BYTES] = {0};
    VitroTensorSource *all = vitro_calloc((size_t)count + 1, sizeof(*all));
    if (!all)
        return VITRO_NOMEM;
    if (count)
        memcpy(all, tensors, (size_t)count * sizeof(*all));
    all[count] = (VitroTensorSource){.name = SEAL_NAME,
                                     .dtype = VITRO_U8, /* the smallest: it comes last */
                                     .rank = 1,
                                     .dim = {VITRO_SEAL_BYTES},
                                     .data = none};
    Contents c = {all, count + 1, metadata, notes, note_count, true};
    VitroReplace file = {.fd = -1};
    VitroStatus st = vitro_ckpt_check_sources(all, c.count, metadata);
    for (int64_t i = 0; i < count && st == VITRO_OK; i++)
        if (vitro_dtype_size(tensors[i].dtype) == 1)
            st = vitro_fail(VITRO_E_ARG, "tensor \"%s\": bytes have no place in a sealed file",
                            tensors[i].name);
    for (int64_t i = 0; i < note_count && st == VITRO_OK; i++)
        if (!vitro_ckpt_is_utf8(notes[i].key, strlen(notes[i].key)) ||
            !vitro_ckpt_is_utf8(notes[i].value, strlen(notes[i].value)))
            st = vitro_fail(VITRO_E_ARG, "note %lld is not UTF-8 text", (long long)i);
    if (st != VITRO_OK)
        st = vitro_fail_prefix(st, "%s", path);
    else if ((st = vitro_replace_begin(&file, path)) == VITRO_OK)
        st = write_contents(&file, &c);
    if (st == VITRO_OK)
        st = vitro_replace_commit(&file);
    vitro_replace_abort(&file);
    vitro_free(all);
    return st;
}

VitroStatus vitro_sealed_check(const VitroCheckpoint *ckpt)
{
    int64_t i = vitro_checkpoint_find(ckpt, SEAL_NAME);
    const VitroCkptTensor *t = i < 0 ? NULL : &ckpt->tensor[i];
    uint8_t seal[VITRO_SEAL_BYTES];
    size_t size = ckpt->map.size;
    if (!t || t->info.dtype != VITRO_U8 || t->info.count != VITRO_SEAL_BYTES ||
        t->data != ckpt->map.data + size - VITRO_SEAL_BYTES)
        return vitro_fail(VITRO_E_FORMAT, "%s: has no seal at its end", ckpt->path);
    put_seal(seal, vitro_crc32(0, ckpt->map.data, size - VITRO_SEAL_BYTES));
    if (memcmp(seal, t->data, sizeof(seal)) != 0)
        return vitro_fail(VITRO_E_FORMAT, "%s: is damaged: its checksum does not fit", ckpt->path);
    return VITRO_OK;
}

const VitroCkptFormat vitro_ckpt_safetensors = {.name = "safetensors",
                                                .sniff = sniff,
                                                .open = open_safetensors,
                                                .close = close_safetensors,
                                                .metadata_key = metadata_key,
                                                .write = write_safetensors};
