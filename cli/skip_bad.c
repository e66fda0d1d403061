/* SPDX-License-Identifier: Apache-2.0 */
#include "skip_bad.h"

#include "report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct Found {
    int64_t *index, count, capacity;
    int64_t done;
    Progress bar;
} Found;

static void on_bad(void *user, int64_t i, const char *reason)
{
    Found *f = user;
    if (f->count == f->capacity) {
        int64_t capacity = f->capacity ? 2 * f->capacity : 64;
        int64_t *index = cli_alloc((size_t)capacity, sizeof(*index));
        if (f->count)
            memcpy(index, f->index, (size_t)f->count * sizeof(*index));
        free(f->index);
        f->index = index;
        f->capacity = capacity;
    }
    f->index[f->count++] = i;
    cli_note("skipped: %s", reason);
}

static bool on_progress(void *user, int64_t done, int64_t count)
{
    Found *f = user;
    (void)count;
    f->done = done;
    progress_update(&f->bar, done, "[check]");
    return true;
}

int skip_bad(bool on, VitroDataset *ds, const VitroTransform *transform, int workers)
{
    Found f = {0};
    int64_t bad, count = vitro_dataset_count(ds);
    if (!on || count == 0)
        return CLI_OK;
    VitroCheckOptions options = {.transform = transform,
                                 .workers = workers,
                                 .bad = on_bad,
                                 .progress = on_progress,
                                 .user = &f};
    progress_begin(&f.bar, count);
    int status = vitro_dataset_check(ds, &options, &bad) ? cli_fail_lib() : CLI_OK;
    if (!status && f.done)
        progress_end(&f.bar, f.done, "[check]");
    if (!status && bad == count)
        status = cli_fail("--skip-bad: not one of %" PRId64 " pictures can be read", count);
    else if (!status && vitro_dataset_leave_out(ds, f.index, f.count))
        status = cli_fail_lib();
    if (!status && bad)
        cli_note("%" PRId64 " of %" PRId64 " pictures are left out", bad, count);
    free(f.index);
    return status;
}
