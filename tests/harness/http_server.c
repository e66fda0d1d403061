/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/http_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

struct VtServer {
    VtAnswerFn answer;
    void *user;
    int listener, port;
    int wake[2]; /* a pipe: closing its writing end stops the thread */
    int requests;
    pthread_t thread;
};

enum { LONGEST_WAIT_MS = 60000 };

/* Waits for bytes, an end or an error on `fd`. */
static void wait_for(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    poll(&p, 1, LONGEST_WAIT_MS);
}

/* ---- answers --------------------------------------------------------------------------------- */

void vt_send(const VtRequest *r, const void *data, size_t n)
{
    const char *p = data;
    while (n) {
        ssize_t k = send(r->fd, p, n, MSG_NOSIGNAL);
        if (k <= 0)
            return;
        p += k;
        n -= (size_t)k;
    }
}

void vt_send_text(const VtRequest *r, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (n > 0 && (size_t)n < sizeof(text))
        vt_send(r, text, (size_t)n);
}

void vt_stall(const VtRequest *r)
{
    char byte;
    do
        wait_for(r->fd);
    while (recv(r->fd, &byte, 1, MSG_DONTWAIT) > 0);
}

void vt_send_file(const VtRequest *r, const void *data, size_t n, size_t most)
{
    size_t first = 0;
    if (r->first >= 0 && (size_t)r->first >= n) {
        vt_send_text(r,
                     "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */%zu\r\n"
                     "Content-Length: 0\r\nConnection: close\r\n\r\n",
                     n);
        return;
    }
    if (r->first >= 0) {
        first = (size_t)r->first;
        vt_send_text(r,
                     "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %zu-%zu/%zu\r\n"
                     "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                     first, n - 1, n, n - first);
    } else {
        vt_send_text(r, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", n);
    }
    vt_send(r, (const char *)data + first, n - first < most ? n - first : most);
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* Reads the request's head; false where the client went away or sent something else. */
static bool read_request(VtRequest *r)
{
    char head[4096];
    size_t n = 0;
    while (n < sizeof(head) - 1) {
        ssize_t k = recv(r->fd, head + n, sizeof(head) - 1 - n, 0);
        if (k <= 0)
            return false;
        n += (size_t)k;
        head[n] = 0;
        if (strstr(head, "\r\n\r\n"))
            break;
    }
    if (sscanf(head, "GET %255s HTTP/1.", r->path) != 1)
        return false;
    const char *authorization = strcasestr(head, "\r\nAuthorization: ");
    r->authorization[0] = 0;
    if (authorization)
        sscanf(authorization, "\r\n%*[^:]: %127[^\r]", r->authorization);
    const char *range = strcasestr(head, "\r\nRange: bytes=");
    r->first = range ? strtoll(range + strlen("\r\nRange: bytes="), NULL, 10) : -1;
    return true;
}

static void *serve(void *user)
{
    VtServer *s = user;
    for (;;) {
        struct pollfd p[2] = {{.fd = s->listener, .events = POLLIN}, {.fd = s->wake[0]}};
        if (poll(p, 2, -1) < 0 || p[1].revents)
            return NULL;
        VtRequest r = {.fd = accept(s->listener, NULL, NULL), .number = s->requests};
        if (r.fd < 0)
            continue;
        if (read_request(&r)) {
            s->requests++;
            s->answer(s->user, &r);
        }
        shutdown(r.fd, SHUT_WR); /* bytes on their way arrive before the connection ends */
        close(r.fd);
    }
}

VtServer *vt_server_start(VtAnswerFn answer, void *user)
{
    VtServer *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(here);
    s->answer = answer;
    s->user = user;
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(s->listener >= 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&here, size), 0);
    assert_int_equal(listen(s->listener, 16), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&here, &size), 0);
    s->port = ntohs(here.sin_port);
    assert_int_equal(pipe(s->wake), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
    return s;
}

int vt_server_port(const VtServer *s)
{
    return s->port;
}

int vt_server_stop(VtServer *s)
{
    close(s->wake[1]);
    pthread_join(s->thread, NULL);
    int requests = s->requests;
    close(s->wake[0]);
    close(s->listener);
    free(s);
    return requests;
}
