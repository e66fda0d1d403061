/* SPDX-License-Identifier: Apache-2.0 */
/* Time by operator: a table of ops that times each one and passes it on to the back end's own. It
 * takes that table's place in the device while a profile is wanted, so that nothing else knows of
 * it and an op costs nothing more without. */
#include "backend/backend.h"

#include <inttypes.h>
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

/* ---- what is counted -------------------------------------------------------------------------
 */

typedef enum Op {
    OP_UPLOAD,
    OP_DOWNLOAD,
    OP_ZERO,
    OP_WEIGHT_PREPARE,
    OP_WEIGHT_REFRESH,
    OP_LINEAR,
    OP_EPILOGUE_BACKWARD,
    OP_SCALE_BACKWARD,
    OP_LINEAR_BACKWARD,
    OP_LAYERNORM,
    OP_LAYERNORM_BACKWARD,
    OP_HEAD_NORM,
    OP_HEAD_NORM_BACKWARD,
    OP_ATTENTION,
    OP_ATTENTION_BACKWARD,
    OP_ATTENTION_CLS,
    OP_ATTENTION_CLS_BACKWARD,
    OP_PATCHIFY,
    OP_TOKENS,
    OP_TOKENS_BACKWARD,
    OP_TAKE_TOKENS,
    OP_ADD_TOKENS,
    OP_MEAN_TOKENS,
    OP_MEAN_TOKENS_BACKWARD,
    OP_CROSS_ENTROPY,
    OP_SUM_OF_SQUARES,
    OP_SGD,
    OP_ADAMW,
    OP_COUNT
} Op;

static const char *const op_names[OP_COUNT] = {
    [OP_UPLOAD] = "upload",
    [OP_DOWNLOAD] = "download",
    [OP_ZERO] = "zero",
    [OP_WEIGHT_PREPARE] = "weight_prepare",
    [OP_WEIGHT_REFRESH] = "weight_refresh",
    [OP_LINEAR] = "linear",
    [OP_EPILOGUE_BACKWARD] = "epilogue_backward",
    [OP_SCALE_BACKWARD] = "scale_backward",
    [OP_LINEAR_BACKWARD] = "linear_backward",
    [OP_LAYERNORM] = "layernorm",
    [OP_LAYERNORM_BACKWARD] = "layernorm_backward",
    [OP_HEAD_NORM] = "head_norm",
    [OP_HEAD_NORM_BACKWARD] = "head_norm_backward",
    [OP_ATTENTION] = "attention",
    [OP_ATTENTION_BACKWARD] = "attention_backward",
    [OP_ATTENTION_CLS] = "attention_cls",
    [OP_ATTENTION_CLS_BACKWARD] = "attention_cls_backward",
    [OP_PATCHIFY] = "patchify",
    [OP_TOKENS] = "tokens",
    [OP_TOKENS_BACKWARD] = "tokens_backward",
    [OP_TAKE_TOKENS] = "take_tokens",
    [OP_ADD_TOKENS] = "add_tokens",
    [OP_MEAN_TOKENS] = "mean_tokens",
    [OP_MEAN_TOKENS_BACKWARD] = "mean_tokens_backward",
    [OP_CROSS_ENTROPY] = "cross_entropy",
    [OP_SUM_OF_SQUARES] = "sum_of_squares",
    [OP_SGD] = "sgd",
    [OP_ADAMW] = "adamw",
};

/* What stands behind the shape: which of the ops with this shape it is. */
enum {
    NOTE_GELU = 1,
    NOTE_GELU_TANH = 2,
    NOTE_TANH = 4,
    NOTE_RESIDUAL = 8,
    NOTE_DW = 16, /* the weight's gradient is wanted */
    NOTE_DX = 32, /* the input's is */
    NOTE_SCALE = 64,
    NOTE_GELU_QUICK = 128
};
static const char *const note_names[] = {"gelu", "gelu_tanh", "tanh",  "residual",
                                         "dw",   "dx",        "scale", "gelu_quick"};
enum { NOTE_COUNT = sizeof note_names / sizeof note_names[0] };

enum { MAX_DIMS = 3 };

