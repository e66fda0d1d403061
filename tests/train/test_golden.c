/* SPDX-License-Identifier: Apache-2.0 */
/* PyTorch's output, loss and every gradient by name, for small models of odd geometry, on every
 * back end. tests/golden/make_model_fixtures.py wrote the files and says what is in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "harness/vt.h"
#include "base/alloc.h"
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != VITRO_OK)                                                                    \
            fail_msg("%s: %s", #call, vitro_last_error());                                         \
    } while (0)

/* How far a back end may be from PyTorch's float64. Outputs are measured against their spread
 * (standard deviation), gradients against the tensor's largest element. */
typedef struct Limits {
    double output, loss, gradient;
} Limits;
static const Limits limits_f32 = {1e-5, 1e-6, 1e-5};
static const Limits limits_f64 = {2e-7, 1e-12, 2e-7}; /* what crosses the host is float32 */

typedef struct Run {
    const char *file, *backend;
    VitroPrecision precision;
    Limits limits;
    VitroCheckpoint *ckpt;
    VitroDevice *dev;
    VitroModel *model;
    VitroActs *acts;
    VitroParams grad;
    VitroTensor grad_flat;
    double smoothing;
    int64_t batch;
} Run;

static int64_t tensor_index(const Run *r, const char *prefix, const char *name)
{
    char key[80];
    snprintf(key, sizeof(key), "%s%s", prefix, name);
    return vitro_checkpoint_find(r->ckpt, key);
}

static float *tensor(const Run *r, const char *prefix, const char *name, int64_t count)
{
    int64_t i = tensor_index(r, prefix, name);
    if (i < 0 || vitro_checkpoint_info(r->ckpt, i)->count != count)
        fail_msg("%s: %s%s is not there or has another size", r->file, prefix, name);
    float *values = vitro_malloc((size_t)count * sizeof(float));
    assert_non_null(values);
    OK(vitro_checkpoint_read_f32(r->ckpt, i, values));
    return values;
}

static void doubles(const Run *r, const char *name, double *out, int64_t count)
{
    int64_t i = tensor_index(r, "", name);
    assert_true(i >= 0);
    const VitroTensorInfo *info = vitro_checkpoint_info(r->ckpt, i);
    assert_int_equal(info->count, count);
    assert_int_equal(info->dtype, VITRO_F64);
    OK(vitro_checkpoint_read_raw(r->ckpt, i, out));
}

static VitroConfig read_config(Run *r)
{
    double c[15];
    const int64_t *image = vitro_checkpoint_info(r->ckpt, tensor_index(r, "", "input"))->dim;
    doubles(r, "config", c, 15);
    r->smoothing = c[14];
    return (VitroConfig){.img_height = (int)image[2],
                         .img_width = (int)image[3],
                         .patch_size = (int)c[1],
                         .in_channels = (int)c[2],
                         .num_classes = (int)c[3],
                         .embed_dim = (int)c[4],
                         .depth = (int)c[5],
                         .num_heads = (int)c[6],
                         .mlp_ratio = c[7],
                         .qkv_bias = c[8] != 0,
                         .qk_scale = c[9],
                         .representation_size = (int)c[10],
                         .patch_norm = c[11] != 0,
                         .norm_eps = c[12],
                         .act = (VitroAct)c[13]};
}

