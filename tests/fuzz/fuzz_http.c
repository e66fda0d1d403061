/* SPDX-License-Identifier: Apache-2.0 */
/* A server's answer: the bytes are all that it sends, to each request. */
#include "fuzz/fuzz.h"

#include "data/http.h"
#include "harness/http_server.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (64 << 10)

/* libcurl's buffers; the body goes to a file. */
const FuzzLimits fuzz_limits = {8 << 20, 64};

/* What the server sends. It may still be at it when the client has gone. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint8_t answer[FILE_MAX];
static size_t answer_size;

static void on_request(void *user, const VtRequest *r)
{
    static uint8_t copy[FILE_MAX]; /* one request at a time */
    (void)user;
    pthread_mutex_lock(&lock);
    size_t n = answer_size;
    memcpy(copy, answer, n);
    pthread_mutex_unlock(&lock);
    vt_send(r, copy, n);
}

static bool on_progress(void *user, int64_t done, int64_t total)
{
    (void)user;
    FUZZ_CHECK(done >= 0 && done <= FILE_MAX && total >= -1); /* the total is the server's claim */
    return true;
}

static void as_header(const char *text)
{
    int64_t first, last, total;
    if (vitro_http_parse_range(text, &first, &last, &total))
        FUZZ_CHECK(first >= 0 && first <= last && (total == -1 || last < total));
    FUZZ_CHECK(!vitro_http_may_redirect("https://a", text) || strncasecmp(text, "https:", 6) == 0);
    FUZZ_CHECK(!vitro_http_may_redirect("http://a", text) || strncasecmp(text, "http", 4) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static VtServer *server;
    char url[64], text[256];
    struct stat info;
    if (!server) {
        if (strcmp(vitro_http_library(), "none") == 0 ||
            strcmp(vitro_http_library(), "not found") == 0)
            exit(77);
        server = vt_server_start(on_request, NULL);
    }
    size_t n = size < sizeof(text) - 1 ? size : sizeof(text) - 1;
    memcpy(text, data, n);
    text[n] = 0;
    as_header(text);
    fuzz_digest = 0;
    pthread_mutex_lock(&lock);
    answer_size = size < FILE_MAX ? size : FILE_MAX;
    memcpy(answer, data, answer_size);
    pthread_mutex_unlock(&lock);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/f", vt_server_port(server));
    VitroHttpRequest request = {.url = url,
                                .max_bytes = FILE_MAX,
                                .connect_timeout_ms = 2000,
                                .stall_timeout_s = 1,
                                .tries = 2,
                                .retry_delay_ms = 1,
                                .progress = on_progress};
    int fd = memfd_create("http", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && write(fd, "0123", 4) == 4); /* a part from an earlier try */
    VitroStatus st = vitro_http_get(fd, &request);
    if (st)
        fuzz_refused(st, NULL);
    FUZZ_CHECK(fstat(fd, &info) == 0 && info.st_size <= FILE_MAX);
    close(fd);
    return 0;
}
