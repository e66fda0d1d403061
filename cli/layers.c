/* SPDX-License-Identifier: Apache-2.0 */
#include "layers.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- collecting ------------------------------------------------------------------------------ */

void layers_add(void *user, const VitroLayerInfo *info)
{
    LayerTable *t = user;
    if (t->count == t->room) {
        t->room = t->room ? 2 * t->room : 64;
        Layer *more = cli_alloc((size_t)t->room, sizeof(*more));
        if (t->count)
            memcpy(more, t->layers, (size_t)t->count * sizeof(*more));
        free(t->layers);
        t->layers = more;
    }
    Layer *l = &t->layers[t->count++];
    l->info = *info;
    snprintf(l->name, sizeof(l->name), "%s", info->name);
}

int layers_of_model(LayerTable *t, const VitroConfig *cfg, int64_t batch, int element_bytes)
{
    *t = (LayerTable){.element_bytes = element_bytes};
    return vitro_config_each_layer(cfg, batch, layers_add, t) ? cli_fail_lib() : CLI_OK;
}

void layers_deinit(LayerTable *t)
{
    free(t->layers);
    *t = (LayerTable){0};
}

/* ---- counting -------------------------------------------------------------------------------- */

int64_t flops_products(VitroFlops f)
{
    return f.conv + f.linear + f.matmul;
}

int64_t flops_total(VitroFlops f)
{
    return flops_products(f) + f.layer_norm;
}

VitroFlops layers_flops(const LayerTable *t)
{
    VitroFlops sum = {0};
    for (int64_t i = 0; i < t->count; i++) {
        VitroFlops f = t->layers[i].info.flops;
        sum = (VitroFlops){sum.conv + f.conv, sum.linear + f.linear, sum.matmul + f.matmul,
                           sum.layer_norm + f.layer_norm};
    }
    return sum;
}

int64_t layers_params(const LayerTable *t)
{
    int64_t n = 0;
    for (int64_t i = 0; i < t->count; i++)
        n += t->layers[i].info.params;
    return n;
}

static int64_t output_bytes(const LayerTable *t, const Layer *l)
{
    int64_t n = t->element_bytes;
    for (int k = 0; k < l->info.rank; k++)
        n *= l->info.dim[k];
    return n;
}

/* Whether `l` is inside the module whose name is the first n letters of `name`. */
static bool inside(const Layer *l, const char *name, size_t n)
{
    return n == 0 || (strncmp(l->name, name, n) == 0 && l->name[n] == '.');
}

/* Sum over the run of layers from `first` on that are inside that module. */
static int64_t module_flops(const LayerTable *t, int64_t first, size_t n)
{
    int64_t sum = 0;
    const char *name = t->layers[first].name;
    for (int64_t i = first; i < t->count && inside(&t->layers[i], name, n); i++)
        sum += flops_total(t->layers[i].info.flops);
    return sum;
}

/* ---- text ------------------------------------------------------------------------------------ */

static void print_line(const char *name, const VitroLayerInfo *info, int64_t params, int64_t flops,
                       int64_t bytes)
{
    char shape[96], grouped[3][GROUPED_BYTES];
    int n = 0;
    for (int k = 0; k < info->rank; k++)
        n += snprintf(shape + n, sizeof(shape) - (size_t)n, "%s%" PRId64, k ? "," : "[",
                      info->dim[k]);
    snprintf(shape + n, sizeof(shape) - (size_t)n, "]");
    printf("%-24s %-18s %13s %19s %16s\n", name, shape, format_grouped(grouped[0], params),
           format_grouped(grouped[1], flops), format_grouped(grouped[2], bytes));
}

static void print_layer(const LayerTable *t, const Layer *l, const char *indent)
{
    char name[64];
    const char *own = l->name;
    if (*indent) /* "blocks.0.norm1" is "norm1" there */
        own = strchr(strchr(own, '.') + 1, '.') + 1;
    snprintf(name, sizeof(name), "%s%s", indent, own);
    print_line(name, &l->info, l->info.params, flops_total(l->info.flops), output_bytes(t, l));
}

