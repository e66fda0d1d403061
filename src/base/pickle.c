/* SPDX-License-Identifier: Apache-2.0 */
/* The pickle machine without its import and its call. One table row per opcode (names and meanings
 * are those of CPython's Lib/pickletools.py), one small function per family of opcodes.
 * It must not know what any global is. */
#include "base/pickle.h"

#include "base/alloc.h"

#include <string.h>

typedef VitroPickleNode Node;

typedef struct VitroPickleChunk {
    struct VitroPickleChunk *next;
    size_t used, size;
    uint64_t data[];
} Chunk;

/* A growing array of nodes: the stack, and the memo (where NULL means not set). */
typedef struct Nodes {
    Node **item;
    size_t count, cap;
} Nodes;

typedef struct Op Op;

typedef struct Machine {
    VitroPickle *p;
    const uint8_t *data;
    size_t size, at;
    const Op *op;    /* running now */
    size_t op_at;    /* its offset */
    size_t op_count; /* so far */
    Nodes stack, memo;
    size_t mark[VITRO_PICKLE_MAX_DEPTH]; /* stack heights */
    size_t mark_count;
    Node *none, *yes, *no;
    bool stopped;
} Machine;

struct Op {
    const char *name;
    VitroStatus (*run)(Machine *m); /* NULL: known, but refused */
    int kind;                       /* what this member of the family makes */
    int width;                      /* bytes of its inline number, or items that it takes */
};

/* ---- memory ---------------------------------------------------------------------------------- */

static VitroStatus take(Machine *m, size_t bytes, void **out)
{
    VitroPickle *p = m->p;
    Chunk *c = p->chunks;
    bytes = (bytes + 7) / 8 * 8;
    if (!c || c->size - c->used < bytes) {
        size_t size = c ? c->size * 2 : 4096;
        size = size > 1 << 20 ? 1 << 20 : size;
        size = size < bytes ? bytes : size;
        if (size > VITRO_PICKLE_MAX_MEMORY - p->memory)
            return vitro_fail(VITRO_E_FORMAT, "pickle: its values need more than %zu bytes",
                              VITRO_PICKLE_MAX_MEMORY);
        c = vitro_malloc(sizeof(*c) + size);
        if (!c)
            return VITRO_NOMEM;
        *c = (Chunk){.next = p->chunks, .size = size};
        p->chunks = c;
        p->memory += size;
    }
    *out = (uint8_t *)c->data + c->used;
    c->used += bytes;
    return VITRO_OK;
}

static VitroStatus make(Machine *m, int kind, Node **out)
{
    void *n;
    VITRO_TRY(take(m, sizeof(Node), &n));
    memset(n, 0, sizeof(Node));
    *out = n;
    (*out)->kind = (uint8_t)kind;
    return VITRO_OK;
}

static VitroStatus nodes_reserve(Nodes *a, size_t need)
{
    if (need <= a->cap)
        return VITRO_OK;
    if (need > VITRO_PICKLE_MAX_STACK)
        return vitro_fail(VITRO_E_FORMAT,
                          "pickle: more than %zu values on its stack or in its memo",
                          VITRO_PICKLE_MAX_STACK);
    size_t cap = a->cap * 2 < 64 ? 64 : a->cap * 2;
    cap = cap < need ? need : cap;
    Node **p = vitro_realloc(a->item, cap, sizeof(*p));
    if (!p)
        return VITRO_NOMEM;
    a->item = p;
    a->cap = cap;
    return VITRO_OK;
}

/* ---- failures, input, stack ------------------------------------------------------------------ */

#define FAIL(m, status, fmt, ...)                                                                  \
    vitro_fail(status, "pickle: offset %zu, opcode 0x%02x %s: " fmt, (m)->op_at,                   \
               (m)->data[(m)->op_at], (m)->op->name, __VA_ARGS__)

static VitroStatus want(Machine *m, uint64_t n, const uint8_t **out)
{
    if (n > m->size - m->at)
        return FAIL(m, VITRO_E_FORMAT, "needs %llu bytes, %zu remain", (unsigned long long)n,
                    m->size - m->at);
    *out = m->data + m->at;
    m->at += (size_t)n;
    return VITRO_OK;
}

