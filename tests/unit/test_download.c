/* SPDX-License-Identifier: Apache-2.0 */
/* Whole data sets from a server: what lies in the folder afterwards, and that nothing does where
 * the bytes were wrong. The archive is a small CIFAR-100, unless a test makes a hostile one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "base/md5.h"
#include "data/download.h"
#include "harness/http_server.h"
#include "harness/tar.h"
#include "harness/temp.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define GOLDEN "tests/golden/data/"
#define TOP    "cifar-100-python"
enum { FILLER = 200 * 1024, CUT = 64 * 1024, LARGEST = 1 << 20 };

/* ---- what the server gives ---------------------------------------------------------------------
 */

typedef struct Fixture {
    VitroBuf archive; /* tar.gz */
    char md5[VITRO_MD5_HEX];
    VitroMap train, test, meta;
    char train_md5[VITRO_MD5_HEX], test_md5[VITRO_MD5_HEX], meta_md5[VITRO_MD5_HEX];
    uint8_t filler[FILLER]; /* random: makes the archive longer than CUT */
} Fixture;
static Fixture fixture;

static void take_sum(char hex[VITRO_MD5_HEX], const void *data, size_t n)
{
    VitroMd5 m;
    vitro_md5_init(&m);
    vitro_md5_update(&m, data, n);
    vitro_md5_final(&m, hex);
}

static void add_map(VitroBuf *tar, const char *name, const VitroMap *map)
{
    vt_tar_add(tar, name, '0', NULL, map->data, map->size);
}

static int make_fixture(void **state)
{
    (void)state;
    Fixture *f = &fixture;
    VitroBuf tar;
    uint32_t x = 1;
    for (size_t i = 0; i < FILLER; i++) {
        x = x * 1664525 + 1013904223;
        f->filler[i] = (uint8_t)(x >> 24);
    }
    assert_int_equal(vitro_map_open(&f->train, GOLDEN "cifar100_p3.pkl"), VITRO_OK);
    assert_int_equal(vitro_map_open(&f->test, GOLDEN "cifar100_py2.pkl"), VITRO_OK);
    assert_int_equal(vitro_map_open(&f->meta, GOLDEN "cifar100_meta_p4.pkl"), VITRO_OK);
    take_sum(f->train_md5, f->train.data, f->train.size);
    take_sum(f->test_md5, f->test.data, f->test.size);
    take_sum(f->meta_md5, f->meta.data, f->meta.size);
    vitro_buf_init(&tar, LARGEST);
    vitro_buf_init(&f->archive, LARGEST);
    vt_tar_add(&tar, TOP "/", '5', NULL, NULL, 0);
    vt_tar_add(&tar, TOP "/file.txt~", '0', NULL, f->filler, FILLER);
    add_map(&tar, TOP "/train", &f->train);
    add_map(&tar, TOP "/test", &f->test);
    add_map(&tar, TOP "/meta", &f->meta);
    vt_tar_finish(&f->archive, &tar);
    vitro_buf_deinit(&tar);
    take_sum(f->md5, f->archive.data, f->archive.len);
    assert_true(f->archive.len > 3 * CUT);
    /* Whatever proxy this machine is set up with, it is not for us. */
    return setenv("no_proxy", "127.0.0.1", 1);
}

static int free_fixture(void **state)
{
    (void)state;
    vitro_buf_deinit(&fixture.archive);
    vitro_map_close(&fixture.train);
    vitro_map_close(&fixture.test);
    vitro_map_close(&fixture.meta);
    return 0;
}

/* The fixture as a set. */
static VitroDownloadSet small_set(void)
{
    return (VitroDownloadSet){.kind = VITRO_DATA_CIFAR100,
                              .base = "http://127.0.0.1:1/",
                              .dir = TOP,
                              .part = "cifar-100.part",
                              .files = {{"set.tar.gz", fixture.md5}},
                              .members = {{"train", fixture.train_md5},
                                          {"test", fixture.test_md5},
                                          {"meta", fixture.meta_md5},
                                          {"file.txt~", NULL}},
                              .max_bytes = LARGEST};
}

