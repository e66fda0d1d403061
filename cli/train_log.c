/* SPDX-License-Identifier: Apache-2.0 */
#include "train_log.h"

#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the file of JSON lines -------------------------------------------------------------------
 */

static const TrainLogMark beginning = {0, 0xcbf29ce484222325};

static void move_mark(TrainLogMark *m, const char *data, size_t n)
{
    m->bytes += (int64_t)n;
    for (size_t i = 0; i < n; i++)
        m->sum = (m->sum ^ (uint8_t)data[i]) * 0x100000001b3;
}

static int fail_jsonl(const TrainLog *log, int reason)
{
    return cli_fail("option --metrics-jsonl: %s: %s", log->jsonl_path, strerror(reason));
}

static int open_jsonl(TrainLog *log, const char *path, int flags)
{
    struct stat info;
    log->jsonl_path = path;
    log->mark = beginning;
    do
        log->jsonl = open(path, flags | O_CREAT | O_CLOEXEC, 0666);
    while (log->jsonl < 0 && errno == EINTR);
    if (log->jsonl < 0 || fstat(log->jsonl, &info))
        return fail_jsonl(log, errno);
    log->regular = S_ISREG(info.st_mode);
    return CLI_OK;
}

/* Whether the file begins with what the mark stands for. */
static bool begins_as(const TrainLog *log, const TrainLogMark *mark)
{
    TrainLogMark found = beginning;
    char chunk[65536];
    while (found.bytes < mark->bytes) {
        int64_t left = mark->bytes - found.bytes;
        size_t wanted = left < (int64_t)sizeof(chunk) ? (size_t)left : sizeof(chunk);
        ssize_t n = pread(log->jsonl, chunk, wanted, (off_t)found.bytes);
        if (n <= 0 && !(n < 0 && errno == EINTR))
            return false;
        if (n > 0)
            move_mark(&found, chunk, (size_t)n);
    }
    return found.sum == mark->sum;
}

/* Behind the mark lie lines of steps that are going to be done again, the last of them perhaps
 * torn. */
static int go_on(TrainLog *log, const char *path, const TrainLogMark *mark)
{
    bool missing = access(path, F_OK) != 0;
    int status = open_jsonl(log, path, mark && !missing ? O_RDWR : O_RDWR | O_TRUNC);
    if (status || !log->regular)
        return status;
    if (!mark || missing) {
        cli_note("option --metrics-jsonl: %s: begins here: the lines so far are not in it", path);
        return CLI_OK;
    }
    if (!begins_as(log, mark))
        return cli_fail("option --metrics-jsonl: %s: does not begin with the %" PRId64
                        " bytes that the run had written when its state was saved; another file "
                        "would get the lines from here on",
                        path, mark->bytes);
    if (ftruncate(log->jsonl, (off_t)mark->bytes) ||
        lseek(log->jsonl, (off_t)mark->bytes, SEEK_SET) < 0)
        return fail_jsonl(log, errno);
    log->mark = *mark;
    return CLI_OK;
}

/* A line that the disk takes only a part of is cut off again. */
static int write_line(TrainLog *log, const char *line, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = write(log->jsonl, line + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            int reason = n ? errno : ENOSPC;
            if (log->regular && ftruncate(log->jsonl, (off_t)log->mark.bytes) == 0)
                lseek(log->jsonl, (off_t)log->mark.bytes, SEEK_SET);
            return fail_jsonl(log, reason);
        }
        done += (size_t)n;
    }
    move_mark(&log->mark, line, size);
    return CLI_OK;
}

int train_log_sync(const TrainLog *log)
{
    int failed = 0;
    if (log->jsonl >= 0 && log->regular)
        do
            failed = fdatasync(log->jsonl);
        while (failed && errno == EINTR);
    return failed ? fail_jsonl(log, errno) : CLI_OK;
}

/* ---- lines ------------------------------------------------------------------------------------
 */

typedef struct Line {
    FILE *stream;
    char *text;
    size_t size;
} Line;

/* The stream keeps pointers into `l`, which stays where it is. */
static void begin_line(Line *l)
{
    *l = (Line){0};
    l->stream = open_memstream(&l->text, &l->size);
    if (!l->stream)
        exit(cli_fail("out of memory for a line of the log"));
}

