/* SPDX-License-Identifier: Apache-2.0 */
/* cuBLASLt, found when the first GPU is opened: programs start without it, on machines that have
 * none too. */
#include "backend/cuda/cuda_int.h"

#include "base/late.h"

static VitroLt lt;
static const char *const names[] = {VITRO_LT_FUNCTIONS(VITRO_LATE_NAME)};

/* As the loader finds it, and where the toolkit had it that this was built with. */
static VitroLate late[] = {{.file = VITRO_CUBLASLT_FILE,
                            .names = names,
                            .count = sizeof lt / sizeof(void *),
                            .table = &lt},
                           {.file = VITRO_CUBLASLT_PATH,
                            .names = names,
                            .count = sizeof lt / sizeof(void *),
                            .table = &lt}};

VitroStatus vitro_cuda_lt(const VitroLt **out)
{
    if (vitro_late_load(&late[0]) != VITRO_OK && vitro_late_load(&late[1]) != VITRO_OK)
        return vitro_fail(VITRO_E_BACKEND,
                          "cuBLASLt cannot be loaded: neither %s from the system's folders nor %s "
                          "is here (it comes with the CUDA toolkit, or the package libcublas)",
                          VITRO_CUBLASLT_FILE, VITRO_CUBLASLT_PATH);
    *out = &lt;
    return VITRO_OK;
}