/* ---- one download ------------------------------------------------------------------------------
 */

typedef struct Job {
    VitroDownloadSet set;
    VitroDownloadOptions options;
    VtAnswerFn answer;    /* gets the Job as its user */
    const VitroBuf *body; /* what answer_* send; NULL: the fixture's archive */
    int64_t stop_at;      /* the progress callback asks to stop there; 0: never */
    bool published;       /* through vitro_dataset_download and not with `set` */
    int requests;         /* result */
    long long asked[8];   /* first byte of request i; -1: no range */
} Job;

static Job make_job(VtAnswerFn answer, const char *dir)
{
    return (Job){.set = small_set(),
                 .answer = answer,
                 .options = {.path = dir, .stall_timeout_s = 1, .tries = 2, .retry_delay_ms = 1}};
}

static const VitroBuf *body_of(const Job *job)
{
    return job->body ? job->body : &fixture.archive;
}

static bool watch(void *user, const char *file, int64_t done, int64_t total)
{
    const Job *job = user;
    (void)file, (void)total;
    return job->stop_at == 0 || done < job->stop_at;
}

static void note_and_answer(void *user, const VtRequest *r)
{
    Job *job = user;
    if (r->number < (int)(sizeof(job->asked) / sizeof(job->asked[0])))
        job->asked[r->number] = r->first;
    job->answer(user, r);
}

static VitroStatus run(Job *job)
{
    char url[64];
    VtServer *s = vt_server_start(note_and_answer, job);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/sets", vt_server_port(s));
    job->options.url = url;
    job->options.progress = watch;
    job->options.user = job;
    VitroStatus st = job->published ? vitro_dataset_download(&job->options)
                                    : vitro_download_fetch(&job->set, &job->options);
    job->options.url = NULL;
    job->requests = vt_server_stop(s);
    return st;
}

static void check_ok(Job *job)
{
    VitroStatus st = run(job);
    if (st != VITRO_OK)
        print_error("%s\n", vitro_last_error());
    assert_int_equal(st, VITRO_OK);
}

static void check_fails(Job *job, VitroStatus status, const char *word)
{
    VitroStatus st = run(job);
    if (st != status || !strstr(vitro_last_error(), word))
        print_error("expected \"%s\" in: %s\n", word, vitro_last_error());
    assert_int_equal(st, status);
    assert_non_null(strstr(vitro_last_error(), word));
}

/* The names in dir/sub are `expected`, with blanks between. */
static void check_names(const char *dir, const char *sub, const char *expected)
{
    VitroNameList list;
    VitroBuf b;
    const char *text;
    char *path = vitro_path_join(dir, sub);
    vitro_buf_init(&b, 4096);
    assert_int_equal(vitro_fs_list(&list, path), VITRO_OK);
    for (size_t i = 0; i < list.count; i++)
        vitro_buf_printf(&b, "%s%s", i ? " " : "", list.names[i]);
    assert_int_equal(vitro_buf_cstr(&b, &text), VITRO_OK);
    assert_string_equal(text, expected);
    vitro_list_free(&list);
    vitro_buf_deinit(&b);
    vitro_free(path);
}

static void check_file(const char *dir, const char *name, const void *data, size_t size)
{
    VitroMap map;
    char *path = vitro_path_join(dir, name);
    assert_int_equal(vitro_map_open(&map, path), VITRO_OK);
    assert_int_equal(map.size, size);
    assert_memory_equal(map.data, data, size);
    vitro_map_close(&map);
    vitro_free(path);
}

