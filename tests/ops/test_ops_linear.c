/* SPDX-License-Identifier: Apache-2.0 */
/* linear, epilogue_backward, scale_backward, linear_backward of every back end against ref. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "harness/vt.h"

/* Relative to the largest element; sums of up to 3072 products in float32. */
#define LIMIT 4e-6

typedef struct Shape {
    int64_t M, K, N, rows_per_sample;
} Shape;

typedef enum Residual { RESIDUAL_NONE, RESIDUAL_OTHER, RESIDUAL_IN_PLACE } Residual;

typedef enum Prepared {
    UNPREPARED, /* as a weight that is being trained */
    PREPARED,
    REFRESHED /* prepared, then changed */
} Prepared;

typedef struct Variant {
    VitroAct act;
    bool bias, pre, dropout, path, scale;
    Residual residual;
    Prepared prepared;
} Variant;

static const char *const act_name[] = {"none", "gelu", "gelu_tanh", "tanh", "gelu_quick"};
static const char *const prepared_name[] = {"", " prepared", " refreshed"};
static const char *const residual_name[] = {"", " residual", " residual=y"};

static const VitroDropState drop_state = {.seed = 0x123456789, .step = 5, .sample0 = 3};

/* Everything but the tensors. */
static VitroEpilogue make_epilogue(VtCase *c, int s, const Shape *z, const Variant *v)
{
    VitroEpilogue e = {.act = v->act, .rows_per_sample = z->rows_per_sample};
    const VitroDropState *state = vt_raw(c, s, &drop_state, sizeof drop_state);
    if (v->dropout)
        e.dropout = (VitroDropout){.ratio = 0.3, .site = 11, .state = state};
    if (v->path)
        e.path = (VitroDropout){.ratio = 0.4, .site = 12, .state = state};
    return e;
}

static void prepare(VtCase *c, int s, VitroWeight *weight, const VtTensor *w, int64_t rows,
                    Prepared how)
{
    VitroDevice *dev = c->dev[s];
    if (how == UNPREPARED)
        return;
    if (how == REFRESHED) { /* also for fewer rows first */
        vt_clear(c, w, s);
        vt_ok(c, dev->ops->weight_prepare(dev, weight, 1));
    }
    vt_ok(c, dev->ops->weight_prepare(dev, weight, rows));
    if (how == REFRESHED) {
        vt_restore(c, w, s);
        vt_ok(c, dev->ops->weight_refresh(dev, weight));
    }
}

static void forward(VtCase *c, const Shape *z, const Variant *v)
{
    int64_t M = z->M, K = z->K, N = z->N, mn[] = {M, N};
    VtTensor *x = vt_input(c, "x", 2, (int64_t[]){M, K});
    VtTensor *w = vt_make(c, "w", VT_INPUT, VITRO_F32, 1 / sqrt((double)K), 2, (int64_t[]){N, K});
    VtTensor *b = v->bias ? vt_input(c, "b", 1, (int64_t[]){N}) : vt_absent();
    VtTensor *pre = v->pre ? vt_output(c, "pre", 2, mn) : vt_absent();
    VtTensor *scale = v->scale ? vt_input(c, "scale", 1, (int64_t[]){N}) : vt_absent();
    VtTensor *residual =
        v->residual == RESIDUAL_OTHER ? vt_input(c, "residual", 2, mn) : vt_absent();
    VtTensor *y =
        v->residual == RESIDUAL_IN_PLACE ? vt_inout(c, "y", 2, mn) : vt_output(c, "y", 2, mn);
    for (int s = 0; s < VT_SIDES; s++) {
        VitroDevice *dev = c->dev[s];
        VitroWeight weight = {.w = w->t[s], .b = b->t[s]};
        VitroEpilogue e = make_epilogue(c, s, z, v);
        e.pre = pre->t[s];
        e.scale = scale->t[s];
        e.residual = v->residual == RESIDUAL_IN_PLACE ? y->t[s] : residual->t[s];
        /* a last, partial batch has fewer rows than were prepared for */
        prepare(c, s, &weight, w, v->pre ? 3 * M + 2 : M, v->prepared);
        vt_ok(c, dev->ops->linear(dev, y->t[s], x->t[s], &weight, &e));
        dev->ops->weight_release(dev, &weight);
    }
    vt_check(c, pre, LIMIT);
    vt_check(c, y, LIMIT);
}

