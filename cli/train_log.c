/* SPDX-License-Identifier: Apache-2.0 */
#include "train_log.h"

#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

int train_log_open(TrainLog *log, const char *log_dir, const char *jsonl_path)
{
    *log = (TrainLog){.jsonl_path = jsonl_path};
    if (vitro_tensorboard_open(&log->events, log_dir))
        return cli_fail("option --log-dir: %s", vitro_last_error());
    if (jsonl_path && !(log->jsonl = fopen(jsonl_path, "w")))
        return train_log_close(
            log, cli_fail("option --metrics-jsonl: %s: %s", jsonl_path, strerror(errno)));
    return CLI_OK;
}

/* A line is in the file when the step is over: who watches the run sees it, a full disk is told. */
static int end_line(TrainLog *log)
{
    fputs("}\n", log->jsonl);
    if (fflush(log->jsonl) || ferror(log->jsonl))
        return cli_fail("option --metrics-jsonl: %s: %s", log->jsonl_path, strerror(errno));
    return CLI_OK;
}

static void put_number(TrainLog *log, const char *key, double value)
{
    fprintf(log->jsonl, ", \"%s\": ", key);
    put_json_number(log->jsonl, value);
}

int train_log_step(TrainLog *log, const StepRecord *r)
{
    if (!log->jsonl)
        return CLI_OK;
    fprintf(log->jsonl, "{\"epoch\": %" PRId64 ", \"step\": %" PRId64, r->epoch, r->step);
    put_number(log, "loss", r->loss);
    put_number(log, "lr", r->lr);
    put_number(log, "acc", (double)r->correct / (double)r->images);
    fprintf(log->jsonl, ", \"images\": %" PRId64, r->images);
    return end_line(log);
}

static int log_epoch_line(TrainLog *log, const EpochRecord *r)
{
    fprintf(log->jsonl, "{\"epoch\": %" PRId64, r->epoch);
    put_number(log, "train_loss", r->train_loss);
    put_number(log, "train_acc", r->train_acc);
    if (r->has_val) {
        put_number(log, "val_loss", r->val_loss);
        put_number(log, "val_acc", r->val_acc);
    } else {
        fputs(", \"val_loss\": null, \"val_acc\": null", log->jsonl);
    }
    put_number(log, "learning_rate", r->learning_rate);
    return end_line(log);
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
    return log->jsonl ? log_epoch_line(log, r) : CLI_OK;
}

int train_log_close(TrainLog *log, int status)
{
    VitroStatus closed = vitro_tensorboard_close(log->events);
    if (closed && !status)
        status = cli_fail_lib();
    if (log->jsonl && fclose(log->jsonl) && !status)
        status = cli_fail("option --metrics-jsonl: %s: %s", log->jsonl_path, strerror(errno));
    *log = (TrainLog){0};
    return status;
}
