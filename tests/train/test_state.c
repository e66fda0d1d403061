/* SPDX-License-Identifier: Apache-2.0 */
/* The training state: a run that goes on from a file ends in the same bits as one that was never
 * interrupted, and a file that is not what was written is refused. */
#include "base/alloc.h"
#include "base/fs.h"
#include "harness/temp.h"
#include "vitro/train.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { CHANNELS = 1, SIDE = 8, PIXELS = SIDE * SIDE, CLASSES = 3, BATCH = 3 };
enum { BATCHES = 5, EPOCHS = 3, ACCUMULATE = 2 };

/* ---- a small run ------------------------------------------------------------------------------
 */

static char *dir, *path;

static VitroConfig small_config(void)
{
    VitroConfig cfg;
    assert_int_equal(vitro_config_preset(&cfg, "vit_tiny_patch4_28"), VITRO_OK);
    cfg.img_height = cfg.img_width = SIDE;
    cfg.num_classes = CLASSES;
    cfg.embed_dim = 8;
    cfg.depth = 2;
    cfg.num_heads = 2;
    cfg.drop_ratio = 0.1, cfg.attn_drop_ratio = 0.1, cfg.drop_path_ratio = 0.2;
    return cfg;
}

static VitroTrainOptions small_options(void)
{
    VitroTrainOptions o = vitro_train_options_default();
    o.lr = 0.05;
    o.epochs = EPOCHS;
    o.batch_size = BATCH;
    o.warmup_epochs = 1.5;
    o.seed = 7;
    return o;
}

typedef struct Run {
    VitroDevice *dev;
    VitroModel *model;
    VitroTrainer *trainer;
} Run;

static Run begin(const VitroConfig *cfg, const VitroTrainOptions *o, VitroPrecision precision,
                 int threads)
{
    Run r;
    VitroDeviceOptions device = {
        .name = precision == VITRO_FP64 ? "ref" : NULL, .threads = threads, .precision = precision};
    assert_int_equal(vitro_device_open(&r.dev, &device), VITRO_OK);
    assert_int_equal(vitro_model_create(&r.model, r.dev, cfg), VITRO_OK);
    assert_int_equal(vitro_model_init(r.model, 3), VITRO_OK);
    assert_int_equal(vitro_trainer_create(&r.trainer, r.model, o, BATCHES), VITRO_OK);
    return r;
}

static void end(Run *r)
{
    vitro_trainer_free(r->trainer);
    vitro_model_free(r->model);
    vitro_device_close(r->dev);
}

/* One batch, whose pictures are a function of epoch and number; its loss. */
static double step(Run *r)
{
    float images[BATCH * PIXELS];
    int32_t labels[BATCH];
    uint32_t s =
        vitro_trainer_epoch(r->trainer) * 1000u + (uint32_t)vitro_trainer_batch(r->trainer);
    for (int i = 0; i < BATCH * PIXELS; i++) {
        s = s * 1664525u + 1013904223u;
        images[i] = (float)(s >> 8) * 0x1p-23f - 1;
    }
    for (int i = 0; i < BATCH; i++)
        labels[i] = (int32_t)(s >> (8 + i)) % CLASSES;
    VitroBatch batch = {.count = BATCH, .images = images, .labels = labels};
    VitroStepResult result;
    assert_int_equal(vitro_trainer_step(r->trainer, &batch, &result), VITRO_OK);
    if (vitro_trainer_batch(r->trainer) == BATCHES)
        vitro_trainer_end_epoch(r->trainer);
    return result.loss;
}

/* Runs to the end; losses of the steps, then the state as a file's bytes. */
static int finish(Run *r, double *loss, VitroBuf *final)
{
    int n = 0;
    while (vitro_trainer_epoch(r->trainer) < EPOCHS)
        loss[n++] = step(r);
    assert_int_equal(vitro_trainer_save_state(r->trainer, path, NULL, NULL, 0), VITRO_OK);
    vitro_buf_init(final, 1 << 20);
    assert_int_equal(vitro_fs_read(final, path), VITRO_OK);
    return n;
}

