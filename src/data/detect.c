/* SPDX-License-Identifier: Apache-2.0 */
/* Which data set lies in a folder: looks at file names, never into pictures. The published folder
 * names count as well as the files themselves, so that both "./data" and "./data/cifar-100-python"
 * are found. */
#include "data/dataset.h"

#include "base/alloc.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A place where a data set may lie: the folder itself ("") or one below it. */
typedef struct Candidate {
    VitroDatasetKind kind; /* AUTO: MNIST or Fashion-MNIST, by the name of the folder */
    VitroDataForm form;
    const char *subdir;
    const char *file[2]; /* the first file of each split; NULL for IDX, which has many spellings */
} Candidate;

static const Candidate candidates[] = {
    {VITRO_DATA_CIFAR100, VITRO_FORM_PYTHON, "", {"train", "test"}},
    {VITRO_DATA_CIFAR100, VITRO_FORM_PYTHON, "cifar-100-python", {"train", "test"}},
    {VITRO_DATA_CIFAR100, VITRO_FORM_BINARY, "", {"train.bin", "test.bin"}},
    {VITRO_DATA_CIFAR100, VITRO_FORM_BINARY, "cifar-100-binary", {"train.bin", "test.bin"}},
    {VITRO_DATA_CIFAR10, VITRO_FORM_PYTHON, "", {"data_batch_1", "test_batch"}},
    {VITRO_DATA_CIFAR10, VITRO_FORM_PYTHON, "cifar-10-batches-py", {"data_batch_1", "test_batch"}},
    {VITRO_DATA_CIFAR10, VITRO_FORM_BINARY, "", {"data_batch_1.bin", "test_batch.bin"}},
    {VITRO_DATA_CIFAR10,
     VITRO_FORM_BINARY,
     "cifar-10-batches-bin",
     {"data_batch_1.bin", "test_batch.bin"}},
    {VITRO_DATA_AUTO, VITRO_FORM_IDX, "", {0}},
    {VITRO_DATA_AUTO, VITRO_FORM_IDX, "raw", {0}},
    {VITRO_DATA_MNIST, VITRO_FORM_IDX, "MNIST/raw", {0}}, /* as torchvision lays them out */
    {VITRO_DATA_MNIST, VITRO_FORM_IDX, "MNIST", {0}},
    {VITRO_DATA_MNIST, VITRO_FORM_IDX, "mnist", {0}},
    {VITRO_DATA_FASHION_MNIST, VITRO_FORM_IDX, "FashionMNIST/raw", {0}},
    {VITRO_DATA_FASHION_MNIST, VITRO_FORM_IDX, "FashionMNIST", {0}},
    {VITRO_DATA_FASHION_MNIST, VITRO_FORM_IDX, "fashion-mnist", {0}}, /* as Debian does */
};

static const char expected[] =
    "cifar-100-python or -binary, cifar-10-batches-py or -bin, train-images-idx3-ubyte and its kin "
    "(plain or .gz), a folder of pictures per class, or train/ and val/ of such";

/* Sets *found where the first file of `split` is in `dir`. */
static VitroStatus has_split(bool *found, const Candidate *c, const char *dir, VitroSplit split)
{
    char *path = NULL;
    if (c->form == VITRO_FORM_IDX) {
        VITRO_TRY(vitro_idx_find_images(&path, dir, split));
        *found = path != NULL;
    } else {
        path = vitro_path_join(dir, c->file[split]);
        if (!path)
            return VITRO_NOMEM;
        *found = vitro_fs_is_file(path);
    }
    vitro_free(path);
    return VITRO_OK;
}

static bool contains_ignoring_case(const char *text, const char *word)
{
    for (size_t n = strlen(word); *text; text++)
        if (strncasecmp(text, word, n) == 0)
            return true;
    return false;
}

/* The files of MNIST and Fashion-MNIST have the same names, sizes and label counts: only where they
 * lie tells them apart. */
