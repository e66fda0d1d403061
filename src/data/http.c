/* SPDX-License-Identifier: Apache-2.0 */
/* The only file that knows libcurl. A transfer is a row of tries. A try is a request, or a few
 * where the server redirects; the next try asks for the bytes that are still missing. Redirects are
 * followed here and not by libcurl, which cannot refuse the step from https to http alone. */
#include "data/http.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- addresses and ranges -------------------------------------------------------------------- */

static bool starts_with(const char *text, const char *prefix)
{
    return strncasecmp(text, prefix, strlen(prefix)) == 0;
}

bool vitro_http_may_redirect(const char *from, const char *to)
{
    return starts_with(to, "https://") ||
           (starts_with(to, "http://") && !starts_with(from, "https://"));
}

/* The length of "https://host:port". */
static size_t origin_length(const char *url)
{
    const char *host = strstr(url, "://");
    return host ? (size_t)(host + 3 - url) + strcspn(host + 3, "/?#") : 0;
}

bool vitro_http_may_send_token(const char *url, const char *to)
{
    static const char *const here[] = {"http://127.0.0.1", "http://localhost", "http://[::1]"};
    const size_t n = origin_length(url);
    if (!n || n != origin_length(to) || strncasecmp(url, to, n) != 0)
        return false;
    bool safe = starts_with(url, "https://");
    for (size_t i = 0; i < sizeof(here) / sizeof(here[0]); i++) {
        const size_t m = strlen(here[i]);
        safe |= starts_with(url, here[i]) && (m == n || url[m] == ':');
    }
    return safe;
}

/* A decimal number of at most 18 digits; moves *text behind it. */
static bool parse_number(const char **text, int64_t *value)
{
    const char *p = *text;
    int64_t v = 0;
    int digits = 0;
    for (; *p >= '0' && *p <= '9'; p++, digits++) {
        if (digits == 18)
            return false;
        v = v * 10 + (*p - '0');
    }
    *text = p;
    *value = v;
    return digits > 0;
}

bool vitro_http_parse_range(const char *text, int64_t *first, int64_t *last, int64_t *total)
{
    if (!starts_with(text, "bytes "))
        return false;
    text += 6;
    if (!parse_number(&text, first) || *text++ != '-' || !parse_number(&text, last) ||
        *text++ != '/')
        return false;
    if (*text == '*') {
        *total = -1;
        text++;
    } else if (!parse_number(&text, total) || *last >= *total) {
        return false;
    }
    return *text == 0 && *first <= *last;
}

#if VITRO_HAVE_CURL

#include "base/late.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_REDIRECTS = 5,
    SLOWEST_BYTES_PER_S = 100,
    HEADWAY_BYTES = 4 << 10,   /* a try that brings less is one without headway */
    MAX_NOTE_BYTES = 64 << 10, /* the text of a redirect */
    LONGEST_DELAY_MS = 10000
};

#define CURL_FUNCTIONS(F)                                                                          \
    F(curl_easy_cleanup)                                                                           \
    F(curl_easy_getinfo)                                                                           \
    F(curl_easy_init)                                                                              \
    F(curl_easy_perform)                                                                           \
    F(curl_easy_setopt)                                                                            \
    F(curl_easy_strerror)                                                                          \
    F(curl_global_init)                                                                            \
    F(curl_slist_append)                                                                           \
    F(curl_slist_free_all)                                                                         \
    F(curl_version_info)

/* curl.h has macros of two of the names: (lib.curl_easy_setopt)(...) calls the function. */
static struct {
    CURL_FUNCTIONS(VITRO_LATE_MEMBER)
} lib;
static const char *const function_names[] = {CURL_FUNCTIONS(VITRO_LATE_NAME)};
static VitroLate late = {.file = VITRO_CURL_FILE,
                         .names = function_names,
                         .count = sizeof(function_names) / sizeof(function_names[0]),
                         .table = &lib};

const char *vitro_http_library(void)
{
    if (vitro_late_load(&late) != VITRO_OK)
        return "not found";
    return lib.curl_version_info(CURLVERSION_NOW)->version;
}

