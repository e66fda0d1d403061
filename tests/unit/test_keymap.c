/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign names: the known families, key maps and their errors, and the reasons for which a file is
 * no plain ViT. */
#include "base/alloc.h"
#include "base/fs.h"
#include "harness/temp.h"
#include "model/keymap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define GOLDEN "tests/golden/model/"

static char *dir;

static VitroCheckpoint *open_file(const char *path)
{
    VitroCheckpoint *ckpt = NULL;
    if (vitro_checkpoint_open(&ckpt, path) != VITRO_OK)
        fail_msg("%s", vitro_last_error());
    return ckpt;
}

/* ---- families -------------------------------------------------------------------------------- */

static void expect_tensor(const VitroCheckpoint *a, int64_t i, const VitroCheckpoint *b, int64_t k)
{
    const VitroTensorInfo *x = vitro_checkpoint_info(a, i), *y = vitro_checkpoint_info(b, k);
    float s[1024], t[1024];
    if (x->rank != y->rank || memcmp(x->dim, y->dim, (size_t)x->rank * sizeof(x->dim[0])) != 0)
        fail_msg("%s: another shape", x->name);
    assert_true(x->count <= 1024);
    assert_int_equal(vitro_checkpoint_read_f32(a, i, s), VITRO_OK);
    assert_int_equal(vitro_checkpoint_read_f32(b, k, t), VITRO_OK);
    if (memcmp(s, t, (size_t)x->count * sizeof(float)) != 0)
        fail_msg("%s: other elements", x->name);
    assert_int_equal(vitro_checkpoint_read_raw(a, i, t), VITRO_OK);
    assert_memory_equal(s, t, (size_t)x->count * sizeof(float));
}

static void test_families(void **state)
{
    (void)state;
    static const struct {
        const char *file, *family;
        int64_t count;
    } cases[] = {{"names_timm.npz", "timm", 34},
                 {"names_torchvision.npz", "torchvision", 34},
                 {"names_torchvision_old.npz", "torchvision", 34},
                 {"names_flax.npz", "flax", 34},
                 {"names_huggingface.npz", "huggingface", 30},
                 {"names_huggingface_bare.npz", "huggingface", 30}};
    VitroCheckpoint *timm = open_file(GOLDEN "names_timm.npz");
    for (size_t f = 0; f < sizeof(cases) / sizeof(cases[0]); f++) {
        char path[128];
        snprintf(path, sizeof(path), GOLDEN "%s", cases[f].file);
        VitroCheckpoint *ckpt = open_file(path);
        assert_string_equal(vitro_checkpoint_naming(ckpt), "unknown");
        if (vitro_checkpoint_adopt_names(ckpt, NULL) != VITRO_OK)
            fail_msg("%s", vitro_last_error());
        assert_string_equal(vitro_checkpoint_naming(ckpt), cases[f].family);
        assert_int_equal(vitro_checkpoint_count(ckpt), cases[f].count);
        for (int64_t i = 0; i < cases[f].count; i++) {
            int64_t k = vitro_checkpoint_find(timm, vitro_checkpoint_info(ckpt, i)->name);
            if (k < 0)
                fail_msg("%s: %s", path, vitro_checkpoint_info(ckpt, i)->name);
            expect_tensor(ckpt, i, timm, k);
        }
        VitroConfig cfg, given = {.num_heads = 2};
        if (strcmp(cases[f].family, "huggingface") == 0) { /* head and pre_logits do not fit */
            vitro_checkpoint_close(ckpt);
            continue;
        }
        if (vitro_config_from_checkpoint(&cfg, NULL, 0, ckpt, NULL, &given, VITRO_CFG_NUM_HEADS) !=
            VITRO_OK)
            fail_msg("%s", vitro_last_error());
        assert_int_equal(cfg.representation_size, 6);
        assert_int_equal(cfg.depth, 2);
        vitro_checkpoint_close(ckpt);
    }
    vitro_checkpoint_close(timm);
}

