/* SPDX-License-Identifier: Apache-2.0 */
/* Named pictures as batches of the model's input, read by worker threads. A picture that cannot be
 * read stands in its batch as a black one, with the reason beside it: the others go on. */
#ifndef VITRO_CLI_PICTURES_H
#define VITRO_CLI_PICTURES_H

#include "inputs.h"

typedef struct Pictures {
    const InputList *inputs;  /* borrowed */
    VitroTransform transform; /* from picture to the model's input */
    char **errors;            /* [inputs->count]; NULL where the picture could be read */
    void *stdin_data;         /* the picture "-" */
    size_t stdin_size;
    VitroDataset *dataset;
    VitroLoader *loader;
} Pictures;

/* On failure nothing is left open. `p` must not move while it is open. */
int pictures_open(Pictures *p, const InputList *inputs, const VitroTransform *transform,
                  int64_t batch_size, int workers);
void pictures_close(Pictures *p);

/* The next batch; batch->count is 0 at the end, batch->index is the position in the inputs. */
int pictures_next(Pictures *p, VitroBatch *batch);

/* Picture i as it is, for drawing. */
VitroStatus pictures_read(const Pictures *p, int64_t i, int channels, VitroImage *out);

#endif