/* The opcode's inline number: op->width bytes, little endian. */
static VitroStatus inline_number(Machine *m, uint64_t *out)
{
    const uint8_t *p;
    VITRO_TRY(want(m, (uint64_t)m->op->width, &p));
    *out = 0;
    for (int i = 0; i < m->op->width; i++)
        *out |= (uint64_t)p[i] << 8 * i;
    return VITRO_OK;
}

/* A line of the text opcodes, without its end. */
static VitroStatus line(Machine *m, const uint8_t **out, size_t *len)
{
    const uint8_t *start = m->data + m->at, *end = memchr(start, '\n', m->size - m->at);
    if (!end)
        return FAIL(m, VITRO_E_FORMAT, "%s", "its line does not end");
    *out = start;
    *len = (size_t)(end - start);
    m->at += *len + 1;
    return VITRO_OK;
}

static VitroStatus push(Machine *m, Node *n)
{
    VITRO_TRY(nodes_reserve(&m->stack, m->stack.count + 1));
    m->stack.item[m->stack.count++] = n;
    return VITRO_OK;
}

/* The n topmost values, down to the last mark at most; they stay where they are. */
static VitroStatus top(Machine *m, size_t n, Node ***out)
{
    size_t floor = m->mark_count ? m->mark[m->mark_count - 1] : 0;
    if (m->stack.count - floor < n)
        return FAIL(m, VITRO_E_FORMAT, "takes %zu values, the stack has %zu", n,
                    m->stack.count - floor);
    *out = m->stack.item + (m->stack.count - n);
    return VITRO_OK;
}

static VitroStatus pop(Machine *m, Node **out)
{
    Node **at;
    VITRO_TRY(top(m, 1, &at));
    *out = *at;
    m->stack.count--;
    return VITRO_OK;
}

/* Removes the last mark and what lies above it; the items stay readable until the next push. */
static VitroStatus pop_mark(Machine *m, Node ***item, size_t *count)
{
    if (!m->mark_count)
        return FAIL(m, VITRO_E_FORMAT, "%s", "there is no mark on the stack");
    size_t height = m->mark[--m->mark_count];
    *item = height ? m->stack.item + height : m->stack.item; /* which may be NULL */
    *count = m->stack.count - height;
    m->stack.count = height;
    return VITRO_OK;
}

/* ---- building -------------------------------------------------------------------------------- */

static VitroStatus nest(Machine *m, Node *outer, const Node *inner)
{
    if (!inner || inner->depth < outer->depth)
        return VITRO_OK;
    if (inner->depth >= VITRO_PICKLE_MAX_DEPTH)
        return FAIL(m, VITRO_E_FORMAT, "nested deeper than %d", VITRO_PICKLE_MAX_DEPTH);
    outer->depth = (uint16_t)(inner->depth + 1);
    return VITRO_OK;
}

/* The room that append() has given an array of `count`: a power of two, so it need not be kept. */
static size_t room(size_t count)
{
    size_t n = count ? 4 : 0;
    while (n < count)
        n *= 2;
    return n;
}

static VitroStatus append(Machine *m, Node *owner, Node ***item, size_t *count, Node *const *more,
                          size_t n)
{
    if (*count + n > room(*count)) {
        void *p;
        VITRO_TRY(take(m, room(*count + n) * sizeof(Node *), &p));
        if (*count)
            memcpy(p, *item, *count * sizeof(Node *));
        *item = p;
    }
    for (size_t i = 0; i < n; i++) {
        VITRO_TRY(nest(m, owner, more[i]));
        (*item)[(*count)++] = more[i];
    }
    return VITRO_OK;
}

/* A new TUPLE, LIST, SET or DICT of items that lie on (or just above) the stack; pushed. */
static VitroStatus push_seq(Machine *m, int kind, Node *const *item, size_t count)
{
    Node *n;
    VITRO_TRY(make(m, kind, &n));
    VITRO_TRY(append(m, n, &n->u.seq.item, &n->u.seq.count, item, count));
    return push(m, n);
}

