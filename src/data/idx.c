/* SPDX-License-Identifier: Apache-2.0 */
/* MNIST's IDX files (Fashion-MNIST's too), plain or gzipped: two zero bytes, type 8 (uint8), the
 * number of dimensions, each dimension as a big-endian uint32, then the bytes. The claimed sizes
 * are held against the file before memory is taken, and nothing may follow the last byte. */
#include "data/dataset.h"

#include "base/alloc.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { CLASSES = 10, MAX_SIDE = 65535 };

/* One IDX file in memory. */
typedef struct IdxFile {
    uint32_t dim[3];
    const uint8_t *data; /* prod(dim) bytes, in `map` or in `bytes` */
    VitroMap map;        /* a plain file; size 0 where unused */
    uint8_t *bytes;      /* an unzipped file; owned */
} IdxFile;

typedef struct Idx {
    IdxFile images; /* [count,height,width] */
    char *path;     /* of the images */
} Idx;

/* ---- file names ------------------------------------------------------------------------------ */

/* The file `what` ("images-idx3") of a split, in any of its spellings; NULL if there is none. */
static VitroStatus find_file(char **path, const char *dir, VitroSplit split, const char *what,
                             int ndim)
{
    const char *prefix = split == VITRO_SPLIT_TRAIN ? "train" : "t10k";
    static const char *const spelling[][2] = {{"-", ""}, {".", ""}, {"-", ".gz"}, {".", ".gz"}};
    *path = NULL;
    for (size_t i = 0; i < sizeof(spelling) / sizeof(spelling[0]); i++) {
        char *p = vitro_asprintf("%s/%s-%s%sidx%d-ubyte%s", dir, prefix, what, spelling[i][0], ndim,
                                 spelling[i][1]);
        if (!p)
            return VITRO_NOMEM;
        if (vitro_fs_is_file(p)) {
            *path = p;
            return VITRO_OK;
        }
        vitro_free(p);
    }
    return VITRO_OK;
}

VitroStatus vitro_idx_find_images(char **path, const char *dir, VitroSplit split)
{
    return find_file(path, dir, split, "images", 3);
}

/* ---- one file -------------------------------------------------------------------------------- */

static uint32_t read_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static size_t header_size(int ndim)
{
    return 4 + 4 * (size_t)ndim;
}

/* Reads the header and gives the number of bytes that it promises. */
static VitroStatus parse_header(IdxFile *f, uint64_t *size, const uint8_t *head, int ndim,
                                const char *path)
{
    if (head[0] != 0 || head[1] != 0 || head[2] != 8 || head[3] != ndim)
        return vitro_fail(VITRO_E_FORMAT,
                          "%s: starts with %02x%02x%02x%02x, an IDX file of uint8 with %d "
                          "dimension%s starts with 000008%02x",
                          path, head[0], head[1], head[2], head[3], ndim, ndim == 1 ? "" : "s",
                          ndim);
    for (int d = 0; d < ndim; d++)
        f->dim[d] = read_be32(head + 4 + 4 * d);
    if (f->dim[0] > VITRO_MAX_PICTURES)
        return vitro_fail(VITRO_E_FORMAT, "%s: claims %u entries, at most %d are supported", path,
                          f->dim[0], VITRO_MAX_PICTURES);
    *size = f->dim[0];
    if (ndim == 3) {
        if (f->dim[1] < 1 || f->dim[1] > MAX_SIDE || f->dim[2] < 1 || f->dim[2] > MAX_SIDE)
            return vitro_fail(VITRO_E_FORMAT, "%s: claims pictures of %ux%u, expected 1..%d", path,
                              f->dim[2], f->dim[1], MAX_SIDE);
        *size *= (uint64_t)f->dim[1] * f->dim[2]; /* < 2^31 * 2^32 */
    }
    return VITRO_OK;
}

static VitroStatus fail_zlib(const z_stream *z, int code, const char *path)
{
    if (code == Z_MEM_ERROR)
        return vitro_fail(VITRO_E_NOMEM, "%s: zlib has no memory", path);
    if (code == Z_BUF_ERROR || code == Z_OK)
        return vitro_fail(VITRO_E_FORMAT, "%s: the gzip data is cut short", path);
    return vitro_fail(VITRO_E_FORMAT, "%s: damaged gzip data: %s", path,
                      z->msg ? z->msg : "no reason given");
}

/* The whole compressed file is mapped; zlib counts input with 32 bits, so it is fed in pieces. */
typedef struct Unzip {
    z_stream z;
    const uint8_t *in;
    size_t left; /* input not yet given to zlib */
    bool ended;  /* the last member's checksum was right and nothing follows */
    const char *path;
} Unzip;

