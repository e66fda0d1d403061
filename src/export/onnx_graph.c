/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of onnx.proto, filled in and packed by protobuf-c. All of them live until the graph
 * is freed, and none is moved: they are pieces of memory in one list. */
#include "export/onnx_graph.h"

#if VITRO_HAVE_PROTOBUF_C

#include "base/alloc.h"
#include "base/fs.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "onnx.pb-c.h"

enum {
    OPSET = 17, /* the first with LayerNormalization */
    IR_VERSION = 8,
    DATA_ALIGN = 4096 /* so that readers may map each tensor */
};
#define MAX_INLINE ((uint64_t)2000 << 20) /* protocol buffers end at 2^31 bytes */

typedef struct Param {
    Vitro__Onnx__Tensor *tensor;
    size_t bytes;
} Param;

struct VitroOnnx {
    VitroStatus status; /* the first failure's */
    Vitro__Onnx__Model model;
    Vitro__Onnx__OperatorSet opset, *opset_list[1];
    Vitro__Onnx__Graph graph;
    Param *param;
    int64_t param_count;
    void **owned;
    size_t owned_count;
};

/* ---- memory ---------------------------------------------------------------------------------- */

static void *fail(VitroOnnx *g, VitroStatus st)
{
    if (g->status == VITRO_OK)
        g->status = st;
    return NULL;
}

/* Makes the graph the owner of `p`, which may be NULL after a failed allocation. */
static void *keep(VitroOnnx *g, void *p)
{
    void **list = p ? vitro_realloc(g->owned, g->owned_count + 1, sizeof(*list)) : NULL;
    if (!list) {
        vitro_free(p);
        return fail(g, VITRO_NOMEM);
    }
    g->owned = list;
    return list[g->owned_count++] = p;
}

static void *take(VitroOnnx *g, size_t count, size_t size)
{
    return g->status == VITRO_OK ? keep(g, vitro_calloc(count, size)) : NULL;
}

static char *copy_text(VitroOnnx *g, const char *text)
{
    return g->status == VITRO_OK ? keep(g, vitro_strdup(text)) : NULL;
}

/* Appends `item` to a list whose memory doubles where its count is a power of two; the old memory
 * stays with the graph. */
static bool append(VitroOnnx *g, void *list, size_t *count, void *item)
{
    void **items;
    memcpy(&items, list, sizeof(items));
    if (!item)
        return false;
    if ((*count & (*count - 1)) == 0) {
        void **larger = take(g, *count ? *count * 2 : 1, sizeof(*larger));
        if (!larger)
            return false;
        if (*count)
            memcpy(larger, items, *count * sizeof(*larger));
        items = larger;
        memcpy(list, &items, sizeof(items));
    }
    items[(*count)++] = item;
    return true;
}

/* A message of its own, initialised. */
#define NEW(g, type, init) ((type *)new_message(g, sizeof(type), &(const type)init))
static void *new_message(VitroOnnx *g, size_t size, const void *init)
{
    void *m = take(g, 1, size);
    return m ? memcpy(m, init, size) : NULL;
}

VitroStatus vitro_onnx_create(VitroOnnx **out, const char *name, const char *doc)
{
    VitroOnnx *g = vitro_calloc(1, sizeof(*g));
    if (!g)
        return VITRO_NOMEM;
    g->model = (Vitro__Onnx__Model)VITRO__ONNX__MODEL__INIT;
    g->graph = (Vitro__Onnx__Graph)VITRO__ONNX__GRAPH__INIT;
    g->opset = (Vitro__Onnx__OperatorSet)VITRO__ONNX__OPERATOR_SET__INIT;
    g->opset.domain = copy_text(g, "");
    g->opset.has_version = true;
    g->opset.version = OPSET;
    g->opset_list[0] = &g->opset;
    g->graph.name = copy_text(g, name);
    g->model.has_ir_version = true;
    g->model.ir_version = IR_VERSION;
    g->model.producer_name = copy_text(g, "vitro");
    g->model.producer_version = copy_text(g, vitro_version());
    g->model.doc_string = copy_text(g, doc);
    g->model.graph = &g->graph;
    g->model.n_opset_import = 1;
    g->model.opset_import = g->opset_list;
    VitroStatus st = g->status;
    if (st != VITRO_OK)
        vitro_onnx_free(g);
    else
        *out = g;
    return st;
}

void vitro_onnx_free(VitroOnnx *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->owned_count; i++)
        vitro_free(g->owned[i]);
    vitro_free(g->owned);
    vitro_free(g->param);
    vitro_free(g);
}

