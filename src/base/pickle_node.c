/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at the nodes of a pickle. No function here walks further than its caller asks, so sharing
 * and cycles in a hostile tree do no harm. */
#include "base/pickle.h"

#include <string.h>

typedef VitroPickleNode Node;

#define P(kind) VITRO_PICKLE_##kind

const char *vitro_pickle_kind_name(const Node *n)
{
    static const char *const names[] = {
        [P(NONE)] = "None",      [P(BOOL)] = "a bool",
        [P(INT)] = "an int",     [P(LONG)] = "an int beyond 64 bits",
        [P(FLOAT)] = "a float",  [P(BYTES)] = "a byte string",
        [P(STR)] = "a string",   [P(TUPLE)] = "a tuple",
        [P(LIST)] = "a list",    [P(SET)] = "a set",
        [P(DICT)] = "a dict",    [P(GLOBAL)] = "a class or function",
        [P(CALL)] = "an object", [P(PERSISTENT)] = "a persistent id",
    };
    return n ? names[n->kind] : "nothing";
}

bool vitro_pickle_is(const Node *n, VitroPickleKind kind)
{
    return n && n->kind == kind;
}

bool vitro_pickle_text(const Node *n, const char **text, size_t *size)
{
    if (vitro_pickle_is_call(n, "_codecs", "encode"))
        n = vitro_pickle_at(n, 0);
    if (!vitro_pickle_is(n, VITRO_PICKLE_STR) && !vitro_pickle_is(n, VITRO_PICKLE_BYTES))
        return false;
    *text = (const char *)n->u.bytes.data;
    *size = n->u.bytes.size;
    return true;
}

bool vitro_pickle_is_text(const Node *n, const char *text)
{
    const char *found;
    size_t size;
    return vitro_pickle_text(n, &found, &size) && size == strlen(text) &&
           memcmp(found, text, size) == 0;
}

bool vitro_pickle_is_global(const Node *n, const char *module, const char *name)
{
    return vitro_pickle_is(n, VITRO_PICKLE_GLOBAL) &&
           vitro_pickle_is_text(n->u.global.module, module) &&
           vitro_pickle_is_text(n->u.global.name, name);
}

bool vitro_pickle_is_call(const Node *n, const char *module, const char *name)
{
    return vitro_pickle_is(n, VITRO_PICKLE_CALL) &&
           vitro_pickle_is_global(n->u.call->callee, module, name);
}

bool vitro_pickle_int(const Node *n, int64_t *out)
{
    if (vitro_pickle_is(n, VITRO_PICKLE_BOOL))
        *out = n->u.boolean;
    else if (vitro_pickle_is(n, VITRO_PICKLE_INT))
        *out = n->u.integer;
    else
        return false;
    return true;
}

const Node *vitro_pickle_at(const Node *n, size_t i)
{
    if (vitro_pickle_is(n, VITRO_PICKLE_CALL))
        n = n->u.call->args;
    if (!vitro_pickle_is(n, VITRO_PICKLE_TUPLE) && !vitro_pickle_is(n, VITRO_PICKLE_LIST))
        return NULL;
    return i < n->u.seq.count ? n->u.seq.item[i] : NULL;
}

Node *const *vitro_pickle_pairs(const Node *n, size_t *count)
{
    *count = 0;
    if (vitro_pickle_is(n, VITRO_PICKLE_DICT)) {
        *count = n->u.seq.count;
        return n->u.seq.item;
    }
    if (vitro_pickle_is(n, VITRO_PICKLE_CALL) && n->u.call->has_pairs) {
        *count = n->u.call->count;
        return n->u.call->item;
    }
    return NULL;
}

const Node *vitro_pickle_get(const Node *n, const char *key)
{
    size_t count;
    Node *const *pair = vitro_pickle_pairs(n, &count);
    for (size_t i = count; i >= 2; i -= 2)
        if (vitro_pickle_is_text(pair[i - 2], key))
            return pair[i - 1];
    return NULL;
}