/* Unzips exactly `size` bytes, or up to the end where that comes first: *got says how many. */
static VitroStatus unzip(Unzip *u, uint8_t *out, size_t size, size_t *got)
{
    *got = 0;
    while (!u->ended && *got < size) {
        uInt piece_in = u->left > 1u << 30 ? 1u << 30 : (uInt)u->left;
        uInt piece_out = size - *got > 1u << 30 ? 1u << 30 : (uInt)(size - *got);
        u->z.next_in = (Bytef *)u->in; /* zlib's old prototype; it does not write there */
        u->z.avail_in = piece_in;
        u->z.next_out = out + *got;
        u->z.avail_out = piece_out;
        int code = inflate(&u->z, Z_NO_FLUSH);
        size_t used = piece_in - u->z.avail_in;
        u->in += used;
        u->left -= used;
        *got += piece_out - u->z.avail_out;
        if (code == Z_STREAM_END) {
            /* A gzip file may consist of several members, each with its own checksum. */
            u->ended = u->left == 0;
            if (!u->ended && u->in[0] != 0x1f)
                return vitro_fail(VITRO_E_FORMAT, "%s: %zu bytes follow the gzip data", u->path,
                                  u->left);
            if (!u->ended && inflateReset(&u->z) != Z_OK)
                return vitro_fail(VITRO_E_INTERNAL, "%s: zlib cannot be reset", u->path);
        } else if (code != Z_OK) {
            return fail_zlib(&u->z, code, u->path);
        }
    }
    return VITRO_OK;
}

/* Deflate packs at most 258 bytes into two bits; pictures never come near. */
#define MAX_DEFLATE_RATIO 1032
#define MAX_INFLATION     64 /* times the file, beyond the first FREE_BYTES */
#define FREE_BYTES        ((uint64_t)64 << 20)

static VitroStatus unzip_file(IdxFile *f, Unzip *u, const VitroMap *map, int ndim)
{
    uint8_t head[16], surplus;
    uint64_t size;
    size_t got;
    VITRO_TRY(unzip(u, head, header_size(ndim), &got));
    if (got < header_size(ndim))
        return vitro_fail(VITRO_E_FORMAT, "%s: %zu bytes, an IDX header has %zu", u->path, got,
                          header_size(ndim));
    VITRO_TRY(parse_header(f, &size, head, ndim, u->path));
    if (size / MAX_DEFLATE_RATIO > map->size)
        return vitro_fail(VITRO_E_FORMAT,
                          "%s: claims %llu bytes, more than %zu gzipped bytes can hold", u->path,
                          (unsigned long long)size, map->size);
    if (size > FREE_BYTES && (size - FREE_BYTES) / MAX_INFLATION > map->size)
        return vitro_fail(VITRO_E_FORMAT,
                          "%s: claims %llu bytes in %zu gzipped ones: a decompression bomb",
                          u->path, (unsigned long long)size, map->size);
    f->bytes = vitro_malloc((size_t)size);
    if (!f->bytes)
        return VITRO_NOMEM;
    VITRO_TRY(unzip(u, f->bytes, (size_t)size, &got));
    if (got < size)
        return vitro_fail(VITRO_E_FORMAT, "%s: holds %zu bytes of data, its header claims %llu",
                          u->path, got, (unsigned long long)size);
    VITRO_TRY(unzip(u, &surplus, 1, &got)); /* also checks the checksum at the end */
    if (got)
        return vitro_fail(VITRO_E_FORMAT, "%s: data follows the %llu bytes that its header claims",
                          u->path, (unsigned long long)size);
    f->data = f->bytes;
    return VITRO_OK;
}

static VitroStatus open_gzip(IdxFile *f, const char *path, int ndim)
{
    VitroMap map;
    VITRO_TRY(vitro_map_open(&map, path));
    Unzip u = {.in = map.data, .left = map.size, .path = path};
    VitroStatus st;
    if (inflateInit2(&u.z, 16 + MAX_WBITS) != Z_OK) { /* 16: a gzip header and checksum */
        st = vitro_fail(VITRO_E_NOMEM, "%s: zlib cannot start", path);
    } else {
        st = unzip_file(f, &u, &map, ndim);
        inflateEnd(&u.z);
    }
    vitro_map_close(&map);
    return st;
}