static void backward_of_epilogue(VtCase *c, const Shape *z, const Variant *v, bool in_place)
{
    int64_t mn[] = {z->M, z->N};
    VtTensor *scale = v->scale ? vt_input(c, "scale", 1, (int64_t[]){z->N}) : vt_absent();
    VtTensor *pre = v->pre ? vt_make(c, "pre", VT_INPUT, VITRO_F32, 2, 2, mn) : vt_absent();
    VtTensor *dy = in_place ? vt_inout(c, "dy", 2, mn) : vt_input(c, "dy", 2, mn);
    VtTensor *dpre = in_place ? dy : vt_output(c, "dpre", 2, mn);
    for (int s = 0; s < VT_SIDES; s++) {
        VitroEpilogue e = make_epilogue(c, s, z, v);
        e.pre = pre->t[s];
        e.scale = scale->t[s];
        vt_ok(c, c->dev[s]->ops->epilogue_backward(c->dev[s], dpre->t[s], dy->t[s], &e));
    }
    vt_check(c, dpre, LIMIT);
}

static void backward_of_scale(VtCase *c, const Shape *z, const Variant *v)
{
    int64_t mn[] = {z->M, z->N}, n[] = {z->N};
    VtTensor *pre = vt_input(c, "pre", 2, mn), *dy = vt_input(c, "dy", 2, mn);
    VtTensor *scale = vt_input(c, "scale", 1, n), *dscale = vt_inout(c, "dscale", 1, n);
    for (int s = 0; s < VT_SIDES; s++) {
        VitroEpilogue e = make_epilogue(c, s, z, v);
        e.pre = pre->t[s];
        e.scale = scale->t[s];
        vt_ok(c, c->dev[s]->ops->scale_backward(c->dev[s], dscale->t[s], dy->t[s], &e));
    }
    vt_check(c, dscale, LIMIT);
}

/* Which gradients are asked for. */
typedef enum Wanted { DX = 1, DW = 2, DB = 4 } Wanted;

/* `through`: the epilogue that made x, or NULL. */
static void backward(VtCase *c, const Shape *z, unsigned wanted, const Variant *through,
                     Prepared prepared)
{
    int64_t M = z->M, K = z->K, N = z->N, mk[] = {M, K}, nk[] = {N, K};
    VtTensor *x = vt_input(c, "x", 2, mk), *dpre = vt_input(c, "dpre", 2, (int64_t[]){M, N});
    VtTensor *w = vt_make(c, "w", VT_INPUT, VITRO_F32, 1 / sqrt((double)K), 2, nk);
    VtTensor *b = wanted & DB ? vt_input(c, "b", 1, (int64_t[]){N}) : vt_absent();
    VtTensor *dx = wanted & DX ? vt_output(c, "dx", 2, mk) : vt_absent();
    VtTensor *dw = wanted & DW ? vt_inout(c, "dw", 2, nk) : vt_absent();
    VtTensor *db = wanted & DB ? vt_inout(c, "db", 1, (int64_t[]){N}) : vt_absent();
    VtTensor *pre = through && through->pre ? vt_input(c, "pre", 2, mk) : vt_absent();
    for (int s = 0; s < VT_SIDES; s++) {
        VitroDevice *dev = c->dev[s];
        VitroWeight weight = {.w = w->t[s], .b = b->t[s]};
        VitroWeight grad = {.w = dw->t[s], .b = db->t[s]};
        VitroEpilogue e = {.rows_per_sample = z->rows_per_sample};
        if (through)
            e = make_epilogue(c, s, z, through);
        e.pre = pre->t[s];
        prepare(c, s, &weight, w, M, prepared);
        vt_ok(c, dev->ops->linear_backward(dev, dx->t[s], wanted & DW ? &grad : NULL, dpre->t[s],
                                           x->t[s], &weight, through ? &e : NULL));
        dev->ops->weight_release(dev, &weight);
    }
    vt_check(c, dx, LIMIT);
    vt_check(c, dw, LIMIT);
    vt_check(c, db, LIMIT);
}

