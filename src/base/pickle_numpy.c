/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the calls by which NumPy rebuilds its arrays; it performs none of them. */
#include "base/pickle_numpy.h"

#include "base/alloc.h"

#include <string.h>

typedef VitroPickleNode Node;

/* NumPy 2 moved numpy.core to numpy._core. */
static bool is_numpy_call(const Node *n, const char *submodule, const char *name)
{
    static const char *const packages[] = {"numpy.core", "numpy._core"};
    const size_t len = strlen(submodule);
    if (!vitro_pickle_is(n, VITRO_PICKLE_CALL) ||
        !vitro_pickle_is(n->u.call->callee, VITRO_PICKLE_GLOBAL))
        return false;
    const Node *module = n->u.call->callee->u.global.module;
    if (!vitro_pickle_is_text(n->u.call->callee->u.global.name, name))
        return false;
    for (size_t i = 0; i < 2; i++) {
        size_t k = strlen(packages[i]);
        if (module->u.bytes.size == k + len && memcmp(module->u.bytes.data, packages[i], k) == 0 &&
            memcmp(module->u.bytes.data + k, submodule, len) == 0)
            return true;
    }
    return false;
}

/* UTF-8 of code points below 256 to one byte each. */
static VitroStatus decode_latin1(const Node *text, uint8_t **out, size_t *size)
{
    const uint8_t *p = text->u.bytes.data, *end = p + text->u.bytes.size;
    uint8_t *q = *out = vitro_malloc(text->u.bytes.size);
    if (!q)
        return VITRO_NOMEM;
    while (p < end) {
        if (*p < 0x80) {
            *q++ = *p++;
        } else if ((*p == 0xc2 || *p == 0xc3) && end - p > 1 && (p[1] & 0xc0) == 0x80) {
            *q++ = (uint8_t)(p[0] << 6 | (p[1] & 0x3f));
            p += 2;
        } else {
            size_t at = (size_t)(p - text->u.bytes.data);
            vitro_free(*out);
            *out = NULL;
            return vitro_fail(VITRO_E_FORMAT,
                              "pickle: byte %zu of a latin1 string is no UTF-8 of "
                              "a character below 256",
                              at);
        }
    }
    *size = (size_t)(q - *out);
    return VITRO_OK;
}

VitroStatus vitro_pickle_bytes(const Node *n, const uint8_t **data, size_t *size, uint8_t **owned)
{
    *owned = NULL;
    if (vitro_pickle_is(n, VITRO_PICKLE_BYTES)) {
        *data = n->u.bytes.data;
        *size = n->u.bytes.size;
        return VITRO_OK;
    }
    /* Python 3 writes an empty b"" of protocol 2 as bytes() of the builtins. */
    if (vitro_pickle_is_call(n, "__builtin__", "bytes") && !vitro_pickle_at(n, 0)) {
        *data = (const uint8_t *)"";
        *size = 0;
        return VITRO_OK;
    }
    const Node *text = vitro_pickle_at(n, 0);
    if (!vitro_pickle_is_call(n, "_codecs", "encode") || !vitro_pickle_is(text, VITRO_PICKLE_STR))
        return vitro_fail(VITRO_E_FORMAT, "pickle: expected bytes, found %s",
                          vitro_pickle_kind_name(n));
    if (!vitro_pickle_is_text(vitro_pickle_at(n, 1), "latin1"))
        return vitro_fail(VITRO_E_FORMAT, "pickle: expected bytes encoded as latin1");
    VITRO_TRY(decode_latin1(text, owned, size));
    *data = *owned;
    return VITRO_OK;
}

/* dtype("u1", align, copy) with the state (version, byte order, ...). */
static VitroStatus read_dtype(VitroNumpyArray *a, const Node *n)
{
    const Node *code = vitro_pickle_at(n, 0);
    if (!vitro_pickle_is_call(n, "numpy", "dtype") || !code ||
        (code->kind != VITRO_PICKLE_STR && code->kind != VITRO_PICKLE_BYTES))
        return vitro_fail(VITRO_E_FORMAT, "pickle: expected a NumPy dtype, found %s",
                          vitro_pickle_kind_name(n));
    static const char *const known[] = {"b1", "u1", "i1", "u2", "i2", "f2", "u4",
                                        "i4", "f4", "u8", "i8", "f8", "c8", "c16"};
    const char *found = NULL;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]) && !found; i++)
        found = vitro_pickle_is_text(code, known[i]) ? known[i] : NULL;
    if (!found)
        return vitro_fail(VITRO_E_UNSUPPORTED, "pickle: NumPy dtype \"%.*s\" is not supported",
                          code->u.bytes.size > 16 ? 16 : (int)code->u.bytes.size,
                          (const char *)code->u.bytes.data);
    a->kind = found[0];
    a->item_size = found[2] ? 16 : found[1] - '0';
    const Node *order = vitro_pickle_at(n->u.call->state, 1);
    a->big_endian = a->item_size > 1 && vitro_pickle_is_text(order, ">");
    return VITRO_OK;
}

