/* SPDX-License-Identifier: Apache-2.0 */
/* TensorBoard event files with scalars. Readers tolerate a truncated last record and nothing else,
 * so records are gathered in memory, written in one piece, and a piece that the disk refuses is cut
 * off again. */
#include "metrics/tensorboard.h"

#include "base/alloc.h"
#include "base/fs.h"
#include "metrics/crc32c.h"
#include "vitro/train.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- protobuf and TFRecord --------------------------------------------------------------------
 */

/* A message under construction; the largest here is an event with the longest tag. */
typedef struct Message {
    uint8_t data[VITRO_EVENT_TAG_MAX + 128];
    size_t len;
} Message;

/* Field keys: field number * 8 + wire type (0 varint, 1 eight bytes, 2 with a length, 5 four). */
enum {
    EVENT_WALL_TIME = 1 << 3 | 1,
    EVENT_STEP = 2 << 3 | 0,
    EVENT_FILE_VERSION = 3 << 3 | 2,
    EVENT_SUMMARY = 5 << 3 | 2,
    EVENT_SESSION_LOG = 7 << 3 | 2,
    SESSION_STATUS = 1 << 3 | 0,
    SUMMARY_VALUE = 1 << 3 | 2,
    VALUE_TAG = 1 << 3 | 2,
    VALUE_SIMPLE = 2 << 3 | 5
};

static void put_little_endian(uint8_t *out, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(v >> 8 * i);
}

static void put_fixed(Message *m, int key, uint64_t v, size_t bytes)
{
    m->data[m->len++] = (uint8_t)key;
    put_little_endian(m->data + m->len, v, bytes);
    m->len += bytes;
}

static void put_varint(Message *m, int key, uint64_t v)
{
    m->data[m->len++] = (uint8_t)key;
    for (; v >= 0x80; v >>= 7)
        m->data[m->len++] = (uint8_t)(v | 0x80);
    m->data[m->len++] = (uint8_t)v;
}

static void put_bytes(Message *m, int key, const void *data, size_t n)
{
    put_varint(m, key, n);
    memcpy(m->data + m->len, data, n);
    m->len += n;
}

static void put_double(Message *m, int key, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    put_fixed(m, key, bits, 8);
}

static void put_float(Message *m, int key, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof(bits));
    put_fixed(m, key, bits, 4);
}

/* length, checksum of the length, data, checksum of the data */
static VitroStatus append_record(VitroBuf *out, const Message *m)
{
    uint8_t *at;
    VITRO_TRY(vitro_buf_extend(out, 8 + 4 + m->len + 4, &at));
    put_little_endian(at, m->len, 8);
    put_little_endian(at + 8, vitro_crc32c_masked(at, 8), 4);
    memcpy(at + 12, m->data, m->len);
    put_little_endian(at + 12 + m->len, vitro_crc32c_masked(m->data, m->len), 4);
    return VITRO_OK;
}

VitroStatus vitro_event_version(VitroBuf *out, double wall_time)
{
    static const char version[] = "brain.Event:2";
    Message event = {.len = 0};
    put_double(&event, EVENT_WALL_TIME, wall_time);
    put_bytes(&event, EVENT_FILE_VERSION, version, sizeof(version) - 1);
    return append_record(out, &event);
}

VitroStatus vitro_event_scalar(VitroBuf *out, double wall_time, const char *tag, double value,
                               int64_t step)
{
    size_t tag_len = strlen(tag);
    if (tag_len > VITRO_EVENT_TAG_MAX)
        return vitro_fail(VITRO_E_ARG, "scalar tag: %zu bytes, at most %d are allowed", tag_len,
                          VITRO_EVENT_TAG_MAX);
    Message scalar = {.len = 0}, summary = {.len = 0}, event = {.len = 0};
    put_bytes(&scalar, VALUE_TAG, tag, tag_len);
    put_float(&scalar, VALUE_SIMPLE, (float)value);
    put_bytes(&summary, SUMMARY_VALUE, scalar.data, scalar.len);
    put_double(&event, EVENT_WALL_TIME, wall_time);
    if (step != 0) /* proto3 leaves out what is zero, but for members of a oneof (simple_value) */
        put_varint(&event, EVENT_STEP, (uint64_t)step);
    put_bytes(&event, EVENT_SUMMARY, summary.data, summary.len);
    return append_record(out, &event);
}

VitroStatus vitro_event_restart(VitroBuf *out, double wall_time, int64_t step)
{
    enum { START = 1 };
    Message session = {.len = 0}, event = {.len = 0};
    put_varint(&session, SESSION_STATUS, START);
    put_double(&event, EVENT_WALL_TIME, wall_time);
    if (step != 0)
        put_varint(&event, EVENT_STEP, (uint64_t)step);
    put_bytes(&event, EVENT_SESSION_LOG, session.data, session.len);
    return append_record(out, &event);
}