static void load(Run *r)
{
    VitroTrainState *s;
    assert_int_equal(vitro_train_state_open(&s, path), VITRO_OK);
    assert_int_equal(vitro_trainer_load_state(r->trainer, s), VITRO_OK);
    assert_int_equal(vitro_trainer_epoch(r->trainer), vitro_train_state_epoch(s));
    assert_int_equal(vitro_trainer_batch(r->trainer), vitro_train_state_batch(s));
    assert_int_equal(vitro_trainer_steps(r->trainer), vitro_train_state_steps(s));
    vitro_train_state_close(s);
}

/* ---- going on ---------------------------------------------------------------------------------
 */

/* Interrupts after each batch at which a state can be saved; each time the rest must be the same.
 */
static void interrupt(const char *what, const VitroTrainOptions *o, VitroPrecision precision)
{
    VitroConfig cfg = small_config();
    double whole[EPOCHS * BATCHES], rest[EPOCHS * BATCHES];
    VitroBuf expected, found;
    Run r = begin(&cfg, o, precision, 1);
    assert_int_equal(finish(&r, whole, &expected), EPOCHS * BATCHES);
    end(&r);
    for (int at = 0; at <= EPOCHS * BATCHES; at++) {
        if (at % BATCHES % o->accumulate)
            continue;
        r = begin(&cfg, o, precision, 1);
        for (int i = 0; i < at; i++)
            step(&r);
        assert_int_equal(vitro_trainer_save_state(r.trainer, path, NULL, NULL, 0), VITRO_OK);
        end(&r);
        r = begin(&cfg, o, precision, 2); /* another number of threads, too */
        load(&r);
        int left = finish(&r, rest, &found);
        assert_int_equal(left, EPOCHS * BATCHES - at);
        if (memcmp(whole + at, rest, (size_t)left * sizeof(rest[0])) != 0)
            fail_msg("%s: interrupted after batch %d, the losses differ", what, at);
        assert_int_equal(found.len, expected.len);
        if (memcmp(found.data, expected.data, found.len) != 0)
            fail_msg("%s: interrupted after batch %d, the last state differs", what, at);
        vitro_buf_deinit(&found);
        end(&r);
    }
    vitro_buf_deinit(&expected);
}

static void test_going_on(void **state)
{
    (void)state;
    VitroTrainOptions sgd = small_options(), o = sgd;
    interrupt("sgd", &sgd, VITRO_FP32);
    interrupt("bf16", &sgd, VITRO_PRECISION_BF16);
    interrupt("fp64", &sgd, VITRO_FP64);
    o.momentum = 0;
    interrupt("sgd without momentum", &o, VITRO_FP32);
    o = sgd;
    o.recompute = true;
    interrupt("recompute", &o, VITRO_FP32);
    o.recompute = false;
    o.freeze = true;
    interrupt("freeze", &o, VITRO_FP32);
    o = sgd;
    o.optimizer = VITRO_ADAMW;
    o.lr = 0.01;
    o.clip_grad = 0.5;
    o.label_smoothing = 0.1;
    o.accumulate = ACCUMULATE;
    interrupt("adamw", &o, VITRO_FP32);
    o.freeze = true;
    interrupt("adamw, freeze", &o, VITRO_PRECISION_BF16);
}

/* ---- what can be saved ------------------------------------------------------------------------
 */

static void test_between_steps_only(void **state)
{
    (void)state;
    VitroConfig cfg = small_config();
    VitroTrainOptions o = small_options();
    o.accumulate = ACCUMULATE;
    Run r = begin(&cfg, &o, VITRO_FP32, 1);
    step(&r);
    unlink(path);
    assert_int_equal(vitro_trainer_save_state(r.trainer, path, NULL, NULL, 0), VITRO_E_ARG);
    assert_non_null(strstr(vitro_last_error(), "in the middle of an optimizer step"));
    assert_false(vitro_fs_is_file(path));
    end(&r);
}

