/* SPDX-License-Identifier: Apache-2.0 */
/* --device, --backend, --threads, --precision, --seed. */
#ifndef VITRO_CLI_DEVICE_ARGS_H
#define VITRO_CLI_DEVICE_ARGS_H

#include "args.h"

typedef enum CliPrecision { CLI_FP32, CLI_FP64, CLI_BF16, CLI_INT8, CLI_TF32 } CliPrecision;
extern const char *const cli_precision_names[]; /* ends with NULL */

typedef struct DeviceArgs {
    const char *device; /* NULL: the best one */
    int backend;        /* index in auto, cpu, ref */
    int threads;        /* 0: all that the process may use */
    int precision;      /* CliPrecision */
    int64_t seed;
} DeviceArgs;

ArgGroup device_args_group(DeviceArgs *d); /* --device --backend --threads --seed --precision */
ArgGroup device_args_group_bench(DeviceArgs *d);           /* without --precision */
VitroPrecision device_args_precision(const DeviceArgs *d); /* as the library calls it */
/* Opens the device; falls back to the CPU with one line where a GPU was asked for and is not
 * there. */
int device_args_open(const DeviceArgs *d, VitroDevice **out);

#endif
