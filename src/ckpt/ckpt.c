/* SPDX-License-Identifier: Apache-2.0 */
/* The public face of weight files: the table of formats, names, and reading of elements. It must
 * not know how any format stores things. */
#include "base/alloc.h"
#include "ckpt/format.h"
#include "tensor/dtype.h"

#include <stdlib.h>
#include <string.h>

#define MAX_TENSORS ((int64_t)1 << 20)

static const VitroCkptFormat *const formats[] = {
    [VITRO_FORMAT_PTH] = &vitro_ckpt_torch,
    [VITRO_FORMAT_SAFETENSORS] = &vitro_ckpt_safetensors,
    [VITRO_FORMAT_NPZ] = &vitro_ckpt_npz,
};

enum { FORMAT_COUNT = sizeof(formats) / sizeof(formats[0]) };

/* ---- adding tensors -------------------------------------------------------------------------- */

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF; and here no NUL. */
bool vitro_ckpt_is_utf8(const char *text, size_t size)
{
    const uint8_t *p = (const uint8_t *)text, *end = p + size;
    while (p < end) {
        uint32_t c = *p++;
        int more = c < 0x80 ? 0 : c < 0xc2 ? -1 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : c < 0xf5 ? 3 : -1;
        static const uint32_t least[] = {1, 0x80, 0x800, 0x10000};
        if (more < 0 || end - p < more)
            return false;
        c &= more ? 0x3fu >> more : 0x7f;
        for (int i = 0; i < more; i++, p++) {
            if ((*p & 0xc0) != 0x80)
                return false;
            c = c << 6 | (*p & 0x3f);
        }
        if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
            return false;
    }
    return true;
}

/* Zeros do not excuse an overflow of the rest: strides are products of dimensions too. */
VitroStatus vitro_ckpt_count(int64_t *count, const char *name, VitroDtype dtype, int rank,
                             const int64_t *dim)
{
    int64_t product = 1, bytes;
    bool is_empty = false;
    for (int i = 0; i < rank; i++) {
        if (dim[i] < 0)
            return vitro_fail(VITRO_E_FORMAT, "tensor \"%s\": dimension %d is %lld", name, i,
                              (long long)dim[i]);
        is_empty |= dim[i] == 0;
        if (dim[i] && __builtin_mul_overflow(product, dim[i], &product))
            return vitro_fail(VITRO_E_FORMAT, "tensor \"%s\": its dimensions overflow", name);
    }
    if (__builtin_mul_overflow(product, (int64_t)vitro_dtype_size(dtype), &bytes))
        return vitro_fail(VITRO_E_FORMAT, "tensor \"%s\": its dimensions overflow", name);
    *count = is_empty ? 0 : product;
    return VITRO_OK;
}

bool vitro_ckpt_is_contiguous(const VitroCkptTensor *t)
{
    int64_t step = 1;
    for (int i = t->info.rank; i-- > 0;) {
        if (t->info.dim[i] != 1 && t->stride[i] != step)
            return t->info.count == 0;
        step *= t->info.dim[i];
    }
    return true;
}

VitroStatus vitro_ckpt_add(VitroCheckpoint *ckpt, const VitroCkptTensor *t, const char *name,
                           size_t name_size)
{
    if (ckpt->count == MAX_TENSORS)
        return vitro_fail(VITRO_E_UNSUPPORTED, "more than %lld tensors", (long long)MAX_TENSORS);
    /* A pickle can use one long string for many names; names that differ must all be there. */
    ckpt->names_size += name_size;
    if (ckpt->names_size > ckpt->map.size)
        return vitro_fail(VITRO_E_FORMAT, "its tensors' names repeat");
    if (!vitro_ckpt_is_utf8(name, name_size))
        return vitro_fail(VITRO_E_FORMAT, "the name of tensor %lld is not UTF-8 text",
                          (long long)ckpt->count);
    if (ckpt->count == ckpt->capacity) {
        int64_t capacity = ckpt->capacity ? ckpt->capacity * 2 : 256;
        void *p = vitro_realloc(ckpt->tensor, (size_t)capacity, sizeof(*ckpt->tensor));
        if (!p)
            return VITRO_NOMEM;
        ckpt->tensor = p;
        ckpt->capacity = capacity;
    }
    VitroCkptTensor *to = &ckpt->tensor[ckpt->count];
    *to = *t;
    to->name = vitro_strndup(name, name_size);
    if (!to->name)
        return VITRO_NOMEM;
    to->info.name = to->name;
    ckpt->count++;
    VITRO_TRY(
        vitro_ckpt_count(&to->info.count, to->name, t->info.dtype, t->info.rank, t->info.dim));
    to->contiguous = vitro_ckpt_is_contiguous(to);
    return VITRO_OK;
}

