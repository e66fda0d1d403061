/* SPDX-License-Identifier: Apache-2.0 */
/* patchify, tokens, take_cls and add_cls of every back end against ref. */
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

static void tokens(VtCase *c, int64_t B, int64_t T, int64_t D, bool drop)
{
    VtTensor *emb = vt_input(c, "emb", 3, (int64_t[]){B, T - 1, D});
    VtTensor *cls = vt_input(c, "cls", 1, (int64_t[]){D});
    VtTensor *pos = vt_input(c, "pos", 2, (int64_t[]){T, D});
    VtTensor *x = vt_output(c, "x", 3, (int64_t[]){B, T, D});
    for (int s = 0; s < VT_SIDES; s++) {
        VitroDropout dropout = make_dropout(c, s, drop);
        vt_ok(c, c->dev[s]->ops->tokens(c->dev[s], x->t[s], emb->t[s], cls->t[s], pos->t[s],
                                        &dropout));
    }
    vt_check(c, x, LIMIT);
}

static void tokens_backward(VtCase *c, int64_t B, int64_t T, int64_t D, bool drop, unsigned wanted)
{
    VtTensor *dx = vt_input(c, "dx", 3, (int64_t[]){B, T, D});
    VtTensor *demb = wanted & 1 ? vt_output(c, "demb", 3, (int64_t[]){B, T - 1, D}) : vt_absent();
    VtTensor *dcls = wanted & 2 ? vt_inout(c, "dcls", 1, (int64_t[]){D}) : vt_absent();
    VtTensor *dpos = wanted & 4 ? vt_inout(c, "dpos", 2, (int64_t[]){T, D}) : vt_absent();
    for (int s = 0; s < VT_SIDES; s++) {
        VitroDropout dropout = make_dropout(c, s, drop);
        vt_ok(c, c->dev[s]->ops->tokens_backward(c->dev[s], demb->t[s], dcls->t[s], dpos->t[s],
                                                 dx->t[s], &dropout));
    }
    vt_check(c, demb, LIMIT);
    vt_check(c, dcls, LIMIT);
    vt_check(c, dpos, LIMIT);
}

static void take_cls(VtCase *c, int64_t B, int64_t T, int64_t D)
{
    VtTensor *x = vt_input(c, "x", 3, (int64_t[]){B, T, D});
    VtTensor *cls = vt_output(c, "cls", 2, (int64_t[]){B, D});
    for (int s = 0; s < VT_SIDES; s++)
        vt_ok(c, c->dev[s]->ops->take_cls(c->dev[s], cls->t[s], x->t[s]));
    vt_check(c, cls, 0);
}

static void add_cls(VtCase *c, int64_t B, int64_t T, int64_t D)
{
    VtTensor *x = vt_inout(c, "x", 3, (int64_t[]){B, T, D});
    VtTensor *cls = vt_input(c, "cls", 2, (int64_t[]){B, D});
    for (int s = 0; s < VT_SIDES; s++)
        vt_ok(c, c->dev[s]->ops->add_cls(c->dev[s], x->t[s], cls->t[s]));
    vt_check(c, x, LIMIT);
}

static void cases_of_tokens(VtCase *c, int64_t B, int64_t T, int64_t D)
{
    for (int drop = 0; drop < 2; drop++) {
        if (vt_begin(c, "tokens B=%d T=%d D=%d%s", (int)B, (int)T, (int)D,
                     drop ? " dropout" : "")) {
            tokens(c, B, T, D, drop);
            vt_end(c);
        }
        for (unsigned wanted = 0; wanted < 8; wanted++)
            if (vt_begin(c, "tokens_backward B=%d T=%d D=%d%s%s%s%s", (int)B, (int)T, (int)D,
                         drop ? " dropout" : "", wanted & 1 ? " demb" : "",
                         wanted & 2 ? " dcls" : "", wanted & 4 ? " dpos" : "")) {
                tokens_backward(c, B, T, D, drop, wanted);
                vt_end(c);
            }
    }
    if (vt_begin(c, "take_cls B=%d T=%d D=%d", (int)B, (int)T, (int)D)) {
        take_cls(c, B, T, D);
        vt_end(c);
    }
    if (vt_begin(c, "add_cls B=%d T=%d D=%d", (int)B, (int)T, (int)D)) {
        add_cls(c, B, T, D);
        vt_end(c);
    }
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
    static const int64_t shapes[][3] = {/* B, T, D */
                                        {1, 2, 1},   {2, 2, 7},   {1, 5, 8},  {3, 5, 9},
                                        {2, 17, 40}, {3, 17, 97}, {2, 50, 64}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        cases_of_tokens(c, shapes[i][0], shapes[i][1], shapes[i][2]);
    cases_of_tokens(c, 2, 3, 1280);
    if (!c->reduced)
        cases_of_tokens(c, 1, 197, 768);
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