/* What a family's models are built with, and no tensor shows. */
static void test_family_eps(void **state)
{
    (void)state;
    VitroCheckpoint *ckpt = open_file(GOLDEN "names_huggingface.npz");
    VitroConfig cfg, given = {.num_heads = 2};
    assert_int_equal(vitro_checkpoint_adopt_names(ckpt, NULL), VITRO_OK);
    assert_int_equal(
        vitro_config_from_checkpoint(&cfg, NULL, 0, ckpt, NULL, &given, VITRO_CFG_NUM_HEADS),
        VITRO_OK);
    assert_true(cfg.norm_eps == 1e-12);
    vitro_checkpoint_close(ckpt);
}

/* ---- key maps -------------------------------------------------------------------------------- */

static VitroStatus use(VitroCheckpoint *ckpt, const char *text)
{
    vt_write(dir, "key.map", text, strlen(text));
    char *path = vitro_path_join(dir, "key.map");
    VitroStatus st = vitro_checkpoint_adopt_names(ckpt, path);
    vitro_free(path);
    return st;
}

static void test_key_map(void **state)
{
    (void)state;
    VitroCheckpoint *ckpt = open_file(GOLDEN "names_timm.npz"), *timm;
    float v[128], w[128];
    if (use(ckpt, "# turns, joins, drops\r\n"
                  "blocks.*.norm1.weight+blocks.*.norm2.weight = b*.norms # both\n"
                  "\n"
                  "? nothing.*.here = there.*.\n"
                  "head.weight ( 1 , 0 ) = head.kernel\n"
                  "-blocks.*.mlp.fc1.bias\n"
                  "- pre_logits.fc.bias") != VITRO_OK)
        fail_msg("%s", vitro_last_error());
    assert_string_equal(vitro_checkpoint_naming(ckpt), "key map");
    assert_int_equal(vitro_checkpoint_count(ckpt), 34 - 2 - 3);
    assert_string_equal(vitro_checkpoint_info(ckpt, 4)->name, "b0.norms"); /* norm1's place */
    timm = open_file(GOLDEN "names_timm.npz");
    int64_t i = vitro_checkpoint_find(ckpt, "b1.norms");
    assert_int_equal(vitro_checkpoint_info(ckpt, i)->dim[0], 16);
    assert_null(vitro_checkpoint_data(ckpt, i));
    assert_int_equal(vitro_checkpoint_read_f32(ckpt, i, v), VITRO_OK);
    assert_int_equal(
        vitro_checkpoint_read_f32(timm, vitro_checkpoint_find(timm, "blocks.1.norm2.weight"), w),
        VITRO_OK);
    assert_memory_equal(v + 8, w, 8 * sizeof(float));
    i = vitro_checkpoint_find(ckpt, "head.kernel");
    assert_int_equal(vitro_checkpoint_info(ckpt, i)->dim[0], 6);
    assert_int_equal(vitro_checkpoint_read_f32(ckpt, i, v), VITRO_OK);
    assert_int_equal(vitro_checkpoint_read_f32(timm, vitro_checkpoint_find(timm, "head.weight"), w),
                     VITRO_OK);
    assert_true(v[1] == w[6] && v[3] == w[1]);
    assert_int_equal(vitro_checkpoint_find(ckpt, "pre_logits.fc.bias"), -1);
    assert_int_equal(use(ckpt, "head.bias = x"), VITRO_E_ARG); /* a second time */
    vitro_checkpoint_close(ckpt);
    vitro_checkpoint_close(timm);
}