static VitroDatasetKind kind_of_idx(const char *dir)
{
    char real[PATH_MAX];
    if (!realpath(dir, real))
        return VITRO_DATA_MNIST;
    return contains_ignoring_case(real, "fashion") ? VITRO_DATA_FASHION_MNIST : VITRO_DATA_MNIST;
}

/* Is `c`, whose files were found in `dir`, the data set that is asked for? */
static VitroDatasetKind candidate_kind(const Candidate *c, const char *dir, VitroDatasetKind wanted)
{
    if (c->kind != VITRO_DATA_AUTO)
        return c->kind;
    bool idx_wanted = wanted == VITRO_DATA_MNIST || wanted == VITRO_DATA_FASHION_MNIST;
    return idx_wanted ? wanted : kind_of_idx(dir);
}

/* The best place so far. */
typedef struct Search {
    VitroDataPlace place; /* dir NULL: none yet */
    bool has_split;       /* it has the wanted split's files */
} Search;

static VitroStatus consider(Search *s, const Candidate *c, const VitroDatasetOptions *options)
{
    char *dir =
        *c->subdir ? vitro_path_join(options->path, c->subdir) : vitro_strdup(options->path);
    if (!dir)
        return VITRO_NOMEM;
    bool wanted = false, other = false;
    VitroStatus st = VITRO_OK;
    VITRO_GOTO(has_split(&wanted, c, dir, options->split));
    VITRO_GOTO(has_split(
        &other, c, dir, options->split == VITRO_SPLIT_TRAIN ? VITRO_SPLIT_VAL : VITRO_SPLIT_TRAIN));
    if (!wanted && !other)
        goto done;
    VitroDatasetKind kind = candidate_kind(c, dir, options->kind);
    if (options->kind != VITRO_DATA_AUTO && kind != options->kind)
        goto done;
    if (s->place.dir && s->place.kind != kind) {
        st = vitro_fail(VITRO_E_UNSUPPORTED,
                        "%s: holds more than one data set (%s and %s): name the kind, or one of "
                        "these folders",
                        options->path, s->place.dir, dir);
        goto done;
    }
    if (!s->place.dir || (wanted && !s->has_split)) {
        vitro_free(s->place.dir);
        s->place = (VitroDataPlace){kind, c->form, dir};
        s->has_split = wanted;
        dir = NULL;
    }
done:
    vitro_free(dir);
    return st;
}

/* Class folders have no names to go by, so they come last. */
static VitroStatus consider_folder(Search *s, const char *path)
{
    bool found = false;
    VITRO_TRY(vitro_folder_detect(&found, path));
    if (!found)
        return VITRO_OK;
    char *dir = vitro_strdup(path);
    if (!dir)
        return VITRO_NOMEM;
    s->place = (VitroDataPlace){VITRO_DATA_FOLDER, VITRO_FORM_FOLDER, dir};
    return VITRO_OK;
}

/* ---- what an error says about the folder ----------------------------------------------------- */

static bool is_archive(const char *name)
{
    static const char *const ext[] = {".tar", ".tgz", ".tar.gz", ".zip", ".bin.gz"};
    for (size_t i = 0; i < sizeof(ext) / sizeof(ext[0]); i++)
        if (vitro_path_has_ext(name, ext[i]))
            return true;
    return false;
}

/* "a, b, c and 17 more", and what helps. */
static VitroStatus print_found(VitroBuf *b, const VitroNameList *list)
{
    enum { SHOWN = 6, LONGEST = 60 };
    const char *archive = NULL;
    bool pictures = false;
    for (size_t i = 0; i < list->count; i++) {
        if (i < SHOWN)
            vitro_buf_printf(b, "%s%.*s", i ? ", " : "", LONGEST, list->names[i]);
        if (!archive && is_archive(list->names[i]))
            archive = list->names[i];
        pictures |= vitro_folder_is_picture(list->names[i]);
    }
    if (list->count == 0)
        vitro_buf_printf(b, "an empty folder");
    if (list->count > SHOWN)
        vitro_buf_printf(b, " and %zu more", list->count - SHOWN);
    if (archive)
        vitro_buf_printf(b, " (unpack %.*s first)", LONGEST, archive);
    else if (pictures)
        vitro_buf_printf(b, " (pictures must lie in a folder per class)");
    return b->status;
}

