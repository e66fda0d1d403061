/* SPDX-License-Identifier: Apache-2.0 */
/* Devices by name, and float32 to and from their tensors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "harness/vt.h"
#include "backend/backend.h"

static void refused(const char *name, int threads, int precision, VitroStatus status,
                    const char *text)
{
    VitroDevice *dev = NULL;
    VitroDeviceOptions options = {name, threads, (VitroPrecision)precision};
    assert_int_equal(vitro_device_open(&dev, &options), status);
    assert_null(dev);
    if (!strstr(vitro_last_error(), text))
        fail_msg("\"%s\" does not say \"%s\"", vitro_last_error(), text);
}

static void test_refusals(void **state)
{
    (void)state;
    /* whether this build has no CUDA, or this machine no GPU */
    refused("cuda:9999", 0, VITRO_FP32, VITRO_E_UNSUPPORTED, "");
    refused("cuda:", 0, VITRO_FP32, VITRO_E_ARG, "cuda:N");
    refused("cuda:x", 0, VITRO_FP32, VITRO_E_ARG, "cuda:N");
    refused("cuda:00000", 0, VITRO_FP32, VITRO_E_ARG, "cuda:N");
    refused("cpu", 0, VITRO_PRECISION_TF32, VITRO_E_UNSUPPORTED,
            "\"cpu\" does not compute in tf32");
    refused("ref", 0, VITRO_PRECISION_BF16, VITRO_E_UNSUPPORTED, "\"cpu\"");
    refused("tpu", 0, VITRO_FP32, VITRO_E_ARG, "\"tpu\" is unknown");
    refused("", 0, VITRO_FP32, VITRO_E_ARG, "unknown");
    refused("REF", 0, VITRO_FP32, VITRO_E_ARG, "\"ref\"");
    refused("ref", -1, VITRO_FP32, VITRO_E_ARG, "-1");
    refused("ref", 1 << 20, VITRO_FP32, VITRO_E_ARG, "1048576");
    refused("ref", 0, 7, VITRO_E_ARG, "7");
}

static void test_every_backend_opens_by_name(void **state)
{
    (void)state;
    assert_true(vitro_backend_count() >= 1);
    assert_null(vitro_backend_name(-1));
    assert_null(vitro_backend_name(vitro_backend_count()));
    for (int i = 0; i < vitro_backend_count(); i++) {
        const char *name = vitro_backend_name(i);
        VitroDevice *dev = NULL;
        VitroDeviceOptions options = {.name = name, .threads = 1};
        if (!vt_usable(name))
            continue;
        assert_int_equal(vitro_device_open(&dev, &options), VITRO_OK);
        assert_int_equal(strncmp(vitro_device_name(dev), name, strlen(name)), 0);
        assert_int_equal(strncmp(vitro_device_describe(dev), name, strlen(name)), 0);
        assert_int_equal(vitro_device_threads(dev), 1);
        assert_int_equal(dev->dtype, VITRO_F32);
        vitro_device_close(dev);
        if (strcmp(name, "ref") != 0)
            refused(name, 0, VITRO_FP64, VITRO_E_UNSUPPORTED, "FP64");
    }
}

static void test_the_best_is_chosen(void **state)
{
    (void)state;
    VitroDevice *dev = NULL;
    assert_int_equal(vitro_device_open(&dev, NULL), VITRO_OK);
    int best = 0;
    while (!vt_usable(vitro_backend_name(best)))
        best++;
    const char *name = vitro_backend_name(best);
    assert_int_equal(strncmp(vitro_device_name(dev), name, strlen(name)), 0);
    assert_true(vitro_device_threads(dev) >= 1);
    vitro_device_close(dev);

    assert_int_equal(vitro_device_open(&dev, &(VitroDeviceOptions){.precision = VITRO_FP64}),
                     VITRO_OK);
    assert_string_equal(vitro_device_name(dev), "ref");
    vitro_device_close(dev);
    vitro_device_close(NULL);
}

/* More elements than are converted at a time, there and back. */
static void round_trip(const char *name, VitroPrecision precision)
{
    enum { N = 2500 };
    static float there[N], back[N];
    VitroDevice *dev = NULL;
    assert_int_equal(
        vitro_device_open(&dev, &(VitroDeviceOptions){.name = name, .precision = precision}),
        VITRO_OK);
    for (int i = 0; i < N; i++) {
        there[i] = (float)i / 3;
        back[i] = -1;
    }
    VitroTensor t = vitro_tensor1(NULL, dev->dtype, N);
    assert_int_equal(dev->ops->alloc(dev, &t.data, vitro_tensor_bytes(&t)), VITRO_OK);
    assert_int_equal((uintptr_t)t.data % 64, 0);
    assert_int_equal(vitro_device_write_f32(dev, t, there), VITRO_OK);
    assert_int_equal(vitro_device_read_f32(dev, back, t), VITRO_OK);
    assert_memory_equal(there, back, sizeof there);
    assert_int_equal(dev->ops->zero(dev, t.data, vitro_tensor_bytes(&t)), VITRO_OK);
    assert_int_equal(vitro_device_read_f32(dev, back, t), VITRO_OK);
    for (int i = 0; i < N; i++)
        assert_true(back[i] == 0);
    t.dtype = VITRO_I32;
    assert_int_equal(vitro_device_write_f32(dev, t, there), VITRO_E_ARG);
    dev->ops->free(dev, t.data);
    vitro_device_close(dev);
}

static void test_round_trip(void **state)
{
    (void)state;
    for (int i = 0; i < vitro_backend_count(); i++)
        if (vt_usable(vitro_backend_name(i)))
            round_trip(vitro_backend_name(i), VITRO_FP32);
    round_trip("ref", VITRO_FP64);
}

static void test_peak(void **state)
{
    (void)state;
    VitroDevice *dev = NULL;
    double gflops = 0;
    assert_int_equal(vitro_device_open(&dev, &(VitroDeviceOptions){.name = "ref"}), VITRO_OK);
    assert_int_equal(vitro_device_peak_gflops(dev, VITRO_FP32, &gflops), VITRO_E_UNSUPPORTED);
    vitro_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_every_backend_opens_by_name),
        cmocka_unit_test(test_the_best_is_chosen),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_peak),
    };
    return cmocka_run_group_tests_name("unit/registry", tests, NULL, NULL);
}
