/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz/fuzz.h"

#include "base/alloc.h"
#include "base/crc32.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

uint64_t fuzz_digest;
bool fuzz_damaged;

void fuzz_digest_add(const void *data, size_t size)
{
    const uint8_t *p = data;
    uint64_t h = fuzz_digest ? fuzz_digest : 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    fuzz_digest = h ? h : 1;
}

void fuzz_broken(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: broken: %s (last error: \"%s\")\n", file, line, what,
            vitro_last_error());
    abort();
}

void fuzz_refused(VitroStatus st, const char *name)
{
    const char *text = vitro_last_error();
    FUZZ_CHECK(st == VITRO_E_FORMAT || st == VITRO_E_UNSUPPORTED || st == VITRO_E_IO);
    FUZZ_CHECK(*text);
    FUZZ_CHECK(!name || strncmp(text, name, strlen(name)) == 0);
    for (; *text; text++)
        FUZZ_CHECK((unsigned char)*text >= 0x20 && *text != 0x7f);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void write_all(int fd, const void *data, size_t size)
{
    const char *p = data;
    while (size) {
        ssize_t n = write(fd, p, size);
        FUZZ_CHECK(n > 0);
        p += n;
        size -= (size_t)n;
    }
}

const char *fuzz_file(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    FUZZ_CHECK(fd >= 0 && ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0);
    write_all(fd, data, size);
    FUZZ_CHECK(lseek(fd, 0, SEEK_SET) == 0);
    return path;
}

static char dir[64];

static void remove_dir(void)
{
    rmdir(dir); /* a target removes what it wrote */
}

const char *fuzz_dir(void)
{
    if (!*dir) {
        snprintf(dir, sizeof(dir), "%s/vitro-fuzz-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        FUZZ_CHECK(mkdtemp(dir));
        atexit(remove_dir);
    }
    return dir;
}

void fuzz_write(const char *name, const void *data, size_t size)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", fuzz_dir(), name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_CHECK(fd >= 0);
    write_all(fd, data, size);
    close(fd);
}

void fuzz_remove(const char *name)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", fuzz_dir(), name);
    unlink(path);
}

/* ---- archives -------------------------------------------------------------------------------- */

static void put(VitroBuf *b, uint64_t value, int bytes)
{
    uint8_t le[8];
    for (int i = 0; i < bytes; i++)
        le[i] = (uint8_t)(value >> 8 * i);
    FUZZ_CHECK(vitro_buf_append(b, le, (size_t)bytes) == VITRO_OK);
}

/* What the local header and the directory have in common (APPNOTE.TXT 4.3.7). */
static void put_common(VitroBuf *b, const FuzzRecord *r, uint32_t crc)
{
    put(b, 20, 2);
    put(b, 0, 4); /* flags, STORED */
    put(b, 0, 4); /* date */
    put(b, crc, 4);
    put(b, r->size, 4);
    put(b, r->size, 4);
    put(b, strlen(r->name), 2);
    put(b, 0, 2);
}

void fuzz_zip(VitroBuf *out, const FuzzRecord *record, int count)
{
    size_t at[8];
    FUZZ_CHECK(count <= 8);
    for (int i = 0; i < count; i++) {
        at[i] = out->len;
        put(out, 0x04034b50, 4);
        put_common(out, &record[i], vitro_crc32(0, record[i].data, record[i].size));
        FUZZ_CHECK(!vitro_buf_append(out, record[i].name, strlen(record[i].name)));
        FUZZ_CHECK(!vitro_buf_append(out, record[i].data, record[i].size));
    }
    size_t begin = out->len;
    for (int i = 0; i < count; i++) {
        put(out, 0x02014b50, 4);
        put(out, 20, 2);
        put_common(out, &record[i], vitro_crc32(0, record[i].data, record[i].size));
        put(out, 0, 6); /* comment, disk, attributes */
        put(out, 0, 4);
        put(out, at[i], 4);
        FUZZ_CHECK(!vitro_buf_append(out, record[i].name, strlen(record[i].name)));
    }
    size_t end = out->len;
    put(out, 0x06054b50, 4);
    put(out, 0, 4);
    put(out, (uint64_t)count, 2);
    put(out, (uint64_t)count, 2);
    put(out, end - begin, 4);
    put(out, begin, 4);
    put(out, 0, 2);
}