static VitroStatus require_pairs(Machine *m, size_t count)
{
    if (count % 2)
        return FAIL(m, VITRO_E_FORMAT, "%zu items are no key, value pairs", count);
    return VITRO_OK;
}

/* Puts items into a container of the opcode's kind, or into an object that says it is one. */
static VitroStatus put_items(Machine *m, Node *to, Node *const *item, size_t count)
{
    bool pairs = m->op->kind == VITRO_PICKLE_DICT;
    if (pairs)
        VITRO_TRY(require_pairs(m, count));
    if (to->kind == m->op->kind)
        return append(m, to, &to->u.seq.item, &to->u.seq.count, item, count);
    if (to->kind != VITRO_PICKLE_CALL)
        return FAIL(m, VITRO_E_FORMAT, "cannot put items into %s", vitro_pickle_kind_name(to));
    VitroPickleCall *c = to->u.call;
    if (c->count && c->has_pairs != pairs)
        return FAIL(m, VITRO_E_FORMAT, "%s", "items and pairs in one object");
    c->has_pairs = pairs;
    return append(m, to, &c->item, &c->count, item, count);
}

static VitroStatus push_call(Machine *m, Node *callee, Node *args, Node *kwargs, bool new_object)
{
    if (args->kind != VITRO_PICKLE_TUPLE)
        return FAIL(m, VITRO_E_FORMAT, "its arguments are %s, not a tuple",
                    vitro_pickle_kind_name(args));
    Node *n;
    void *call;
    VITRO_TRY(make(m, VITRO_PICKLE_CALL, &n));
    VITRO_TRY(take(m, sizeof(VitroPickleCall), &call));
    n->u.call = call;
    *n->u.call = (VitroPickleCall){
        .callee = callee, .args = args, .kwargs = kwargs, .new_object = new_object};
    VITRO_TRY(nest(m, n, callee));
    VITRO_TRY(nest(m, n, args));
    VITRO_TRY(nest(m, n, kwargs));
    return push(m, n);
}

static bool is_text(const Node *n)
{
    return n->kind == VITRO_PICKLE_STR || n->kind == VITRO_PICKLE_BYTES;
}

/* ---- opcodes: control ------------------------------------------------------------------------ */

static VitroStatus op_proto(Machine *m)
{
    uint64_t version;
    VITRO_TRY(inline_number(m, &version));
    if (version > 5)
        return FAIL(m, VITRO_E_UNSUPPORTED, "protocol %d, at most 5 is known", (int)version);
    return VITRO_OK;
}

static VitroStatus op_frame(Machine *m)
{
    uint64_t bytes;
    VITRO_TRY(inline_number(m, &bytes));
    if (bytes > m->size - m->at)
        return FAIL(m, VITRO_E_FORMAT, "of %llu bytes, %zu remain", (unsigned long long)bytes,
                    m->size - m->at);
    return VITRO_OK;
}

static VitroStatus op_stop(Machine *m)
{
    Node *root;
    VITRO_TRY(pop(m, &root));
    if (m->stack.count || m->mark_count)
        return FAIL(m, VITRO_E_FORMAT, "%zu values are left on the stack", m->stack.count);
    m->p->root = root;
    m->p->used = m->at;
    m->stopped = true;
    return VITRO_OK;
}

static VitroStatus op_mark(Machine *m)
{
    if (m->mark_count == VITRO_PICKLE_MAX_DEPTH)
        return FAIL(m, VITRO_E_FORMAT, "nested deeper than %d", VITRO_PICKLE_MAX_DEPTH);
    m->mark[m->mark_count++] = m->stack.count;
    return VITRO_OK;
}

static VitroStatus op_pop_mark(Machine *m)
{
    Node **item;
    size_t count;
    return pop_mark(m, &item, &count);
}

/* POP on a mark removes the mark, as CPython's unpickler does. */
static VitroStatus op_pop(Machine *m)
{
    Node *dropped;
    if (m->mark_count && m->mark[m->mark_count - 1] == m->stack.count)
        return op_pop_mark(m);
    return pop(m, &dropped);
}

static VitroStatus op_dup(Machine *m)
{
    Node **at;
    VITRO_TRY(top(m, 1, &at));
    return push(m, *at);
}

/* ---- opcodes: memo --------------------------------------------------------------------------- */