/* The fixture lies in `dir`, whole and alone, and can be opened. */
static void check_set_is_there(const char *dir)
{
    check_names(dir, "", TOP);
    check_names(dir, TOP, "meta test train");
    check_file(dir, TOP "/train", fixture.train.data, fixture.train.size);
    check_file(dir, TOP "/test", fixture.test.data, fixture.test.size);
    check_file(dir, TOP "/meta", fixture.meta.data, fixture.meta.size);
    VitroDatasetOptions options = {.path = dir};
    VitroDataset *ds;
    assert_int_equal(vitro_dataset_open(&ds, &options), VITRO_OK);
    assert_int_equal(vitro_dataset_kind(ds), VITRO_DATA_CIFAR100);
    assert_int_equal(vitro_dataset_class_count(ds), 100);
    vitro_dataset_close(ds);
}

/* ---- it arrives --------------------------------------------------------------------------------
 */

static void answer_well(void *user, const VtRequest *r)
{
    const VitroBuf *body = body_of(user);
    vt_send_file(r, body->data, body->len, body->len);
}

static void answer_cut(void *user, const VtRequest *r)
{
    const VitroBuf *body = body_of(user);
    vt_send_file(r, body->data, body->len, CUT);
}

static void test_arrives_whole(void **state)
{
    (void)state;
    char *dir = vt_temp_make(), *path = vitro_path_join(dir, "a/b");
    Job job = make_job(answer_well, path); /* a folder that is made first */
    check_ok(&job);
    assert_int_equal(job.requests, 1);
    check_set_is_there(path);
    vitro_free(path);
    vt_temp_remove(dir);
}

static void test_cut_at_every_64_kib(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    Job job = make_job(answer_cut, dir);
    check_ok(&job);
    assert_int_equal(job.requests, fixture.archive.len / CUT + 1);
    assert_int_equal(job.asked[1], CUT);
    check_set_is_there(dir);
    vt_temp_remove(dir);
}

static void answer_cut_once(void *user, const VtRequest *r)
{
    const VitroBuf *body = body_of(user);
    if (r->number == 0)
        vt_send_file(r, body->data, body->len, CUT);
}

/* The line stays dead: the bytes that came are kept, and the next call continues behind them. */
static void test_next_call_continues(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    Job first = make_job(answer_cut_once, dir);
    check_fails(&first, VITRO_E_IO, "given up");
    check_names(dir, "", "cifar-100.part");
    check_file(dir, "cifar-100.part/set.tar.gz", fixture.archive.data, CUT);
    Job second = make_job(answer_well, dir);
    check_ok(&second);
    assert_int_equal(second.requests, 1);
    assert_int_equal(second.asked[0], CUT);
    check_set_is_there(dir);
    vt_temp_remove(dir);
}

static void test_stopped_by_the_caller(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    Job job = make_job(answer_cut, dir);
    job.stop_at = CUT;
    check_fails(&job, VITRO_E_CANCELLED, "stopped");
    check_file(dir, "cifar-100.part/set.tar.gz", fixture.archive.data, CUT);
    vt_temp_remove(dir);
}

/* An earlier run fetched everything and was killed while it unpacked. */
static void test_whole_archive_of_an_earlier_run(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    vt_write(dir, "cifar-100.part/set.tar.gz", fixture.archive.data, fixture.archive.len);
    vt_write(dir, "cifar-100.part/train", "half", 4);
    Job job = make_job(answer_well, dir);
    check_ok(&job);
    assert_int_equal(job.requests, 0);
    check_set_is_there(dir);
    vt_temp_remove(dir);
}

static void test_other_bytes_of_an_earlier_run(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    vt_write(dir, "cifar-100.part/set.tar.gz", fixture.filler, CUT);
    Job job = make_job(answer_well, dir);
    check_ok(&job);
    assert_int_equal(job.requests, 2);
    assert_int_equal(job.asked[0], CUT);
    assert_int_equal(job.asked[1], -1);
    check_set_is_there(dir);
    vt_temp_remove(dir);
}

