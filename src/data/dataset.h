/* SPDX-License-Identifier: Apache-2.0 */
/* What every kind of data set gives to dataset.c and to the loader: a count, labels, class names,
 * and a few functions. A source (cifar.c, idx.c, folder.c) fills the struct; it knows nothing of
 * batches, transforms or threads, and its functions may be called from several threads at once. */
#ifndef VITRO_DATA_DATASET_H
#define VITRO_DATA_DATASET_H

#include "base/fs.h"
#include "base/status.h"
#include "vitro/data.h"

/* Pictures of one data set: the sampler and the augmentation number them with 32 bits. */
#define VITRO_MAX_PICTURES INT32_MAX

typedef struct VitroDatasetOps {
    /* Sources whose pictures all have one size hold them in memory: writes picture i to `pixels`
     * [height,width,channels] and cannot fail. NULL for the others. */
    void (*fill)(const VitroDataset *ds, int64_t i, uint8_t *pixels);
    /* Decodes picture i. NULL where `fill` is there. */
    VitroStatus (*read)(const VitroDataset *ds, int64_t i, VitroImage *out);
    void (*name)(const VitroDataset *ds, int64_t i, char *out, size_t out_size);
    /* Picture `from` becomes picture `to`, whose place is free. NULL: this source cannot. */
    void (*move)(VitroDataset *ds, int64_t to, int64_t from);
    /* The part of the name that stays where the set is moved; NULL: pictures have no names. */
    const char *(*short_name)(const VitroDataset *ds, int64_t i);
    void (*close)(void *self); /* frees `self`, which may be half built; never called with NULL */
} VitroDatasetOps;

struct VitroDataset {
    const VitroDatasetOps *ops;
    void *self; /* the source's own state; owned */
    int64_t count;
    int32_t *labels;       /* [count], each in 0..class count - 1; owned */
    VitroNameList classes; /* owned */
    VitroDatasetKind kind;
    int width, height; /* of every picture, pixels; 0 where they differ */
    int channels;      /* of the pictures handed out: 1 or 3 */
    bool exif;
    char *describe; /* owned */
};

/* How a data set lies on disk. */
typedef enum VitroDataForm {
    VITRO_FORM_PYTHON, /* CIFAR's pickles */
    VITRO_FORM_BINARY, /* CIFAR's records */
    VITRO_FORM_IDX,
    VITRO_FORM_FOLDER
} VitroDataForm;

/* Which data set it is, and the folder its files lie in. */
typedef struct VitroDataPlace {
    VitroDatasetKind kind; /* never AUTO */
    VitroDataForm form;
    char *dir; /* owned: vitro_free */
} VitroDataPlace;

/* detect.c: finds `options->kind` (or, for AUTO, whatever it is) in `options->path`.
 * Errors: VITRO_E_IO, _UNSUPPORTED (nothing recognised, or more than one data set), _NOMEM. */
VitroStatus vitro_data_detect(VitroDataPlace *place, const VitroDatasetOptions *options);

/* detect.c: does the folder `path` hold both splits of `kind`, or, for AUTO, any data set? */
VitroStatus vitro_data_present(bool *present, const char *path, VitroDatasetKind kind);

/* The sources. Each fills `ds`, whose kind, channels (0: the set's own) and exif are set; after a
 * failure the caller closes `ds`. A split that is not there leaves count 0. */
VitroStatus vitro_cifar_open(VitroDataset *ds, const VitroDataPlace *place, VitroSplit split);
VitroStatus vitro_idx_open(VitroDataset *ds, const VitroDataPlace *place, VitroSplit split);
VitroStatus vitro_folder_open(VitroDataset *ds, const VitroDataPlace *place, VitroSplit split);

/* idx.c: the images file of `split` in `dir`, NULL if there is none. vitro_free it. */
VitroStatus vitro_idx_find_images(char **path, const char *dir, VitroSplit split);

/* folder.c: does `dir` hold class folders with a picture, or train/ and val/? */
VitroStatus vitro_folder_detect(bool *found, const char *dir);
/* folder.c: does the name end like a picture's (torchvision's IMG_EXTENSIONS, any case)? */
bool vitro_folder_is_picture(const char *name);

/* names.c: the official class names of a kind that has them. */
const char *const *vitro_class_names(VitroDatasetKind kind, int64_t *count);
/* Copies names into an empty list. */
VitroStatus vitro_names_copy(VitroNameList *list, const char *const *names, int64_t count);
/* One name per line of a text file; blank lines are skipped. */
VitroStatus vitro_names_read(VitroNameList *list, const char *path);

/* "train" or "val". */
const char *vitro_split_name(VitroSplit split);

/* Turns `pixels` samples of RGB, given as three planes, into [pixels,channels] (1: grey). */
void vitro_pixels_from_planes(uint8_t *out, const uint8_t *planes, int pixels, int channels);

#endif
