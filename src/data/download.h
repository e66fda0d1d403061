/* SPDX-License-Identifier: Apache-2.0 */
/* What is fetched for a data set and where it goes. Apart from the published sets so that tests can
 * bring sets of their own. */
#ifndef VITRO_DATA_DOWNLOAD_H
#define VITRO_DATA_DOWNLOAD_H

#include "vitro/download.h"

typedef struct VitroDownloadFile {
    const char *name;
    const char *md5; /* 32 lower-case digits; of a member, NULL: it may be there and is not kept */
} VitroDownloadFile;

typedef struct VitroDownloadSet {
    VitroDatasetKind kind;
    const char *base;             /* address of the folder that the files lie in, with its '/' */
    const char *dir;              /* below the data path, where the set's files go */
    const char *part;             /* beside it, where they wait until all is whole */
    VitroDownloadFile files[5];   /* what is fetched; ends with a NULL name */
    VitroDownloadFile members[9]; /* of files[0], an archive; none: the files are the set */
    int64_t max_bytes;            /* of each file and member */
} VitroDownloadSet;

/* download_sets.c: the set of that kind (AUTO: CIFAR-100), NULL for FOLDER. */
const VitroDownloadSet *vitro_download_set(VitroDatasetKind kind);

/* vitro_dataset_download for this set, without a look at what is there already. */
VitroStatus vitro_download_fetch(const VitroDownloadSet *set, const VitroDownloadOptions *options);

#endif
