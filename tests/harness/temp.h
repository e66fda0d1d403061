/* SPDX-License-Identifier: Apache-2.0 */
/* Temporary folders for tests. A failure here fails the test. */
#ifndef VT_TEMP_H
#define VT_TEMP_H

#include <stddef.h>

/* A new empty folder; end with vt_temp_remove. */
char *vt_temp_make(void);
/* Removes the folder and all in it, and frees the path. */
void vt_temp_remove(char *dir);
/* Writes dir/name; makes the folders that lead to it. */
void vt_write(const char *dir, const char *name, const void *data, size_t size);
/* Copies the file `from` to dir/name. */
void vt_copy(const char *dir, const char *name, const char *from);
void vt_mkdir(const char *dir, const char *name);

#endif