static void test_notes_and_bytes(void **state)
{
    (void)state;
    VitroConfig cfg = small_config();
    VitroTrainOptions o = small_options();
    const VitroNote notes[] = {{"user.sum", "0.1"}, {"user.text", "\"quoted\" \xc3\xa4\n"}};
    Run r = begin(&cfg, &o, VITRO_FP32, 1);
    step(&r);
    VitroBuf a, b;
    vitro_buf_init(&a, 1 << 20);
    vitro_buf_init(&b, 1 << 20);
    assert_int_equal(vitro_trainer_save_state(r.trainer, path, NULL, notes, 2), VITRO_OK);
    assert_int_equal(vitro_fs_read(&a, path), VITRO_OK);
    assert_int_equal(vitro_trainer_save_state(r.trainer, path, NULL, notes, 2), VITRO_OK);
    assert_int_equal(vitro_fs_read(&b, path), VITRO_OK);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    VitroTrainState *s;
    assert_int_equal(vitro_train_state_open(&s, path), VITRO_OK);
    assert_string_equal(vitro_train_state_note(s, "user.sum"), notes[0].value);
    assert_string_equal(vitro_train_state_note(s, "user.text"), notes[1].value);
    assert_null(vitro_train_state_note(s, "user.other"));
    vitro_train_state_close(s);
    const VitroNote bad[] = {
        {"trainer.epoch", "5"}, {"vitro", "{}"}, {"format", "x"}, {"ok", "\xff"}};
    for (int i = 0; i < 4; i++)
        assert_int_equal(vitro_trainer_save_state(r.trainer, path, NULL, &bad[i], 1), VITRO_E_ARG);
    end(&r);
    vitro_buf_deinit(&a);
    vitro_buf_deinit(&b);
}

/* ---- what is refused --------------------------------------------------------------------------
 */

static void refuse(const uint8_t *data, size_t size, const char *what, size_t at)
{
    VitroTrainState *s;
    vt_write(dir, "state.safetensors", data, size);
    VitroStatus st = vitro_train_state_open(&s, path);
    if (st != VITRO_E_FORMAT && st != VITRO_E_UNSUPPORTED)
        fail_msg("%s byte %d: status %s", what, (int)at, vitro_status_name(st));
    assert_null(strchr(vitro_last_error(), '\n'));
    assert_int_equal(strncmp(vitro_last_error(), path, strlen(path)), 0);
}

static void test_damaged(void **state)
{
    (void)state;
    VitroConfig cfg = small_config();
    VitroTrainOptions o = small_options();
    Run r = begin(&cfg, &o, VITRO_FP32, 1);
    step(&r);
    assert_int_equal(vitro_trainer_save_state(r.trainer, path, NULL, NULL, 0), VITRO_OK);
    end(&r);
    VitroBuf good;
    vitro_buf_init(&good, 1 << 20);
    assert_int_equal(vitro_fs_read(&good, path), VITRO_OK);
    for (size_t i = 0; i < good.len; i += i < 16 || i + 16 > good.len ? 1 : 7) {
        uint8_t bit = (uint8_t)(1 << i % 8);
        good.data[i] ^= bit;
        refuse(good.data, good.len, "a bit flipped in", i);
        good.data[i] ^= bit;
    }
    for (size_t i = 1; i < good.len; i += i < 16 || i + 16 > good.len ? 1 : 97)
        refuse(good.data, i, "cut at", i);
    uint8_t *longer = vitro_calloc(good.len + 1, 1);
    memcpy(longer, good.data, good.len);
    refuse(longer, good.len + 1, "longer by", 1);
    vitro_free(longer);
    vitro_buf_deinit(&good);
}

