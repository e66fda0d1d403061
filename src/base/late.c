/* SPDX-License-Identifier: Apache-2.0 */
#include "base/late.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static VitroStatus load(VitroLate *late)
{
    void *library = dlopen(late->file, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return vitro_fail(VITRO_E_UNSUPPORTED, "cannot load a library: %s", dlerror());
    for (size_t i = 0; i < late->count; i++) {
        void *address = dlsym(library, late->names[i]);
        if (!address) {
            dlclose(library);
            return vitro_fail(VITRO_E_UNSUPPORTED, "%s: has no function %s", late->file,
                              late->names[i]);
        }
        /* POSIX: an address of a function has the form of one of data. C has no cast for it. */
        memcpy((char *)late->table + i * sizeof(address), &address, sizeof(address));
    }
    late->is_loaded = true;
    return VITRO_OK;
}

VitroStatus vitro_late_load(VitroLate *late)
{
    pthread_mutex_lock(&lock);
    VitroStatus st = late->is_loaded ? VITRO_OK : load(late);
    pthread_mutex_unlock(&lock);
    return st;
}