/* Files of the set that were there are replaced, what else is there stays. */
static void test_folder_is_there_already(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    vt_write(dir, TOP "/train", "damaged", 7);
    vt_write(dir, TOP "/notes", "mine", 4);
    Job job = make_job(answer_well, dir);
    check_ok(&job);
    check_names(dir, "", TOP);
    check_names(dir, TOP, "meta notes test train");
    check_file(dir, TOP "/train", fixture.train.data, fixture.train.size);
    check_file(dir, TOP "/notes", "mine", 4);
    vt_temp_remove(dir);
}

/* ---- wrong bytes -------------------------------------------------------------------------------
 */

/* Fails, and leaves nothing behind: neither in a folder that was there nor one that was made. */
static void check_leaves_nothing(Job *job, VitroStatus status, const char *word)
{
    char *dir = vt_temp_make(), *deep = vitro_path_join(dir, "a/b/");
    job->options.path = deep;
    check_fails(job, status, word);
    check_names(dir, "", "");
    char *path = vitro_path_join(dir, "data");
    job->options.path = path;
    check_fails(job, status, word);
    check_names(dir, "", "");
    vt_mkdir(dir, "data");
    check_fails(job, status, word);
    check_names(dir, "", "data");
    check_names(dir, "data", "");
    vitro_free(deep);
    vitro_free(path);
    vt_temp_remove(dir);
}

static void answer_with_one_wrong_bit(void *user, const VtRequest *r)
{
    const VitroBuf *body = body_of(user);
    uint8_t *copy = malloc(body->len);
    memcpy(copy, body->data, body->len);
    copy[body->len / 2] ^= 4;
    vt_send_file(r, copy, body->len, CUT);
    free(copy);
}

static void test_wrong_bytes(void **state)
{
    (void)state;
    Job job = make_job(answer_with_one_wrong_bit, NULL);
    check_leaves_nothing(&job, VITRO_E_FORMAT, fixture.md5);
}

static void test_wrong_bytes_twice(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    vt_write(dir, "cifar-100.part/set.tar.gz", fixture.filler, CUT);
    Job job = make_job(answer_with_one_wrong_bit, dir);
    check_fails(&job, VITRO_E_FORMAT, fixture.md5);
    check_names(dir, "", "");
    vt_temp_remove(dir);
}

static void answer_short(void *user, const VtRequest *r)
{
    const VitroBuf *body = body_of(user);
    vt_send_file(r, body->data, body->len - 1, body->len);
}

static void test_length_too_short(void **state)
{
    (void)state;
    Job job = make_job(answer_short, NULL);
    check_leaves_nothing(&job, VITRO_E_FORMAT, fixture.md5);
}

static void test_too_large(void **state)
{
    (void)state;
    Job job = make_job(answer_well, NULL);
    job.set.max_bytes = (int64_t)fixture.archive.len - 1;
    check_leaves_nothing(&job, VITRO_E_FORMAT, "at most");
}

