/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void vitro_buf_init(VitroBuf *b, size_t max)
{
    *b = (VitroBuf){.max = max};
}

void vitro_buf_deinit(VitroBuf *b)
{
    vitro_free(b->data);
    *b = (VitroBuf){.max = b->max};
}

/* Makes room for n more bytes and one NUL. */
static VitroStatus reserve(VitroBuf *b, size_t n)
{
    if (b->status)
        return b->status;
    if (n > b->max || b->len > b->max - n)
        return b->status =
                   vitro_fail(VITRO_E_FORMAT, "data exceeds its limit of %zu bytes", b->max);
    size_t need = b->len + n + 1;
    if (need <= b->cap)
        return VITRO_OK;
    size_t cap = b->cap + b->cap / 2 + 64;
    if (cap < need)
        cap = need;
    void *p = vitro_realloc(b->data, cap, 1);
    if (!p)
        return b->status = VITRO_NOMEM;
    b->data = p;
    b->cap = cap;
    return VITRO_OK;
}

VitroStatus vitro_buf_extend(VitroBuf *b, size_t n, uint8_t **out)
{
    VITRO_TRY(reserve(b, n));
    *out = b->data + b->len;
    b->len += n;
    return VITRO_OK;
}

VitroStatus vitro_buf_append(VitroBuf *b, const void *data, size_t n)
{
    uint8_t *at;
    VITRO_TRY(vitro_buf_extend(b, n, &at));
    if (n)
        memcpy(at, data, n);
    return VITRO_OK;
}

VitroStatus vitro_buf_printf(VitroBuf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    VitroStatus st =
        n < 0 ? vitro_fail(VITRO_E_INTERNAL, "bad format \"%s\"", fmt) : reserve(b, (size_t)n);
    if (st == VITRO_OK) {
        vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return st;
}

VitroStatus vitro_buf_cstr(VitroBuf *b, const char **out)
{
    VITRO_TRY(reserve(b, 0));
    b->data[b->len] = 0;
    *out = (const char *)b->data;
    return VITRO_OK;
}
