/* SPDX-License-Identifier: Apache-2.0 */
/* Libraries that are loaded by the first call that needs them. libcurl and libarchive bring 35
 * others with them (TLS, LDAP, Kerberos, XML, ...), which took most of the time that any command
 * needs to start; and only a download has use for them.
 *
 *     #define FUNCTIONS(F) F(curl_easy_init) F(curl_easy_cleanup)
 *     static struct {
 *         FUNCTIONS(VITRO_LATE_MEMBER)
 *     } lib;
 *     static const char *const names[] = {FUNCTIONS(VITRO_LATE_NAME)};
 *     static VitroLate late = {.file = "libcurl.so.4", .names = names, .count = ..., .table =
 * &lib}; VITRO_TRY(vitro_late_load(&late)); lib.curl_easy_init();
 */
#ifndef VITRO_BASE_LATE_H
#define VITRO_BASE_LATE_H

#include "base/status.h"

#define VITRO_LATE_MEMBER(name) __typeof__(name) *name; /* the type is the header's */
#define VITRO_LATE_NAME(name)   #name,

typedef struct VitroLate {
    const char *file; /* as the loader finds it */
    const char *const *names;
    size_t count;
    void *table; /* receives `count` addresses of functions */
    bool is_loaded;
} VitroLate;

/* Any number of threads may call; the library stays for as long as the process.
 * VITRO_E_UNSUPPORTED: it is not here, or lacks a function. */
VitroStatus vitro_late_load(VitroLate *late);

#endif
