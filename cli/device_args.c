/* SPDX-License-Identifier: Apache-2.0 */
/* The device options and the device that they lead to. */
#include "device_args.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define ROW(name_, type_, field_, ...)                                                             \
    {                                                                                              \
        .name = name_, .type = type_, .at = offsetof(DeviceArgs, field_), __VA_ARGS__              \
    }

const char *const cli_precision_names[] = {"fp32", "fp64", "bf16", "int8", "tf32", NULL};
static const char *const backend_names[] = {"auto", "cpu", "ref", NULL};

static const ArgOption device_options[] = {
    ROW("device", ARG_TEXT, device, .metavar = "NAME",
        .def_help = "cuda:0 where there is one, else cpu", .help = "cuda:N or cpu"),
    ROW("backend", ARG_CHOICE, backend, .def = "auto", .choices = backend_names,
        .help = "implementation; ref is plain C with double sums, slow and simple"),
    ROW("threads", ARG_INT, threads, .min = 1, .max = 1024,
        .def_help = "all that the process may use", .help = "threads that compute"),
    ROW("seed", ARG_INT64, seed, .def = "0", .min = 0, .max = INFINITY,
        .help = "of everything that is drawn"),
    ROW("precision", ARG_CHOICE, precision, .def = "fp32", .choices = cli_precision_names,
        .help = "arithmetic of products; int8 does not train, fp64 needs --backend ref, tf32 a "
                "GPU"),
};
#define BENCH_ROWS 4 /* the bench takes lists of precisions, with an option of its own */

ArgGroup device_args_group(DeviceArgs *d)
{
    return (ArgGroup){"Device", device_options, ARG_COUNT(device_options), d};
}

ArgGroup device_args_group_bench(DeviceArgs *d)
{
    return (ArgGroup){"Device", device_options, BENCH_ROWS, d};
}

/* "cuda" or "cuda:N" */
static bool names_gpu(const char *name)
{
    if (strncmp(name, "cuda", 4) != 0)
        return false;
    const char *rest = name + 4;
    size_t digits = *rest == ':' ? strspn(rest + 1, "0123456789") : 0;
    return !*rest || (digits > 0 && digits <= 4 && !rest[1 + digits]);
}

static const VitroPrecision precisions[] = {[CLI_FP32] = VITRO_FP32,
                                            [CLI_FP64] = VITRO_FP64,
                                            [CLI_BF16] = VITRO_PRECISION_BF16,
                                            [CLI_INT8] = VITRO_PRECISION_INT8,
                                            [CLI_TF32] = VITRO_PRECISION_TF32};

static int open_device(VitroDevice **out, const VitroDeviceOptions *options)
{
    if (vitro_device_open(out, options))
        return cli_fail_lib();
    if (!vitro_device_is_native(*out))
        cli_note(
            "this CPU has no instructions for products of %s: they are computed by wider ones, "
            "correctly, but no faster than fp32",
            options->precision == VITRO_PRECISION_INT8 ? "bytes" : "bf16");
    return CLI_OK;
}

VitroPrecision device_args_precision(const DeviceArgs *d)
{
    return precisions[d->precision];
}

int device_args_open(const DeviceArgs *d, VitroDevice **out)
{
    const char *name = d->device;
    bool gpu = name && names_gpu(name);
    char shown[64];
    if (name && !gpu && strcmp(name, "cpu") != 0)
        return cli_usage("option --device: found '%s', expected cpu, cuda or cuda:N",
                         cli_clean(shown, sizeof(shown), name));
    if (gpu && d->backend)
        return cli_usage("options --device %s and --backend %s contradict each other", name,
                         backend_names[d->backend]);
    VitroDeviceOptions options = {.name = d->backend ? backend_names[d->backend] : name,
                                  .threads = d->threads,
                                  .precision = device_args_precision(d)};
    if (!gpu)
        return open_device(out, &options);
    VitroStatus st = vitro_device_open(out, &options);
    if (st == VITRO_OK)
        return CLI_OK; /* a GPU tells by itself what it lacks */
    if (st != VITRO_E_UNSUPPORTED && st != VITRO_E_ARG)
        return cli_fail_lib();
    cli_note("device %s cannot be used (%s): going on with cpu", name, vitro_last_error());
    options.name = "cpu";
    return open_device(out, &options);
}
