/* SPDX-License-Identifier: Apache-2.0 */
/* A data set of named pictures whose damaged members do not stop the rest. */
#include "pictures.h"

#include <stdlib.h>
#include <string.h>

#define STDIN_MAX_BYTES ((size_t)512 << 20)

VitroStatus pictures_read(const Pictures *p, int64_t i, int channels, VitroImage *out)
{
    const char *name = p->inputs->names[i];
    if (strcmp(name, "-") == 0)
        return vitro_image_decode(out, p->stdin_data, p->stdin_size, "standard input", channels,
                                  p->transform.exif);
    return vitro_image_read(out, name, channels, p->transform.exif);
}

/* Called by the loader's threads. Resizes here already: a picture too large to resize is one that
 * cannot be read. */
static VitroStatus read_for_model(void *user, int64_t i, VitroImage *out)
{
    static const char black[] = "P6\n1 1\n255\n\0\0"; /* and the string's own last zero */
    Pictures *p = user;
    VitroImage picture = {0}, pixels = {0};
    VitroStatus st = pictures_read(p, i, p->transform.channels, &picture);
    if (st == VITRO_OK)
        st = vitro_transform_pixels(&pixels, &picture, &p->transform);
    if (st != VITRO_OK)
        p->errors[i] = cli_strdup(vitro_last_error());
    vitro_image_deinit(&picture);
    if (st == VITRO_OK) {
        *out = pixels;
        return VITRO_OK;
    }
    return vitro_image_decode(out, black, sizeof(black), "a black picture", p->transform.channels,
                              false);
}

static int32_t no_label(void *user, int64_t i)
{
    (void)user;
    (void)i;
    return 0;
}

int pictures_open(Pictures *p, const InputList *inputs, const VitroTransform *transform,
                  int64_t batch_size, int workers)
{
    *p = (Pictures){.inputs = inputs, .transform = *transform};
    p->errors = cli_alloc((size_t)inputs->count, sizeof(*p->errors));
    int status = CLI_OK;
    if (inputs->has_stdin)
        status = read_stdin(&p->stdin_data, &p->stdin_size, STDIN_MAX_BYTES);
    VitroCustomDataset custom = {.user = p,
                                 .count = inputs->count,
                                 .class_count = 1,
                                 .label = no_label,
                                 .read = read_for_model,
                                 .channels = transform->channels};
    VitroLoaderOptions options = {
        .transform = *transform, .batch_size = batch_size, .workers = workers};
    options.transform.keep_exact = true; /* read_for_model has made the size */
    if (!status && (vitro_dataset_custom(&p->dataset, &custom) ||
                    vitro_loader_open(&p->loader, p->dataset, &options) ||
                    vitro_loader_start(p->loader, 0, 0)))
        status = cli_fail_lib();
    if (status)
        pictures_close(p);
    return status;
}

void pictures_close(Pictures *p)
{
    vitro_loader_close(p->loader);
    vitro_dataset_close(p->dataset);
    for (int64_t i = 0; p->errors && i < p->inputs->count; i++)
        free(p->errors[i]);
    free(p->errors);
    free(p->stdin_data);
    *p = (Pictures){0};
}

int pictures_next(Pictures *p, VitroBatch *batch)
{
    return vitro_loader_next(p->loader, batch) ? cli_fail_lib() : CLI_OK;
}
