/* SPDX-License-Identifier: Apache-2.0 */
/* Reading of zip archives. Section numbers are those of PKWARE's APPNOTE.TXT 6.3. */
#include "ckpt/zip.h"

#include "base/alloc.h"
#include "base/crc32.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    LOCAL_SIG = 0x04034b50,     /* 4.3.7 */
    CENTRAL_SIG = 0x02014b50,   /* 4.3.12 */
    END64_SIG = 0x06064b50,     /* 4.3.14 */
    LOCATOR64_SIG = 0x07064b50, /* 4.3.15 */
    END_SIG = 0x06054b50,       /* 4.3.16 */
    LOCAL_SIZE = 30,
    CENTRAL_SIZE = 46,
    END64_SIZE = 56,
    LOCATOR64_SIZE = 20,
    END_SIZE = 22,
    FLAG_ENCRYPTED = 1 << 0,
    FLAG_DESCRIPTOR = 1 << 3 /* sizes and CRC follow the data; the local header has none */
};

/* What all compressed records together may hold. Weights compress badly; all zeros are a bomb. */
#define MAX_INFLATION 16 /* times the file */
#define SLACK         ((size_t)64 << 20)

#define MAX_COUNT         (1 << 24)
#define DEFLATE_MAX_RATIO 1032 /* 258 bytes from 2 bits: zlib's "Maximum Compression Factor" */

static uint32_t u16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32(const uint8_t *p)
{
    return u16(p) | u16(p + 2) << 16;
}

static uint64_t u64(const uint8_t *p)
{
    return u32(p) | (uint64_t)u32(p + 4) << 32;
}

/* Where the central directory lies. */
typedef struct Directory {
    uint64_t at, size, count;
    uint64_t limit; /* the records that describe it begin here */
} Directory;

/* ---- finding the directory ------------------------------------------------------------------- */

/* The end record is last in the file, but for a comment of up to 64 KiB. */
static VitroStatus find_end(const uint8_t *data, size_t size, size_t *out)
{
    size_t lowest = size > END_SIZE + 0xffff ? size - END_SIZE - 0xffff : 0;
    for (size_t at = size >= END_SIZE ? size - END_SIZE : 0; size >= END_SIZE; at--) {
        if (u32(data + at) == END_SIG && u16(data + at + 20) == size - at - END_SIZE) {
            *out = at;
            return VITRO_OK;
        }
        if (at == lowest)
            break;
    }
    return vitro_fail(VITRO_E_FORMAT, "zip: no directory at the end: the file is truncated or "
                                      "something follows it");
}

/* A zip64 end record supersedes the plain one, whose fields it finds saturated or equal. */
static VitroStatus read_end64(Directory *d, const uint8_t *data, size_t end)
{
    if (end < LOCATOR64_SIZE || u32(data + end - LOCATOR64_SIZE) != LOCATOR64_SIG)
        return VITRO_OK;
    size_t locator = end - LOCATOR64_SIZE;
    uint64_t at = u64(data + locator + 8);
    if (locator < END64_SIZE || at > locator - END64_SIZE || u32(data + at) != END64_SIG)
        return vitro_fail(VITRO_E_FORMAT, "zip: no zip64 end record at offset %llu",
                          (unsigned long long)at);
    const uint8_t *p = data + at;
    Directory big = {.at = u64(p + 48), .size = u64(p + 40), .count = u64(p + 32), .limit = at};
    if ((d->count != 0xffff && d->count != big.count) ||
        (d->size != 0xffffffff && d->size != big.size) || (d->at != 0xffffffff && d->at != big.at))
        return vitro_fail(VITRO_E_FORMAT, "zip: the end record and the zip64 end record differ");
    *d = big;
    return VITRO_OK;
}

static VitroStatus find_directory(Directory *d, const uint8_t *data, size_t size)
{
    size_t end;
    VITRO_TRY(find_end(data, size, &end));
    const uint8_t *p = data + end;
    if (u16(p + 4) != u16(p + 6) || u16(p + 8) != u16(p + 10))
        return vitro_fail(VITRO_E_UNSUPPORTED, "zip: archives of several parts are not supported");
    *d = (Directory){.at = u32(p + 16), .size = u32(p + 12), .count = u16(p + 10), .limit = end};
    VITRO_TRY(read_end64(d, data, end));
    if (d->size > d->limit || d->at > d->limit - d->size || d->count > d->size / CENTRAL_SIZE)
        return vitro_fail(VITRO_E_FORMAT,
                          "zip: a directory of %llu records in %llu bytes at offset %llu does not "
                          "fit before offset %llu",
                          (unsigned long long)d->count, (unsigned long long)d->size,
                          (unsigned long long)d->at, (unsigned long long)d->limit);
    return VITRO_OK;
}

