/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the classes' names. */
#include "classes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME "class_indices.json"

/* Reads the names in `path` if they fit. A file that nobody asked for may have other names: then
 * *misfit says so. */
static int read_names(ClassNames *c, const char *path, int64_t num_classes, char **misfit)
{
    if (vitro_card_read_classes(&c->read, path))
        return cli_fail_lib();
    if (c->read.class_count == num_classes) {
        c->names = (const char *const *)c->read.class_names;
        c->count = num_classes;
        return CLI_OK;
    }
    if (!misfit)
        return cli_fail("%s: found %" PRId64 " class names, expected %" PRId64
                        ", the model's classes",
                        path, c->read.class_count, num_classes);
    free(*misfit);
    *misfit = cli_format(": %s names %" PRId64 ", the model has %" PRId64, path,
                         c->read.class_count, num_classes);
    return CLI_OK;
}

static char *beside(const char *weights)
{
    const char *slash = strrchr(weights, '/');
    return slash ? cli_format("%.*s/" FILE_NAME, (int)(slash - weights), weights)
                 : cli_strdup(FILE_NAME);
}

/* Beside the weights, then in the current folder, then none with a note. */
static int search(ClassNames *c, const char *weights, int64_t num_classes)
{
    char *near = beside(weights), *misfit = NULL;
    int status = CLI_OK;
    if (access(near, F_OK) == 0)
        status = read_names(c, near, num_classes, &misfit);
    if (!status && !c->names && strcmp(near, FILE_NAME) != 0 && access(FILE_NAME, F_OK) == 0)
        status = read_names(c, FILE_NAME, num_classes, &misfit);
    if (!status && !c->names)
        cli_note("no class names are known%s: classes are shown by their index (--class-indices "
                 "FILE names them)",
                 misfit ? misfit : "");
    free(near);
    free(misfit);
    return status;
}

int class_names_find(ClassNames *c, const char *file, const VitroCard *card, const char *weights,
                     int64_t num_classes)
{
    *c = (ClassNames){0};
    int status = CLI_OK;
    if (num_classes == 0)
        return CLI_OK;
    if (file) {
        status = read_names(c, file, num_classes, NULL);
    } else if (card->class_names && card->class_count > num_classes) {
        status = cli_fail("%s: found %" PRId64 " class names in the file, expected at most %" PRId64
                          ", the model's classes",
                          weights, card->class_count, num_classes);
    } else if (card->class_names) {
        /* fewer where the head has outputs that its training data did not use */
        c->names = (const char *const *)card->class_names;
        c->count = card->class_count;
    } else {
        status = search(c, weights, num_classes);
    }
    if (status)
        class_names_deinit(c);
    return status;
}

void class_names_deinit(ClassNames *c)
{
    vitro_card_deinit(&c->read);
    *c = (ClassNames){0};
}

const char *class_name(const ClassNames *c, int64_t i, char out[24])
{
    if (i < c->count)
        return c->names[i];
    snprintf(out, 24, "%" PRId64, i);
    return out;
}

int64_t class_count_needed(const VitroDataset *ds)
{
    if (vitro_dataset_kind(ds) == VITRO_DATA_FOLDER)
        return vitro_dataset_class_count(ds);
    int64_t needed = 0, images = vitro_dataset_count(ds);
    for (int64_t i = 0; i < images; i++)
        if (vitro_dataset_label(ds, i) >= needed)
            needed = (int64_t)vitro_dataset_label(ds, i) + 1;
    return needed;
}