/* ---- names ----------------------------------------------------------------------------------- */

/* What DataParallel, torch.compile and Lightning put in front of every name. */
static void strip_prefixes(VitroCheckpoint *ckpt)
{
    static const char *const prefixes[] = {"module.", "_orig_mod.", "model."};
    enum { PREFIX_COUNT = sizeof(prefixes) / sizeof(prefixes[0]) };
    for (size_t p = 0; ckpt->count && p < PREFIX_COUNT;) {
        size_t n = strlen(prefixes[p]);
        bool all = true;
        for (int64_t i = 0; all && i < ckpt->count; i++) {
            const char *name = ckpt->tensor[i].info.name;
            all = strncmp(name, prefixes[p], n) == 0 && name[n];
        }
        for (int64_t i = 0; all && i < ckpt->count; i++)
            ckpt->tensor[i].info.name += n;
        p = all ? 0 : p + 1;
    }
}

static int compare_names(const void *a, const void *b, void *tensors)
{
    const VitroCkptTensor *t = tensors; /* not changed: qsort_r has no const */
    return strcmp(t[*(const int64_t *)a].info.name, t[*(const int64_t *)b].info.name);
}

VitroStatus vitro_ckpt_index_names(int64_t **out, const VitroCkptTensor *tensor, int64_t count)
{
    int64_t *order = vitro_calloc((size_t)count, sizeof(*order));
    if (!order)
        return VITRO_NOMEM;
    for (int64_t i = 0; i < count; i++)
        order[i] = i;
    if (count)
        qsort_r(order, (size_t)count, sizeof(*order), compare_names, (void *)tensor);
    for (int64_t i = 1; i < count; i++) {
        if (compare_names(&order[i - 1], &order[i], (void *)tensor) == 0) {
            VitroStatus st = vitro_fail(VITRO_E_FORMAT, "two tensors are named \"%s\"",
                                        tensor[order[i]].info.name);
            vitro_free(order);
            return st;
        }
    }
    *out = order;
    return VITRO_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

static VitroStatus read_structure(VitroCheckpoint *ckpt)
{
    /* .pth comes last: every zip archive that is no .npz is taken for one, and told what it lacks.
     */
    for (size_t i = FORMAT_COUNT; i-- > 0 && !ckpt->format;)
        if (formats[i]->sniff(ckpt->map.data, ckpt->map.size))
            ckpt->format = formats[i];
    if (!ckpt->format)
        return vitro_fail(VITRO_E_FORMAT,
                          ckpt->map.size ? "is no .pth, .safetensors or .npz file" : "is empty");
    VITRO_TRY(ckpt->format->open(ckpt));
    strip_prefixes(ckpt);
    return vitro_ckpt_index_names(&ckpt->by_name, ckpt->tensor, ckpt->count);
}

#define INDEX ".safetensors.index.json"

/* What Hugging Face and timm call the weights in a model's folder. */
static VitroStatus find_weights(char **out, const char *dir)
{
    static const char *const names[] = {"model.safetensors", "pytorch_model.bin", "model" INDEX};
    enum { NAMES = sizeof(names) / sizeof(names[0]) };
    for (int i = 0; i < NAMES; i++) {
        char *path = vitro_path_join(dir, names[i]);
        if (!path)
            return VITRO_NOMEM;
        if (vitro_fs_is_file(path)) {
            *out = path;
            return VITRO_OK;
        }
        vitro_free(path);
    }
    return vitro_fail(VITRO_E_IO, "%s: is a folder without %s, %s or %s", dir, names[0], names[1],
                      names[2]);
}

static VitroStatus open_file(VitroCheckpoint *ckpt)
{
    VITRO_TRY(vitro_map_open(&ckpt->map, ckpt->path)); /* its texts start with the path */
    VitroStatus st = read_structure(ckpt);
    return st == VITRO_OK ? st : vitro_fail_prefix(st, "%s", ckpt->path);
}

static VitroStatus open_index(VitroCheckpoint *ckpt)
{
    VITRO_TRY(vitro_ckpt_open_shards(ckpt));
    strip_prefixes(ckpt);
    VitroStatus st = vitro_ckpt_index_names(&ckpt->by_name, ckpt->tensor, ckpt->count);
    return st == VITRO_OK ? st : vitro_fail_prefix(st, "%s", ckpt->path);
}

VitroStatus vitro_checkpoint_open(VitroCheckpoint **out, const char *path)
{
    VitroCheckpoint *ckpt = vitro_calloc(1, sizeof(*ckpt));
    if (!ckpt)
        return VITRO_NOMEM;
    VitroStatus st = VITRO_OK;
    if (vitro_fs_is_dir(path))
        st = find_weights(&ckpt->path, path);
    else if (!(ckpt->path = vitro_strdup(path)))
        st = VITRO_NOMEM;
    if (st == VITRO_OK)
        st = vitro_path_has_ext(ckpt->path, INDEX) ? open_index(ckpt) : open_file(ckpt);
    if (st == VITRO_OK)
        *out = ckpt;
    else
        vitro_checkpoint_close(ckpt);
    return st;
}

void vitro_ckpt_free_tensors(VitroCkptTensor *tensor, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        vitro_free(tensor[i].name);
        vitro_free(tensor[i].part);
        vitro_free(tensor[i].memory);
    }
    vitro_free(tensor);
}

