/* SPDX-License-Identifier: Apache-2.0 */
/* What the classes are called: --class-indices, else the checkpoint's names, else
 * class_indices.json beside the weights, else in the current folder, else the index. */
#ifndef VITRO_CLI_CLASSES_H
#define VITRO_CLI_CLASSES_H

#include "cli.h"

typedef struct ClassNames {
    VitroCard read;           /* names that a file gave */
    const char *const *names; /* [count], borrowed from `read` or the checkpoint's card; or NULL */
    int64_t count;
} ClassNames;

/* `file` may be NULL. Names for `num_classes` classes; one line on stderr says where there are none
 * or which file does not fit. A file that was asked for must be readable and fit. */
int class_names_find(ClassNames *c, const char *file, const VitroCard *card, const char *weights,
                     int64_t num_classes);
void class_names_deinit(ClassNames *c);

/* Outputs that the labels of a data set need: a class per folder; else the largest label + 1, which
 * may be less than the kind of data set has names for. */
int64_t class_count_needed(const VitroDataset *ds);

/* Class i's name, or its index written into `out`. */
const char *class_name(const ClassNames *c, int64_t i, char out[24]);

#endif