/* ---- reading the directory ------------------------------------------------------------------- */

typedef struct Fields {
    uint64_t packed_size, size, header_at;
} Fields;

/* 4.5.3: the zip64 extra field holds those of the three that are saturated, in this order. */
static VitroStatus read_extra64(Fields *f, const uint8_t *extra, size_t extra_size)
{
    uint64_t *want[3], value;
    int n = 0;
    if (f->size == 0xffffffff)
        want[n++] = &f->size;
    if (f->packed_size == 0xffffffff)
        want[n++] = &f->packed_size;
    if (f->header_at == 0xffffffff)
        want[n++] = &f->header_at;
    for (size_t at = 0; n && extra_size - at >= 4;) {
        uint32_t id = u16(extra + at), size = u16(extra + at + 2);
        at += 4;
        if (size > extra_size - at)
            break;
        if (id == 1) {
            if (size < 8u * (unsigned)n)
                break;
            for (int i = 0; i < n; i++) {
                value = u64(extra + at + 8 * (size_t)i);
                *want[i] = value;
            }
            return VITRO_OK;
        }
        at += size;
    }
    /* Saturated without the field: 4 GiB - 1 is then the value itself, and must fit the file. */
    return VITRO_OK;
}

/* The local header repeats the name, and must: a directory that points elsewhere is damaged. */
static VitroStatus check_local(VitroZipEntry *e, const uint8_t *data, uint64_t limit)
{
    int len = e->name_size > 100 ? 100 : (int)e->name_size;
    if (limit < LOCAL_SIZE || e->header_at > limit - LOCAL_SIZE ||
        u32(data + e->header_at) != LOCAL_SIG)
        return vitro_fail(VITRO_E_FORMAT, "zip: record \"%.*s\": no header at offset %zu", len,
                          e->name, e->header_at);
    const uint8_t *p = data + e->header_at;
    uint64_t at = e->header_at + LOCAL_SIZE;
    size_t name_size = u16(p + 26), extra_size = u16(p + 28);
    if (name_size + extra_size > limit - at || e->packed_size > limit - at - name_size - extra_size)
        return vitro_fail(VITRO_E_FORMAT,
                          "zip: record \"%.*s\" of %zu bytes at offset %zu "
                          "reaches beyond offset %llu",
                          len, e->name, e->packed_size, e->header_at, (unsigned long long)limit);
    bool agrees = name_size == e->name_size && memcmp(p + LOCAL_SIZE, e->name, name_size) == 0 &&
                  u16(p + 8) == (e->deflated ? 8 : 0) && !(u16(p + 6) & FLAG_ENCRYPTED);
    if (!(u16(p + 6) & FLAG_DESCRIPTOR))
        agrees = agrees && u32(p + 14) == e->crc &&
                 (u32(p + 18) == 0xffffffff || u32(p + 18) == e->packed_size) &&
                 (u32(p + 22) == 0xffffffff || u32(p + 22) == e->size);
    if (!agrees)
        return vitro_fail(VITRO_E_FORMAT,
                          "zip: record \"%.*s\": its header and the directory differ", len,
                          e->name);
    e->packed_at = (size_t)at + name_size + extra_size;
    return VITRO_OK;
}

