/* SPDX-License-Identifier: Apache-2.0 */
/* Files that appear whole or not at all: whatever goes wrong, the old file stays and nothing is
 * left beside it. */
#include "base/alloc.h"
#include "base/fs.h"
#include "harness/temp.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>
#include <cmocka.h>

static char *dir, *path, *temp;

static int set_up(void **state)
{
    (void)state;
    dir = vt_temp_make();
    path = vitro_path_join(dir, "file");
    temp = vitro_path_join(dir, "file.vitro-tmp");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    vitro_free(path);
    vitro_free(temp);
    vt_temp_remove(dir);
    return 0;
}

static void expect(const char *contents)
{
    VitroBuf b;
    vitro_buf_init(&b, 1 << 20);
    assert_int_equal(vitro_fs_read(&b, path), VITRO_OK);
    assert_int_equal(b.len, strlen(contents));
    assert_memory_equal(b.data, contents, b.len);
    vitro_buf_deinit(&b);
}

/* How many names the folder holds. */
static size_t names(void)
{
    VitroNameList list;
    assert_int_equal(vitro_fs_list(&list, dir), VITRO_OK);
    size_t n = list.count;
    vitro_list_free(&list);
    return n;
}

static void test_whole(void **state)
{
    (void)state;
    struct stat info;
    mode_t mask = umask(027);
    assert_int_equal(vitro_fs_replace(path, "old", 3), VITRO_OK);
    umask(mask);
    expect("old");
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
    assert_int_equal(vitro_fs_replace(path, "newer", 5), VITRO_OK);
    expect("newer");
    assert_int_equal(names(), 1);
}

static void test_not_at_all(void **state)
{
    (void)state;
    VitroReplace r;
    assert_int_equal(vitro_fs_replace(path, "old", 3), VITRO_OK);
    assert_int_equal(vitro_replace_begin(&r, path), VITRO_OK);
    assert_int_equal(vitro_replace_write(&r, "half", 4), VITRO_OK);
    assert_true(vitro_fs_is_file(temp));
    expect("old");
    vitro_replace_abort(&r);
    expect("old");
    assert_int_equal(names(), 1);
}

/* A writer that was killed has left more than the next one writes. */
static void test_leftover(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        VitroReplace r;
        if (vitro_replace_begin(&r, path) || vitro_replace_write(&r, "left behind", 11))
            _exit(1);
        raise(SIGKILL);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how));
    assert_true(vitro_fs_is_file(temp));
    assert_int_equal(vitro_fs_replace(path, "new", 3), VITRO_OK);
    expect("new");
    assert_int_equal(names(), 1);
}

static void test_two_writers(void **state)
{
    (void)state;
    VitroReplace a, b;
    assert_int_equal(vitro_replace_begin(&a, path), VITRO_OK);
    assert_int_equal(vitro_replace_write(&a, "first", 5), VITRO_OK);
    assert_int_equal(vitro_replace_begin(&b, path), VITRO_E_IO);
    assert_non_null(strstr(vitro_last_error(), "is being written by another program"));
    assert_int_equal(vitro_replace_commit(&a), VITRO_OK);
    vitro_replace_abort(&a);
    expect("first");
    assert_int_equal(names(), 1);
}

/* Somebody else's file under the temporary name is neither followed nor filled. */
static void test_foreign(void **state)
{
    (void)state;
    vt_write(dir, "victim", "precious", 8);
    char *victim = vitro_path_join(dir, "victim");
    assert_int_equal(symlink("victim", temp), 0);
    assert_int_equal(vitro_fs_replace(path, "new", 3), VITRO_E_IO);
    assert_int_equal(unlink(temp), 0);
    assert_int_equal(link(victim, temp), 0);
    assert_int_equal(vitro_fs_replace(path, "new", 3), VITRO_E_IO);
    assert_non_null(strstr(vitro_last_error(), "is in the way"));
    assert_int_equal(unlink(temp), 0);
    assert_int_equal(mkfifo(temp, 0600), 0);
    assert_int_equal(vitro_fs_replace(path, "new", 3), VITRO_E_IO);
    assert_int_equal(unlink(temp), 0);
    vitro_free(path);
    path = victim;
    expect("precious");
}

static void test_link(void **state)
{
    (void)state;
    vt_mkdir(dir, "there");
    vt_write(dir, "there/real", "old", 3);
    assert_int_equal(symlink("there/real", path), 0);
    assert_int_equal(vitro_fs_replace(path, "new", 3), VITRO_OK);
    struct stat info;
    assert_int_equal(lstat(path, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    expect("new");
}

static void test_limit_of_size(void **state)
{
    (void)state;
    struct rlimit old, small = {4096, 0};
    char *large = vitro_calloc(10000, 1);
    assert_int_equal(vitro_fs_replace(path, "old", 3), VITRO_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    VitroStatus st = vitro_fs_replace(path, large, 10000);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(st, VITRO_E_IO);
    assert_non_null(strstr(vitro_last_error(), "file: cannot write: File too large"));
    expect("old");
    assert_int_equal(names(), 1);
    vitro_free(large);
}

static void test_no_place(void **state)
{
    (void)state;
    char *gone = vitro_asprintf("%s/gone/file", dir);
    assert_int_equal(vitro_fs_replace(gone, "new", 3), VITRO_E_IO);
    assert_non_null(strstr(vitro_last_error(), "gone/file: cannot create: No such file"));
    vitro_free(gone);
    assert_int_equal(vitro_fs_replace(dir, "new", 3), VITRO_E_IO);
    VitroReplace r;
    vt_mkdir(dir, "sub");
    char *inside = vitro_asprintf("%s/sub/file", dir), *sub = vitro_path_join(dir, "sub");
    assert_int_equal(vitro_replace_begin(&r, inside), VITRO_OK);
    assert_int_equal(vitro_replace_write(&r, "new", 3), VITRO_OK);
    vt_temp_remove(sub); /* frees it */
    assert_int_equal(vitro_replace_commit(&r), VITRO_E_IO);
    assert_non_null(strstr(vitro_last_error(), "sub/file: cannot replace: No such file"));
    vitro_replace_abort(&r);
    vitro_free(inside);
}

static void test_output(void **state)
{
    (void)state;
    VitroOutput *o;
    assert_int_equal(vitro_output_open(&o, path), VITRO_OK);
    assert_int_equal(write(vitro_output_fd(o), "abc", 3), 3);
    vitro_output_abort(o);
    assert_int_equal(names(), 0);
    assert_int_equal(vitro_output_open(&o, path), VITRO_OK);
    assert_int_equal(write(vitro_output_fd(o), "abc", 3), 3);
    assert_int_equal(vitro_output_commit(o), VITRO_OK);
    expect("abc");
    vitro_output_abort(NULL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_whole),         TEST(test_not_at_all), TEST(test_leftover),
        TEST(test_two_writers),   TEST(test_foreign),    TEST(test_link),
        TEST(test_limit_of_size), TEST(test_no_place),   TEST(test_output),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
