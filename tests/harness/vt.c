/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/vt.h"

#include <errno.h>
#include <float.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "tensor/dtype.h"

enum { GUARD = 64 };                              /* bytes; keeps the alignment that alloc gives */
enum { GUARD_INPUT = 0xFF, GUARD_OUTPUT = 0x7F }; /* 0xFF...: NaN, so that reading it shows */

static int failed_cases;

/* ---- which devices, which cases -------------------------------------------------------------- */

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static bool asked_for(const char *variable, const char *text)
{
    const char *value = env(variable);
    return !value || strstr(text, value) != NULL;
}

static void run_device(void (*cases)(VtCase *), const char *name, VitroPrecision precision,
                       unsigned mask, bool reduced)
{
    VtCase *c = calloc(1, sizeof *c);
    VitroDevice *oracle = NULL, *tested = NULL;
    vitro_cpu_set_mask(mask);
    /* The oracle's ops are short: sharing them among threads would cost more than it gives. */
    VitroDeviceOptions exact = {.name = "ref", .threads = 1, .precision = VITRO_FP64};
    if (!c || vitro_device_open(&oracle, &exact) ||
        vitro_device_open(&tested, &(VitroDeviceOptions){.name = name, .precision = precision})) {
        printf("FAIL: device \"%s\" does not open: %s\n", name, vitro_last_error());
        failed_cases++;
    } else {
        c->dev[VT_ORACLE] = oracle;
        c->dev[VT_TESTED] = c->dev[VT_AGAIN] = tested;
        c->cpu_mask = mask;
        c->reduced = reduced;
        c->seed = env("VITRO_TEST_SEED") ? strtoull(env("VITRO_TEST_SEED"), NULL, 0) : 1;
        printf("%s, CPU mask 0x%x, seed %llu\n", vitro_device_describe(tested), mask,
               (unsigned long long)c->seed);
        cases(c);
    }
    vitro_device_close(tested);
    vitro_device_close(oracle);
    free(c);
}

bool vt_usable(const char *backend)
{
    VitroDevice *dev = NULL;
    if (!asked_for("VITRO_TEST_BACKEND", backend))
        return false;
    if (strcmp(backend, "cuda") != 0)
        return true;
    VitroStatus st = vitro_device_open(&dev, &(VitroDeviceOptions){.name = backend});
    if (st != VITRO_OK)
        printf("\"%s\" is left out: %s\n", backend, vitro_last_error());
    vitro_device_close(dev);
    return st == VITRO_OK;
}

static int each_device(void (*cases)(VtCase *c), VitroPrecision precision)
{
    failed_cases = 0;
    for (int i = 0; i < vitro_backend_count(); i++) {
        const char *name = vitro_backend_name(i);
        bool is_ref = strcmp(name, "ref") == 0;
        if (!vt_usable(name) || (is_ref && precision != VITRO_FP32))
            continue;
        if (strcmp(name, "cuda") == 0) {
            run_device(cases, name, precision, ~0u, false);
            continue;
        }
        if (env("VITRO_CPU_MASK")) {
            run_device(cases, name, precision, (unsigned)strtoul(env("VITRO_CPU_MASK"), NULL, 0),
                       is_ref);
            continue;
        }
        run_device(cases, name, precision, ~0u, is_ref);
        unsigned all = vitro_cpu_flags() & ~(unsigned)VITRO_CPU_CLMUL; /* no kernel uses it */
        const unsigned least = VITRO_CPU_AVX2 | VITRO_CPU_NEON;        /* of vectors, anywhere */
        if (!is_ref && (all & ~least))
            run_device(cases, name, precision, least, true);
        if (!is_ref && all)
            run_device(cases, name, precision, 0, true);
    }
    vitro_cpu_set_mask(~0u);
    return failed_cases;
}

int vt_each_device(void (*cases)(VtCase *c))
{
    return each_device(cases, VITRO_FP32);
}

int vt_each_bf16_device(void (*cases)(VtCase *c))
{
    return each_device(cases, VITRO_PRECISION_BF16);
}

