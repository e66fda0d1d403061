/* SPDX-License-Identifier: Apache-2.0 */
/* Writing of PyTorch files: what torch.save(OrderedDict(name -> tensor)) writes today, so that
 * torch.load reads it, also with weights_only=True. Only opcodes of protocol 2 that PyTorch's own
 * restricted unpickler knows (torch/_weights_only_unpickler.py). */
#include "base/alloc.h"
#include "ckpt/torch_state.h"

#include <stdio.h>
#include <string.h>

#define MAX_PICKLE ((size_t)1 << 30)

/* ---- the pickle ------------------------------------------------------------------------------ */

static void put_bytes(VitroBuf *b, const char *bytes, size_t n)
{
    (void)vitro_buf_append(b, bytes, n); /* the buffer remembers a failure */
}

#define PUT(b, literal) put_bytes(b, literal, sizeof(literal) - 1)

static void put_le(VitroBuf *b, uint64_t value, int width)
{
    for (int i = 0; i < width; i++, value >>= 8)
        put_bytes(b, &(char){(char)(value & 0xff)}, 1);
}

static void put_string(VitroBuf *b, const char *s)
{
    PUT(b, "X"); /* BINUNICODE */
    put_le(b, strlen(s), 4);
    put_bytes(b, s, strlen(s));
}

static void put_int(VitroBuf *b, int64_t value)
{
    if (value < 0x100) {
        PUT(b, "K"); /* BININT1 */
        put_le(b, (uint64_t)value, 1);
    } else if (value < 0x10000) {
        PUT(b, "M"); /* BININT2 */
        put_le(b, (uint64_t)value, 2);
    } else if (value <= INT32_MAX) {
        PUT(b, "J"); /* BININT */
        put_le(b, (uint64_t)value, 4);
    } else {
        PUT(b, "\x8a\x08"); /* LONG1 of 8 bytes */
        put_le(b, (uint64_t)value, 8);
    }
}

static void put_tuple(VitroBuf *b, int n, const int64_t *value)
{
    PUT(b, "(");
    for (int i = 0; i < n; i++)
        put_int(b, value[i]);
    PUT(b, "t");
}

static const char *storage_class(VitroDtype dtype)
{
    static const char *const names[] = {
        [VITRO_F32] = "FloatStorage",     [VITRO_F16] = "HalfStorage",
        [VITRO_BF16] = "BFloat16Storage", [VITRO_F64] = "DoubleStorage",
        [VITRO_U8] = "ByteStorage",       [VITRO_I8] = "CharStorage",
        [VITRO_I16] = "ShortStorage",     [VITRO_I32] = "IntStorage",
        [VITRO_I64] = "LongStorage",      [VITRO_BOOL] = "BoolStorage",
    };
    return names[dtype];
}

static int64_t element_count(const VitroTensorSource *t)
{
    int64_t n = 1; /* cannot overflow: vitro_checkpoint_write has checked it */
    for (int i = 0; i < t->rank; i++)
        n *= t->dim[i];
    return n;
}

/* name, then _rebuild_tensor_v2(storage, offset 0, size, stride, requires_grad False, no hooks) */
static void put_tensor(VitroBuf *b, const VitroTensorSource *t, int64_t number)
{
    char key[24];
    int64_t stride[VITRO_CKPT_MAX_RANK], step = 1;
    for (int i = t->rank; i-- > 0; step *= t->dim[i] > 1 ? t->dim[i] : 1)
        stride[i] = step;
    snprintf(key, sizeof(key), "%lld", (long long)number);
    put_string(b, t->name);
    PUT(b, "ctorch._utils\n_rebuild_tensor_v2\n((");
    put_string(b, "storage");
    (void)vitro_buf_printf(b, "ctorch\n%s\n", storage_class(t->dtype));
    put_string(b, key);
    put_string(b, "cpu");
    put_int(b, element_count(t));
    PUT(b, "tQ"); /* BINPERSID */
    put_int(b, 0);
    put_tuple(b, t->rank, t->dim);
    put_tuple(b, t->rank, stride);
    PUT(b, "\x89"
           "ccollections\nOrderedDict\n)RtR");
}

