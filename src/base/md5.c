/* SPDX-License-Identifier: Apache-2.0 */
#include "base/md5.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 64 };

/* RFC 1321, 3.4: floor(2^32 * |sin(i + 1)|) */
static const uint32_t sines[BLOCK] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

/* Left rotations of round r, step i % 4. */
static const uint8_t turns[4][4] = {
    {7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

static uint32_t read_le32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void take_block(uint32_t state[4], const uint8_t *block)
{
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], word[16];
    for (int i = 0; i < 16; i++)
        word[i] = read_le32(block + 4 * i);
    for (int i = 0; i < BLOCK; i++) {
        uint32_t mix;
        int which; /* word of this step */
        switch (i / 16) {
        case 0:
            mix = (b & c) | (~b & d);
            which = i;
            break;
        case 1:
            mix = (b & d) | (c & ~d);
            which = 5 * i + 1;
            break;
        case 2:
            mix = b ^ c ^ d;
            which = 3 * i + 5;
            break;
        default:
            mix = c ^ (b | ~d);
            which = 7 * i;
        }
        uint32_t sum = a + mix + word[which % 16] + sines[i];
        int turn = turns[i / 16][i % 4];
        a = d;
        d = c;
        c = b;
        b += sum << turn | sum >> (32 - turn);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
}

void vitro_md5_init(VitroMd5 *m)
{
    *m = (VitroMd5){.state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}};
}

void vitro_md5_update(VitroMd5 *m, const void *data, size_t n)
{
    const uint8_t *p = data;
    while (n) {
        size_t have = m->bytes % BLOCK;
        if (have == 0 && n >= BLOCK) {
            take_block(m->state, p);
            p += BLOCK;
            n -= BLOCK;
            m->bytes += BLOCK;
            continue;
        }
        size_t take = BLOCK - have < n ? BLOCK - have : n;
        memcpy(m->block + have, p, take);
        p += take;
        n -= take;
        m->bytes += take;
        if (have + take == BLOCK)
            take_block(m->state, m->block);
    }
}

void vitro_md5_final(VitroMd5 *m, char hex[VITRO_MD5_HEX])
{
    static const uint8_t padding[BLOCK] = {0x80};
    static const char digits[] = "0123456789abcdef";
    uint64_t bits = m->bytes * 8;
    uint8_t length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)(bits >> (8 * i));
    size_t have = m->bytes % BLOCK;
    vitro_md5_update(m, padding, have < 56 ? 56 - have : 120 - have);
    vitro_md5_update(m, length, sizeof(length));
    for (int i = 0; i < 16; i++) {
        uint8_t byte = (uint8_t)(m->state[i / 4] >> (8 * (i % 4)));
        hex[2 * i] = digits[byte >> 4];
        hex[2 * i + 1] = digits[byte & 15];
    }
    hex[32] = 0;
}

VitroStatus vitro_md5_file(char hex[VITRO_MD5_HEX], int fd, const char *name)
{
    uint8_t chunk[65536];
    VitroMd5 m;
    vitro_md5_init(&m);
    for (off_t at = 0;;) {
        ssize_t n = pread(fd, chunk, sizeof(chunk), at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return vitro_fail_errno("%s: cannot read", name);
        if (n == 0)
            break;
        vitro_md5_update(&m, chunk, (size_t)n);
        at += n;
    }
    vitro_md5_final(&m, hex);
    return VITRO_OK;
}
