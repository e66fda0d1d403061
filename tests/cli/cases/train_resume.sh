# SPDX-License-Identifier: Apache-2.0
# What --resume, --save-every and --keep say, leave and refuse. That a run that goes on ends as one
# that was never interrupted: tests/crash.
tiny="--data-path flowers --model-name vit_tiny_patch4_32 --img-size 16 --patch-size 8
    --embed-dim 16 --depth 1 --num-heads 2 --batch-size 2 --workers 0"
go() {
    "$VITRO" train --log-dir log "$@" >out 2>err
    echo "exit $?"
    grep -v '^memory\|class folders\|^\[' err | sed 's/\(damaged: [^:]*\):.*/\1/' | hide_numbers
}
$VITRO train --help | grep -A 3 -e '--save-every\|--keep\|--resume'
echo "# no state yet, then one in the middle of an epoch, then to the end"
go $tiny --resume latest --output-dir a --epochs 3 --save-every 2 --max-steps 4 --metrics-jsonl a.jsonl
ls a
go --data-path flowers --resume latest --output-dir a --metrics-jsonl a.jsonl
ls a
go --data-path flowers --resume latest --output-dir a --metrics-jsonl a.jsonl
echo "# the same as in one go"
go $tiny --output-dir b --epochs 3 --save-every 2 --metrics-jsonl b.jsonl
diff -r a b && cmp a.jsonl b.jsonl && echo same
echo "# other options are told, or refused"
cp a/state-9.safetensors nine.safetensors
go $tiny --resume latest --output-dir a --epochs 4 --lr 0.5 --drop-ratio 0.5 --workers 2
try=nine.safetensors
no() { go $tiny --resume $try --output-dir a "$@"; }
no --batch-size 3
no --optimizer adamw
no --seed 5
no --accumulate 2
no --shuffle false
no --freeze-layers true
no --depth 2
no --num-classes 7
no --act gelu_tanh
no --mean 0.4
no --precision fp64 --backend ref
no --weights model.pth --epochs 3
mkdir other && cp -r flowers/* other
rm "$(find other/train -type f | sort | head -n 1)"
no --data-path other
cp "$(find flowers/val -type f | sort | head -n 1)" "$(find other/train -type f | head -n 1).ppm"
no --data-path other
mv flowers moved && go --data-path moved --resume $try --output-dir a && mv moved flowers
echo "# a state is a weight file, too"
"$VITRO" convert nine.safetensors nine.npz
"$VITRO" predict --weights nine.safetensors --json a.ppm >state.json
"$VITRO" predict --weights b/model-2.pth --json a.ppm | cmp - state.json && echo same
echo "# files that are no states, damaged ones, and none that is whole"
no --resume model.pth
no --resume none.safetensors
ls a/state*
printf x | dd of=a/state-12.safetensors bs=1 seek=5000 conv=notrunc 2>/dev/null
go --data-path flowers --resume latest --output-dir a --epochs 4
for state in a/state-*; do head -c 3000 "$state" >short && mv short "$state"; done
go --data-path flowers --resume latest --output-dir a
echo "# a run that begins where another was, and one that goes on from an earlier state"
go $tiny --output-dir b --epochs 1
ls b/state*
go $tiny --output-dir b --epochs 3 --save-every 1 --keep 9
cp b/state-3.safetensors early.safetensors
go $tiny --output-dir b --resume early.safetensors --lrf 0.5
ls b/state*
echo "# --keep: the last ones and the best"
go $tiny --output-dir k --epochs 6 --keep 2 --lr 0
ls k
echo "# metrics of another run are not cut"
echo mine >mine.jsonl
go --data-path flowers --resume latest --output-dir k --epochs 7 --metrics-jsonl mine.jsonl
cat mine.jsonl | head -n 1 | cut -c 1-20
go $tiny --output-dir m --epochs 1 --metrics-jsonl m.jsonl
echo mine >m.jsonl
go --data-path flowers --resume latest --output-dir m --epochs 2 --metrics-jsonl m.jsonl
cat m.jsonl
rm m.jsonl
go --data-path flowers --resume latest --output-dir m --epochs 2 --metrics-jsonl m.jsonl
cut -c 1-22 m.jsonl
exit 0
