/* SPDX-License-Identifier: Apache-2.0 */
/* Fetching a data set, as an option group of train and eval. */
#include "download_args.h"

#include "fetch_bar.h"

#include <stddef.h>
#include <string.h>

#define ROW(name_, type_, field_, ...)                                                             \
    {                                                                                              \
        .name = name_, .type = type_, .at = offsetof(DownloadArgs, field_), __VA_ARGS__            \
    }

static const ArgOption options[] = {
    ROW("download", ARG_BOOL, download, .def = "false",
        .help = "fetch the data set into --data-path unless it is there: cifar100 (auto, too), "
                "cifar10, mnist or fashion-mnist. A download that broke off is continued"),
    ROW("download-url", ARG_TEXT, url, .metavar = "URL", .def_help = "the published address",
        .help = "http(s) address of the same bytes: of the .tar.gz for CIFAR, of the folder with "
                "the four files for MNIST and Fashion-MNIST"),
    ROW("download-md5", ARG_TEXT, md5, .metavar = "HEX", .def_help = "that of the published file",
        .help = "what the .tar.gz at --download-url must have, where it is not the published one"),
};

ArgGroup download_args_group(DownloadArgs *d)
{
    return (ArgGroup){"Download", options, ARG_COUNT(options), d};
}

static bool is_set(const char *text)
{
    return text && *text;
}

int download_args_check(const DownloadArgs *d)
{
    if (!d->download && (is_set(d->url) || is_set(d->md5)))
        return cli_usage("option --download-%s says nothing without --download true",
                         is_set(d->url) ? "url" : "md5");
    return CLI_OK;
}

int download_args_run(const DownloadArgs *d, const char *data_path, VitroDatasetKind kind)
{
    if (!d->download)
        return CLI_OK;
    FetchBar bar = {0};
    VitroDownloadOptions o = {.path = data_path,
                              .kind = kind,
                              .url = is_set(d->url) ? d->url : NULL,
                              .md5 = is_set(d->md5) ? d->md5 : NULL,
                              .progress = fetch_bar_watch,
                              .user = &bar};
    VitroStatus st = vitro_dataset_download(&o);
    fetch_bar_end(&bar);
    return st ? cli_fail_lib() : CLI_OK;
}
