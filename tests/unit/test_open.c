/* SPDX-License-Identifier: Apache-2.0 */
/* vitro_model_open: an opened model computes the bits that a created and loaded one does, from
 * every format and element type; nothing can change it; and it takes the memory of one copy of its
 * weights, not of three. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/cpu.h"
#include "harness/temp.h"
#include "vitro/vitro.h"

enum { BATCH = 3, OUTPUTS_MAX = 64, PATH_MAX_BYTES = 512 };

static void ok(VitroStatus st)
{
    if (st != VITRO_OK)
        fail_msg("%s: %s", vitro_status_name(st), vitro_last_error());
}

/* Every kind of parameter: norms of patches, biases, pre_logits, a head. */
static VitroConfig full_config(int width)
{
    VitroConfig cfg;
    ok(vitro_config_preset(&cfg, "vit_tiny_patch4_32"));
    cfg.img_height = cfg.img_width = 16;
    cfg.embed_dim = width;
    cfg.depth = 2;
    cfg.num_heads = 2;
    cfg.num_classes = 7;
    cfg.representation_size = width / 2;
    cfg.patch_norm = true;
    return cfg;
}

static float noise(uint32_t *random)
{
    *random = *random * 1664525u + 1013904223u;
    return (float)(*random >> 8) * 0x1p-23f - 1;
}

/* The initial biases are zeros, which would hide a bias that is not read. */
static VitroModel *new_model(VitroDevice *dev, const VitroConfig *cfg)
{
    VitroModel *m;
    uint32_t random = 5;
    ok(vitro_model_create(&m, dev, cfg));
    ok(vitro_model_init(m, 3));
    for (int64_t i = 0; i < vitro_model_param_count(m); i++) {
        VitroParamInfo info = vitro_model_param(m, i);
        float *values = calloc((size_t)info.count, sizeof(*values));
        assert_non_null(values);
        ok(vitro_model_param_get(m, i, values));
        for (int64_t k = 0; k < info.count; k++)
            values[k] += 0.1f * noise(&random);
        ok(vitro_model_param_set(m, i, values));
        free(values);
    }
    return m;
}

static VitroDevice *open_device(const char *name, VitroPrecision precision)
{
    VitroDevice *dev;
    ok(vitro_device_open(
        &dev, &(VitroDeviceOptions){.name = name, .precision = precision, .threads = 2}));
    return dev;
}

/* Writes the weights of `cfg` as dir/w.safetensors. */
static char *write_weights(const char *dir, const VitroConfig *cfg)
{
    VitroDevice *dev = open_device("cpu", VITRO_FP32);
    VitroModel *m = new_model(dev, cfg);
    char *path = malloc(PATH_MAX_BYTES);
    assert_non_null(path);
    snprintf(path, PATH_MAX_BYTES, "%s/w.safetensors", dir);
    ok(vitro_model_save(m, path, VITRO_FORMAT_SAFETENSORS, NULL));
    vitro_model_free(m);
    vitro_device_close(dev);
    return path;
}

/* What `m` says of some pictures, one of them in a batch of its own. */
static void run(float *out, VitroModel *m)
{
    const VitroConfig *cfg = vitro_model_config(m);
    int64_t n = (int64_t)cfg->in_channels * cfg->img_height * cfg->img_width;
    int64_t outputs = vitro_config_outputs(cfg);
    float *images = calloc((size_t)(BATCH * n), sizeof(*images));
    VitroPredictor *p;
    uint32_t random = 9;
    assert_non_null(images);
    assert_true(outputs <= OUTPUTS_MAX);
    for (int64_t i = 0; i < BATCH * n; i++)
        images[i] = noise(&random);
    memset(out, 0xff, BATCH * OUTPUTS_MAX * sizeof(*out));
    ok(vitro_predictor_create(&p, m, BATCH - 1));
    ok(vitro_predictor_run(p, images, BATCH - 1, out));
    ok(vitro_predictor_run(p, images + (BATCH - 1) * n, 1, out + (BATCH - 1) * outputs));
    vitro_predictor_free(p);
    free(images);
    for (int64_t i = 0; i < BATCH * outputs; i++)
        assert_true(out[i] - out[i] == 0); /* finite */
}

