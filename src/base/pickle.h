/* SPDX-License-Identifier: Apache-2.0 */
/* A pickle read as data. Python's unpickler is a small machine whose programs may import and call
 * anything; weight files and data sets come as such programs, from strangers. This one keeps the
 * stack and the memo and drops the rest: an import becomes a GLOBAL node (two strings), a call
 * becomes a CALL node (callee, arguments, state), a persistent id becomes a PERSISTENT node.
 * Nothing is looked up, nothing runs, whatever the file says. What a CALL means is decided by the
 * reader who finds one where it expects one, by comparing names; all others stay inert.
 *
 * What a hostile file can do: make nodes share children (so a walk of the whole tree can take
 * exponential time) or make cycles. Readers therefore go where they know the shape, and never
 * recurse over a tree without a limit of their own. What it cannot do: read outside `data`, make
 * memory grow by more than about 100 bytes per byte of the file or beyond VITRO_PICKLE_MAX_MEMORY,
 * recurse in here, or take more than linear time.
 *
 * Protocols 0 to 5 as far as today's writers use them: every binary opcode, and of the text opcodes
 * INT and GLOBAL (which Python 2 writes even in protocol 2). Out-of-band buffers and the
 * extension registry are refused. */
#ifndef VITRO_BASE_PICKLE_H
#define VITRO_BASE_PICKLE_H

#include "base/status.h"

#define VITRO_PICKLE_MAX_DEPTH  1000              /* of nesting, as it is built */
#define VITRO_PICKLE_MAX_MEMORY ((size_t)1 << 30) /* bytes of nodes and their lists */
#define VITRO_PICKLE_MAX_STACK  ((size_t)1 << 24) /* values on the stack, or in the memo */

typedef enum VitroPickleKind {
    VITRO_PICKLE_NONE,
    VITRO_PICKLE_BOOL,
    VITRO_PICKLE_INT,  /* fits int64_t */
    VITRO_PICKLE_LONG, /* does not: `bytes` holds it, little endian, two's complement */
    VITRO_PICKLE_FLOAT,
    VITRO_PICKLE_BYTES, /* bytes, bytearray, and Python 2's str */
    VITRO_PICKLE_STR,   /* UTF-8 as the file claims; not verified */
    VITRO_PICKLE_TUPLE,
    VITRO_PICKLE_LIST,
    VITRO_PICKLE_SET,
    VITRO_PICKLE_DICT, /* seq: key, value, key, value ... in the file's order */
    VITRO_PICKLE_GLOBAL,
    VITRO_PICKLE_CALL,
    VITRO_PICKLE_PERSISTENT
} VitroPickleKind;

typedef struct VitroPickleNode VitroPickleNode;

/* callee(*args, **kwargs), then __setstate__(state), then the items that were put in. */
typedef struct VitroPickleCall {
    VitroPickleNode *callee; /* any node; a GLOBAL in honest files */
    VitroPickleNode *args;   /* a TUPLE */
    VitroPickleNode *kwargs; /* a DICT, or NULL */
    VitroPickleNode *state;  /* or NULL */
    bool new_object;         /* callee.__new__ rather than a plain call */
    bool has_pairs;          /* items are key, value, ... (an OrderedDict); else list items */
    VitroPickleNode **item;
    size_t count; /* of nodes: twice the pairs */
} VitroPickleCall;

struct VitroPickleNode {
    uint8_t kind; /* VitroPickleKind */
    uint16_t depth;
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct {
            const uint8_t *data; /* borrowed from the input; not NUL-terminated */
            size_t size;
        } bytes; /* BYTES, STR, LONG */
        struct {
            VitroPickleNode **item;
            size_t count; /* of nodes: twice the pairs of a DICT */
        } seq;            /* TUPLE, LIST, SET, DICT */
        struct {
            const VitroPickleNode *module, *name; /* STR or BYTES */
        } global;
        VitroPickleCall *call;
        struct {
            const VitroPickleNode *id;
            const VitroPickleNode *previous; /* PERSISTENT node in the file, or NULL */
        } persistent;
    } u;
};

typedef struct VitroPickle {
    const VitroPickleNode *root;            /* never NULL after a good parse */
    const VitroPickleNode *last_persistent; /* the chain of all PERSISTENT nodes, or NULL */
    size_t used; /* bytes up to and with STOP; a file may hold several pickles */
    struct VitroPickleChunk *chunks;
    size_t memory;
} VitroPickle;

/* Reads one pickle from the start of `data`, which must outlive `p`: strings and arrays are views
 * of it. On failure nothing is held. Errors: VITRO_E_FORMAT and VITRO_E_UNSUPPORTED, naming the
 * opcode and its offset; VITRO_E_NOMEM. */
VITRO_MUST_CHECK VitroStatus vitro_pickle_parse(VitroPickle *p, const void *data, size_t size);
void vitro_pickle_free(VitroPickle *p); /* all nodes at once; a zeroed VitroPickle is fine */

/* ---- looking at nodes; every function accepts NULL and any kind, and then says no ------------ */
const char *vitro_pickle_kind_name(const VitroPickleNode *n); /* "a tuple", "nothing", ... */
bool vitro_pickle_is(const VitroPickleNode *n, VitroPickleKind kind);
/* The text of a STR or BYTES, or of _codecs.encode(text, "latin1"): for want of an opcode, Python 3
 * writes bytes so in protocols 0 to 2 (then *text is the UTF-8 of those bytes: the same if ASCII).
 * A view of the input, not NUL-terminated. */
bool vitro_pickle_text(const VitroPickleNode *n, const char **text, size_t *size);
/* vitro_pickle_text() equal to `text`. */
bool vitro_pickle_is_text(const VitroPickleNode *n, const char *text);
/* The global `module`.`name`. */
bool vitro_pickle_is_global(const VitroPickleNode *n, const char *module, const char *name);
/* A CALL of that global. */
bool vitro_pickle_is_call(const VitroPickleNode *n, const char *module, const char *name);
/* INT or BOOL. */
bool vitro_pickle_int(const VitroPickleNode *n, int64_t *out);
/* The i-th item of a TUPLE or LIST, or the i-th argument of a CALL; NULL where there is none. */
const VitroPickleNode *vitro_pickle_at(const VitroPickleNode *n, size_t i);
/* The key, value, ... nodes of a DICT or of a CALL with pairs (an OrderedDict); *count is twice the
 * number of pairs. NULL and 0 for all else. */
VitroPickleNode *const *vitro_pickle_pairs(const VitroPickleNode *n, size_t *count);
/* The value under a key of that text, the last one as in Python; NULL where absent. Linear time. */
const VitroPickleNode *vitro_pickle_get(const VitroPickleNode *n, const char *key);

#endif
