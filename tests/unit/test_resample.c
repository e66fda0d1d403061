/* SPDX-License-Identifier: Apache-2.0 */
/* Position and patch embeddings for other sizes: the numbers of the libraries whose rules they are
 * (tests/golden/make_resample_fixtures.py), and what becomes of a checkpoint. */
#include "base/alloc.h"
#include "ckpt/format.h"
#include "harness/temp.h"
#include "model/resample.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static VitroCheckpoint *fixture;

static void ok(VitroStatus st)
{
    if (st != VITRO_OK)
        fail_msg("%s: %s", vitro_status_name(st), vitro_last_error());
}

/* "KIND/RULE/N/in" or ".../out", owned by the caller; NULL: there is none. */
static float *read(const VitroTensorInfo **info, const char *kind, VitroPosEmbedRule rule, int n,
                   const char *end)
{
    char name[64];
    snprintf(name, sizeof(name), "%s/%s/%d/%s", kind, vitro_pos_embed_rule_name(rule), n, end);
    int64_t i = vitro_checkpoint_find(fixture, name);
    if (i < 0)
        return NULL;
    *info = vitro_checkpoint_info(fixture, i);
    float *values = vitro_malloc((size_t)(*info)->count * sizeof(*values));
    ok(vitro_checkpoint_read_f32(fixture, i, values));
    return values;
}

/* Elements are of size 1; `limit` is the libraries' own rounding, who compute in float32. */
static void expect_near(const float *found, const float *wanted, int64_t count, double limit,
                        const char *what, VitroPosEmbedRule rule, int n)
{
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)found[i] - (double)wanted[i]) <= limit))
            fail_msg("%s by %s, case %d: element %d is %.9g, not %.9g", what,
                     vitro_pos_embed_rule_name(rule), n, (int)i, (double)found[i],
                     (double)wanted[i]);
}

static void nan_fill(float *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        values[i] = NAN;
}

static void grids_are_those_of_the_libraries(void **state)
{
    (void)state;
    int cases = 0;
    for (int rule = 0; vitro_pos_embed_rule_name((VitroPosEmbedRule)rule); rule++)
        for (int n = 0; n < 20; n++) {
            const VitroTensorInfo *from, *to;
            float *in = read(&from, "pos", (VitroPosEmbedRule)rule, n, "in");
            float *wanted = read(&to, "pos", (VitroPosEmbedRule)rule, n, "out");
            if (!in)
                continue;
            float *found = vitro_malloc((size_t)to->count * sizeof(*found));
            nan_fill(found, to->count);
            ok(vitro_resample_grid(found, (VitroGrid){to->dim[0], to->dim[1]}, in,
                                   (VitroGrid){from->dim[0], from->dim[1]}, to->dim[2],
                                   (VitroPosEmbedRule)rule));
            expect_near(found, wanted, to->count, 1e-5, "pos_embed", (VitroPosEmbedRule)rule, n);
            vitro_free(in);
            vitro_free(wanted);
            vitro_free(found);
            cases++;
        }
    assert_true(cases > 60);
}

static void patches_are_those_of_timm(void **state)
{
    (void)state;
    static const VitroPosEmbedRule rules[] = {VITRO_POS_EMBED_TIMM, VITRO_POS_EMBED_TIMM_NPZ};
    int cases = 0;
    for (int r = 0; r < 2; r++)
        for (int n = 0; n < 20; n++) {
            const VitroTensorInfo *from, *to;
            float *in = read(&from, "patch", rules[r], n, "in");
            float *wanted = read(&to, "patch", rules[r], n, "out");
            if (!in)
                continue;
            float *found = vitro_malloc((size_t)to->count * sizeof(*found));
            nan_fill(found, to->count);
            ok(vitro_resample_patches(found, to->dim[1], in, from->dim[1], from->dim[0], rules[r]));
            expect_near(found, wanted, to->count, 3e-5, "patch_embed", rules[r], n);
            vitro_free(in);
            vitro_free(wanted);
            vitro_free(found);
            cases++;
        }
    assert_true(cases >= 18);
}

/* ---- a checkpoint ---------------------------------------------------------------------------- */

static char *dir;

static VitroConfig small_config(void)
{
    return (VitroConfig){.img_height = 13,
                         .img_width = 17,
                         .patch_size = 4,
                         .in_channels = 2,
                         .num_classes = 3,
                         .embed_dim = 6,
                         .depth = 1,
                         .num_heads = 2,
                         .mlp_ratio = 2,
                         .qkv_bias = true,
                         .norm_eps = 1e-6,
                         .act = VITRO_ACT_GELU};
}

/* A file of cfg's, with `prefix` rows in pos_embed before those of the patches; flat: with the
 * patch embedding as a matrix. */
