/* SPDX-License-Identifier: Apache-2.0 */
/* JSON of a hub and of the cache. What comes from a hub is a stranger's: only names of a known form
 * are taken from it. */
#include "base/alloc.h"
#include "base/fs.h"
#include "hub/hub_int.h"

#include <jansson.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_RECORD ((size_t)64 << 10)

static bool is_hex(const char *text, size_t digits)
{
    return text && strlen(text) == digits && strspn(text, "0123456789abcdef") == digits;
}

/* "model-00001-of-00002.safetensors", "pytorch_model-00001-of-00002.bin" */
static bool is_shard(const char *name, const char *stem, const char *extension)
{
    const size_t n = strlen(stem);
    if (strncmp(name, stem, n) != 0)
        return false;
    for (const char *p = "-00000-of-00000"; *p; p++, name++)
        if (*p == '0' ? !isdigit((unsigned char)name[n]) : name[n] != *p)
            return false;
    return strcmp(name + n, extension) == 0;
}

bool vitro_hub_is_weights(const char *name)
{
    return strcmp(name, "model.safetensors") == 0 || strcmp(name, "pytorch_model.bin") == 0 ||
           is_shard(name, "model", ".safetensors") || is_shard(name, "pytorch_model", ".bin");
}

static bool is_wanted(const char *name)
{
    static const char *const plain[] = {"config.json", "preprocessor_config.json",
                                        "model.safetensors.index.json",
                                        "pytorch_model.bin.index.json"};
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        if (strcmp(name, plain[i]) == 0)
            return true;
    return vitro_hub_is_weights(name);
}

/* ---- the hub's answer ------------------------------------------------------------------------ */

static VitroStatus take_file(VitroHubIndex *out, const json_t *row)
{
    const char *name = json_string_value(json_object_get(row, "rfilename"));
    const json_t *lfs = json_object_get(row, "lfs"), *size = json_object_get(row, "size");
    const char *sum = json_string_value(json_object_get(lfs, "sha256"));
    if (!name)
        return vitro_fail(VITRO_E_FORMAT, "a file without a name");
    if (!is_wanted(name)) {
        const size_t n = strlen(out->others), m = strlen(name);
        if (m < 60 && n + m + 3 < sizeof(out->others) && !strpbrk(name, "\r\n\t\033"))
            snprintf(out->others + n, sizeof(out->others) - n, "%s%s", n ? ", " : "", name);
        return VITRO_OK;
    }
    if (!size)
        size = json_object_get(lfs, "size");
    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return vitro_fail(VITRO_E_FORMAT, "%s: has no size", name);
    if (sum && !is_hex(sum, VITRO_SHA256_HEX - 1))
        return vitro_fail(VITRO_E_FORMAT, "%s: its SHA-256 is not 64 hexadecimal digits", name);
    if (out->count == VITRO_HUB_FILES)
        return vitro_fail(VITRO_E_FORMAT, "more than %d files of weights", VITRO_HUB_FILES);
    if (vitro_hub_index_find(out, name))
        return vitro_fail(VITRO_E_FORMAT, "two files are called %s", name);
    VitroHubFile *f = &out->file[out->count++];
    *f = (VitroHubFile){.size = json_integer_value(size)};
    snprintf(f->name, sizeof(f->name), "%s", name);
    snprintf(f->sha256, sizeof(f->sha256), "%s", sum ? sum : "");
    return VITRO_OK;
}

static VitroStatus take_index(VitroHubIndex *out, const json_t *root)
{
    const char *commit = json_string_value(json_object_get(root, "sha"));
    const json_t *files = json_object_get(root, "siblings");
    if (!is_hex(commit, 40) || !json_is_array(files))
        return vitro_fail(VITRO_E_FORMAT, "\"sha\" and \"siblings\" of a revision were expected");
    snprintf(out->commit, sizeof(out->commit), "%s", commit);
    for (size_t i = 0; i < json_array_size(files); i++)
        VITRO_TRY(take_file(out, json_array_get(files, i)));
    return VITRO_OK;
}

