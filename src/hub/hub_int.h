/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share. */
#ifndef VITRO_HUB_HUB_INT_H
#define VITRO_HUB_HUB_INT_H

#include "base/sha256.h"
#include "vitro/hub.h"

/* ---- name.c: names and places ---------------------------------------------------------------- */

enum { VITRO_HUB_PART = 100 }; /* bytes of owner, name and revision, each with its NUL */

typedef struct VitroHubName {
    char owner[VITRO_HUB_PART], name[VITRO_HUB_PART];
    char revision[VITRO_HUB_PART]; /* "main" where none is given */
} VitroHubName;

/* VITRO_E_ARG: no such name. What is accepted is safe as a part of a path and of an address. */
VitroStatus vitro_hub_parse(VitroHubName *out, const char *text);
/* <cache>/<owner>/<name>@<revision>; vitro_free it. */
VitroStatus vitro_hub_dir(char **out, const VitroHubName *name);

/* ---- index.c: what the hub says of a revision, and what the cache says of a folder ------------
 */

typedef struct VitroHubFile {
    char name[64];
    int64_t size;
    char sha256[VITRO_SHA256_HEX]; /* "": not stated */
} VitroHubFile;

enum { VITRO_HUB_FILES = 512 };

typedef struct VitroHubIndex {
    char commit[41];
    int count;
    VitroHubFile file[VITRO_HUB_FILES]; /* those that a pull could want, no others */
    char others[200];                   /* names of some of the others, for the error text */
} VitroHubIndex;

/* From the answer of the hub's API. VITRO_E_FORMAT: it is none. */
VitroStatus vitro_hub_index_parse(VitroHubIndex *out, const char *text, size_t size);
const VitroHubFile *vitro_hub_index_find(const VitroHubIndex *index, const char *name);
/* A name that a file of weights, or a part of it, may have: no other is fetched. */
bool vitro_hub_is_weights(const char *name);
/* The shards that the JSON of an index file names, without repetition, as indices into `index`.
 * VITRO_E_FORMAT. */
VitroStatus vitro_hub_shards(int out[VITRO_HUB_FILES], int *count, const VitroHubIndex *index,
                             const char *text, size_t size);

#define VITRO_HUB_RECORD "source.json" /* written last: a folder with it is whole */

/* The record of a folder: commit, name, and the weight file's name. */
VitroStatus vitro_hub_write_record(const char *dir, const VitroHubName *name, const char *commit,
                                   const char *weights);
typedef struct VitroHubRecord {
    char commit[41];
    char weights[64];
} VitroHubRecord;
/* VITRO_E_IO: there is none; VITRO_E_FORMAT: it is damaged. */
VitroStatus vitro_hub_read_record(VitroHubRecord *out, const char *dir);

/* ---- shards.c -------------------------------------------------------------------------------- */

/* Writes the tensors of all `paths` as one .safetensors file. */
VitroStatus vitro_hub_join(const char *out, const char *const *paths, int count);

#endif
