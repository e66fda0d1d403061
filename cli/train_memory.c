/* SPDX-License-Identifier: Apache-2.0 */
#include "train_memory.h"

#include "report.h"

#include <inttypes.h>
#include <stdlib.h>

typedef struct Needs {
    VitroTrainMemory train;
    int64_t batches;    /* of the two loaders */
    int64_t validation; /* activations of the predictor */
    int64_t total;      /* INT64_MAX: more than can be addressed */
} Needs;

/* What a GPU takes besides: for operands that are cast on the way, sums, and copies; and for its
 * libraries. */
enum { GPU_SHARE = 16, GPU_ROOM = 512 << 20 };

/* A way to train that takes more or less memory than another. */
typedef struct Choice {
    int64_t batch_size, accumulate;
    bool recompute;
} Choice;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Activations of validation with batches of up to `batch_size`; -1: more than can be addressed. */
static int64_t validation_needs(const TrainMemory *m, int64_t batch_size)
{
    VitroMemory predict;
    int64_t images = vitro_dataset_count(m->val_set);
    if (images == 0)
        return 0;
    if (vitro_config_memory(&predict, m->config, m->precision, VITRO_MODE_INFER,
                            smaller(batch_size, images)))
        return -1;
    return predict.activations;
}

static Needs needs_of(const TrainMemory *m, Choice c)
{
    Needs n = {.total = INT64_MAX};
    VitroTrainOptions options = m->options;
    VitroLoaderOptions loader = m->loader;
    options.batch_size = smaller(c.batch_size, vitro_dataset_count(m->train_set));
    options.accumulate = (int)c.accumulate;
    options.recompute = c.recompute;
    loader.batch_size = c.batch_size;
    n.validation = validation_needs(m, c.batch_size);
    if (n.validation < 0 || vitro_train_memory(&n.train, m->config, m->precision, &options))
        return n;
    n.batches =
        vitro_loader_memory(m->train_set, &loader) + vitro_loader_memory(m->val_set, &loader);
    double total = (double)n.train.total + (double)n.batches + (double)n.validation;
    if (total >= 0x1p62)
        return n;
    n.total = n.train.total + n.validation;
    if (vitro_device_has_own_memory(m->dev))
        n.total += n.total / GPU_SHARE + GPU_ROOM; /* the batches wait in the host's */
    else
        n.total += n.batches;
    return n;
}

/* ---- what would fit -------------------------------------------------------------------------
 */

static bool fits(const TrainMemory *m, Choice c, int64_t available)
{
    return needs_of(m, c).total <= available;
}

/* The largest batch size up to c's that fits; 0: none. */
static int64_t largest_batch(const TrainMemory *m, Choice c, int64_t available)
{
    int64_t low = 0, high = c.batch_size + 1; /* low fits, high does not */
    while (high - low > 1) {
        c.batch_size = low + (high - low) / 2;
        if (fits(m, c, available))
            low = c.batch_size;
        else
            high = c.batch_size;
    }
    return low;
}

/* The largest batch size up to `limit` with which a whole number of batches makes a step of as many
 * pictures as `asked` does; batch_size 0: none fits. */
static Choice same_steps(const TrainMemory *m, Choice asked, int64_t limit, int64_t available)
{
    int64_t images = asked.batch_size * asked.accumulate;
    Choice c = asked;
    for (c.batch_size = limit; c.batch_size > 0; c.batch_size--) {
        c.accumulate = images / c.batch_size;
        if (images % c.batch_size == 0 && c.accumulate <= 1 << 20 && fits(m, c, available))
            break;
    }
    return c;
}

/* "; --recompute true --batch-size 13 needs 4.1 GiB", for c's batch size or, where that does not
 * fit, the largest that does; "" where none does. Free it. */