static void answer_404(void *user, const VtRequest *r)
{
    (void)user;
    vt_send_text(r, "HTTP/1.1 404 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
}

static void test_not_found(void **state)
{
    (void)state;
    Job job = make_job(answer_404, NULL);
    check_leaves_nothing(&job, VITRO_E_IO, "404");
}

static void answer_to_a_file(void *user, const VtRequest *r)
{
    (void)user;
    vt_send_text(r, "HTTP/1.1 302 No\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n");
}

static void test_redirect_to_a_file(void **state)
{
    (void)state;
    Job job = make_job(answer_to_a_file, NULL);
    check_leaves_nothing(&job, VITRO_E_IO, "file:///etc/passwd");
}

static void test_wrong_member(void **state)
{
    (void)state;
    Job job = make_job(answer_well, NULL);
    job.set.members[1].md5 = fixture.train_md5;
    check_leaves_nothing(&job, VITRO_E_FORMAT, "set.tar.gz/test: unpacked");
}

/* With a sum of the caller's the published members' sums do not count. */
static void test_sum_of_the_caller(void **state)
{
    (void)state;
    char *dir = vt_temp_make(), upper[VITRO_MD5_HEX];
    for (int i = 0; i < VITRO_MD5_HEX; i++)
        upper[i] = (char)(fixture.md5[i] >= 'a' ? fixture.md5[i] - 32 : fixture.md5[i]);
    Job job = make_job(answer_well, dir);
    job.set.files[0].md5 = job.set.members[0].md5 = job.set.members[1].md5 = fixture.meta_md5;
    job.options.md5 = upper;
    check_ok(&job);
    check_set_is_there(dir);
    vt_temp_remove(dir);
}

/* ---- hostile archives --------------------------------------------------------------------------
 */

/* Unpacks `archive`, whose sum is taken for the published one. */
static void check_archive_refused(const VitroBuf *archive, const char *word)
{
    char md5[VITRO_MD5_HEX];
    Job job = make_job(answer_well, NULL);
    take_sum(md5, archive->data, archive->len);
    job.options.md5 = md5;
    job.body = archive;
    check_leaves_nothing(&job, VITRO_E_FORMAT, word);
}

/* An archive with one bad entry behind two good ones. */
static void check_entry_refused(const char *name, char type, const char *link, const char *word)
{
    VitroBuf tar, gz;
    vitro_buf_init(&tar, LARGEST);
    vitro_buf_init(&gz, LARGEST);
    add_map(&tar, TOP "/train", &fixture.train);
    add_map(&tar, TOP "/meta", &fixture.meta);
    vt_tar_add(&tar, name, type, link, "evil", type == '0' ? 4 : 0);
    vt_tar_finish(&gz, &tar);
    check_archive_refused(&gz, word);
    vitro_buf_deinit(&tar);
    vitro_buf_deinit(&gz);
}

static void test_hostile_names(void **state)
{
    (void)state;
    static const char *const name[] = {"../evil",        "/tmp/evil",
                                       "evil",           TOP,
                                       TOP "/../evil",   TOP "/../../evil",
                                       "./" TOP "/test", TOP "//test",
                                       TOP "/./test",    TOP "/sub/test",
                                       TOP "/test2",     TOP "/set.tar.gz",
                                       "/" TOP "/test",  "cifar-100-pythonX/test"};
    for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++)
        check_entry_refused(name[i], '0', NULL, "expected only");
    check_entry_refused(TOP "/train", '0', NULL, "twice");
    assert_false(vitro_fs_is_file("/tmp/evil"));
}

static void test_hostile_types(void **state)
{
    (void)state;
    check_entry_refused(TOP "/test", '1', TOP "/train", "a hard link");
    check_entry_refused(TOP "/test", '1', "/etc/passwd", "a hard link");
    check_entry_refused(TOP "/test", '2', "/etc/passwd", "a symbolic link");
    check_entry_refused(TOP, '2', "/tmp", "a symbolic link");
    check_entry_refused(TOP "/test", '3', NULL, "a special file");
    check_entry_refused(TOP "/test", '6', NULL, "a special file");
    check_entry_refused(TOP "/test", '5', NULL, "a folder");
    check_entry_refused(TOP "/sub/", '5', NULL, "a folder");
    check_entry_refused("..", '5', NULL, "a folder");
}

static void test_archive_lacks_a_file(void **state)
{
    (void)state;
    check_entry_refused(TOP "/file.txt~", '0', NULL, "lacks " TOP "/test");
}

static void test_no_archive(void **state)
{
    (void)state;
    VitroBuf b;
    vitro_buf_init(&b, LARGEST);
    assert_int_equal(vitro_buf_append(&b, "no archive at all", 17), VITRO_OK);
    check_archive_refused(&b, "damaged archive");
    vitro_buf_deinit(&b);
    vitro_buf_init(&b, LARGEST);
    vt_gzip(&b, fixture.filler, FILLER);
    check_archive_refused(&b, "damaged archive");
    vitro_buf_deinit(&b);
    VitroBuf half = {.data = fixture.archive.data, .len = fixture.archive.len / 2};
    check_archive_refused(&half, "damaged archive");
}

