/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include "base/alloc.h"
#include "base/status.h"

/* Twice: to count, and into a block of that size. Neither takes a buffer that has to grow. */
char *vitro_json_text(const json_t *root, size_t flags)
{
    size_t size = json_dumpb(root, NULL, 0, flags); /* 0: an error */
    char *text = size ? vitro_malloc(size + 1) : NULL;
    if (text && json_dumpb(root, text, size, flags) != size) {
        vitro_free(text);
        text = NULL;
    }
    if (text)
        text[size] = 0;
    else
        (void)vitro_fail(VITRO_E_NOMEM, "no memory to write JSON");
    return text;
}
