/* SPDX-License-Identifier: Apache-2.0 */
/* The public face of data sets: opens the source that detect.c names, answers questions about it,
 * and wraps a data set of the caller's. */
#include "data/dataset.h"

#include "base/alloc.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

const char *vitro_split_name(VitroSplit split)
{
    return split == VITRO_SPLIT_TRAIN ? "train" : "val";
}

void vitro_pixels_from_planes(uint8_t *out, const uint8_t *planes, int pixels, int channels)
{
    const uint8_t *r = planes, *g = r + pixels, *b = g + pixels;
    if (channels == 3) {
        for (int i = 0; i < pixels; i++) {
            out[3 * i] = r[i];
            out[3 * i + 1] = g[i];
            out[3 * i + 2] = b[i];
        }
        return;
    }
    /* Pillow's convert("L"): ITU-R 601 luma in 16-bit fixed point, rounded. */
    for (int i = 0; i < pixels; i++)
        out[i] = (uint8_t)((19595u * r[i] + 38470u * g[i] + 7471u * b[i] + 32768u) >> 16);
}

/* ---- opening --------------------------------------------------------------------------------- */

static VitroStatus open_place(VitroDataset *ds, const VitroDataPlace *place, VitroSplit split)
{
    ds->kind = place->kind;
    switch (place->form) {
    case VITRO_FORM_PYTHON:
    case VITRO_FORM_BINARY:
        return vitro_cifar_open(ds, place, split);
    case VITRO_FORM_IDX:
        return vitro_idx_open(ds, place, split);
    case VITRO_FORM_FOLDER:
        return vitro_folder_open(ds, place, split);
    }
    return vitro_fail(VITRO_E_INTERNAL, "data form %d has no reader", (int)place->form);
}

/* "CIFAR-100 (python)": what precedes the split and the count in the description. */
static const char *describe_place(const VitroDataPlace *place)
{
    bool python = place->form == VITRO_FORM_PYTHON;
    switch (place->kind) {
    case VITRO_DATA_CIFAR100:
        return python ? "CIFAR-100 (python)" : "CIFAR-100 (binary)";
    case VITRO_DATA_CIFAR10:
        return python ? "CIFAR-10 (python)" : "CIFAR-10 (binary)";
    case VITRO_DATA_FASHION_MNIST:
        return "Fashion-MNIST (IDX)";
    case VITRO_DATA_MNIST:
        return "MNIST (IDX)";
    default:
        return "class folders";
    }
}

static VitroStatus finish(VitroDataset *ds, const VitroDataPlace *place, VitroSplit split)
{
    if (ds->count == 0 && split == VITRO_SPLIT_TRAIN)
        return vitro_fail(VITRO_E_FORMAT, "%s: %s has no training image", place->dir,
                          describe_place(place));
    if (!ds->describe)
        ds->describe =
            vitro_asprintf("%s, %s, %lld image%s", describe_place(place), vitro_split_name(split),
                           (long long)ds->count, ds->count == 1 ? "" : "s");
    return ds->describe ? VITRO_OK : VITRO_NOMEM;
}

static VitroStatus check_options(const VitroDatasetOptions *options)
{
    if (!options->path || !*options->path)
        return vitro_fail(VITRO_E_ARG, "data set: no folder given");
    if ((int)options->kind < VITRO_DATA_AUTO || options->kind > VITRO_DATA_FOLDER)
        return vitro_fail(VITRO_E_ARG, "data set: kind %d, expected 0..%d", (int)options->kind,
                          (int)VITRO_DATA_FOLDER);
    if (options->split != VITRO_SPLIT_TRAIN && options->split != VITRO_SPLIT_VAL)
        return vitro_fail(VITRO_E_ARG, "data set: split %d, expected 0 (train) or 1 (val)",
                          (int)options->split);
    if (options->channels != 0 && options->channels != 1 && options->channels != 3)
        return vitro_fail(VITRO_E_ARG, "data set: %d channels, expected 1, 3, or 0 for its own",
                          options->channels);
    return VITRO_OK;
}