/* ---- the file ---------------------------------------------------------------------------------
 */

#define FLUSH_BYTES (64 << 10)

struct VitroTensorboard {
    int fd;
    char *path;
    VitroBuf pending; /* whole records that are not in the file yet */
    off_t size;       /* bytes of whole records in the file */
};

static double seconds_since_1970(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The name that TensorBoard's own writer gives; `uid` tells files of one second and process apart.
 */
static VitroStatus create_file(VitroTensorboard *tb, const char *dir, double now)
{
    char host[256] = "localhost";
    if (gethostname(host, sizeof(host) - 1) != 0 || !host[0])
        memcpy(host, "localhost", sizeof("localhost"));
    for (int uid = 0; uid < 1000; uid++) {
        char *name = vitro_asprintf("events.out.tfevents.%010" PRId64 ".%s.%ld.%d", (int64_t)now,
                                    host, (long)getpid(), uid);
        tb->path = name ? vitro_path_join(dir, name) : NULL;
        vitro_free(name);
        if (!tb->path)
            return VITRO_NOMEM;
        do
            tb->fd = open(tb->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        while (tb->fd < 0 && errno == EINTR);
        if (tb->fd >= 0)
            return VITRO_OK;
        if (errno != EEXIST)
            return vitro_fail_errno("%s: cannot create", tb->path);
        vitro_free(tb->path);
        tb->path = NULL;
    }
    return vitro_fail(VITRO_E_IO, "%s: holds 1000 event files of this very second already", dir);
}

VitroStatus vitro_tensorboard_open(VitroTensorboard **out, const char *dir)
{
    VITRO_TRY(vitro_fs_mkdirs(dir));
    VitroTensorboard *tb = vitro_calloc(1, sizeof(*tb));
    if (!tb)
        return VITRO_NOMEM;
    tb->fd = -1;
    vitro_buf_init(&tb->pending, 2 * FLUSH_BYTES);
    double now = seconds_since_1970();
    VitroStatus st = create_file(tb, dir, now);
    if (st == VITRO_OK)
        st = vitro_event_version(&tb->pending, now);
    if (st == VITRO_OK)
        st = vitro_tensorboard_flush(tb);
    if (st == VITRO_OK) {
        *out = tb;
        return VITRO_OK;
    }
    tb->pending.len = 0; /* nothing more is to be written */
    if (tb->fd >= 0)
        unlink(tb->path);
    VitroStatus closed = vitro_tensorboard_close(tb);
    (void)closed;
    return st;
}

VitroStatus vitro_tensorboard_scalar(VitroTensorboard *tb, const char *tag, double value,
                                     int64_t step)
{
    if (tb->pending.len >= FLUSH_BYTES)
        VITRO_TRY(vitro_tensorboard_flush(tb));
    return vitro_event_scalar(&tb->pending, seconds_since_1970(), tag, value, step);
}

VitroStatus vitro_tensorboard_restart(VitroTensorboard *tb, int64_t step)
{
    return vitro_event_restart(&tb->pending, seconds_since_1970(), step);
}

VitroStatus vitro_tensorboard_flush(VitroTensorboard *tb)
{
    size_t done = 0;
    while (done < tb->pending.len) {
        ssize_t n = write(tb->fd, tb->pending.data + done, tb->pending.len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n ? errno : ENOSPC;
            VitroStatus st = vitro_fail_errno("%s: cannot write", tb->path);
            /* Leave whole records only, and all of these for another try. */
            if (ftruncate(tb->fd, tb->size) == 0)
                lseek(tb->fd, tb->size, SEEK_SET);
            return st;
        }
        done += (size_t)n;
    }
    tb->size += (off_t)done;
    tb->pending.len = 0;
    int failed;
    do
        failed = done ? fdatasync(tb->fd) : 0;
    while (failed && errno == EINTR);
    return failed && errno != EINVAL ? vitro_fail_errno("%s: cannot sync", tb->path) : VITRO_OK;
}

VitroStatus vitro_tensorboard_close(VitroTensorboard *tb)
{
    if (!tb)
        return VITRO_OK;
    VitroStatus st = VITRO_OK;
    if (tb->fd >= 0) {
        st = vitro_tensorboard_flush(tb);
        if (close(tb->fd) != 0 && st == VITRO_OK)
            st = vitro_fail_errno("%s: cannot close", tb->path);
    }
    vitro_buf_deinit(&tb->pending);
    vitro_free(tb->path);
    vitro_free(tb);
    return st;
}