/* ---- the same bits -------------------------------------------------------------------------- */

static void same_params(const VitroModel *a, const VitroModel *b)
{
    assert_int_equal(vitro_model_param_count(a), vitro_model_param_count(b));
    for (int64_t i = 0; i < vitro_model_param_count(a); i++) {
        VitroParamInfo info = vitro_model_param(a, i);
        float *x = calloc((size_t)info.count, sizeof(*x));
        float *y = calloc((size_t)info.count, sizeof(*y));
        assert_true(x && y);
        ok(vitro_model_param_get(a, i, x));
        memset(y, 0xff, (size_t)info.count * sizeof(*y));
        ok(vitro_model_param_get(b, i, y));
        assert_memory_equal(x, y, (size_t)info.count * sizeof(*x));
        free(x);
        free(y);
    }
}

/* Models of one checkpoint, made both ways, on one device. */
static void compare(VitroDevice *dev, const VitroConfig *cfg, const VitroCheckpoint *ckpt,
                    const VitroLoadOptions *options)
{
    float expected[BATCH * OUTPUTS_MAX], got[BATCH * OUTPUTS_MAX];
    VitroModel *loaded, *opened;
    VitroLoadReport load = {0}, open = {0};
    ok(vitro_model_create(&loaded, dev, cfg));
    ok(vitro_model_load(loaded, ckpt, options, &load));
    ok(vitro_model_open(&opened, dev, cfg, ckpt, options, &open));
    assert_int_equal(open.loaded_count, load.loaded_count);
    assert_int_equal(open.missing_count, load.missing_count);
    assert_int_equal(open.unexpected_count, load.unexpected_count);
    for (int64_t i = 0; i < load.missing_count; i++)
        assert_string_equal(open.missing[i], load.missing[i]);
    same_params(loaded, opened);
    run(expected, loaded);
    for (int i = 0; i < 2; i++) { /* the second predictor finds all of it prepared */
        run(got, opened);
        assert_memory_equal(got, expected, sizeof(got));
    }
    same_params(loaded, opened);
    vitro_load_report_deinit(&load);
    vitro_load_report_deinit(&open);
    vitro_model_free(opened);
    vitro_model_free(loaded);
}

static void compare_everywhere(const VitroConfig *cfg, const VitroCheckpoint *ckpt,
                               const VitroLoadOptions *options)
{
    static const struct {
        const char *name;
        VitroPrecision precision;
        unsigned mask;
    } devices[] = {{"cpu", VITRO_FP32, ~0u},
                   {"cpu", VITRO_FP32, VITRO_CPU_AVX2 | VITRO_CPU_NEON},
                   {"cpu", VITRO_FP32, 0},
                   {"cpu", VITRO_PRECISION_BF16, ~0u},
                   {"cpu", VITRO_PRECISION_INT8, ~0u},
                   {"ref", VITRO_FP32, ~0u},
                   {"ref", VITRO_FP64, ~0u}};
    for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        vitro_cpu_set_mask(devices[i].mask);
        VitroDevice *dev = open_device(devices[i].name, devices[i].precision);
        compare(dev, cfg, ckpt, options);
        vitro_device_close(dev);
    }
    vitro_cpu_set_mask(~0u);
}

/* Double precision is no type that vitro_checkpoint_convert writes. */
static void write_f64(const char *path, const VitroCheckpoint *from)
{
    int64_t n = vitro_checkpoint_count(from);
    VitroTensorSource *t = calloc((size_t)n, sizeof(*t));
    assert_non_null(t);
    for (int64_t i = 0; i < n; i++) {
        const VitroTensorInfo *info = vitro_checkpoint_info(from, i);
        float *values = calloc((size_t)info->count, sizeof(*values));
        double *wide = calloc((size_t)info->count, sizeof(*wide));
        assert_true(values && wide);
        ok(vitro_checkpoint_read_f32(from, i, values));
        for (int64_t k = 0; k < info->count; k++)
            wide[k] = (double)values[k] * (1 + 0x1p-40); /* no float: it is rounded */
        t[i] = (VitroTensorSource){info->name, VITRO_F64, info->rank, {0}, wide};
        memcpy(t[i].dim, info->dim, sizeof(t[i].dim));
        free(values);
    }
    ok(vitro_checkpoint_write(path, VITRO_FORMAT_NPZ, t, n, NULL));
    for (int64_t i = 0; i < n; i++)
        free((void *)(uintptr_t)t[i].data);
    free(t);
}

