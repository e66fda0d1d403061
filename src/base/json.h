/* SPDX-License-Identifier: Apache-2.0 */
/* What Jansson prints, whole. Its own json_dumps() forgets, up to 2.14 at least, that its buffer
 * could not grow, and gives a text with a hole. */
#ifndef VITRO_BASE_JSON_H
#define VITRO_BASE_JSON_H

#include <jansson.h>

/* The text of `root` (JSON_INDENT(n) and other flags of json_dumps); vitro_free it. NULL: no
 * memory, which is recorded. */
char *vitro_json_text(const json_t *root, size_t flags);

#endif