static char *describe_fit(const TrainMemory *m, Choice c, const char *prefix, int64_t available)
{
    char size[MEMORY_BYTES];
    int64_t asked = c.batch_size, batch = largest_batch(m, c, available);
    if (batch == 0)
        return cli_strdup("");
    Choice same = same_steps(m, c, batch, available);
    Choice told = {batch, c.accumulate, c.recompute};
    if (same.batch_size == batch)
        told = same;
    format_memory(size, needs_of(m, told).total);
    if (batch == asked)
        return cli_format("; %s needs %s", prefix, size);
    const char *blank = *prefix ? " " : "";
    if (same.batch_size == batch && same.accumulate > 1)
        return cli_format("; %s%s--batch-size %" PRId64 " --accumulate %" PRId64 " needs %s",
                          prefix, blank, batch, same.accumulate, size);
    if (same.batch_size > 0)
        return cli_format("; %s%s--batch-size %" PRId64 " needs %s (--batch-size %" PRId64
                          " --accumulate %" PRId64 " fits and keeps the size of a step)",
                          prefix, blank, batch, size, same.batch_size, same.accumulate);
    return cli_format("; %s%s--batch-size %" PRId64 " needs %s", prefix, blank, batch, size);
}

static int refuse(const TrainMemory *m, Choice asked, int64_t needed, int64_t available)
{
    char have[MEMORY_BYTES], need[MEMORY_BYTES], one[MEMORY_BYTES];
    bool can_recompute = !m->options.freeze && !asked.recompute;
    Choice less = asked;
    less.recompute = asked.recompute || can_recompute;
    char *recompute =
        can_recompute ? describe_fit(m, less, "--recompute true", available) : cli_strdup("");
    char *batch = describe_fit(m, asked, "", available);
    format_memory(have, available);
    format_memory(need, needed);
    if (*recompute || *batch) {
        cli_fail("training needs %s of memory, %s are available%s%s",
                 needed == INT64_MAX ? "more than can be addressed" : need, have, recompute, batch);
    } else {
        less.batch_size = 1;
        cli_fail("training needs %s of memory, %s are available; one picture at a time%s needs %s",
                 needed == INT64_MAX ? "more than can be addressed" : need, have,
                 can_recompute ? " with --recompute true" : "",
                 format_memory(one, needs_of(m, less).total));
    }
    free(recompute);
    free(batch);
    return CLI_FAILED;
}

/* ---- the check ------------------------------------------------------------------------------ */

static void print_needs(const Needs *n)
{
    char total[MEMORY_BYTES], part[6][MEMORY_BYTES];
    cli_note("memory: %s (parameters %s, gradients %s, optimizer %s, activations %s, batches %s, "
             "validation %s)",
             format_memory(total, n->total), format_memory(part[0], n->train.params),
             format_memory(part[1], n->train.gradients), format_memory(part[2], n->train.optimizer),
             format_memory(part[3], n->train.activations), format_memory(part[4], n->batches),
             format_memory(part[5], n->validation));
}

/* A GPU goes on with smaller batches, of which several make one step. */
static bool split(const TrainMemory *m, Choice asked, int64_t available, int64_t *batch_size,
                  int *accumulate)
{
    char need[MEMORY_BYTES], have[MEMORY_BYTES];
    Choice same = same_steps(m, asked, largest_batch(m, asked, available), available);
    if (!vitro_device_has_own_memory(m->dev) || same.batch_size == 0)
        return false;
    cli_note("a batch of %" PRId64 " needs %s of memory, %s has %s: it is split into %" PRId64
             " of %" PRId64 " (as by --batch-size %" PRId64 " --accumulate %" PRId64 ")",
             asked.batch_size, format_memory(need, needs_of(m, asked).total),
             vitro_device_name(m->dev), format_memory(have, available),
             same.accumulate / asked.accumulate, same.batch_size, same.batch_size, same.accumulate);
    *batch_size = same.batch_size;
    *accumulate = (int)same.accumulate;
    return true;
}

int train_memory_check(const TrainMemory *m, int64_t *batch_size, int *accumulate)
{
    Choice asked = {smaller(m->options.batch_size, vitro_dataset_count(m->train_set)),
                    m->options.accumulate, m->options.recompute};
    Needs n = needs_of(m, asked);
    int64_t available = vitro_device_memory_available(m->dev);
    if (n.total < INT64_MAX)
        print_needs(&n);
    if (n.total == INT64_MAX && available < 0)
        return cli_fail("training needs more memory than can be addressed");
    if (available < 0 || n.total <= available || split(m, asked, available, batch_size, accumulate))
        return CLI_OK;
    return refuse(m, asked, n.total, available);
}
