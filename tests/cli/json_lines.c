/* SPDX-License-Identifier: Apache-2.0 */
/* json_lines: reads standard input, requires every line to be a JSON object, and prints its keys
 * with their kinds: "file string, prob real, top array 3". The tests' judge of --json. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static const char *kind(const json_t *v)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "object",   [JSON_ARRAY] = "array", [JSON_STRING] = "string",
        [JSON_INTEGER] = "integer", [JSON_REAL] = "real",   [JSON_TRUE] = "bool",
        [JSON_FALSE] = "bool",      [JSON_NULL] = "null"};
    return names[json_typeof(v)];
}

static void describe(json_t *object)
{
    const char *key;
    json_t *v;
    int n = 0;
    json_object_foreach(object, key, v)
    {
        printf("%s%s %s", n++ ? ", " : "", key, kind(v));
        if (json_is_array(v))
            printf(" %zu", json_array_size(v));
    }
    putchar('\n');
}

int main(void)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    while ((length = getline(&line, &capacity, stdin)) >= 0) {
        json_error_t error;
        json_t *v = json_loadb(line, (size_t)length, JSON_REJECT_DUPLICATES, &error);
        if (!json_is_object(v)) {
            printf("no JSON object: %s: %s", v ? "another kind" : error.text, line);
            return 1;
        }
        describe(v);
        json_decref(v);
    }
    free(line);
    return 0;
}