/* One call, or, in the profile, all calls of one kind. */
typedef struct Entry {
    Op op;
    unsigned notes;        /* NOTE_* */
    int rank;              /* of what follows; 0: the shape is not told */
    int64_t dim[MAX_DIMS]; /* zeros behind `rank` */
    int64_t calls;
    double seconds, flops, bytes;
} Entry;

/* Models have some thirty kinds. Where a caller varies the batch so often that they do not fit, the
 * rest is counted by op alone, in the entries [0, OP_COUNT). */
enum { MAX_ENTRIES = 512 };

struct VitroProfile {
    const VitroBackendOps *own; /* the back end's */
    VitroBackendOps timed;
    pthread_mutex_t lock; /* of what follows: forward ops run in several threads */
    int count;
    Entry entry[MAX_ENTRIES];
};

static bool same_kind(const Entry *a, const Entry *b)
{
    return a->op == b->op && a->notes == b->notes && a->rank == b->rank &&
           memcmp(a->dim, b->dim, sizeof a->dim) == 0;
}

static Entry *find_entry(VitroProfile *p, const Entry *call)
{
    for (int i = 0; i < p->count; i++)
        if (same_kind(&p->entry[i], call))
            return &p->entry[i];
    if (p->count == MAX_ENTRIES)
        return &p->entry[call->op];
    Entry *e = &p->entry[p->count++];
    *e = *call;
    e->flops = e->bytes = 0;
    return e;
}

/* The end of an op that began at `start` and returned `status`: waits for it, then counts. */
static VitroStatus count_call(VitroDevice *dev, VitroStatus status, double start, Entry call)
{
    VitroProfile *p = dev->profile;
    VITRO_TRY(status);
    VITRO_TRY(p->own->sync(dev));
    const double seconds = omp_get_wtime() - start;
    pthread_mutex_lock(&p->lock);
    Entry *e = find_entry(p, &call);
    e->calls++;
    e->seconds += seconds;
    e->flops += call.flops;
    e->bytes += call.bytes;
    pthread_mutex_unlock(&p->lock);
    return VITRO_OK;
}

/* Runs the own op of this name and counts it as the Entry that follows. */
#define TIMED(name, arguments, ...)                                                                \
    const double start = omp_get_wtime();                                                          \
    const VitroStatus status = dev->profile->own->name arguments;                                  \
    return count_call(dev, status, start, (Entry){__VA_ARGS__})

/* Bytes of the tensors that end with one that has no rank; absent ones count nothing. */
#define TENSORS(...) ((const VitroTensor[]){__VA_ARGS__, {.rank = -1}})
static double bytes_of(const VitroTensor *t)
{
    double sum = 0;
    for (; t->rank >= 0; t++)
        sum += t->data ? (double)vitro_tensor_bytes(t) : 0;
    return sum;
}

/* A tensor as the matrix that most ops take it for. */
#define ROWS_OF(t) .rank = 2, .dim = {vitro_tensor_rows(&(t)), vitro_tensor_cols(&(t))}

/* ---- memory and weights ----------------------------------------------------------------------
 */

static VitroStatus timed_upload(VitroDevice *dev, void *dst, const void *src, size_t bytes)
{
    TIMED(upload, (dev, dst, src, bytes), .op = OP_UPLOAD, .bytes = 2.0 * (double)bytes);
}

static VitroStatus timed_download(VitroDevice *dev, void *dst, const void *src, size_t bytes)
{
    TIMED(download, (dev, dst, src, bytes), .op = OP_DOWNLOAD, .bytes = 2.0 * (double)bytes);
}

static VitroStatus timed_zero(VitroDevice *dev, void *dst, size_t bytes)
{
    TIMED(zero, (dev, dst, bytes), .op = OP_ZERO, .bytes = (double)bytes);
}

/* How much these two move is the back end's affair. */
static VitroStatus timed_weight_prepare(VitroDevice *dev, VitroWeight *weight, int64_t max_rows)
{
    TIMED(weight_prepare, (dev, weight, max_rows), .op = OP_WEIGHT_PREPARE);
}

static VitroStatus timed_weight_refresh(VitroDevice *dev, VitroWeight *weight)
{
    TIMED(weight_refresh, (dev, weight), .op = OP_WEIGHT_REFRESH);
}

/* ---- products --------------------------------------------------------------------------------
 */

