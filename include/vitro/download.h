/* SPDX-License-Identifier: Apache-2.0 */
/* Fetches the published data sets. */
#ifndef VITRO_DOWNLOAD_H
#define VITRO_DOWNLOAD_H

#include "vitro/data.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `file` is being fetched and has `done` of `total` bytes (-1: unknown). Called from the thread
 * that downloads, at least about once a second; false stops the download. `done` may fall: a server
 * that cannot continue a file sends it anew. */
typedef bool (*VitroDownloadFn)(void *user, const char *file, int64_t done, int64_t total);

typedef struct VitroDownloadOptions {
    const char *path; /* the folder that is to contain the data set; made where it is missing */
    VitroDatasetKind kind; /* CIFAR100, CIFAR10, MNIST or FASHION_MNIST; AUTO (default): whatever is
                            * there already, else CIFAR-100 */
    /* Where the same bytes lie elsewhere, http or https. CIFAR: the address of the .tar.gz. MNIST
     * and Fashion-MNIST: of the folder with the four files. NULL (default): the published address.
     */
    const char *url;
    /* CIFAR: 32 hexadecimal digits that the archive's MD5 must have. NULL (default): those of the
     * published archive, also with `url`. With it the files inside are taken as they are. */
    const char *md5;
    VitroDownloadFn progress; /* NULL (default): none */
    void *user;
    int connect_timeout_ms; /* 0: 30 000 */
    int stall_timeout_s;    /* without a byte; 0: 30 */
    int tries;              /* in a row without headway; 0: 6 */
    int retry_delay_ms;     /* before the second such try; doubles each time; 0: 500 */
} VitroDownloadOptions;

/* Fetches the data set into options->path unless both its splits are there, checks the MD5 of every
 * file and unpacks archives. The set's folder (cifar-100-python, cifar-10-batches-py, MNIST/raw,
 * FashionMNIST/raw) appears when all is whole. A transfer that breaks off leaves its bytes in a
 * folder named like "cifar-100.part" beside it, and the next call continues there; bytes that are
 * wrong are removed with all that came with them. One process at a time downloads a set into a
 * folder. The environment's http_proxy and no_proxy are heeded.
 * Errors: VITRO_E_ARG, _IO (no connection, the server refuses, the file system), _FORMAT (the bytes
 * are wrong), _CANCELLED, _UNSUPPORTED (FOLDER has no address; a build without libcurl or
 * libarchive), _NOMEM. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_dataset_download(const VitroDownloadOptions *options);

#ifdef __cplusplus
}
#endif
#endif