static VitroCheckpoint *make(const VitroConfig *cfg, int prefix, bool flat)
{
    enum { ROWS = 64 };
    static float pos[ROWS * 6], patch[6 * 2 * 16], cls[6];
    for (size_t i = 0; i < sizeof(pos) / sizeof(pos[0]); i++)
        pos[i] = (float)sin(1.7 * (double)i);
    for (size_t i = 0; i < sizeof(patch) / sizeof(patch[0]); i++)
        patch[i] = (float)cos(0.9 * (double)i);
    int64_t P = cfg->patch_size, D = cfg->embed_dim, C = cfg->in_channels;
    int64_t tokens = prefix + (cfg->img_height / P) * (cfg->img_width / P);
    assert_true(tokens <= ROWS && D == 6 && C == 2 && P == 4);
    VitroTensorSource t[3] = {
        {"pos_embed", VITRO_F32, 3, {1, tokens, D}, pos},
        {"cls_token", VITRO_F32, 3, {1, 1, D}, cls},
        {"patch_embed.proj.weight", VITRO_F32, 4, {D, C, P, P}, patch},
    };
    if (flat) {
        t[2].rank = 2;
        t[2].dim[1] = C * P * P;
    }
    vt_mkdir(dir, "x");
    char path[512];
    snprintf(path, sizeof(path), "%s/x/model.safetensors", dir);
    ok(vitro_checkpoint_write(path, VITRO_FORMAT_SAFETENSORS, t, 3, NULL));
    VitroCheckpoint *ckpt;
    ok(vitro_checkpoint_open(&ckpt, path));
    ok(vitro_checkpoint_adopt_names(ckpt, NULL));
    return ckpt;
}

static void values_of(float *out, int64_t most, const VitroCheckpoint *ckpt, const char *name)
{
    int64_t i = vitro_checkpoint_find(ckpt, name);
    assert_true(i >= 0 && vitro_checkpoint_info(ckpt, i)->count <= most);
    ok(vitro_checkpoint_read_f32(ckpt, i, out));
}

static void expect_dims(const VitroCheckpoint *ckpt, const char *name, int rank, int64_t a,
                        int64_t b, int64_t c)
{
    const VitroTensorInfo *info = vitro_checkpoint_info(ckpt, vitro_checkpoint_find(ckpt, name));
    assert_int_equal(info->rank, rank);
    assert_int_equal(info->dim[0], a);
    assert_int_equal(info->dim[1], b);
    assert_int_equal(info->dim[2], c);
    assert_int_equal(info->dtype, VITRO_F32);
}

/* 3 x 4 patches become 5 x 2; the rows of tokens without a place stay, bit for bit. */
static void prefix_rows_stay(void **state)
{
    (void)state;
    for (int prefix = 0; prefix <= 3; prefix++) {
        float before[64 * 6], after[64 * 6], wanted[10 * 6], cls[6];
        VitroConfig cfg = small_config();
        VitroCheckpoint *ckpt = make(&cfg, prefix, false);
        char note[256];
        values_of(before, 64 * 6, ckpt, "pos_embed");
        ok(vitro_checkpoint_set_size(ckpt, &cfg, 20, 9, 0, VITRO_POS_EMBED_TIMM, note,
                                     sizeof(note)));
        assert_string_equal(note, "pos_embed resampled from 3x4 to 5x2 patches by the rule 'timm'");
        assert_int_equal(cfg.img_height, 20);
        assert_int_equal(cfg.img_width, 9);
        expect_dims(ckpt, "pos_embed", 3, 1, prefix + 10, 6);
        values_of(after, 64 * 6, ckpt, "pos_embed");
        assert_memory_equal(before, after, (size_t)prefix * 6 * sizeof(float));
        ok(vitro_resample_grid(wanted, (VitroGrid){5, 2}, before + (size_t)prefix * 6,
                               (VitroGrid){3, 4}, 6, VITRO_POS_EMBED_TIMM));
        assert_memory_equal(after + (size_t)prefix * 6, wanted, sizeof(wanted));
        values_of(cls, 6, ckpt, "cls_token");
        assert_non_null(vitro_checkpoint_data(ckpt, vitro_checkpoint_find(ckpt, "pos_embed")));
        vitro_ckpt_forget(ckpt, vitro_checkpoint_find(ckpt, "pos_embed"));
        values_of(before, 64 * 6, ckpt, "pos_embed");
        assert_memory_equal(before, after, (size_t)(prefix + 10) * 6 * sizeof(float));
        vitro_checkpoint_close(ckpt);
    }
}

/* Pixels that no patch takes change nothing but the configuration. */
static void equal_grids_are_left_alone(void **state)
{
    (void)state;
    VitroConfig cfg = small_config();
    VitroCheckpoint *ckpt = make(&cfg, 1, false);
    char note[256] = "?";
    ok(vitro_checkpoint_set_size(ckpt, &cfg, 12, 19, 4, VITRO_POS_EMBED_HUGGING_FACE, note,
                                 sizeof(note)));
    assert_string_equal(note, "");
    assert_int_equal(cfg.img_width, 19);
    expect_dims(ckpt, "pos_embed", 3, 1, 13, 6);
    vitro_checkpoint_close(ckpt);
}

