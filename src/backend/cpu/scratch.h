/* SPDX-License-Identifier: Apache-2.0 */
/* Working memory of the thread that calls an op: grown at need, kept until the thread ends, so that
 * warm calls allocate nothing and several predictors do not meet. */
#ifndef VITRO_BACKEND_CPU_SCRATCH_H
#define VITRO_BACKEND_CPU_SCRATCH_H

#include "base/status.h"

typedef enum VitroScratch {
    VITRO_SCRATCH_OP,      /* an op's own */
    VITRO_SCRATCH_OPERAND, /* a product's rows of a, in the form that it needs */
    VITRO_SCRATCH_PATH,    /* drop path's scales */
    VITRO_SCRATCH_THREADS, /* a product's threads' */
    VITRO_SCRATCH_COUNT
} VitroScratch;

/* At least `bytes` aligned bytes of undefined contents, valid until the thread's next call for the
 * same `which`. */
VitroStatus vitro_scratch(void **out, VitroScratch which, size_t bytes);

/* Asks for large pages behind a large block, where the system has them. */
void vitro_large_pages(void *p, size_t bytes);

#endif