/* One entry at offset *at of the directory; moves *at behind it. */
static VitroStatus read_entry(VitroZipEntry *e, const uint8_t *data, const Directory *d,
                              uint64_t *at)
{
    uint64_t end = d->at + d->size;
    const uint8_t *p = data + *at;
    if (end - *at < CENTRAL_SIZE || u32(p) != CENTRAL_SIG)
        return vitro_fail(VITRO_E_FORMAT, "zip: no directory entry at offset %llu",
                          (unsigned long long)*at);
    uint32_t flags = u16(p + 8), method = u16(p + 10);
    size_t name_size = u16(p + 28), extra_size = u16(p + 30), comment_size = u16(p + 32);
    if (name_size + extra_size + comment_size > end - *at - CENTRAL_SIZE)
        return vitro_fail(VITRO_E_FORMAT, "zip: the directory entry at offset %llu is cut off",
                          (unsigned long long)*at);
    Fields f = {.packed_size = u32(p + 20), .size = u32(p + 24), .header_at = u32(p + 42)};
    VITRO_TRY(read_extra64(&f, p + CENTRAL_SIZE + name_size, extra_size));
    *e = (VitroZipEntry){.name = (const char *)p + CENTRAL_SIZE,
                         .name_size = name_size,
                         .packed_size = (size_t)f.packed_size,
                         .size = (size_t)f.size,
                         .header_at = (size_t)f.header_at,
                         .crc = u32(p + 16),
                         .deflated = method == 8};
    int len = name_size > 100 ? 100 : (int)name_size;
    if (flags & FLAG_ENCRYPTED)
        return vitro_fail(VITRO_E_UNSUPPORTED, "zip: record \"%.*s\" is encrypted", len, e->name);
    if (method != 0 && method != 8)
        return vitro_fail(VITRO_E_UNSUPPORTED, "zip: record \"%.*s\" has compression method %u",
                          len, e->name, (unsigned)method);
    if (method == 0 && f.packed_size != f.size)
        return vitro_fail(VITRO_E_FORMAT,
                          "zip: record \"%.*s\" is stored, but %llu bytes became %llu", len,
                          e->name, (unsigned long long)f.size, (unsigned long long)f.packed_size);
    *at += CENTRAL_SIZE + name_size + extra_size + comment_size;
    return check_local(e, data, d->at);
}

/* ---- order ----------------------------------------------------------------------------------- */

static int compare_names(const VitroZipEntry *a, const char *name, size_t name_size)
{
    size_t n = a->name_size < name_size ? a->name_size : name_size;
    int c = memcmp(a->name, name, n);
    return c ? c : (a->name_size > name_size) - (a->name_size < name_size);
}

static int by_name(const void *a, const void *b, void *entries)
{
    const VitroZipEntry *e = entries, *y = &e[*(const uint32_t *)b];
    return compare_names(&e[*(const uint32_t *)a], y->name, y->name_size);
}

static int by_offset(const void *a, const void *b, void *entries)
{
    const VitroZipEntry *e = entries;
    size_t x = e[*(const uint32_t *)a].header_at, y = e[*(const uint32_t *)b].header_at;
    return (x > y) - (x < y);
}

/* Records that overlap are the stuff of zip bombs; two of one name mean two things to two readers.
 */
static VitroStatus check_order(VitroZip *zip)
{
    uint32_t *order = zip->by_name;
    VitroZipEntry *e = zip->entry;
    qsort_r(order, zip->count, sizeof(*order), by_offset, e);
    for (size_t i = 1; i < zip->count; i++) {
        const VitroZipEntry *a = &e[order[i - 1]], *b = &e[order[i]];
        if (a->packed_at + a->packed_size > b->header_at)
            return vitro_fail(VITRO_E_FORMAT, "zip: records overlap at offset %zu", b->header_at);
    }
    qsort_r(order, zip->count, sizeof(*order), by_name, e);
    for (size_t i = 1; i < zip->count; i++)
        if (by_name(&order[i - 1], &order[i], e) == 0)
            return vitro_fail(VITRO_E_FORMAT, "zip: two records are named \"%.*s\"",
                              e[order[i]].name_size > 100 ? 100 : (int)e[order[i]].name_size,
                              e[order[i]].name);
    return VITRO_OK;
}

/* ---- the archive ----------------------------------------------------------------------------- */

bool vitro_zip_sniff(const uint8_t *data, size_t size)
{
    return size >= 4 && u32(data) == LOCAL_SIG;
}

static VitroStatus read_all(VitroZip *zip, const Directory *d)
{
    if (d->count > MAX_COUNT)
        return vitro_fail(VITRO_E_UNSUPPORTED, "zip: %llu records, at most %d are supported",
                          (unsigned long long)d->count, MAX_COUNT);
    size_t count = (size_t)d->count;
    zip->entry = vitro_calloc(count, sizeof(*zip->entry));
    zip->by_name = vitro_calloc(count, sizeof(*zip->by_name));
    zip->verified = vitro_calloc(count, sizeof(*zip->verified));
    if (!zip->entry || !zip->by_name || !zip->verified)
        return VITRO_NOMEM;
    uint64_t at = d->at;
    for (size_t i = 0; i < count; i++) {
        VITRO_TRY(read_entry(&zip->entry[i], zip->data, d, &at));
        zip->by_name[i] = (uint32_t)i;
        zip->count++;
    }
    if (at != d->at + d->size)
        return vitro_fail(VITRO_E_FORMAT, "zip: the directory has %llu bytes too many",
                          (unsigned long long)(d->at + d->size - at));
    return check_order(zip);
}