static void test_archive_of_many_entries(void **state)
{
    (void)state;
    VitroBuf tar, gz;
    vitro_buf_init(&tar, LARGEST);
    vitro_buf_init(&gz, LARGEST);
    for (int i = 0; i < 1000; i++)
        vt_tar_add(&tar, TOP "/", '5', NULL, NULL, 0);
    vt_tar_finish(&gz, &tar);
    check_archive_refused(&gz, "more than 64 entries");
    vitro_buf_deinit(&tar);
    vitro_buf_deinit(&gz);
}

/* A megabyte of zeros packs into a few kilobytes. */
static void test_archive_that_swells(void **state)
{
    (void)state;
    VitroBuf tar, gz;
    uint8_t *zeros = calloc(1, LARGEST + 1);
    vitro_buf_init(&tar, 2 * LARGEST);
    vitro_buf_init(&gz, 2 * LARGEST);
    vt_tar_add(&tar, TOP "/train", '0', NULL, zeros, LARGEST + 1);
    vt_tar_finish(&gz, &tar);
    check_archive_refused(&gz, "train has more than");
    vitro_buf_deinit(&tar);
    vitro_buf_deinit(&gz);
    free(zeros);
}

/* ---- sets of several files ---------------------------------------------------------------------
 */

static VitroDownloadSet idx_set(void)
{
    return (VitroDownloadSet){
        .kind = VITRO_DATA_MNIST,
        .base = "http://127.0.0.1:1/",
        .dir = "MNIST/raw",
        .part = "mnist.part",
        .files = {{"images.gz", fixture.train_md5}, {"labels.gz", fixture.test_md5}},
        .max_bytes = LARGEST};
}

