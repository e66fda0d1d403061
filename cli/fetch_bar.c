/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch_bar.h"

#include <stdio.h>
#include <string.h>

void fetch_bar_end(FetchBar *b)
{
    if (b->file[0])
        progress_end(&b->bar, b->done, b->file);
    b->file[0] = 0;
}

/* A new file begins a new bar, and so does one whose bytes are fetched anew. */
bool fetch_bar_watch(void *user, const char *file, int64_t done, int64_t total)
{
    FetchBar *b = user;
    if (done == 0 && total < 0)
        return true; /* still knocking */
    if (strcmp(b->file, file) != 0 || done < b->done) {
        fetch_bar_end(b);
        progress_begin_bytes(&b->bar, done, total > 0 ? total : 0);
        snprintf(b->file, sizeof(b->file), "%s", file);
    }
    b->bar.total = total > 0 ? total : 0;
    b->done = done;
    progress_update(&b->bar, done, b->file);
    return true;
}
