/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/onednn.h"

#include "backend/cpu/scratch.h"
#include "base/alloc.h"
#include "base/cpu.h"

#include <dnnl.h>
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* ---- the two APIs ------------------------------------------------------------------------------
 * In 2.x a memory descriptor is a struct and an operation has a descriptor of its own; in 3.x the
 * first is an opaque handle and the second is gone. */

typedef dnnl_memory_desc_t Layout;

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t LayoutView;
#define VIEW(layout) (layout)
#else
typedef const dnnl_memory_desc_t *LayoutView;
#define VIEW(layout) (&(layout))
#endif

static dnnl_status_t layout_strided(Layout *out, int64_t rows, int64_t cols, int64_t row_stride,
                                    int64_t col_stride)
{
    const dnnl_dims_t dims = {rows, cols}, strides = {row_stride, col_stride};
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_memory_desc_create_with_strides(out, 2, dims, dnnl_f32, strides);
#else
    return dnnl_memory_desc_init_by_strides(out, 2, dims, dnnl_f32, strides);
#endif
}

/* Stored [rows,cols], or [cols,rows]. */
static dnnl_status_t layout_dense(Layout *out, int64_t rows, int64_t cols, bool transposed)
{
    return layout_strided(out, rows, cols, transposed ? 1 : cols, transposed ? rows : 1);
}

static dnnl_status_t layout_any(Layout *out, int64_t rows, int64_t cols)
{
    const dnnl_dims_t dims = {rows, cols};
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_memory_desc_create_with_tag(out, 2, dims, dnnl_f32, dnnl_format_tag_any);
#else
    return dnnl_memory_desc_init_by_tag(out, 2, dims, dnnl_f32, dnnl_format_tag_any);
#endif
}

static dnnl_status_t layout_copy(Layout *out, LayoutView from)
{
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_memory_desc_clone(out, from);
#else
    *out = *from;
    return dnnl_success;
#endif
}

static void layout_free(Layout *layout)
{
#if DNNL_VERSION_MAJOR >= 3
    if (*layout)
        dnnl_memory_desc_destroy(*layout);
#endif
    memset(layout, 0, sizeof *layout);
}

static dnnl_status_t append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t kind)
{
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_post_ops_append_eltwise(ops, kind, 0.0f, 0.0f);
#else
    return dnnl_post_ops_append_eltwise(ops, 1.0f, kind, 0.0f, 0.0f);
#endif
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
#else
    return dnnl_post_ops_append_sum(ops, 1.0f);
#endif
}

/* bias NULL: none */
static dnnl_status_t matmul_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine, LayoutView a,
                                 LayoutView b, LayoutView bias, LayoutView dst,
                                 const_dnnl_primitive_attr_t attr)
{
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_matmul_primitive_desc_create(out, engine, a, b, bias, dst, attr);
#else
    dnnl_matmul_desc_t desc;
    dnnl_status_t s = dnnl_matmul_desc_init(&desc, a, b, bias, dst);
    return s ? s : dnnl_primitive_desc_create(out, &desc, attr, engine, NULL);
#endif
}

/* ---- types ------------------------------------------------------------------------------------
 */

/* One way to block a matrix. Many weights share one; its address is part of a primitive's key. */
typedef struct Blocking {
    struct Blocking *next;
    Layout layout;
    size_t bytes;
} Blocking;

struct VitroPacked {
    const Blocking *blocking;
    void *data;
    dnnl_memory_t memory, source;
    dnnl_primitive_t reorder;
    dnnl_stream_t stream;
};

typedef enum Add { ADD_NOTHING, ADD_TO_DST, ADD_MATRIX } Add;

/* What makes two products the same primitive. Compared as bytes: made by memset. */
typedef struct Key {
    int64_t m, n, k;
    const Blocking *blocking;
    int act, add;
    bool a_transposed, b_transposed, bias;
} Key;

/* The handles one execution needs; pooled, as several threads may run one primitive. */
typedef struct Call {
    struct Call *next;
    dnnl_stream_t stream;
    dnnl_memory_t a, b, bias, dst, residual, scratch;
} Call;

typedef struct Product {
    struct Product *next;
    Key key;
    bool slow; /* a reference implementation: to be avoided */
    dnnl_primitive_t primitive;
    Layout a, b, bias, dst, scratch;
    size_t scratch_bytes;
    Call *idle;
} Product;