static void open_run(Run *r)
{
    char path[128];
    snprintf(path, sizeof(path), "tests/golden/model/%s.safetensors", r->file);
    OK(vitro_checkpoint_open(&r->ckpt, path));
    VitroConfig cfg = read_config(r);
    r->batch = vitro_checkpoint_info(r->ckpt, tensor_index(r, "", "input"))->dim[0];

    VitroDeviceOptions options = {.name = r->backend, .threads = 2, .precision = r->precision};
    OK(vitro_device_open(&r->dev, &options));
    OK(vitro_model_create(&r->model, r->dev, &cfg));
    int64_t named = 0;
    for (int64_t i = 0; i < vitro_checkpoint_count(r->ckpt); i++)
        named += strncmp(vitro_checkpoint_info(r->ckpt, i)->name, "w.", 2) == 0;
    assert_int_equal(named, vitro_model_param_count(r->model));
    for (int64_t i = 0; i < named; i++) {
        VitroParamInfo info = vitro_model_param(r->model, i);
        float *values = tensor(r, "w.", info.name, info.count);
        OK(vitro_model_param_set(r->model, i, values));
        vitro_free(values);
    }
    /* Room for more images than there are: the plan must not depend on a full batch. */
    OK(vitro_acts_create(&r->acts, r->model, r->batch + 3, VITRO_MODE_TRAIN));
    OK(vitro_acts_set_batch(r->acts, r->model, r->batch));
    OK(vitro_params_init(&r->grad, &cfg, r->dev->dtype));
    r->grad_flat = vitro_tensor1(NULL, r->dev->dtype, vitro_params_flat_count(&r->grad, 0));
    OK(r->dev->ops->alloc(r->dev, &r->grad_flat.data, vitro_tensor_bytes(&r->grad_flat)));
    OK(r->dev->ops->zero(r->dev, r->grad_flat.data, vitro_tensor_bytes(&r->grad_flat)));
    vitro_params_place(&r->grad, 0, r->grad_flat);
}

static void close_run(Run *r)
{
    r->dev->ops->free(r->dev, r->grad_flat.data);
    vitro_params_deinit(&r->grad);
    vitro_acts_free(r->acts);
    vitro_model_free(r->model);
    vitro_device_close(r->dev);
    vitro_checkpoint_close(r->ckpt);
}

/* Largest |a - b|, NaN if one of them is. */
static double distance(const float *a, const double *b, int64_t n)
{
    double largest = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs(a[i] - b[i]);
        if (isnan(d))
            return d;
        largest = fmax(largest, d);
    }
    return largest;
}

static void expect(const Run *r, const char *what, double error, double scale, double limit)
{
    if (!(error <= limit * scale))
        fail_msg("%s on %s: %s is off by %.3g of %.3g, allowed are %.1g of it", r->file, r->backend,
                 what, error, scale, limit);
}