void vitro_checkpoint_close(VitroCheckpoint *ckpt)
{
    if (!ckpt)
        return;
    if (ckpt->format && ckpt->format->close)
        ckpt->format->close(ckpt);
    vitro_ckpt_free_tensors(ckpt->tensor, ckpt->count);
    vitro_free(ckpt->by_name);
    vitro_free(ckpt->metadata);
    vitro_free(ckpt->training);
    for (int i = 0; i < ckpt->shard_count; i++)
        vitro_checkpoint_close(ckpt->shard[i]);
    vitro_free(ckpt->shard);
    vitro_free(ckpt->remark);
    vitro_zip_close(&ckpt->zip);
    vitro_map_close(&ckpt->map);
    vitro_free(ckpt->path);
    vitro_free(ckpt);
}

/* ---- asking ---------------------------------------------------------------------------------- */

const char *vitro_checkpoint_path(const VitroCheckpoint *ckpt)
{
    return ckpt->path;
}

const char *vitro_checkpoint_format(const VitroCheckpoint *ckpt)
{
    return ckpt->format->name;
}

const char *vitro_checkpoint_remark(const VitroCheckpoint *ckpt)
{
    return ckpt->remark;
}

const char *vitro_checkpoint_naming(const VitroCheckpoint *ckpt)
{
    return ckpt->naming ? ckpt->naming : "unknown";
}

int64_t vitro_checkpoint_count(const VitroCheckpoint *ckpt)
{
    return ckpt->count;
}

const VitroTensorInfo *vitro_checkpoint_info(const VitroCheckpoint *ckpt, int64_t i)
{
    return &ckpt->tensor[i].info;
}