bool vt_begin(VtCase *c, const char *name_fmt, ...)
{
    va_list args;
    va_start(args, name_fmt);
    vsnprintf(c->name, sizeof c->name, name_fmt, args);
    va_end(args);
    c->failed = false;
    c->tensor_count = c->raw_count = 0;
    return asked_for("VITRO_TEST_CASE", c->name);
}

void vt_fail(VtCase *c, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (!c->failed)
        failed_cases++;
    if (!c->failed && !c->quiet)
        printf("FAIL %s on %s\n"
               "  repeat: VITRO_TEST_BACKEND=%s VITRO_CPU_MASK=0x%x VITRO_TEST_SEED=%llu "
               "VITRO_TEST_CASE='%s' %s\n",
               c->name, c->dev[VT_TESTED]->name, c->dev[VT_TESTED]->ops->name, c->cpu_mask,
               (unsigned long long)c->seed, c->name, program_invocation_name);
    if (!c->quiet)
        printf("  %s\n", text);
    fflush(stdout);
    c->failed = true;
}

void vt_ok(VtCase *c, VitroStatus status)
{
    if (status != VITRO_OK)
        vt_fail(c, "%s: %s", vitro_status_name(status), vitro_last_error());
}

/* ---- tensors --------------------------------------------------------------------------------- */

/* The harness cannot go on without p. */
static void *need(void *p, const char *what)
{
    if (!p) {
        printf("FAIL: the test harness has no more %s\n", what);
        exit(1);
    }
    return p;
}

static uint64_t hash(const char *text)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * 1099511628211u;
    return h;
}

/* Puts guards and the elements' bytes (NULL: all 0xFF, which is NaN, or -1) into the block. */
static void fill(VtCase *c, const VtTensor *t, int s, const void *bytes)
{
    size_t size = vitro_tensor_bytes(&t->t[s]);
    uint8_t *host = need(malloc(size + 2 * GUARD), "memory");
    memset(host, t->kind == VT_INPUT ? GUARD_INPUT : GUARD_OUTPUT, size + 2 * GUARD);
    if (bytes)
        memcpy(host + GUARD, bytes, size);
    else
        memset(host + GUARD, 0xFF, size);
    vt_ok(c, c->dev[s]->ops->upload(c->dev[s], t->block[s], host, size + 2 * GUARD));
    free(host);
}

void vt_set(VtCase *c, VtTensor *t, const float *values)
{
    int64_t n = vitro_tensor_count(&t->t[0]);
    for (int s = 0; s < VT_SIDES; s++) {
        VitroDtype dtype = t->t[s].dtype;
        if (!t->before[s])
            t->before[s] = need(malloc(vitro_tensor_bytes(&t->t[s]) + 1), "memory");
        for (int64_t i = 0; i < n; i++) {
            if (dtype == VITRO_F64)
                ((double *)t->before[s])[i] = values[i];
            else if (dtype == VITRO_BF16)
                ((uint16_t *)t->before[s])[i] = vitro_bf16_from_f32(values[i]);
            else
                ((float *)t->before[s])[i] = values[i];
        }
        fill(c, t, s, t->before[s]);
    }
}

