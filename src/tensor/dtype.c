/* SPDX-License-Identifier: Apache-2.0 */
/* Element types: size and name. */
#include "tensor/tensor.h"

static const struct {
    const char *name; /* as safetensors spells it */
    size_t bytes;
    bool is_float;
} dtypes[] = {
    [VITRO_F32] = {"F32", 4, true},   [VITRO_F16] = {"F16", 2, true},
    [VITRO_BF16] = {"BF16", 2, true}, [VITRO_F64] = {"F64", 8, true},
    [VITRO_U8] = {"U8", 1, false},    [VITRO_I8] = {"I8", 1, false},
    [VITRO_I16] = {"I16", 2, false},  [VITRO_I32] = {"I32", 4, false},
    [VITRO_I64] = {"I64", 8, false},  [VITRO_BOOL] = {"BOOL", 1, false},
};

static bool is_known(VitroDtype dtype)
{
    return (unsigned)dtype < sizeof dtypes / sizeof dtypes[0];
}

size_t vitro_dtype_size(VitroDtype dtype)
{
    return is_known(dtype) ? dtypes[dtype].bytes : 0;
}

const char *vitro_dtype_name(VitroDtype dtype)
{
    return is_known(dtype) ? dtypes[dtype].name : "?";
}

bool vitro_dtype_is_float(VitroDtype dtype)
{
    return is_known(dtype) && dtypes[dtype].is_float;
}
