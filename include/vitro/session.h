/* SPDX-License-Identifier: Apache-2.0 */
/* One handle for all that a prediction takes: file, card, device, model, predictor. Nothing but
 * pointers and numbers cross this interface, no struct: it is what bindings of other languages
 * stand on (python/vitro), and it stays as it is where structs get new fields. */
#ifndef VITRO_SESSION_H
#define VITRO_SESSION_H

#include "vitro/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct VitroSession VitroSession; /* for one thread at a time */

/* Opens the weight file `path` for inference, as `vitro predict` does without options. `device`
 * "cpu", "cuda:0", ..., NULL or "": the best one here; `threads` 0: as many as the process may use;
 * `precision` "fp32", "bf16" or "int8"; `max_batch` >= 1: images in memory at once. Errors:
 * VITRO_E_ARG, and those of vitro_checkpoint_open, vitro_config_from_checkpoint, vitro_model_open
 * and vitro_device_open. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_session_open(VitroSession **out, const char *path,
                                                          const char *device, int threads,
                                                          const char *precision, int max_batch);
VITRO_API void vitro_session_close(VitroSession *s); /* NULL is fine */

/* Everything below that returns text lends it, for as long as the session lives. */

VITRO_API int64_t vitro_session_channels(const VitroSession *s);
VITRO_API int64_t vitro_session_height(const VitroSession *s); /* of the input, pixels */
VITRO_API int64_t vitro_session_width(const VitroSession *s);
VITRO_API int64_t vitro_session_classes(const VitroSession *s);  /* 0: no head */
VITRO_API int64_t vitro_session_features(const VitroSession *s); /* their number per image */
/* The name of class i, UTF-8; NULL where it has none. */
VITRO_API const char *vitro_session_class_name(const VitroSession *s, int64_t i);
VITRO_API const char *vitro_session_device(const VitroSession *s); /* "cpu: AVX-512 ..." */
/* The card in force, as JSON (docs/FORMATS.md): geometry, transform, classes. */
VITRO_API const char *vitro_session_card(const VitroSession *s);

/* Pictures become inputs as the file's transform says, else as the original's: `input`
 * [channels,height,width]. `pixels` [height,width,channels], 1 or 3 of these as the model has.
 * Errors: VITRO_E_ARG, _NOMEM. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_session_input(const VitroSession *s, float *input,
                                                           const uint8_t *pixels, int64_t height,
                                                           int64_t width, int64_t channels);
/* The same from a picture file. Errors: as vitro_image_read. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_session_input_file(const VitroSession *s, float *input,
                                                                const char *path);

/* `inputs` [count,channels,height,width] to `logits` [count,classes] and `features`
 * [count,features], what the head takes; either may be NULL, `logits` must be where there is no
 * head. Any count >= 0: max_batch at a time. Errors: VITRO_E_ARG, and a back end's. */
VITRO_API VITRO_MUST_CHECK VitroStatus vitro_session_run(VitroSession *s, const float *inputs,
                                                         int64_t count, float *logits,
                                                         float *features);

#ifdef __cplusplus
}
#endif
#endif