VitroStatus vitro_onnx_status(const VitroOnnx *g)
{
    return g->status;
}

const char *vitro_onnx_name(VitroOnnx *g, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    char *name = copy_text(g, text);
    return name ? name : "";
}

/* ---- inputs and outputs ---------------------------------------------------------------------- */

static Vitro__Onnx__Value *new_value(VitroOnnx *g, const char *name, int rank, const int64_t *dim)
{
    Vitro__Onnx__Value *v = NEW(g, Vitro__Onnx__Value, VITRO__ONNX__VALUE__INIT);
    Vitro__Onnx__Type *type = NEW(g, Vitro__Onnx__Type, VITRO__ONNX__TYPE__INIT);
    Vitro__Onnx__TensorType *t = NEW(g, Vitro__Onnx__TensorType, VITRO__ONNX__TENSOR_TYPE__INIT);
    Vitro__Onnx__Shape *shape = NEW(g, Vitro__Onnx__Shape, VITRO__ONNX__SHAPE__INIT);
    if (!v || !type || !t || !shape)
        return NULL;
    v->name = copy_text(g, name);
    v->type = type;
    type->tensor_type = t;
    t->has_elem_type = true;
    t->elem_type = VITRO__ONNX__TENSOR__DATA_TYPE__FLOAT;
    t->shape = shape;
    for (int i = 0; i < rank; i++) {
        Vitro__Onnx__Dimension *d = NEW(g, Vitro__Onnx__Dimension, VITRO__ONNX__DIMENSION__INIT);
        if (!append(g, &shape->dim, &shape->n_dim, d))
            return NULL;
        d->has_dim_value = dim[i] > 0;
        d->dim_value = dim[i];
        if (dim[i] < 1)
            d->dim_param = copy_text(g, "batch");
    }
    return v;
}

const char *vitro_onnx_input(VitroOnnx *g, const char *name, int rank, const int64_t *dim)
{
    Vitro__Onnx__Value *v = new_value(g, name, rank, dim);
    return append(g, &g->graph.input, &g->graph.n_input, v) ? v->name : "";
}

void vitro_onnx_output(VitroOnnx *g, const char *name, int rank, const int64_t *dim)
{
    append(g, &g->graph.output, &g->graph.n_output, new_value(g, name, rank, dim));
}

/* ---- constants ------------------------------------------------------------------------------- */

static Vitro__Onnx__Tensor *new_tensor(VitroOnnx *g, const char *name,
                                       Vitro__Onnx__Tensor__DataType type, int rank,
                                       const int64_t *dim)
{
    Vitro__Onnx__Tensor *t = NEW(g, Vitro__Onnx__Tensor, VITRO__ONNX__TENSOR__INIT);
    int64_t *dims = take(g, (size_t)rank + 1, sizeof(*dims)); /* a scalar has none */
    if (!append(g, &g->graph.initializer, &g->graph.n_initializer, t) || !dims)
        return NULL;
    for (int i = 0; i < rank; i++)
        dims[i] = dim[i];
    t->name = copy_text(g, name);
    t->n_dims = (size_t)rank;
    t->dims = dims;
    t->has_data_type = true;
    t->data_type = type;
    return t->name ? t : NULL;
}

static const char *constant(VitroOnnx *g, Vitro__Onnx__Tensor *t, const void *data, size_t bytes)
{
    void *copy = take(g, 1, bytes);
    if (!t || !copy)
        return "";
    t->raw_data = (ProtobufCBinaryData){.len = bytes, .data = memcpy(copy, data, bytes)};
    t->has_raw_data = true;
    return t->name;
}

const char *vitro_onnx_scalar(VitroOnnx *g, const char *name, double value)
{
    const float f = (float)value;
    return constant(g, new_tensor(g, name, VITRO__ONNX__TENSOR__DATA_TYPE__FLOAT, 0, NULL), &f,
                    sizeof(f));
}

const char *vitro_onnx_int(VitroOnnx *g, const char *name, int64_t value)
{
    return constant(g, new_tensor(g, name, VITRO__ONNX__TENSOR__DATA_TYPE__INT64, 0, NULL), &value,
                    sizeof(value));
}

const char *vitro_onnx_ints(VitroOnnx *g, const char *name, int count, const int64_t *value)
{
    const int64_t n = count;
    return constant(g, new_tensor(g, name, VITRO__ONNX__TENSOR__DATA_TYPE__INT64, 1, &n), value,
                    (size_t)count * sizeof(*value));
}