/* Writers number the memo from 0 or 1 upward, so an index far beyond the number of opcodes so far
 * is hostile: believing it would allocate as much as it says. */
static VitroStatus put(Machine *m, uint64_t index)
{
    Node **at;
    VITRO_TRY(top(m, 1, &at));
    if (index > (uint64_t)m->op_count * 4 + 64)
        return FAIL(m, VITRO_E_FORMAT, "memo index %llu after %zu opcodes",
                    (unsigned long long)index, m->op_count);
    VITRO_TRY(nodes_reserve(&m->memo, (size_t)index + 1));
    while (m->memo.count <= index)
        m->memo.item[m->memo.count++] = NULL;
    m->memo.item[index] = m->stack.item[m->stack.count - 1];
    return VITRO_OK;
}

static VitroStatus op_put(Machine *m)
{
    uint64_t index;
    VITRO_TRY(inline_number(m, &index));
    return put(m, index);
}

static VitroStatus op_memoize(Machine *m)
{
    return put(m, m->memo.count);
}

static VitroStatus op_get(Machine *m)
{
    uint64_t index;
    VITRO_TRY(inline_number(m, &index));
    if (index >= m->memo.count || !m->memo.item[index])
        return FAIL(m, VITRO_E_FORMAT, "memo has no entry %llu", (unsigned long long)index);
    return push(m, m->memo.item[index]);
}

/* ---- opcodes: plain values ------------------------------------------------------------------- */

static VitroStatus op_none(Machine *m)
{
    return push(m, m->none);
}

static VitroStatus op_bool(Machine *m)
{
    return push(m, m->op->width ? m->yes : m->no);
}

static VitroStatus push_int(Machine *m, int64_t value)
{
    Node *n;
    VITRO_TRY(make(m, VITRO_PICKLE_INT, &n));
    n->u.integer = value;
    return push(m, n);
}

static VitroStatus op_binint(Machine *m)
{
    uint64_t value;
    VITRO_TRY(inline_number(m, &value));
    return push_int(m, m->op->width == 4 ? (int32_t)(uint32_t)value : (int64_t)value);
}

/* LONG1, LONG4: a byte count, then that many bytes, little endian, two's complement. */
static VitroStatus op_long(Machine *m)
{
    uint64_t size, value = 0;
    const uint8_t *p;
    VITRO_TRY(inline_number(m, &size));
    VITRO_TRY(want(m, size, &p));
    if (size > 8) {
        Node *n;
        VITRO_TRY(make(m, VITRO_PICKLE_LONG, &n));
        n->u.bytes.data = p;
        n->u.bytes.size = (size_t)size;
        return push(m, n);
    }
    if (size && p[size - 1] & 0x80)
        value = UINT64_MAX;
    for (uint64_t i = size; i-- > 0;)
        value = value << 8 | p[i];
    return push_int(m, (int64_t)value);
}

/* INT: decimal text. Python 2 writes it, in every protocol, for an int beyond 32 bits; "00" and
 * "01" are its booleans. */
static VitroStatus op_int(Machine *m)
{
    const uint8_t *text;
    size_t len;
    VITRO_TRY(line(m, &text, &len));
    if (len == 2 && text[0] == '0' && (text[1] == '0' || text[1] == '1'))
        return push(m, text[1] == '1' ? m->yes : m->no);
    bool negative = len && text[0] == '-';
    int64_t value = 0;
    bool good = negative < len;
    for (size_t i = negative; good && i < len; i++)
        good = text[i] >= '0' && text[i] <= '9' && !__builtin_mul_overflow(value, 10, &value) &&
               !__builtin_sub_overflow(value, text[i] - '0', &value); /* down: INT64_MIN fits */
    if (!good || (!negative && value == INT64_MIN))
        return FAIL(m, VITRO_E_FORMAT, "\"%.*s\" is no 64-bit integer", len > 40 ? 40 : (int)len,
                    (const char *)text);
    return push_int(m, negative ? value : -value);
}