struct VitroOnednn {
    dnnl_engine_t engine;
    int threads;
    pthread_mutex_t lock; /* of the two lists and every product's `idle` */
    Product *products;
    Blocking *blockings;
};

static VitroStatus check(dnnl_status_t status, const char *what)
{
    if (status == dnnl_success)
        return VITRO_OK;
    if (status == dnnl_out_of_memory)
        return vitro_fail(VITRO_E_NOMEM, "oneDNN: %s: out of memory", what);
    return vitro_fail(VITRO_E_BACKEND, "oneDNN: %s: status %d", what, (int)status);
}

/* oneDNN plans for, and runs with, the calling thread's OpenMP setting. */
static int use_threads(int n)
{
    int before = omp_get_max_threads();
    if (before != n)
        omp_set_num_threads(n);
    return before;
}

/* ---- open, close ------------------------------------------------------------------------------
 */

VitroStatus vitro_onednn_open(VitroOnednn **out, int threads, unsigned flags)
{
    /* A mask on the CPU flags holds for oneDNN too. The first product of the process fixes the
     * choice: a refusal here is no error. */
    if (!(flags & VITRO_CPU_AVX2))
        (void)dnnl_set_max_cpu_isa(dnnl_cpu_isa_sse41);
    else if (!(flags & VITRO_CPU_AVX512))
        (void)dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2);

    VitroOnednn *dnn = vitro_calloc(1, sizeof *dnn);
    if (!dnn)
        return VITRO_NOMEM;
    VitroStatus st = check(dnnl_engine_create(&dnn->engine, dnnl_cpu, 0), "CPU engine");
    if (st != VITRO_OK) {
        vitro_free(dnn);
        return st;
    }
    dnn->threads = threads;
    pthread_mutex_init(&dnn->lock, NULL);
    *out = dnn;
    return VITRO_OK;
}

static void free_memory(dnnl_memory_t memory)
{
    if (memory)
        dnnl_memory_destroy(memory);
}

