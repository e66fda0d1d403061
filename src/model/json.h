/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of JSON objects from strangers, each checked for its type and range. A field that is not
 * there leaves *out alone and *present false. Errors: VITRO_E_FORMAT, naming the field. */
#ifndef VITRO_MODEL_JSON_H
#define VITRO_MODEL_JSON_H

#include "base/status.h"

#include <jansson.h>

/* The caller's to release. Keys that repeat are an error. */
VitroStatus vitro_json_parse(json_t **out, const char *text, size_t size);

VitroStatus vitro_json_int(json_t *object, const char *key, int64_t low, int64_t high, int *out,
                           bool *present);
/* One number for both sides, or [height, width]. */
VitroStatus vitro_json_size(json_t *object, const char *key, int64_t low, int64_t high, int *height,
                            int *width, bool *present);
VitroStatus vitro_json_real(json_t *object, const char *key, double *out, bool *present);
VitroStatus vitro_json_bool(json_t *object, const char *key, bool *out, bool *present);
/* One of names[count], some of which may be NULL: *out is its index. */
VitroStatus vitro_json_name(json_t *object, const char *key, const char *const *names, int count,
                            int *out, bool *present);
/* An array of `count` finite (or positive) numbers, which must be there. */
VitroStatus vitro_json_floats(json_t *object, const char *key, float *out, int count,
                              bool positive);

#endif
