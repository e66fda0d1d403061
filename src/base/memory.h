/* SPDX-License-Identifier: Apache-2.0 */
/* What memory the system would still give to this process. */
#ifndef VITRO_BASE_MEMORY_H
#define VITRO_BASE_MEMORY_H

#include "vitro/base.h"

/* vitro_memory_available, but the system's files are looked for below `root` ("" is the system) and
 * the environment is not asked. */
int64_t vitro_memory_available_below(const char *root);

#endif
