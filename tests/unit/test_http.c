/* SPDX-License-Identifier: Apache-2.0 */
/* Fetching one file from servers that cut, stall, redirect, lie and refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "data/http.h"
#include "harness/http_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 300 * 1024 + 17, CUT = 64 * 1024, TRIES = 3 };
static uint8_t data[SIZE];

/* ---- one fetch ------------------------------------------------------------------------------- */

typedef struct Fetch {
    VtAnswerFn answer; /* gets the Fetch as its user */
    const char *path;  /* NULL: "/f" */
    size_t earlier;    /* bytes that the file holds before */
    int64_t stop_at;   /* the progress callback asks to stop there; 0: never */
    int64_t max_bytes; /* 0: SIZE */
    int port;
    /* Results: */
    VitroStatus st;
    int requests;
    size_t size; /* of the file */
    bool right;  /* the file's bytes are the first `size` of data */
    int64_t last_done, last_total;
    long long asked[16]; /* first byte of request i; -1: no range */
} Fetch;

static bool watch(void *user, int64_t done, int64_t total)
{
    Fetch *f = user;
    f->last_done = done;
    f->last_total = total;
    return f->stop_at == 0 || done < f->stop_at;
}

static void note_and_answer(void *user, const VtRequest *r)
{
    Fetch *f = user;
    if (r->number < (int)(sizeof(f->asked) / sizeof(f->asked[0])))
        f->asked[r->number] = r->first;
    f->answer(user, r);
}

static void inspect(Fetch *f, FILE *file)
{
    static uint8_t found[2 * SIZE];
    rewind(file);
    f->size = fread(found, 1, sizeof(found), file);
    f->right = f->size <= SIZE && memcmp(found, data, f->size) == 0;
}

static void fetch_from(Fetch *f, const char *url)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, f->earlier, file), f->earlier);
    assert_int_equal(fflush(file), 0);
    VitroHttpRequest request = {.url = url,
                                .max_bytes = f->max_bytes ? f->max_bytes : SIZE,
                                .connect_timeout_ms = 20000,
                                .stall_timeout_s = 1,
                                .tries = TRIES,
                                .retry_delay_ms = 1,
                                .progress = watch,
                                .user = f};
    f->st = vitro_http_get(fileno(file), &request);
    inspect(f, file);
    fclose(file);
}

static void fetch(Fetch *f)
{
    char url[300];
    VtServer *s = vt_server_start(note_and_answer, f);
    f->port = vt_server_port(s);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", f->port, f->path ? f->path : "/f");
    fetch_from(f, url);
    f->requests = vt_server_stop(s);
}

static void check_whole(Fetch *f, int requests)
{
    fetch(f);
    if (f->st != VITRO_OK)
        print_error("%s\n", vitro_last_error());
    assert_int_equal(f->st, VITRO_OK);
    assert_int_equal(f->size, SIZE);
    assert_true(f->right);
    assert_int_equal(f->requests, requests);
}

static void check_fails(Fetch *f, VitroStatus status, const char *word, int requests)
{
    fetch(f);
    if (f->st != status || !strstr(vitro_last_error(), word))
        print_error("expected \"%s\" in: %s\n", word, vitro_last_error());
    assert_int_equal(f->st, status);
    assert_non_null(strstr(vitro_last_error(), word));
    assert_int_equal(f->requests, requests);
}

/* ---- servers that do what they should, or cut --------------------------------------------------
 */

static void answer_well(void *user, const VtRequest *r)
{
    (void)user;
    vt_send_file(r, data, SIZE, SIZE);
}

static void test_whole_file(void **state)
{
    (void)state;
    Fetch f = {.answer = answer_well};
    check_whole(&f, 1);
    assert_int_equal(f.asked[0], -1);
    assert_int_equal(f.last_total, SIZE);
}

static void answer_cut(void *user, const VtRequest *r)
{
    (void)user;
    vt_send_file(r, data, SIZE, CUT);
}

static void test_cut_at_every_64_kib(void **state)
{
    (void)state;
    Fetch f = {.answer = answer_cut};
    check_whole(&f, 5);
    assert_int_equal(f.asked[0], -1);
    for (int i = 1; i < 5; i++)
        assert_int_equal(f.asked[i], i * CUT);
}