static void put_state(VitroBuf *b, const VitroTensorSource *tensors, int64_t count)
{
    PUT(b, "\x80\x02"
           "ccollections\nOrderedDict\n)R(");
    for (int64_t i = 0; i < count; i++)
        put_tensor(b, &tensors[i], i);
    PUT(b, "u.");
}

/* ---- the records ----------------------------------------------------------------------------- */

typedef struct Writer {
    VitroZipWriter zip;
    char *folder;
    uint64_t names_hash, data_hash; /* FNV-1a; the id they make is opaque to PyTorch */
} Writer;

static void hash(uint64_t *h, const void *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        *h = (*h ^ ((const uint8_t *)data)[i]) * 0x100000001b3u;
}

static VitroStatus add(Writer *w, const char *name, const void *data, size_t size)
{
    uint32_t crc = 0;
    char *path = vitro_asprintf("%s/%s", w->folder, name);
    if (!path)
        return VITRO_NOMEM;
    VitroStatus st = vitro_zip_writer_add(&w->zip, path, data, size, &crc);
    hash(&w->names_hash, path, strlen(path));
    hash(&w->data_hash, &crc, sizeof(crc));
    vitro_free(path);
    return st;
}

static VitroStatus add_text(Writer *w, const char *name, const char *text)
{
    return add(w, name, text, strlen(text));
}

static VitroStatus add_state(Writer *w, const VitroTensorSource *tensors, int64_t count)
{
    VitroBuf pickle;
    vitro_buf_init(&pickle, MAX_PICKLE);
    put_state(&pickle, tensors, count);
    VitroStatus st = pickle.status;
    if (st == VITRO_OK)
        st = add(w, "data.pkl", pickle.data, pickle.len);
    vitro_buf_deinit(&pickle);
    return st;
}

static VitroStatus add_storages(Writer *w, const VitroTensorSource *tensors, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        char name[32];
        const VitroTensorSource *t = &tensors[i];
        snprintf(name, sizeof(name), "data/%lld", (long long)i);
        VITRO_TRY(add(w, name, t->data, (size_t)element_count(t) * vitro_dtype_size(t->dtype)));
    }
    return VITRO_OK;
}

/* In the order of caffe2/serialize/inline_container.cc. */
static VitroStatus add_all(Writer *w, const VitroTensorSource *tensors, int64_t count,
                           const char *metadata)
{
    char id[64];
    VITRO_TRY(add_state(w, tensors, count));
    VITRO_TRY(add_text(w, ".format_version", "1"));
    VITRO_TRY(add_text(w, ".storage_alignment", "64"));
    VITRO_TRY(add_text(w, "byteorder", "little"));
    if (metadata)
        VITRO_TRY(add_text(w, "vitro.json", metadata));
    VITRO_TRY(add_storages(w, tensors, count));
    VITRO_TRY(add_text(w, "version", "3\n"));
    snprintf(id, sizeof(id), "%020llu%020llu", (unsigned long long)w->names_hash,
             (unsigned long long)w->data_hash);
    VITRO_TRY(add_text(w, ".data/serialization_id", id));
    return vitro_zip_writer_finish(&w->zip);
}

/* The file's name without its directory and last extension, as PyTorch names the folder. */
static char *folder_of(const char *path)
{
    const char *name = vitro_path_name(path), *dot = strrchr(name, '.');
    size_t n = dot ? (size_t)(dot - name) : strlen(name);
    return n ? vitro_strndup(name, n) : vitro_strdup("archive");
}

VitroStatus vitro_torch_write(VitroReplace *file, const char *path,
                              const VitroTensorSource *tensors, int64_t count, const char *metadata)
{
    Writer w = {.names_hash = 0xcbf29ce484222325u, .data_hash = 0xcbf29ce484222325u};
    w.folder = folder_of(path);
    if (!w.folder)
        return VITRO_NOMEM;
    vitro_zip_writer_init(&w.zip, file);
    VitroStatus st = add_all(&w, tensors, count, metadata);
    vitro_zip_writer_deinit(&w.zip);
    vitro_free(w.folder);
    return st;
}