/* What the server's answer means for us. */
typedef enum Verdict {
    UNJUDGED = 0, /* no byte of the body has come yet */
    TAKE,         /* the body goes into the file */
    MOVED,        /* a redirect */
    COMPLETE,     /* 416, and we hold all the bytes that there are */
    UNTRUE,       /* its range is not what was asked: begin afresh, without ranges */
    BUSY,         /* it may answer later */
    REFUSED       /* it will not */
} Verdict;

typedef struct Transfer {
    const VitroHttpRequest *request;
    int fd;
    CURL *curl;
    struct curl_slist *authorization; /* the header with the token; NULL: none */
    int64_t have, best;               /* bytes in the file; the most there ever were */
    int64_t total;                    /* of the whole file; -1: unknown */
    bool no_range;                    /* this server's ranges are wrong */
    VitroStatus st;                   /* our own failure inside a callback; it ends all tries */
    bool cancelled;
    char why[CURL_ERROR_SIZE + 64]; /* why the last try ended early */
    /* Of the answer under way: */
    Verdict verdict;
    int64_t asked;      /* first byte */
    int64_t note_bytes; /* of a body that is not the file's */
    char content_range[80];
    char curl_error[CURL_ERROR_SIZE];
} Transfer;

/* ---- one answer ------------------------------------------------------------------------------ */

/* Drops the bytes of the file: they or the server's ranges cannot be trusted. */
static VitroStatus start_over(Transfer *t)
{
    t->have = 0;
    t->total = -1;
    if (ftruncate(t->fd, 0) != 0)
        return vitro_fail_errno("%s: cannot cut the partial file", t->request->url);
    return VITRO_OK;
}

static VitroStatus check_size(const Transfer *t, int64_t bytes)
{
    if (bytes > t->request->max_bytes)
        return vitro_fail(VITRO_E_FORMAT, "%s: at least %lld bytes, at most %lld are expected",
                          t->request->url, (long long)bytes, (long long)t->request->max_bytes);
    return VITRO_OK;
}