VitroStatus vitro_dataset_open(VitroDataset **out, const VitroDatasetOptions *options)
{
    VITRO_TRY(check_options(options));
    VitroDataPlace place = {0};
    VITRO_TRY(vitro_data_detect(&place, options));
    VitroStatus st = VITRO_NOMEM;
    VitroDataset *ds = vitro_calloc(1, sizeof(*ds));
    if (!ds)
        goto done;
    ds->channels = options->channels;
    ds->exif = options->exif;
    VITRO_GOTO(open_place(ds, &place, options->split));
    VITRO_GOTO(finish(ds, &place, options->split));
    *out = ds;
    ds = NULL;
done:
    vitro_dataset_close(ds);
    vitro_free(place.dir);
    return st;
}

void vitro_dataset_close(VitroDataset *ds)
{
    if (!ds)
        return;
    if (ds->ops && ds->ops->close && ds->self)
        ds->ops->close(ds->self);
    vitro_free(ds->labels);
    vitro_list_free(&ds->classes);
    vitro_free(ds->describe);
    vitro_free(ds);
}

/* ---- a data set of the caller's -------------------------------------------------------------- */

static VitroStatus custom_read(const VitroDataset *ds, int64_t i, VitroImage *out)
{
    const VitroCustomDataset *custom = ds->self;
    VitroImage image = {0};
    vitro_error_put(""); /* the callback may return a status without recording a text */
    VitroStatus st = custom->read(custom->user, i, &image);
    if (st != VITRO_OK) {
        vitro_image_deinit(&image);
        if (!*vitro_last_error())
            return vitro_fail(st, "picture %lld: read() gave %s", (long long)i,
                              vitro_status_name(st));
        return vitro_fail_prefix(st, "picture %lld", (long long)i);
    }
    if (!image.pixels || image.width < 1 || image.height < 1 || image.channels != ds->channels) {
        st = vitro_fail(VITRO_E_FORMAT,
                        "picture %lld: read() gave %dx%d pixels of %d channels, expected at least "
                        "1x1 of %d",
                        (long long)i, image.width, image.height, image.channels, ds->channels);
        vitro_image_deinit(&image);
        return st;
    }
    *out = image;
    return VITRO_OK;
}

static void custom_name(const VitroDataset *ds, int64_t i, char *out, size_t out_size)
{
    (void)ds;
    snprintf(out, out_size, "picture %lld", (long long)i);
}

static void custom_close(void *self)
{
    VitroCustomDataset *custom = self;
    if (custom->close)
        custom->close(custom->user);
    vitro_free(custom);
}

static const VitroDatasetOps custom_ops = {
    .read = custom_read, .name = custom_name, .close = custom_close};

static VitroStatus custom_labels(VitroDataset *ds, const VitroCustomDataset *custom)
{
    ds->labels = vitro_calloc((size_t)custom->count, sizeof(*ds->labels));
    if (!ds->labels)
        return VITRO_NOMEM;
    for (int64_t i = 0; i < custom->count; i++) {
        int32_t label = custom->label(custom->user, i);
        if (label < 0 || label >= custom->class_count)
            return vitro_fail(VITRO_E_ARG, "picture %lld: label %d, expected 0..%lld", (long long)i,
                              (int)label, (long long)custom->class_count - 1);
        ds->labels[i] = label;
    }
    ds->count = custom->count;
    return VITRO_OK;
}

static VitroStatus custom_classes(VitroDataset *ds, const VitroCustomDataset *custom)
{
    if (custom->class_names)
        return vitro_names_copy(&ds->classes, custom->class_names, custom->class_count);
    ds->classes.names = vitro_calloc((size_t)custom->class_count, sizeof(char *));
    if (!ds->classes.names)
        return VITRO_NOMEM;
    for (int64_t c = 0; c < custom->class_count; c++) {
        char *name = vitro_asprintf("%lld", (long long)c);
        if (!name)
            return VITRO_NOMEM;
        ds->classes.names[ds->classes.count++] = name;
    }
    return VITRO_OK;
}

