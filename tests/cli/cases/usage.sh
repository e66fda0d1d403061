# SPDX-License-Identifier: Apache-2.0
# Command lines that are wrong: exit 2 and one line that says what was found and expected.
try
try predict
try zzzzzzzz
try --weights x
try predict
try predict a.ppm
try predict --weights model.pth
try predict --weights model.pth --batchsize 4 a.ppm
try predict --weights model.pth --zzz a.ppm
try predict --weights model.pth -x a.ppm
try predict --weights
try predict --weights --json a.ppm
try predict --weights model.pth --json=maybe a.ppm
try predict --weights model.pth --exif a.ppm
try predict --weights model.pth --model-name vit_huge a.ppm
try predict --weights model.pth --transform crop a.ppm
try predict --weights model.pth --transform hf --crop-pct 0.9 a.ppm
try predict --weights model.pth --device gpu a.ppm
try predict --weights model.pth --device cuda:0 --backend ref a.ppm
try predict --weights model.pth --has-logits true --representation-size 0 a.ppm
try predict --weights model.pth --mean 0.5,0.5 a.ppm
try predict --weights model.pth ''
try predict --weights model.pth - -
try eval --weights model.pth --data-path flowers extra
try eval --weights model.pth --dataset imagenet
try eval --weights model.pth --split test
try bench --precision fp8
try bench --batch-size 1,,8
try bench --batch-size 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17
try bench --freeze-layers true
try bench --model-name vit_tiny_patch4_32 --embed-dim 190
