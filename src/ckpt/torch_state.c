/* SPDX-License-Identifier: Apache-2.0 */
/* From the pickle's tree to tensors: the calls that torch/_utils.py would run (_rebuild_tensor_v2
 * and its kin) are read as descriptions, with every size checked against the storage that the file
 * really holds. It must not know where storages lie. */
#include "ckpt/torch_state.h"

#include <stdio.h>
#include <string.h>

typedef VitroPickleNode Node;

/* Dicts that hold the state dict in training checkpoints, the first of them that is there: averaged
 * weights before the others, as timm does, and DINO's teacher before its student. */
static const char *const wrappers[] = {"state_dict_ema", "model_ema", "teacher", "state_dict",
                                       "model_state_dict", "model", "net", "student"};

#define MAX_WRAPPERS 4 /* within each other */

/* An expanded tensor (stride 0) may have more elements than its storage, up to here. */
#define MAX_EXPANDED ((int64_t)1 << 24)

/* ---- storages -------------------------------------------------------------------------------- */

#define NO_DTYPE VITRO_TORCH_NO_DTYPE

static const struct {
    const char *storage, *dtype; /* torch.FloatStorage; torch.float32 */
    VitroDtype ours;
    size_t size;
} types[] = {
    {"FloatStorage", "float32", VITRO_F32, 4},
    {"HalfStorage", "float16", VITRO_F16, 2},
    {"BFloat16Storage", "bfloat16", VITRO_BF16, 2},
    {"DoubleStorage", "float64", VITRO_F64, 8},
    {"ByteStorage", "uint8", VITRO_U8, 1},
    {"CharStorage", "int8", VITRO_I8, 1},
    {"ShortStorage", "int16", VITRO_I16, 2},
    {"IntStorage", "int32", VITRO_I32, 4},
    {"LongStorage", "int64", VITRO_I64, 8},
    {"BoolStorage", "bool", VITRO_BOOL, 1},
    {"UntypedStorage", "", NO_DTYPE, 1},
    {"_UntypedStorage", "", NO_DTYPE, 1},
    {"ComplexFloatStorage", "complex64", NO_DTYPE, 8},
    {"ComplexDoubleStorage", "complex128", NO_DTYPE, 16},
    {"QInt8Storage", "qint8", NO_DTYPE, 1},
    {"QUInt8Storage", "quint8", NO_DTYPE, 1},
    {"QInt32Storage", "qint32", NO_DTYPE, 4},
};

enum { TYPE_COUNT = sizeof(types) / sizeof(types[0]) };

/* torch, torch.cuda, torch.storage */
static bool is_of_torch(const Node *global)
{
    const char *module;
    size_t size;
    return vitro_pickle_is(global, VITRO_PICKLE_GLOBAL) &&
           vitro_pickle_text(global->u.global.module, &module, &size) && size >= 5 &&
           memcmp(module, "torch", 5) == 0 && (size == 5 || module[5] == '.');
}

/* (key, offset, numel): the storage is a part of a larger one. Unused since 2017. */
static bool read_view(VitroTorchStorageId *id, const Node *n)
{
    int64_t at, numel;
    id->view_at = 0;
    id->view_bytes = id->bytes;
    if (!n || n->kind == VITRO_PICKLE_NONE)
        return true;
    return vitro_pickle_int(vitro_pickle_at(n, 1), &at) &&
           vitro_pickle_int(vitro_pickle_at(n, 2), &numel) && at >= 0 && numel >= 0 &&
           !__builtin_mul_overflow(at, (int64_t)id->item_size, &id->view_at) &&
           !__builtin_mul_overflow(numel, (int64_t)id->item_size, &id->view_bytes) &&
           id->view_at <= id->bytes && id->view_bytes <= id->bytes - id->view_at;
}

bool vitro_torch_storage_id(VitroTorchStorageId *id, const Node *n)
{
    int64_t numel;
    if (!vitro_pickle_is(n, VITRO_PICKLE_PERSISTENT))
        return false;
    n = n->u.persistent.id;
    const Node *type = vitro_pickle_at(n, 1);
    if (!vitro_pickle_is_text(vitro_pickle_at(n, 0), "storage") || !is_of_torch(type) ||
        !vitro_pickle_text(vitro_pickle_at(n, 2), &id->key, &id->key_size) ||
        !vitro_pickle_int(vitro_pickle_at(n, 4), &numel) || numel < 0)
        return false;
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (!vitro_pickle_is_text(type->u.global.name, types[i].storage))
            continue;
        id->dtype = types[i].ours;
        id->item_size = types[i].size;
        id->untyped = !types[i].dtype[0];
        return !__builtin_mul_overflow(numel, (int64_t)types[i].size, &id->bytes) &&
               read_view(id, vitro_pickle_at(n, 5));
    }
    return false;
}

