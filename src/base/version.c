/* SPDX-License-Identifier: Apache-2.0 */
#include "vitro/base.h"

#define STR_(x) #x
#define STR(x)  STR_(x)

const char *vitro_version(void)
{
    return STR(VITRO_VERSION_MAJOR) "." STR(VITRO_VERSION_MINOR) "." STR(VITRO_VERSION_PATCH);
}
