#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/train/events.bin with the tensorboard package (pip install tensorboard)."""
import os

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

SCALARS = [  # tag, value, step: a step that is left out, long varints, values that round
    ("train_loss", 4.605170185988092, 0), ("train_acc", 0.0, 1), ("val_loss", 0.1, 127),
    ("val_acc", 1e-30, 128), ("learning_rate", -1.5, 2**40), ("t" * 200, float("inf"), -1)]

out = os.path.join(os.path.dirname(__file__), "train", "events.bin")
with open(out, "wb") as f:
    w = RecordWriter(f)
    w.write(Event(wall_time=1700000000.25, file_version="brain.Event:2").SerializeToString())
    for i, (tag, value, step) in enumerate(SCALARS):
        e = Event(wall_time=1700000001.5 + i, step=step,
                  summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))
        w.write(e.SerializeToString())