static unsigned notes_of(const VitroEpilogue *e)
{
    const unsigned act = e->act == VITRO_ACT_GELU         ? NOTE_GELU
                         : e->act == VITRO_ACT_GELU_TANH  ? NOTE_GELU_TANH
                         : e->act == VITRO_ACT_GELU_QUICK ? NOTE_GELU_QUICK
                         : e->act == VITRO_ACT_TANH       ? NOTE_TANH
                                                          : 0;
    return act | (e->residual.data ? NOTE_RESIDUAL : 0) | (e->scale.data ? NOTE_SCALE : 0);
}

static VitroStatus timed_linear(VitroDevice *dev, VitroTensor y, VitroTensor x,
                                const VitroWeight *weight, const VitroEpilogue *epilogue)
{
    const int64_t M = vitro_tensor_rows(&x), N = weight->w.dim[0], K = weight->w.dim[1];
    TIMED(linear, (dev, y, x, weight, epilogue), .op = OP_LINEAR, .notes = notes_of(epilogue),
          .rank = 3, .dim = {M, N, K}, .flops = 2.0 * (double)M * (double)N * (double)K);
}

static VitroStatus timed_epilogue_backward(VitroDevice *dev, VitroTensor dpre, VitroTensor dy,
                                           const VitroEpilogue *epilogue)
{
    TIMED(epilogue_backward, (dev, dpre, dy, epilogue), .op = OP_EPILOGUE_BACKWARD, ROWS_OF(dy),
          .bytes = bytes_of(TENSORS(dpre, dy, epilogue->pre)));
}

static VitroStatus timed_scale_backward(VitroDevice *dev, VitroTensor dscale, VitroTensor dy,
                                        const VitroEpilogue *epilogue)
{
    TIMED(scale_backward, (dev, dscale, dy, epilogue), .op = OP_SCALE_BACKWARD, ROWS_OF(dy),
          .bytes = bytes_of(TENSORS(dscale, dscale, dy, epilogue->pre)));
}

static VitroStatus timed_linear_backward(VitroDevice *dev, VitroTensor dx, const VitroWeight *grad,
                                         VitroTensor dpre, VitroTensor x, const VitroWeight *weight,
                                         const VitroEpilogue *through)
{
    const int64_t M = vitro_tensor_rows(&dpre), N = weight->w.dim[0], K = weight->w.dim[1];
    const bool dw = grad && grad->w.data;
    const int products = dw + (dx.data != NULL);
    TIMED(linear_backward, (dev, dx, grad, dpre, x, weight, through), .op = OP_LINEAR_BACKWARD,
          .notes = (dw ? NOTE_DW : 0) | (dx.data ? NOTE_DX : 0) | (through ? notes_of(through) : 0),
          .rank = 3, .dim = {M, N, K}, .flops = 2.0 * products * (double)M * (double)N * (double)K);
}

/* ---- layer norm and attention -----------------------------------------------------------------
 */

static VitroStatus timed_layernorm(VitroDevice *dev, VitroTensor y, VitroTensor mean,
                                   VitroTensor rstd, VitroTensor x, VitroTensor gamma,
                                   VitroTensor beta, double eps)
{
    TIMED(layernorm, (dev, y, mean, rstd, x, gamma, beta, eps), .op = OP_LAYERNORM, ROWS_OF(x),
          .bytes = bytes_of(TENSORS(y, mean, rstd, x, gamma, beta)));
}

/* The sums dgamma and dbeta are read and written. */
static VitroStatus timed_layernorm_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dgamma,
                                            VitroTensor dbeta, VitroTensor add, VitroTensor dy,
                                            VitroTensor x, VitroTensor mean, VitroTensor rstd,
                                            VitroTensor gamma)
{
    TIMED(layernorm_backward, (dev, dx, dgamma, dbeta, add, dy, x, mean, rstd, gamma),
          .op = OP_LAYERNORM_BACKWARD, ROWS_OF(x),
          .bytes =
              bytes_of(TENSORS(dx, dgamma, dgamma, dbeta, dbeta, add, dy, x, mean, rstd, gamma)));
}

