/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint64_t count;
static _Atomic uint64_t fail_at;

static void *refuse(size_t bytes)
{
    vitro_fail(VITRO_E_NOMEM, "cannot allocate %zu bytes", bytes);
    return NULL;
}

static bool must_fail(void)
{
    uint64_t n = atomic_fetch_add(&count, 1) + 1;
    return n == atomic_load_explicit(&fail_at, memory_order_relaxed);
}

void *vitro_malloc(size_t bytes)
{
    void *p = must_fail() ? NULL : malloc(bytes ? bytes : 1);
    return p ? p : refuse(bytes);
}

void *vitro_calloc(size_t n, size_t size)
{
    void *p = must_fail() ? NULL : calloc(n ? n : 1, size ? size : 1);
    return p ? p : refuse(size && n > SIZE_MAX / size ? SIZE_MAX : n * size);
}

void *vitro_realloc(void *old, size_t n, size_t size)
{
    if (size && n > SIZE_MAX / size)
        return refuse(SIZE_MAX);
    size_t bytes = n * size;
    void *p = must_fail() ? NULL : realloc(old, bytes ? bytes : 1);
    return p ? p : refuse(bytes);
}

void *vitro_malloc_aligned(size_t bytes)
{
    if (bytes > SIZE_MAX - VITRO_ALIGN)
        return refuse(bytes);
    size_t padded = (bytes + VITRO_ALIGN - 1) / VITRO_ALIGN * VITRO_ALIGN;
    void *p = must_fail() ? NULL : aligned_alloc(VITRO_ALIGN, padded ? padded : VITRO_ALIGN);
    return p ? p : refuse(bytes);
}

char *vitro_strndup(const char *s, size_t n)
{
    char *p = vitro_malloc(n + 1);
    if (p) {
        memcpy(p, s, n);
        p[n] = 0;
    }
    return p;
}

char *vitro_strdup(const char *s)
{
    return vitro_strndup(s, strlen(s));
}

char *vitro_asprintf(const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : vitro_malloc((size_t)n + 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}

void vitro_free(void *p)
{
    free(p);
}

uint64_t vitro_alloc_count(void)
{
    return atomic_load(&count);
}

void vitro_alloc_fail_at(uint64_t n)
{
    atomic_store(&fail_at, n ? atomic_load(&count) + n : 0);
}
