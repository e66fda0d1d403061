/* SPDX-License-Identifier: Apache-2.0 */
/* Files: map, read whole, replace atomically, make directories, list. Paths are byte strings. */
#ifndef VITRO_BASE_FS_H
#define VITRO_BASE_FS_H

#include "base/buf.h"

/* A read-only view of a whole file. Pages are shared with the page cache. */
typedef struct VitroMap {
    const uint8_t *data; /* never NULL once open, even for an empty file */
    size_t size;
} VitroMap;

VitroStatus vitro_map_open(VitroMap *map, const char *path); /* regular files only */
void vitro_map_close(VitroMap *map);
/* The n bytes at p will not be read soon: pages that lie wholly among them leave this process. They
 * stay in the page cache as long as the system likes, and come back when they are read. Nothing
 * where the bytes do not lie in the map. */
void vitro_map_forget(const VitroMap *map, const void *p, size_t n);

/* Appends the file's bytes to `b`, whose cap limits them. path "-" is standard input. A pipe may be
 * named too, a device not. */
VitroStatus vitro_fs_read(VitroBuf *b, const char *path);

/* A file that appears under its name whole or not at all: bytes go to a temporary file beside it,
 * "<path>.vitro-tmp", which is locked; commit syncs it, renames it over `path` and syncs the
 * directory; abort (also right after a failed write or commit; harmless after a good commit)
 * removes it. What a writer that was killed left is cleared by the next one of the same path. Two
 * writers of one path at a time: the second fails with VITRO_E_IO. */
typedef struct VitroReplace {
    int fd;                 /* -1 when closed */
    char *path, *temp_path; /* path: where a link leads to */
    uint64_t written; /* bytes so far */
} VitroReplace;

VitroStatus vitro_replace_begin(VitroReplace *r, const char *path);
VitroStatus vitro_replace_write(VitroReplace *r, const void *data, size_t n);
VitroStatus vitro_replace_pwrite(VitroReplace *r, const void *data, size_t n, uint64_t offset);
VitroStatus vitro_replace_commit(VitroReplace *r);
void vitro_replace_abort(VitroReplace *r);
/* All of it in one call. */
VitroStatus vitro_fs_replace(const char *path, const void *data, size_t n);

bool vitro_fs_is_dir(const char *path);
bool vitro_fs_is_file(const char *path);
VitroStatus vitro_fs_mkdirs(const char *path); /* as mkdir -p */
void vitro_fs_sync_dir(const char *dir);       /* its names, where the file system can */
char *vitro_path_join(const char *dir, const char *name);  /* vitro_free it; NULL: no memory */
char *vitro_path_dir(const char *path);                    /* "a/b.pth" -> "a", "b.pth" -> "." */
const char *vitro_path_name(const char *path);             /* "a/b.pth" -> "b.pth" */
bool vitro_path_has_ext(const char *path, const char *ext);  /* ".pth"; ASCII case ignored */

/* Names in a directory, without "." and "..", in byte order. Free with vitro_list_free. */
typedef struct VitroNameList {
    char **names;
    size_t count;
} VitroNameList;
VitroStatus vitro_fs_list(VitroNameList *list, const char *dir);
void vitro_list_free(VitroNameList *list);

#endif