static void free_call(Call *c)
{
    const dnnl_memory_t all[] = {c->a, c->b, c->bias, c->dst, c->residual, c->scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free_memory(all[i]);
    if (c->stream)
        dnnl_stream_destroy(c->stream);
    vitro_free(c);
}

static void free_product(Product *p)
{
    for (Call *c = p->idle, *next; c; c = next) {
        next = c->next;
        free_call(c);
    }
    if (p->primitive)
        dnnl_primitive_destroy(p->primitive);
    Layout *all[] = {&p->a, &p->b, &p->bias, &p->dst, &p->scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        layout_free(all[i]);
    vitro_free(p);
}

void vitro_onednn_close(VitroOnednn *dnn)
{
    if (!dnn)
        return;
    for (Product *p = dnn->products, *next; p; p = next) {
        next = p->next;
        free_product(p);
    }
    for (Blocking *b = dnn->blockings, *next; b; b = next) {
        next = b->next;
        layout_free(&b->layout);
        vitro_free(b);
    }
    dnnl_engine_destroy(dnn->engine);
    pthread_mutex_destroy(&dnn->lock);
    vitro_free(dnn);
}

void vitro_onednn_version(char *out, size_t size)
{
    const dnnl_version_t *v = dnnl_version();
    snprintf(out, size, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
}

/* ---- building a primitive ----------------------------------------------------------------------
 */

static dnnl_status_t make_attributes(dnnl_primitive_attr_t *out, const Key *key, LayoutView dst)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t s = dnnl_primitive_attr_create(&attr);
    if (!s)
        s = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (!s)
        s = dnnl_post_ops_create(&ops);
    if (!s && key->act == VITRO_ACT_GELU)
        s = append_eltwise(ops, dnnl_eltwise_gelu_erf);
    if (!s && key->act == VITRO_ACT_GELU_TANH)
        s = append_eltwise(ops, dnnl_eltwise_gelu_tanh);
    if (!s && key->act == VITRO_ACT_TANH)
        s = append_eltwise(ops, dnnl_eltwise_tanh);
    if (!s && key->add == ADD_TO_DST)
        s = append_sum(ops);
    if (!s && key->add == ADD_MATRIX)
        s = dnnl_post_ops_append_binary(ops, dnnl_binary_add, dst);
    if (!s)
        s = dnnl_primitive_attr_set_post_ops(attr, ops);
    if (ops)
        dnnl_post_ops_destroy(ops);
    if (s) {
        if (attr)
            dnnl_primitive_attr_destroy(attr);
        return s;
    }
    *out = attr;
    return dnnl_success;
}

static dnnl_status_t describe_product(Product *p, dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                      bool any_b)
{
    const Key *key = &p->key;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_status_t s = layout_dense(&p->a, key->m, key->k, key->a_transposed);
    if (!s && any_b)
        s = layout_any(&p->b, key->k, key->n);
    else if (!s && key->blocking)
        s = layout_copy(&p->b, VIEW(key->blocking->layout));
    else if (!s)
        s = layout_dense(&p->b, key->k, key->n, key->b_transposed);
    if (!s)
        s = layout_dense(&p->bias, 1, key->n, false);
    if (!s)
        s = layout_dense(&p->dst, key->m, key->n, false);
    if (!s)
        s = make_attributes(&attr, key, VIEW(p->dst));
    if (!s)
        s = matmul_desc(out, engine, VIEW(p->a), VIEW(p->b), key->bias ? VIEW(p->bias) : NULL,
                        VIEW(p->dst), attr);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    return s;
}

static dnnl_status_t finish_product(Product *p, dnnl_primitive_desc_t desc)
{
    const char *info = "";
    dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &info);
    p->slow = strstr(info, "ref") != NULL;
    LayoutView scratch = dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    p->scratch_bytes = dnnl_memory_desc_get_size(scratch);
    dnnl_status_t s = layout_copy(&p->scratch, scratch);
    return s ? s : dnnl_primitive_create(&p->primitive, desc);
}

static VitroStatus make_product(Product **out, VitroOnednn *dnn, const Key *key)
{
    Product *p = vitro_calloc(1, sizeof *p);
    if (!p)
        return VITRO_NOMEM;
    memcpy(&p->key, key, sizeof *key);
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t s = describe_product(p, &desc, dnn->engine, false);
    if (!s)
        s = finish_product(p, desc);
    if (desc)
        dnnl_primitive_desc_destroy(desc);
    if (s == dnnl_unimplemented && key->blocking) { /* remembered: run it unpacked */
        p->slow = true;
    } else if (s) {
        free_product(p);
        return check(s, "matmul primitive");
    }
    *out = p;
    return VITRO_OK;
}

/* Under the lock. */
static VitroStatus find_product(Product **out, VitroOnednn *dnn, const Key *key)
{
    for (Product *p = dnn->products; p; p = p->next)
        if (!memcmp(&p->key, key, sizeof *key)) {
            *out = p;
            return VITRO_OK;
        }
    VITRO_TRY(make_product(out, dnn, key));
    (*out)->next = dnn->products;
    dnn->products = *out;
    return VITRO_OK;
}

/* ---- packed matrices --------------------------------------------------------------------------
 */

/* Asks oneDNN which blocking it likes; *out stays NULL where that is the plain matrix. */
static VitroStatus choose_blocking(const Blocking **out, VitroOnednn *dnn, const Key *key)
{
    Product probe = {.key = *key};
    dnnl_primitive_desc_t desc = NULL;
    Layout plain[2];
    memset(plain, 0, sizeof plain);
    Blocking *b = NULL;
    VitroStatus st;
    VITRO_GOTO(check(describe_product(&probe, &desc, dnn->engine, true), "packed matmul"));
    LayoutView chosen = dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0);
    for (int i = 0; i < 2; i++) {
        VITRO_GOTO(check(layout_dense(&plain[i], key->k, key->n, i), "matrix"));
        if (dnnl_memory_desc_equal(chosen, VIEW(plain[i])))
            goto done;
    }
    for (b = dnn->blockings; b; b = b->next)
        if (dnnl_memory_desc_equal(chosen, VIEW(b->layout)))
            break;
    if (!b) {
        b = vitro_calloc(1, sizeof *b);
        if (!b) {
            st = VITRO_NOMEM;
            goto done;
        }
        dnnl_status_t s = layout_copy(&b->layout, chosen);
        if (s) {
            vitro_free(b);
            st = check(s, "layout");
            goto done;
        }
        b->bytes = dnnl_memory_desc_get_size(chosen);
        b->next = dnn->blockings;
        dnn->blockings = b;
    }
    *out = b;
done:
    if (desc)
        dnnl_primitive_desc_destroy(desc);
    Layout *all[] = {&plain[0], &plain[1], &probe.a, &probe.b, &probe.bias, &probe.dst};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        layout_free(all[i]);
    return st;
}

