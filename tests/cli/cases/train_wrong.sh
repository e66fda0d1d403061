# SPDX-License-Identifier: Apache-2.0
# Command lines and data that cannot be trained with, and a run that diverges.
tiny="--model-name vit_tiny_patch4_32 --img-size 16 --patch-size 8 --embed-dim 16 --depth 1
    --num-heads 2 --epochs 1 --workers 0"
short() { grep -v '^data-path=\|^training\|^Using\|images$\|training parameters\|^memory:'; }
try train --data-path flowers $tiny --betas 0.9
try train --data-path flowers $tiny --lr -1
try train --data-path flowers $tiny --label-smoothing 1
try train --data-path flowers $tiny --weights model.pth --init-weights model.pth
try train --data-path flowers $tiny --num-classes 2 | short
try train --data-path missing $tiny
try train --data-path empty $tiny
try train --data-path flowers --weights model.pth --embed-dim 8
try train --data-path flowers --init-weights features.pth | short
try train --data-path flowers $tiny --output-dir a.ppm/x | short
try train --data-path flowers $tiny --metrics-jsonl missing/m.jsonl | short
try train --data-path flowers $tiny --lr 1e6 --epochs 30 --batch-size 1 --augment none | short |
    sed -E '/^\[/d; s/[0-9]+/N/g'
try train --data-path flowers $tiny --lr 1e30 --epochs 30 --batch-size 2 --augment none | short |
    sed -E '/^\[/d; s/[0-9]+/N/g; s/ -?(nan|inf)/ NONE/'