static void answer_a_few_bytes(void *user, const VtRequest *r)
{
    (void)user;
    vt_send_file(r, data, SIZE, 10);
}

static void test_a_few_bytes_are_no_headway(void **state)
{
    (void)state;
    Fetch f = {.answer = answer_a_few_bytes};
    check_fails(&f, VITRO_E_IO, "given up after 3 tries", TRIES);
    assert_int_equal(f.size, 10 * TRIES); /* what came stays, for another time */
    assert_true(f.right);
}

static void answer_without_length(void *user, const VtRequest *r)
{
    (void)user;
    vt_send_text(r, "HTTP/1.0 200 OK\r\n\r\n");
    vt_send(r, data, SIZE);
}

static void test_no_length(void **state)
{
    (void)state;
    Fetch f = {.answer = answer_without_length};
    check_whole(&f, 1);
}

static void answer_stalling_once(void *user, const VtRequest *r)
{
    (void)user;
    vt_send_file(r, data, SIZE, r->number ? SIZE : CUT);
    if (r->number == 0)
        vt_stall(r);
}

static void test_stall_counts_as_cut(void **state)
{
    (void)state;
    Fetch f = {.answer = answer_stalling_once};
    check_whole(&f, 2);
    assert_int_equal(f.asked[1], CUT);
}

static void answer_never(void *user, const VtRequest *r)
{
    (void)user;
    vt_stall(r);
}

static void test_silence_ends(void **state)
{
    (void)state;
    Fetch f = {.answer = answer_never};
    check_fails(&f, VITRO_E_IO, "given up after 3 tries", TRIES);
    assert_int_equal(f.size, 0);
}

static void answer_nothing(void *user, const VtRequest *r)
{
    (void)user, (void)r;
}

static void test_connection_closed_without_answer(void **state)
{
    (void)state;
    Fetch f = {.answer = answer_nothing};
    check_fails(&f, VITRO_E_IO, "given up after 3 tries", TRIES);
}

static void test_nobody_listens(void **state)
{
    (void)state;
    char url[64];
    Fetch f = {.answer = answer_nothing};
    VtServer *s = vt_server_start(answer_nothing, NULL);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/", vt_server_port(s));
    vt_server_stop(s);
    fetch_from(&f, url);
    assert_int_equal(f.st, VITRO_E_IO);
    assert_int_equal(f.size, 0);
}

/* ---- what an earlier run left ------------------------------------------------------------------
 */

static void test_continues_an_earlier_file(void **state)
{
    (void)state;
    Fetch f = {.answer = answer_well, .earlier = 100001};
    check_whole(&f, 1);
    assert_int_equal(f.asked[0], 100001);
    assert_int_equal(f.last_total, SIZE);
}

static void test_earlier_file_is_whole(void **state)
{
    (void)state;
    Fetch f = {.answer = answer_well, .earlier = SIZE};
    check_whole(&f, 1);
}

static void answer_shorter_file(void *user, const VtRequest *r)
{
    (void)user;
    vt_send_file(r, data, SIZE - 5, SIZE);
}

/* It names another length than ours: what we hold is not this file. */
static void test_earlier_file_is_too_long(void **state)
{
    (void)state;
    Fetch f = {.answer = answer_shorter_file, .earlier = SIZE};
    fetch(&f);
    assert_int_equal(f.st, VITRO_OK);
    assert_int_equal(f.size, SIZE - 5);
    assert_int_equal(f.requests, 2);
    assert_int_equal(f.asked[1], -1);
}

/* ---- servers that lie --------------------------------------------------------------------------
 */