/* ---- one tensor ------------------------------------------------------------------------------ */

typedef struct Reader {
    VitroCheckpoint *ckpt;
    VitroTorchFindFn find;
    void *context;
    const char *name; /* of the tensor being read, for errors; */
    int name_size;    /* not NUL-terminated, possibly shortened */
} Reader;

#define FAIL(r, status, fmt, ...)                                                                  \
    vitro_fail(status, "tensor \"%.*s\": " fmt, (r)->name_size, (r)->name, __VA_ARGS__)

static bool is_utils_call(const Node *n, const char *name)
{
    return vitro_pickle_is_call(n, "torch._utils", name);
}

/* Any call that makes a tensor, known or not. */
static bool is_tensor(const Node *n)
{
    static const char prefix[] = "_rebuild_";
    const char *name;
    size_t size;
    return vitro_pickle_is(n, VITRO_PICKLE_CALL) && is_of_torch(n->u.call->callee) &&
           vitro_pickle_text(n->u.call->callee->u.global.name, &name, &size) &&
           size > sizeof(prefix) - 1 && memcmp(name, prefix, sizeof(prefix) - 1) == 0;
}

/* What is left when parameters and subclasses are unwrapped: function(*args). */
typedef struct Rebuild {
    const Node *function, *args;
} Rebuild;

static Rebuild unwrap(const Node *n)
{
    for (int i = 0; i < 3; i++) { /* a Parameter of a subclass of a tensor */
        if (is_utils_call(n, "_rebuild_parameter") ||
            is_utils_call(n, "_rebuild_parameter_with_state"))
            n = vitro_pickle_at(n, 0);
        else if (vitro_pickle_is_call(n, "torch._tensor", "_rebuild_from_type_v2"))
            return (Rebuild){vitro_pickle_at(n, 0), vitro_pickle_at(n, 2)};
    }
    if (!vitro_pickle_is(n, VITRO_PICKLE_CALL))
        return (Rebuild){NULL, NULL};
    return (Rebuild){n->u.call->callee, n->u.call->args};
}

/* Which of the functions of torch/_utils.py it is, or an error that says why it is none that we can
 * read. *dtype_arg is where v3 has its dtype, else 0. */
static VitroStatus check_function(const Reader *r, const Rebuild *b, size_t *dtype_arg)
{
    static const char module[] = "torch._utils";
    *dtype_arg = 0;
    if (vitro_pickle_is_global(b->function, module, "_rebuild_tensor_v2") ||
        vitro_pickle_is_global(b->function, module, "_rebuild_tensor"))
        return VITRO_OK;
    if (vitro_pickle_is_global(b->function, module, "_rebuild_tensor_v3")) {
        *dtype_arg = 6;
        return VITRO_OK;
    }
    if (vitro_pickle_is_global(b->function, module, "_rebuild_meta_tensor_no_storage"))
        return FAIL(r, VITRO_E_FORMAT, "%s",
                    "has a shape but no elements: it was saved from the meta device");
    if (!vitro_pickle_is(b->function, VITRO_PICKLE_GLOBAL))
        return FAIL(r, VITRO_E_FORMAT, "is %s, not a tensor", vitro_pickle_kind_name(b->function));
    const Node *name = b->function->u.global.name;
    return FAIL(r, VITRO_E_UNSUPPORTED, "is made by %.*s, which is no plain tensor",
                name->u.bytes.size > 100 ? 100 : (int)name->u.bytes.size,
                (const char *)name->u.bytes.data);
}

static VitroStatus read_ints(const Reader *r, int64_t *out, int *count, const Node *n,
                             const char *what)
{
    /* torch.Size((2, 3)) is a call with the tuple as its argument */
    if (vitro_pickle_is_call(n, "torch", "Size"))
        n = vitro_pickle_at(n, 0);
    if (!vitro_pickle_is(n, VITRO_PICKLE_TUPLE) && !vitro_pickle_is(n, VITRO_PICKLE_LIST))
        return FAIL(r, VITRO_E_FORMAT, "its %s is %s, not a tuple", what,
                    vitro_pickle_kind_name(n));
    if (n->u.seq.count > VITRO_CKPT_MAX_RANK)
        return FAIL(r, VITRO_E_UNSUPPORTED, "has %zu dimensions, at most %d are supported",
                    n->u.seq.count, VITRO_CKPT_MAX_RANK);
    *count = (int)n->u.seq.count;
    for (int i = 0; i < *count; i++)
        if (!vitro_pickle_int(n->u.seq.item[i], &out[i]) || out[i] < 0)
            return FAIL(r, VITRO_E_FORMAT, "its %s[%d] is no count", what, i);
    return VITRO_OK;
}

