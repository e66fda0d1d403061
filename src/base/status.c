/* SPDX-License-Identifier: Apache-2.0 */
/* The thread's last error. Fixed storage: reporting a failed allocation must not allocate. */
#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char error_text[VITRO_ERROR_MAX];

const char *vitro_status_name(VitroStatus status)
{
    static const char *const names[] = {
        "VITRO_OK",        "VITRO_E_ARG",         "VITRO_E_SHAPE",   "VITRO_E_NOMEM",
        "VITRO_E_IO",      "VITRO_E_FORMAT",      "VITRO_E_UNSUPPORTED",
        "VITRO_E_BACKEND", "VITRO_E_NUMERIC",     "VITRO_E_CANCELLED",
        "VITRO_E_INTERNAL"};
    size_t i = (size_t)status;
    return i < sizeof(names) / sizeof(names[0]) ? names[i] : "VITRO_E_?";
}

const char *vitro_last_error(void)
{
    return error_text;
}

/* A name taken from a hostile file must not break the promise of one printable line. */
static void make_one_line(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
}

VitroStatus(vitro_fail)(VitroStatus status, const char *fmt, ...)
{
    char text[VITRO_ERROR_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    make_one_line(text);
    memcpy(error_text, text, sizeof(text));
    return status;
}

VitroStatus(vitro_fail_prefix)(VitroStatus status, const char *fmt, ...)
{
    char old[VITRO_ERROR_MAX];
    memcpy(old, error_text, sizeof(old));
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(error_text, sizeof(error_text), fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof(error_text))
        snprintf(error_text + n, sizeof(error_text) - (size_t)n, ": %s", old);
    make_one_line(error_text);
    return status;
}

VitroStatus(vitro_fail_errno)(const char *fmt, ...)
{
    int err = errno;
    char what[VITRO_ERROR_MAX / 2];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    return vitro_fail(err == ENOMEM ? VITRO_E_NOMEM : VITRO_E_IO, "%s: %s", what, strerror(err));
}

void vitro_error_take(char *out)
{
    memcpy(out, error_text, VITRO_ERROR_MAX);
}

void vitro_error_put(const char *text)
{
    snprintf(error_text, sizeof(error_text), "%s", text);
}