static void every_format_and_type(void **state)
{
    (void)state;
    static const int widths[] = {24, 64}; /* with a rest of every vector, and without */
    for (size_t w = 0; w < 2; w++) {
        char *dir = vt_temp_make(), other[PATH_MAX_BYTES];
        VitroConfig cfg = full_config(widths[w]);
        char *path = write_weights(dir, &cfg);
        VitroCheckpoint *ckpt, *converted;
        ok(vitro_checkpoint_open(&ckpt, path));
        for (int format = VITRO_FORMAT_PTH; format <= VITRO_FORMAT_NPZ; format++)
            for (int dtype = VITRO_F32; dtype <= VITRO_F64; dtype++) {
                VitroDtype to = (VitroDtype)dtype;
                if (to == VITRO_F64 && format != VITRO_FORMAT_NPZ)
                    continue;
                snprintf(other, sizeof(other), "%s/other", dir);
                if (to == VITRO_F64)
                    write_f64(other, ckpt);
                else
                    ok(vitro_checkpoint_convert(ckpt, other, (VitroCheckpointFormat)format, &to,
                                                NULL));
                ok(vitro_checkpoint_open(&converted, other));
                assert_int_equal(vitro_checkpoint_info(converted, 0)->dtype, to);
                compare_everywhere(&cfg, converted, NULL);
                vitro_checkpoint_close(converted);
            }
        vitro_checkpoint_close(ckpt);
        free(path);
        vt_temp_remove(dir);
    }
}

/* Tensors put together from several, and turned ones: neither lies in the file as it is used. */
static void foreign_layouts(void **state)
{
    (void)state;
    static const char *const files[] = {"huggingface", "flax", "torchvision", "timm"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char path[PATH_MAX_BYTES];
        VitroCheckpoint *ckpt;
        VitroConfig cfg, given = {.num_heads = 2};
        snprintf(path, sizeof(path), "tests/golden/model/names_%s.npz", files[i]);
        ok(vitro_checkpoint_open(&ckpt, path));
        ok(vitro_checkpoint_adopt_names(ckpt, NULL));
        ok(vitro_config_from_checkpoint(&cfg, NULL, 0, ckpt, NULL, &given, VITRO_CFG_NUM_HEADS));
        compare_everywhere(&cfg, ckpt, NULL);
        vitro_checkpoint_close(ckpt);
    }
}

/* What the file has not is 0, as in a model that is created. */
static void without_a_head(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    VitroConfig cfg = full_config(32);
    char *path = write_weights(dir, &cfg);
    VitroCheckpoint *ckpt;
    VitroLoadOptions options = {.skip_head = true};
    ok(vitro_checkpoint_open(&ckpt, path));
    compare_everywhere(&cfg, ckpt, &options);
    options.skip_pre_logits = true;
    compare_everywhere(&cfg, ckpt, &options);
    cfg.num_classes = 0;
    compare_everywhere(&cfg, ckpt, &(VitroLoadOptions){.strict = false});
    vitro_checkpoint_close(ckpt);
    free(path);
    vt_temp_remove(dir);
}

/* ---- what cannot be ------------------------------------------------------------------------- */

static void refused(VitroStatus st, const char *path)
{
    assert_int_equal(st, VITRO_E_ARG);
    assert_non_null(strstr(vitro_last_error(), "vitro_model_open"));
    assert_non_null(strstr(vitro_last_error(), path));
}

