/* SPDX-License-Identifier: Apache-2.0 */
/* NumPy's archives; and the bytes as an array in a sound archive. */
#include "fuzz/fuzz.h"

#include "base/alloc.h"

#include <string.h>

/* Compressed members may hold 16 times the file and 64 MiB, and are copied once more here. */
const FuzzLimits fuzz_limits = {140 << 20, 200};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (fuzz_checkpoint(data, size) || (size > 1 && memcmp(data, "PK", 2) == 0))
        return 0;
    const FuzzRecord records[] = {{"a.npy", data, size}, {"vitro.json", "{}", 2}};
    VitroBuf zip;
    vitro_buf_init(&zip, (size_t)1 << 30);
    fuzz_zip(&zip, records, 2);
    fuzz_checkpoint(zip.data, zip.len);
    vitro_buf_deinit(&zip);
    return 0;
}
