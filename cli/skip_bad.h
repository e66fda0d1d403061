/* SPDX-License-Identifier: Apache-2.0 */
/* --skip-bad true: pictures that cannot be read are named and left out. */
#ifndef VITRO_CLI_SKIP_BAD_H
#define VITRO_CLI_SKIP_BAD_H

#include "args.h"

#define SKIP_BAD_HELP                                                                              \
    "read every picture once before the start, name those that cannot be read, and leave them out"

/* Does nothing where `on` is false. `transform` must be possible, too; NULL: decoding is enough. */
int skip_bad(bool on, VitroDataset *ds, const VitroTransform *transform, int workers);

#endif
