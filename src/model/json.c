/* SPDX-License-Identifier: Apache-2.0 */
#include "model/json.h"

#include <math.h>
#include <string.h>

VitroStatus vitro_json_parse(json_t **out, const char *text, size_t size)
{
    json_error_t e;
    if (size == 0)
        return vitro_fail(VITRO_E_FORMAT, "is empty, JSON was expected");
    *out = json_loadb(text, size, JSON_REJECT_DUPLICATES, &e);
    if (*out)
        return VITRO_OK;
    return vitro_fail(VITRO_E_FORMAT, "line %d, column %d: not valid JSON: %s", e.line, e.column,
                      e.text);
}

VitroStatus vitro_json_int(json_t *object, const char *key, int64_t low, int64_t high, int *out,
                           bool *present)
{
    json_t *v = json_object_get(object, key);
    *present = v != NULL;
    if (!v)
        return VITRO_OK;
    if (!json_is_integer(v) || json_integer_value(v) < low || json_integer_value(v) > high)
        return vitro_fail(VITRO_E_FORMAT, "\"%s\" is not an integer in %lld..%lld", key,
                          (long long)low, (long long)high);
    *out = (int)json_integer_value(v);
    return VITRO_OK;
}

/* One number, or [height, width]. */
VitroStatus vitro_json_size(json_t *object, const char *key, int64_t low, int64_t high, int *height,
                            int *width, bool *present)
{
    json_t *v = json_object_get(object, key);
    if (!json_is_array(v)) {
        VITRO_TRY(vitro_json_int(object, key, low, high, height, present));
        if (*present)
            *width = *height;
        return VITRO_OK;
    }
    int *side[2] = {height, width};
    *present = true;
    for (size_t i = 0; i < 2; i++) {
        json_t *e = json_array_get(v, i);
        if (json_array_size(v) != 2 || !json_is_integer(e) || json_integer_value(e) < low ||
            json_integer_value(e) > high)
            return vitro_fail(VITRO_E_FORMAT,
                              "\"%s\" is neither an integer in %lld..%lld nor two of them, "
                              "[height, width]",
                              key, (long long)low, (long long)high);
        *side[i] = (int)json_integer_value(e);
    }
    return VITRO_OK;
}

VitroStatus vitro_json_real(json_t *object, const char *key, double *out, bool *present)
{
    json_t *v = json_object_get(object, key);
    *present = v != NULL;
    if (!v)
        return VITRO_OK;
    if (!json_is_number(v) || !isfinite(json_number_value(v)))
        return vitro_fail(VITRO_E_FORMAT, "\"%s\" is not a finite number", key);
    *out = json_number_value(v);
    return VITRO_OK;
}

VitroStatus vitro_json_bool(json_t *object, const char *key, bool *out, bool *present)
{
    json_t *v = json_object_get(object, key);
    *present = v != NULL;
    if (!v)
        return VITRO_OK;
    if (!json_is_boolean(v))
        return vitro_fail(VITRO_E_FORMAT, "\"%s\" is neither true nor false", key);
    *out = json_is_true(v);
    return VITRO_OK;
}

/* One of names[count]; *out is its index. */
VitroStatus vitro_json_name(json_t *object, const char *key, const char *const *names, int count,
                            int *out, bool *present)
{
    json_t *v = json_object_get(object, key);
    *present = v != NULL;
    if (!v)
        return VITRO_OK;
    for (int i = 0; i < count && json_is_string(v); i++)
        if (names[i] && strcmp(json_string_value(v), names[i]) == 0) {
            *out = i;
            return VITRO_OK;
        }
    return vitro_fail(VITRO_E_FORMAT, "\"%s\" is not a value known here", key);
}

VitroStatus vitro_json_floats(json_t *object, const char *key, float *out, int count, bool positive)
{
    json_t *array = json_object_get(object, key);
    if (!json_is_array(array) || json_array_size(array) != (size_t)count)
        return vitro_fail(VITRO_E_FORMAT, "\"%s\" is not an array of %d numbers", key, count);
    for (int i = 0; i < count; i++) {
        json_t *v = json_array_get(array, (size_t)i);
        float value = json_is_number(v) ? (float)json_number_value(v) : NAN;
        if (!isfinite(value) || (positive && !(value > 0)))
            return vitro_fail(VITRO_E_FORMAT, "\"%s\"[%d] is not a %s number", key, i,
                              positive ? "positive" : "finite");
        out[i] = value;
    }
    return VITRO_OK;
}