static VitroStatus timed_head_norm(VitroDevice *dev, VitroTensor y, VitroTensor mean,
                                   VitroTensor rstd, VitroTensor x, VitroTensor gamma,
                                   VitroTensor beta, double eps, int64_t first, int64_t heads)
{
    TIMED(head_norm, (dev, y, mean, rstd, x, gamma, beta, eps, first, heads), .op = OP_HEAD_NORM,
          ROWS_OF(x), .bytes = bytes_of(TENSORS(y, mean, rstd, x, gamma, beta)));
}

static VitroStatus timed_head_norm_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dgamma,
                                            VitroTensor dbeta, VitroTensor x, VitroTensor mean,
                                            VitroTensor rstd, VitroTensor gamma, int64_t first,
                                            int64_t heads)
{
    TIMED(head_norm_backward, (dev, dx, dgamma, dbeta, x, mean, rstd, gamma, first, heads),
          .op = OP_HEAD_NORM_BACKWARD, ROWS_OF(x),
          .bytes = bytes_of(TENSORS(dx, dx, dgamma, dgamma, dbeta, dbeta, x, mean, rstd, gamma)));
}

/* Multiply-adds of the two products per image, q k^T and the one with v, are 2 rows T D; the way
 * back has four such products. (What a back end computes once more is not counted.) */
static double attention_flops(double images, double rows, double T, double D, double products)
{
    return 2 * products * images * rows * T * D;
}

static VitroStatus timed_attention(VitroDevice *dev, VitroTensor ctx, VitroTensor lse,
                                   VitroTensor qkv, const VitroAttentionShape *shape)
{
    const int64_t B = qkv.dim[0], T = qkv.dim[1], D = qkv.dim[2] / 3;
    TIMED(attention, (dev, ctx, lse, qkv, shape), .op = OP_ATTENTION, .rank = 3, .dim = {B, T, D},
          .flops = attention_flops((double)B, (double)T, (double)T, (double)D, 2));
}

static VitroStatus timed_attention_backward(VitroDevice *dev, VitroTensor dqkv, VitroTensor dctx,
                                            VitroTensor qkv, VitroTensor ctx, VitroTensor lse,
                                            const VitroAttentionShape *shape)
{
    const int64_t B = qkv.dim[0], T = qkv.dim[1], D = qkv.dim[2] / 3;
    TIMED(attention_backward, (dev, dqkv, dctx, qkv, ctx, lse, shape), .op = OP_ATTENTION_BACKWARD,
          .rank = 3, .dim = {B, T, D},
          .flops = attention_flops((double)B, (double)T, (double)T, (double)D, 4));
}

static VitroStatus timed_attention_cls(VitroDevice *dev, VitroTensor ctx, VitroTensor lse,
                                       VitroTensor q, VitroTensor kv,
                                       const VitroAttentionShape *shape)
{
    const int64_t B = kv.dim[0], T = kv.dim[1], D = kv.dim[2] / 2;
    TIMED(attention_cls, (dev, ctx, lse, q, kv, shape), .op = OP_ATTENTION_CLS, .rank = 3,
          .dim = {B, T, D}, .flops = attention_flops((double)B, 1, (double)T, (double)D, 2));
}

static VitroStatus timed_attention_cls_backward(VitroDevice *dev, VitroTensor dq, VitroTensor dkv,
                                                VitroTensor dctx, VitroTensor q, VitroTensor kv,
                                                VitroTensor ctx, VitroTensor lse,
                                                const VitroAttentionShape *shape)
{
    const int64_t B = kv.dim[0], T = kv.dim[1], D = kv.dim[2] / 2;
    TIMED(attention_cls_backward, (dev, dq, dkv, dctx, q, kv, ctx, lse, shape),
          .op = OP_ATTENTION_CLS_BACKWARD, .rank = 3, .dim = {B, T, D},
          .flops = attention_flops((double)B, 1, (double)T, (double)D, 4));
}

/* ---- images to tokens, tokens to what is classified -------------------------------------------
 */

static VitroStatus timed_patchify(VitroDevice *dev, VitroTensor patches, VitroTensor images,
                                  int64_t patch_size)
{
    TIMED(patchify, (dev, patches, images, patch_size), .op = OP_PATCHIFY, ROWS_OF(patches),
          .bytes = bytes_of(TENSORS(patches, images)));
}

