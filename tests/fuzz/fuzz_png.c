/* SPDX-License-Identifier: Apache-2.0 */
/* PNG. */
#include "fuzz/fuzz.h"

const FuzzLimits fuzz_limits = FUZZ_PICTURE_LIMITS;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_picture(data, size);
    return 0;
}
