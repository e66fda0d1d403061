/* SPDX-License-Identifier: Apache-2.0 */
/* What bf16 and int8 cost trained models on real pictures, against fp32 of the same back end: the
 * cosine between the logits, and how often the answer is another. Weights and pictures are not part
 * of the repository: skipped where absent. */
#include "base/alloc.h"
#include "base/fs.h"
#include "vitro/vitro.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

enum { PICTURES = 1000, CLASSES = 10 };

static const struct {
    const char *name;
    int heads, side, channels;
    double eps;
    float mean[3], std[3];
} models[] = {
    {"brattany_mnist_vit", 4, 28, 1, 1e-5, {0.1307f}, {0.3081f}},
    {"mldems_mnist_vit", 2, 28, 1, 1e-6, {0.1307f}, {0.3081f}},
    {"opprajwal_mnist_vit", 4, 28, 1, 1e-5, {0}, {1}},
    {"sachin_cifar10_vit", 4, 32, 3, 1e-6, {0.4914f, 0.4822f, 0.4465f}, {0.247f, 0.2435f, 0.2616f}},
    {"shamail_cifar10_vit", 4, 32, 3, 1e-5, {0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}},
};

static const char *shared;

static void ok(VitroStatus st)
{
    if (st != VITRO_OK)
        fail_msg("%s", vitro_last_error());
}

/* The first pictures of a test set, normalised, [PICTURES,C,S,S]. */
static float *read_pictures(size_t m)
{
    const bool grey = models[m].channels == 1;
    const int area = models[m].side * models[m].side;
    char path[512];
    snprintf(path, sizeof path, "%s/data/%s", shared,
             grey ? "mnist/t10k-images-idx3-ubyte.gz" : "cifar-10-binary/test_batch.bin.gz");
    gzFile file = gzopen(path, "rb");
    assert_non_null(file);
    float *out = vitro_malloc((size_t)PICTURES * models[m].channels * area * sizeof *out);
    unsigned char row[3 * 1024];
    if (grey)
        assert_int_equal(gzread(file, row, 16), 16);
    float *at = out;
    for (int i = 0; i < PICTURES; i++) {
        if (!grey)
            assert_int_equal(gzread(file, row, 1), 1); /* the label */
        const unsigned bytes = (unsigned)(models[m].channels * area);
        assert_int_equal(gzread(file, row, bytes), bytes);
        for (unsigned k = 0; k < bytes; k++) {
            const int c = (int)k / area;
            *at++ = ((float)row[k] / 255 - models[m].mean[c]) / models[m].std[c];
        }
    }
    gzclose(file);
    return out;
}

static float *logits_of(size_t m, const float *pictures, VitroPrecision precision)
{
    char path[512];
    VitroDevice *dev;
    VitroCheckpoint *ckpt;
    VitroCard card;
    VitroConfig cfg = {.num_heads = models[m].heads, .norm_eps = models[m].eps};
    VitroModel *model;
    VitroPredictor *predictor;
    float *logits = vitro_malloc((size_t)PICTURES * CLASSES * sizeof *logits);
    snprintf(path, sizeof path, "%s/weights/timm-names/%s.safetensors", shared, models[m].name);
    ok(vitro_device_open(&dev, &(VitroDeviceOptions){.name = "cpu", .precision = precision}));
    ok(vitro_checkpoint_open(&ckpt, path));
    ok(vitro_checkpoint_adopt_names(ckpt, NULL));
    ok(vitro_card_read(&card, ckpt));
    ok(vitro_config_from_checkpoint(&cfg, NULL, 0, ckpt, &card, &cfg,
                                    VITRO_CFG_NUM_HEADS | VITRO_CFG_NORM_EPS));
    assert_int_equal(cfg.num_classes, CLASSES);
    ok(vitro_model_open(&model, dev, &cfg, ckpt, NULL, NULL));
    ok(vitro_predictor_create(&predictor, model, PICTURES));
    ok(vitro_predictor_run(predictor, pictures, PICTURES, logits));
    vitro_predictor_free(predictor);
    vitro_model_free(model);
    vitro_card_deinit(&card);
    vitro_checkpoint_close(ckpt);
    vitro_device_close(dev);
    return logits;
}

static int best_of(const float *x)
{
    int best = 0;
    for (int k = 1; k < CLASSES; k++)
        best = x[k] > x[best] ? k : best;
    return best;
}

static void compare(size_t m, const char *what, const float *want, const float *got, double limit)
{
    double least = 1;
    int same = 0;
    for (int i = 0; i < PICTURES; i++, want += CLASSES, got += CLASSES) {
        double ab = 0, aa = 0, bb = 0;
        for (int k = 0; k < CLASSES; k++) {
            ab += (double)want[k] * got[k];
            aa += (double)want[k] * want[k];
            bb += (double)got[k] * got[k];
        }
        least = fmin(least, ab / sqrt(aa * bb));
        same += best_of(want) == best_of(got);
    }
    printf("%s, %s: cosine at least %.5f, %d of %d answers the same\n", models[m].name, what, least,
           same, PICTURES);
    if (!(least >= limit) || same < PICTURES * 99 / 100)
        fail_msg("%s, %s: a cosine of at least %.4f and %d answers were expected", models[m].name,
                 what, limit, PICTURES * 99 / 100);
}

static void test_trained_models(void **state)
{
    (void)state;
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        float *pictures = read_pictures(m);
        float *fp32 = logits_of(m, pictures, VITRO_FP32);
        float *bf16 = logits_of(m, pictures, VITRO_PRECISION_BF16);
        float *int8 = logits_of(m, pictures, VITRO_PRECISION_INT8);
        compare(m, "bf16", fp32, bf16, 0.9995);
        compare(m, "int8", fp32, int8, 0.999);
        vitro_free(pictures);
        vitro_free(fp32);
        vitro_free(bf16);
        vitro_free(int8);
    }
}

int main(void)
{
    char path[512];
    shared = getenv("VITRO_SHARED");
    shared = shared ? shared : "../shared";
    snprintf(path, sizeof path, "%s/weights/timm-names", shared);
    if (!vitro_fs_is_dir(path)) {
        printf("skipped: no published weight files at %s (set VITRO_SHARED)\n", path);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_trained_models)};
    return cmocka_run_group_tests_name("train/precision", tests, NULL, NULL);
}