static VitroStatus read_dtype(const Reader *r, VitroDtype *out, const VitroTorchStorageId *id,
                              const Node *dtype)
{
    *out = id->dtype;
    for (size_t i = 0; dtype && i < TYPE_COUNT; i++)
        if (vitro_pickle_is_global(dtype, "torch", types[i].dtype))
            *out = types[i].ours;
    if (*out == NO_DTYPE)
        return FAIL(r, VITRO_E_UNSUPPORTED, "%s", "its element type is not supported");
    if (!id->untyped && *out != id->dtype)
        return FAIL(r, VITRO_E_FORMAT, "%s", "its element type is not that of its storage");
    return VITRO_OK;
}

/* Every element must lie in the storage. `offset` and the strides count elements. */
static VitroStatus check_bounds(const Reader *r, const VitroCkptTensor *t, int64_t count,
                                int64_t offset, int64_t storage_count)
{
    int64_t last = offset, step;
    for (int i = 0; i < t->info.rank; i++)
        if (__builtin_mul_overflow(t->info.dim[i] - 1, t->stride[i], &step) ||
            __builtin_add_overflow(last, step, &last))
            return FAIL(r, VITRO_E_FORMAT, "%s", "its strides overflow");
    if (last >= storage_count)
        return FAIL(r, VITRO_E_FORMAT, "reaches element %lld of a storage of %lld", (long long)last,
                    (long long)storage_count);
    if (count > storage_count && count > MAX_EXPANDED)
        return FAIL(r, VITRO_E_UNSUPPORTED, "its %lld elements are views of %lld", (long long)count,
                    (long long)storage_count);
    return VITRO_OK;
}

static VitroStatus locate(const Reader *r, VitroCkptTensor *t, const VitroTorchStorageId *id,
                          int64_t offset)
{
    VitroTorchStorage s = {.record = -1};
    int64_t count, item = (int64_t)vitro_dtype_size(t->info.dtype);
    char name[128];
    snprintf(name, sizeof(name), "%.*s", r->name_size, r->name);
    VITRO_TRY(vitro_ckpt_count(&count, name, t->info.dtype, t->info.rank, t->info.dim));
    VitroStatus st = r->find(r->context, &s, id);
    if (st != VITRO_OK)
        return vitro_fail_prefix(st, "tensor \"%s\"", name);
    if (s.size != (size_t)id->bytes)
        return FAIL(r, VITRO_E_FORMAT, "its storage \"%.*s\" has %zu bytes, %lld were expected",
                    id->key_size > 40 ? 40 : (int)id->key_size, id->key, s.size,
                    (long long)id->bytes);
    t->record = s.record;
    if (count == 0)
        return VITRO_OK;
    VITRO_TRY(check_bounds(r, t, count, offset, id->view_bytes / item));
    t->data = s.data + id->view_at + offset * item;
    return VITRO_OK;
}

/* (storage, offset, size, stride, ...) */
static VitroStatus read_tensor(Reader *r, VitroCkptTensor *t, const Node *n)
{
    VitroTorchStorageId id;
    size_t dtype_arg;
    int stride_count;
    int64_t offset;
    Rebuild b = unwrap(n);
    VITRO_TRY(check_function(r, &b, &dtype_arg));
    if (!vitro_torch_storage_id(&id, vitro_pickle_at(b.args, 0)))
        return FAIL(r, VITRO_E_FORMAT, "%s", "its storage is not described as one");
    if (!vitro_pickle_int(vitro_pickle_at(b.args, 1), &offset) || offset < 0)
        return FAIL(r, VITRO_E_FORMAT, "%s", "its storage offset is no count");
    VITRO_TRY(read_ints(r, t->info.dim, &t->info.rank, vitro_pickle_at(b.args, 2), "shape"));
    VITRO_TRY(read_ints(r, t->stride, &stride_count, vitro_pickle_at(b.args, 3), "stride"));
    if (stride_count != t->info.rank)
        return FAIL(r, VITRO_E_FORMAT, "has %d dimensions and %d strides", t->info.rank,
                    stride_count);
    VITRO_TRY(
        read_dtype(r, &t->info.dtype, &id, dtype_arg ? vitro_pickle_at(b.args, dtype_arg) : NULL));
    return locate(r, t, &id, offset);
}

/* ---- the dict of them ------------------------------------------------------------------------ */

static bool is_dict(const Node *n)
{
    return vitro_pickle_is(n, VITRO_PICKLE_DICT) ||
           vitro_pickle_is_call(n, "collections", "OrderedDict") ||
           vitro_pickle_is_call(n, "collections", "defaultdict");
}

/* The i-th entry; false behind the last. Python 2 writes OrderedDict([[key, value], ...]), all
 * others put the pairs in afterwards. */