const char *vitro_onnx_param(VitroOnnx *g, const char *name, int rank, const int64_t *dim)
{
    Vitro__Onnx__Tensor *t = new_tensor(g, name, VITRO__ONNX__TENSOR__DATA_TYPE__FLOAT, rank, dim);
    Param *list = t ? vitro_realloc(g->param, (size_t)g->param_count + 1, sizeof(*list)) : NULL;
    if (!list) {
        fail(g, VITRO_NOMEM);
        return "";
    }
    size_t bytes = sizeof(float);
    for (int i = 0; i < rank; i++)
        bytes *= (size_t)dim[i];
    g->param = list;
    list[g->param_count++] = (Param){t, bytes};
    return t->name;
}

const char *vitro_onnx_unused_param(const VitroOnnx *g)
{
    for (int64_t i = 0; i < g->param_count; i++) {
        const char *name = g->param[i].tensor->name;
        bool used = false;
        for (size_t n = 0; n < g->graph.n_node && !used; n++)
            for (size_t k = 0; k < g->graph.node[n]->n_input && !used; k++)
                used = strcmp(g->graph.node[n]->input[k], name) == 0;
        if (!used)
            return name;
    }
    return NULL;
}

/* ---- operators ------------------------------------------------------------------------------- */

static void add_attribute(VitroOnnx *g, Vitro__Onnx__Node *node, const VitroOnnxAttribute *from)
{
    Vitro__Onnx__Attribute *a = NEW(g, Vitro__Onnx__Attribute, VITRO__ONNX__ATTRIBUTE__INIT);
    if (!append(g, &node->attribute, &node->n_attribute, a))
        return;
    a->name = copy_text(g, from->name);
    a->has_type = true;
    switch (from->type) {
    case VITRO_ONNX_INT:
        a->type = VITRO__ONNX__ATTRIBUTE__TYPE__INT;
        a->has_i = true;
        a->i = from->i;
        break;
    case VITRO_ONNX_FLOAT:
        a->type = VITRO__ONNX__ATTRIBUTE__TYPE__FLOAT;
        a->has_f = true;
        a->f = (float)from->f;
        break;
    case VITRO_ONNX_INTS:
        a->type = VITRO__ONNX__ATTRIBUTE__TYPE__INTS;
        a->ints = take(g, (size_t)from->count, sizeof(*a->ints));
        a->n_ints = a->ints ? (size_t)from->count : 0;
        if (a->ints)
            memcpy(a->ints, from->ints, a->n_ints * sizeof(*a->ints));
        break;
    }
}

/* A node without results. */
static Vitro__Onnx__Node *new_node(VitroOnnx *g, const char *op, const char *name,
                                   const char *const *inputs, const VitroOnnxAttribute *attributes)
{
    Vitro__Onnx__Node *node = NEW(g, Vitro__Onnx__Node, VITRO__ONNX__NODE__INIT);
    if (!append(g, &g->graph.node, &g->graph.n_node, node))
        return NULL;
    node->name = copy_text(g, name);
    node->op_type = copy_text(g, op);
    for (; *inputs; inputs++)
        append(g, &node->input, &node->n_input, copy_text(g, *inputs));
    for (; attributes && attributes->name; attributes++)
        add_attribute(g, node, attributes);
    return node;
}

const char *vitro_onnx_node(VitroOnnx *g, const char *op, const char *name,
                            const char *const *inputs, const VitroOnnxAttribute *attributes)
{
    Vitro__Onnx__Node *node = new_node(g, op, name, inputs, attributes);
    char *result = copy_text(g, name);
    return node && append(g, &node->output, &node->n_output, result) ? result : "";
}

void vitro_onnx_split(VitroOnnx *g, const char *name, const char *x, int axis, int count,
                      const char *const *parts, const char **out)
{
    const char *const inputs[] = {x, NULL};
    const VitroOnnxAttribute along[] = {{.name = "axis", .type = VITRO_ONNX_INT, .i = axis}, {0}};
    Vitro__Onnx__Node *node = new_node(g, "Split", name, inputs, along);
    for (int i = 0; i < count; i++) {
        const char *part = vitro_onnx_name(g, "%s.%s", name, parts[i]);
        char *copy = copy_text(g, part);
        out[i] = node && append(g, &node->output, &node->n_output, copy) ? part : "";
    }
}

static bool add_pair(VitroOnnx *g, void *list, size_t *count, const char *key, const char *value)
{
    Vitro__Onnx__Pair *p = NEW(g, Vitro__Onnx__Pair, VITRO__ONNX__PAIR__INIT);
    if (!append(g, list, count, p))
        return false;
    p->key = copy_text(g, key);
    p->value = copy_text(g, value);
    return p->value != NULL;
}

