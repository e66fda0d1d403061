/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers that PyTorch gave (tests/golden/make_train_fixtures.py). */
#ifndef VITRO_TESTS_TRAIN_GOLDEN_H
#define VITRO_TESTS_TRAIN_GOLDEN_H

#include "base/alloc.h"
#include "vitro/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* Opens tests/golden/train/NAME.safetensors. */
static inline VitroCheckpoint *golden_open(const char *name)
{
    char path[128];
    VitroCheckpoint *g;
    snprintf(path, sizeof(path), "tests/golden/train/%s.safetensors", name);
    assert_int_equal(vitro_checkpoint_open(&g, path), VITRO_OK);
    return g;
}

/* The elements of tensor `name`, whose type must be `dtype`; vitro_free them. */
static inline void *golden_read(const VitroCheckpoint *g, const char *name, VitroDtype dtype,
                                int64_t *count)
{
    int64_t i = vitro_checkpoint_find(g, name);
    assert_true(i >= 0);
    const VitroTensorInfo *info = vitro_checkpoint_info(g, i);
    assert_int_equal(info->dtype, dtype);
    void *data = vitro_malloc((size_t)info->count * vitro_dtype_size(dtype));
    assert_non_null(data);
    assert_int_equal(vitro_checkpoint_read_raw(g, i, data), VITRO_OK);
    if (count)
        *count = info->count;
    return data;
}

#endif