int64_t vitro_ckpt_find_joined(const VitroCheckpoint *ckpt, const char *name, const char *end)
{
    int64_t lo = 0, hi = ckpt->count;
    const size_t n = strlen(name);
    while (lo < hi) {
        int64_t mid = lo + (hi - lo) / 2, i = ckpt->by_name[mid];
        int c = strncmp(ckpt->tensor[i].info.name, name, n);
        if (c == 0)
            c = strcmp(ckpt->tensor[i].info.name + n, end);
        if (c == 0)
            return i;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return -1;
}

int64_t vitro_checkpoint_find(const VitroCheckpoint *ckpt, const char *name)
{
    return vitro_ckpt_find_joined(ckpt, name, "");
}

const char *vitro_checkpoint_metadata(const VitroCheckpoint *ckpt)
{
    return ckpt->metadata;
}

const char *vitro_checkpoint_metadata_key(const VitroCheckpoint *ckpt, const char *key)
{
    return ckpt->format->metadata_key ? ckpt->format->metadata_key(ckpt, key) : NULL;
}

/* ---- reading elements ------------------------------------------------------------------------ */

static VitroStatus verify(const VitroCheckpoint *ckpt, const VitroCkptTensor *t)
{
    if (t->record < 0)
        return VITRO_OK;
    VitroStatus st = vitro_zip_verify(&ckpt->zip, t->record);
    return st == VITRO_OK ? st
                          : vitro_fail_prefix(st, "%s: tensor \"%s\"", ckpt->path, t->info.name);
}

/* A walk over a strided tensor, last dimension fastest. */
typedef struct Walk {
    const VitroCkptTensor *t;
    int64_t index[VITRO_CKPT_MAX_RANK];
    const uint8_t *at; /* the element at `index` */
} Walk;

/* Copies the next n elements to `out`. */
static void gather(Walk *w, uint8_t *out, int64_t n)
{
    const VitroCkptTensor *t = w->t;
    const size_t item = vitro_dtype_size(t->info.dtype);
    for (; n > 0; n--, out += item) {
        memcpy(out, w->at, item);
        for (int d = t->info.rank; d-- > 0;) {
            w->at += t->stride[d] * (int64_t)item;
            if (++w->index[d] < t->info.dim[d])
                break;
            w->at -= t->stride[d] * t->info.dim[d] * (int64_t)item;
            w->index[d] = 0;
        }
    }
}

static VitroStatus read_raw(const VitroCheckpoint *ckpt, const VitroCkptTensor *t, uint8_t *out)
{
    VITRO_TRY(verify(ckpt, t));
    if (t->info.count == 0)
        return VITRO_OK;
    if (t->contiguous) {
        memcpy(out, t->data, (size_t)t->info.count * vitro_dtype_size(t->info.dtype));
    } else {
        Walk w = {.t = t, .at = t->data};
        gather(&w, out, t->info.count);
    }
    return VITRO_OK;
}

static VitroStatus read_f32(const VitroCheckpoint *ckpt, const VitroCkptTensor *t, float *out)
{
    VITRO_TRY(verify(ckpt, t));
    if (t->info.count == 0)
        return VITRO_OK;
    if (t->contiguous) {
        vitro_f32_from(out, t->data, t->info.dtype, t->info.count);
        return VITRO_OK;
    }
    Walk w = {.t = t, .at = t->data};
    uint64_t some[512];
    const int64_t step = (int64_t)(sizeof(some) / vitro_dtype_size(t->info.dtype));
    for (int64_t done = 0; done < t->info.count; done += step) {
        int64_t n = t->info.count - done < step ? t->info.count - done : step;
        gather(&w, (uint8_t *)some, n);
        vitro_f32_from(out + done, some, t->info.dtype, n);
    }
    return VITRO_OK;
}

VitroStatus vitro_checkpoint_read_raw(const VitroCheckpoint *ckpt, int64_t i, void *out)
{
    const VitroCkptTensor *t = &ckpt->tensor[i];
    uint8_t *at = out;
    if (!t->part_count)
        return read_raw(ckpt, t, out);
    for (int64_t p = 0; p < t->part_count; p++) {
        VITRO_TRY(read_raw(ckpt, &t->part[p], at));
        at += (size_t)t->part[p].info.count * vitro_dtype_size(t->info.dtype);
    }
    return VITRO_OK;
}

VitroStatus vitro_checkpoint_read_f32(const VitroCheckpoint *ckpt, int64_t i, float *out)
{
    const VitroCkptTensor *t = &ckpt->tensor[i];
    if (t->info.dtype == VITRO_I8)
        return vitro_ckpt_read_scaled(ckpt, i, out);
    if (!vitro_dtype_is_float(t->info.dtype))
        return vitro_fail(VITRO_E_UNSUPPORTED, "%s: tensor \"%s\" is %s, not a float", ckpt->path,
                          t->info.name, vitro_dtype_name(t->info.dtype));
    if (!t->part_count)
        return read_f32(ckpt, t, out);
    for (int64_t p = 0; p < t->part_count; p++) {
        VITRO_TRY(read_f32(ckpt, &t->part[p], out));
        out += t->part[p].info.count;
    }
    return VITRO_OK;
}

const void *vitro_checkpoint_data(const VitroCheckpoint *ckpt, int64_t i)
{
    const VitroCkptTensor *t = &ckpt->tensor[i];
    if (!t->data || !t->contiguous || (uintptr_t)t->data % vitro_dtype_size(t->info.dtype) != 0)
        return NULL;
    return verify(ckpt, t) == VITRO_OK ? t->data : NULL;
}

/* ---- memory --------------------------------------------------------------------------------- */

/* From the first element to the last. */
static void forget(const VitroCheckpoint *ckpt, const VitroCkptTensor *t)
{
    size_t last = 0;
    if (t->info.count == 0)
        return;
    for (int d = 0; d < t->info.rank; d++)
        last += (size_t)((t->info.dim[d] - 1) * t->stride[d]);
    last = (last + 1) * vitro_dtype_size(t->info.dtype);
    vitro_map_forget(&ckpt->map, t->data, last);
    for (int i = 0; i < ckpt->shard_count; i++)
        vitro_map_forget(&ckpt->shard[i]->map, t->data, last); /* nothing but in the right one */
}

void vitro_ckpt_forget(const VitroCheckpoint *ckpt, int64_t i)
{
    const VitroCkptTensor *t = &ckpt->tensor[i];
    if (!t->part_count)
        forget(ckpt, t);
    for (int64_t p = 0; p < t->part_count; p++)
        forget(ckpt, &t->part[p]);
}

/* ---- writing --------------------------------------------------------------------------------- */

static int compare_source_names(const void *a, const void *b)
{
    return strcmp((*(const VitroTensorSource *const *)a)->name,
                  (*(const VitroTensorSource *const *)b)->name);
}

static VitroStatus check_source(const VitroTensorSource *t)
{
    int64_t count;
    if (!t->name || !vitro_ckpt_is_utf8(t->name, strlen(t->name)))
        return vitro_fail(VITRO_E_ARG, "a tensor's name is not UTF-8 text");
    if (!vitro_dtype_size(t->dtype))
        return vitro_fail(VITRO_E_ARG, "tensor \"%s\": %d is no dtype", t->name, (int)t->dtype);
    if (t->rank < 0 || t->rank > VITRO_CKPT_MAX_RANK)
        return vitro_fail(VITRO_E_ARG, "tensor \"%s\" has %d dimensions, 0 to %d are possible",
                          t->name, t->rank, VITRO_CKPT_MAX_RANK);
    if (vitro_ckpt_count(&count, t->name, t->dtype, t->rank, t->dim) != VITRO_OK)
        return VITRO_E_ARG; /* the text is there; the fault is the caller's, not a file's */
    if (count && !t->data)
        return vitro_fail(VITRO_E_ARG, "tensor \"%s\" has no data", t->name);
    return VITRO_OK;
}

VitroStatus vitro_ckpt_check_sources(const VitroTensorSource *tensors, int64_t count,
                                     const char *metadata)
{
    if (count < 0 || count > MAX_TENSORS)
        return vitro_fail(VITRO_E_ARG, "%lld tensors, 0 to %lld are possible", (long long)count,
                          (long long)MAX_TENSORS);
    if (metadata && !vitro_ckpt_is_utf8(metadata, strlen(metadata)))
        return vitro_fail(VITRO_E_ARG, "the metadata are not UTF-8 text");
    const VitroTensorSource **sorted = vitro_calloc((size_t)count, sizeof(*sorted));
    if (!sorted)
        return VITRO_NOMEM;
    VitroStatus st = VITRO_OK;
    for (int64_t i = 0; st == VITRO_OK && i < count; i++) {
        sorted[i] = &tensors[i];
        st = check_source(&tensors[i]);
    }
    if (st == VITRO_OK && count)
        qsort(sorted, (size_t)count, sizeof(*sorted), compare_source_names);
    for (int64_t i = 1; st == VITRO_OK && i < count; i++)
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            st = vitro_fail(VITRO_E_ARG, "two tensors are named \"%s\"", sorted[i]->name);
    vitro_free(sorted);
    return st;
}

VitroStatus vitro_checkpoint_write(const char *path, VitroCheckpointFormat format,
                                   const VitroTensorSource *tensors, int64_t count,
                                   const char *metadata)
{
    if ((size_t)format >= FORMAT_COUNT)
        return vitro_fail(VITRO_E_ARG, "%s: %d is no format of weight files", path, (int)format);
    VitroStatus st = vitro_ckpt_check_sources(tensors, count, metadata);
    if (st != VITRO_OK)
        return vitro_fail_prefix(st, "%s", path);
    VitroReplace file;
    VITRO_TRY(vitro_replace_begin(&file, path)); /* its texts start with the path */
    st = formats[format]->write(&file, path, tensors, count, metadata);
    if (st == VITRO_OK)
        st = vitro_replace_commit(&file);
    vitro_replace_abort(&file);
    return st;
}