static VitroStatus timed_tokens(VitroDevice *dev, VitroTensor x, VitroTensor emb, VitroTensor cls,
                                VitroTensor reg, VitroTensor pos, const VitroDropout *dropout)
{
    TIMED(tokens, (dev, x, emb, cls, reg, pos, dropout), .op = OP_TOKENS, ROWS_OF(x),
          .bytes = bytes_of(TENSORS(x, emb, cls, reg, pos)));
}

static VitroStatus timed_tokens_backward(VitroDevice *dev, VitroTensor demb, VitroTensor dcls,
                                         VitroTensor dreg, VitroTensor dpos, VitroTensor dx,
                                         int64_t N, const VitroDropout *dropout)
{
    TIMED(tokens_backward, (dev, demb, dcls, dreg, dpos, dx, N, dropout), .op = OP_TOKENS_BACKWARD,
          ROWS_OF(dx), .bytes = bytes_of(TENSORS(demb, dcls, dcls, dreg, dreg, dpos, dpos, dx)));
}

static VitroStatus timed_take_tokens(VitroDevice *dev, VitroTensor y, VitroTensor x, int64_t first)
{
    TIMED(take_tokens, (dev, y, x, first), .op = OP_TAKE_TOKENS, ROWS_OF(y),
          .bytes = bytes_of(TENSORS(y, y)));
}

static VitroStatus timed_add_tokens(VitroDevice *dev, VitroTensor x, VitroTensor y, int64_t first)
{
    TIMED(add_tokens, (dev, x, y, first), .op = OP_ADD_TOKENS, ROWS_OF(y),
          .bytes = bytes_of(TENSORS(y, y, y)));
}

static VitroStatus timed_mean_tokens(VitroDevice *dev, VitroTensor y, VitroTensor x, int64_t first)
{
    TIMED(mean_tokens, (dev, y, x, first), .op = OP_MEAN_TOKENS, ROWS_OF(x),
          .bytes = bytes_of(TENSORS(y, x)));
}

static VitroStatus timed_mean_tokens_backward(VitroDevice *dev, VitroTensor dx, VitroTensor dy,
                                              int64_t first)
{
    TIMED(mean_tokens_backward, (dev, dx, dy, first), .op = OP_MEAN_TOKENS_BACKWARD, ROWS_OF(dx),
          .bytes = bytes_of(TENSORS(dx, dy)));
}

/* ---- loss and optimizers -----------------------------------------------------------------------
 */

static VitroStatus timed_cross_entropy(VitroDevice *dev, double *losses, int32_t *best,
                                       VitroTensor dlogits, VitroTensor logits,
                                       const int32_t *labels, double smoothing, double grad_scale)
{
    TIMED(cross_entropy, (dev, losses, best, dlogits, logits, labels, smoothing, grad_scale),
          .op = OP_CROSS_ENTROPY, ROWS_OF(logits), .bytes = bytes_of(TENSORS(dlogits, logits)));
}

static VitroStatus timed_sum_of_squares(VitroDevice *dev, double *host_out, VitroTensor g)
{
    TIMED(sum_of_squares, (dev, host_out, g), .op = OP_SUM_OF_SQUARES, .rank = 1,
          .dim = {vitro_tensor_count(&g)}, .bytes = bytes_of(TENSORS(g)));
}

/* What an optimizer changes is read and written. */
static VitroStatus timed_sgd(VitroDevice *dev, VitroTensor param, VitroTensor grad,
                             VitroTensor momentum, const VitroOptimStep *step)
{
    TIMED(sgd, (dev, param, grad, momentum, step), .op = OP_SGD, .rank = 1,
          .dim = {vitro_tensor_count(&param)},
          .bytes = bytes_of(TENSORS(param, param, grad, momentum, momentum)));
}

static VitroStatus timed_adamw(VitroDevice *dev, VitroTensor param, VitroTensor grad, VitroTensor m,
                               VitroTensor v, const VitroOptimStep *step)
{
    TIMED(adamw, (dev, param, grad, m, v, step), .op = OP_ADAMW, .rank = 1,
          .dim = {vitro_tensor_count(&param)},
          .bytes = bytes_of(TENSORS(param, param, grad, m, m, v, v)));
}

/* ---- the table, and its place in the device ---------------------------------------------------
 */

/* What is not named here (opening, memory, and ops that a back end may leave out) is the back
 * end's own. */