static void answer_without_ranges(void *user, const VtRequest *r)
{
    (void)user;
    vt_send_text(r, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", SIZE);
    vt_send(r, data, r->number ? SIZE : CUT);
}

static void test_range_ignored(void **state)
{
    (void)state;
    Fetch f = {.answer = answer_without_ranges};
    check_whole(&f, 2);
    assert_int_equal(f.asked[1], CUT);
}

static void answer_first_bytes_only(void *user, const VtRequest *r)
{
    (void)user;
    vt_send_text(r, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", SIZE);
    vt_send(r, data, CUT);
}

/* The first try makes headway; the others bring the same bytes again. */
static void test_range_ignored_and_cut(void **state)
{
    (void)state;
    Fetch f = {.answer = answer_first_bytes_only};
    check_fails(&f, VITRO_E_IO, "given up after 3 tries", 1 + TRIES);
    assert_int_equal(f.size, CUT);
    assert_true(f.right);
}

/* What it says that it sends, where it was asked for the bytes from CUT on: wrong in one way each.
 */
static const char *const wrong_range[] = {
    "bytes 0-307216/307217",
    "bytes 65535-307216/307217",
    "bytes 65536-307216/307218",
    "bytes 65536-65535/307217",
    "bytes 65536-307217/307217",
    "lines 65536-307216/307217",
    "bytes 65536-307216/307217 and then some more that makes it longer than any true range is",
    "bytes 65536-65546/65547", /* fits, but for the length known before and the bytes that come */
};

static void answer_wrong_range(void *user, const VtRequest *r)
{
    (void)user;
    if (r->first < 0) {
        vt_send_file(r, data, SIZE, r->number ? SIZE : CUT);
        return;
    }
    vt_send_text(r,
                 "HTTP/1.1 206 Partial Content\r\nContent-Range: %s\r\nContent-Length: %d\r\n"
                 "Connection: close\r\n\r\n",
                 wrong_range[r->path[1] - '0'], SIZE - CUT);
    vt_send(r, data + CUT, SIZE - CUT);
}

static void test_wrong_content_range(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        char path[] = {'/', (char)('0' + i), 0};
        Fetch f = {.answer = answer_wrong_range, .path = path};
        check_whole(&f, 3);
        assert_int_equal(f.asked[1], CUT);
        assert_int_equal(f.asked[2], -1); /* this server is not asked for a range again */
    }
}

/* An earlier run left CUT bytes: of the length nothing is known but what the range says. */
static void test_more_bytes_than_the_range_says(void **state)
{
    (void)state;
    Fetch f = {.answer = answer_wrong_range, .path = "/7", .earlier = CUT};
    check_whole(&f, 2);
    assert_int_equal(f.asked[1], -1);
}

static void answer_too_long_length(void *user, const VtRequest *r)
{
    (void)user;
    if (r->first >= 0) {
        vt_send_file(r, data, SIZE, SIZE);
        return;
    }
    vt_send_text(r, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", SIZE + 9);
    vt_send(r, data, SIZE);
}

/* It claims nine bytes more than it has; asked for them, it says that there are none. */
static void test_length_too_long(void **state)
{
    (void)state;
    Fetch f = {.answer = answer_too_long_length, .max_bytes = SIZE + 9};
    check_whole(&f, 2);
    assert_int_equal(f.asked[1], SIZE);
}

/* ---- too large ---------------------------------------------------------------------------------
 */

static void test_claims_too_much(void **state)
{
    (void)state;
    Fetch f = {.answer = answer_well, .max_bytes = SIZE - 1};
    check_fails(&f, VITRO_E_FORMAT, "at most 307216", 1);
    assert_int_equal(f.size, 0);
}

static void test_sends_too_much(void **state)
{
    (void)state;
    Fetch f = {.answer = answer_without_length, .max_bytes = SIZE - 1};
    check_fails(&f, VITRO_E_FORMAT, "at most 307216", 1);
    assert_true(f.size < SIZE);
}

/* ---- status codes and redirects ----------------------------------------------------------------
 */

static void answer_status(void *user, const VtRequest *r)
{
    (void)user;
    vt_send_text(r, "HTTP/1.1 %s No\r\nContent-Length: 5\r\nConnection: close\r\n\r\nsorry",
                 r->path + 1);
}

static void test_refusals_are_final(void **state)
{
    (void)state;
    Fetch missing = {.answer = answer_status, .path = "/404"};
    check_fails(&missing, VITRO_E_IO, "404", 1);
    assert_int_equal(missing.size, 0); /* the page that says so is not the file */
    Fetch forbidden = {.answer = answer_status, .path = "/403", .earlier = CUT};
    check_fails(&forbidden, VITRO_E_IO, "403", 1);
    assert_int_equal(forbidden.size, CUT);
    Fetch empty = {.answer = answer_status, .path = "/204"};
    check_fails(&empty, VITRO_E_IO, "204", 1);
    Fetch unasked = {.answer = answer_status, .path = "/206"};
    check_fails(&unasked, VITRO_E_IO, "Content-Range", TRIES);
    assert_int_equal(unasked.size, 0);
}

static void test_busy_for_good(void **state)
{
    (void)state;
    static const char *const path[] = {"/500", "/503", "/429", "/408"};
    for (size_t i = 0; i < sizeof(path) / sizeof(path[0]); i++) {
        Fetch f = {.answer = answer_status, .path = path[i]};
        check_fails(&f, VITRO_E_IO, path[i] + 1, TRIES);
        assert_int_equal(f.size, 0);
    }
}

static void answer_busy_twice(void *user, const VtRequest *r)
{
    (void)user;
    if (r->number < 2)
        vt_send_text(r, "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    else
        vt_send_file(r, data, SIZE, SIZE);
}

static void test_busy_for_a_while(void **state)
{
    (void)state;
    Fetch f = {.answer = answer_busy_twice};
    check_whole(&f, 3);
}

/* /0 -> /1 -> ... -> /5, which cuts once; every third address is given in full. */
static void answer_redirect(void *user, const VtRequest *r)
{
    const Fetch *f = user;
    int step = r->path[1] - '0';
    char host[64] = "";
    if (step == 5) {
        vt_send_file(r, data, SIZE, r->number > 5 ? SIZE : CUT);
        return;
    }
    if (step % 3 == 0)
        snprintf(host, sizeof(host), "http://127.0.0.1:%d", f->port);
    vt_send_text(r,
                 "HTTP/1.1 %d Elsewhere\r\nLocation: %s/%d\r\nContent-Length: 4\r\n"
                 "Connection: close\r\n\r\nover",
                 step % 2 ? 302 : 308, host, step + 1);
}

static void test_redirects(void **state)
{
    (void)state;
    Fetch f = {.answer = answer_redirect, .path = "/0"};
    check_whole(&f, 12);
    assert_int_equal(f.asked[11], CUT); /* the second try, at the end of the same way */
}

static void answer_location(void *user, const VtRequest *r)
{
    const Fetch *f = user;
    vt_send_text(r,
                 "HTTP/1.1 302 Elsewhere\r\n%s%s\r\nContent-Length: 0\r\nConnection: close\r\n"
                 "\r\n",
                 f->earlier ? "X-Other: " : "Location: ", f->path + 1);
}

static void test_redirects_that_are_refused(void **state)
{
    (void)state;
    Fetch loop = {.answer = answer_location, .path = "//f"};
    check_fails(&loop, VITRO_E_IO, "more than 5 redirects", 6);
    Fetch file = {.answer = answer_location, .path = "/file:///etc/passwd"};
    check_fails(&file, VITRO_E_IO, "file:///etc/passwd", 1);
    assert_int_equal(file.size, 0);
    Fetch ftp = {.answer = answer_location, .path = "/ftp://127.0.0.1/f"};
    check_fails(&ftp, VITRO_E_IO, "redirects to ftp://", 1);
    Fetch nowhere = {.answer = answer_location, .path = "/f", .earlier = 1};
    check_fails(&nowhere, VITRO_E_IO, "without saying where", 1);
}

/* https to http cannot be tried without a certificate: the rule itself. */
static void test_which_redirects_are_allowed(void **state)
{
    (void)state;
    assert_true(vitro_http_may_redirect("http://a/", "http://b/"));
    assert_true(vitro_http_may_redirect("http://a/", "https://b/"));
    assert_true(vitro_http_may_redirect("HTTPS://a/", "https://b/"));
    assert_false(vitro_http_may_redirect("https://a/", "http://a/"));
    assert_false(vitro_http_may_redirect("HTTPS://a/", "Http://a/"));
    assert_false(vitro_http_may_redirect("http://a/", "file:///etc/passwd"));
    assert_false(vitro_http_may_redirect("http://a/", "httpx://b"));
    assert_false(vitro_http_may_redirect("http://a/", ""));
}

/* ---- addresses, ranges, stopping ---------------------------------------------------------------
 */

static void test_addresses_that_are_refused(void **state)
{
    (void)state;
    static const char *const url[] = {"file:///etc/passwd", "ftp://127.0.0.1/f", "/etc/passwd", ""};
    for (size_t i = 0; i < sizeof(url) / sizeof(url[0]); i++) {
        Fetch f = {0};
        fetch_from(&f, url[i]);
        assert_int_equal(f.st, VITRO_E_ARG);
    }
    Fetch with_password = {0};
    fetch_from(&with_password, "http://me:secret@127.0.0.1:1/f");
    assert_int_equal(with_password.st, VITRO_E_ARG);
    assert_null(strstr(vitro_last_error(), "secret"));
}

static void test_parse_range(void **state)
{
    (void)state;
    int64_t first, last, total;
    assert_true(vitro_http_parse_range("bytes 5-9/10", &first, &last, &total));
    assert_true(first == 5 && last == 9 && total == 10);
    assert_true(vitro_http_parse_range("BYTES 0-0/*", &first, &last, &total));
    assert_true(first == 0 && last == 0 && total == -1);
    static const char *const wrong[] = {
        "",
        "bytes",
        "bytes 5",
        "bytes 5-",
        "bytes 5-9",
        "bytes 5-9/",
        "bytes 5-4/10",
        "bytes 5-10/10",
        "bytes -5-9/10",
        "bytes 5-9/10x",
        "bytes 5-9/**",
        "bytes */10",
        "lines 5-9/10",
        "bytes 5-9999999999999999999/99999999999999999999",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(vitro_http_parse_range(wrong[i], &first, &last, &total));
}

static void test_stopped_by_the_caller(void **state)
{
    (void)state;
    Fetch f = {.answer = answer_stalling_once, .stop_at = CUT};
    check_fails(&f, VITRO_E_CANCELLED, "stopped", 1);
    assert_int_equal(f.size, CUT);
    assert_true(f.right);
}

static int make_data(void **state)
{
    (void)state;
    uint32_t x = 1;
    for (size_t i = 0; i < SIZE; i++) {
        x = x * 1664525 + 1013904223;
        data[i] = (uint8_t)(x >> 24);
    }
    /* Whatever proxy this machine is set up with, it is not for us. */
    return setenv("no_proxy", "127.0.0.1", 1);
}

int main(void)
{
#if !VITRO_HAVE_CURL
    printf("this build has no libcurl\n");
    return 77;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_file),
        cmocka_unit_test(test_cut_at_every_64_kib),
        cmocka_unit_test(test_a_few_bytes_are_no_headway),
        cmocka_unit_test(test_no_length),
        cmocka_unit_test(test_stall_counts_as_cut),
        cmocka_unit_test(test_silence_ends),
        cmocka_unit_test(test_connection_closed_without_answer),
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_continues_an_earlier_file),
        cmocka_unit_test(test_earlier_file_is_whole),
        cmocka_unit_test(test_earlier_file_is_too_long),
        cmocka_unit_test(test_range_ignored),
        cmocka_unit_test(test_range_ignored_and_cut),
        cmocka_unit_test(test_wrong_content_range),
        cmocka_unit_test(test_more_bytes_than_the_range_says),
        cmocka_unit_test(test_length_too_long),
        cmocka_unit_test(test_claims_too_much),
        cmocka_unit_test(test_sends_too_much),
        cmocka_unit_test(test_refusals_are_final),
        cmocka_unit_test(test_busy_for_good),
        cmocka_unit_test(test_busy_for_a_while),
        cmocka_unit_test(test_redirects),
        cmocka_unit_test(test_redirects_that_are_refused),
        cmocka_unit_test(test_which_redirects_are_allowed),
        cmocka_unit_test(test_addresses_that_are_refused),
        cmocka_unit_test(test_parse_range),
        cmocka_unit_test(test_stopped_by_the_caller),
    };
    return cmocka_run_group_tests(tests, make_data, NULL);
}