VtTensor *vt_make(VtCase *c, const char *name, VtKind kind, VitroDtype dtype, double scale,
                  int rank, const int64_t *dim)
{
    need(c->tensor_count < VT_MAX_TENSORS ? c : NULL, "tensors: VT_MAX_TENSORS");
    VtTensor *t = &c->tensor[c->tensor_count++];
    *t = (VtTensor){.kind = kind};
    snprintf(t->name, sizeof t->name, "%s", name);
    for (int s = 0; s < VT_SIDES; s++) {
        VitroDevice *dev = c->dev[s];
        bool own = dtype == VITRO_F32 || (dtype == VITRO_BF16 && s == VT_ORACLE);
        t->t[s] = vitro_tensor(NULL, own ? dev->dtype : dtype, rank, dim);
        vt_ok(c, dev->ops->alloc(dev, &t->block[s], vitro_tensor_bytes(&t->t[s]) + 2 * GUARD));
        t->t[s].data = (uint8_t *)need(t->block[s], "device memory") + GUARD;
        if (kind == VT_OUTPUT)
            fill(c, t, s, NULL);
    }
    if (kind == VT_OUTPUT)
        return t;
    int64_t n = vitro_tensor_count(&t->t[0]);
    float *values = need(malloc((size_t)n * sizeof *values + 1), "memory");
    VitroRng rng = vitro_rng(c->seed ^ hash(c->name), VITRO_RNG_INIT, (uint32_t)c->tensor_count, 0);
    for (int64_t i = 0; i < n; i++)
        values[i] = (float)(scale * vitro_rng_normal(&rng));
    for (int64_t i = 0; i < n && c->dev[VT_TESTED]->precision == VITRO_PRECISION_BF16; i++)
        values[i] = vitro_f32_from_bf16(vitro_bf16_from_f32(values[i]));
    vt_set(c, t, values);
    free(values);
    return t;
}

VtTensor *vt_input(VtCase *c, const char *name, int rank, const int64_t *dim)
{
    return vt_make(c, name, VT_INPUT, VITRO_F32, 1, rank, dim);
}

VtTensor *vt_output(VtCase *c, const char *name, int rank, const int64_t *dim)
{
    return vt_make(c, name, VT_OUTPUT, VITRO_F32, 1, rank, dim);
}

VtTensor *vt_inout(VtCase *c, const char *name, int rank, const int64_t *dim)
{
    return vt_make(c, name, VT_INOUT, VITRO_F32, 1, rank, dim);
}

VtTensor *vt_absent(void)
{
    static VtTensor absent;
    return &absent;
}

void vt_settle(VtCase *c, VtTensor *t)
{
    int64_t n = vitro_tensor_count(&t->t[0]);
    float *values = need(malloc((size_t)n * sizeof *values + 1), "memory");
    vt_ok(c, vitro_device_read_f32(c->dev[VT_ORACLE], values, t->t[VT_ORACLE]));
    t->kind = VT_INPUT;
    vt_set(c, t, values);
    free(values);
}

void vt_restore(VtCase *c, const VtTensor *t, int side)
{
    fill(c, t, side, t->before[side]);
}

void vt_clear(VtCase *c, const VtTensor *t, int side)
{
    vt_ok(c,
          c->dev[side]->ops->zero(c->dev[side], t->t[side].data, vitro_tensor_bytes(&t->t[side])));
}

void *vt_raw(VtCase *c, int side, const void *bytes, size_t size)
{
    need(c->raw_count < VT_MAX_RAW ? c : NULL, "raw blocks: VT_MAX_RAW");
    void *p = NULL;
    vt_ok(c, c->dev[side]->ops->alloc(c->dev[side], &p, size));
    vt_ok(c, c->dev[side]->ops->upload(c->dev[side], need(p, "device memory"), bytes, size));
    c->raw[c->raw_count].side = side;
    c->raw[c->raw_count++].p = p;
    return p;
}

/* ---- verdicts -------------------------------------------------------------------------------- */

/* The elements' bytes, after a look at the guards. The caller frees them. */
static uint8_t *download(VtCase *c, const VtTensor *t, int s)
{
    size_t size = vitro_tensor_bytes(&t->t[s]);
    uint8_t *host = need(malloc(size + 2 * GUARD), "memory");
    uint8_t guard = t->kind == VT_INPUT ? GUARD_INPUT : GUARD_OUTPUT;
    vt_ok(c, c->dev[s]->ops->sync(c->dev[s]));
    vt_ok(c, c->dev[s]->ops->download(c->dev[s], host, t->block[s], size + 2 * GUARD));
    size_t before = 0, after = 0;
    for (size_t i = 0; i < GUARD; i++) {
        before += host[i] != guard;
        after += host[GUARD + size + i] != guard;
    }
    if (before || after)
        vt_fail(c, "%s: %zu bytes before the first element and %zu after the last were written",
                t->name, before, after);
    memmove(host, host + GUARD, size);
    return host;
}

