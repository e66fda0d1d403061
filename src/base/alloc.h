/* SPDX-License-Identifier: Apache-2.0 */
/* The only place that calls malloc and free. Products of sizes are checked; a test can make the
 * n-th allocation fail and can read how many there have been. */
#ifndef VITRO_BASE_ALLOC_H
#define VITRO_BASE_ALLOC_H

#include "base/status.h"

#define VITRO_ALIGN 64 /* bytes: a cache line, and a whole AVX-512 register */

/* All return NULL and record VITRO_E_NOMEM's text when memory cannot be had or the product
 * overflows. A size of 0 gives a pointer that may be freed. */
void *vitro_malloc(size_t bytes);
void *vitro_calloc(size_t count, size_t size);
void *vitro_realloc(void *p, size_t count, size_t size);
void *vitro_malloc_aligned(size_t bytes); /* VITRO_ALIGN; contents undefined */
char *vitro_strdup(const char *s);
char *vitro_strndup(const char *s, size_t n);
VITRO_PRINTF(1, 2) char *vitro_asprintf(const char *fmt, ...);
void vitro_free(void *p); /* for all of the above; NULL is fine */

/* The status to return after one of the above returned NULL (its text is already recorded). */
#define VITRO_NOMEM VITRO_E_NOMEM

/* Allocations so far, in all threads. */
uint64_t vitro_alloc_count(void);
/* Makes the n-th allocation from now fail, once (1 = the next; 0 = never). For tests. */
void vitro_alloc_fail_at(uint64_t n);

#endif
