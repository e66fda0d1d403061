/* SPDX-License-Identifier: Apache-2.0 */
/* How the library reports failure: who detects it writes the text with vitro_fail(), who passes it
 * on stays silent (VITRO_TRY), and only a border (a file, a layer) adds a prefix. */
#ifndef VITRO_BASE_STATUS_H
#define VITRO_BASE_STATUS_H

#include "vitro/base.h"

#if defined(__GNUC__)
#define VITRO_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define VITRO_PRINTF(fmt, args)
#endif

/* Records the text for this thread and returns `status`, which must not be VITRO_OK. */
VitroStatus vitro_fail(VitroStatus status, const char *fmt, ...) VITRO_PRINTF(2, 3);

/* Puts "prefix: " in front of this thread's recorded text and returns `status`. */
VitroStatus vitro_fail_prefix(VitroStatus status, const char *fmt, ...) VITRO_PRINTF(2, 3);

/* vitro_fail(VITRO_E_IO) with strerror(errno) appended. */
VitroStatus vitro_fail_errno(const char *fmt, ...) VITRO_PRINTF(1, 2);

/* None of them returns VITRO_OK. The compiler is told, so that it does not believe that results are
 * used unset after VITRO_TRY. */
static inline VitroStatus vitro_not_ok(VitroStatus status)
{
#if defined(__GNUC__)
    if (status == VITRO_OK)
        __builtin_unreachable();
#endif
    return status;
}
#define vitro_fail(...)        vitro_not_ok((vitro_fail)(__VA_ARGS__))
#define vitro_fail_prefix(...) vitro_not_ok((vitro_fail_prefix)(__VA_ARGS__))
#define vitro_fail_errno(...)  vitro_not_ok((vitro_fail_errno)(__VA_ARGS__))

/* A worker thread copies its failure into `out` (at least VITRO_ERROR_MAX bytes), its joiner
 * installs it as its own. */
#define VITRO_ERROR_MAX 1024
void vitro_error_take(char *out);
void vitro_error_put(const char *text);

#define VITRO_TRY(call)                                                                            \
    do {                                                                                           \
        VitroStatus vitro_try_status_ = (call);                                                    \
        if (vitro_try_status_ != VITRO_OK)                                                         \
            return vitro_try_status_;                                                              \
    } while (0)

/* The same where resources are held: needs `VitroStatus st` and a label `done` in scope. */
#define VITRO_GOTO(call)                                                                           \
    do {                                                                                           \
        st = (call);                                                                               \
        if (st != VITRO_OK)                                                                        \
            goto done;                                                                             \
    } while (0)

#endif
