/* SPDX-License-Identifier: Apache-2.0 */
/* Pulling from hubs that answer well, cut, stall, redirect and lie; names; what the cache says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/fs.h"
#include "data/http.h"
#include "harness/http_server.h"
#include "harness/temp.h"
#include "hub/hub_int.h"
#include "vitro/checkpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define OTHER  "fedcba9876543210fedcba9876543210fedcba98"
#define NAME   "timm/vit_test.in1k"
enum { VALUES = 40 * 1024, MAX_BYTES = 4 * VALUES + 4096, PATH_BYTES = 600 };

/* What the hub has. */
typedef struct Entry {
    const char *name;
    const uint8_t *data;
    size_t size;
    long long stated; /* size in the list; 0: its own */
    const char *sha256;
} Entry;

typedef struct Hub {
    VtServer *server, *other; /* the other: where large files lie */
    Entry entry[8];
    const char *commit, *list;    /* list: the answer instead of the true one */
    size_t most;                  /* bytes of a body before the line is cut */
    bool redirect, loop;          /* of files, to `other`; to itself for ever */
    bool html;                    /* a page in place of each file of weights */
    int refuse;                   /* this status for everything */
    int stalls;                   /* so many answers stall first */
    int asked, fetched;           /* lists and files that were asked for */
    long long first;              /* of the last range */
    char token[128], leaked[128]; /* what the hub and the other got as authorization */
} Hub;

static char *dir;
static uint8_t whole[MAX_BYTES];
static size_t whole_size;
static char whole_sum[VITRO_SHA256_HEX];
static const char config[] = "{\"architecture\": \"vit\"}\n";

static void ok(VitroStatus st)
{
    if (st != VITRO_OK)
        fail_msg("%s: %s", vitro_status_name(st), vitro_last_error());
}

/* ---- the hub --------------------------------------------------------------------------------- */

static void send_list(const Hub *h, const VtRequest *r)
{
    char text[4096];
    int n = snprintf(text, sizeof(text), "{\"sha\": \"%s\", \"siblings\": [", h->commit);
    for (const Entry *e = h->entry; e->name; e++)
        n += snprintf(text + n, sizeof(text) - (size_t)n,
                      e->sha256 ? "%s{\"rfilename\": \"%s\", \"size\": %lld, \"lfs\": {\"sha256\": "
                                  "\"%s\"}}"
                                : "%s{\"rfilename\": \"%s\", \"size\": %lld}",
                      e == h->entry ? "" : ", ", e->name,
                      e->stated ? e->stated : (long long)e->size, e->sha256);
    n += snprintf(text + n, sizeof(text) - (size_t)n, "]}");
    if (h->list)
        n = snprintf(text, sizeof(text), "%s", h->list);
    vt_send_file(r, text, (size_t)n, (size_t)n);
}

