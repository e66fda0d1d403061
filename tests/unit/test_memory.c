/* SPDX-License-Identifier: Apache-2.0 */
/* What the system says of its memory: files as Linux has them below a folder, and real limits. */
#include "base/memory.h"
#include "harness/temp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

static void write_text(const char *dir, const char *name, const char *text)
{
    vt_write(dir, name, text, strlen(text));
}

static void machine(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    assert_int_equal(vitro_memory_available_below(dir), -1);
    write_text(dir, "proc/meminfo", "MemTotal:       16000 kB\nMemFree:         100 kB\n");
    assert_int_equal(vitro_memory_available_below(dir), -1); /* a kernel that does not tell */
    write_text(dir, "proc/meminfo", "MemTotal:       16000 kB\nMemAvailable:    9000 kB\n");
    assert_int_equal(vitro_memory_available_below(dir), 9000 * 1024);
    write_text(dir, "proc/meminfo", "MemAvailable: lots\n");
    assert_int_equal(vitro_memory_available_below(dir), -1);
    vt_temp_remove(dir);
}

static void groups(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    write_text(dir, "proc/meminfo", "MemAvailable:    9000 kB\n");
    write_text(dir, "proc/self/cgroup", "12:cpuset:/\n0::/outer/inner\n");
    assert_int_equal(vitro_memory_available_below(dir), 9000 * 1024);
    write_text(dir, "sys/fs/cgroup/outer/inner/memory.max", "max\n");
    write_text(dir, "sys/fs/cgroup/outer/inner/memory.current", "5000\n");
    assert_int_equal(vitro_memory_available_below(dir), 9000 * 1024);
    write_text(dir, "sys/fs/cgroup/outer/memory.max", "70000\n");
    write_text(dir, "sys/fs/cgroup/outer/memory.current", "30000\n");
    assert_int_equal(vitro_memory_available_below(dir), 40000);
    /* pages of files make way */
    write_text(dir, "sys/fs/cgroup/outer/memory.stat",
               "anon 1\nfile 99\ninactive_file 300\nactive_file 20\n");
    assert_int_equal(vitro_memory_available_below(dir), 40320);
    write_text(dir, "sys/fs/cgroup/outer/inner/memory.max", "6000\n");
    assert_int_equal(vitro_memory_available_below(dir), 1000);
    write_text(dir, "sys/fs/cgroup/memory.max", "8\n");
    write_text(dir, "sys/fs/cgroup/memory.current", "9\n");
    assert_int_equal(vitro_memory_available_below(dir), 0);
    /* the container's own folder, whatever the group is called outside */
    write_text(dir, "proc/self/cgroup", "0::/docker/0123\n");
    write_text(dir, "sys/fs/cgroup/memory.max", "800\n");
    assert_int_equal(vitro_memory_available_below(dir), 791);
    write_text(dir, "proc/self/cgroup", "0::/\n");
    assert_int_equal(vitro_memory_available_below(dir), 791);
    write_text(dir, "proc/self/cgroup", "3:memory:/old\n");
    assert_int_equal(vitro_memory_available_below(dir), 9000 * 1024);
    vt_temp_remove(dir);
}

/* A limit of `bytes` beyond what is in use is seen. */
static void check_limit(int resource, const char *nowhere)
{
    struct rlimit old, low;
    assert_int_equal(getrlimit(resource, &old), 0);
    low = old;
    low.rlim_cur = 4096; /* less than any process has: nothing is left */
    assert_int_equal(setrlimit(resource, &low), 0);
    int64_t none = vitro_memory_available_below(nowhere);
    low.rlim_cur = (rlim_t)1 << 52;
    assert_int_equal(setrlimit(resource, &low), 0);
    int64_t much = vitro_memory_available_below(nowhere);
    assert_int_equal(setrlimit(resource, &old), 0);
    assert_int_equal(none, 0);
    assert_true(much > (int64_t)1 << 51 && much < (int64_t)1 << 52);
}

static void limits_of_the_process(void **state)
{
    (void)state;
    char *nowhere = vt_temp_make();
    check_limit(RLIMIT_AS, nowhere);
    check_limit(RLIMIT_DATA, nowhere);
    vt_temp_remove(nowhere);
}

static void environment(void **state)
{
    (void)state;
    assert_int_equal(setenv("VITRO_MEMORY_AVAILABLE", "12345", 1), 0);
    assert_int_equal(vitro_memory_available(), 12345);
    assert_int_equal(setenv("VITRO_MEMORY_AVAILABLE", "much", 1), 0);
    assert_true(vitro_memory_available() != 12345);
    assert_int_equal(unsetenv("VITRO_MEMORY_AVAILABLE"), 0);
    assert_true(vitro_memory_available() > 1 << 20); /* this is Linux */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(machine),
        cmocka_unit_test(groups),
        cmocka_unit_test(limits_of_the_process),
        cmocka_unit_test(environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
