/* SPDX-License-Identifier: Apache-2.0 */
/* VitroReplace for those who use the library. */
#include "base/alloc.h"
#include "base/fs.h"

struct VitroOutput {
    VitroReplace file;
};

VitroStatus vitro_output_open(VitroOutput **out, const char *path)
{
    VitroOutput *o = vitro_calloc(1, sizeof(*o));
    if (!o)
        return VITRO_NOMEM;
    VitroStatus st = vitro_replace_begin(&o->file, path);
    if (st == VITRO_OK)
        *out = o;
    else
        vitro_free(o);
    return st;
}

int vitro_output_fd(const VitroOutput *o)
{
    return o->file.fd;
}

VitroStatus vitro_output_commit(VitroOutput *o)
{
    VitroStatus st = vitro_replace_commit(&o->file);
    vitro_output_abort(o);
    return st;
}

void vitro_output_abort(VitroOutput *o)
{
    if (!o)
        return;
    vitro_replace_abort(&o->file);
    vitro_free(o);
}
