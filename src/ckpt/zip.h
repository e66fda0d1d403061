/* SPDX-License-Identifier: Apache-2.0 */
/* Zip archives over a mapped file, as far as PyTorch's need: STORED records are views of the map,
 * DEFLATE is inflated on request, sizes beyond 4 GiB by zip64. Sizes and offsets come from the
 * central directory alone (a data descriptor is never needed). Names are only ever compared:
 * they never become paths on a disk. It must not know what the records hold. */
#ifndef VITRO_CKPT_ZIP_H
#define VITRO_CKPT_ZIP_H

#include "base/fs.h"

typedef struct VitroZipEntry {
    const char *name; /* a view of the map; not NUL-terminated */
    size_t name_size;
    size_t header_at;   /* offset of its local header */
    size_t packed_at;   /* offset of its bytes in the file */
    size_t packed_size; /* equals `size` where STORED */
    size_t size;
    uint32_t crc;
    bool deflated;
    uint8_t *inflated; /* NULL until asked for */
} VitroZipEntry;

typedef struct VitroZip {
    const uint8_t *data;  /* the file; borrowed */
    size_t inflate_left;  /* bytes that may still be inflated */
    VitroZipEntry *entry; /* in the order of the central directory */
    size_t count;
    uint32_t *by_name;               /* entry numbers, sorted by name */
    _Atomic unsigned char *verified; /* per entry: its CRC was computed and is right */
} VitroZip;

bool vitro_zip_sniff(const uint8_t *data, size_t size);

/* Reads the directory and checks that it, the local headers and each other agree, that the records
 * lie inside the file and do not overlap. `data` must outlive `zip`. On failure nothing is held.
 * Errors: VITRO_E_FORMAT, _UNSUPPORTED (encryption, other compressions), _NOMEM. */
VitroStatus vitro_zip_open(VitroZip *zip, const uint8_t *data, size_t size);
void vitro_zip_close(VitroZip *zip); /* a zeroed VitroZip is fine */

/* The entry's number, or -1. */
int64_t vitro_zip_find(const VitroZip *zip, const char *name, size_t name_size);

/* The record's bytes, entry.size of them; valid until close. A deflated one is inflated by the
 * first call, so that call must be the opening thread's. */
VitroStatus vitro_zip_bytes(VitroZip *zip, int64_t i, const uint8_t **out);

/* Compares the record with its checksum; only the first call costs. Several threads may call. The
 * record must be STORED or have been inflated. */
VitroStatus vitro_zip_verify(const VitroZip *zip, int64_t i);

/* ---- writing -----------------------------------------------------------------------------------
 */

/* Writes STORED records whose data start at multiples of 64 bytes, with a fixed date: the archive
 * is a function of names and contents. */
typedef struct VitroZipWriter {
    VitroReplace *file; /* borrowed; must be at offset 0 when the writer starts */
    VitroBuf directory;
    uint64_t count;
} VitroZipWriter;

void vitro_zip_writer_init(VitroZipWriter *w, VitroReplace *file);
/* *crc, if not NULL, is the record's checksum. */
VitroStatus vitro_zip_writer_add(VitroZipWriter *w, const char *name, const void *data, size_t size,
                                 uint32_t *crc);
/* A record of `head` and `data`, one behind the other. */
VitroStatus vitro_zip_writer_add_two(VitroZipWriter *w, const char *name, const void *head,
                                     size_t head_size, const void *data, size_t size,
                                     uint32_t *crc);
VitroStatus vitro_zip_writer_finish(VitroZipWriter *w);
void vitro_zip_writer_deinit(VitroZipWriter *w);

#endif
