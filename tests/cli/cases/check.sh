# SPDX-License-Identifier: Apache-2.0
# Pictures that cannot be read are found before a run, or left out of it.
tell() { try check "$@" | sed '/^\[check\]/d'; }
tell flowers
tell --json a.ppm
mkdir -p tree/x/y tree/empty
cp a.ppm tree/a.ppm
cp b.ppm tree/x/b.ppm
head -c 20 a.ppm >tree/x/y/cut.ppm
printf 'II*\0' >tree/x/scan.tif
echo hello >tree/x/notes.txt
: >tree/zero.png
ln -s .. tree/x/y/up
tell tree --workers 3
tell tree --workers 0 --json
printf 'a.ppm\ntree/x\n' >list.txt
tell @list.txt missing.ppm
tell tree/empty
tell -
tell

# The same in a data set: without --skip-bad an error that names the file, with it they are left out.
cp -r flowers garden
class=garden/train/daisy
head -c 30 a.ppm >"$class"/broken.ppm
: >"$class"/zero.ppm
try eval --weights model.pth --data-path garden --split train --workers 2 | sed '/^\[eval\]/d'
"$VITRO" eval --weights model.pth --data-path garden --split train --skip-bad true --json 2>notes |
    tr ',' '\n' | grep '^ "images":'
sed '/^\[/d' notes
rm notes
try train --data-path garden --model-name vit_tiny_patch4_28 --img-size 8 --in-channels 3 \
    --embed-dim 8 --depth 1 --num-heads 2 --epochs 1 --batch-size 4 --output-dir w --log-dir l |
    grep -E 'error|exit'
try train --data-path garden --model-name vit_tiny_patch4_28 --img-size 8 --in-channels 3 \
    --embed-dim 8 --depth 1 --num-heads 2 --epochs 1 --batch-size 4 --output-dir w --log-dir l \
    --skip-bad true | grep -E 'error|exit|skipped|left out'
try predict --weights model.pth --top-k 1 a.ppm tree/zero.png b.ppm --skip-bad true
try predict --weights model.pth --top-k 1 --json tree/zero.png a.ppm --skip-bad true | hide_numbers
try predict --weights model.pth tree/zero.png tree/x/y/cut.ppm --skip-bad true
try predict --weights nan.pth a.ppm --skip-bad true