static VitroBackendOps timed_table(const VitroBackendOps *own)
{
    VitroBackendOps t = *own;
    t.sequence = NULL; /* each op is called and timed */
    t.upload = timed_upload;
    t.download = timed_download;
    t.zero = timed_zero;
    t.weight_prepare = timed_weight_prepare;
    t.weight_refresh = timed_weight_refresh;
    t.linear = timed_linear;
    t.epilogue_backward = timed_epilogue_backward;
    t.scale_backward = timed_scale_backward;
    t.linear_backward = timed_linear_backward;
    t.layernorm = timed_layernorm;
    t.layernorm_backward = timed_layernorm_backward;
    t.head_norm = timed_head_norm;
    t.head_norm_backward = timed_head_norm_backward;
    t.attention = timed_attention;
    t.attention_backward = timed_attention_backward;
    t.attention_cls = timed_attention_cls;
    t.attention_cls_backward = timed_attention_cls_backward;
    t.patchify = timed_patchify;
    t.tokens = timed_tokens;
    t.tokens_backward = timed_tokens_backward;
    t.take_tokens = timed_take_tokens;
    t.add_tokens = timed_add_tokens;
    t.mean_tokens = timed_mean_tokens;
    t.mean_tokens_backward = timed_mean_tokens_backward;
    t.cross_entropy = timed_cross_entropy;
    t.sum_of_squares = timed_sum_of_squares;
    t.sgd = timed_sgd;
    t.adamw = timed_adamw;
    return t;
}

VitroStatus vitro_device_profile(VitroDevice *dev, bool on)
{
    VitroProfile *p = dev->profile;
    if (!on) {
        if (p)
            dev->ops = p->own;
        return VITRO_OK;
    }
    if (!p) {
        p = vitro_calloc(1, sizeof *p);
        if (!p)
            return VITRO_NOMEM;
        if (pthread_mutex_init(&p->lock, NULL) != 0) {
            vitro_free(p);
            return vitro_fail(VITRO_E_NOMEM, "the profile: no memory for a lock");
        }
        p->own = dev->ops;
        p->timed = timed_table(dev->ops);
        dev->profile = p;
    }
    for (int op = 0; op < OP_COUNT; op++)
        p->entry[op] = (Entry){.op = (Op)op};
    p->count = OP_COUNT;
    dev->ops = &p->timed;
    return VITRO_OK;
}

void vitro_profile_close(VitroDevice *dev)
{
    VitroProfile *p = dev->profile;
    if (!p)
        return;
    dev->ops = p->own;
    dev->profile = NULL;
    pthread_mutex_destroy(&p->lock);
    vitro_free(p);
}

/* ---- reading it --------------------------------------------------------------------------------
 */

/* "[1576,3072,768] gelu" */
static void shape_text(char *out, size_t size, const Entry *e)
{
    size_t at = 0;
    out[0] = 0;
    for (int i = 0; i < e->rank && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%" PRId64 "%s", i ? "," : "[", e->dim[i],
                               i + 1 < e->rank ? "" : "]");
    for (int i = 0; i < NOTE_COUNT && at < size; i++)
        if (e->notes & 1u << i)
            at += (size_t)snprintf(out + at, size - at, " %s", note_names[i]);
}

/* The entry of row i: those that were never used are no rows. NULL: there is none. */
static const Entry *row_entry(const VitroProfile *p, int i)
{
    for (int e = 0; p && e < p->count; e++)
        if (p->entry[e].calls > 0 && i-- == 0)
            return &p->entry[e];
    return NULL;
}

int vitro_device_profile_count(const VitroDevice *dev)
{
    int count = 0;
    while (row_entry(dev->profile, count))
        count++;
    return count;
}

VitroStatus vitro_device_profile_get(const VitroDevice *dev, int i, VitroProfileRow *out)
{
    const Entry *e = i < 0 ? NULL : row_entry(dev->profile, i);
    if (!e)
        return vitro_fail(VITRO_E_ARG, "the profile has no row %d: it has %d", i,
                          vitro_device_profile_count(dev));
    VitroProfileRow row = {.op = op_names[e->op],
                           .calls = e->calls,
                           .seconds = e->seconds,
                           .flops = e->flops,
                           .bytes = e->bytes};
    shape_text(row.shape, sizeof row.shape, e);
    *out = row;
    return VITRO_OK;
}