VitroStatus vitro_hub_index_parse(VitroHubIndex *out, const char *text, size_t size)
{
    json_error_t e;
    *out = (VitroHubIndex){.count = 0};
    json_t *root = json_loadb(text, size, 0, &e);
    if (!root)
        return vitro_fail(VITRO_E_FORMAT, "line %d, column %d: not valid JSON: %s", e.line,
                          e.column, e.text);
    VitroStatus st = take_index(out, root);
    json_decref(root);
    return st;
}

const VitroHubFile *vitro_hub_index_find(const VitroHubIndex *index, const char *name)
{
    for (int i = 0; i < index->count; i++)
        if (strcmp(index->file[i].name, name) == 0)
            return &index->file[i];
    return NULL;
}

/* ---- shards ---------------------------------------------------------------------------------- */

static VitroStatus take_shards(int out[VITRO_HUB_FILES], int *count, const VitroHubIndex *index,
                               json_t *map)
{
    const char *tensor;
    json_t *value;
    if (!json_is_object(map) || !json_object_size(map))
        return vitro_fail(VITRO_E_FORMAT, "a \"weight_map\" was expected");
    json_object_foreach(map, tensor, value)
    {
        const char *name = json_string_value(value);
        const VitroHubFile *f =
            name && vitro_hub_is_weights(name) ? vitro_hub_index_find(index, name) : NULL;
        if (!f)
            return vitro_fail(VITRO_E_FORMAT,
                              "its tensors lie in '%.100s', which the hub does not "
                              "have",
                              name ? name : "");
        int at = (int)(f - index->file), i = 0;
        while (i < *count && out[i] != at)
            i++;
        if (i == *count)
            out[(*count)++] = at;
    }
    return VITRO_OK;
}

VitroStatus vitro_hub_shards(int out[VITRO_HUB_FILES], int *count, const VitroHubIndex *index,
                             const char *text, size_t size)
{
    json_t *root = json_loadb(text, size, 0, NULL);
    *count = 0;
    VitroStatus st = take_shards(out, count, index, json_object_get(root, "weight_map"));
    json_decref(root);
    return st;
}

/* ---- the cache's record ---------------------------------------------------------------------- */

VitroStatus vitro_hub_write_record(const char *dir, const VitroHubName *name, const char *commit,
                                   const char *weights)
{
    char *path = vitro_path_join(dir, VITRO_HUB_RECORD);
    char *text = vitro_asprintf("{\n \"name\": \"%s/%s\",\n \"revision\": \"%s\",\n \"commit\": "
                                "\"%s\",\n \"weights\": \"%s\"\n}\n",
                                name->owner, name->name, name->revision, commit, weights);
    VitroStatus st = path && text ? vitro_fs_replace(path, text, strlen(text)) : VITRO_NOMEM;
    vitro_free(text);
    vitro_free(path);
    return st;
}

VitroStatus vitro_hub_read_record(VitroHubRecord *out, const char *dir)
{
    VitroBuf b;
    vitro_buf_init(&b, MAX_RECORD);
    char *path = vitro_path_join(dir, VITRO_HUB_RECORD);
    VitroStatus st = path ? vitro_fs_read(&b, path) : VITRO_NOMEM;
    json_t *root = st == VITRO_OK ? json_loadb((const char *)b.data, b.len, 0, NULL) : NULL;
    const char *commit = json_string_value(json_object_get(root, "commit"));
    const char *weights = json_string_value(json_object_get(root, "weights"));
    if (st == VITRO_OK && (!is_hex(commit, 40) || !weights || !vitro_hub_is_weights(weights)))
        st = vitro_fail(VITRO_E_FORMAT, "%s: is damaged: remove %s and pull again", path, dir);
    if (st == VITRO_OK) {
        snprintf(out->commit, sizeof(out->commit), "%s", commit);
        snprintf(out->weights, sizeof(out->weights), "%s", weights);
    }
    json_decref(root);
    vitro_buf_deinit(&b);
    vitro_free(path);
    return st;
}