static VitroStatus read_shape(VitroNumpyArray *a, const Node *n)
{
    if (!vitro_pickle_is(n, VITRO_PICKLE_TUPLE) || n->u.seq.count > VITRO_NUMPY_MAX_RANK)
        return vitro_fail(VITRO_E_FORMAT,
                          "pickle: expected the shape of a NumPy array, at most %d sizes",
                          VITRO_NUMPY_MAX_RANK);
    a->rank = (int)n->u.seq.count;
    a->count = 1;
    for (int i = 0; i < a->rank; i++) {
        if (!vitro_pickle_int(n->u.seq.item[i], &a->dim[i]) || a->dim[i] < 0)
            return vitro_fail(VITRO_E_FORMAT, "pickle: size %d of a NumPy array is no count", i);
        if (__builtin_mul_overflow(a->count, a->dim[i], &a->count))
            return vitro_fail(VITRO_E_FORMAT, "pickle: the sizes of a NumPy array overflow");
    }
    return VITRO_OK;
}

static VitroStatus read_data(VitroNumpyArray *a, const Node *n)
{
    size_t size;
    int64_t expected;
    if (vitro_pickle_is(n, VITRO_PICKLE_LIST))
        return vitro_fail(VITRO_E_UNSUPPORTED, "pickle: NumPy arrays of objects are not supported");
    VITRO_TRY(vitro_pickle_bytes(n, &a->data, &size, &a->owned));
    if (!__builtin_mul_overflow(a->count, (int64_t)a->item_size, &expected) &&
        (uint64_t)expected == size)
        return VITRO_OK;
    int64_t count = a->count;
    vitro_numpy_array_free(a);
    return vitro_fail(VITRO_E_FORMAT,
                      "pickle: a NumPy array of %lld elements of %d bytes has %zu bytes of data",
                      (long long)count, a->item_size, size);
}

/* _reconstruct(ndarray, (0,), b"b") with state (version, shape, dtype, is_fortran, data). */
static VitroStatus read_reconstructed(VitroNumpyArray *a, const Node *state)
{
    int64_t fortran = 0;
    if (!vitro_pickle_is(state, VITRO_PICKLE_TUPLE) || state->u.seq.count != 5 ||
        !vitro_pickle_int(state->u.seq.item[3], &fortran))
        return vitro_fail(VITRO_E_FORMAT, "pickle: the state of a NumPy array is not (version, "
                                          "shape, dtype, is_fortran, data)");
    a->fortran = fortran != 0;
    VITRO_TRY(read_shape(a, state->u.seq.item[1]));
    VITRO_TRY(read_dtype(a, state->u.seq.item[2]));
    return read_data(a, state->u.seq.item[4]);
}

/* _frombuffer(data, dtype, shape, order), of protocol 5. */
static VitroStatus read_frombuffer(VitroNumpyArray *a, const Node *n)
{
    a->fortran = vitro_pickle_is_text(vitro_pickle_at(n, 3), "F");
    VITRO_TRY(read_shape(a, vitro_pickle_at(n, 2)));
    VITRO_TRY(read_dtype(a, vitro_pickle_at(n, 1)));
    return read_data(a, vitro_pickle_at(n, 0));
}

bool vitro_numpy_is_array(const Node *n)
{
    return is_numpy_call(n, ".multiarray", "_reconstruct") ||
           is_numpy_call(n, ".numeric", "_frombuffer");
}

VitroStatus vitro_numpy_array(VitroNumpyArray *out, const Node *n)
{
    VitroNumpyArray a = {0};
    if (is_numpy_call(n, ".multiarray", "_reconstruct"))
        VITRO_TRY(read_reconstructed(&a, n->u.call->state));
    else if (is_numpy_call(n, ".numeric", "_frombuffer"))
        VITRO_TRY(read_frombuffer(&a, n));
    else
        return vitro_fail(VITRO_E_FORMAT, "pickle: expected a NumPy array, found %s",
                          vitro_pickle_kind_name(n));
    *out = a;
    return VITRO_OK;
}

void vitro_numpy_array_free(VitroNumpyArray *a)
{
    vitro_free(a->owned);
    a->owned = NULL;
    a->data = NULL;
}

/* scalar(dtype, data) */
bool vitro_numpy_int(const Node *n, int64_t *out)
{
    VitroNumpyArray a = {.count = 1};
    if (vitro_pickle_int(n, out))
        return true;
    if (!is_numpy_call(n, ".multiarray", "scalar") ||
        read_dtype(&a, vitro_pickle_at(n, 0)) != VITRO_OK ||
        (a.kind != 'i' && a.kind != 'u' && a.kind != 'b') ||
        read_data(&a, vitro_pickle_at(n, 1)) != VITRO_OK)
        return false;
    uint64_t value = 0;
    for (int i = 0; i < a.item_size; i++)
        value = value << 8 | a.data[a.big_endian ? i : a.item_size - 1 - i];
    int unused = 64 - 8 * a.item_size;
    bool fits = a.kind != 'u' || a.item_size < 8 || value <= INT64_MAX;
    *out = a.kind == 'i' ? (int64_t)(value << unused) >> unused : (int64_t)value;
    vitro_numpy_array_free(&a);
    return fits;
}