static VitroStatus op_binfloat(Machine *m)
{
    const uint8_t *p;
    uint64_t bits = 0;
    Node *n;
    VITRO_TRY(want(m, 8, &p));
    for (int i = 0; i < 8; i++) /* the one big-endian number of the format */
        bits = bits << 8 | p[i];
    VITRO_TRY(make(m, VITRO_PICKLE_FLOAT, &n));
    memcpy(&n->u.real, &bits, 8);
    return push(m, n);
}

/* All the counted strings: a length of op->width bytes, then the bytes, which stay in the input. */
static VitroStatus op_bytes(Machine *m)
{
    uint64_t size;
    const uint8_t *p;
    Node *n;
    VITRO_TRY(inline_number(m, &size));
    VITRO_TRY(want(m, size, &p));
    VITRO_TRY(make(m, m->op->kind, &n));
    n->u.bytes.data = p;
    n->u.bytes.size = (size_t)size;
    return push(m, n);
}

/* ---- opcodes: containers --------------------------------------------------------------------- */

static VitroStatus op_empty(Machine *m)
{
    return push_seq(m, m->op->kind, NULL, 0);
}

/* TUPLE, LIST, DICT, FROZENSET: everything above the mark. */
static VitroStatus op_from_mark(Machine *m)
{
    Node **item;
    size_t count;
    VITRO_TRY(pop_mark(m, &item, &count));
    if (m->op->kind == VITRO_PICKLE_DICT)
        VITRO_TRY(require_pairs(m, count));
    return push_seq(m, m->op->kind, item, count);
}

/* TUPLE1, TUPLE2, TUPLE3. */
static VitroStatus op_tuple_of(Machine *m)
{
    Node **item;
    size_t count = (size_t)m->op->width;
    VITRO_TRY(top(m, count, &item));
    m->stack.count -= count;
    return push_seq(m, VITRO_PICKLE_TUPLE, item, count);
}

/* APPEND, SETITEM: one item or pair into the container below. */
static VitroStatus op_put_one(Machine *m)
{
    Node **item;
    size_t count = (size_t)m->op->width;
    VITRO_TRY(top(m, count + 1, &item));
    m->stack.count -= count;
    return put_items(m, item[0], item + 1, count);
}

/* APPENDS, SETITEMS, ADDITEMS: everything above the mark into the container below it. */
static VitroStatus op_put_many(Machine *m)
{
    Node **item, **to;
    size_t count;
    VITRO_TRY(pop_mark(m, &item, &count));
    VITRO_TRY(top(m, 1, &to));
    return put_items(m, *to, item, count);
}

/* ---- opcodes: what Python would import, call or ask for -------------------------------------- */

static VitroStatus push_global(Machine *m, const Node *module, const Node *name)
{
    Node *n;
    VITRO_TRY(make(m, VITRO_PICKLE_GLOBAL, &n));
    n->u.global.module = module;
    n->u.global.name = name;
    return push(m, n);
}

static VitroStatus op_global(Machine *m)
{
    Node *part[2];
    for (int i = 0; i < 2; i++) {
        VITRO_TRY(make(m, VITRO_PICKLE_STR, &part[i]));
        VITRO_TRY(line(m, &part[i]->u.bytes.data, &part[i]->u.bytes.size));
    }
    return push_global(m, part[0], part[1]);
}

static VitroStatus op_stack_global(Machine *m)
{
    Node **part;
    VITRO_TRY(top(m, 2, &part));
    if (!is_text(part[0]) || !is_text(part[1]))
        return FAIL(m, VITRO_E_FORMAT, "takes two strings, not %s and %s",
                    vitro_pickle_kind_name(part[0]), vitro_pickle_kind_name(part[1]));
    m->stack.count -= 2;
    return push_global(m, part[0], part[1]);
}

/* REDUCE and NEWOBJ take (callee, args); NEWOBJ_EX takes (class, args, kwargs). */
static VitroStatus op_call(Machine *m)
{
    Node **part;
    size_t count = (size_t)m->op->width;
    VITRO_TRY(top(m, count, &part));
    m->stack.count -= count;
    Node *kwargs = count == 3 ? part[2] : NULL;
    if (kwargs && kwargs->kind != VITRO_PICKLE_DICT)
        return FAIL(m, VITRO_E_FORMAT, "its keyword arguments are %s, not a dict",
                    vitro_pickle_kind_name(kwargs));
    return push_call(m, part[0], part[1], kwargs, m->op->kind);
}