static const char *kind_files(VitroDatasetKind kind)
{
    switch (kind) {
    case VITRO_DATA_CIFAR100:
        return "CIFAR-100: cifar-100-python (train, test) or cifar-100-binary (train.bin, "
               "test.bin)";
    case VITRO_DATA_CIFAR10:
        return "CIFAR-10: cifar-10-batches-py (data_batch_1, ..., test_batch) or "
               "cifar-10-batches-bin (data_batch_1.bin, ..., test_batch.bin)";
    case VITRO_DATA_FASHION_MNIST:
        return "Fashion-MNIST: train-images-idx3-ubyte, ..., plain or .gz, here or in "
               "FashionMNIST/raw";
    case VITRO_DATA_MNIST:
        return "MNIST: train-images-idx3-ubyte, ..., plain or .gz, here or in MNIST/raw";
    case VITRO_DATA_FOLDER:
        return "a folder of pictures per class, or train/ and val/ of such";
    default:
        return expected;
    }
}

static VitroStatus fail_unrecognised(const VitroDatasetOptions *options)
{
    VitroNameList list;
    VITRO_TRY(vitro_fs_list(&list, options->path));
    VitroBuf b;
    vitro_buf_init(&b, 4096);
    const char *found = NULL;
    VitroStatus st = print_found(&b, &list);
    if (st == VITRO_OK)
        st = vitro_buf_cstr(&b, &found);
    if (st == VITRO_OK)
        st = vitro_fail(VITRO_E_UNSUPPORTED, "%s: nothing recognised: expected %s%s; found %s",
                        options->path, options->kind == VITRO_DATA_AUTO ? "one of " : "",
                        kind_files(options->kind), found);
    vitro_buf_deinit(&b);
    vitro_list_free(&list);
    return st;
}

VitroStatus vitro_data_detect(VitroDataPlace *place, const VitroDatasetOptions *options)
{
    VitroStatus st = VITRO_OK;
    if (vitro_fs_is_file(options->path))
        return vitro_fail(VITRO_E_IO, "%s: is a file, the folder of a data set was expected",
                          options->path);
    /* Lists nothing, but tells a missing or unreadable folder from one without a data set. */
    if (!vitro_fs_is_dir(options->path)) {
        VitroNameList none;
        VITRO_TRY(vitro_fs_list(&none, options->path));
        vitro_list_free(&none);
    }
    Search search = {0};
    if (options->kind != VITRO_DATA_FOLDER)
        for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++)
            VITRO_GOTO(consider(&search, &candidates[i], options));
    if (!search.place.dir &&
        (options->kind == VITRO_DATA_AUTO || options->kind == VITRO_DATA_FOLDER))
        VITRO_GOTO(consider_folder(&search, options->path));
    if (!search.place.dir)
        return fail_unrecognised(options);
    *place = search.place;
    search.place.dir = NULL;
done:
    vitro_free(search.place.dir);
    return st;
}

VitroStatus vitro_data_present(bool *present, const char *path, VitroDatasetKind kind)
{
    bool any = kind == VITRO_DATA_AUTO;
    *present = false;
    for (size_t i = 0; !*present && i < sizeof(candidates) / sizeof(candidates[0]); i++) {
        const Candidate *c = &candidates[i];
        bool train, val;
        char *dir = *c->subdir ? vitro_path_join(path, c->subdir) : vitro_strdup(path);
        if (!dir)
            return VITRO_NOMEM;
        VitroStatus st = has_split(&train, c, dir, VITRO_SPLIT_TRAIN);
        if (st == VITRO_OK)
            st = has_split(&val, c, dir, VITRO_SPLIT_VAL);
        if (st == VITRO_OK)
            *present = any ? train || val : train && val && candidate_kind(c, dir, kind) == kind;
        vitro_free(dir);
        VITRO_TRY(st);
    }
    return !*present && any ? vitro_folder_detect(present, path) : VITRO_OK;
}