static void send_entry(Hub *h, const VtRequest *r)
{
    static const char page[] = "<!DOCTYPE html><html>Please log in</html>";
    const char *name = strrchr(r->path, '/') + 1;
    h->fetched++;
    h->first = r->first;
    for (const Entry *e = h->entry; e->name; e++)
        if (strcmp(e->name, name) == 0) {
            if (h->html && vitro_hub_is_weights(name))
                vt_send_file(r, page, sizeof(page) - 1, sizeof(page));
            else
                vt_send_file(r, e->data, e->size, h->most ? h->most : e->size);
            return;
        }
    vt_send_text(r, "HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

static void answer_other(void *user, const VtRequest *r)
{
    Hub *h = user;
    snprintf(h->leaked, sizeof(h->leaked), "%s", r->authorization);
    send_entry(h, r);
}

static void answer(void *user, const VtRequest *r)
{
    Hub *h = user;
    char path[200];
    snprintf(h->token, sizeof(h->token), "%s", r->authorization);
    if (h->stalls > 0) {
        h->stalls--;
        vt_stall(r);
    } else if (h->refuse) {
        vt_send_text(r, "HTTP/1.1 %d No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                     h->refuse);
    } else if (strcmp(r->path, "/api/models/" NAME "/revision/main?blobs=true") == 0) {
        h->asked++;
        send_list(h, r);
    } else if (snprintf(path, sizeof(path), "/" NAME "/resolve/%s/", h->commit) > 0 &&
               strncmp(r->path, path, strlen(path)) == 0) {
        if (h->redirect || h->loop)
            vt_send_text(r,
                         "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d%s\r\n"
                         "Content-Length: 0\r\nConnection: close\r\n\r\n",
                         vt_server_port(h->loop ? h->server : h->other), r->path);
        else
            send_entry(h, r);
    } else {
        vt_send_text(r, "HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
}

static Hub new_hub(void)
{
    return (Hub){.commit = COMMIT,
                 .entry = {{"README.md", (const uint8_t *)"hello", 5, 0, NULL},
                           {"config.json", (const uint8_t *)config, sizeof(config) - 1, 0, NULL},
                           {"model.safetensors", whole, whole_size, 0, whole_sum}}};
}

static VitroStatus pull_as(Hub *h, const char *name, const char *token, VitroPulled *how)
{
    char endpoint[64];
    h->server = vt_server_start(answer, h);
    h->other = vt_server_start(answer_other, h);
    snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%d/", vt_server_port(h->server));
    VitroPullOptions o = {.name = name,
                          .endpoint = endpoint,
                          .token = token,
                          .connect_timeout_ms = 20000,
                          .stall_timeout_s = 1,
                          .tries = 2,
                          .retry_delay_ms = 1};
    VitroStatus st = vitro_hub_pull(how, &o);
    vt_server_stop(h->server);
    vt_server_stop(h->other);
    return st;
}

static VitroStatus pull(Hub *h)
{
    VitroPulled how;
    return pull_as(h, NAME, "", &how);
}

/* ---- the cache ------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    (void)state;
    dir = vt_temp_make();
    setenv("XDG_CACHE_HOME", dir, 1);
    setenv("no_proxy", "127.0.0.1", 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    vt_temp_remove(dir);
    return 0;
}

static void path_of(char path[PATH_BYTES], const char *rest)
{
    snprintf(path, PATH_BYTES, "%s/vitro/hub/timm/vit_test.in1k@main%s", dir, rest);
}

static bool is_there(const char *rest)
{
    char path[PATH_BYTES];
    path_of(path, rest);
    return access(path, F_OK) == 0;
}

static void check_cached(void)
{
    char path[PATH_BYTES];
    VitroMap map;
    ok(vitro_hub_find(path, sizeof(path), NAME));
    ok(vitro_map_open(&map, path));
    assert_int_equal(map.size, whole_size);
    assert_memory_equal(map.data, whole, whole_size);
    vitro_map_close(&map);
    assert_true(is_there("/config.json"));
    assert_false(is_there("/README.md"));
    assert_false(is_there("/" COMMIT));
    assert_false(is_there(".part"));
    assert_false(is_there(".old"));
}

static void check_refused(Hub *h, VitroStatus expected, const char *word)
{
    char path[PATH_BYTES];
    VitroStatus st = pull(h);
    if (st != expected || !strstr(vitro_last_error(), word))
        fail_msg("expected %s and \"%s\", found %s: %s", vitro_status_name(expected), word,
                 vitro_status_name(st), vitro_last_error());
    assert_int_equal(vitro_hub_find(path, sizeof(path), NAME), VITRO_E_IO);
    assert_non_null(strstr(vitro_last_error(), "vitro pull " NAME));
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_names(void **state)
{
    (void)state;
    static const char *const good[] = {"a/b", "google/vit-base-patch16-224",
                                       "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k",
                                       "a/b@v1.0", "a/b@" COMMIT};
    static const char *const bad[] = {
        "",       "a",     "a/",    "/b",     "a/b/c",         "../b",   "a/..",      "a/b..c",
        ".a/b",   "a/.b",  "a/b@",  "a/b@..", "a/b@x/y",       "a b/c",  "a/b?c",     "a/b#c",
        "a/b%2e", "a/b\n", "a@b/c", "-a/b",   "a/b@refs/pr/1", "a\\b/c", "\xc3\xa4/b"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(vitro_hub_is_name(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (vitro_hub_is_name(bad[i]))
            fail_msg("\"%s\" passed for a name", bad[i]);
    char longest[300] = "a/";
    memset(longest + 2, 'b', 99);
    assert_true(vitro_hub_is_name(longest));
    longest[101] = 'b';
    assert_false(vitro_hub_is_name(longest));
    VitroPulled how;
    assert_int_equal(vitro_hub_pull(&how, &(VitroPullOptions){.name = "../../etc/passwd"}),
                     VITRO_E_ARG);
}

static void test_pulls(void **state)
{
    (void)state;
    Hub h = new_hub();
    VitroPulled how = VITRO_PULLED_OFFLINE;
    ok(pull_as(&h, NAME, "", &how));
    assert_int_equal(how, VITRO_PULLED);
    check_cached();
    assert_int_equal(h.fetched, 2);
    ok(pull_as(&h, NAME "@main", "", &how));
    assert_int_equal(how, VITRO_PULLED_ALREADY);
    assert_int_equal(h.fetched, 2);
    check_cached();
    /* a new commit replaces the old one */
    h.commit = OTHER;
    ok(pull_as(&h, NAME, "", &how));
    assert_int_equal(how, VITRO_PULLED);
    assert_int_equal(h.fetched, 4);
    check_cached();
    /* a hub that is down leaves what there is */
    h.refuse = 500;
    ok(pull_as(&h, NAME, "", &how));
    assert_int_equal(how, VITRO_PULLED_OFFLINE);
    check_cached();
}

static void note_entry(void *user, const VitroHubEntry *e)
{
    int *count = user;
    assert_string_equal(e->name, NAME "@main");
    assert_string_equal(e->commit, COMMIT);
    assert_true(e->bytes > (int64_t)whole_size && e->bytes < (int64_t)whole_size + 1000);
    assert_int_equal(access(e->path, R_OK), 0);
    ++*count;
}

static void test_list(void **state)
{
    (void)state;
    int count = 0;
    Hub h = new_hub();
    ok(vitro_hub_list(note_entry, &count));
    assert_int_equal(count, 0);
    ok(pull(&h));
    vt_mkdir(dir, "vitro/hub/timm/half@main");
    vt_write(dir, "vitro/hub/file", "x", 1);
    ok(vitro_hub_list(note_entry, &count));
    assert_int_equal(count, 1);
}

static void test_continues(void **state)
{
    (void)state;
    Hub h = new_hub();
    h.most = 50000;
    ok(pull(&h));
    check_cached();
    assert_true(h.fetched > 3);
}

/* What an earlier run left is continued; of another commit it is not. */
static void test_resumes(void **state)
{
    (void)state;
    Hub h = new_hub();
    vt_write(dir, "vitro/hub/timm/vit_test.in1k@main.part/" COMMIT, "", 0);
    vt_write(dir, "vitro/hub/timm/vit_test.in1k@main.part/model.safetensors", whole, 70000);
    ok(pull(&h));
    assert_int_equal(h.first, 70000);
    check_cached();
    h.commit = OTHER;
    vt_write(dir, "vitro/hub/timm/vit_test.in1k@main.part/" COMMIT, "", 0);
    vt_write(dir, "vitro/hub/timm/vit_test.in1k@main.part/model.safetensors", whole, 70000);
    ok(pull(&h));
    assert_int_equal(h.first, -1);
    check_cached();
}

/* Bytes of an earlier run that are not this file's are fetched anew. */
static void test_wrong_beginning(void **state)
{
    (void)state;
    Hub h = new_hub();
    static const char junk[1000] = "junk";
    vt_write(dir, "vitro/hub/timm/vit_test.in1k@main.part/" COMMIT, "", 0);
    vt_write(dir, "vitro/hub/timm/vit_test.in1k@main.part/model.safetensors", junk, sizeof(junk));
    ok(pull(&h));
    assert_int_equal(h.first, -1);
    check_cached();
}

static void test_stalls(void **state)
{
    (void)state;
    Hub h = new_hub();
    h.stalls = 1;
    ok(pull(&h));
    check_cached();
    h.commit = OTHER;
    h.stalls = 100;
    VitroPulled how;
    ok(pull_as(&h, NAME, "", &how));
    assert_int_equal(how, VITRO_PULLED_OFFLINE);
    check_cached();
}

static void test_wrong_sum(void **state)
{
    (void)state;
    Hub h = new_hub();
    h.entry[2].sha256 = "00000000000000000000000000000000000000000000000000000000000000ff";
    check_refused(&h, VITRO_E_FORMAT, "SHA-256");
    assert_false(is_there(".part/model.safetensors"));
}

static void test_wrong_size(void **state)
{
    (void)state;
    Hub h = new_hub();
    h.entry[2].stated = (long long)whole_size + 5;
    check_refused(&h, VITRO_E_FORMAT, "the hub states");
    h.entry[2].stated = (long long)whole_size - 5; /* more is not even taken */
    check_refused(&h, VITRO_E_FORMAT, "at most");
}

static void test_page_instead(void **state)
{
    (void)state;
    Hub h = new_hub();
    h.html = true;
    check_refused(&h, VITRO_E_FORMAT, "bytes, the hub states");
    h.entry[2].stated = 41; /* and no sum: the page has the very size */
    h.entry[2].sha256 = NULL;
    check_refused(&h, VITRO_E_FORMAT, "model.safetensors");
    assert_false(is_there(".part/model.safetensors"));
}

static void test_lists_that_are_none(void **state)
{
    (void)state;
    static const char *const lists[] = {
        "",
        "<html>",
        "[]",
        "{\"sha\": \"main\", \"siblings\": []}",
        "{\"sha\": \"" COMMIT "\"}",
        "{\"sha\": \"" COMMIT "\", \"siblings\": [{}]}",
        "{\"sha\": \"" COMMIT "\", \"siblings\": [{\"rfilename\": \"model.safetensors\"}]}",
        "{\"sha\": \"" COMMIT "\", \"siblings\": [{\"rfilename\": \"model.safetensors\", \"size\": "
        "-1}]}",
        "{\"sha\": \"" COMMIT "\", \"siblings\": [{\"rfilename\": \"model.safetensors\", \"size\": "
        "1, \"lfs\": {\"sha256\": \"../../x\"}}]}",
        "{\"sha\": \"../../../../../../../../../../../../../x\", \"siblings\": []}"};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        Hub h = new_hub();
        h.list = lists[i];
        check_refused(&h, VITRO_E_FORMAT, "no list of files");
    }
}

/* Files of other names stay where they are, whatever these names are. */
static void test_strange_names(void **state)
{
    (void)state;
    Hub h = new_hub();
    h.list =
        "{\"sha\": \"" COMMIT "\", \"siblings\": [{\"rfilename\": \"../../model.safetensors\", "
        "\"size\": 5}, {\"rfilename\": \"/etc/passwd\", \"size\": 5}, {\"rfilename\": "
        "\"x/model.safetensors\", \"size\": 5}]}";
    check_refused(&h, VITRO_E_FORMAT, "no model.safetensors");
    assert_non_null(strstr(vitro_last_error(), "vitro pull"));
    assert_int_equal(h.fetched, 0);
}

static void test_refusals(void **state)
{
    (void)state;
    Hub h = new_hub();
    h.refuse = 401;
    check_refused(&h, VITRO_E_IO, "401");
    h.refuse = 0;
    h.loop = true;
    check_refused(&h, VITRO_E_IO, "redirects");
}

static void test_token(void **state)
{
    (void)state;
    VitroPulled how;
    Hub h = new_hub();
    h.redirect = true;
    ok(pull_as(&h, NAME, "hf_secret", &how));
    check_cached();
    assert_string_equal(h.token, "Bearer hf_secret");
    assert_string_equal(h.leaked, "");
    h.commit = OTHER;
    ok(pull_as(&h, NAME, "", &how));
    assert_string_equal(h.token, "");
    assert_int_equal(pull_as(&h, NAME, "a\r\nHost: b", &how), VITRO_E_ARG);

    assert_true(vitro_http_may_send_token("https://a.b/c", "https://a.b/d?e"));
    assert_true(vitro_http_may_send_token("http://127.0.0.1:8/c", "http://127.0.0.1:8/d"));
    assert_false(vitro_http_may_send_token("https://a.b/c", "https://a.bc/d"));
    assert_false(vitro_http_may_send_token("https://a.b/c", "https://a.b:444/d"));
    assert_false(vitro_http_may_send_token("https://a.b/c", "http://a.b/d"));
    assert_false(vitro_http_may_send_token("http://a.b/c", "http://a.b/c"));
    assert_false(vitro_http_may_send_token("http://localhost.evil/c", "http://localhost.evil/c"));
}

/* Weights in two files become one. */
static void test_shards(void **state)
{
    (void)state;
    static uint8_t part[2][8192];
    static const float values[] = {1, 2, 3, 4, 5, 6};
    static char sum[2][VITRO_SHA256_HEX];
    size_t size[2];
    char path[PATH_BYTES];
    for (int i = 0; i < 2; i++) {
        VitroTensorSource t = {
            .name = i ? "b" : "a", .rank = 1, .dim = {i ? 2 : 4}, .data = values + 4 * i};
        VitroMap map;
        VitroSha256 s;
        snprintf(path, sizeof(path), "%s/shard.safetensors", dir);
        ok(vitro_checkpoint_write(path, VITRO_FORMAT_SAFETENSORS, &t, 1, NULL));
        ok(vitro_map_open(&map, path));
        assert_true(map.size <= sizeof(part[i]));
        size[i] = map.size;
        memcpy(part[i], map.data, map.size);
        vitro_map_close(&map);
        vitro_sha256_init(&s);
        vitro_sha256_update(&s, part[i], size[i]);
        vitro_sha256_final(&s, sum[i]);
    }
    static const char index[] =
        "{\"weight_map\": {\"a\": \"model-00001-of-00002.safetensors\", \"b\": "
        "\"model-00002-of-00002.safetensors\"}}";
    Hub h = {.commit = COMMIT,
             .entry = {{"model-00001-of-00002.safetensors", part[0], size[0], 0, sum[0]},
                       {"model-00002-of-00002.safetensors", part[1], size[1], 0, sum[1]},
                       {"model.safetensors.index.json", (const uint8_t *)index, sizeof(index) - 1,
                        0, NULL}}};
    ok(pull(&h));
    VitroCheckpoint *ckpt;
    float b[2];
    ok(vitro_hub_find(path, sizeof(path), NAME));
    ok(vitro_checkpoint_open(&ckpt, path));
    assert_int_equal(vitro_checkpoint_count(ckpt), 2);
    ok(vitro_checkpoint_read_f32(ckpt, vitro_checkpoint_find(ckpt, "b"), b));
    assert_memory_equal(b, values + 4, sizeof(b));
    vitro_checkpoint_close(ckpt);
    assert_false(is_there("/model-00001-of-00002.safetensors"));
    assert_false(is_there("/model.safetensors.index.json"));

    static const char evil[] = "{\"weight_map\": {\"a\": \"../../../evil.safetensors\"}}";
    h.entry[2].data = (const uint8_t *)evil;
    h.entry[2].size = sizeof(evil) - 1;
    h.commit = OTHER;
    assert_int_equal(pull(&h), VITRO_E_FORMAT);
    assert_non_null(strstr(vitro_last_error(), "evil.safetensors"));
    ok(vitro_hub_find(path, sizeof(path), NAME)); /* what was there stays */
}

static void test_pytorch(void **state)
{
    (void)state;
    VitroTensorSource t = {.name = "a", .rank = 1, .dim = {1}, .data = &(float){1}};
    char path[PATH_BYTES];
    VitroMap map;
    snprintf(path, sizeof(path), "%s/pytorch_model.bin", dir);
    ok(vitro_checkpoint_write(path, VITRO_FORMAT_PTH, &t, 1, NULL));
    ok(vitro_map_open(&map, path));
    Hub h = {.commit = COMMIT, .entry = {{"pytorch_model.bin", map.data, map.size, 0, NULL}}};
    ok(pull(&h));
    vitro_map_close(&map);
    ok(vitro_hub_find(path, sizeof(path), NAME));
    assert_string_equal(vitro_path_name(path), "pytorch_model.bin");
}

static bool stop(void *user, const char *file, int64_t done, int64_t total)
{
    (void)user, (void)total;
    return strcmp(file, "model.safetensors") != 0 || done == 0;
}

static void test_stopped(void **state)
{
    (void)state;
    Hub h = new_hub();
    char endpoint[64];
    VitroPulled how;
    h.most = 50000;
    h.server = vt_server_start(answer, &h);
    snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%d", vt_server_port(h.server));
    VitroPullOptions o = {.name = NAME, .endpoint = endpoint, .token = "", .progress = stop};
    assert_int_equal(vitro_hub_pull(&how, &o), VITRO_E_CANCELLED);
    vt_server_stop(h.server);
    assert_true(is_there(".part/model.safetensors")); /* to be continued */
    ok(pull(&h));
    check_cached();
}

static int make_weights(void **state)
{
    (void)state;
    static float values[VALUES];
    char path[PATH_BYTES];
    VitroMap map;
    VitroSha256 s;
    for (int i = 0; i < VALUES; i++)
        values[i] = (float)(i * 7919 % 1000003);
    VitroTensorSource t = {.name = "w", .rank = 1, .dim = {VALUES}, .data = values};
    char *folder = vt_temp_make();
    snprintf(path, sizeof(path), "%s/w.safetensors", folder);
    ok(vitro_checkpoint_write(path, VITRO_FORMAT_SAFETENSORS, &t, 1, NULL));
    ok(vitro_map_open(&map, path));
    assert_true(map.size <= sizeof(whole));
    memcpy(whole, map.data, map.size);
    whole_size = map.size;
    vitro_map_close(&map);
    vitro_sha256_init(&s);
    vitro_sha256_update(&s, whole, whole_size);
    vitro_sha256_final(&s, whole_sum);
    vt_temp_remove(folder);
    return 0;
}

int main(void)
{
    if (strcmp(vitro_http_library(), "none") == 0 ||
        strcmp(vitro_http_library(), "not found") == 0) {
        printf("libcurl is not here: nothing can be pulled\n");
        return 77;
    }
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {TEST(test_names),
                                       TEST(test_pulls),
                                       TEST(test_list),
                                       TEST(test_continues),
                                       TEST(test_resumes),
                                       TEST(test_wrong_beginning),
                                       TEST(test_stalls),
                                       TEST(test_wrong_sum),
                                       TEST(test_wrong_size),
                                       TEST(test_page_instead),
                                       TEST(test_lists_that_are_none),
                                       TEST(test_strange_names),
                                       TEST(test_refusals),
                                       TEST(test_token),
                                       TEST(test_shards),
                                       TEST(test_pytorch),
                                       TEST(test_stopped)};
    return cmocka_run_group_tests(tests, make_weights, NULL);
}