static void patches_grow(void **state)
{
    (void)state;
    for (int flat = 0; flat < 2; flat++) {
        float before[6 * 2 * 16], after[6 * 2 * 36], wanted[6 * 2 * 36];
        VitroConfig cfg = small_config();
        VitroCheckpoint *ckpt = make(&cfg, 1, flat);
        char note[256];
        values_of(before, 6 * 2 * 16, ckpt, "patch_embed.proj.weight");
        ok(vitro_checkpoint_set_size(ckpt, &cfg, 0, 0, 6, VITRO_POS_EMBED_TIMM, note,
                                     sizeof(note)));
        assert_string_equal(note,
                            "patch_embed resized from 4 to 6 pixels, pos_embed resampled from "
                            "3x4 to 2x2 patches by the rule 'timm'");
        assert_int_equal(cfg.patch_size, 6);
        expect_dims(ckpt, "patch_embed.proj.weight", 4, 6, 2, 6);
        expect_dims(ckpt, "pos_embed", 3, 1, 5, 6);
        values_of(after, 6 * 2 * 36, ckpt, "patch_embed.proj.weight");
        ok(vitro_resample_patches(wanted, 6, before, 4, 12, VITRO_POS_EMBED_TIMM));
        assert_memory_equal(after, wanted, sizeof(wanted));
        vitro_checkpoint_close(ckpt);
    }
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    VitroConfig cfg = small_config(), other = cfg;
    VitroCheckpoint *ckpt = make(&cfg, 1, false);
    assert_int_equal(vitro_checkpoint_set_size(ckpt, &cfg, 3, 3, 0, VITRO_POS_EMBED_TIMM, NULL, 0),
                     VITRO_E_ARG); /* smaller than a patch */
    assert_int_equal(vitro_checkpoint_set_size(ckpt, &cfg, -1, 9, 0, VITRO_POS_EMBED_TIMM, NULL, 0),
                     VITRO_E_ARG);
    assert_int_equal(
        vitro_checkpoint_set_size(ckpt, &cfg, 20, 20, 0, (VitroPosEmbedRule)5, NULL, 0),
        VITRO_E_ARG);
    assert_null(vitro_pos_embed_rule_name((VitroPosEmbedRule)5));
    other.img_width = 40; /* not what the file is for */
    assert_int_equal(
        vitro_checkpoint_set_size(ckpt, &other, 20, 20, 0, VITRO_POS_EMBED_TIMM, NULL, 0),
        VITRO_E_SHAPE);
    assert_non_null(strstr(vitro_last_error(), "pos_embed"));
    other = small_config();
    other.patch_size = 5;
    assert_int_equal(
        vitro_checkpoint_set_size(ckpt, &other, 0, 0, 4, VITRO_POS_EMBED_TIMM, NULL, 0),
        VITRO_E_SHAPE);
    assert_int_equal(cfg.img_width, 17);
    expect_dims(ckpt, "pos_embed", 3, 1, 13, 6);
    vitro_checkpoint_close(ckpt);
}

/* Every allocation may fail; the checkpoint stays whole. */
static void no_memory(void **state)
{
    (void)state;
    VitroConfig cfg = small_config();
    VitroCheckpoint *ckpt = make(&cfg, 1, false);
    VitroStatus st = VITRO_E_NOMEM;
    for (uint64_t n = 1; st != VITRO_OK; n++) {
        assert_true(n < 100);
        cfg = small_config();
        vitro_alloc_fail_at(n);
        st = vitro_checkpoint_set_size(ckpt, &cfg, 20, 9, 0, VITRO_POS_EMBED_HUGGING_FACE, NULL, 0);
        vitro_alloc_fail_at(0);
        if (st != VITRO_OK) {
            assert_int_equal(st, VITRO_E_NOMEM);
            expect_dims(ckpt, "pos_embed", 3, 1, 13, 6);
        }
    }
    expect_dims(ckpt, "pos_embed", 3, 1, 11, 6);
    vitro_checkpoint_close(ckpt);
}

static int set_up(void **state)
{
    (void)state;
    dir = vt_temp_make();
    return vitro_checkpoint_open(&fixture, "tests/golden/model/resample.safetensors");
}

static int tear_down(void **state)
{
    (void)state;
    vitro_checkpoint_close(fixture);
    vt_temp_remove(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grids_are_those_of_the_libraries),
        cmocka_unit_test(patches_are_those_of_timm),
        cmocka_unit_test(prefix_rows_stay),
        cmocka_unit_test(equal_grids_are_left_alone),
        cmocka_unit_test(patches_grow),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
