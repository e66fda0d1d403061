/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors, with what Vitro says of itself in __metadata__. */
#include "fuzz/fuzz.h"

#include "base/alloc.h"

/* A value of JSON costs its reader far more than its two bytes of text. */
const FuzzLimits fuzz_limits = {4 << 20, 400};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (fuzz_checkpoint(data, size) || size > 1 << 20)
        return 0;
    /* The bytes as a header with its right length. */
    VitroBuf b;
    vitro_buf_init(&b, (size_t)1 << 21);
    uint8_t length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)size >> 8 * i);
    FUZZ_CHECK(!vitro_buf_append(&b, length, 8) && !vitro_buf_append(&b, data, size));
    FUZZ_CHECK(!vitro_buf_append(&b, "0123456789abcdef", 16));
    fuzz_checkpoint(b.data, b.len);
    vitro_buf_deinit(&b);
    return 0;
}
