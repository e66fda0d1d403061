/* SPDX-License-Identifier: Apache-2.0 */
/* patchify and the ops on tokens of every back end against ref. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "harness/vt.h"

#define LIMIT 1e-6

static const VitroDropState drop_state = {.seed = 7, .step = 1, .sample0 = 64};

static VitroDropout make_dropout(VtCase *c, int s, bool on)
{
    if (!on)
        return (VitroDropout){0};
    return (VitroDropout){
        .ratio = 0.1, .site = 1, .state = vt_raw(c, s, &drop_state, sizeof drop_state)};
}

static void patchify(VtCase *c, int64_t B, int64_t C, int64_t height, int64_t width, int64_t P)
{
    int64_t N = (height / P) * (width / P);
    VtTensor *images = vt_input(c, "images", 4, (int64_t[]){B, C, height, width});
    VtTensor *patches = vt_output(c, "patches", 3, (int64_t[]){B, N, C * P * P});
    for (int s = 0; s < VT_SIDES; s++)
        vt_ok(c, c->dev[s]->ops->patchify(c->dev[s], patches->t[s], images->t[s], P));
    vt_check(c, patches, 0);
}

/* What stands before the N patches, and which tokens have positions. */
typedef struct Prefix {
    bool cls;
    int reg;
    enum { POS_ALL, POS_PATCHES, POS_NONE } pos;
} Prefix;

typedef struct Sizes {
    int64_t B, N, D, T;
    Prefix p;
    int64_t placed; /* rows of pos */
} Sizes;

static Sizes sizes(int64_t B, int64_t N, int64_t D, Prefix p)
{
    Sizes z = {B, N, D, N + p.cls + p.reg, p, 0};
    z.placed = p.pos == POS_ALL ? z.T : N;
    return z;
}

static void tokens(VtCase *c, const Sizes *z, bool drop)
{
    VtTensor *emb = z->N ? vt_input(c, "emb", 3, (int64_t[]){z->B, z->N, z->D}) : vt_absent();
    VtTensor *cls = z->p.cls ? vt_input(c, "cls", 1, (int64_t[]){z->D}) : vt_absent();
    VtTensor *reg = z->p.reg ? vt_input(c, "reg", 2, (int64_t[]){z->p.reg, z->D}) : vt_absent();
    VtTensor *pos =
        z->p.pos != POS_NONE ? vt_input(c, "pos", 2, (int64_t[]){z->placed, z->D}) : vt_absent();
    VtTensor *x = vt_output(c, "x", 3, (int64_t[]){z->B, z->T, z->D});
    for (int s = 0; s < VT_SIDES; s++) {
        VitroDropout dropout = make_dropout(c, s, drop);
        vt_ok(c, c->dev[s]->ops->tokens(c->dev[s], x->t[s], emb->t[s], cls->t[s], reg->t[s],
                                        pos->t[s], &dropout));
    }
    vt_check(c, x, LIMIT);
}

enum { DEMB = 1, DCLS = 2, DREG = 4, DPOS = 8 };

static void tokens_backward(VtCase *c, const Sizes *z, bool drop, unsigned wanted)
{
    VtTensor *dx = vt_input(c, "dx", 3, (int64_t[]){z->B, z->T, z->D});
    VtTensor *demb =
        wanted & DEMB ? vt_output(c, "demb", 3, (int64_t[]){z->B, z->N, z->D}) : vt_absent();
    VtTensor *dcls = wanted & DCLS ? vt_inout(c, "dcls", 1, (int64_t[]){z->D}) : vt_absent();
    VtTensor *dreg =
        wanted & DREG ? vt_inout(c, "dreg", 2, (int64_t[]){z->p.reg, z->D}) : vt_absent();
    VtTensor *dpos =
        wanted & DPOS ? vt_inout(c, "dpos", 2, (int64_t[]){z->placed, z->D}) : vt_absent();
    for (int s = 0; s < VT_SIDES; s++) {
        VitroDropout dropout = make_dropout(c, s, drop);
        vt_ok(c, c->dev[s]->ops->tokens_backward(c->dev[s], demb->t[s], dcls->t[s], dreg->t[s],
                                                 dpos->t[s], dx->t[s], z->N, &dropout));
    }
    vt_check(c, demb, LIMIT);
    vt_check(c, dcls, LIMIT);
    vt_check(c, dreg, LIMIT);
    vt_check(c, dpos, LIMIT);
}

