/* SPDX-License-Identifier: Apache-2.0 */
/* PyTorch files: the zip form of torch.save (since 1.6), and which form a file has. Records are
 * <folder>/data.pkl and <folder>/data/<key>; caffe2/serialize/inline_container.cc takes the folder
 * from the first directory entry, and so do we. Ours add <folder>/vitro.json. */
#include "base/alloc.h"
#include "ckpt/torch_state.h"

#include <string.h>

#define MAX_PICKLE   ((size_t)64 << 20) /* bytes; 60 KB for the largest ViTs */
#define MAX_METADATA ((size_t)16 << 20)
#define MAX_SMALL    4096 /* bytes of a record whose check costs nothing */
#define MAX_VERSION  10   /* inline_container.h: kMaxSupportedFileFormatVersion */

typedef struct Archive {
    VitroZip *zip;
    const char *folder; /* not NUL-terminated */
    size_t folder_size;
} Archive;

/* -1 where there is none. `name` may hold any bytes. */
static VitroStatus find_record(const Archive *a, int64_t *out, const char *dir, const char *name,
                               size_t name_size)
{
    VitroBuf path;
    vitro_buf_init(&path, 1 << 20);
    vitro_buf_append(&path, a->folder, a->folder_size);
    vitro_buf_printf(&path, "/%s", dir);
    VitroStatus st = vitro_buf_append(&path, name, name_size);
    if (st == VITRO_OK)
        *out = vitro_zip_find(a->zip, (const char *)path.data, path.len);
    vitro_buf_deinit(&path);
    return st;
}

/* A small record, checked; *data is NULL where there is none. */
static VitroStatus read_record(const Archive *a, const uint8_t **data, size_t *size,
                               const char *name, size_t max)
{
    int64_t i = -1;
    *data = NULL;
    *size = 0;
    VITRO_TRY(find_record(a, &i, "", name, strlen(name)));
    if (i < 0)
        return VITRO_OK;
    *size = a->zip->entry[i].size;
    if (*size > max)
        return vitro_fail(VITRO_E_FORMAT, "record \"%s\" has %zu bytes, at most %zu are read", name,
                          *size, max);
    VITRO_TRY(vitro_zip_bytes(a->zip, i, data));
    return vitro_zip_verify(a->zip, i);
}

static VitroStatus find_storage(void *context, VitroTorchStorage *out,
                                const VitroTorchStorageId *id)
{
    const Archive *a = context;
    VITRO_TRY(find_record(a, &out->record, "data/", id->key, id->key_size));
    if (out->record < 0)
        return vitro_fail(VITRO_E_FORMAT, "its storage, record \"data/%.*s\", is not in the file",
                          id->key_size > 40 ? 40 : (int)id->key_size, id->key);
    out->size = a->zip->entry[out->record].size;
    return vitro_zip_bytes(a->zip, out->record, &out->data);
}

static VitroStatus find_folder(Archive *a)
{
    const VitroZipEntry *first = a->zip->entry;
    const char *slash = a->zip->count ? memchr(first->name, '/', first->name_size) : NULL;
    if (slash) {
        a->folder = first->name;
        a->folder_size = (size_t)(slash - first->name);
        return VITRO_OK;
    }
    return vitro_fail(VITRO_E_FORMAT, "is a zip archive, but not of PyTorch: no data.pkl");
}

/* The records that say how to read the others. Files of PyTorch 1.6 to 1.13 have no byteorder. */
static VitroStatus check_form(const Archive *a)
{
    const uint8_t *text;
    size_t size;
    VITRO_TRY(read_record(a, &text, &size, "byteorder", 64));
    if (text && (size != 6 || memcmp(text, "little", 6) != 0))
        return vitro_fail(VITRO_E_UNSUPPORTED, "its byte order is \"%.*s\", not little", (int)size,
                          (const char *)text);
    VITRO_TRY(read_record(a, &text, &size, "version", 64));
    int version = 0;
    for (size_t i = 0; i < size && text[i] >= '0' && text[i] <= '9' && version < 1000; i++)
        version = version * 10 + (text[i] - '0');
    if (text && (version < 1 || version > MAX_VERSION))
        return vitro_fail(VITRO_E_UNSUPPORTED, "its format version is %d, 1 to %d are read",
                          version, MAX_VERSION);
    return VITRO_OK;
}

static VitroStatus read_metadata(VitroCheckpoint *ckpt, const Archive *a)
{
    const uint8_t *text;
    size_t size;
    VITRO_TRY(read_record(a, &text, &size, "vitro.json", MAX_METADATA));
    if (!text)
        return VITRO_OK;
    if (!vitro_ckpt_is_utf8((const char *)text, size))
        return vitro_fail(VITRO_E_FORMAT, "record \"vitro.json\" is not UTF-8 text");
    ckpt->metadata = vitro_strndup((const char *)text, size);
    return ckpt->metadata ? VITRO_OK : VITRO_NOMEM;
}

static bool is_storage(const Archive *a, const VitroZipEntry *e)
{
    static const char dir[] = "/data/";
    return e->name_size > a->folder_size + strlen(dir) &&
           memcmp(e->name + a->folder_size, dir, strlen(dir)) == 0;
}

/* Storages are checked when they are read. Of the other records some (.format_version, the
 * serialization id) are never read: a wrong check sum there tells of damage all the same. */
static VitroStatus check_small_records(const Archive *a)
{
    const uint8_t *data;
    for (size_t i = 0; i < a->zip->count; i++) {
        const VitroZipEntry *e = &a->zip->entry[i];
        if (e->size > MAX_SMALL || is_storage(a, e))
            continue;
        VITRO_TRY(vitro_zip_bytes(a->zip, (int64_t)i, &data));
        VITRO_TRY(vitro_zip_verify(a->zip, (int64_t)i));
    }
    return VITRO_OK;
}

static VitroStatus open_zip(VitroCheckpoint *ckpt)
{
    Archive a = {.zip = &ckpt->zip};
    const uint8_t *data;
    size_t size;
    VitroPickle pickle;
    VITRO_TRY(vitro_zip_open(&ckpt->zip, ckpt->map.data, ckpt->map.size));
    VITRO_TRY(find_folder(&a));
    VITRO_TRY(check_small_records(&a));
    VITRO_TRY(read_record(&a, &data, &size, "data.pkl", MAX_PICKLE));
    if (!data)
        return vitro_fail(VITRO_E_FORMAT, "is a zip archive, but not of PyTorch: no data.pkl");
    VITRO_TRY(check_form(&a));
    VITRO_TRY(read_metadata(ckpt, &a));
    VITRO_TRY(vitro_pickle_parse(&pickle, data, size));
    VitroStatus st = vitro_torch_read_state(ckpt, pickle.root, find_storage, &a);
    vitro_pickle_free(&pickle);
    return st;
}

static bool sniff(const uint8_t *data, size_t size)
{
    return vitro_zip_sniff(data, size) || vitro_torch_legacy_sniff(data, size);
}

static VitroStatus open_torch(VitroCheckpoint *ckpt)
{
    return vitro_zip_sniff(ckpt->map.data, ckpt->map.size) ? open_zip(ckpt)
                                                           : vitro_torch_legacy_open(ckpt);
}

const VitroCkptFormat vitro_ckpt_torch = {
    .name = "pth", .sniff = sniff, .open = open_torch, .write = vitro_torch_write};
