/* SPDX-License-Identifier: Apache-2.0 */
/* PyTorch's files, zip and legacy; and the bytes as the pickle in a sound zip, where no checksum
 * stands before the reader of pickles. */
#include "fuzz/fuzz.h"

#include "base/alloc.h"
#include "base/pickle_numpy.h"

#include <string.h>

/* As fuzz_npz.c; and a node of a pickle takes up to 100 bytes per byte of the file. */
const FuzzLimits fuzz_limits = {140 << 20, 600};

/* The reader of arrays sees each object of the top level. */
static void ask_pickle(const uint8_t *data, size_t size)
{
    VitroPickle p = {0};
    VitroStatus st = vitro_pickle_parse(&p, data, size);
    if (st) {
        fuzz_refused(st, NULL);
        return;
    }
    FUZZ_CHECK(p.root && p.used <= size);
    size_t count;
    VitroPickleNode *const *pair = vitro_pickle_pairs(p.root, &count);
    for (size_t i = 0; i < count && i < 64; i++) {
        VitroNumpyArray a;
        const uint8_t *bytes;
        uint8_t *owned = NULL;
        size_t byte_count;
        int64_t n;
        if (vitro_numpy_array(&a, pair[i]) == VITRO_OK) {
            FUZZ_CHECK(a.count >= 0 && a.rank >= 0 && a.rank <= VITRO_NUMPY_MAX_RANK);
            fuzz_digest_add(a.data, (size_t)a.count * (size_t)a.item_size);
            vitro_numpy_array_free(&a);
        }
        if (vitro_pickle_bytes(pair[i], &bytes, &byte_count, &owned) == VITRO_OK)
            vitro_free(owned);
        (void)vitro_numpy_int(pair[i], &n);
    }
    vitro_pickle_free(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const float storage[6] = {0, 1, 2, 3, 4, 5};
    if (fuzz_checkpoint(data, size) || (size > 1 && memcmp(data, "PK", 2) == 0))
        return 0;
    ask_pickle(data, size);
    const FuzzRecord records[] = {{"x/data.pkl", data, size},
                                  {"x/data/0", storage, sizeof(storage)},
                                  {"x/version", "3\n", 2}};
    VitroBuf zip;
    vitro_buf_init(&zip, (size_t)1 << 30);
    fuzz_zip(&zip, records, 3);
    fuzz_checkpoint(zip.data, zip.len);
    vitro_buf_deinit(&zip);
    return 0;
}
