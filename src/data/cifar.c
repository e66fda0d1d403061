/* SPDX-License-Identifier: Apache-2.0 */
/* CIFAR-10 and CIFAR-100, as the binary files and as the python pickles of their publisher. Both
 * hold a picture as 3072 bytes: a plane of 32x32 for red, then green, then blue. Any number of rows
 * is taken. Nothing of a pickle is run: base/pickle.h gives its data or refuses it. */
#include "data/dataset.h"

#include "base/alloc.h"
#include "base/pickle_numpy.h"

#include <stdio.h>
#include <string.h>

enum { SIDE = 32, PIXELS = SIDE * SIDE, ROW = 3 * PIXELS, MAX_FILES = 5 };

/* One file's pictures. */
typedef struct Part {
    char *path;
    VitroMap map;
    uint8_t *copy;       /* the rows where the file has them in another order; owned */
    const uint8_t *rows; /* row r at rows + r * stride; in `map` or `copy` */
    size_t stride;       /* bytes */
    int64_t first;       /* number of its first picture in the data set */
} Part;

typedef struct Cifar {
    Part parts[MAX_FILES];
    int part_count;
} Cifar;

static const Part *part_of(const Cifar *cifar, int64_t i)
{
    int p = cifar->part_count - 1;
    while (i < cifar->parts[p].first)
        p--;
    return &cifar->parts[p];
}

static void cifar_fill(const VitroDataset *ds, int64_t i, uint8_t *pixels)
{
    const Part *part = part_of(ds->self, i);
    vitro_pixels_from_planes(pixels, part->rows + (size_t)(i - part->first) * part->stride, PIXELS,
                             ds->channels);
}

static void cifar_name(const VitroDataset *ds, int64_t i, char *out, size_t out_size)
{
    const Part *part = part_of(ds->self, i);
    snprintf(out, out_size, "%s[%lld]", part->path, (long long)(i - part->first));
}

static void cifar_close(void *self)
{
    Cifar *cifar = self;
    for (int p = 0; p < cifar->part_count; p++) {
        vitro_map_close(&cifar->parts[p].map);
        vitro_free(cifar->parts[p].copy);
        vitro_free(cifar->parts[p].path);
    }
    vitro_free(cifar);
}

static const VitroDatasetOps cifar_ops = {
    .fill = cifar_fill, .name = cifar_name, .close = cifar_close};

/* Room for `rows` more labels; the caller writes them and then adds to ds->count. */
static VitroStatus grow_labels(VitroDataset *ds, const Part *part, size_t rows)
{
    if (rows > (size_t)(VITRO_MAX_PICTURES - ds->count))
        return vitro_fail(VITRO_E_FORMAT, "%s: %zu rows, at most %d pictures are supported",
                          part->path, rows, VITRO_MAX_PICTURES);
    int32_t *labels = vitro_realloc(ds->labels, (size_t)ds->count + rows, sizeof(*labels));
    if (!labels)
        return VITRO_NOMEM;
    ds->labels = labels;
    return VITRO_OK;
}

static VitroStatus set_label(VitroDataset *ds, const Part *part, size_t row, int64_t label)
{
    if (label < 0 || label >= (int64_t)ds->classes.count)
        return vitro_fail(VITRO_E_FORMAT, "%s: label %lld of row %zu, expected 0..%zu", part->path,
                          (long long)label, row, ds->classes.count - 1);
    ds->labels[ds->count + (int64_t)row] = (int32_t)label;
    return VITRO_OK;
}

/* ---- binary files ---------------------------------------------------------------------------- */

/* A record is the label (CIFAR-100: the coarse, then the fine one), then the picture. */
static VitroStatus open_binary(VitroDataset *ds, Part *part)
{
    size_t head = ds->kind == VITRO_DATA_CIFAR100 ? 2 : 1, record = head + ROW;
    if (part->map.size % record)
        return vitro_fail(VITRO_E_FORMAT, "%s: %zu bytes, no whole number of records of %zu bytes",
                          part->path, part->map.size, record);
    size_t rows = part->map.size / record;
    VITRO_TRY(grow_labels(ds, part, rows));
    for (size_t r = 0; r < rows; r++)
        VITRO_TRY(set_label(ds, part, r, part->map.data[r * record + head - 1]));
    part->rows = part->map.data + head;
    part->stride = record;
    ds->count += (int64_t)rows;
    return VITRO_OK;
}

