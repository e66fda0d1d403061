/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { BLOCK = 512 };

static void append(VitroBuf *b, const void *data, size_t n)
{
    assert_int_equal(vitro_buf_append(b, data, n), VITRO_OK);
}

/* The header's fields lie at fixed places; numbers are octal text. */
void vt_tar_add(VitroBuf *tar, const char *name, char type, const char *link, const void *data,
                size_t size)
{
    char head[BLOCK] = {0};
    static const char zeros[BLOCK] = {0};
    snprintf(head, 100, "%s", name);
    snprintf(head + 100, 8, "%07o", type == '5' ? 0755u : 0644u);
    snprintf(head + 108, 8, "%07o", 0u);
    snprintf(head + 116, 8, "%07o", 0u);
    snprintf(head + 124, 12, "%011lo", (unsigned long)size);
    snprintf(head + 136, 12, "%011o", 0u);
    head[156] = type;
    snprintf(head + 157, 100, "%s", link ? link : "");
    memcpy(head + 257, "ustar\00000", 8);
    memset(head + 148, ' ', 8); /* the sum counts its own field as blanks */
    unsigned sum = 0;
    for (int i = 0; i < BLOCK; i++)
        sum += (unsigned char)head[i];
    snprintf(head + 148, 8, "%06o", sum);
    append(tar, head, BLOCK);
    append(tar, data, size);
    append(tar, zeros, (BLOCK - size % BLOCK) % BLOCK);
}

void vt_tar_finish(VitroBuf *gz, VitroBuf *tar)
{
    static const char end[2 * BLOCK] = {0};
    append(tar, end, sizeof(end));
    vt_gzip(gz, tar->data, tar->len);
}

void vt_gzip(VitroBuf *gz, const void *data, size_t size)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)size};
    /* 16: with gzip's header and checksum */
    assert_int_equal(deflateInit2(&z, 1, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    uint8_t *out;
    size_t room = deflateBound(&z, (uLong)size), before = gz->len;
    assert_int_equal(vitro_buf_extend(gz, room, &out), VITRO_OK);
    z.next_out = out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    gz->len = before + z.total_out;
    deflateEnd(&z);
}