static void it_cannot_change(void **state)
{
    (void)state;
    static const char *const backends[] = {"cpu", "ref"};
    char *dir = vt_temp_make(), first[PATH_MAX_BYTES], second[PATH_MAX_BYTES];
    VitroConfig cfg = full_config(32);
    char *path = write_weights(dir, &cfg);
    float values[32] = {0};
    snprintf(first, sizeof(first), "%s/first/w.pth", dir);
    snprintf(second, sizeof(second), "%s/second/w.pth", dir);
    vt_mkdir(dir, "first");
    vt_mkdir(dir, "second");
    for (size_t i = 0; i < 2; i++) {
        VitroDevice *dev = open_device(backends[i], VITRO_FP32);
        VitroCheckpoint *ckpt;
        VitroModel *m, *loaded;
        VitroTrainer *trainer = NULL;
        VitroTrainOptions options = vitro_train_options_default();
        ok(vitro_checkpoint_open(&ckpt, path));
        ok(vitro_model_open(&m, dev, &cfg, ckpt, NULL, NULL));
        refused(vitro_model_init(m, 1), path);
        refused(vitro_model_load(m, ckpt, NULL, NULL), path);
        refused(vitro_model_param_set(m, 0, values), path); /* cls_token: [32] */
        refused(vitro_trainer_create(&trainer, m, &options, 1), path);
        options.freeze = true;
        refused(vitro_trainer_create(&trainer, m, &options, 1), path);
        assert_null(trainer);
        /* Saving works: the same bytes. */
        ok(vitro_model_create(&loaded, dev, &cfg));
        ok(vitro_model_load(loaded, ckpt, NULL, NULL));
        ok(vitro_model_save(loaded, first, VITRO_FORMAT_PTH, NULL));
        ok(vitro_model_save(m, second, VITRO_FORMAT_PTH, NULL));
        char *command[] = {"cmp", first, second, NULL};
        pid_t pid = fork();
        if (pid == 0) {
            execvp(command[0], command);
            _exit(127);
        }
        int status = -1;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        vitro_model_free(loaded);
        vitro_model_free(m);
        vitro_checkpoint_close(ckpt);
        vitro_device_close(dev);
    }
    free(path);
    vt_temp_remove(dir);
}

static void wrong_shapes_and_names(void **state)
{
    (void)state;
    char *dir = vt_temp_make();
    VitroConfig cfg = full_config(32);
    char *path = write_weights(dir, &cfg);
    VitroDevice *dev = open_device("cpu", VITRO_FP32);
    VitroCheckpoint *ckpt;
    VitroModel *m = NULL;
    ok(vitro_checkpoint_open(&ckpt, path));
    cfg.num_classes = 8;
    assert_int_equal(vitro_model_open(&m, dev, &cfg, ckpt, NULL, NULL), VITRO_E_SHAPE);
    assert_non_null(strstr(vitro_last_error(), "size mismatch for head.weight"));
    cfg.num_classes = 0;
    assert_int_equal(vitro_model_open(&m, dev, &cfg, ckpt, NULL, NULL), VITRO_E_FORMAT);
    assert_non_null(strstr(vitro_last_error(), "unexpected tensors: head.weight, head.bias"));
    cfg.num_heads = 5;
    assert_int_equal(vitro_model_open(&m, dev, &cfg, ckpt, NULL, NULL), VITRO_E_ARG);
    assert_null(m);
    vitro_checkpoint_close(ckpt);
    vitro_device_close(dev);
    free(path);
    vt_temp_remove(dir);
}

/* A weight whose checksum is wrong is found when it is packed; those before it are packed then, and
 * the model can be freed. */
