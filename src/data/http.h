/* SPDX-License-Identifier: Apache-2.0 */
/* One file from an HTTP(S) server, in spite of cut lines, stalls and servers that lie. Knows no
 * data set and does not judge the bytes: whoever asked checks their sum. */
#ifndef VITRO_DATA_HTTP_H
#define VITRO_DATA_HTTP_H

#include "base/status.h"

typedef struct VitroHttpRequest {
    const char *url;   /* http:// or https://, without user name and password */
    const char *token; /* goes as "Authorization: Bearer" to the url's host (and port) alone, over
                        * https, or in plain to this machine; NULL: none */
    int64_t max_bytes; /* a file that claims or sends more is refused */
    int connect_timeout_ms; /* > 0 */
    int stall_timeout_s;    /* > 0; a slower line than 100 bytes/s for so long counts as cut */
    int tries;              /* > 0; in a row without headway; a try that brings bytes is free */
    int retry_delay_ms;     /* before the second try without headway; doubles up to 10 s */
    /* Called at least about once a second; false stops. total -1: unknown. May be NULL. */
    bool (*progress)(void *user, int64_t done, int64_t total);
    void *user;
} VitroHttpRequest;

/* Completes the file behind `fd`, open for reading and writing, which may hold the first bytes from
 * an earlier call: they are kept where the server can continue, and fetched anew where it cannot.
 * After a failure the bytes that arrived stay. At most 5 redirects, to http or https only, and
 * never from https to http.
 * Errors: VITRO_E_IO (no connection, the server refuses), _FORMAT (too large), _CANCELLED, _ARG
 * (the url), _UNSUPPORTED (libcurl is not here, or the build was made without it), _NOMEM. */
VitroStatus vitro_http_get(int fd, const VitroHttpRequest *request);
/* The version of the library that does it, "none" (in this build) or "not found". Static storage.
 */
const char *vitro_http_library(void);

/* Whether a token for `url` may go to `to`: the same scheme, host and port, and a safe way there.
 */
bool vitro_http_may_send_token(const char *url, const char *to);
/* Whether a server at `from` may send us on to `to`. */
bool vitro_http_may_redirect(const char *from, const char *to);

/* "bytes 5-9/10" or "bytes 5-9/" and a star (total -1). False where it is neither, or makes no
 * sense. */
bool vitro_http_parse_range(const char *text, int64_t *first, int64_t *last, int64_t *total);

#endif