static VitroStatus open_plain(IdxFile *f, const char *path, int ndim)
{
    VITRO_TRY(vitro_map_open(&f->map, path));
    uint64_t size;
    size_t head = header_size(ndim);
    if (f->map.size < head)
        return vitro_fail(VITRO_E_FORMAT, "%s: %zu bytes, an IDX header has %zu", path, f->map.size,
                          head);
    VITRO_TRY(parse_header(f, &size, f->map.data, ndim, path));
    if (f->map.size - head != size)
        return vitro_fail(VITRO_E_FORMAT, "%s: holds %zu bytes of data, its header claims %llu",
                          path, f->map.size - head, (unsigned long long)size);
    f->data = f->map.data + head;
    return VITRO_OK;
}

static VitroStatus idx_file_open(IdxFile *f, const char *path, int ndim)
{
    return vitro_path_has_ext(path, ".gz") ? open_gzip(f, path, ndim) : open_plain(f, path, ndim);
}

static void idx_file_close(IdxFile *f)
{
    vitro_map_close(&f->map);
    vitro_free(f->bytes);
}

/* ---- the data set ---------------------------------------------------------------------------- */

static void idx_fill(const VitroDataset *ds, int64_t i, uint8_t *pixels)
{
    const Idx *idx = ds->self;
    size_t n = (size_t)ds->width * (size_t)ds->height;
    const uint8_t *in = idx->images.data + (size_t)i * n;
    if (ds->channels == 1) {
        memcpy(pixels, in, n);
        return;
    }
    for (size_t p = 0; p < n; p++)
        pixels[3 * p] = pixels[3 * p + 1] = pixels[3 * p + 2] = in[p];
}

static void idx_name(const VitroDataset *ds, int64_t i, char *out, size_t out_size)
{
    const Idx *idx = ds->self;
    snprintf(out, out_size, "%s[%lld]", idx->path, (long long)i);
}

static void idx_close(void *self)
{
    Idx *idx = self;
    idx_file_close(&idx->images);
    vitro_free(idx->path);
    vitro_free(idx);
}

static const VitroDatasetOps idx_ops = {.fill = idx_fill, .name = idx_name, .close = idx_close};

static VitroStatus read_labels(VitroDataset *ds, const IdxFile *labels, const char *path)
{
    if (labels->dim[0] != (uint64_t)ds->count)
        return vitro_fail(VITRO_E_FORMAT, "%s: %u labels for %lld images", path, labels->dim[0],
                          (long long)ds->count);
    ds->labels = vitro_calloc((size_t)ds->count, sizeof(*ds->labels));
    if (!ds->labels)
        return VITRO_NOMEM;
    for (int64_t i = 0; i < ds->count; i++) {
        if (labels->data[i] >= CLASSES)
            return vitro_fail(VITRO_E_FORMAT, "%s: label %d of row %lld, expected 0..%d", path,
                              labels->data[i], (long long)i, CLASSES - 1);
        ds->labels[i] = labels->data[i];
    }
    return VITRO_OK;
}

static VitroStatus open_labels(VitroDataset *ds, const char *dir, VitroSplit split)
{
    char *path;
    VITRO_TRY(find_file(&path, dir, split, "labels", 1));
    if (!path)
        return vitro_fail(VITRO_E_IO, "%s: the images are there, %s-labels-idx1-ubyte[.gz] is not",
                          dir, split == VITRO_SPLIT_TRAIN ? "train" : "t10k");
    IdxFile labels = {0};
    VitroStatus st = idx_file_open(&labels, path, 1);
    if (st == VITRO_OK)
        st = read_labels(ds, &labels, path);
    idx_file_close(&labels);
    vitro_free(path);
    return st;
}

VitroStatus vitro_idx_open(VitroDataset *ds, const VitroDataPlace *place, VitroSplit split)
{
    int64_t class_count;
    const char *const *names = vitro_class_names(place->kind, &class_count);
    VITRO_TRY(vitro_names_copy(&ds->classes, names, class_count));
    if (ds->channels == 0)
        ds->channels = 1;
    Idx *idx = vitro_calloc(1, sizeof(*idx));
    if (!idx)
        return VITRO_NOMEM;
    ds->self = idx;
    ds->ops = &idx_ops;
    VITRO_TRY(vitro_idx_find_images(&idx->path, place->dir, split));
    if (!idx->path && split == VITRO_SPLIT_TRAIN)
        return vitro_fail(VITRO_E_IO,
                          "%s: the test images are there, train-images-idx3-ubyte[.gz] "
                          "is not",
                          place->dir);
    if (!idx->path)
        return VITRO_OK; /* no picture in this split */
    VITRO_TRY(idx_file_open(&idx->images, idx->path, 3));
    ds->count = idx->images.dim[0];
    ds->height = (int)idx->images.dim[1];
    ds->width = (int)idx->images.dim[2];
    return open_labels(ds, place->dir, split);
}