static VitroStatus op_build(Machine *m)
{
    Node **part;
    VITRO_TRY(top(m, 2, &part));
    m->stack.count--;
    if (part[0]->kind != VITRO_PICKLE_CALL)
        return FAIL(m, VITRO_E_FORMAT, "gives a state to %s", vitro_pickle_kind_name(part[0]));
    if (part[0]->u.call->state)
        return FAIL(m, VITRO_E_FORMAT, "%s", "gives an object its second state");
    part[0]->u.call->state = part[1];
    return nest(m, part[0], part[1]);
}

static VitroStatus op_persistent(Machine *m)
{
    Node *id, *n;
    VITRO_TRY(pop(m, &id));
    VITRO_TRY(make(m, VITRO_PICKLE_PERSISTENT, &n));
    n->u.persistent.id = id;
    n->u.persistent.previous = m->p->last_persistent;
    m->p->last_persistent = n;
    VITRO_TRY(nest(m, n, id));
    return push(m, n);
}

/* ---- the table ------------------------------------------------------------------------------- */

#define P(kind) VITRO_PICKLE_##kind

static const Op ops[256] = {
    /* control */
    [0x80] = {"PROTO", op_proto, 0, 1},
    [0x95] = {"FRAME", op_frame, 0, 8},
    ['.'] = {"STOP", op_stop, 0, 0},
    ['('] = {"MARK", op_mark, 0, 0},
    ['0'] = {"POP", op_pop, 0, 0},
    ['1'] = {"POP_MARK", op_pop_mark, 0, 0},
    ['2'] = {"DUP", op_dup, 0, 0},
    /* memo */
    ['q'] = {"BINPUT", op_put, 0, 1},
    ['r'] = {"LONG_BINPUT", op_put, 0, 4},
    [0x94] = {"MEMOIZE", op_memoize, 0, 0},
    ['h'] = {"BINGET", op_get, 0, 1},
    ['j'] = {"LONG_BINGET", op_get, 0, 4},
    /* plain values */
    ['N'] = {"NONE", op_none, 0, 0},
    [0x88] = {"NEWTRUE", op_bool, 0, 1},
    [0x89] = {"NEWFALSE", op_bool, 0, 0},
    ['I'] = {"INT", op_int, 0, 0},
    ['J'] = {"BININT", op_binint, 0, 4},
    ['K'] = {"BININT1", op_binint, 0, 1},
    ['M'] = {"BININT2", op_binint, 0, 2},
    [0x8a] = {"LONG1", op_long, 0, 1},
    [0x8b] = {"LONG4", op_long, 0, 4},
    ['G'] = {"BINFLOAT", op_binfloat, 0, 0},
    ['U'] = {"SHORT_BINSTRING", op_bytes, P(BYTES), 1},
    ['T'] = {"BINSTRING", op_bytes, P(BYTES), 4},
    ['C'] = {"SHORT_BINBYTES", op_bytes, P(BYTES), 1},
    ['B'] = {"BINBYTES", op_bytes, P(BYTES), 4},
    [0x8e] = {"BINBYTES8", op_bytes, P(BYTES), 8},
    [0x96] = {"BYTEARRAY8", op_bytes, P(BYTES), 8},
    [0x8c] = {"SHORT_BINUNICODE", op_bytes, P(STR), 1},
    ['X'] = {"BINUNICODE", op_bytes, P(STR), 4},
    [0x8d] = {"BINUNICODE8", op_bytes, P(STR), 8},
    /* containers */
    [')'] = {"EMPTY_TUPLE", op_empty, P(TUPLE), 0},
    [']'] = {"EMPTY_LIST", op_empty, P(LIST), 0},
    ['}'] = {"EMPTY_DICT", op_empty, P(DICT), 0},
    [0x8f] = {"EMPTY_SET", op_empty, P(SET), 0},
    ['t'] = {"TUPLE", op_from_mark, P(TUPLE), 0},
    ['l'] = {"LIST", op_from_mark, P(LIST), 0},
    ['d'] = {"DICT", op_from_mark, P(DICT), 0},
    [0x91] = {"FROZENSET", op_from_mark, P(SET), 0},
    [0x85] = {"TUPLE1", op_tuple_of, 0, 1},
    [0x86] = {"TUPLE2", op_tuple_of, 0, 2},
    [0x87] = {"TUPLE3", op_tuple_of, 0, 3},
    ['a'] = {"APPEND", op_put_one, P(LIST), 1},
    ['s'] = {"SETITEM", op_put_one, P(DICT), 2},
    ['e'] = {"APPENDS", op_put_many, P(LIST), 0},
    ['u'] = {"SETITEMS", op_put_many, P(DICT), 0},
    [0x90] = {"ADDITEMS", op_put_many, P(SET), 0},
    /* what Python would run */
    ['c'] = {"GLOBAL", op_global, 0, 0},
    [0x93] = {"STACK_GLOBAL", op_stack_global, 0, 0},
    ['R'] = {"REDUCE", op_call, false, 2},
    [0x81] = {"NEWOBJ", op_call, true, 2},
    [0x92] = {"NEWOBJ_EX", op_call, true, 3},
    ['b'] = {"BUILD", op_build, 0, 0},
    ['Q'] = {"BINPERSID", op_persistent, 0, 0},
    /* refused: text opcodes of protocol 0, the extension registry, out-of-band buffers */
    ['L'] = {"LONG", NULL, 0, 0},
    ['F'] = {"FLOAT", NULL, 0, 0},
    ['S'] = {"STRING", NULL, 0, 0},
    ['V'] = {"UNICODE", NULL, 0, 0},
    ['p'] = {"PUT", NULL, 0, 0},
    ['g'] = {"GET", NULL, 0, 0},
    ['i'] = {"INST", NULL, 0, 0},
    ['o'] = {"OBJ", NULL, 0, 0},
    ['P'] = {"PERSID", NULL, 0, 0},
    [0x82] = {"EXT1", NULL, 0, 0},
    [0x83] = {"EXT2", NULL, 0, 0},
    [0x84] = {"EXT4", NULL, 0, 0},
    [0x97] = {"NEXT_BUFFER", NULL, 0, 0},
    [0x98] = {"READONLY_BUFFER", NULL, 0, 0},
};

