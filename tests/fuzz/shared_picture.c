/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures, from bytes to a model's input. */
#include "fuzz/fuzz.h"

#include "base/alloc.h"
#include "vitro/image.h"

#include <string.h>

void fuzz_picture(const uint8_t *data, size_t size)
{
    fuzz_digest = 0;
    uint8_t *copy = vitro_malloc(size); /* exact, for the sanitizer */
    FUZZ_CHECK(copy);
    if (size)
        memcpy(copy, data, size);
    /* Grey or RGB, upright or not: as a function of the bytes, so that each runs once. */
    int channels = size && data[size - 1] & 1 ? 1 : 3;
    VitroImage image = {0};
    VitroStatus st = vitro_image_decode(&image, copy, size, "sample", channels, channels == 3);
    vitro_free(copy);
    if (st) {
        FUZZ_CHECK(!image.pixels);
        fuzz_refused(st, "sample: ");
        return;
    }
    FUZZ_CHECK(image.width >= 1 && image.height >= 1 && image.channels == channels);
    size_t bytes = (size_t)image.width * (size_t)image.height * (size_t)channels;
    fuzz_digest_add(&image.width, sizeof(image.width));
    fuzz_digest_add(image.pixels, bytes < 1 << 16 ? bytes : 1 << 16);
    fuzz_digest_add(image.pixels + bytes - 1, 1);
    float input[3 * 8 * 8];
    VitroTransform t = vitro_transform_default(8, 8, channels);
    st = vitro_transform_apply(input, &image, &t);
    if (st)
        fuzz_refused(st, NULL); /* sides too unlike to be resized */
    for (int i = 0; !st && i < channels * 64; i++)
        FUZZ_CHECK(input[i] >= -1 && input[i] <= 1);
    vitro_image_deinit(&image);
}
