/* SPDX-License-Identifier: Apache-2.0 */
/* The expected files of a gzipped tar archive, and nothing else. Knows no data set and no network.
 * An archive is hostile input: it can write only the names that it is allowed, only into the one
 * folder, and only so many bytes. */
#ifndef VITRO_DATA_UNPACK_H
#define VITRO_DATA_UNPACK_H

#include "base/status.h"

/* A file that the archive may hold. */
typedef struct VitroUnpackMember {
    const char *name; /* below the archive's top folder: "train" */
    bool wanted;      /* it must be there and is unpacked; else it is passed over */
} VitroUnpackMember;

typedef struct VitroUnpackRules {
    const char *archive; /* its name, for errors */
    const char *top;     /* the one folder in it: "cifar-100-python" */
    const VitroUnpackMember *members;
    size_t member_count;
    int64_t max_bytes; /* of each member */
} VitroUnpackRules;

/* Writes the wanted members as new files into the folder open as `dir_fd`, reading the archive from
 * `archive_fd`. Any other name, a second entry of one name, a link, a device, an absolute path, "."
 * or ".." in a path is refused. After a failure, files that were begun are left to the caller.
 * Errors: VITRO_E_FORMAT (the archive), _IO, _UNSUPPORTED (no libarchive), _NOMEM. */
VitroStatus vitro_unpack(int dir_fd, int archive_fd, const VitroUnpackRules *rules);

/* Fails with VITRO_E_UNSUPPORTED where archives cannot be unpacked. */
VitroStatus vitro_unpack_supported(const char *archive);
/* "libarchive 3.6.2", "libarchive none" (in this build) or "libarchive not found". Static storage.
 */
const char *vitro_unpack_library(void);

#endif
