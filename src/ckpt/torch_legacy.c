/* SPDX-License-Identifier: Apache-2.0 */
/* The form of torch.save before PyTorch 1.6 (torch/serialization.py, _legacy_save): the pickles of
 * a magic number, a protocol version, the machine's properties, the object, and the list of storage
 * keys; then, for each key, an int64 count and that many elements. How large an element is stands
 * only in the object's persistent ids. */
#include "base/alloc.h"
#include "ckpt/torch_state.h"

#include <stdlib.h>
#include <string.h>

/* The pickle of 0x1950a86a20f9469cfc6c, but for its protocol. */
static const uint8_t magic[] = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

#define FRAME       0x95 /* opcode, and the uint64 behind it */
#define FRAME_BYTES 9

#define PROTOCOL_VERSION 1001

typedef struct Storage {
    VitroTorchStorageId id;
    size_t order;        /* among the persistent ids; the first of a key counts */
    const uint8_t *data; /* NULL until found in the file */
} Storage;

typedef struct Storages {
    Storage *item; /* sorted by key, no key twice */
    size_t count;
} Storages;

/* ---- storages by key ------------------------------------------------------------------------- */

static int compare_keys(const VitroTorchStorageId *a, const VitroTorchStorageId *b)
{
    size_t n = a->key_size < b->key_size ? a->key_size : b->key_size;
    int c = memcmp(a->key, b->key, n);
    return c ? c : (a->key_size > b->key_size) - (a->key_size < b->key_size);
}

static int compare_storages(const void *a, const void *b)
{
    const Storage *x = a, *y = b;
    int c = compare_keys(&x->id, &y->id);
    return c ? c : (x->order > y->order) - (x->order < y->order);
}

static Storage *find(const Storages *s, const VitroTorchStorageId *id)
{
    size_t lo = 0, hi = s->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = compare_keys(&s->item[mid].id, id);
        if (c == 0)
            return &s->item[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

/* All that the object mentions, of ignored parts too: they take room in the file. */
static VitroStatus collect(Storages *s, const VitroPickle *object)
{
    const VitroPickleNode *n;
    size_t count = 0;
    for (n = object->last_persistent; n; n = n->u.persistent.previous)
        count++;
    s->item = vitro_calloc(count, sizeof(*s->item));
    if (!s->item)
        return VITRO_NOMEM;
    size_t order = count;
    for (n = object->last_persistent; n; n = n->u.persistent.previous) {
        Storage *at = &s->item[s->count];
        at->order = order--;
        if (vitro_torch_storage_id(&at->id, n))
            s->count++;
    }
    if (s->count)
        qsort(s->item, s->count, sizeof(*s->item), compare_storages);
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++)
        if (!kept || compare_keys(&s->item[kept - 1].id, &s->item[i].id) != 0)
            s->item[kept++] = s->item[i];
    s->count = kept;
    return VITRO_OK;
}

/* Walks over the storages behind the pickles, in the order of the keys. */
static VitroStatus locate_all(Storages *s, const VitroMap *map, size_t at,
                              const VitroPickleNode *keys)
{
    if (!vitro_pickle_is(keys, VITRO_PICKLE_LIST))
        return vitro_fail(VITRO_E_FORMAT, "its storage keys are %s, not a list",
                          vitro_pickle_kind_name(keys));
    for (size_t i = 0; i < keys->u.seq.count; i++) {
        VitroTorchStorageId id;
        if (!vitro_pickle_text(keys->u.seq.item[i], &id.key, &id.key_size))
            return vitro_fail(VITRO_E_FORMAT, "its storage key %zu is no string", i);
        Storage *storage = find(s, &id);
        int len = id.key_size > 40 ? 40 : (int)id.key_size;
        if (!storage || storage->data)
            return vitro_fail(VITRO_E_FORMAT, "storage \"%.*s\" is %s", len, id.key,
                              storage ? "listed twice" : "used by nothing");
        uint64_t numel = 0, bytes = (uint64_t)storage->id.bytes;
        if (map->size - at < 8)
            return vitro_fail(VITRO_E_FORMAT, "ends before storage \"%.*s\"", len, id.key);
        for (int k = 8; k-- > 0;)
            numel = numel << 8 | map->data[at + (size_t)k];
        at += 8;
        if (numel != bytes / storage->id.item_size || bytes > map->size - at)
            return vitro_fail(VITRO_E_FORMAT,
                              "storage \"%.*s\" of %llu bytes: the file says %llu elements and has "
                              "%zu bytes left",
                              len, id.key, (unsigned long long)bytes, (unsigned long long)numel,
                              map->size - at);
        storage->data = map->data + at;
        at += bytes;
    }
    return VITRO_OK;
}

static VitroStatus find_storage(void *context, VitroTorchStorage *out,
                                const VitroTorchStorageId *id)
{
    const Storage *s = find(context, id);
    if (!s || !s->data)
        return vitro_fail(VITRO_E_FORMAT, "its storage \"%.*s\" is not in the file",
                          id->key_size > 40 ? 40 : (int)id->key_size, id->key);
    out->data = s->data;
    out->size = (size_t)s->id.bytes;
    out->record = -1;
    return VITRO_OK;
}

/* ---- the file -------------------------------------------------------------------------------- */

bool vitro_torch_legacy_sniff(const uint8_t *data, size_t size)
{
    size_t at = size > 2 && data[2] == FRAME ? 2 + FRAME_BYTES : 2; /* protocol 4 and up: framed */
    return size >= at + sizeof(magic) - 1 && data[0] == 0x80 &&
           memcmp(data + at, magic, sizeof(magic) - 1) == 0;
}

static VitroStatus check_machine(const VitroPickleNode *version, const VitroPickleNode *machine)
{
    int64_t v, little;
    if (!vitro_pickle_int(version, &v) || v != PROTOCOL_VERSION)
        return vitro_fail(VITRO_E_UNSUPPORTED, "its protocol version is not %d", PROTOCOL_VERSION);
    if (!vitro_pickle_int(vitro_pickle_get(machine, "little_endian"), &little) || !little)
        return vitro_fail(VITRO_E_UNSUPPORTED, "its byte order is not little");
    return VITRO_OK;
}

VitroStatus vitro_torch_legacy_open(VitroCheckpoint *ckpt)
{
    enum { MAGIC, VERSION, MACHINE, OBJECT, KEYS, PICKLES };
    VitroPickle p[PICKLES] = {{0}};
    Storages s = {0};
    VitroStatus st = VITRO_OK;
    size_t at = 0;
    for (int i = 0; i < PICKLES; i++) {
        st = vitro_pickle_parse(&p[i], ckpt->map.data + at, ckpt->map.size - at);
        if (st != VITRO_OK) {
            st = vitro_fail_prefix(st, "pickle %d, at offset %zu", i + 1, at);
            goto done;
        }
        at += p[i].used;
    }
    VITRO_GOTO(check_machine(p[VERSION].root, p[MACHINE].root));
    VITRO_GOTO(collect(&s, &p[OBJECT]));
    VITRO_GOTO(locate_all(&s, &ckpt->map, at, p[KEYS].root));
    VITRO_GOTO(vitro_torch_read_state(ckpt, p[OBJECT].root, find_storage, &s));
done:
    for (int i = 0; i < PICKLES; i++)
        vitro_pickle_free(&p[i]);
    vitro_free(s.item);
    return st;
}