static dnnl_status_t make_reorder(VitroPacked *p, VitroOnednn *dnn, LayoutView from, void *source)
{
    LayoutView to = VIEW(p->blocking->layout);
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t s = dnnl_memory_create(&p->source, from, dnn->engine, source);
    if (!s)
        s = dnnl_memory_create(&p->memory, to, dnn->engine, p->data);
    if (!s)
        s = dnnl_stream_create(&p->stream, dnn->engine, dnnl_stream_default_flags);
    if (!s)
        s = dnnl_reorder_primitive_desc_create(&desc, from, dnn->engine, to, dnn->engine, NULL);
    if (!s)
        s = dnnl_primitive_create(&p->reorder, desc);
    if (desc)
        dnnl_primitive_desc_destroy(desc);
    return s;
}

VitroStatus vitro_onednn_pack(VitroOnednn *dnn, VitroPacked **out, int64_t m, int64_t n, int64_t k,
                              const float *b, bool b_transposed)
{
    Key key;
    memset(&key, 0, sizeof key);
    key.m = m, key.n = n, key.k = k;
    const Blocking *blocking = NULL;
    VitroPacked *p = NULL;
    Layout from;
    memset(&from, 0, sizeof from);
    *out = NULL;

    VitroStatus st;
    int before = use_threads(dnn->threads);
    pthread_mutex_lock(&dnn->lock);
    st = choose_blocking(&blocking, dnn, &key);
    pthread_mutex_unlock(&dnn->lock);
    if (st != VITRO_OK || !blocking)
        goto done;

    st = VITRO_NOMEM;
    p = vitro_calloc(1, sizeof *p);
    if (!p)
        goto done;
    p->blocking = blocking;
    p->data = vitro_malloc_aligned(blocking->bytes);
    if (!p->data)
        goto done;
    vitro_large_pages(p->data, blocking->bytes);
    VITRO_GOTO(check(layout_dense(&from, k, n, b_transposed), "matrix"));
    VITRO_GOTO(check(make_reorder(p, dnn, VIEW(from), (void *)(uintptr_t)b), "reorder primitive"));
    VITRO_GOTO(vitro_onednn_repack(dnn, p));
    *out = p;
    p = NULL;
done:
    vitro_onednn_unpack(p);
    layout_free(&from);
    use_threads(before);
    return st;
}

VitroStatus vitro_onednn_repack(VitroOnednn *dnn, VitroPacked *p)
{
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, p->source}, {DNNL_ARG_TO, p->memory}};
    int before = use_threads(dnn->threads);
    dnnl_status_t s = dnnl_primitive_execute(p->reorder, p->stream, 2, args);
    if (!s)
        s = dnnl_stream_wait(p->stream);
    use_threads(before);
    return check(s, "packing a weight");
}

void vitro_onednn_unpack(VitroPacked *p)
{
    if (!p)
        return;
    if (p->reorder)
        dnnl_primitive_destroy(p->reorder);
    if (p->stream)
        dnnl_stream_destroy(p->stream);
    free_memory(p->memory);
    free_memory(p->source);
    vitro_free(p->data);
    vitro_free(p);
}

/* ---- running ----------------------------------------------------------------------------------
 */

static VitroStatus make_call(Call **out, VitroOnednn *dnn, const Product *p)
{
    Call *c = vitro_calloc(1, sizeof *c);
    if (!c)
        return VITRO_NOMEM;
    dnnl_engine_t e = dnn->engine;
    dnnl_status_t s = dnnl_stream_create(&c->stream, e, dnnl_stream_default_flags);
    if (!s)
        s = dnnl_memory_create(&c->a, VIEW(p->a), e, DNNL_MEMORY_NONE);
    if (!s && !p->key.blocking)
        s = dnnl_memory_create(&c->b, VIEW(p->b), e, DNNL_MEMORY_NONE);
    if (!s && p->key.bias)
        s = dnnl_memory_create(&c->bias, VIEW(p->bias), e, DNNL_MEMORY_NONE);
    if (!s)
        s = dnnl_memory_create(&c->dst, VIEW(p->dst), e, DNNL_MEMORY_NONE);
    if (!s && p->key.add == ADD_MATRIX)
        s = dnnl_memory_create(&c->residual, VIEW(p->dst), e, DNNL_MEMORY_NONE);
    if (!s && p->scratch_bytes)
        s = dnnl_memory_create(&c->scratch, VIEW(p->scratch), e, DNNL_MEMORY_NONE);
    if (s) {
        free_call(c);
        return check(s, "memory handles");
    }
    *out = c;
    return VITRO_OK;
}