/* ---- python pickles -------------------------------------------------------------------------- */

/* Parses a file that holds one pickle, a dict. Strings and arrays in it are views of `map`. */
static VitroStatus parse_dict(VitroPickle *pickle, const VitroMap *map, const char *path)
{
    VitroStatus st = vitro_pickle_parse(pickle, map->data, map->size);
    if (st != VITRO_OK)
        return vitro_fail_prefix(st, "%s", path);
    if (pickle->used != map->size)
        st = vitro_fail(VITRO_E_FORMAT, "%s: %zu bytes follow the pickle", path,
                        map->size - pickle->used);
    else if (!vitro_pickle_is(pickle->root, VITRO_PICKLE_DICT))
        st = vitro_fail(VITRO_E_FORMAT, "%s: the pickle holds %s, expected a dict", path,
                        vitro_pickle_kind_name(pickle->root));
    if (st != VITRO_OK)
        vitro_pickle_free(pickle);
    return st;
}

/* Rows from columns, in tiles that fit the cache: out [rows,ROW], in [ROW,rows]. */
static void transpose(uint8_t *out, const uint8_t *in, size_t rows)
{
    enum { TILE = 64 };
    for (size_t r0 = 0; r0 < rows; r0 += TILE)
        for (size_t c0 = 0; c0 < ROW; c0 += TILE) /* ROW is a multiple of TILE */
            for (size_t r = r0; r < rows && r < r0 + TILE; r++)
                for (size_t c = c0; c < c0 + TILE; c++)
                    out[r * ROW + c] = in[c * rows + r];
}

static VitroStatus take_pixels(Part *part, size_t *rows, const VitroPickleNode *data)
{
    VitroNumpyArray a;
    if (!data)
        return vitro_fail(VITRO_E_FORMAT, "%s: no \"data\" in the pickle", part->path);
    VitroStatus st = vitro_numpy_array(&a, data);
    if (st != VITRO_OK)
        return vitro_fail_prefix(st, "%s: \"data\"", part->path);
    *rows = a.rank == 2 ? (size_t)a.dim[0] : 0;
    part->stride = ROW;
    if (a.kind != 'u' || a.item_size != 1 || a.rank != 2 || a.dim[1] != ROW) {
        st = vitro_fail(VITRO_E_FORMAT,
                        "%s: \"data\" is an array of %c%d, rank %d, rows of %lld, expected u1, "
                        "rank 2, rows of %d",
                        part->path, a.kind, a.item_size, a.rank,
                        (long long)(a.rank ? a.dim[a.rank - 1] : 0), ROW);
    } else if (a.fortran && *rows > 1) {
        part->copy = vitro_malloc(*rows * ROW);
        if (part->copy)
            transpose(part->copy, a.data, *rows);
        else
            st = VITRO_NOMEM;
        part->rows = part->copy;
    } else {
        part->rows = a.data;
        part->copy = a.owned; /* NULL where the rows are a view of the map */
        a.owned = NULL;
    }
    vitro_numpy_array_free(&a);
    return st;
}

/* Labels are a list of ints; some rewritten files hold an array. */
static VitroStatus take_label_array(VitroDataset *ds, const Part *part, size_t rows,
                                    const VitroNumpyArray *a, const char *key)
{
    if ((a->kind != 'i' && a->kind != 'u') || a->item_size > 8 || a->rank != 1 ||
        (uint64_t)a->dim[0] != rows)
        return vitro_fail(VITRO_E_FORMAT,
                          "%s: \"%s\" is an array of %c%d with %lld entries, expected %zu integers",
                          part->path, key, a->kind, a->item_size, (long long)a->count, rows);
    for (size_t r = 0; r < rows; r++) {
        const uint8_t *p = a->data + r * (size_t)a->item_size;
        uint64_t value = 0;
        for (int i = 0; i < a->item_size; i++)
            value = value << 8 | p[a->big_endian ? i : a->item_size - 1 - i];
        int unused = 64 - 8 * a->item_size;
        int64_t label = a->kind == 'i' ? (int64_t)(value << unused) >> unused : (int64_t)value;
        VITRO_TRY(set_label(ds, part, r, label));
    }
    return VITRO_OK;
}