static bool entry(const Node *dict, size_t i, const Node **key, const Node **value)
{
    size_t count;
    Node *const *pair = vitro_pickle_pairs(dict, &count);
    const Node *listed = vitro_pickle_at(dict, 0);
    if (!pair && vitro_pickle_is(listed, VITRO_PICKLE_LIST)) {
        const Node *both = vitro_pickle_at(listed, i);
        *key = vitro_pickle_at(both, 0);
        *value = vitro_pickle_at(both, 1);
        return both != NULL;
    }
    if (i >= count / 2)
        return false;
    *key = pair[2 * i];
    *value = pair[2 * i + 1];
    return true;
}

static const Node *look_through(const Node *dict)
{
    for (int depth = 0; depth < MAX_WRAPPERS; depth++) {
        const Node *inner = NULL;
        for (size_t w = 0; w < sizeof(wrappers) / sizeof(wrappers[0]) && !inner; w++) {
            inner = vitro_pickle_get(dict, wrappers[w]);
            inner = is_dict(inner) ? inner : NULL;
        }
        if (!inner)
            break;
        dict = inner;
    }
    return dict;
}

/* A whole model object, say: its class is Python code that only its author has. */
static VitroStatus fail_object(const Node *n)
{
    const Node *callee = n->u.call->callee;
    /* copyreg._reconstructor(class, object, None), and __reduce_ex__'s __newobj__ */
    if (vitro_pickle_is_call(n, "copy_reg", "_reconstructor") ||
        vitro_pickle_is_call(n, "copyreg", "_reconstructor"))
        callee = vitro_pickle_at(n, 0);
    if (vitro_pickle_is(callee, VITRO_PICKLE_PERSISTENT)) /* legacy: ("module", class, ...) */
        callee = vitro_pickle_at(callee->u.persistent.id, 1);
    const char *module = "?", *name = "?";
    size_t module_size = 1, name_size = 1;
    if (vitro_pickle_is(callee, VITRO_PICKLE_GLOBAL)) {
        vitro_pickle_text(callee->u.global.module, &module, &module_size);
        vitro_pickle_text(callee->u.global.name, &name, &name_size);
    }
    return vitro_fail(
        VITRO_E_UNSUPPORTED,
        "holds a Python object of class %.*s.%.*s, whose code is not in the file; save "
        "model.state_dict() instead",
        module_size > 100 ? 100 : (int)module_size, module, name_size > 100 ? 100 : (int)name_size,
        name);
}

static VitroStatus fail_without_tensors(const Node *dict)
{
    char keys[200] = "";
    const Node *key, *value;
    size_t used = 0;
    for (size_t i = 0; entry(dict, i, &key, &value) && used < sizeof(keys) - 1; i++) {
        const char *text;
        size_t size;
        if (vitro_pickle_is(value, VITRO_PICKLE_CALL) && !is_dict(value) &&
            vitro_pickle_is_text(key, "model"))
            return fail_object(value);
        if (!vitro_pickle_text(key, &text, &size))
            continue;
        int n = snprintf(keys + used, sizeof(keys) - used, "%s%.*s", used ? ", " : "",
                         size > 40 ? 40 : (int)size, text);
        used += n > 0 ? (size_t)n : 0;
    }
    return vitro_fail(VITRO_E_FORMAT, "holds no named tensors; its keys are: %s", keys);
}

VitroStatus vitro_torch_read_state(VitroCheckpoint *ckpt, const Node *root, VitroTorchFindFn find,
                                   void *context)
{
    if (vitro_pickle_is(root, VITRO_PICKLE_CALL) && !is_dict(root) && !is_tensor(root))
        return fail_object(root);
    if (!is_dict(root))
        return vitro_fail(VITRO_E_FORMAT, "holds %s, not a dict of tensors",
                          is_tensor(root) ? "a tensor" : vitro_pickle_kind_name(root));
    const Node *dict = look_through(root), *key, *value;
    Reader r = {.ckpt = ckpt, .find = find, .context = context};
    size_t i = 0;
    for (; entry(dict, i, &key, &value); i++) {
        size_t size;
        if (!is_tensor(value))
            continue;
        if (!vitro_pickle_text(key, &r.name, &size))
            return vitro_fail(VITRO_E_FORMAT, "a tensor's name is %s, not a string",
                              vitro_pickle_kind_name(key));
        r.name_size = size > 100 ? 100 : (int)size;
        VitroCkptTensor t = {.record = -1};
        VITRO_TRY(read_tensor(&r, &t, value));
        VITRO_TRY(vitro_ckpt_add(ckpt, &t, r.name, size));
    }
    return i && !ckpt->count ? fail_without_tensors(dict)
                             : vitro_torch_read_args(&ckpt->training, root);
}