static void damaged_weight(void **state)
{
    (void)state;
    char *dir = vt_temp_make(), pth[PATH_MAX_BYTES];
    VitroConfig cfg = full_config(32);
    char *path = write_weights(dir, &cfg);
    VitroDevice *dev = open_device("cpu", VITRO_FP32);
    VitroCheckpoint *ckpt;
    VitroModel *m;
    VitroPredictor *p = NULL;
    snprintf(pth, sizeof(pth), "%s/w.npz", dir);
    ok(vitro_checkpoint_open(&ckpt, path));
    ok(vitro_checkpoint_convert(ckpt, pth, VITRO_FORMAT_NPZ, NULL, NULL));
    vitro_checkpoint_close(ckpt);

    ok(vitro_checkpoint_open(&ckpt, pth));
    int64_t i = vitro_checkpoint_find(ckpt, "blocks.1.mlp.fc1.weight");
    const uint8_t *data = vitro_checkpoint_data(ckpt, i);
    assert_non_null(data);
    uint8_t wanted[64];
    memcpy(wanted, data, sizeof(wanted));
    vitro_checkpoint_close(ckpt);
    FILE *f = fopen(pth, "r+b");
    assert_non_null(f);
    uint8_t seen[64];
    long at = 0;
    while (fseek(f, at, SEEK_SET) == 0 && fread(seen, sizeof(seen), 1, f) == 1 &&
           memcmp(seen, wanted, sizeof(seen)) != 0)
        at += 4; /* tensors begin at multiples of 64 bytes */
    assert_memory_equal(seen, wanted, sizeof(seen));
    seen[5] ^= 1;
    fseek(f, at, SEEK_SET);
    assert_int_equal(fwrite(seen, sizeof(seen), 1, f), 1);
    fclose(f);

    ok(vitro_checkpoint_open(&ckpt, pth));
    ok(vitro_model_open(&m, dev, &cfg, ckpt, NULL, NULL));
    for (int again = 0; again < 2; again++) {
        assert_int_equal(vitro_predictor_create(&p, m, 1), VITRO_E_FORMAT);
        assert_null(p);
        assert_non_null(strstr(vitro_last_error(), pth));
        assert_non_null(strstr(vitro_last_error(), "blocks.1.mlp.fc1.weight"));
        assert_non_null(strstr(vitro_last_error(), "checksum"));
    }
    vitro_model_free(m);
    vitro_checkpoint_close(ckpt);
    vitro_device_close(dev);
    free(path);
    vt_temp_remove(dir);
}

/* ---- memory --------------------------------------------------------------------------------- */

static VitroStatus whole_life(const char *path, const VitroConfig *cfg, const float *image)
{
    VitroDevice *dev = NULL;
    VitroCheckpoint *ckpt = NULL;
    VitroModel *m = NULL;
    VitroPredictor *p = NULL;
    float out[OUTPUTS_MAX];
    VitroStatus st = vitro_device_open(&dev, &(VitroDeviceOptions){.name = "cpu", .threads = 1});
    if (st == VITRO_OK)
        st = vitro_checkpoint_open(&ckpt, path);
    if (st == VITRO_OK)
        st = vitro_model_open(&m, dev, cfg, ckpt, NULL, NULL);
    if (st == VITRO_OK && (st = vitro_predictor_create(&p, m, 1)) == VITRO_E_NOMEM)
        st = vitro_predictor_create(&p, m, 1); /* goes on where the first had to stop */
    if (st == VITRO_OK)
        st = vitro_predictor_run(p, image, 1, out);
    vitro_predictor_free(p);
    vitro_model_free(m);
    vitro_checkpoint_close(ckpt);
    if (dev)
        vitro_device_close(dev);
    return st;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    char *dir = vt_temp_make(), half[PATH_MAX_BYTES];
    VitroConfig cfg = full_config(24);
    char *path = write_weights(dir, &cfg);
    VitroCheckpoint *ckpt;
    VitroDtype f16 = VITRO_F16;
    static float image[3 * 16 * 16];
    uint64_t failures = 0;
    snprintf(half, sizeof(half), "%s/half.safetensors", dir);
    ok(vitro_checkpoint_open(&ckpt, path));
    ok(vitro_checkpoint_convert(ckpt, half, VITRO_FORMAT_SAFETENSORS, &f16, NULL));
    vitro_checkpoint_close(ckpt);
    for (int k = 0; k < 2; k++) {
        uint64_t n = 0, used;
        VitroStatus st;
        do {
            uint64_t before = vitro_alloc_count();
            vitro_alloc_fail_at(++n);
            st = whole_life(k ? half : path, &cfg, image);
            used = vitro_alloc_count() - before;
            if (st != VITRO_OK)
                assert_int_equal(st, VITRO_E_NOMEM);
            failures += st != VITRO_OK;
        } while (used >= n); /* until the one to fail was never asked for */
        vitro_alloc_fail_at(0);
        assert_int_equal(st, VITRO_OK);
    }
    assert_true(failures > 20);
    free(path);
    vt_temp_remove(dir);
}

