/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/scratch.h"

#include "base/alloc.h"

#include <pthread.h>
#include <sys/mman.h>

typedef struct Block {
    void *p;
    size_t bytes;
} Block;

static _Thread_local Block mine[VITRO_SCRATCH_COUNT];

/* A thread-local variable has no destructor in C; a key has. */
static pthread_key_t key;
static bool have_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void release(void *blocks)
{
    Block *b = blocks;
    for (int i = 0; i < VITRO_SCRATCH_COUNT; i++) {
        vitro_free(b[i].p);
        b[i] = (Block){0};
    }
}

static void make_key(void)
{
    have_key = pthread_key_create(&key, release) == 0;
}

VitroStatus vitro_scratch(void **out, VitroScratch which, size_t bytes)
{
    Block *b = &mine[which];
    if (b->bytes < bytes || !b->p) {
        pthread_once(&once, make_key);
        if (!have_key || pthread_setspecific(key, mine) != 0)
            return vitro_fail(VITRO_E_NOMEM, "no thread-specific data left for working memory");
        void *p = vitro_malloc_aligned(bytes);
        if (!p)
            return VITRO_NOMEM;
        vitro_large_pages(p, bytes);
        vitro_free(b->p);
        *b = (Block){p, bytes};
    }
    *out = b->p;
    return VITRO_OK;
}

void vitro_large_pages(void *p, size_t bytes)
{
#if defined(MADV_HUGEPAGE)
    const uintptr_t side = 1 << 21;
    uintptr_t first = ((uintptr_t)p + side - 1) & ~(side - 1), end = (uintptr_t)p + bytes;
    end &= ~(side - 1);
    if (end > first)
        (void)madvise((void *)first, end - first, MADV_HUGEPAGE); /* a wish: failure is fine */
#else
    (void)p, (void)bytes;
#endif
}
