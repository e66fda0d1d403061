/* SPDX-License-Identifier: Apache-2.0 */
/* Datasets of labelled pictures, and the loader that turns them into batches on its own threads. */
#ifndef VITRO_DATA_H
#define VITRO_DATA_H

#include "vitro/image.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum VitroDatasetKind {
    VITRO_DATA_AUTO = 0,     /* by what lies in the folder */
    VITRO_DATA_CIFAR100 = 1, /* cifar-100-python or cifar-100-binary */
    VITRO_DATA_CIFAR10 = 2,  /* cifar-10-batches-py or cifar-10-batches-bin */
    VITRO_DATA_FASHION_MNIST = 3,
    VITRO_DATA_MNIST = 4,
    VITRO_DATA_FOLDER = 5 /* a folder per class, or train/ and val/ of such */
} VitroDatasetKind;

typedef enum VitroSplit { VITRO_SPLIT_TRAIN = 0, VITRO_SPLIT_VAL = 1 } VitroSplit;

/* Once open it changes by vitro_dataset_leave_out alone: any number of threads may read. */
typedef struct VitroDataset VitroDataset;

typedef struct VitroDatasetOptions {
    const char *path;      /* the folder that contains, or is, the data set */
    VitroDatasetKind kind; /* default AUTO */
    VitroSplit split;      /* default TRAIN; only this split's own files need to be there */
    int channels;          /* 1 or 3, of the pictures handed out; 0 (default): the set's own */
    bool exif;             /* default false */
} VitroDatasetOptions;

/* Opens one split. A folder of class folders without train/ and val/ is split 80/20 by the rule
 * int(n*0.2) per class of CPython's random.seed(0); random.sample (docs/FORMATS.md); a class that
 * gives no validation picture is fine. A split that is absent or empty: *out has count 0 for VAL,
 * an error for TRAIN. Errors: VITRO_E_IO, _FORMAT, _UNSUPPORTED (nothing recognised), _NOMEM. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_dataset_open(VitroDataset **out,
                                                          const VitroDatasetOptions *options);

/* A data set of the caller's. `read` must fill *image with vitro_image_init, _read or _decode (the
 * library deinits it) at the wanted channels; it may be called from several threads at once. */
typedef struct VitroCustomDataset {
    void *user;
    int64_t count, class_count;
    const char *const *class_names;          /* [class_count], copied; NULL: "0", "1", ... */
    int32_t (*label)(void *user, int64_t i); /* 0 <= label < class_count */
    VitroStatus (*read)(void *user, int64_t i, VitroImage *image);
    void (*close)(void *user); /* may be NULL */
    int channels;
} VitroCustomDataset;
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_dataset_custom(VitroDataset **out,
                                                            const VitroCustomDataset *custom);
VITRO_API void vitro_dataset_close(VitroDataset *ds); /* NULL is fine */

VITRO_API int64_t vitro_dataset_count(const VitroDataset *ds);
VITRO_API int64_t vitro_dataset_class_count(const VitroDataset *ds);
VITRO_API const char *vitro_dataset_class_name(const VitroDataset *ds, int64_t c);
VITRO_API const char *const *vitro_dataset_class_names(const VitroDataset *ds); /* [class_count] */
VITRO_API int32_t vitro_dataset_label(const VitroDataset *ds, int64_t i);
/* The kind that was found, and a one-line description ("CIFAR-100 (python), train, 50000 images").
 */
VITRO_API VitroDatasetKind vitro_dataset_kind(const VitroDataset *ds);
VITRO_API const char *vitro_dataset_describe(const VitroDataset *ds);
/* Pictures of fixed size (CIFAR, IDX): their side; 0 for folders. */
VITRO_API int vitro_dataset_fixed_size(const VitroDataset *ds);
VITRO_API int vitro_dataset_channels(const VitroDataset *ds);
/* A file's path, or "train.bin[17]"; copied to `out` (always terminated). */
VITRO_API void vitro_dataset_name(const VitroDataset *ds, int64_t i, char *out, size_t out_size);
/* 32 digits that tell whether two data sets are the same: number of pictures and classes, the
 * classes' names, the labels; of folders also the pictures' names below the folder, of the others
 * some pictures' pixels. Where the set lies does not enter. VITRO_E_NOMEM. */