/* 200: the whole file from its first byte, whatever was asked. */
static VitroStatus judge_whole(Transfer *t)
{
    curl_off_t length = -1;
    (lib.curl_easy_getinfo)(t->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    VITRO_TRY(start_over(t));
    t->total = length;
    t->verdict = TAKE;
    return check_size(t, length);
}

/* 206: must begin where our bytes end, and belong to a file of the same length as before. */
static VitroStatus judge_part(Transfer *t)
{
    int64_t first, last, total;
    bool fits = t->asked > 0 && vitro_http_parse_range(t->content_range, &first, &last, &total) &&
                first == t->asked && (t->total < 0 || total < 0 || total == t->total);
    if (!fits) {
        t->verdict = UNTRUE;
        return VITRO_OK;
    }
    if (total >= 0)
        t->total = total;
    t->verdict = TAKE;
    return check_size(t, total);
}

/* 416: there is nothing from `asked` on. */
static void judge_beyond(Transfer *t)
{
    char all[80];
    snprintf(all, sizeof(all), "bytes */%lld", (long long)t->have);
    t->verdict = t->asked > 0 && strcasecmp(t->content_range, all) == 0 ? COMPLETE : UNTRUE;
}

static VitroStatus judge(Transfer *t)
{
    long code = 0;
    (lib.curl_easy_getinfo)(t->curl, CURLINFO_RESPONSE_CODE, &code);
    snprintf(t->why, sizeof(t->why), "the server answered %ld", code);
    switch (code) {
    case 200:
        return judge_whole(t);
    case 206:
        return judge_part(t);
    case 416:
        judge_beyond(t);
        return VITRO_OK;
    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
        t->verdict = MOVED;
        return VITRO_OK;
    case 408:
    case 429:
        t->verdict = BUSY;
        return VITRO_OK;
    default:
        t->verdict = code >= 500 ? BUSY : REFUSED;
        return VITRO_OK;
    }
}

/* ---- libcurl's callbacks --------------------------------------------------------------------- */

static size_t take_header(char *line, size_t size, size_t count, void *user)
{
    static const char name[] = "Content-Range:";
    Transfer *t = user;
    size_t n = size * count, from = sizeof(name) - 1;
    if (n >= 5 && strncasecmp(line, "HTTP/", 5) == 0)
        t->content_range[0] = 0; /* another answer begins */
    if (n > from && strncasecmp(line, name, from) == 0) {
        while (from < n && (line[from] == ' ' || line[from] == '\t'))
            from++;
        size_t to = n;
        while (to > from && strchr(" \t\r\n", line[to - 1]))
            to--;
        /* Cut where it is longer than any true one: it then fits nothing. */
        snprintf(t->content_range, sizeof(t->content_range), "%.*s", (int)(to - from), line + from);
    }
    return n;
}

static VitroStatus append(Transfer *t, const char *data, size_t n)
{
    VITRO_TRY(check_size(t, t->have + (int64_t)n));
    while (n) {
        ssize_t k = pwrite(t->fd, data, n, (off_t)t->have);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return vitro_fail_errno("%s: cannot store what arrives", t->request->url);
        data += k;
        n -= (size_t)k;
        t->have += k;
    }
    return VITRO_OK;
}

/* Whatever differs from the number of bytes given ends the request. */
static size_t take_body(char *data, size_t size, size_t count, void *user)
{
    Transfer *t = user;
    size_t n = size * count;
    if (t->verdict == UNJUDGED)
        t->st = judge(t);
    t->note_bytes += (int64_t)n;
    if (t->st == VITRO_OK && t->verdict == MOVED && t->note_bytes <= MAX_NOTE_BYTES)
        return n; /* libcurl gives the new address only after a body that was read to its end */
    if (t->st != VITRO_OK || t->verdict != TAKE)
        return n + 1;
    if (t->total >= 0 && (int64_t)n > t->total - t->have) {
        t->verdict = UNTRUE; /* its range said less */
        return n + 1;
    }
    t->st = append(t, data, n);
    return t->st == VITRO_OK ? n : n + 1;
}

static bool go_on(Transfer *t)
{
    const VitroHttpRequest *r = t->request;
    if (r->progress && !r->progress(r->user, t->have, t->total))
        t->cancelled = true;
    return !t->cancelled;
}

static int show_progress(void *user, curl_off_t to_come, curl_off_t come, curl_off_t to_go,
                         curl_off_t gone)
{
    (void)to_come, (void)come, (void)to_go, (void)gone;
    return !go_on(user);
}

/* ---- one request ----------------------------------------------------------------------------- */

/* Everything but the address and the range, which change from request to request. Options that an
 * older libcurl does not know would be refused; none of these is young. */
static VitroStatus set_up(Transfer *t)
{
    CURL *c = t->curl;
    const VitroHttpRequest *r = t->request;
    CURLcode rc = CURLE_OK;
#define SET(option, value)                                                                         \
    do {                                                                                           \
        if (rc == CURLE_OK)                                                                        \
            rc = (lib.curl_easy_setopt)(c, option, value);                                         \
    } while (0)
#if LIBCURL_VERSION_NUM >= 0x075500
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
    SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L); /* nor that of a redirect */
    SET(CURLOPT_NOSIGNAL, 1L);                 /* a library leaves the process's signals alone */
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)r->connect_timeout_ms);
    SET(CURLOPT_LOW_SPEED_LIMIT, (long)SLOWEST_BYTES_PER_S);
    SET(CURLOPT_LOW_SPEED_TIME, (long)r->stall_timeout_s);
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_USERAGENT, "vitro");
    SET(CURLOPT_ERRORBUFFER, t->curl_error);
    SET(CURLOPT_HEADERFUNCTION, take_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, show_progress);
    SET(CURLOPT_XFERINFODATA, t);
#undef SET
    if (rc == CURLE_OUT_OF_MEMORY)
        return vitro_fail(VITRO_E_NOMEM, "libcurl has no memory");
    if (rc != CURLE_OK)
        return vitro_fail(VITRO_E_UNSUPPORTED, "libcurl: %s", lib.curl_easy_strerror(rc));
    return VITRO_OK;
}

/* Failures of the line, of the name service and of the server's side; what is left (a wrong
 * address, a certificate that is not trusted) would be the same next time. */
static bool may_pass(CURLcode rc)
{
    switch (rc) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return true;
    default:
        return false;
    }
}