void vitro_onnx_metadata(VitroOnnx *g, const char *key, const char *value)
{
    add_pair(g, &g->model.metadata_props, &g->model.n_metadata_props, key, value);
}

/* ---- the file -------------------------------------------------------------------------------- */

/* Says where in the data file a parameter lies. */
static void place_outside(VitroOnnx *g, Vitro__Onnx__Tensor *t, const char *file, uint64_t offset,
                          size_t bytes)
{
    add_pair(g, &t->external_data, &t->n_external_data, "location", file);
    add_pair(g, &t->external_data, &t->n_external_data, "offset",
             vitro_onnx_name(g, "%llu", (unsigned long long)offset));
    add_pair(g, &t->external_data, &t->n_external_data, "length",
             vitro_onnx_name(g, "%llu", (unsigned long long)bytes));
    t->has_data_location = true;
    t->data_location = VITRO__ONNX__TENSOR__LOCATION__EXTERNAL;
}

static VitroStatus write_param(VitroReplace *file, VitroOnnx *g, int64_t i, VitroOnnxLoad load,
                               void *user)
{
    static const uint8_t zeros[DATA_ALIGN];
    const void *data = NULL;
    void *owned = NULL;
    size_t bytes = g->param[i].bytes, gap = (DATA_ALIGN - file->written % DATA_ALIGN) % DATA_ALIGN;
    VITRO_TRY(vitro_replace_write(file, zeros, gap));
    place_outside(g, g->param[i].tensor, vitro_path_name(file->path), file->written, bytes);
    VITRO_TRY(g->status);
    VitroStatus st = load(user, i, bytes, &data, &owned);
    if (st == VITRO_OK)
        st = vitro_replace_write(file, data, bytes);
    vitro_free(owned);
    return st;
}

static VitroStatus write_outside(VitroOnnx *g, const char *path, VitroOnnxLoad load, void *user)
{
    VitroReplace file;
    char *data_path = vitro_asprintf("%s.data", path);
    if (!data_path)
        return VITRO_NOMEM;
    VitroStatus st = vitro_replace_begin(&file, data_path);
    for (int64_t i = 0; i < g->param_count && st == VITRO_OK; i++)
        st = write_param(&file, g, i, load, user);
    if (st == VITRO_OK)
        st = vitro_replace_commit(&file);
    vitro_replace_abort(&file);
    vitro_free(data_path);
    return st;
}

static VitroStatus load_inside(VitroOnnx *g, VitroOnnxLoad load, void *user)
{
    for (int64_t i = 0; i < g->param_count; i++) {
        const void *data = NULL;
        void *owned = NULL;
        VITRO_TRY(load(user, i, g->param[i].bytes, &data, &owned));
        if (owned && !keep(g, owned))
            return g->status;
        Vitro__Onnx__Tensor *t = g->param[i].tensor;
        /* protobuf-c reads it only */
        t->raw_data = (ProtobufCBinaryData){g->param[i].bytes, (uint8_t *)(uintptr_t)data};
        t->has_raw_data = true;
    }
    return VITRO_OK;
}

/* What protobuf-c packs goes into the file, piece by piece. */
typedef struct Sink {
    ProtobufCBuffer base;
    VitroReplace *file;
    VitroStatus status;
} Sink;

static void sink_append(ProtobufCBuffer *buffer, size_t size, const uint8_t *data)
{
    Sink *s = (Sink *)buffer;
    if (s->status == VITRO_OK)
        s->status = vitro_replace_write(s->file, data, size);
}

static VitroStatus write_model(const VitroOnnx *g, const char *path)
{
    VitroReplace file;
    VITRO_TRY(vitro_replace_begin(&file, path));
    Sink sink = {.base = {.append = sink_append}, .file = &file};
    vitro__onnx__model__pack_to_buffer(&g->model, &sink.base);
    VitroStatus st = sink.status;
    if (st == VITRO_OK)
        st = vitro_replace_commit(&file);
    vitro_replace_abort(&file);
    return st;
}

VitroStatus vitro_onnx_write(VitroOnnx *g, const char *path, bool external, VitroOnnxLoad load,
                             void *user)
{
    uint64_t total = 0;
    VITRO_TRY(g->status);
    for (int64_t i = 0; i < g->param_count; i++)
        total += g->param[i].bytes;
    if (external || total > MAX_INLINE)
        VITRO_TRY(write_outside(g, path, load, user));
    else
        VITRO_TRY(load_inside(g, load, user));
    return write_model(g, path);
}

#endif