/* A tensor that only gets another name is still read from the mapped file. */
static void test_no_copies(void **state)
{
    (void)state;
    char *path = vitro_path_join(dir, "aligned.npz");
    VitroCheckpoint *ckpt = open_file(GOLDEN "names_timm.npz");
    assert_int_equal(vitro_checkpoint_convert(ckpt, path, VITRO_FORMAT_NPZ, NULL, NULL), VITRO_OK);
    vitro_checkpoint_close(ckpt);
    ckpt = open_file(path);
    const void *before = vitro_checkpoint_data(ckpt, vitro_checkpoint_find(ckpt, "head.weight"));
    assert_non_null(before);
    assert_int_equal(use(ckpt, "head.weight = other.weight"), VITRO_OK);
    assert_ptr_equal(vitro_checkpoint_data(ckpt, vitro_checkpoint_find(ckpt, "other.weight")),
                     before);
    vitro_checkpoint_close(ckpt);
    vitro_free(path);
}

static void test_key_map_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"= b", "line 1: found no name, expected the name of a tensor in the file"},
        {"\n# x\na =", "line 3: found the end of the line, expected the new name"},
        {"a", "line 1: expected '=' and the new name behind \"a\""},
        {"a + = b", "line 1: found no name, expected the name of a tensor"},
        {"a = b c", "line 1: found 'c' behind the line's last name"},
        {"a = b = c", "line 1: found '=' behind"},
        {"a.*.* = b.*", "line 1: \"a.*.*\" has two '*'"},
        {"a.* = b", "line 1: '*' must be in \"a.*\" and in \"b\", or in neither"},
        {"a.* + c = b.*", "line 1: '*' must be in \"c\" and in \"b.*\", or in neither"},
        {"a(0,2) = b", "line 1: axes of \"a\": expected each of 0 to 1 once"},
        {"a(0,0) = b", "line 1: axes of \"a\""},
        {"a(9) = b", "line 1: axes of \"a\": expected numbers from 0 to 7"},
        {"a(0,1 = b", "line 1: axes of \"a\""},
        {"a = b(0)", "line 1: axes, [*] and {ppc} belong to names left of the '='"},
        {"-", "line 1: found the end of the line, expected the name of a tensor to leave out"},
        {"- a = b", "line 1: found '=' behind"},
        {"a\001b = c", "line 1: expected '='"},
        {"\xff = c", "line 1: the name of a tensor in the file is no UTF-8 text"},
        {"nothing = x", "line 1: the file has no tensor \"nothing\""},
        {"nothing.* = x.*", "line 1: the file has no tensor \"nothing.0\""},
        {"head.weight + nothing = x", "line 1: no tensor \"nothing\" to be joined with"},
        {"nothing + head.weight = x", "line 1: no tensor \"nothing\" to be joined with"},
        {"head.weight = a\nhead.weight = b", "line 2: tensor \"head.weight\" is used by line 1"},
        {"head.weight + head.weight = a", "line 1: tensor \"head.weight\" is used by line 1"},
        {"head.weight + norm.weight = a",
         "line 1: tensor \"norm.weight\" of type F32 and shape [8] "
         "cannot be joined to F32 [3, 6]"},
        {"head.weight(0) = a", "line 1: tensor \"head.weight\" has 2 dimensions, 1 axes are given"},
        {"head.weight = head.bias", "two tensors are named \"head.bias\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        VitroCheckpoint *ckpt = open_file(GOLDEN "names_timm.npz");
        VitroStatus st = use(ckpt, cases[i].text);
        const char *at = strstr(vitro_last_error(), "key.map: ");
        if (st != VITRO_E_FORMAT || !at || strncmp(at + 9, cases[i].error, strlen(cases[i].error)))
            fail_msg("\"%s\": got %d \"%s\"", cases[i].text, (int)st, st ? vitro_last_error() : "");
        assert_int_equal(vitro_checkpoint_count(ckpt), 34); /* as before */
        vitro_checkpoint_close(ckpt);
    }
    VitroCheckpoint *ckpt = open_file(GOLDEN "names_timm.npz");
    assert_int_equal(vitro_checkpoint_adopt_names(ckpt, "/nowhere/key.map"), VITRO_E_IO);
    vitro_checkpoint_close(ckpt);
}

