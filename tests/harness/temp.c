/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/temp.h"

#include "base/alloc.h"
#include "base/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

char *vt_temp_make(void)
{
    const char *parent = getenv("TMPDIR");
    char *dir = vitro_asprintf("%s/vitro-test-XXXXXX", parent ? parent : "/tmp");
    assert_non_null(dir);
    assert_non_null(mkdtemp(dir));
    return dir;
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *ftw)
{
    (void)s, (void)type, (void)ftw;
    return remove(path);
}

void vt_temp_remove(char *dir)
{
    assert_int_equal(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    vitro_free(dir);
}

void vt_mkdir(const char *dir, const char *name)
{
    char *path = vitro_path_join(dir, name);
    assert_non_null(path);
    assert_int_equal(vitro_fs_mkdirs(path), VITRO_OK);
    vitro_free(path);
}

void vt_write(const char *dir, const char *name, const void *data, size_t size)
{
    char *path = vitro_path_join(dir, name), *parent = path ? vitro_path_dir(path) : NULL;
    assert_non_null(parent);
    assert_int_equal(vitro_fs_mkdirs(parent), VITRO_OK);
    remove(path); /* a file that is truncated and written anew is flushed to disk by ext4: slow */
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
    vitro_free(parent);
    vitro_free(path);
}

void vt_copy(const char *dir, const char *name, const char *from)
{
    VitroMap map;
    assert_int_equal(vitro_map_open(&map, from), VITRO_OK);
    vt_write(dir, name, map.data, map.size);
    vitro_map_close(&map);
}