typedef struct Args {
    dnnl_exec_arg_t arg[8];
    int count;
    dnnl_status_t status;
} Args;

static void bind(Args *args, int what, dnnl_memory_t memory, const void *data)
{
    if (args->status)
        return;
    /* oneDNN's handles are not const; inputs are not written through them */
    if (data)
        args->status = dnnl_memory_set_data_handle(memory, (void *)(uintptr_t)data);
    args->arg[args->count++] = (dnnl_exec_arg_t){what, memory};
}

static VitroStatus run(const Product *p, const Call *c, const VitroMatmul *mm)
{
    Args args = {.count = 0};
    bind(&args, DNNL_ARG_SRC, c->a, mm->a);
    if (p->key.blocking)
        bind(&args, DNNL_ARG_WEIGHTS, mm->packed->memory, NULL);
    else
        bind(&args, DNNL_ARG_WEIGHTS, c->b, mm->b);
    if (p->key.bias)
        bind(&args, DNNL_ARG_BIAS, c->bias, mm->bias);
    bind(&args, DNNL_ARG_DST, c->dst, mm->dst);
    if (p->key.add == ADD_MATRIX) {
        const int position = p->key.act == VITRO_ACT_NONE ? 0 : 1;
        bind(&args, DNNL_ARG_ATTR_MULTIPLE_POST_OP(position) | DNNL_ARG_SRC_1, c->residual,
             mm->residual);
    }
    if (p->scratch_bytes) {
        void *scratch = NULL;
        VITRO_TRY(vitro_scratch(&scratch, VITRO_SCRATCH_ONEDNN, p->scratch_bytes));
        bind(&args, DNNL_ARG_SCRATCHPAD, c->scratch, scratch);
    }
    if (!args.status)
        args.status = dnnl_primitive_execute(p->primitive, c->stream, args.count, args.arg);
    if (!args.status)
        args.status = dnnl_stream_wait(c->stream);
    return check(args.status, "matmul");
}

static VitroStatus take(Product **product, Call **call, VitroOnednn *dnn, Key *key)
{
    VITRO_TRY(find_product(product, dnn, key));
    if ((*product)->slow && key->blocking) {
        /* This blocking suits other numbers of rows: the matrix as it is serves any. */
        key->blocking = NULL;
        VITRO_TRY(find_product(product, dnn, key));
    }
    *call = (*product)->idle;
    if (*call) {
        (*product)->idle = (*call)->next;
        return VITRO_OK;
    }
    return make_call(call, dnn, *product);
}

VitroStatus vitro_onednn_matmul(VitroOnednn *dnn, const VitroMatmul *mm)
{
    Key key;
    memset(&key, 0, sizeof key);
    key.m = mm->m, key.n = mm->n, key.k = mm->k;
    key.blocking = mm->packed ? mm->packed->blocking : NULL;
    key.act = mm->act;
    key.add = !mm->residual ? ADD_NOTHING : mm->residual == mm->dst ? ADD_TO_DST : ADD_MATRIX;
    key.a_transposed = mm->a_transposed;
    key.b_transposed = mm->b_transposed;
    key.bias = mm->bias != NULL;

    Product *product = NULL;
    Call *call = NULL;
    int before = use_threads(dnn->threads);
    pthread_mutex_lock(&dnn->lock);
    VitroStatus st = take(&product, &call, dnn, &key);
    pthread_mutex_unlock(&dnn->lock);
    if (st == VITRO_OK) {
        st = run(product, call, mm);
        pthread_mutex_lock(&dnn->lock);
        call->next = product->idle;
        product->idle = call;
        pthread_mutex_unlock(&dnn->lock);
    }
    use_threads(before);
    return st;
}
