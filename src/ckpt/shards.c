/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint in several .safetensors files, and the index that says which tensor is where:
 * {"metadata": {...}, "weight_map": {"blocks.0.norm1.weight": "model-00001-of-00002.safetensors"}}.
 * The files lie beside the index; a name with a path in it is refused. */
#include "base/alloc.h"
#include "ckpt/format.h"

#include <jansson.h>
#include <string.h>

#define MAX_INDEX  ((size_t)32 << 20)
#define MAX_SHARDS 1024

static VitroStatus read_index(json_t **out, const char *path)
{
    VitroBuf text;
    json_error_t e;
    vitro_buf_init(&text, MAX_INDEX);
    VitroStatus st = vitro_fs_read(&text, path); /* its texts start with the path */
    if (st == VITRO_OK) {
        *out = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &e);
        if (!*out)
            st = vitro_fail(VITRO_E_FORMAT, "%s: line %d, column %d: not valid JSON: %s", path,
                            e.line, e.column, e.text);
    }
    vitro_buf_deinit(&text);
    return st;
}

static VitroStatus open_shard(VitroCheckpoint *ckpt, const char *dir, const char *name)
{
    if (strchr(name, '/') || name[0] == '.' || !vitro_path_has_ext(name, ".safetensors"))
        return vitro_fail(VITRO_E_FORMAT,
                          "weight_map: \"%.80s\" is no name of a .safetensors file beside it",
                          name);
    if (ckpt->shard_count == MAX_SHARDS)
        return vitro_fail(VITRO_E_UNSUPPORTED, "weight_map: more than %d files", MAX_SHARDS);
    VitroCheckpoint **list =
        vitro_realloc(ckpt->shard, (size_t)ckpt->shard_count + 1, sizeof(*list));
    if (!list)
        return VITRO_NOMEM;
    ckpt->shard = list;
    char *path = vitro_path_join(dir, name);
    if (!path)
        return VITRO_NOMEM;
    VitroStatus st = VITRO_OK;
    if (!vitro_fs_is_file(path)) /* nor a folder, which would be looked into */
        st = vitro_fail(VITRO_E_IO, "%s is missing", name);
    if (st == VITRO_OK)
        st = vitro_checkpoint_open(&list[ckpt->shard_count], path);
    if (st == VITRO_OK && list[ckpt->shard_count++]->format != &vitro_ckpt_safetensors)
        st = vitro_fail(VITRO_E_FORMAT, "%s is no .safetensors file", name);
    vitro_free(path);
    return st;
}

static bool is_open(const VitroCheckpoint *ckpt, const char *name)
{
    for (int i = 0; i < ckpt->shard_count; i++)
        if (strcmp(vitro_path_name(ckpt->shard[i]->path), name) == 0)
            return true;
    return false;
}

/* The shard's tensors become the whole's. All must be in the index, and there of this file. */
static VitroStatus take_tensors(VitroCheckpoint *ckpt, VitroCheckpoint *shard, json_t *weight_map)
{
    const char *file = vitro_path_name(shard->path);
    void *list =
        vitro_realloc(ckpt->tensor, (size_t)(ckpt->count + shard->count), sizeof(*ckpt->tensor));
    if (!list)
        return VITRO_NOMEM;
    ckpt->tensor = list;
    for (int64_t i = 0; i < shard->count; i++) {
        const char *name = shard->tensor[i].name;
        const char *said = json_string_value(json_object_get(weight_map, name));
        if (!said || strcmp(said, file) != 0)
            return vitro_fail(VITRO_E_FORMAT,
                              "weight_map: %s has a tensor \"%.80s\", of which it "
                              "says otherwise",
                              file, name);
    }
    memcpy(ckpt->tensor + ckpt->count, shard->tensor, (size_t)shard->count * sizeof(*ckpt->tensor));
    ckpt->count = ckpt->capacity = ckpt->count + shard->count;
    for (int64_t i = ckpt->count - shard->count; i < ckpt->count; i++)
        ckpt->tensor[i].info.name = ckpt->tensor[i].name; /* prefixes are those of all */
    shard->count = 0;
    return VITRO_OK;
}

static VitroStatus open_all(VitroCheckpoint *ckpt, const char *dir, json_t *weight_map)
{
    const char *name;
    json_t *file;
    if (!json_is_object(weight_map))
        return vitro_fail(VITRO_E_FORMAT, "\"weight_map\" is not an object");
    json_object_foreach(weight_map, name, file)
    {
        const char *text = json_string_value(file);
        if (!text)
            return vitro_fail(VITRO_E_FORMAT, "weight_map: \"%.80s\" is in no file", name);
        if (!is_open(ckpt, text))
            VITRO_TRY(open_shard(ckpt, dir, text));
    }
    for (int i = 0; i < ckpt->shard_count; i++)
        VITRO_TRY(take_tensors(ckpt, ckpt->shard[i], weight_map));
    if ((size_t)ckpt->count != json_object_size(weight_map))
        return vitro_fail(VITRO_E_FORMAT, "weight_map names %zu tensors, the files have %lld",
                          json_object_size(weight_map), (long long)ckpt->count);
    return VITRO_OK;
}

VitroStatus vitro_ckpt_open_shards(VitroCheckpoint *ckpt)
{
    json_t *root = NULL;
    char *dir = vitro_path_dir(ckpt->path);
    if (!dir)
        return VITRO_NOMEM;
    VitroStatus st = read_index(&root, ckpt->path);
    if (st == VITRO_OK) {
        ckpt->format = &vitro_ckpt_safetensors;
        st = open_all(ckpt, dir, json_object_get(root, "weight_map"));
        if (st != VITRO_OK)
            st = vitro_fail_prefix(st, "%s", ckpt->path);
    }
    json_decref(root);
    vitro_free(dir);
    return st;
}