static VitroStatus take_labels(VitroDataset *ds, const Part *part, size_t rows,
                               const VitroPickleNode *labels, const char *key)
{
    if (!labels)
        return vitro_fail(VITRO_E_FORMAT, "%s: no \"%s\" in the pickle", part->path, key);
    VITRO_TRY(grow_labels(ds, part, rows));
    if (vitro_numpy_is_array(labels)) {
        VitroNumpyArray a;
        VitroStatus st = vitro_numpy_array(&a, labels);
        if (st != VITRO_OK)
            return vitro_fail_prefix(st, "%s: \"%s\"", part->path, key);
        st = take_label_array(ds, part, rows, &a, key);
        vitro_numpy_array_free(&a);
        return st;
    }
    if (!vitro_pickle_is(labels, VITRO_PICKLE_LIST) && !vitro_pickle_is(labels, VITRO_PICKLE_TUPLE))
        return vitro_fail(VITRO_E_FORMAT, "%s: \"%s\" is %s, expected a list", part->path, key,
                          vitro_pickle_kind_name(labels));
    if (labels->u.seq.count != rows)
        return vitro_fail(VITRO_E_FORMAT, "%s: %zu labels for %zu pictures", part->path,
                          labels->u.seq.count, rows);
    for (size_t r = 0; r < rows; r++) {
        int64_t label;
        if (!vitro_numpy_int(labels->u.seq.item[r], &label))
            return vitro_fail(VITRO_E_FORMAT, "%s: label of row %zu is %s, expected an integer",
                              part->path, r, vitro_pickle_kind_name(labels->u.seq.item[r]));
        VITRO_TRY(set_label(ds, part, r, label));
    }
    return VITRO_OK;
}

static VitroStatus open_python(VitroDataset *ds, Part *part)
{
    VitroPickle pickle = {0};
    VITRO_TRY(parse_dict(&pickle, &part->map, part->path));
    const char *key = ds->kind == VITRO_DATA_CIFAR100 ? "fine_labels" : "labels";
    size_t rows = 0;
    VitroStatus st = take_pixels(part, &rows, vitro_pickle_get(pickle.root, "data"));
    if (st == VITRO_OK)
        st = take_labels(ds, part, rows, vitro_pickle_get(pickle.root, key), key);
    if (st == VITRO_OK)
        ds->count += (int64_t)rows;
    vitro_pickle_free(&pickle);
    if (part->copy)
        vitro_map_close(&part->map); /* nothing views it any more */
    return st;
}

/* ---- class names ----------------------------------------------------------------------------- */

static VitroStatus take_names(VitroNameList *classes, const VitroPickleNode *list, const char *key,
                              const char *path)
{
    if (!vitro_pickle_is(list, VITRO_PICKLE_LIST))
        return vitro_fail(VITRO_E_FORMAT, "%s: \"%s\" is %s, expected a list", path, key,
                          vitro_pickle_kind_name(list));
    classes->names = vitro_calloc(list->u.seq.count, sizeof(*classes->names));
    if (!classes->names)
        return VITRO_NOMEM;
    for (size_t i = 0; i < list->u.seq.count; i++) {
        const uint8_t *data;
        size_t size;
        uint8_t *owned = NULL;
        const VitroPickleNode *name = list->u.seq.item[i];
        if (vitro_pickle_is(name, VITRO_PICKLE_STR)) {
            data = name->u.bytes.data;
            size = name->u.bytes.size;
        } else {
            VitroStatus st = vitro_pickle_bytes(name, &data, &size, &owned);
            if (st != VITRO_OK)
                return vitro_fail_prefix(st, "%s: \"%s\"", path, key);
        }
        bool good = !memchr(data, 0, size);
        char *copy = good ? vitro_strndup((const char *)data, size) : NULL;
        vitro_free(owned);
        if (!good)
            return vitro_fail(VITRO_E_FORMAT, "%s: class name %zu has a NUL in it", path, i);
        if (!copy)
            return VITRO_NOMEM;
        classes->names[classes->count++] = copy;
    }
    return VITRO_OK;
}