/* y[B,n,D], or [B,D] where n is 0 */
static VtTensor *some_tokens(VtCase *c, bool output, const Sizes *z, int64_t n)
{
    const int64_t three[] = {z->B, n, z->D}, two[] = {z->B, z->D};
    return output ? vt_output(c, "y", n ? 3 : 2, n ? three : two)
                  : vt_input(c, "y", n ? 3 : 2, n ? three : two);
}

static void take_tokens(VtCase *c, const Sizes *z, int64_t first, int64_t n)
{
    VtTensor *x = vt_input(c, "x", 3, (int64_t[]){z->B, z->T, z->D});
    VtTensor *y = some_tokens(c, true, z, n);
    for (int s = 0; s < VT_SIDES; s++)
        vt_ok(c, c->dev[s]->ops->take_tokens(c->dev[s], y->t[s], x->t[s], first));
    vt_check(c, y, 0);
}

static void add_tokens(VtCase *c, const Sizes *z, int64_t first, int64_t n)
{
    VtTensor *x = vt_inout(c, "x", 3, (int64_t[]){z->B, z->T, z->D});
    VtTensor *y = some_tokens(c, false, z, n);
    for (int s = 0; s < VT_SIDES; s++)
        vt_ok(c, c->dev[s]->ops->add_tokens(c->dev[s], x->t[s], y->t[s], first));
    vt_check(c, x, LIMIT);
}

static void mean_tokens(VtCase *c, const Sizes *z, int64_t first)
{
    VtTensor *x = vt_input(c, "x", 3, (int64_t[]){z->B, z->T, z->D});
    VtTensor *y = vt_output(c, "y", 2, (int64_t[]){z->B, z->D});
    for (int s = 0; s < VT_SIDES; s++)
        vt_ok(c, c->dev[s]->ops->mean_tokens(c->dev[s], y->t[s], x->t[s], first));
    vt_check(c, y, 4 * LIMIT); /* sums of up to 197 terms that cancel */
}

static void mean_tokens_backward(VtCase *c, const Sizes *z, int64_t first)
{
    VtTensor *dy = vt_input(c, "dy", 2, (int64_t[]){z->B, z->D});
    VtTensor *dx = vt_output(c, "dx", 3, (int64_t[]){z->B, z->T, z->D});
    for (int s = 0; s < VT_SIDES; s++)
        vt_ok(c, c->dev[s]->ops->mean_tokens_backward(c->dev[s], dx->t[s], dy->t[s], first));
    vt_check(c, dx, LIMIT);
}

#define SHAPE "B=%d N=%d D=%d%s reg=%d pos=%d"
#define SHAPE_OF(z)                                                                                \
    (int)(z)->B, (int)(z)->N, (int)(z)->D, (z)->p.cls ? " cls" : "", (z)->p.reg, (int)(z)->p.pos

static void cases_of_prefix(VtCase *c, const Sizes *z)
{
    const unsigned there = (z->N ? DEMB : 0) | (z->p.cls ? DCLS : 0) | (z->p.reg ? DREG : 0) |
                           (z->p.pos != POS_NONE ? DPOS : 0);
    for (int drop = 0; drop < 2; drop++) {
        if (vt_begin(c, "tokens " SHAPE "%s", SHAPE_OF(z), drop ? " dropout" : "")) {
            tokens(c, z, drop);
            vt_end(c);
        }
        for (unsigned wanted = 0; wanted < 16; wanted++)
            if (!(wanted & ~there) &&
                vt_begin(c, "tokens_backward " SHAPE "%s%s%s%s%s", SHAPE_OF(z),
                         drop ? " dropout" : "", wanted & DEMB ? " demb" : "",
                         wanted & DCLS ? " dcls" : "", wanted & DREG ? " dreg" : "",
                         wanted & DPOS ? " dpos" : "")) {
                tokens_backward(c, z, drop, wanted);
                vt_end(c);
            }
    }
}