/* ---- which ----------------------------------------------------------------------------------- */

static void forward_case(VtCase *c, const Shape *z, const Variant *v)
{
    if (vt_begin(c, "linear M=%d K=%d N=%d rps=%d act=%s%s%s%s%s%s%s%s", (int)z->M, (int)z->K,
                 (int)z->N, (int)z->rows_per_sample, act_name[v->act], v->bias ? " bias" : "",
                 v->pre ? " pre" : "", v->dropout ? " dropout" : "", v->path ? " path" : "",
                 v->scale ? " scale" : "", residual_name[v->residual],
                 prepared_name[v->prepared])) {
        forward(c, z, v);
        vt_end(c);
    }
}

static void epilogue_backward_case(VtCase *c, const Shape *z, const Variant *v, bool in_place)
{
    if (vt_begin(c, "epilogue_backward M=%d N=%d rps=%d act=%s%s%s%s%s", (int)z->M, (int)z->N,
                 (int)z->rows_per_sample, act_name[v->act], v->dropout ? " dropout" : "",
                 v->path ? " path" : "", v->scale ? " scale" : "", in_place ? " dpre=dy" : "")) {
        backward_of_epilogue(c, z, v, in_place);
        vt_end(c);
    }
    if (v->scale && !in_place &&
        vt_begin(c, "scale_backward M=%d N=%d rps=%d act=%s%s%s", (int)z->M, (int)z->N,
                 (int)z->rows_per_sample, act_name[v->act], v->dropout ? " dropout" : "",
                 v->path ? " path" : "")) {
        backward_of_scale(c, z, v);
        vt_end(c);
    }
}

static void backward_case(VtCase *c, const Shape *z, unsigned wanted, const Variant *through,
                          Prepared prepared)
{
    if (vt_begin(c, "linear_backward M=%d K=%d N=%d rps=%d%s%s%s%s%s%s%s%s", (int)z->M, (int)z->K,
                 (int)z->N, (int)z->rows_per_sample, wanted & DX ? " dx" : "",
                 wanted & DW ? " dw" : "", wanted & DB ? " db" : "", through ? " through=" : "",
                 through ? act_name[through->act] : "",
                 through && through->dropout ? " dropout" : "",
                 through && through->path ? " path" : "", prepared_name[prepared])) {
        backward(c, z, wanted, through, prepared);
        vt_end(c);
    }
}

/* What the model's products look like. */
static const Variant qkv = {.bias = true};
static const Variant proj = {
    .bias = true, .dropout = true, .path = true, .residual = RESIDUAL_IN_PLACE};
static const Variant proj_inference = {.bias = true, .residual = RESIDUAL_OTHER};
static const Variant fc1 = {.act = VITRO_ACT_GELU, .bias = true, .pre = true, .dropout = true};
static const Variant fc1_inference = {.act = VITRO_ACT_GELU, .bias = true};
static const Variant pre_logits = {.act = VITRO_ACT_TANH, .bias = true, .pre = true};
static const Variant *const usual[] = {&qkv, &proj,          &proj_inference,
                                       &fc1, &fc1_inference, &pre_logits};

/* Below, at and above vector widths; one row; one column; one class. */
static const Shape small_shapes[] = {{1, 1, 1, 1},     {2, 3, 1, 2},     {2, 8, 8, 1},
                                     {3, 7, 5, 1},     {4, 16, 16, 2},   {5, 9, 17, 5},
                                     {6, 40, 15, 3},   {10, 31, 33, 5},  {15, 97, 40, 5},
                                     {34, 64, 97, 17}, {1, 64, 1000, 1}, {3, 65, 130, 1}};

