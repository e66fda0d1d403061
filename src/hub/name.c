/* SPDX-License-Identifier: Apache-2.0 */
/* Names of checkpoints, and where the cache has them. */
#include "base/alloc.h"
#include "base/fs.h"
#include "hub/hub_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Letters, digits, '-', '_' and '.', not in front and no two dots: no part of a path that leads
 * elsewhere, and nothing that an address would have to escape. */
static bool take_part(char out[VITRO_HUB_PART], const char *text, size_t size)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
    if (size == 0 || size >= VITRO_HUB_PART || text[0] == '.' || text[0] == '-')
        return false;
    memcpy(out, text, size);
    out[size] = 0;
    return strspn(out, allowed) == size && !strstr(out, "..");
}

static bool parse(VitroHubName *out, const char *text)
{
    const char *slash = strchr(text, '/'), *at = strchr(text, '@');
    const char *end = at ? at : text + strlen(text);
    if (!slash || slash > end || !take_part(out->owner, text, (size_t)(slash - text)) ||
        !take_part(out->name, slash + 1, (size_t)(end - slash - 1)))
        return false;
    const char *revision = at ? at + 1 : "main";
    return take_part(out->revision, revision, strlen(revision));
}

bool vitro_hub_is_name(const char *text)
{
    VitroHubName name;
    return parse(&name, text);
}

VitroStatus vitro_hub_parse(VitroHubName *out, const char *text)
{
    if (parse(out, text))
        return VITRO_OK;
    return vitro_fail(
        VITRO_E_ARG,
        "found the name '%.200s', expected OWNER/NAME or OWNER/NAME@REVISION, each of "
        "letters, digits, '-', '_' and '.'",
        text);
}

VitroStatus vitro_hub_cache(char *out, size_t size)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = -1;
    if (cache && cache[0] == '/') /* the specification: what is relative is to be ignored */
        n = snprintf(out, size, "%s/vitro/hub", cache);
    else if (home && home[0] == '/')
        n = snprintf(out, size, "%s/.cache/vitro/hub", home);
    if (n < 0)
        return vitro_fail(VITRO_E_ARG, "neither XDG_CACHE_HOME nor HOME says where the cache is");
    return (size_t)n < size ? VITRO_OK : vitro_fail(VITRO_E_ARG, "the cache's path is too long");
}

VitroStatus vitro_hub_dir(char **out, const VitroHubName *name)
{
    char cache[4096];
    VITRO_TRY(vitro_hub_cache(cache, sizeof(cache)));
    *out = vitro_asprintf("%s/%s/%s@%s", cache, name->owner, name->name, name->revision);
    return *out ? VITRO_OK : VITRO_NOMEM;
}

VitroStatus vitro_hub_find(char *out, size_t size, const char *text)
{
    VitroHubName name;
    VitroHubRecord record;
    char *dir;
    VITRO_TRY(vitro_hub_parse(&name, text));
    VITRO_TRY(vitro_hub_dir(&dir, &name));
    VitroStatus st = vitro_hub_read_record(&record, dir);
    if (st == VITRO_E_IO)
        st = vitro_fail(VITRO_E_IO,
                        "%s: neither a file nor in the cache (%s): `vitro pull %s` fetches it",
                        text, dir, text);
    else if (st == VITRO_OK && (size_t)snprintf(out, size, "%s/%s", dir, record.weights) >= size)
        st = vitro_fail(VITRO_E_ARG, "the cache's path is too long");
    vitro_free(dir);
    return st;
}

/* ---- the list -------------------------------------------------------------------------------- */

static int64_t bytes_in(const char *dir)
{
    VitroNameList files;
    int64_t bytes = 0;
    if (vitro_fs_list(&files, dir) != VITRO_OK)
        return 0;
    for (size_t i = 0; i < files.count; i++) {
        struct stat s;
        char *path = vitro_path_join(dir, files.names[i]);
        if (path && stat(path, &s) == 0 && S_ISREG(s.st_mode))
            bytes += s.st_size;
        vitro_free(path);
    }
    vitro_list_free(&files);
    return bytes;
}

/* Folders that are no whole checkpoint are passed by. */
static VitroStatus list_one(const char *owner_dir, const char *owner, const char *entry,
                            VitroHubEntryFn fn, void *user)
{
    VitroHubRecord record;
    char *dir = vitro_path_join(owner_dir, entry), *name = vitro_asprintf("%s/%s", owner, entry);
    char *weights = NULL;
    VitroStatus st = dir && name ? VITRO_OK : VITRO_NOMEM;
    if (st == VITRO_OK && vitro_hub_is_name(name) && strchr(entry, '@') &&
        vitro_hub_read_record(&record, dir) == VITRO_OK) {
        weights = vitro_path_join(dir, record.weights);
        VitroHubEntry e = {name, record.commit, weights, bytes_in(dir)};
        st = weights ? VITRO_OK : VITRO_NOMEM;
        if (weights)
            fn(user, &e);
    }
    vitro_free(weights);
    vitro_free(name);
    vitro_free(dir);
    return st;
}

static VitroStatus list_owner(const char *cache, const char *owner, VitroHubEntryFn fn, void *user)
{
    VitroNameList entries;
    char *dir = vitro_path_join(cache, owner);
    if (!dir)
        return VITRO_NOMEM;
    VitroStatus st = VITRO_OK;
    if (vitro_fs_is_dir(dir) && (st = vitro_fs_list(&entries, dir)) == VITRO_OK) {
        for (size_t i = 0; i < entries.count && st == VITRO_OK; i++)
            st = list_one(dir, owner, entries.names[i], fn, user);
        vitro_list_free(&entries);
    }
    vitro_free(dir);
    return st;
}

VitroStatus vitro_hub_list(VitroHubEntryFn fn, void *user)
{
    char cache[4096];
    VitroNameList owners;
    VITRO_TRY(vitro_hub_cache(cache, sizeof(cache)));
    if (!vitro_fs_is_dir(cache))
        return VITRO_OK;
    VITRO_TRY(vitro_fs_list(&owners, cache));
    VitroStatus st = VITRO_OK;
    for (size_t i = 0; i < owners.count && st == VITRO_OK; i++)
        st = list_owner(cache, owners.names[i], fn, user);
    vitro_list_free(&owners);
    return st;
}