static void test_long_key_maps(void **state)
{
    (void)state;
    VitroKeyMap *map = NULL;
    size_t size = 1 << 17;
    char *text = vitro_malloc(size);
    memset(text, 'a', size);
    assert_int_equal(vitro_key_map_parse(&map, text, size), VITRO_E_FORMAT);
    for (size_t i = 0; i < size; i++)
        text[i] = "a+"[i % 2];
    assert_int_equal(vitro_key_map_parse(&map, text, size), VITRO_E_FORMAT);
    assert_non_null(strstr(vitro_last_error(), "line 1: more than 64 names are joined"));
    for (size_t i = 0; i < size; i++)
        text[i] = "-a\n"[i % 3];
    assert_int_equal(vitro_key_map_parse(&map, text, size), VITRO_E_FORMAT);
    assert_non_null(strstr(vitro_last_error(), "line 4097: more than 4096 lines"));
    vitro_free(text);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        VitroCheckpoint *ckpt = open_file(GOLDEN "names_flax.npz");
        vitro_alloc_fail_at(n);
        VitroStatus st = vitro_checkpoint_adopt_names(ckpt, NULL);
        vitro_alloc_fail_at(0);
        vitro_checkpoint_close(ckpt);
        if (st == VITRO_OK) {
            assert_true(n > 20);
            return;
        }
        assert_int_equal(st, VITRO_E_NOMEM);
    }
}

/* ---- why it is no plain ViT ------------------------------------------------------------------ */

typedef struct Shape {
    const char *name;
    int rank;
    int64_t dim[4];
} Shape;

#define STEM                                                                                       \
    {"pos", 3, {1, 5, 8}}, {"cls", 3, {1, 1, 8}}, {"patch.weight", 4, {8, 3, 4, 4}},               \
    {                                                                                              \
        "patch.bias", 1,                                                                           \
        {                                                                                          \
            8                                                                                      \
        }                                                                                          \
    }
#define BLOCK                                                                                      \
    {"l.0.n1.weight", 1, {8}}, {"l.0.qkv.weight", 2, {24, 8}}, {"l.0.qkv.bias", 1, {24}},          \
        {"l.0.out.weight", 2, {8, 8}}, {"l.0.n2.weight", 1, {8}}, {"l.0.m.0.weight", 2, {16, 8}},  \
        {"l.0.m.2.weight", 2, {8, 16}},                                                            \
    {                                                                                              \
        "l.1.n1.weight", 1,                                                                        \
        {                                                                                          \
            8                                                                                      \
        }                                                                                          \
    }
#define END                                                                                        \
    {"ln.weight", 1, {8}}, {"ln.bias", 1, {8}}, {"fc.weight", 2, {3, 8}},                          \
    {                                                                                              \
        "fc.bias", 1,                                                                              \
        {                                                                                          \
            3                                                                                      \
        }                                                                                          \
    }