static VitroStatus start(Machine *m)
{
    VITRO_TRY(make(m, VITRO_PICKLE_NONE, &m->none));
    VITRO_TRY(make(m, VITRO_PICKLE_BOOL, &m->no));
    VITRO_TRY(make(m, VITRO_PICKLE_BOOL, &m->yes));
    m->yes->u.boolean = true;
    return VITRO_OK;
}

static VitroStatus step(Machine *m)
{
    if (m->at == m->size)
        return vitro_fail(VITRO_E_FORMAT, "pickle: ends at offset %zu without STOP", m->at);
    m->op_at = m->at++;
    m->op = &ops[m->data[m->op_at]];
    m->op_count++;
    if (!m->op->name)
        return vitro_fail(VITRO_E_FORMAT, "pickle: offset %zu: 0x%02x is no opcode", m->op_at,
                          m->data[m->op_at]);
    if (!m->op->run)
        return FAIL(m, VITRO_E_UNSUPPORTED, "%s", "is not supported");
    return m->op->run(m);
}

VitroStatus vitro_pickle_parse(VitroPickle *p, const void *data, size_t size)
{
    *p = (VitroPickle){0};
    Machine *m = vitro_calloc(1, sizeof(*m)); /* its marks are too much for a small stack */
    if (!m)
        return VITRO_NOMEM;
    m->p = p;
    m->data = data;
    m->size = size;
    VitroStatus st = start(m);
    while (st == VITRO_OK && !m->stopped)
        st = step(m);
    vitro_free(m->stack.item);
    vitro_free(m->memo.item);
    vitro_free(m);
    if (st != VITRO_OK)
        vitro_pickle_free(p);
    return st;
}

void vitro_pickle_free(VitroPickle *p)
{
    for (Chunk *c = p->chunks, *next; c; c = next) {
        next = c->next;
        vitro_free(c);
    }
    *p = (VitroPickle){0};
}