/* A number of kilobytes from /proc/self/status, in bytes. */
static long status_bytes(const char *field)
{
    char line[256];
    long kb = -1;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && kb < 0 && fgets(line, sizeof(line), f))
        if (strncmp(line, field, strlen(field)) == 0 && line[strlen(field)] == ':')
            kb = strtol(line + strlen(field) + 1, NULL, 10);
    if (f)
        fclose(f);
    return kb < 0 ? -1 : kb * 1024;
}

/* Bytes of the file's map that are in this process. */
static long mapped_bytes(const char *path)
{
    char line[1024];
    bool inside = false;
    long kb = -1;
    FILE *f = fopen("/proc/self/smaps", "r");
    while (f && fgets(line, sizeof(line), f)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = strstr(line, path) != NULL;
        else if (inside && strncmp(line, "Rss:", 4) == 0)
            kb = (kb < 0 ? 0 : kb) + strtol(line + 4, NULL, 10);
    }
    if (f)
        fclose(f);
    return kb < 0 ? -1 : kb * 1024;
}

static VitroConfig large_config(void)
{
    VitroConfig cfg;
    ok(vitro_config_preset(&cfg, "vit_tiny_patch4_32"));
    cfg.img_height = cfg.img_width = 16;
    cfg.embed_dim = 384;
    cfg.depth = 6;
    cfg.num_heads = 6;
    cfg.num_classes = 10;
    return cfg;
}

/* Comes first: the file is written by a process of its own, so that this one's peak is still low,
 * and no OpenMP thread is there that a fork would lose. */
static void one_copy_of_the_weights(void **state)
{
    (void)state;
    char *dir = vt_temp_make(), path[PATH_MAX_BYTES];
    VitroConfig cfg = large_config();
    snprintf(path, sizeof(path), "%s/w.safetensors", dir);
    pid_t pid = fork();
    if (pid == 0) {
        free(write_weights(dir, &cfg));
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_true(info.st_size > 40 << 20);

    VitroDevice *dev = open_device("cpu", VITRO_FP32);
    long before = status_bytes("VmHWM");
    VitroCheckpoint *ckpt;
    VitroModel *m;
    VitroPredictor *p;
    float out[BATCH * OUTPUTS_MAX];
    if (before < 0) {
        print_message("no /proc/self/status with VmHWM here: memory is not measured\n");
        vitro_device_close(dev);
        vt_temp_remove(dir);
        skip();
    }
    ok(vitro_checkpoint_open(&ckpt, path));
    ok(vitro_model_open(&m, dev, &cfg, ckpt, NULL, NULL));
    ok(vitro_predictor_create(&p, m, 1));
    long mapped = mapped_bytes(path);
    assert_in_range(mapped, 0, info.st_size / 8); /* the largest weight has a 17th */
    vitro_predictor_free(p);
    run(out, m);
    long grown = status_bytes("VmHWM") - before;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)grown; /* mostly the sanitizer's own */
#else
    print_message("%ld bytes of file: %ld mapped after packing, at most %ld more in all\n",
                  (long)info.st_size, mapped, grown);
    assert_in_range(grown, info.st_size / 2, info.st_size + info.st_size / 2);
#endif
    vitro_model_free(m);
    vitro_checkpoint_close(ckpt);
    vitro_device_close(dev);
    vt_temp_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_copy_of_the_weights), cmocka_unit_test(every_format_and_type),
        cmocka_unit_test(foreign_layouts),         cmocka_unit_test(without_a_head),
        cmocka_unit_test(it_cannot_change),        cmocka_unit_test(wrong_shapes_and_names),
        cmocka_unit_test(damaged_weight),          cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("model/open", tests, NULL, NULL);
}