static void test_reasons(void **state)
{
    (void)state;
    static const struct {
        const char *reason;
        Shape tensor[20];
    } cases[] = {
        {"a ViT under names of no known family: no tensor \"patch_embed.proj.weight\", the first "
         "one is \"pos\"; state --key-map FILE",
         {STEM, BLOCK, END}},
        {"not a plain ViT: it has a gated MLP (SwiGLU), as \"blocks.0.mlp.w12.weight\" shows",
         {{"blocks.0.mlp.w12.weight", 2, {32, 8}}, END}},
        {"not a plain ViT: it has rotary position embedding (RoPE), as \"rope.periods\" shows",
         {{"blocks.0.attn.qkv.weight", 2, {24, 8}}, {"rope.periods", 1, {4}}, END}},
        {"not a plain ViT: it has parallel blocks (ParallelThingsBlock), as "
         "\"blocks.0.attns.0.norm.weight\" shows",
         {{"blocks.0.attns.0.norm.weight", 1, {8}}, END}},
        {"not a plain ViT: it has RMSNorm, or a LayerNorm without bias",
         {{"blocks.0.norm1.weight", 1, {8}}, {"blocks.0.attn.qkv.weight", 2, {24, 8}}, END}},
        {"not a plain ViT: no LayerNorm behind the last block: it is post-norm, or lacks the final "
         "one; the head has two layers (h.0.weight [5, 8], h.2.weight [3, 5])",
         {STEM, BLOCK, {"h.0.weight", 2, {5, 8}}, {"h.2.weight", 2, {3, 5}}}},
        {"not a plain ViT: q, k and v are 16 wide where the tokens are 8 (l.0.qkv.weight [48, 8])",
         {STEM, {"l.0.qkv.weight", 2, {48, 8}}, {"l.0.out.weight", 2, {8, 16}}, END}},
        {"not a plain ViT: each attention head has matrices of its own (l.0.heads.0.query.weight "
         "[4, 8])",
         {STEM,
          {"l.0.heads.0.query.weight", 2, {4, 8}},
          {"l.0.heads.1.query.weight", 2, {4, 8}},
          END}},
        {"not a plain ViT: its blocks are torch.nn.TransformerEncoderLayer, which is post-norm "
         "with "
         "ReLU unless",
         {STEM,
          {"l.0.self_attn.in_proj_weight", 2, {24, 8}},
          {"l.0.linear1.weight", 2, {16, 8}},
          {"l.0.linear2.weight", 2, {8, 16}},
          END}},
        {"not a plain ViT: its arrays have no names (arr_0 to arr_2): nothing says which is which; "
         "and no vectors of a final LayerNorm",
         {{"arr_0", 2, {16, 8}}, {"arr_1", 2, {3, 8}}, {"arr_2", 2, {1, 3}}}},
        {"not a ViT under known names: no tensor \"patch_embed.proj.weight\", the first one is "
         "\"conv1.weight\"",
         {{"conv1.weight", 4, {8, 3, 7, 7}}, {"fc.weight", 2, {10, 8}}}},
        {"holds no tensors", {{NULL, 0, {0}}}},
    };
    static const float zeros[2048];
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        VitroTensorSource t[20];
        int64_t n = 0;
        for (; n < 20 && cases[c].tensor[n].name; n++) {
            const Shape *s = &cases[c].tensor[n];
            t[n] = (VitroTensorSource){
                .name = s->name, .dtype = VITRO_F32, .rank = s->rank, .data = zeros};
            memcpy(t[n].dim, s->dim, sizeof(s->dim));
        }
        char *path = vitro_path_join(dir, "odd.npz");
        assert_int_equal(vitro_checkpoint_write(path, VITRO_FORMAT_NPZ, t, n, NULL), VITRO_OK);
        VitroCheckpoint *ckpt = open_file(path);
        VitroConfig cfg;
        assert_int_equal(vitro_checkpoint_adopt_names(ckpt, NULL), VITRO_OK);
        VitroStatus st = vitro_config_from_checkpoint(&cfg, NULL, 0, ckpt, NULL, NULL, 0);
        const char *at = strstr(vitro_last_error(), "odd.npz: ");
        if (st == VITRO_OK || !at || strncmp(at + 9, cases[c].reason, strlen(cases[c].reason)))
            fail_msg("expected \"%s\", got \"%s\"", cases[c].reason, st ? vitro_last_error() : "");
        vitro_checkpoint_close(ckpt);
        vitro_free(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families),       cmocka_unit_test(test_family_eps),
        cmocka_unit_test(test_key_map),        cmocka_unit_test(test_no_copies),
        cmocka_unit_test(test_key_map_errors), cmocka_unit_test(test_long_key_maps),
        cmocka_unit_test(test_out_of_memory),  cmocka_unit_test(test_reasons),
    };
    dir = vt_temp_make();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    vt_temp_remove(dir);
    return failed;
}