/* What follows from libcurl's own view; *again where the next try may do better. */
static VitroStatus after_transfer(Transfer *t, CURLcode rc, bool *again)
{
    *again = false;
    if (t->st != VITRO_OK)
        return t->st;
    if (t->cancelled)
        return vitro_fail(VITRO_E_CANCELLED, "%s: the download was stopped", t->request->url);
    if (rc == CURLE_OK || (rc == CURLE_WRITE_ERROR && t->verdict != TAKE))
        return VITRO_OK; /* the second: take_body had seen enough */
    const char *text = t->curl_error[0] ? t->curl_error : lib.curl_easy_strerror(rc);
    if (rc == CURLE_OUT_OF_MEMORY)
        return vitro_fail(VITRO_E_NOMEM, "%s: libcurl has no memory", t->request->url);
    if (!may_pass(rc))
        return vitro_fail(VITRO_E_IO, "%s: %s", t->request->url, text);
    snprintf(t->why, sizeof(t->why), "%s", text);
    *again = true;
    return VITRO_OK;
}

/* One request for the bytes from `have` on. */
static VitroStatus perform(Transfer *t, const char *url, bool *again)
{
    char range[32];
    t->verdict = UNJUDGED;
    t->note_bytes = 0;
    t->content_range[0] = 0;
    t->curl_error[0] = 0;
    t->asked = t->no_range ? 0 : t->have;
    snprintf(range, sizeof(range), "%lld-", (long long)t->asked);
    struct curl_slist *headers =
        vitro_http_may_send_token(t->request->url, url) ? t->authorization : NULL;
    if ((lib.curl_easy_setopt)(t->curl, CURLOPT_URL, url) != CURLE_OK ||
        (lib.curl_easy_setopt)(t->curl, CURLOPT_HTTPHEADER, headers) != CURLE_OK ||
        (lib.curl_easy_setopt)(t->curl, CURLOPT_RANGE, t->asked ? range : NULL) != CURLE_OK)
        return vitro_fail(VITRO_E_NOMEM, "%s: libcurl has no memory", t->request->url);
    CURLcode rc = lib.curl_easy_perform(t->curl);
    if (rc == CURLE_OK && t->verdict == UNJUDGED)
        t->st = judge(t); /* an answer without a body */
    return after_transfer(t, rc, again);
}

/* Checks where the answer sends us; *url is libcurl's, until the next request. */
static VitroStatus follow(Transfer *t, const char **url)
{
    char *from = NULL, *to = NULL;
    (lib.curl_easy_getinfo)(t->curl, CURLINFO_EFFECTIVE_URL, &from);
    (lib.curl_easy_getinfo)(t->curl, CURLINFO_REDIRECT_URL, &to);
    if (!to)
        return vitro_fail(VITRO_E_IO, "%s: %s without saying where to go", t->request->url, t->why);
    if (!vitro_http_may_redirect(from ? from : t->request->url, to))
        return vitro_fail(VITRO_E_IO, "%s: the server redirects to %.200s, expected https://%s",
                          t->request->url, to,
                          from && starts_with(from, "https://") ? "" : " or http://");
    *url = to;
    return VITRO_OK;
}

/* ---- tries ----------------------------------------------------------------------------------- */

/* One try: the request and its redirects. *done: the file is whole. Neither: try again. */
static VitroStatus try_once(Transfer *t, bool *done)
{
    const char *url = t->request->url;
    bool again;
    *done = false;
    for (int redirects = 0;; redirects++) {
        VITRO_TRY(perform(t, url, &again));
        if (again || t->verdict != MOVED)
            break;
        if (redirects == MAX_REDIRECTS)
            return vitro_fail(VITRO_E_IO, "%s: more than %d redirects", t->request->url,
                              MAX_REDIRECTS);
        VITRO_TRY(follow(t, &url));
    }
    if (again)
        return VITRO_OK;
    switch (t->verdict) {
    case TAKE: /* a server may well send less than the rest */
        *done = t->total < 0 || t->have == t->total;
        snprintf(t->why, sizeof(t->why), "the server sent %lld of %lld bytes", (long long)t->have,
                 (long long)t->total);
        return VITRO_OK;
    case COMPLETE:
        *done = true;
        return VITRO_OK;
    case UNTRUE:
        snprintf(t->why, sizeof(t->why), "the server's Content-Range is wrong: \"%s\"",
                 t->content_range);
        t->no_range = true;
        return start_over(t);
    case BUSY:
        return VITRO_OK;
    default:
        return vitro_fail(VITRO_E_IO, "%s: %s", t->request->url, t->why);
    }
}