static VitroStatus read_meta(VitroNameList *classes, const char *path, const char *key)
{
    VitroMap map;
    VITRO_TRY(vitro_map_open(&map, path));
    VitroPickle pickle = {0};
    VitroStatus st = parse_dict(&pickle, &map, path);
    if (st == VITRO_OK)
        st = take_names(classes, vitro_pickle_get(pickle.root, key), key, path);
    vitro_pickle_free(&pickle);
    vitro_map_close(&map);
    return st;
}

/* From the data set's own list where it has one, else the official names. */
static VitroStatus open_classes(VitroDataset *ds, const VitroDataPlace *place)
{
    bool python = place->form == VITRO_FORM_PYTHON, fine = place->kind == VITRO_DATA_CIFAR100;
    int64_t expected;
    const char *const *official = vitro_class_names(place->kind, &expected);
    char *path = vitro_path_join(place->dir, fine     ? python ? "meta" : "fine_label_names.txt"
                                             : python ? "batches.meta"
                                                      : "batches.meta.txt");
    if (!path)
        return VITRO_NOMEM;
    VitroStatus st;
    if (!vitro_fs_is_file(path))
        st = vitro_names_copy(&ds->classes, official, expected);
    else if (python)
        st = read_meta(&ds->classes, path, fine ? "fine_label_names" : "label_names");
    else
        st = vitro_names_read(&ds->classes, path);
    if (st == VITRO_OK && (int64_t)ds->classes.count != expected)
        st = vitro_fail(VITRO_E_FORMAT, "%s: names %zu classes, expected %lld", path,
                        ds->classes.count, (long long)expected);
    vitro_free(path);
    return st;
}

/* ---- opening --------------------------------------------------------------------------------- */

static VitroStatus open_part(VitroDataset *ds, const VitroDataPlace *place, const char *name)
{
    Cifar *cifar = ds->self;
    Part *part = &cifar->parts[cifar->part_count++];
    part->first = ds->count;
    part->path = vitro_path_join(place->dir, name);
    if (!part->path)
        return VITRO_NOMEM;
    VITRO_TRY(vitro_map_open(&part->map, part->path));
    return place->form == VITRO_FORM_PYTHON ? open_python(ds, part) : open_binary(ds, part);
}

VitroStatus vitro_cifar_open(VitroDataset *ds, const VitroDataPlace *place, VitroSplit split)
{
    static const char *const train10[2][MAX_FILES] = {
        {"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"},
        {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
         "data_batch_5.bin"}};
    static const char *const test10[2] = {"test_batch", "test_batch.bin"};
    static const char *const files100[2][2] = {{"train", "test"}, {"train.bin", "test.bin"}};
    int form = place->form == VITRO_FORM_PYTHON ? 0 : 1;
    bool train10_wanted = place->kind == VITRO_DATA_CIFAR10 && split == VITRO_SPLIT_TRAIN;
    const char *const *files = place->kind == VITRO_DATA_CIFAR100 ? &files100[form][split]
                               : train10_wanted                   ? train10[form]
                                                                  : &test10[form];
    VITRO_TRY(open_classes(ds, place));
    if (ds->channels == 0)
        ds->channels = 3;
    ds->width = ds->height = SIDE;
    ds->self = vitro_calloc(1, sizeof(Cifar));
    if (!ds->self)
        return VITRO_NOMEM;
    ds->ops = &cifar_ops;
    if (split == VITRO_SPLIT_VAL) {
        char *path = vitro_path_join(place->dir, files[0]);
        bool absent = path && !vitro_fs_is_file(path);
        vitro_free(path);
        if (!path || absent)
            return path ? VITRO_OK : VITRO_NOMEM; /* no picture in this split */
    }
    for (int i = 0; i < (train10_wanted ? MAX_FILES : 1); i++)
        VITRO_TRY(open_part(ds, place, files[i]));
    return VITRO_OK;
}
