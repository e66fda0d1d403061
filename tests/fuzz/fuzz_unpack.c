/* SPDX-License-Identifier: Apache-2.0 */
/* Archives of data sets: whatever they hold, nothing but the names asked for may appear, and only
 * in the one folder. */
#include "fuzz/fuzz.h"

#include "data/unpack.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MEMBER_MAX (64 << 10)

/* libarchive's own buffers, and its read-ahead of headers of up to 1 MiB each. */
const FuzzLimits fuzz_limits = {16 << 20, 1100};

static const VitroUnpackMember members[] = {{"train", true}, {"meta", true}, {"readme", false}};

/* Checks what is in the folder, and removes it. */
static void check_dir(int fd, bool whole)
{
    DIR *d = fdopendir(dup(fd));
    FUZZ_CHECK(d);
    rewinddir(d);
    int files = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        struct stat info;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        FUZZ_CHECK(strcmp(e->d_name, "train") == 0 || strcmp(e->d_name, "meta") == 0);
        FUZZ_CHECK(fstatat(fd, e->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0);
        FUZZ_CHECK(S_ISREG(info.st_mode) && info.st_size <= MEMBER_MAX);
        FUZZ_CHECK((info.st_mode & (S_ISUID | S_ISGID | S_IXUSR)) == 0);
        FUZZ_CHECK(unlinkat(fd, e->d_name, 0) == 0);
        files++;
    }
    closedir(d);
    FUZZ_CHECK(!whole || files == 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    VitroUnpackRules rules = {.archive = "sample.tar.gz",
                              .top = "set",
                              .members = members,
                              .member_count = sizeof(members) / sizeof(members[0]),
                              .max_bytes = MEMBER_MAX};
    fuzz_digest = 0;
    if (vitro_unpack_supported("sample.tar.gz") != VITRO_OK)
        exit(77);
    int dir = open(fuzz_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int archive = open(fuzz_file(data, size), O_RDONLY | O_CLOEXEC);
    FUZZ_CHECK(dir >= 0 && archive >= 0);
    VitroStatus st = vitro_unpack(dir, archive, &rules);
    if (st)
        fuzz_refused(st, NULL);
    check_dir(dir, st == VITRO_OK);
    close(archive);
    close(dir);
    return 0;
}
