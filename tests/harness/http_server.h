/* SPDX-License-Identifier: Apache-2.0 */
/* A small HTTP server on 127.0.0.1, on a thread of its own, that answers as a test wants it to:
 * well, badly, or not at all. One request per connection, one connection at a time. */
#ifndef VT_HTTP_SERVER_H
#define VT_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct VtRequest {
    int fd;                  /* of the connection; the server closes it */
    int number;              /* requests before this one */
    char path[256];          /* "/data.bin" */
    char authorization[128]; /* of "Authorization: ...\r\n"; "": none */
    long long first;         /* of "Range: bytes=first-"; -1: none */
} VtRequest;

/* Runs on the server's thread. Returning closes the connection. */
typedef void (*VtAnswerFn)(void *user, const VtRequest *r);

typedef struct VtServer VtServer;

VtServer *vt_server_start(VtAnswerFn answer, void *user);
int vt_server_port(const VtServer *s);
/* Ends the thread; returns how many requests there were. */
int vt_server_stop(VtServer *s);

/* For answers. They do not fail: a client that has gone is no concern of the server's. */
__attribute__((format(printf, 2, 3))) void vt_send_text(const VtRequest *r, const char *fmt, ...);
void vt_send(const VtRequest *r, const void *data, size_t n);
/* Sends nothing until the client closes the connection. */
void vt_stall(const VtRequest *r);
/* A true answer: 200, or 206 where a range was asked for; breaks off after `most` bytes of body. */
void vt_send_file(const VtRequest *r, const void *data, size_t n, size_t most);

#endif
