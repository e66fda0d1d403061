/* SPDX-License-Identifier: Apache-2.0 */
/* The op tests' harness. A case runs one op three times with the same arguments: on the oracle
 * ("ref" in FP64), on the device under test, and there once more. It then holds
 *   - the tested device's results against the oracle's, to a limit that the test states,
 *   - its second results against its first, bit for bit,
 *   - inputs against what they were, and the bytes around every tensor against what was put there.
 *
 *     static void relu(VtCase *c, int64_t n)
 *     {
 *         VtTensor *x = vt_input(c, "x", 1, (int64_t[]){n});
 *         VtTensor *y = vt_output(c, "y", 1, (int64_t[]){n});
 *         for (int s = 0; s < VT_SIDES; s++)
 *             vt_ok(c, c->dev[s]->ops->relu(c->dev[s], y->t[s], x->t[s]));
 *         vt_check(c, y, 1e-6);
 *     }
 *     ...
 *     if (vt_begin(c, "relu n=%d", n)) {
 *         relu(c, n);
 *         vt_end(c);
 *     }
 *
 * The environment narrows a run down; a failure prints the line that repeats it:
 *   VITRO_TEST_BACKEND=cpu  VITRO_CPU_MASK=0x1  VITRO_TEST_SEED=1  VITRO_TEST_CASE=<part of name>
 */
#ifndef VITRO_TESTS_VT_H
#define VITRO_TESTS_VT_H

#include "backend/backend.h"
#include "base/rng.h"

enum { VT_ORACLE = 0, VT_TESTED = 1, VT_AGAIN = 2, VT_SIDES = 3 };

typedef enum VtKind {
    VT_INPUT,  /* must not change */
    VT_OUTPUT, /* NaN before the op */
    VT_INOUT   /* numbers before the op, other numbers after it */
} VtKind;

/* The same tensor on all sides. */
typedef struct VtTensor {
    VitroTensor t[VT_SIDES]; /* t[s].data NULL: absent */
    VtKind kind;
    char name[24];
    void *block[VT_SIDES];  /* guard bytes, elements, guard bytes */
    void *before[VT_SIDES]; /* host copy of the bytes the op found; NULL for VT_OUTPUT */
} VtTensor;

#define VT_MAX_TENSORS 24
#define VT_MAX_RAW     24

typedef struct VtCase {
    VitroDevice *dev[VT_SIDES];
    unsigned cpu_mask;
    bool reduced; /* a run in which the large shapes add nothing: a CPU mask, or ref itself */
    uint64_t seed;
    char name[160];
    bool failed;
    bool quiet; /* failures are counted, not printed: the harness's own test */
    int tensor_count, raw_count;
    VtTensor tensor[VT_MAX_TENSORS];
    struct {
        int side;
        void *p;
    } raw[VT_MAX_RAW];
} VtCase;

/* Calls `cases` for every back end of the build and, on those that have several code paths, for
 * every CPU mask that makes a difference here. Returns the number of failed cases. */
int vt_each_device(void (*cases)(VtCase *c));
/* The same of devices in bf16, for every back end that has it. There inputs are numbers that bf16
 * has, so that a product differs from the oracle's by the rounding of sums alone. */
int vt_each_bf16_device(void (*cases)(VtCase *c));
/* Whether a back end of this build can be used here: there may be no GPU, and the environment may
 * ask for other back ends. Prints why not. */
bool vt_usable(const char *backend);

/* False: the environment asks for other cases. */
bool vt_begin(VtCase *c, const char *name_fmt, ...) VITRO_PRINTF(2, 3);
void vt_end(VtCase *c);

/* Tensors of the device's dtype: normally distributed float32 numbers, the same on all sides
 * (vt_input, vt_inout), or NaN (vt_output). Freed by vt_end. */
VtTensor *vt_input(VtCase *c, const char *name, int rank, const int64_t *dim);
VtTensor *vt_output(VtCase *c, const char *name, int rank, const int64_t *dim);
VtTensor *vt_inout(VtCase *c, const char *name, int rank, const int64_t *dim);
VtTensor *vt_absent(void);
/* The general form. `scale` is the numbers' standard deviation; dtype VITRO_F32 means the device's
 * own, VITRO_F64 and VITRO_I32 what they say, VITRO_BF16 that of operands: the oracle has F64. */
VtTensor *vt_make(VtCase *c, const char *name, VtKind kind, VitroDtype dtype, double scale,
                  int rank, const int64_t *dim);
/* Gives an input or inout tensor other numbers. */
void vt_set(VtCase *c, VtTensor *t, const float *values);
/* Makes an input of what the oracle computed: its numbers, rounded to float32, on all sides. */
void vt_settle(VtCase *c, VtTensor *t);
/* Puts a side's elements back to what they were before the op, or all to zero. */
void vt_restore(VtCase *c, const VtTensor *t, int side);
void vt_clear(VtCase *c, const VtTensor *t, int side);

/* A copy of host bytes in the side's device memory, freed by vt_end. */
void *vt_raw(VtCase *c, int side, const void *bytes, size_t size);

/* Fails the case unless `status` is VITRO_OK. */
void vt_ok(VtCase *c, VitroStatus status);
/* Fails the case unless tested = oracle within limit * (the oracle's largest magnitude), to which a
 * bf16 element adds half a unit of its own last place, and
 * again = tested, bit for bit. A limit of 0 asks for equal numbers (but for underflow). */
void vt_check(VtCase *c, const VtTensor *t, double limit);
void vt_fail(VtCase *c, const char *fmt, ...) VITRO_PRINTF(2, 3);

#endif