VitroStatus vitro_zip_open(VitroZip *zip, const uint8_t *data, size_t size)
{
    Directory d;
    *zip = (VitroZip){.data = data, .inflate_left = SLACK + MAX_INFLATION * size};
    VITRO_TRY(find_directory(&d, data, size));
    VitroStatus st = read_all(zip, &d);
    if (st != VITRO_OK)
        vitro_zip_close(zip);
    return st;
}

void vitro_zip_close(VitroZip *zip)
{
    for (size_t i = 0; i < zip->count; i++)
        vitro_free(zip->entry[i].inflated);
    vitro_free(zip->entry);
    vitro_free(zip->by_name);
    vitro_free((void *)zip->verified);
    *zip = (VitroZip){0};
}

int64_t vitro_zip_find(const VitroZip *zip, const char *name, size_t name_size)
{
    size_t lo = 0, hi = zip->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = compare_names(&zip->entry[zip->by_name[mid]], name, name_size);
        if (c == 0)
            return zip->by_name[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return -1;
}

/* Into a block of the claimed size, which DEFLATE's best ratio must make possible. */
static VitroStatus inflate_entry(VitroZip *zip, VitroZipEntry *e)
{
    int len = e->name_size > 100 ? 100 : (int)e->name_size;
    if (e->size / DEFLATE_MAX_RATIO > e->packed_size)
        return vitro_fail(VITRO_E_FORMAT,
                          "zip: record \"%.*s\": %zu bytes cannot come from %zu compressed ones",
                          len, e->name, e->size, e->packed_size);
    if (e->size > UINT32_MAX || e->packed_size > UINT32_MAX)
        return vitro_fail(VITRO_E_UNSUPPORTED,
                          "zip: record \"%.*s\" is compressed and beyond 4 GiB", len, e->name);
    if (e->size > zip->inflate_left)
        return vitro_fail(VITRO_E_FORMAT,
                          "zip: compressed records hold more than %d times the file",
                          MAX_INFLATION);
    uint8_t *out = vitro_malloc_aligned(e->size);
    if (!out)
        return VITRO_NOMEM;
    z_stream z = {.next_in = (Bytef *)zip->data + e->packed_at,
                  .avail_in = (uInt)e->packed_size,
                  .next_out = out,
                  .avail_out = (uInt)e->size};
    int rc = inflateInit2(&z, -MAX_WBITS); /* negative: no zlib header */
    if (rc == Z_OK) {
        rc = inflate(&z, Z_FINISH);
        inflateEnd(&z);
    }
    if (rc == Z_STREAM_END && z.avail_out == 0 && z.avail_in == 0) {
        e->inflated = out;
        zip->inflate_left -= e->size;
        return VITRO_OK;
    }
    vitro_free(out);
    if (rc == Z_MEM_ERROR)
        return vitro_fail(VITRO_E_NOMEM, "zip: no memory to inflate a record");
    return vitro_fail(VITRO_E_FORMAT, "zip: record \"%.*s\": its compressed data are damaged", len,
                      e->name);
}

VitroStatus vitro_zip_bytes(VitroZip *zip, int64_t i, const uint8_t **out)
{
    VitroZipEntry *e = &zip->entry[i];
    if (e->deflated && !e->inflated)
        VITRO_TRY(inflate_entry(zip, e));
    *out = e->deflated ? e->inflated : zip->data + e->packed_at;
    return VITRO_OK;
}

/* Two threads may both compute the first time; they write the same. */
VitroStatus vitro_zip_verify(const VitroZip *zip, int64_t i)
{
    const VitroZipEntry *e = &zip->entry[i];
    if (zip->verified[i])
        return VITRO_OK;
    const uint8_t *bytes = e->deflated ? e->inflated : zip->data + e->packed_at;
    uint32_t crc = vitro_crc32(0, bytes, e->size);
    if (crc != e->crc)
        return vitro_fail(
            VITRO_E_FORMAT,
            "zip: record \"%.*s\": its checksum is %08x, the directory says %08x: the "
            "data are damaged",
            e->name_size > 100 ? 100 : (int)e->name_size, e->name, (unsigned)crc, (unsigned)e->crc);
    zip->verified[i] = 1;
    return VITRO_OK;
}