static void answer_by_name(void *user, const VtRequest *r)
{
    const Job *job = user;
    const VitroMap *map = NULL;
    if (strcmp(r->path, "/sets/images.gz") == 0)
        map = &fixture.train;
    else if (strcmp(r->path, "/sets/labels.gz") == 0)
        map = job->body ? &fixture.meta : &fixture.test; /* a body: the wrong file */
    if (map)
        vt_send_file(r, map->data, map->size, map->size);
    else
        vt_send_text(r, "HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
}

static void test_several_files(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    Job job = make_job(answer_by_name, dir);
    job.set = idx_set();
    check_ok(&job);
    assert_int_equal(job.requests, 2);
    check_names(dir, "", "MNIST");
    check_names(dir, "MNIST", "raw");
    check_names(dir, "MNIST/raw", "images.gz labels.gz");
    check_file(dir, "MNIST/raw/labels.gz", fixture.test.data, fixture.test.size);
    vt_temp_remove(dir);
}

static void test_one_of_several_is_wrong(void **state)
{
    (void)state;
    Job job = make_job(answer_by_name, NULL);
    job.set = idx_set();
    job.body = &fixture.archive;
    check_leaves_nothing(&job, VITRO_E_FORMAT, fixture.test_md5);
    job.options.md5 = fixture.md5;
    check_leaves_nothing(&job, VITRO_E_ARG, "several files");
}

/* ---- what is there already ---------------------------------------------------------------------
 */

static void check_present(VitroDatasetKind kind, const char *dir, int requests)
{
    Job job = make_job(answer_404, dir);
    job.published = true;
    job.options.kind = kind;
    VitroStatus st = run(&job);
    assert_int_equal(st, requests ? VITRO_E_IO : VITRO_OK);
    assert_int_equal(job.requests, requests);
}

static void test_nothing_is_fetched_where_it_is(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    check_present(VITRO_DATA_AUTO, dir, 1);
    vt_write(dir, TOP "/train", "x", 1);
    check_present(VITRO_DATA_CIFAR100, dir, 1); /* its other split is missing */
    check_present(VITRO_DATA_AUTO, dir, 0);     /* somebody's own set: it is not added to */
    vt_write(dir, TOP "/test", "x", 1);
    check_present(VITRO_DATA_CIFAR100, dir, 0);
    check_present(VITRO_DATA_CIFAR10, dir, 1);
    check_present(VITRO_DATA_MNIST, dir, 1);
    vt_write(dir, "train-images-idx3-ubyte.gz", "x", 1);
    vt_write(dir, "t10k-images-idx3-ubyte", "x", 1);
    check_present(VITRO_DATA_MNIST, dir, 0);
    check_present(VITRO_DATA_CIFAR10, dir, 1);
    vt_temp_remove(dir);
    dir = vt_temp_make();
    vt_write(dir, "tulip/1.jpg", "x", 1);
    check_present(VITRO_DATA_AUTO, dir, 0);
    vt_temp_remove(dir);
}

/* ---- what is refused before anything is fetched ------------------------------------------------
 */

static void test_another_process_is_at_it(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    vt_write(dir, "cifar-100.part/set.tar.gz", fixture.archive.data, CUT);
    char *part = vitro_path_join(dir, "cifar-100.part");
    int fd = open(part, O_RDONLY | O_DIRECTORY);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    Job job = make_job(answer_well, dir);
    check_fails(&job, VITRO_E_IO, "another process");
    assert_int_equal(job.requests, 0);
    check_file(dir, "cifar-100.part/set.tar.gz", fixture.archive.data, CUT);
    close(fd);
    check_ok(&job);
    check_set_is_there(dir);
    vitro_free(part);
    vt_temp_remove(dir);
}

/* Links that somebody laid where the download writes are not followed. */
static void test_links_in_the_way(void **state)
{
    (void)state;
    char *dir = vt_temp_make(), *part = vitro_path_join(dir, "data/cifar-100.part");
    char *file = vitro_path_join(dir, "data/cifar-100.part/set.tar.gz");
    char *data = vitro_path_join(dir, "data");
    vt_write(dir, "elsewhere/set.tar.gz", "mine", 4);
    vt_mkdir(dir, "data");
    Job job = make_job(answer_well, data);
    assert_int_equal(symlink("../elsewhere", part), 0);
    check_fails(&job, VITRO_E_IO, "cifar-100.part");
    assert_int_equal(unlink(part), 0);
    assert_int_equal(mkdir(part, 0777), 0);
    assert_int_equal(symlink("../../elsewhere/set.tar.gz", file), 0);
    check_fails(&job, VITRO_E_IO, "set.tar.gz");
    check_file(dir, "elsewhere/set.tar.gz", "mine", 4);
    vitro_free(part);
    vitro_free(file);
    vitro_free(data);
    vt_temp_remove(dir);
}

static void check_options_refused(VitroDownloadOptions options, VitroStatus status,
                                  const char *word)
{
    assert_int_equal(vitro_dataset_download(&options), status);
    assert_non_null(strstr(vitro_last_error(), word));
}

static void test_options(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    VitroDownloadOptions folder = {.path = dir, .kind = VITRO_DATA_FOLDER};
    check_options_refused(folder, VITRO_E_UNSUPPORTED, "no published address");
    VitroDownloadOptions nowhere = {.path = ""};
    check_options_refused(nowhere, VITRO_E_ARG, "folder");
    VitroDownloadOptions no_sum = {.path = dir, .md5 = "xyz"};
    check_options_refused(no_sum, VITRO_E_ARG, "xyz");
    VitroDownloadOptions local = {.path = dir, .url = "file:///etc/passwd"};
    check_options_refused(local, VITRO_E_ARG, "file:///etc/passwd");
    check_names(dir, "", "");
    vt_write(dir, "file", "x", 1);
    char *file = vitro_path_join(dir, "file");
    VitroDownloadOptions no_folder = {.path = file, .url = "http://127.0.0.1:1/"};
    check_options_refused(no_folder, VITRO_E_IO, "file");
    vitro_free(file);
    vt_temp_remove(dir);
}

/* The sums that the data sets' publishers and torchvision give. */
static void test_published_sets(void **state)
{
    (void)state;
    for (int kind = VITRO_DATA_CIFAR100; kind <= VITRO_DATA_MNIST; kind++) {
        const VitroDownloadSet *set = vitro_download_set((VitroDatasetKind)kind);
        assert_non_null(set);
        assert_int_equal(set->kind, kind);
        for (const VitroDownloadFile *f = set->files; f->name; f++)
            assert_int_equal(strspn(f->md5, "0123456789abcdef"), 32);
        for (const VitroDownloadFile *m = set->members; m->name; m++)
            assert_int_equal(m->md5 ? strspn(m->md5, "0123456789abcdef") : 32, 32);
    }
    const VitroDownloadSet *cifar100 = vitro_download_set(VITRO_DATA_AUTO);
    assert_string_equal(cifar100->base, "https://www.cs.toronto.edu/~kriz/");
    assert_string_equal(cifar100->files[0].name, "cifar-100-python.tar.gz");
    assert_string_equal(cifar100->files[0].md5, "eb9058c3a382ffc7106e4002c42a8d85");
}

/* Every allocation of ours fails once: an error each time, never a half-made set. */
static void test_lack_of_memory(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    VitroStatus st = VITRO_E_NOMEM;
    Job job = make_job(answer_well, dir);
    for (uint64_t n = 1; st != VITRO_OK; n++) {
        assert_true(n < 100);
        vitro_alloc_fail_at(n);
        st = run(&job);
        vitro_alloc_fail_at(0);
        assert_true(st == VITRO_OK || st == VITRO_E_NOMEM);
        if (st != VITRO_OK) {
            char *top = vitro_path_join(dir, TOP);
            assert_false(vitro_fs_is_dir(top));
            vitro_free(top);
        }
    }
    check_set_is_there(dir);
    vt_temp_remove(dir);
}

int main(void)
{
#if !VITRO_HAVE_CURL || !VITRO_HAVE_ARCHIVE
    printf("this build has no libcurl or no libarchive\n");
    return 77;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arrives_whole),
        cmocka_unit_test(test_cut_at_every_64_kib),
        cmocka_unit_test(test_next_call_continues),
        cmocka_unit_test(test_stopped_by_the_caller),
        cmocka_unit_test(test_whole_archive_of_an_earlier_run),
        cmocka_unit_test(test_other_bytes_of_an_earlier_run),
        cmocka_unit_test(test_folder_is_there_already),
        cmocka_unit_test(test_wrong_bytes),
        cmocka_unit_test(test_wrong_bytes_twice),
        cmocka_unit_test(test_length_too_short),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_not_found),
        cmocka_unit_test(test_redirect_to_a_file),
        cmocka_unit_test(test_wrong_member),
        cmocka_unit_test(test_sum_of_the_caller),
        cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_hostile_types),
        cmocka_unit_test(test_archive_lacks_a_file),
        cmocka_unit_test(test_no_archive),
        cmocka_unit_test(test_archive_of_many_entries),
        cmocka_unit_test(test_archive_that_swells),
        cmocka_unit_test(test_several_files),
        cmocka_unit_test(test_one_of_several_is_wrong),
        cmocka_unit_test(test_nothing_is_fetched_where_it_is),
        cmocka_unit_test(test_another_process_is_at_it),
        cmocka_unit_test(test_links_in_the_way),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_published_sets),
        cmocka_unit_test(test_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, make_fixture, free_fixture);
}
