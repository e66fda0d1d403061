/* SPDX-License-Identifier: Apache-2.0 */
/* An ONNX graph as it is built, and the file that comes of it. Knows no model.
 *
 * What adds to the graph returns the name of the value that it makes, which the graph owns. After a
 * failure everything returns "" and adds nothing, so that a graph is written down without looking
 * at each line; vitro_onnx_status, or writing the file, tells. */
#ifndef VITRO_EXPORT_ONNX_GRAPH_H
#define VITRO_EXPORT_ONNX_GRAPH_H

#include "base/status.h"

typedef struct VitroOnnx VitroOnnx;

VitroStatus vitro_onnx_create(VitroOnnx **out, const char *name, const char *doc);
void vitro_onnx_free(VitroOnnx *g); /* NULL is fine */
VitroStatus vitro_onnx_status(const VitroOnnx *g);

/* A name made of parts; "" after a failure. */
const char *vitro_onnx_name(VitroOnnx *g, const char *fmt, ...) VITRO_PRINTF(2, 3);

/* A tensor of float32. A dimension below 1 is free, and called "batch". */
const char *vitro_onnx_input(VitroOnnx *g, const char *name, int rank, const int64_t *dim);
void vitro_onnx_output(VitroOnnx *g, const char *name, int rank, const int64_t *dim);

/* Constants. The elements are copied. */
const char *vitro_onnx_scalar(VitroOnnx *g, const char *name, double value); /* float32 */
const char *vitro_onnx_int(VitroOnnx *g, const char *name, int64_t value); /* without dimensions */
const char *vitro_onnx_ints(VitroOnnx *g, const char *name, int count, const int64_t *value);
/* A constant of float32 whose elements are asked for when the file is written: see VitroOnnxLoad.
 */
const char *vitro_onnx_param(VitroOnnx *g, const char *name, int rank, const int64_t *dim);

typedef struct VitroOnnxAttribute {
    const char *name; /* NULL ends a list */
    enum { VITRO_ONNX_INT, VITRO_ONNX_FLOAT, VITRO_ONNX_INTS } type;
    int64_t i;
    double f;
    int count;
    const int64_t *ints;
} VitroOnnxAttribute;

#define VITRO_ONNX_MAX_INPUTS 8

/* An operator with one result, called `name` as the node is. `inputs` ends with NULL; `attributes`
 * may be NULL. */
const char *vitro_onnx_node(VitroOnnx *g, const char *op, const char *name,
                            const char *const *inputs, const VitroOnnxAttribute *attributes);
/* Equal parts of x along `axis`: out[i] is called name + "." + parts[i]. */
void vitro_onnx_split(VitroOnnx *g, const char *name, const char *x, int axis, int count,
                      const char *const *parts, const char **out);

/* The first parameter that no node takes, or NULL. */
const char *vitro_onnx_unused_param(const VitroOnnx *g);

/* Text that a reader finds beside the graph. */
void vitro_onnx_metadata(VitroOnnx *g, const char *key, const char *value);

/* Gives the elements of parameter i, which is `bytes` long, in the order in which they were added;
 * *owned, where it is set, is freed with vitro_free when they are no longer needed. */
typedef VitroStatus (*VitroOnnxLoad)(void *user, int64_t i, size_t bytes, const void **data,
                                     void **owned);

/* Writes the file, whole or not at all. Where `external`, or where it would exceed what protocol
 * buffers can hold (2 GiB), the parameters go into `path` + ".data" beside it, each at a multiple
 * of 4096 bytes; that file is written first. */
VitroStatus vitro_onnx_write(VitroOnnx *g, const char *path, bool external, VitroOnnxLoad load,
                             void *user);

#endif
