/* SPDX-License-Identifier: Apache-2.0 */
/* Writing of zip archives: each record is stored, behind a local header that is padded until the
 * data start at a multiple of 64 bytes, as PyTorch's own writer does (caffe2/serialize/
 * inline_container.cc): an extra field 'FB' full of 'Z'. */
#include "ckpt/zip.h"

#include "base/crc32.h"

#include <string.h>

enum {
    ALIGNMENT = 64,
    LOCAL_SIZE = 30,
    EXTRA64_SIZE = 20, /* both sizes */
    FLAG_UTF8 = 1 << 11,
    DATE = 1 << 5 | 1, /* 1 January 1980: the first day of DOS time */
    MAX_DIRECTORY = 1 << 30
};

typedef struct Bytes {
    uint8_t data[LOCAL_SIZE + 2 * ALIGNMENT + EXTRA64_SIZE];
    size_t size;
} Bytes;

static void put(Bytes *b, uint64_t value, int width)
{
    for (int i = 0; i < width; i++)
        b->data[b->size++] = (uint8_t)(value >> 8 * i);
}

static uint64_t clip32(uint64_t value)
{
    return value < 0xffffffff ? value : 0xffffffff;
}

/* What the local header and the directory entry share: version to extract ... name size. */
static void put_common(Bytes *b, uint32_t crc, uint64_t size, size_t name_size)
{
    put(b, size < 0xffffffff ? 20 : 45, 2); /* 4.4.3: 4.5 knows zip64 */
    put(b, FLAG_UTF8, 2);
    put(b, 0, 2); /* stored */
    put(b, 0, 2); /* time */
    put(b, DATE, 2);
    put(b, crc, 4);
    put(b, clip32(size), 4);
    put(b, clip32(size), 4);
    put(b, name_size, 2);
}

static VitroStatus write_local(VitroZipWriter *w, const char *name, uint32_t crc, uint64_t size)
{
    Bytes b = {.size = 0};
    size_t name_size = strlen(name), extra64 = size < 0xffffffff ? 0 : EXTRA64_SIZE;
    uint64_t unpadded = w->file->written + LOCAL_SIZE + name_size + extra64 + 4;
    size_t padding = (size_t)((ALIGNMENT - unpadded % ALIGNMENT) % ALIGNMENT);
    put(&b, 0x04034b50, 4);
    put_common(&b, crc, size, name_size);
    put(&b, extra64 + 4 + padding, 2);
    VITRO_TRY(vitro_replace_write(w->file, b.data, b.size));
    VITRO_TRY(vitro_replace_write(w->file, name, name_size));
    b.size = 0;
    if (extra64) {
        put(&b, 1, 2);
        put(&b, 16, 2);
        put(&b, size, 8);
        put(&b, size, 8);
    }
    put(&b, 'F' | 'B' << 8, 2);
    put(&b, padding, 2);
    memset(b.data + b.size, 'Z', padding);
    return vitro_replace_write(w->file, b.data, b.size + padding);
}

static VitroStatus note_entry(VitroZipWriter *w, const char *name, uint32_t crc, uint64_t size,
                              uint64_t at)
{
    Bytes b = {.size = 0};
    size_t name_size = strlen(name);
    size_t extra = (size < 0xffffffff ? 0 : 16) + (at < 0xffffffff ? 0 : 8);
    put(&b, 0x02014b50, 4);
    put(&b, extra ? 45 : 20, 2);
    put_common(&b, crc, size, name_size);
    put(&b, extra ? extra + 4 : 0, 2);
    put(&b, 0, 2 + 2); /* comment, part */
    put(&b, 0, 2 + 4); /* attributes */
    put(&b, clip32(at), 4);
    vitro_buf_append(&w->directory, b.data, b.size);
    vitro_buf_append(&w->directory, name, name_size);
    b.size = 0;
    if (extra) {
        put(&b, 1, 2);
        put(&b, extra, 2);
        if (size >= 0xffffffff) {
            put(&b, size, 8);
            put(&b, size, 8);
        }
        if (at >= 0xffffffff)
            put(&b, at, 8);
    }
    return vitro_buf_append(&w->directory, b.data, b.size);
}

void vitro_zip_writer_init(VitroZipWriter *w, VitroReplace *file)
{
    *w = (VitroZipWriter){.file = file};
    vitro_buf_init(&w->directory, MAX_DIRECTORY);
}

VitroStatus vitro_zip_writer_add_two(VitroZipWriter *w, const char *name, const void *head,
                                     size_t head_size, const void *data, size_t size,
                                     uint32_t *crc_out)
{
    if (strlen(name) > 0xffff)
        return vitro_fail(VITRO_E_ARG, "zip: a record's name of %zu bytes, at most 65535 fit",
                          strlen(name));
    uint64_t at = w->file->written;
    uint32_t crc = vitro_crc32(vitro_crc32(0, head, head_size), data, size);
    VITRO_TRY(write_local(w, name, crc, (uint64_t)head_size + size));
    VITRO_TRY(vitro_replace_write(w->file, head, head_size));
    VITRO_TRY(vitro_replace_write(w->file, data, size));
    VITRO_TRY(note_entry(w, name, crc, (uint64_t)head_size + size, at));
    w->count++;
    if (crc_out)
        *crc_out = crc;
    return VITRO_OK;
}

VitroStatus vitro_zip_writer_add(VitroZipWriter *w, const char *name, const void *data, size_t size,
                                 uint32_t *crc)
{
    return vitro_zip_writer_add_two(w, name, "", 0, data, size, crc);
}

VitroStatus vitro_zip_writer_finish(VitroZipWriter *w)
{
    Bytes b = {.size = 0};
    uint64_t at = w->file->written, size = w->directory.len;
    if (w->directory.status != VITRO_OK)
        return w->directory.status;
    VITRO_TRY(vitro_replace_write(w->file, w->directory.data, size));
    if (w->count >= 0xffff || size >= 0xffffffff || at >= 0xffffffff) {
        uint64_t end64 = w->file->written;
        put(&b, 0x06064b50, 4);
        put(&b, 44, 8); /* what follows */
        put(&b, 45, 2);
        put(&b, 45, 2);
        put(&b, 0, 8); /* parts */
        put(&b, w->count, 8);
        put(&b, w->count, 8);
        put(&b, size, 8);
        put(&b, at, 8);
        put(&b, 0x07064b50, 4);
        put(&b, 0, 4);
        put(&b, end64, 8);
        put(&b, 1, 4);
    }
    uint64_t count = w->count < 0xffff ? w->count : 0xffff;
    put(&b, 0x06054b50, 4);
    put(&b, 0, 4); /* parts */
    put(&b, count, 2);
    put(&b, count, 2);
    put(&b, clip32(size), 4);
    put(&b, clip32(at), 4);
    put(&b, 0, 2); /* comment */
    return vitro_replace_write(w->file, b.data, b.size);
}

void vitro_zip_writer_deinit(VitroZipWriter *w)
{
    vitro_buf_deinit(&w->directory);
}
