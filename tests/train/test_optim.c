/* SPDX-License-Identifier: Apache-2.0 */
/* Six updates of 67 parameters by each optimizer on each back end, against torch.optim. */
#include "harness/vt.h"
#include "train/golden.h"
#include "train/optim.h"

#include <math.h>

typedef struct Case {
    const char *name;
    VitroTrainOptions options;
} Case;

static const Case cases[] = {
    {"sgd", {.optimizer = VITRO_SGD, .lr = 0.1, .momentum = 0.9, .weight_decay = 5e-5}},
    {"sgd_plain", {.optimizer = VITRO_SGD, .lr = 0.1}},
    {"adamw",
     {.optimizer = VITRO_ADAMW,
      .lr = 0.01,
      .beta1 = 0.8,
      .beta2 = 0.95,
      .adam_eps = 1e-6,
      .weight_decay = 0.05}},
};

static VitroTensor device_vector(VitroDevice *dev, int64_t n)
{
    VitroTensor t = vitro_tensor1(NULL, dev->dtype, n);
    assert_int_equal(dev->ops->alloc(dev, &t.data, vitro_tensor_bytes(&t)), VITRO_OK);
    return t;
}

/* Later parameters first, as the backward pass comes to them. */
static void update_in_two(VitroOptim *o, VitroTensor param, VitroTensor grad, double lr,
                          double scale)
{
    int64_t n = param.dim[0], half = n / 2;
    assert_int_equal(vitro_optim_update(o, half, vitro_tensor_part(param, half, n - half),
                                        vitro_tensor_part(grad, half, n - half), lr, scale),
                     VITRO_OK);
    assert_int_equal(vitro_optim_update(o, 0, vitro_tensor_part(param, 0, half),
                                        vitro_tensor_part(grad, 0, half), lr, scale),
                     VITRO_OK);
    vitro_optim_end(o);
}

static void check_case(VitroDevice *dev, const VitroCheckpoint *g, const Case *c, double grad_scale)
{
    int64_t n, count;
    float *start = golden_read(g, "start", VITRO_F32, &n);
    float *grads = golden_read(g, "grads", VITRO_F32, &count);
    float *want = golden_read(g, c->name, VITRO_F32, &count);
    float *got = vitro_calloc((size_t)n, sizeof(float));
    VitroTensor param = device_vector(dev, n), grad = device_vector(dev, n);
    assert_int_equal(vitro_device_write_f32(dev, param, start), VITRO_OK);
    VitroOptim o;
    assert_int_equal(vitro_optim_init(&o, dev, &c->options, n), VITRO_OK);
    for (int64_t step = 0; step < count / n; step++) {
        for (int64_t i = 0; i < n; i++)
            got[i] = grads[step * n + i] / (float)grad_scale;
        assert_int_equal(vitro_device_write_f32(dev, grad, got), VITRO_OK);
        update_in_two(&o, param, grad, c->options.lr, grad_scale);
        assert_int_equal(vitro_device_read_f32(dev, got, param), VITRO_OK);
        for (int64_t i = 0; i < n; i++)
            if (!(fabs(got[i] - want[step * n + i]) <= 4e-7 * (1 + fabs(want[step * n + i]))))
                fail_msg("%s on %s, step %d, parameter %d: %.9g, PyTorch has %.9g", c->name,
                         dev->name, (int)step, (int)i, got[i], want[step * n + i]);
    }
    assert_int_equal(o.updates, count / n);
    assert_int_equal(vitro_optim_bytes(&o), n * (int64_t)vitro_dtype_size(dev->dtype) *
                                                (c->options.optimizer == VITRO_ADAMW ? 2 : 1));
    vitro_optim_deinit(&o);
    dev->ops->free(dev, param.data);
    dev->ops->free(dev, grad.data);
    vitro_free(start);
    vitro_free(grads);
    vitro_free(want);
    vitro_free(got);
}

static void test_against_pytorch(void **state)
{
    (void)state;
    VitroCheckpoint *g = golden_open("numbers");
    for (int b = 0; b < vitro_backend_count(); b++) {
        VitroDevice *dev;
        if (!vt_usable(vitro_backend_name(b)))
            continue;
        VitroDeviceOptions options = {.name = vitro_backend_name(b), .threads = 1};
        assert_int_equal(vitro_device_open(&dev, &options), VITRO_OK);
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            check_case(dev, g, &cases[i], 1);
            check_case(dev, g, &cases[i], 0.25); /* gradients four times as large, clipped */
        }
        vitro_device_close(dev);
    }
    vitro_checkpoint_close(g);
}

/* Without momentum there is no state, however many parameters: theta -= lr (g + decay theta). */
static void test_no_state_without_momentum(void **state)
{
    (void)state;
    const VitroTrainOptions options = {.optimizer = VITRO_SGD, .lr = 0.5, .weight_decay = 0.25};
    const int64_t n = 1000003;
    float *values = vitro_calloc((size_t)n, sizeof(float));
    assert_non_null(values);
    for (int b = 0; b < vitro_backend_count(); b++) {
        VitroDevice *dev;
        if (!vt_usable(vitro_backend_name(b)))
            continue;
        VitroDeviceOptions device = {.name = vitro_backend_name(b), .threads = 2};
        assert_int_equal(vitro_device_open(&dev, &device), VITRO_OK);
        VitroTensor param = device_vector(dev, n), grad = device_vector(dev, n);
        for (int64_t i = 0; i < n; i++)
            values[i] = (float)(i % 1024) - 500;
        assert_int_equal(vitro_device_write_f32(dev, param, values), VITRO_OK);
        for (int64_t i = 0; i < n; i++)
            values[i] = (float)(i % 513);
        assert_int_equal(vitro_device_write_f32(dev, grad, values), VITRO_OK);
        VitroOptim o;
        assert_int_equal(vitro_optim_init(&o, dev, &options, n), VITRO_OK);
        assert_true(vitro_optim_bytes(&o) < n * 4 / 3);
        assert_int_equal(vitro_optim_bytes(&o), 4 * vitro_optim_count(&options, n));
        assert_int_equal(vitro_optim_update(&o, 0, param, grad, options.lr, 2), VITRO_OK);
        assert_int_equal(vitro_device_read_f32(dev, values, param), VITRO_OK);
        for (int64_t i = 0; i < n; i++) { /* all of it exact in float */
            float theta = (float)(i % 1024) - 500;
            float want = theta - 0.5f * (2 * (float)(i % 513) + 0.25f * theta);
            if (values[i] != want)
                fail_msg("%s, parameter %d: %g, not %g", dev->name, (int)i, values[i], want);
        }
        vitro_optim_deinit(&o);
        dev->ops->free(dev, param.data);
        dev->ops->free(dev, grad.data);
        vitro_device_close(dev);
    }
    vitro_free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_pytorch),
                                       cmocka_unit_test(test_no_state_without_momentum)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