/* ViT-B: patches, qkv, fc1, fc2 and head; few rows, so that the oracle is quick. */
static const Shape large_shapes[] = {{50, 768, 768, 50},  {34, 768, 2304, 17}, {17, 768, 3072, 17},
                                     {17, 3072, 768, 17}, {2, 768, 1000, 1},   {197, 192, 576, 197},
                                     {394, 192, 192, 197}};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Every combination of what an epilogue may hold. */
static void all_epilogues(VtCase *c)
{
    Shape z = {6, 9, 19, 3};
    for (int act = VITRO_ACT_NONE; act <= VITRO_ACT_GELU_QUICK; act++)
        for (int residual = RESIDUAL_NONE; residual <= RESIDUAL_IN_PLACE; residual++)
            for (unsigned bits = 0; bits < 32; bits++) {
                Variant v = {.act = (VitroAct)act,
                             .bias = bits & 1,
                             .pre = bits & 2,
                             .dropout = bits & 4,
                             .path = bits & 8,
                             .scale = bits & 16,
                             .residual = (Residual)residual};
                forward_case(c, &z, &v);
            }
}

static void all_epilogue_gradients(VtCase *c)
{
    static const Shape shapes[] = {{6, 1, 19, 3}, {1, 1, 1, 1}, {34, 1, 96, 17}, {7, 1, 40, 1}};
    for (size_t i = 0; i < COUNT(shapes); i++)
        for (int act = VITRO_ACT_NONE; act <= VITRO_ACT_GELU_QUICK; act++)
            for (unsigned bits = 0; bits < 16; bits++) {
                Variant v = {.act = (VitroAct)act,
                             .pre = act != VITRO_ACT_NONE,
                             .dropout = bits & 1,
                             .path = bits & 2,
                             .scale = bits & 8};
                epilogue_backward_case(c, &shapes[i], &v, bits & 4);
            }
}

static void gradients_of(VtCase *c, const Shape *z)
{
    Variant through[] = {{.act = VITRO_ACT_GELU, .pre = true, .dropout = true},
                         {.act = VITRO_ACT_GELU_TANH, .pre = true, .path = true},
                         {.act = VITRO_ACT_TANH, .pre = true},
                         {.act = VITRO_ACT_GELU_QUICK, .pre = true, .dropout = true},
                         {.dropout = true}};
    static const unsigned wanted[] = {DX | DW | DB, DX | DW, DX, DW | DB, DW};
    for (size_t i = 0; i < COUNT(wanted); i++)
        backward_case(c, z, wanted[i], NULL, i ? PREPARED : REFRESHED);
    for (size_t i = 0; i < COUNT(through); i++)
        backward_case(c, z, DX | DW | DB, &through[i], UNPREPARED);
}

static void cases(VtCase *c)
{
    all_epilogues(c);
    all_epilogue_gradients(c);
    for (size_t i = 0; i < COUNT(small_shapes); i++) {
        for (size_t j = 0; j < COUNT(usual); j++) {
            Variant v = *usual[j];
            v.prepared = (Prepared)((i + j) % 3);
            forward_case(c, &small_shapes[i], &v);
        }
        gradients_of(c, &small_shapes[i]);
    }
    if (c->reduced)
        return;
    for (size_t i = 0; i < COUNT(large_shapes); i++) {
        Variant prepared = proj;
        prepared.prepared = PREPARED;
        forward_case(c, &large_shapes[i], &prepared);
        forward_case(c, &large_shapes[i], &fc1);
        backward_case(c, &large_shapes[i], DX | DW | DB, &fc1, UNPREPARED);
    }
}

static void test_linear(void **state)
{
    (void)state;
    assert_int_equal(vt_each_device(cases), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_linear)};
    return cmocka_run_group_tests_name("ops/linear", tests, NULL, NULL);
}
