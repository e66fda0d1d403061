/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of TensorBoard's event files: TFRecord frames around hand-laid protobuf messages of the
 * few fields that scalars need (tensorboard/compat/proto/{event,summary}.proto). The file itself is
 * vitro/train.h's vitro_tensorboard_*. */
#ifndef VITRO_METRICS_TENSORBOARD_H
#define VITRO_METRICS_TENSORBOARD_H

#include "base/buf.h"

/* Appends the record that opens every event file: Event{wall_time, file_version "brain.Event:2"}.
 * `wall_time` is in seconds since 1970. */
VitroStatus vitro_event_version(VitroBuf *out, double wall_time);

/* Appends Event{wall_time, step, summary{value{tag, simple_value}}}. The value is stored as
 * float32. `tag`: at most VITRO_EVENT_TAG_MAX bytes, else VITRO_E_ARG. */
#define VITRO_EVENT_TAG_MAX 1024
VitroStatus vitro_event_scalar(VitroBuf *out, double wall_time, const char *tag, double value,
                               int64_t step);

/* Appends Event{wall_time, step, session_log{status START}}. */
VitroStatus vitro_event_restart(VitroBuf *out, double wall_time, int64_t step);

#endif
