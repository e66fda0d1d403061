/* SPDX-License-Identifier: Apache-2.0 */
/* The progress of files that are fetched, one after the other. */
#ifndef VITRO_CLI_FETCH_BAR_H
#define VITRO_CLI_FETCH_BAR_H

#include "report.h"

/* Zero-initialise. */
typedef struct FetchBar {
    Progress bar;
    char file[64]; /* that the bar is of; "": none yet */
    int64_t done;
} FetchBar;

/* A VitroDownloadFn and a VitroHubProgressFn; `user` is a FetchBar. */
bool fetch_bar_watch(void *user, const char *file, int64_t done, int64_t total);
void fetch_bar_end(FetchBar *b);

#endif
