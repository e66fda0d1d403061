/* SPDX-License-Identifier: Apache-2.0 */
/* The library's public parts put together for a prediction. It sees none of their insides. */
#include "vitro/session.h"

#include "base/alloc.h"
#include "model/card.h"
#include "vitro/model.h"

#include <limits.h>
#include <string.h>

struct VitroSession {
    VitroDevice *device;
    VitroCheckpoint *file;
    VitroCard card; /* class names, and the transform in force */
    VitroConfig config;
    VitroModel *model;
    VitroPredictor *predictor;
    int64_t max_batch;
    char *card_text;
    float *logits; /* [max_batch,outputs] for callers who want features alone */
};

static VitroStatus precision_named(VitroPrecision *out, const char *name)
{
    static const struct {
        const char *name;
        VitroPrecision precision;
    } known[] = {
        {"fp32", VITRO_FP32}, {"bf16", VITRO_PRECISION_BF16}, {"int8", VITRO_PRECISION_INT8}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(known[i].name, name) == 0) {
            *out = known[i].precision;
            return VITRO_OK;
        }
    return vitro_fail(VITRO_E_ARG, "precision: found '%s', expected fp32, bf16 or int8", name);
}

/* What the file says, completed. */
static VitroStatus read_file(VitroSession *s, const char *path)
{
    VITRO_TRY(vitro_checkpoint_open(&s->file, path));
    VITRO_TRY(vitro_card_read(&s->card, s->file));
    VITRO_TRY(vitro_checkpoint_adopt_names(s->file, NULL));
    VITRO_TRY(vitro_config_from_checkpoint(&s->config, NULL, 0, s->file, &s->card, NULL, 0));
    char note[256];
    vitro_card_assume_transform(&s->card, s->file, &s->config, note, sizeof(note));
    if (s->config.num_classes == 0)
        VITRO_TRY(vitro_card_set_classes(&s->card, NULL, 0));
    const int channels = s->config.in_channels;
    if (!s->card.has_transform && (channels == 1 || channels == 3)) {
        s->card.transform =
            vitro_transform_default(s->config.img_height, s->config.img_width, channels);
        s->card.has_transform = true;
    }
    return vitro_card_write(&s->card_text, &s->config, &s->card);
}

static VitroStatus open(VitroSession *s, const char *path, const VitroDeviceOptions *options)
{
    VITRO_TRY(read_file(s, path));
    VITRO_TRY(vitro_device_open(&s->device, options));
    VITRO_TRY(vitro_model_open(&s->model, s->device, &s->config, s->file, NULL, NULL));
    VITRO_TRY(vitro_predictor_create(&s->predictor, s->model, s->max_batch));
    const size_t outputs = (size_t)vitro_config_outputs(&s->config);
    s->logits = vitro_calloc((size_t)s->max_batch * outputs, sizeof(*s->logits));
    return s->logits ? VITRO_OK : VITRO_NOMEM;
}

VitroStatus vitro_session_open(VitroSession **out, const char *path, const char *device,
                               int threads, const char *precision, int max_batch)
{
    VitroDeviceOptions options = {.name = device && *device ? device : NULL, .threads = threads};
    if (max_batch < 1)
        return vitro_fail(VITRO_E_ARG, "max_batch is %d, at least 1 is expected", max_batch);
    VITRO_TRY(precision_named(&options.precision, precision));
    VitroSession *s = vitro_calloc(1, sizeof(*s));
    if (!s)
        return VITRO_NOMEM;
    s->max_batch = max_batch;
    VitroStatus st = open(s, path, &options);
    if (st == VITRO_OK)
        *out = s;
    else
        vitro_session_close(s);
    return st;
}

void vitro_session_close(VitroSession *s)
{
    if (!s)
        return;
    vitro_predictor_free(s->predictor);
    vitro_model_free(s->model);
    vitro_device_close(s->device);
    vitro_card_deinit(&s->card);
    vitro_checkpoint_close(s->file);
    vitro_free(s->card_text);
    vitro_free(s->logits);
    vitro_free(s);
}

/* ---- asking ---------------------------------------------------------------------------------- */

int64_t vitro_session_channels(const VitroSession *s)
{
    return s->config.in_channels;
}

int64_t vitro_session_height(const VitroSession *s)
{
    return s->config.img_height;
}

int64_t vitro_session_width(const VitroSession *s)
{
    return s->config.img_width;
}

int64_t vitro_session_classes(const VitroSession *s)
{
    return s->config.num_classes;
}

int64_t vitro_session_features(const VitroSession *s)
{
    return vitro_config_features(&s->config);
}

const char *vitro_session_class_name(const VitroSession *s, int64_t i)
{
    return i >= 0 && i < s->card.class_count ? s->card.class_names[i] : NULL;
}

const char *vitro_session_device(const VitroSession *s)
{
    return vitro_device_describe(s->device);
}

const char *vitro_session_card(const VitroSession *s)
{
    return s->card_text;
}

/* ---- computing ------------------------------------------------------------------------------- */

static VitroStatus check_channels(const VitroSession *s, int64_t channels)
{
    if (!s->card.has_transform)
        return vitro_fail(VITRO_E_ARG, "the model takes %d channels: pictures have 1 or 3",
                          s->config.in_channels);
    if (channels != s->config.in_channels)
        return vitro_fail(VITRO_E_ARG, "the picture has %lld channels, the model takes %d",
                          (long long)channels, s->config.in_channels);
    return VITRO_OK;
}

VitroStatus vitro_session_input(const VitroSession *s, float *input, const uint8_t *pixels,
                                int64_t height, int64_t width, int64_t channels)
{
    VITRO_TRY(check_channels(s, channels));
    if (height < 1 || width < 1 || height > INT_MAX || width > INT_MAX)
        return vitro_fail(VITRO_E_ARG, "the picture has %lld x %lld pixels", (long long)width,
                          (long long)height);
    /* only looked at */
    const VitroImage picture = {.width = (int)width,
                                .height = (int)height,
                                .channels = (int)channels,
                                .pixels = (uint8_t *)(uintptr_t)pixels};
    return vitro_transform_apply(input, &picture, &s->card.transform);
}

VitroStatus vitro_session_input_file(const VitroSession *s, float *input, const char *path)
{
    VitroImage picture = {0};
    VITRO_TRY(check_channels(s, s->config.in_channels));
    VITRO_TRY(vitro_image_read(&picture, path, s->config.in_channels, s->card.transform.exif));
    VitroStatus st = vitro_transform_apply(input, &picture, &s->card.transform);
    vitro_image_deinit(&picture);
    return st;
}

VitroStatus vitro_session_run(VitroSession *s, const float *inputs, int64_t count, float *logits,
                              float *features)
{
    const VitroConfig *c = &s->config;
    const int64_t image = (int64_t)c->in_channels * c->img_height * c->img_width;
    const int64_t K = c->num_classes, width = vitro_config_features(c);
    if (count < 0 || (logits && !K))
        return vitro_fail(VITRO_E_ARG, count < 0 ? "a negative number of images"
                                                 : "the model has no head, and so no logits");
    for (int64_t done = 0; done < count; done += s->max_batch) {
        const int64_t n = count - done < s->max_batch ? count - done : s->max_batch;
        VITRO_TRY(vitro_predictor_run(s->predictor, inputs + done * image, n,
                                      logits ? logits + done * K : s->logits));
        if (features)
            VITRO_TRY(vitro_predictor_features(s->predictor, features + done * width));
    }
    return VITRO_OK;
}