static void test_no_state(void **state)
{
    (void)state;
    VitroConfig cfg = small_config();
    VitroTrainOptions o = small_options();
    VitroTrainState *s;
    Run r = begin(&cfg, &o, VITRO_FP32, 1);
    for (int format = VITRO_FORMAT_PTH; format <= VITRO_FORMAT_SAFETENSORS; format++) {
        assert_int_equal(vitro_model_save(r.model, path, (VitroCheckpointFormat)format, NULL), 0);
        assert_int_equal(vitro_train_state_open(&s, path), VITRO_E_FORMAT);
        assert_non_null(strstr(vitro_last_error(), "is no training state"));
    }
    end(&r);
    unlink(path);
    assert_int_equal(vitro_train_state_open(&s, path), VITRO_E_IO);
}

/* A trainer that does not agree with the state refuses it and goes on as if nothing had been. */
static void disagree(const VitroTrainState *s, const VitroConfig *cfg, const VitroTrainOptions *o,
                     VitroPrecision precision, const char *expected)
{
    double loss[EPOCHS * BATCHES], other[EPOCHS * BATCHES];
    VitroBuf end_a, end_b;
    char *keep = path;
    path = vitro_path_join(dir, "scratch.safetensors");
    Run r = begin(cfg, o, precision, 1);
    int n = finish(&r, loss, &end_a);
    end(&r);
    r = begin(cfg, o, precision, 1);
    assert_int_equal(vitro_trainer_load_state(r.trainer, s), VITRO_E_ARG);
    if (!strstr(vitro_last_error(), expected))
        fail_msg("expected \"%s\", found: %s", expected, vitro_last_error());
    assert_int_equal(finish(&r, other, &end_b), n);
    assert_memory_equal(loss, other, (size_t)n * sizeof(loss[0]));
    assert_memory_equal(end_a.data, end_b.data, end_a.len);
    end(&r);
    vitro_buf_deinit(&end_a);
    vitro_buf_deinit(&end_b);
    vitro_free(path);
    path = keep;
}

static void test_disagreement(void **state)
{
    (void)state;
    VitroConfig cfg = small_config(), other = cfg;
    VitroTrainOptions o = small_options(), changed = o;
    Run r = begin(&cfg, &o, VITRO_FP32, 1);
    step(&r);
    assert_int_equal(vitro_trainer_save_state(r.trainer, path, NULL, NULL, 0), VITRO_OK);
    end(&r);
    VitroTrainState *s;
    assert_int_equal(vitro_train_state_open(&s, path), VITRO_OK);
    changed.optimizer = VITRO_ADAMW;
    disagree(s, &cfg, &changed, VITRO_FP32, "optimizer is 0 in the state, 1 in the trainer");
    changed = o;
    changed.batch_size = BATCH + 1;
    disagree(s, &cfg, &changed, VITRO_FP32, "batch_size is 3 in the state, 4 in the trainer");
    changed = o;
    changed.accumulate = ACCUMULATE;
    disagree(s, &cfg, &changed, VITRO_FP32, "accumulate");
    changed = o;
    changed.freeze = true;
    disagree(s, &cfg, &changed, VITRO_FP32, "freeze");
    changed = o;
    changed.seed = 8;
    disagree(s, &cfg, &changed, VITRO_FP32, "seed");
    disagree(s, &cfg, &o, VITRO_FP64, "is F32, the trainer computes in F64");
    other.embed_dim = 16;
    disagree(s, &other, &o, VITRO_FP32, "has shape");
    other = cfg;
    other.depth = 3;
    disagree(s, &other, &o, VITRO_FP32, "has no tensor blocks.2.norm1.weight");
    vitro_train_state_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_going_on),        cmocka_unit_test(test_between_steps_only),
        cmocka_unit_test(test_notes_and_bytes), cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_no_state),        cmocka_unit_test(test_disagreement),
    };
    dir = vt_temp_make();
    path = vitro_path_join(dir, "state.safetensors");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    vitro_free(path);
    vt_temp_remove(dir);
    return failed;
}
