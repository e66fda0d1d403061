/* SPDX-License-Identifier: Apache-2.0 */
/* Published checkpoints by their names on a hub of Hugging Face's kind: "owner/name", or with a
 * branch, tag or commit "owner/name@revision". They are fetched into a cache and used from there.
 */
#ifndef VITRO_HUB_H
#define VITRO_HUB_H

#include "vitro/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whether `text` is such a name. (A file of that path comes first: look for one before.) */
VITRO_API bool vitro_hub_is_name(const char *text);

/* Where checkpoints are kept: $XDG_CACHE_HOME/vitro/hub, else ~/.cache/vitro/hub. Writes the path
 * into `out`. VITRO_E_ARG: neither variable says where, or `size` is too small. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_hub_cache(char *out, size_t size);

/* The weight file of `name` in the cache; config files and the like lie beside it. Errors:
 * VITRO_E_ARG (no such name), VITRO_E_IO (not in the cache: the text says what to do). */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_hub_find(char *out, size_t size, const char *name);

/* `file` is being fetched and has `done` of `total` bytes (-1: unknown). At least about once a
 * second; false stops. */
typedef bool (*VitroHubProgressFn)(void *user, const char *file, int64_t done, int64_t total);

typedef struct VitroPullOptions {
    const char *name;
    const char *endpoint; /* NULL: $HF_ENDPOINT, else https://huggingface.co */
    const char *token;    /* NULL: $HF_TOKEN, else none. Only the endpoint's host ever gets it, over
                           * https, or in plain where that is this machine */
    VitroHubProgressFn progress; /* NULL: none */
    void *user;
    int connect_timeout_ms; /* 0: 30 000 */
    int stall_timeout_s;    /* without a byte; 0: 30 */
    int tries;              /* in a row without headway; 0: 6 */
    int retry_delay_ms;     /* before the second such try; doubles each time; 0: 500 */
} VitroPullOptions;

typedef enum VitroPulled {
    VITRO_PULLED = 0,     /* what was fetched is in the cache now */
    VITRO_PULLED_ALREADY, /* the same commit is there already */
    VITRO_PULLED_OFFLINE /* the hub cannot be asked, and some commit is there: see the last error */
} VitroPulled;

/* Brings the weights of a name into the cache: model.safetensors, else pytorch_model.bin, or the
 * shards of either, which become one model.safetensors; with config.json and
 * preprocessor_config.json where these exist. Asks the hub for the commit that the revision stands
 * for, then fetches the files of that commit. Checked are each file's size, the SHA-256 that the
 * hub states of large files, and that the weights can be opened. A folder of the cache appears or
 * changes when all is whole; a transfer that breaks off is continued by the next call. One process
 * at a time pulls a name.
 * Errors: VITRO_E_ARG (name, endpoint), _IO (no connection, refused, not there), _FORMAT (what came
 * is not what the hub stated), _CANCELLED, _UNSUPPORTED (a build without libcurl), _NOMEM. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_hub_pull(VitroPulled *out,
                                                      const VitroPullOptions *options);

/* What the cache holds, by name; valid during the call. */
typedef struct VitroHubEntry {
    const char *name;   /* "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k@main" */
    const char *commit; /* 40 hexadecimal digits */
    const char *path;   /* of the weight file */
    int64_t bytes;      /* of all its files */
} VitroHubEntry;
typedef void (*VitroHubEntryFn)(void *user, const VitroHubEntry *entry);
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_hub_list(VitroHubEntryFn fn, void *user);

#ifdef __cplusplus
}
#endif
#endif
