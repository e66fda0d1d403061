/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments that training scripts save beside the weights: an argparse.Namespace or a dict
 * under "args", a model's name under "arch". Read as data, as everything in a pickle is. */
#include "base/alloc.h"
#include "base/json.h"
#include "ckpt/torch_state.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

typedef VitroPickleNode Node;

enum { MAX_ENTRIES = 4096, MAX_ITEMS = 64, MAX_TEXT = 4096 };

/* A plain value, or NULL: of no kind that is of use. */
static json_t *scalar_to_json(const Node *n)
{
    const char *text;
    size_t size;
    if (!n)
        return NULL;
    switch ((VitroPickleKind)n->kind) {
    case VITRO_PICKLE_NONE:
        return json_null();
    case VITRO_PICKLE_BOOL:
        return json_boolean(n->u.boolean);
    case VITRO_PICKLE_INT:
        return json_integer(n->u.integer);
    case VITRO_PICKLE_FLOAT:
        return json_real(n->u.real); /* NULL where it is not finite */
    default:
        break;
    }
    if (!vitro_pickle_text(n, &text, &size) || size > MAX_TEXT || memchr(text, 0, size))
        return NULL;
    return json_stringn(text, size); /* NULL where it is no UTF-8 */
}

static json_t *value_to_json(const Node *n)
{
    if (!vitro_pickle_is(n, VITRO_PICKLE_TUPLE) && !vitro_pickle_is(n, VITRO_PICKLE_LIST))
        return scalar_to_json(n);
    json_t *array = n->u.seq.count <= MAX_ITEMS ? json_array() : NULL;
    for (size_t i = 0; array && i < n->u.seq.count; i++) {
        json_t *item = scalar_to_json(n->u.seq.item[i]);
        if (!item || json_array_append_new(array, item) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* `nested`: dicts among the values, too, but not in those (timm's model_kwargs). */
static void add_entries(json_t *object, const Node *dict, bool nested)
{
    size_t count;
    Node *const *pair = vitro_pickle_pairs(dict, &count);
    for (size_t i = 0; i < count / 2 && i < MAX_ENTRIES; i++) {
        const char *key;
        size_t size;
        char name[64];
        if (!vitro_pickle_text(pair[2 * i], &key, &size) || size >= sizeof(name) ||
            memchr(key, 0, size))
            continue;
        memcpy(name, key, size);
        name[size] = 0;
        const Node *node = pair[2 * i + 1];
        bool is_dict = nested && vitro_pickle_is(node, VITRO_PICKLE_DICT);
        json_t *value = is_dict ? json_object() : value_to_json(node);
        if (is_dict)
            add_entries(value, node, false);
        if (value)
            (void)json_object_set_new(object, name, value); /* fails for a key of no UTF-8 */
    }
}

VitroStatus vitro_torch_read_args(char **out, const Node *root)
{
    const Node *args = vitro_pickle_get(root, "args"), *arch = vitro_pickle_get(root, "arch");
    if (vitro_pickle_is_call(args, "argparse", "Namespace"))
        args = args->u.call->state;
    if (!vitro_pickle_is(args, VITRO_PICKLE_DICT) && !vitro_pickle_is(arch, VITRO_PICKLE_STR))
        return VITRO_OK;
    json_t *object = json_object(), *entries = json_object(), *name = scalar_to_json(arch);
    add_entries(entries, args, true);
    if (json_is_string(name))
        (void)json_object_set(object, "arch", name);
    (void)json_object_set(object, "args", entries);
    *out = vitro_json_text(object, JSON_COMPACT);
    json_decref(name);
    json_decref(entries);
    json_decref(object);
    return *out ? VITRO_OK : vitro_fail(VITRO_E_NOMEM, "no memory for the file's arguments");
}
