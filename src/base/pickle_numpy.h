/* SPDX-License-Identifier: Apache-2.0 */
/* NumPy arrays inside a pickle, as views: what numpy/core/src/multiarray/methods.c
 * (array_reduce, array_reduce_ex_picklebuffer) writes for protocols 0 to 5, of NumPy 1 and 2. */
#ifndef VITRO_BASE_PICKLE_NUMPY_H
#define VITRO_BASE_PICKLE_NUMPY_H

#include "base/pickle.h"

#define VITRO_NUMPY_MAX_RANK 8

typedef struct VitroNumpyArray {
    char kind;       /* of the dtype: 'u', 'i', 'f', 'b' (bool), 'c' */
    int item_size;   /* bytes: 1, 2, 4, 8 or 16 */
    bool big_endian; /* only where item_size > 1 */
    bool fortran;    /* first index fastest */
    int rank;
    int64_t dim[VITRO_NUMPY_MAX_RANK];
    int64_t count;
    const uint8_t *data; /* count * item_size bytes; a view of the pickle's input, or `owned`.
                            Not aligned. */
    uint8_t *owned;
} VitroNumpyArray;

/* The node as an array. Errors: VITRO_E_FORMAT where it is none or contradicts itself,
 * VITRO_E_UNSUPPORTED for object, string and record dtypes. */
VITRO_MUST_CHECK VitroStatus vitro_numpy_array(VitroNumpyArray *out, const VitroPickleNode *n);
void vitro_numpy_array_free(VitroNumpyArray *a);
bool vitro_numpy_is_array(const VitroPickleNode *n);

/* An INT, a BOOL, or a NumPy integer scalar (which list(array) leaves in a list). */
bool vitro_numpy_int(const VitroPickleNode *n, int64_t *out);

/* The bytes of a BYTES node, or of _codecs.encode(text, "latin1"), which is how Python 3 writes
 * bytes in protocols 0 to 2. *owned is NULL where the bytes are a view, else vitro_free() it. */
VITRO_MUST_CHECK VitroStatus vitro_pickle_bytes(const VitroPickleNode *n, const uint8_t **data,
                                                size_t *size, uint8_t **owned);

#endif