/* The blocks begin at `first`. Returns the first layer behind them. */
static int64_t print_blocks(const LayerTable *t, int64_t first)
{
    LayerTable blocks = {.layers = t->layers + first};
    int64_t bytes = 0, each = 0;
    while (first + blocks.count < t->count && blocks.layers[blocks.count].info.block >= 0) {
        const Layer *l = &blocks.layers[blocks.count++];
        bytes += output_bytes(t, l);
        each += l->info.block == 0;
    }
    const Layer *last = &blocks.layers[blocks.count - 1];
    char name[64];
    snprintf(name, sizeof(name), "blocks.0-%d  x%d", last->info.block, last->info.block + 1);
    print_line(name, &last->info, layers_params(&blocks), flops_total(layers_flops(&blocks)),
               bytes);
    for (int64_t i = 0; i < each; i++)
        print_layer(t, &blocks.layers[i], "  each ");
    return first + blocks.count;
}

static bool several_blocks(const LayerTable *t)
{
    for (int64_t i = 0; i < t->count; i++)
        if (t->layers[i].info.block > 0)
            return true;
    return false;
}

void layers_print(const LayerTable *t, bool every_block)
{
    bool fold = !every_block && several_blocks(t);
    printf("%-24s %-18s %13s %19s %16s\n", "layer", "output", "parameters", "FLOPs",
           "output bytes");
    for (int64_t i = 0; i < t->count;) {
        if (fold && t->layers[i].info.block == 0)
            i = print_blocks(t, i);
        else
            print_layer(t, &t->layers[i++], "");
    }
}

void layers_print_modules(const LayerTable *t)
{
    const char *separator = "";
    for (int64_t i = 0; i < t->count; i++) {
        const char *name = t->layers[i].name;
        size_t n = strcspn(name, ".");
        bool alone = name[n] == 0, counted = i > 0 && inside(&t->layers[i - 1], name, n);
        if (counted || t->layers[i].info.kind == VITRO_LAYER_PARAM)
            continue;
        printf("%s%.*s %" PRId64, separator, (int)n, name,
               alone ? flops_total(t->layers[i].info.flops) : module_flops(t, i, n));
        separator = ", ";
    }
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void print_layer_json(const LayerTable *t, const Layer *l)
{
    printf("{\"name\": \"%s\", \"output\": [", l->name);
    for (int k = 0; k < l->info.rank; k++)
        printf("%s%" PRId64, k ? ", " : "", l->info.dim[k]);
    printf("], \"params\": %" PRId64 ", \"flops\": %" PRId64 ", \"bytes\": %" PRId64
           ", \"param_bytes\": %" PRId64 "}",
           l->info.params, flops_total(l->info.flops), output_bytes(t, l),
           l->info.params * t->element_bytes);
}

void layers_print_json(const LayerTable *t)
{
    printf("\"modules\": [");
    for (int64_t i = 0; i < t->count; i++) {
        fputs(i ? ", " : "", stdout);
        print_layer_json(t, &t->layers[i]);
    }
    printf("], \"flops_by_module\": {\"\": %" PRId64, flops_total(layers_flops(t)));
    for (int64_t i = 0; i < t->count; i++) {
        const Layer *l = &t->layers[i];
        /* first the modules around it that begin here, then the layer itself */
        for (const char *dot = strchr(l->name, '.'); dot; dot = strchr(dot + 1, '.')) {
            size_t n = (size_t)(dot - l->name);
            if (i == 0 || !inside(&t->layers[i - 1], l->name, n))
                printf(", \"%.*s\": %" PRId64, (int)n, l->name, module_flops(t, i, n));
        }
        if (l->info.kind != VITRO_LAYER_MATMUL && l->info.kind != VITRO_LAYER_PARAM)
            printf(", \"%s\": %" PRId64, l->name, flops_total(l->info.flops));
    }
    putchar('}');
}