#define VITRO_FINGERPRINT_BYTES 33
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_dataset_fingerprint(const VitroDataset *ds,
                                                                 char out[VITRO_FINGERPRINT_BYTES]);
/* Decodes picture i. *out as for vitro_image_read. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_dataset_read(const VitroDataset *ds, int64_t i,
                                                          VitroImage *out);

/* How vitro_dataset_check works, and whom it tells. The callbacks run in the calling thread. */
typedef struct VitroCheckOptions {
    const VitroTransform *transform; /* must be possible, too; NULL: decoding is enough */
    int workers;                     /* threads that decode; 0: the caller's own */
    /* Picture i cannot be read; `reason` starts with its name. In the data set's order. */
    void (*bad)(void *user, int64_t i, const char *reason);    /* may be NULL */
    bool (*progress)(void *user, int64_t done, int64_t count); /* false stops; may be NULL */
    void *user;
} VitroCheckOptions;
/* Reads every picture once. *bad: how many cannot be read. Sources whose pictures have one size
 * (CIFAR, IDX) were checked when they were opened. Errors: VITRO_E_NOMEM, _CANCELLED, _ARG; a bad
 * picture is none. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_dataset_check(const VitroDataset *ds,
                                                           const VitroCheckOptions *options,
                                                           int64_t *bad);
/* Leaves out the pictures index[count], in ascending order: the others move up and take their
 * numbers. Before a loader is opened, and only of folders. Errors: VITRO_E_ARG, _UNSUPPORTED,
 * _NOMEM. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_dataset_leave_out(VitroDataset *ds,
                                                               const int64_t *index, int64_t count);

typedef struct VitroLoader VitroLoader; /* one calling thread at a time */

typedef struct VitroLoaderOptions {
    VitroTransform transform;
    bool augment;       /* RandomResizedCrop and flip in place of resize and centre crop */
    bool shuffle;       /* a new order each epoch, a function of (seed, epoch) */
    int64_t batch_size; /* >= 1; the last batch of an epoch may be smaller */
    int workers; /* threads that decode; 0: the caller's own. The bytes do not depend on it */
    uint64_t seed;
} VitroLoaderOptions;

typedef struct VitroBatch {
    int64_t count;         /* images; 0 at the end of the epoch */
    const float *images;   /* [count,C,H,W] */
    const int32_t *labels; /* [count] */
    const int64_t *index;  /* [count] position in the data set */
} VitroBatch;

VITRO_API VITRO_MUST_CHECK VitroStatus vitro_loader_open(VitroLoader **out, const VitroDataset *ds,
                                                         const VitroLoaderOptions *options);
/* Bytes that a loader of these (valid) options holds: its batches and their order. Not in it: the
 * pictures that its workers have in hand. */
VITRO_API int64_t vitro_loader_memory(const VitroDataset *ds, const VitroLoaderOptions *options);
VITRO_API void vitro_loader_close(VitroLoader *loader);            /* NULL is fine */
VITRO_API int64_t vitro_loader_batches(const VitroLoader *loader); /* per epoch, rounded up */
/* Begins `epoch` at batch `first_batch`; whatever was under way is dropped. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_loader_start(VitroLoader *loader, uint32_t epoch,
                                                          int64_t first_batch);
/* The next batch, in order. Valid until the next call on this loader. A picture that cannot be read
 * is the error of the batch it belongs to, and its text names the file. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_loader_next(VitroLoader *loader, VitroBatch *batch);

#ifdef __cplusplus
}
#endif
#endif
