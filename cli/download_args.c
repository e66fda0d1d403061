/* SPDX-License-Identifier: Apache-2.0 */
/* Fetching a data set, as an option group of train and eval. */
#include "download_args.h"

#include "report.h"

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

/* ---- the bar ----------------------------------------------------------------------------------
 */

typedef struct Watch {
    Progress bar;
    char file[64]; /* that the bar is of; "": none yet */
    int64_t done;
} Watch;

static void end_bar(Watch *w)
{
    if (w->file[0])
        progress_end(&w->bar, w->done, w->file);
    w->file[0] = 0;
}

/* A new file begins a new bar, and so does one whose bytes are fetched anew. */
static bool watch(void *user, const char *file, int64_t done, int64_t total)
{
    Watch *w = user;
    if (done == 0 && total < 0)
        return true; /* still knocking */
    if (strcmp(w->file, file) != 0 || done < w->done) {
        end_bar(w);
        progress_begin_bytes(&w->bar, done, total > 0 ? total : 0);
        snprintf(w->file, sizeof(w->file), "%s", file);
    }
    w->bar.total = total > 0 ? total : 0;
    w->done = done;
    progress_update(&w->bar, done, w->file);
    return true;
}

int download_args_run(const DownloadArgs *d, const char *data_path, VitroDatasetKind kind)
{
    if (!d->download)
        return CLI_OK;
    Watch w = {0};
    VitroDownloadOptions o = {.path = data_path,
                              .kind = kind,
                              .url = is_set(d->url) ? d->url : NULL,
                              .md5 = is_set(d->md5) ? d->md5 : NULL,
                              .progress = watch,
                              .user = &w};
    VitroStatus st = vitro_dataset_download(&o);
    end_bar(&w);
    return st ? cli_fail_lib() : CLI_OK;
}