static VitroStatus check_custom(const VitroCustomDataset *custom)
{
    if (!custom->label || !custom->read)
        return vitro_fail(VITRO_E_ARG, "custom data set: label and read must be given");
    if (custom->count < 0 || custom->count > VITRO_MAX_PICTURES)
        return vitro_fail(VITRO_E_ARG, "custom data set: %lld pictures, expected 0..%lld",
                          (long long)custom->count, (long long)VITRO_MAX_PICTURES);
    if (custom->class_count < 1 || custom->class_count > INT32_MAX)
        return vitro_fail(VITRO_E_ARG, "custom data set: %lld classes, expected 1..%lld",
                          (long long)custom->class_count, (long long)INT32_MAX);
    if (custom->channels != 1 && custom->channels != 3)
        return vitro_fail(VITRO_E_ARG, "custom data set: %d channels, expected 1 or 3",
                          custom->channels);
    return VITRO_OK;
}

VitroStatus vitro_dataset_custom(VitroDataset **out, const VitroCustomDataset *custom)
{
    VITRO_TRY(check_custom(custom));
    VitroDataset *ds = vitro_calloc(1, sizeof(*ds));
    if (!ds)
        return VITRO_NOMEM;
    VitroStatus st = VITRO_NOMEM;
    ds->ops = &custom_ops;
    ds->kind = VITRO_DATA_FOLDER; /* as a folder: pictures of any size, read one by one */
    ds->channels = custom->channels;
    VITRO_GOTO(custom_labels(ds, custom));
    VITRO_GOTO(custom_classes(ds, custom));
    st = VITRO_NOMEM;
    ds->describe = vitro_asprintf("custom, %lld image%s", (long long)custom->count,
                                  custom->count == 1 ? "" : "s");
    VitroCustomDataset *copy = vitro_malloc(sizeof(*copy));
    if (!ds->describe || !copy) {
        vitro_free(copy);
        goto done;
    }
    /* Last of all: after a failure the caller still owns what `close` would release. */
    *copy = *custom;
    ds->self = copy;
    *out = ds;
    ds = NULL;
    st = VITRO_OK;
done:
    vitro_dataset_close(ds);
    return st;
}

/* ---- questions ------------------------------------------------------------------------------- */

int64_t vitro_dataset_count(const VitroDataset *ds)
{
    return ds->count;
}

int64_t vitro_dataset_class_count(const VitroDataset *ds)
{
    return (int64_t)ds->classes.count;
}

const char *vitro_dataset_class_name(const VitroDataset *ds, int64_t c)
{
    assert(c >= 0 && c < (int64_t)ds->classes.count);
    return ds->classes.names[c];
}

const char *const *vitro_dataset_class_names(const VitroDataset *ds)
{
    return (const char *const *)ds->classes.names;
}

int32_t vitro_dataset_label(const VitroDataset *ds, int64_t i)
{
    assert(i >= 0 && i < ds->count);
    return ds->labels[i];
}

VitroDatasetKind vitro_dataset_kind(const VitroDataset *ds)
{
    return ds->kind;
}

const char *vitro_dataset_describe(const VitroDataset *ds)
{
    return ds->describe;
}

int vitro_dataset_fixed_size(const VitroDataset *ds)
{
    return ds->width == ds->height ? ds->width : 0;
}

int vitro_dataset_channels(const VitroDataset *ds)
{
    return ds->channels;
}

void vitro_dataset_name(const VitroDataset *ds, int64_t i, char *out, size_t out_size)
{
    if (out_size == 0)
        return;
    out[0] = 0;
    if (i >= 0 && i < ds->count)
        ds->ops->name(ds, i, out, out_size);
}

VitroStatus vitro_dataset_read(const VitroDataset *ds, int64_t i, VitroImage *out)
{
    if (i < 0 || i >= ds->count)
        return vitro_fail(VITRO_E_ARG, "%s: no picture %lld", ds->describe, (long long)i);
    if (!ds->ops->fill)
        return ds->ops->read(ds, i, out);
    VitroImage image = {.width = ds->width, .height = ds->height, .channels = ds->channels};
    image.pixels = vitro_malloc((size_t)ds->width * (size_t)ds->height * (size_t)ds->channels);
    if (!image.pixels)
        return VITRO_NOMEM;
    ds->ops->fill(ds, i, image.pixels);
    *out = image;
    return VITRO_OK;
}
