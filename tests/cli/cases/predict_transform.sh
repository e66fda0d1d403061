# SPDX-License-Identifier: Apache-2.0
# What the options change in the tensor that goes into the model.
dump() {
    "$VITRO" predict --weights model.pth --dump-input x.npy "$@" pictures/two.ppm >/dev/null
    echo "$*: exit $? $(cksum <x.npy)"
}
dump --exif false
dump --transform torchvision
dump --mean 0.5 --std 0.5,0.5,0.5
dump --transform timm
dump --transform hf
dump --interpolation bicubic
dump --crop-pct 0.9 --interpolation bicubic
dump --crop-pct 1
dump --mean 0.1,0.2,0.3 --std 0.25
head -c 128 x.npy | tail -c +11
wc -c <x.npy