static void check_output(Run *r)
{
    VitroTensor out = r->acts->out;
    int64_t n = vitro_tensor_count(&out);
    double *wanted = vitro_malloc((size_t)n * sizeof(double));
    float *found = vitro_malloc((size_t)n * sizeof(float));
    assert_non_null(wanted);
    assert_non_null(found);
    doubles(r, "output", wanted, n);
    OK(vitro_device_read_f32(r->dev, found, out));

    double mean = 0, square = 0;
    for (int64_t i = 0; i < n; i++)
        mean += wanted[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        square += (wanted[i] - mean) * (wanted[i] - mean) / (double)n;
    expect(r, "output", distance(found, wanted, n), sqrt(square), r->limits.output);
    vitro_free(found);
    vitro_free(wanted);
}

/* The loss and a->dout, or, for a model without head, a->dout alone from the file. */
static void start_backward(Run *r)
{
    VitroActs *a = r->acts;
    int64_t n = vitro_tensor_count(&a->dout);
    if (!r->model->cfg.num_classes) {
        float *dout = tensor(r, "", "dout", n);
        OK(vitro_device_write_f32(r->dev, a->dout, dout));
        vitro_free(dout);
        return;
    }
    const VitroBackendOps *ops = r->dev->ops;
    int32_t labels[8];
    double losses[8], loss = 0, wanted;
    void *labels_there, *losses_there, *best_there;
    assert_true(r->batch <= 8);
    OK(vitro_checkpoint_read_raw(r->ckpt, tensor_index(r, "", "labels"), labels));
    OK(ops->alloc(r->dev, &labels_there, sizeof labels));
    OK(ops->alloc(r->dev, &losses_there, sizeof losses));
    OK(ops->alloc(r->dev, &best_there, 8 * sizeof(int32_t)));
    OK(ops->upload(r->dev, labels_there, labels, sizeof labels));
    OK(ops->cross_entropy(r->dev, losses_there, best_there, a->dout, a->out, labels_there,
                          r->smoothing, 1.0 / (double)r->batch));
    OK(ops->download(r->dev, losses, losses_there, (size_t)r->batch * sizeof *losses));
    ops->free(r->dev, labels_there);
    ops->free(r->dev, losses_there);
    ops->free(r->dev, best_there);
    for (int64_t b = 0; b < r->batch; b++)
        loss += losses[b] / (double)r->batch;
    doubles(r, "loss", &wanted, 1);
    expect(r, "loss", fabs(loss - wanted), wanted, r->limits.loss);
}

static void check_gradients(Run *r)
{
    for (int64_t i = 0; i < r->grad.count; i++) {
        const VitroParam *p = &r->grad.list[i];
        int64_t n = vitro_tensor_count(p->slot);
        float *wanted = tensor(r, "g.", p->name, n);
        float *found = vitro_malloc((size_t)n * sizeof(float));
        double *wide = vitro_malloc((size_t)n * sizeof(double));
        assert_non_null(found);
        assert_non_null(wide);
        OK(vitro_device_read_f32(r->dev, found, *p->slot));
        float largest = 0;
        for (int64_t k = 0; k < n; k++) {
            wide[k] = wanted[k];
            largest = fmaxf(largest, fabsf(wanted[k]));
        }
        expect(r, p->name, distance(found, wide, n), largest, r->limits.gradient);
        vitro_free(wide);
        vitro_free(found);
        vitro_free(wanted);
    }
}

static void replay(void **state)
{
    Run r = *(const Run *)*state;
    open_run(&r);
    VitroActs *a = r.acts;
    float *images = tensor(&r, "", "input", vitro_tensor_count(&a->images));
    OK(vitro_device_write_f32(r.dev, a->images, images));
    vitro_free(images);
    /* Twice: what a pass leaves behind must not show in the next. */
    for (int pass = 0; pass < 2; pass++) {
        OK(r.dev->ops->zero(r.dev, r.grad_flat.data, vitro_tensor_bytes(&r.grad_flat)));
        OK(vitro_model_forward(r.model, a));
        check_output(&r);
        start_backward(&r);
        OK(vitro_model_backward(r.model, &r.grad, a));
        check_gradients(&r);
    }
    close_run(&r);
}

int main(void)
{
    static const char *files[] = {"remainder",  "pre_logits", "qk_scale",
                                  "patch_norm", "features",   "tanh_features",
                                  "even",       "one_patch",  "wide"};
    enum { FILES = sizeof(files) / sizeof(files[0]), MAX = FILES * 8 };
    static Run runs[MAX];
    static char names[MAX][64];
    struct CMUnitTest tests[MAX];
    size_t count = 0;
    for (int b = -1; b < vitro_backend_count(); b++) {
        bool wide = b < 0; /* float64, which only "ref" offers */
        const char *backend = wide ? "ref" : vitro_backend_name(b);
        if (!vt_usable(backend))
            continue;
        for (size_t f = 0; f < FILES && count < MAX; f++, count++) {
            runs[count] = (Run){.file = files[f],
                                .backend = backend,
                                .precision = wide ? VITRO_FP64 : VITRO_FP32,
                                .limits = wide ? limits_f64 : limits_f32};
            snprintf(names[count], sizeof(names[count]), "%s on %s%s", files[f], backend,
                     wide ? " in float64" : "");
            tests[count] = (struct CMUnitTest){
                .name = names[count], .test_func = replay, .initial_state = &runs[count]};
        }
    }
    return _cmocka_run_group_tests("golden", tests, count, NULL, NULL);
}
