/* SPDX-License-Identifier: Apache-2.0 */
#include "data/split.h"

#include "base/alloc.h"

#include <assert.h>
#include <string.h>

enum { N = 624, M = 397 };

/* init_genrand and init_by_array of the authors' reference, the latter for a key of one word. */
void vitro_mt_seed(VitroMt19937 *mt, uint32_t seed)
{
    uint32_t *s = mt->state;
    s[0] = 19650218u;
    for (uint32_t i = 1; i < N; i++)
        s[i] = 1812433253u * (s[i - 1] ^ (s[i - 1] >> 30)) + i;
    uint32_t i = 1;
    for (int k = N; k > 0; k--) {
        s[i] = (s[i] ^ ((s[i - 1] ^ (s[i - 1] >> 30)) * 1664525u)) + seed;
        if (++i >= N) {
            s[0] = s[N - 1];
            i = 1;
        }
    }
    for (int k = N - 1; k > 0; k--) {
        s[i] = (s[i] ^ ((s[i - 1] ^ (s[i - 1] >> 30)) * 1566083941u)) - i;
        if (++i >= N) {
            s[0] = s[N - 1];
            i = 1;
        }
    }
    s[0] = 0x80000000u;
    mt->next = N;
}

static void refill(VitroMt19937 *mt)
{
    uint32_t *s = mt->state;
    for (int i = 0; i < N; i++) {
        uint32_t y = (s[i] & 0x80000000u) | (s[(i + 1) % N] & 0x7fffffffu);
        s[i] = s[(i + M) % N] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    mt->next = 0;
}

uint32_t vitro_mt_u32(VitroMt19937 *mt)
{
    if (mt->next == N)
        refill(mt);
    uint32_t y = mt->state[mt->next++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

/* Lib/random.py, _randbelow_with_getrandbits: as many bits as n has, until they are below n. */
uint32_t vitro_mt_below(VitroMt19937 *mt, uint32_t n)
{
    assert(n >= 1);
    int bits = 0;
    for (uint32_t v = n; v; v >>= 1)
        bits++;
    for (;;) {
        uint32_t r = vitro_mt_u32(mt) >> (32 - bits);
        if (r < n)
            return r;
    }
}

/* Above which n random.sample keeps a set of picks in place of a pool. Its 4**ceil(log(3k, 4)) is
 * the first power of 4 above 3k, for no power of 4 is a multiple of 3. */
static uint64_t pool_limit(uint32_t k)
{
    uint64_t power = 1;
    if (k > 5)
        while (power < 3 * (uint64_t)k)
            power *= 4;
    return k > 5 ? 21 + power : 21;
}

VitroStatus vitro_mt_sample(VitroMt19937 *mt, bool *chosen, uint32_t n, uint32_t k)
{
    assert(k <= n);
    memset(chosen, 0, n * sizeof(*chosen));
    if (n > pool_limit(k)) {
        for (uint32_t i = 0; i < k; i++) {
            uint32_t j;
            do
                j = vitro_mt_below(mt, n);
            while (chosen[j]);
            chosen[j] = true;
        }
        return VITRO_OK;
    }
    uint32_t *pool = vitro_malloc(n * sizeof(*pool));
    if (!pool)
        return VITRO_NOMEM;
    for (uint32_t i = 0; i < n; i++)
        pool[i] = i;
    for (uint32_t i = 0; i < k; i++) {
        uint32_t j = vitro_mt_below(mt, n - i);
        chosen[pool[j]] = true;
        pool[j] = pool[n - i - 1];
    }
    vitro_free(pool);
    return VITRO_OK;
}

uint32_t vitro_split_val_count(uint32_t n)
{
    return (uint32_t)((double)n * 0.2);
}
