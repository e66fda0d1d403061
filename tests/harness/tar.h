/* SPDX-License-Identifier: Apache-2.0 */
/* Writes tar.gz archives, also such as no honest program would write. */
#ifndef VT_TAR_H
#define VT_TAR_H

#include "base/buf.h"

/* One entry (POSIX ustar). type: '0' file, '1' hard link, '2' symbolic link, '3' device, '5'
 * folder, '6' FIFO. `link` may be NULL. `tar` is initialised by the caller. */
void vt_tar_add(VitroBuf *tar, const char *name, char type, const char *link, const void *data,
                size_t size);
/* Ends the archive and packs it into `gz`, which is initialised by the caller. */
void vt_tar_finish(VitroBuf *gz, VitroBuf *tar);
/* Packs `size` bytes as they are. */
void vt_gzip(VitroBuf *gz, const void *data, size_t size);

#endif
