/* SPDX-License-Identifier: Apache-2.0 */
/* --download, --download-url, --download-md5: fetches the data set where it is not there yet. */
#ifndef VITRO_CLI_DOWNLOAD_ARGS_H
#define VITRO_CLI_DOWNLOAD_ARGS_H

#include "args.h"

typedef struct DownloadArgs {
    bool download;
    const char *url, *md5; /* NULL or "": the published ones */
} DownloadArgs;

ArgGroup download_args_group(DownloadArgs *d);
int download_args_check(const DownloadArgs *d);
/* Does nothing unless --download true is given. Shows a bar. */
int download_args_run(const DownloadArgs *d, const char *data_path, VitroDatasetKind kind);

#endif