/* Waits before the next try, and goes on reporting progress. */
static VitroStatus wait_a_while(Transfer *t, int failures)
{
    int64_t ms = t->request->retry_delay_ms;
    for (int i = 1; i < failures && ms < LONGEST_DELAY_MS; i++)
        ms *= 2;
    if (ms > LONGEST_DELAY_MS)
        ms = LONGEST_DELAY_MS;
    vitro_log(VITRO_LOG_WARN, "%s: %s: once more in %.1f s", t->request->url, t->why,
              (double)ms / 1000);
    for (; ms > 0; ms -= 100) {
        int64_t slice = ms < 100 ? ms : 100;
        struct timespec time = {0, (long)slice * 1000000};
        nanosleep(&time, NULL);
        if (!go_on(t))
            return vitro_fail(VITRO_E_CANCELLED, "%s: the download was stopped", t->request->url);
    }
    return VITRO_OK;
}

static VitroStatus run_tries(Transfer *t)
{
    int failures = 0;
    for (;;) {
        bool done;
        VITRO_TRY(try_once(t, &done));
        if (done)
            return VITRO_OK;
        if (t->have >= t->best + HEADWAY_BYTES)
            failures = 0;
        else if (++failures >= t->request->tries)
            return vitro_fail(VITRO_E_IO,
                              "%s: given up after %d tries without headway, at byte "
                              "%lld: %s",
                              t->request->url, failures, (long long)t->have, t->why);
        if (t->have > t->best)
            t->best = t->have;
        if (failures)
            VITRO_TRY(wait_a_while(t, failures));
    }
}

/* Error lines print the address, so it must hold no password. */
static VitroStatus check_url(const char *url)
{
    if (!starts_with(url, "http://") && !starts_with(url, "https://"))
        return vitro_fail(VITRO_E_ARG, "%.200s: found another address than https:// or http://",
                          url);
    const char *host = strstr(url, "://") + 3;
    if (memchr(host, '@', strcspn(host, "/?#")))
        return vitro_fail(VITRO_E_ARG, "the address to download from holds a user name");
    return VITRO_OK;
}

static VitroStatus make_authorization(Transfer *t)
{
    char line[1024];
    const char *token = t->request->token;
    if (!token)
        return VITRO_OK;
    if (strpbrk(token, "\r\n") ||
        (size_t)snprintf(line, sizeof(line), "Authorization: Bearer %s", token) >= sizeof(line))
        return vitro_fail(VITRO_E_ARG, "the token is longer than a line, or several");
    t->authorization = lib.curl_slist_append(NULL, line);
    return t->authorization ? VITRO_OK : vitro_fail(VITRO_E_NOMEM, "libcurl has no memory");
}

static void start_curl(void)
{
    lib.curl_global_init(CURL_GLOBAL_DEFAULT);
}

VitroStatus vitro_http_get(int fd, const VitroHttpRequest *request)
{
    /* It may not run in two threads at once in older versions. It is never undone: others in this
     * process may use libcurl too. */
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    VITRO_TRY(check_url(request->url));
    VitroStatus st = vitro_late_load(&late);
    if (st != VITRO_OK)
        return vitro_fail_prefix(st, "%s", request->url);
    pthread_once(&once, start_curl);
    off_t have = lseek(fd, 0, SEEK_END);
    if (have < 0)
        return vitro_fail_errno("%s: the partial file", request->url);
    Transfer t = {.request = request, .fd = fd, .have = have, .best = have, .total = -1};
    t.curl = lib.curl_easy_init();
    if (!t.curl)
        return vitro_fail(VITRO_E_NOMEM, "libcurl has no memory");
    st = set_up(&t);
    if (st == VITRO_OK)
        st = make_authorization(&t);
    if (st == VITRO_OK)
        st = run_tries(&t);
    lib.curl_slist_free_all(t.authorization);
    lib.curl_easy_cleanup(t.curl);
    return st;
}

#else

const char *vitro_http_library(void)
{
    return "none";
}

VitroStatus vitro_http_get(int fd, const VitroHttpRequest *request)
{
    (void)fd;
    return vitro_fail(
        VITRO_E_UNSUPPORTED,
        "%s: this build cannot download: it was made without libcurl. Build it again with "
        "libcurl's development package, or fetch the file yourself",
        request->url);
}

#endif