static double element(const VitroTensor *t, const uint8_t *bytes, int64_t i)
{
    switch (t->dtype) {
    case VITRO_F64:
        return ((const double *)bytes)[i];
    case VITRO_I32:
        return ((const int32_t *)bytes)[i];
    case VITRO_BF16:
        return vitro_f32_from_bf16(((const uint16_t *)bytes)[i]);
    default:
        return ((const float *)bytes)[i];
    }
}

/* "y[1, 2] of [3, 4]" */
static const char *element_name(char *out, size_t size, const VtTensor *t, int64_t i)
{
    int64_t index[VITRO_MAX_RANK];
    const VitroTensor *v = &t->t[0];
    for (int r = v->rank - 1; r >= 0; r--) {
        index[r] = i % v->dim[r];
        i /= v->dim[r];
    }
    char where[64], shape[64];
    vitro_tensor_shape_text(where, sizeof where, v->rank, index);
    vitro_tensor_shape_text(shape, sizeof shape, v->rank, v->dim);
    snprintf(out, size, "%s%s of %s", t->name, where, shape);
    return out;
}

static void compare(VtCase *c, const VtTensor *t, const uint8_t *oracle, const uint8_t *tested,
                    double limit)
{
    int64_t n = vitro_tensor_count(&t->t[0]), worst = 0;
    double largest = 0, worst_error = 0;
    for (int64_t i = 0; i < n; i++) {
        double want = element(&t->t[VT_ORACLE], oracle, i);
        double got = element(&t->t[VT_TESTED], tested, i);
        double error = want == got || (isnan(want) && isnan(got)) ? 0 : fabs(got - want);
        if (t->t[VT_TESTED].dtype == VITRO_BF16)
            error = fmax(error - fabs(want) * 0x1p-8, 0);
        if (isnan(got) && !isnan(want))
            error = INFINITY;
        largest = fmax(largest, isfinite(want) ? fabs(want) : 0);
        if (error > worst_error)
            worst = i, worst_error = error;
    }
    if (worst_error <= limit * largest + FLT_MIN) /* below it, float32 loses digits */
        return;
    char where[200];
    vt_fail(c, "%s: got %.9g, expected %.9g: off by %.3g of the largest, %.3g; limit %.3g",
            element_name(where, sizeof where, t, worst), element(&t->t[VT_TESTED], tested, worst),
            element(&t->t[VT_ORACLE], oracle, worst), worst_error / largest, largest, limit);
}

void vt_check(VtCase *c, const VtTensor *t, double limit)
{
    if (!t->t[0].data)
        return;
    uint8_t *bytes[VT_SIDES];
    for (int s = 0; s < VT_SIDES; s++)
        bytes[s] = download(c, t, s);
    compare(c, t, bytes[VT_ORACLE], bytes[VT_TESTED], limit);
    if (memcmp(bytes[VT_TESTED], bytes[VT_AGAIN], vitro_tensor_bytes(&t->t[VT_TESTED])) != 0)
        vt_fail(c, "%s: the second call gave other bits than the first", t->name);
    for (int s = 0; s < VT_SIDES; s++)
        free(bytes[s]);
}

void vt_end(VtCase *c)
{
    for (int i = 0; i < c->tensor_count; i++) {
        VtTensor *t = &c->tensor[i];
        for (int s = 0; s < VT_SIDES; s++) {
            uint8_t *now = download(c, t, s); /* the guards of tensors that no check looked at */
            if (t->kind == VT_INPUT && memcmp(now, t->before[s], vitro_tensor_bytes(&t->t[s])) != 0)
                vt_fail(c, "%s is an input and was changed", t->name);
            free(now);
            free(t->before[s]);
            c->dev[s]->ops->free(c->dev[s], t->block[s]);
        }
    }
    for (int i = 0; i < c->raw_count; i++)
        c->dev[c->raw[i].side]->ops->free(c->dev[c->raw[i].side], c->raw[i].p);
    c->tensor_count = c->raw_count = 0;
}