/* Tokens first .. first+n-1; n = 0: one, without a dimension. */
static void cases_of_some(VtCase *c, const Sizes *z, int64_t first, int64_t n)
{
    if (vt_begin(c, "take_tokens " SHAPE " first=%d n=%d", SHAPE_OF(z), (int)first, (int)n)) {
        take_tokens(c, z, first, n);
        vt_end(c);
    }
    if (vt_begin(c, "add_tokens " SHAPE " first=%d n=%d", SHAPE_OF(z), (int)first, (int)n)) {
        add_tokens(c, z, first, n);
        vt_end(c);
    }
}

static void cases_of_means(VtCase *c, const Sizes *z, int64_t first)
{
    if (vt_begin(c, "mean_tokens " SHAPE " first=%d", SHAPE_OF(z), (int)first)) {
        mean_tokens(c, z, first);
        vt_end(c);
    }
    if (vt_begin(c, "mean_tokens_backward " SHAPE " first=%d", SHAPE_OF(z), (int)first)) {
        mean_tokens_backward(c, z, first);
        vt_end(c);
    }
}

static void cases_of_tokens(VtCase *c, int64_t B, int64_t N, int64_t D)
{
    static const Prefix prefixes[] = {{true, 0, POS_ALL},      {true, 0, POS_PATCHES},
                                      {false, 0, POS_ALL},     {true, 1, POS_ALL},
                                      {true, 4, POS_PATCHES},  {false, 3, POS_ALL},
                                      {false, 2, POS_PATCHES}, {true, 2, POS_NONE}};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        Sizes z = sizes(B, N, D, prefixes[i]);
        cases_of_prefix(c, &z);
    }
    Sizes z = sizes(B, N, D, prefixes[0]);
    cases_of_some(c, &z, 0, 0);
    cases_of_some(c, &z, 1, 0);
    cases_of_some(c, &z, 0, 2);
    cases_of_some(c, &z, 1, N);
    cases_of_means(c, &z, 0);
    cases_of_means(c, &z, 1);
}

static void cases(VtCase *c)
{
    static const int64_t images[][5] = {
        /* B, C, height, width, P; some with pixels left over */
        {1, 3, 16, 16, 16}, {1, 1, 1, 1, 1},   {2, 1, 28, 28, 7},    {3, 2, 9, 9, 4},
        {1, 3, 35, 35, 16}, {2, 3, 32, 32, 8}, {1, 4, 5, 5, 1},      {2, 3, 45, 45, 14},
        {2, 3, 9, 17, 4},   {2, 1, 21, 7, 7},  {1, 3, 224, 224, 16}, {2, 3, 16, 48, 16}};
    for (size_t i = 0; i < sizeof images / sizeof images[0]; i++) {
        const int64_t *z = images[i];
        if (vt_begin(c, "patchify B=%d C=%d %dx%d P=%d", (int)z[0], (int)z[1], (int)z[2], (int)z[3],
                     (int)z[4])) {
            patchify(c, z[0], z[1], z[2], z[3], z[4]);
            vt_end(c);
        }
    }
    static const int64_t shapes[][3] = {/* B, N, D */
                                        {1, 1, 1},   {2, 1, 7},   {1, 4, 8},  {3, 4, 9},
                                        {2, 16, 40}, {3, 16, 97}, {2, 49, 64}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        cases_of_tokens(c, shapes[i][0], shapes[i][1], shapes[i][2]);
    Sizes latent = sizes(3, 0, 40, (Prefix){true, 0, POS_NONE}); /* a token for each image */
    cases_of_prefix(c, &latent);
    cases_of_tokens(c, 2, 2, 1280);
    if (!c->reduced)
        cases_of_tokens(c, 1, 196, 768);
}

static void test_embed(void **state)
{
    (void)state;
    assert_int_equal(vt_each_device(cases), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_embed)};
    return cmocka_run_group_tests_name("ops/embed", tests, NULL, NULL);
}
