/* SPDX-License-Identifier: Apache-2.0 */
/* Presets, validation, sizes; the table of parameters and its initialisation. */
#include "base/alloc.h"
#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static VitroConfig preset(const char *name)
{
    VitroConfig cfg;
    assert_int_equal(vitro_config_preset(&cfg, name), VITRO_OK);
    return cfg;
}

static int64_t count_parameters(const VitroConfig *cfg)
{
    VitroParams p;
    int64_t n = 0;
    assert_int_equal(vitro_params_init(&p, cfg, VITRO_F32), VITRO_OK);
    for (int64_t i = 0; i < p.count; i++)
        n += vitro_tensor_count(p.list[i].slot);
    vitro_params_deinit(&p);
    return n;
}

/* Figures counted on the original's model. */
static void parameters_of_the_factories(void **state)
{
    (void)state;
    const struct {
        const char *name;
        int64_t whole, five_classes;
    } known[] = {{"vit_base_patch16_224_in21k", 103186515, 85802501},
                 {"vit_base_patch32_224_in21k", 104843091, 87459077},
                 {"vit_large_patch16_224_in21k", 326740307, 303306757},
                 {"vit_large_patch32_224_in21k", 328949075, 305515525},
                 {"vit_huge_patch14_224_in21k", 660385363, 630771205}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        VitroConfig cfg = preset(known[i].name);
        assert_int_equal(count_parameters(&cfg), known[i].whole);
        cfg.num_classes = 5;
        cfg.representation_size = 0;
        assert_int_equal(count_parameters(&cfg), known[i].five_classes);
    }
}

static void multiply_adds(void **state)
{
    (void)state;
    VitroConfig cfg = preset("vit_base_patch16_224_in21k");
    cfg.num_classes = 5;
    cfg.representation_size = 0;
    /* fvcore: conv + linear + matmul */
    assert_int_equal(vitro_config_macs(&cfg), 115605504LL + 16732131072LL + 715327488LL);
    cfg = preset("vit_huge_patch14_224_in21k");
    cfg.num_classes = 5;
    cfg.representation_size = 0;
    assert_int_equal(vitro_config_macs(&cfg), 192675840LL + 161690425600LL + 5410734080LL);
}

static void every_preset_is_valid(void **state)
{
    (void)state;
    for (int i = 0; i < vitro_preset_count(); i++) {
        VitroConfig cfg = preset(vitro_preset_name(i));
        assert_int_equal(vitro_config_validate(&cfg), VITRO_OK);
    }
    VitroConfig cfg;
    assert_int_equal(vitro_config_preset(&cfg, "vit_bose_patch16"), VITRO_E_ARG);
    assert_non_null(strstr(vitro_last_error(), "vit_b"));
}

static void nonsense_is_refused(void **state)
{
    (void)state;
#define REFUSED(field, value)                                                                      \
    do {                                                                                           \
        VitroConfig cfg = preset("vit_tiny_patch4_32");                                            \
        cfg.field = (value);                                                                       \
        assert_int_equal(vitro_config_validate(&cfg), VITRO_E_ARG);                                \
        assert_non_null(strstr(vitro_last_error(), #field));                                       \
    } while (0)
    REFUSED(img_height, 0);
    REFUSED(img_width, 0);
    REFUSED(patch_size, 33);
    REFUSED(in_channels, 0);
    REFUSED(num_classes, -1);
    REFUSED(embed_dim, 0);
    REFUSED(depth, 0);
    REFUSED(num_heads, 5);
    REFUSED(mlp_ratio, 0);
    REFUSED(mlp_ratio, NAN);
    REFUSED(mlp_ratio, 1e30);
    REFUSED(norm_eps, -1e-6);
    REFUSED(norm_eps, NAN);
    REFUSED(qk_scale, INFINITY);
    REFUSED(drop_ratio, 1);
    REFUSED(attn_drop_ratio, -0.1);
    REFUSED(drop_path_ratio, NAN);
    REFUSED(act, VITRO_ACT_TANH);
}

static void moments(const float *x, int64_t n, double *mean, double *std)
{
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    *mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++)
        squares += (x[i] - *mean) * (x[i] - *mean);
    *std = sqrt(squares / (double)n);
}

static void initialisation(void **state)
{
    (void)state;
    VitroDeviceOptions options = {.name = "ref"};
    VitroDevice *dev;
    VitroModel *m;
    VitroConfig cfg = preset("vit_tiny_patch4_32");
    cfg.depth = 1;
    assert_int_equal(vitro_device_open(&dev, &options), VITRO_OK);
    assert_int_equal(vitro_model_create(&m, dev, &cfg), VITRO_OK);
    assert_int_equal(vitro_model_init(m, 3), VITRO_OK);
    for (int64_t i = 0; i < vitro_model_param_count(m); i++) {
        VitroParamInfo info = vitro_model_param(m, i);
        float *x = vitro_malloc((size_t)info.count * sizeof(*x));
        assert_int_equal(vitro_model_param_get(m, i, x), VITRO_OK);
        double mean, std, want_mean = 0, want_std = 0.01;
        moments(x, info.count, &mean, &std);
        if (strstr(info.name, "norm"))
            want_std = 0, want_mean = strstr(info.name, "weight") != NULL;
        else if (strstr(info.name, "bias"))
            want_std = 0;
        else if (strstr(info.name, "token") || strstr(info.name, "embed.proj") == NULL)
            want_std =
                strncmp(info.name, "blocks", 6) && strncmp(info.name, "head", 4) ? 0.02 : 0.01;
        if (!strcmp(info.name, "patch_embed.proj.weight"))
            want_std = sqrt(2.0 / (192 * 4 * 4));
        if (fabs(mean - want_mean) > 5 * want_std / sqrt((double)info.count) ||
            fabs(std - want_std) > 5 * want_std / sqrt((double)info.count))
            fail_msg("%s: mean %g, std %g; expected %g, %g", info.name, mean, std, want_mean,
                     want_std);
        vitro_free(x);
    }
    vitro_model_free(m);
    vitro_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_of_the_factories),
        cmocka_unit_test(multiply_adds),
        cmocka_unit_test(every_preset_is_valid),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(initialisation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