static void put_number(Line *l, const char *key, double value)
{
    fprintf(l->stream, ", \"%s\": ", key);
    put_json_number(l->stream, value);
}

static int end_line(TrainLog *log, Line *l)
{
    fputs("}\n", l->stream);
    bool bad = ferror(l->stream);
    if (fclose(l->stream) || bad || !l->text) /* glibc's fclose is content without the text */
        exit(cli_fail("out of memory for a line of the log"));
    int status = write_line(log, l->text, l->size);
    free(l->text);
    return status;
}

int train_log_step(TrainLog *log, const StepRecord *r)
{
    if (log->jsonl < 0)
        return CLI_OK;
    Line l;
    begin_line(&l);
    fprintf(l.stream, "{\"epoch\": %" PRId64 ", \"step\": %" PRId64, r->epoch, r->step);
    put_number(&l, "loss", r->loss);
    put_number(&l, "lr", r->lr);
    put_number(&l, "acc", (double)r->correct / (double)r->images);
    fprintf(l.stream, ", \"images\": %" PRId64, r->images);
    return end_line(log, &l);
}

static int log_epoch_line(TrainLog *log, const EpochRecord *r)
{
    Line l;
    begin_line(&l);
    fprintf(l.stream, "{\"epoch\": %" PRId64, r->epoch);
    put_number(&l, "train_loss", r->train_loss);
    put_number(&l, "train_acc", r->train_acc);
    if (r->has_val) {
        put_number(&l, "val_loss", r->val_loss);
        put_number(&l, "val_acc", r->val_acc);
    } else {
        fputs(", \"val_loss\": null, \"val_acc\": null", l.stream);
    }
    put_number(&l, "learning_rate", r->learning_rate);
    return end_line(log, &l);
}

int train_log_epoch(TrainLog *log, const EpochRecord *r)
{
    if (vitro_tensorboard_scalar(log->events, "train_loss", r->train_loss, r->epoch) ||
        vitro_tensorboard_scalar(log->events, "train_acc", r->train_acc, r->epoch) ||
        (r->has_val && (vitro_tensorboard_scalar(log->events, "val_loss", r->val_loss, r->epoch) ||
                        vitro_tensorboard_scalar(log->events, "val_acc", r->val_acc, r->epoch))) ||
        vitro_tensorboard_scalar(log->events, "learning_rate", r->learning_rate, r->epoch) ||
        vitro_tensorboard_flush(log->events))
        return cli_fail_lib();
    return log->jsonl < 0 ? CLI_OK : log_epoch_line(log, r);
}

/* ---- both -------------------------------------------------------------------------------------
 */

/* `epoch` -1: a run from its beginning. */
static int open_log(TrainLog *log, const char *log_dir, const char *jsonl_path,
                    const TrainLogMark *mark, int64_t epoch)
{
    int status = CLI_OK;
    *log = TRAIN_LOG_CLOSED;
    if (vitro_tensorboard_open(&log->events, log_dir) ||
        (epoch >= 0 && vitro_tensorboard_restart(log->events, epoch)))
        status = cli_fail("option --log-dir: %s", vitro_last_error());
    if (!status && jsonl_path)
        status = epoch < 0 ? open_jsonl(log, jsonl_path, O_WRONLY | O_TRUNC)
                           : go_on(log, jsonl_path, mark);
    return status ? train_log_close(log, status) : CLI_OK;
}

int train_log_open(TrainLog *log, const char *log_dir, const char *jsonl_path)
{
    return open_log(log, log_dir, jsonl_path, NULL, -1);
}

int train_log_reopen(TrainLog *log, const char *log_dir, const char *jsonl_path,
                     const TrainLogMark *mark, int64_t epoch)
{
    return open_log(log, log_dir, jsonl_path, mark, epoch);
}

int train_log_close(TrainLog *log, int status)
{
    VitroStatus closed = vitro_tensorboard_close(log->events);
    if (closed && !status)
        status = cli_fail_lib();
    if (log->jsonl >= 0 && close(log->jsonl) && !status)
        status = fail_jsonl(log, errno);
    *log = TRAIN_LOG_CLOSED;
    return status;
}
