# SPDX-License-Identifier: Apache-2.0
# Class names: --class-indices, the checkpoint's, beside the weights, in the current folder, none.
try predict --weights model.pth --class-indices names.json --top-k 1 a.ppm
try predict --weights model.pth --class-indices names2.json a.ppm
try predict --weights model.pth --class-indices damaged.json a.ppm
try predict --weights model.pth --class-indices missing.json a.ppm
bare="--weights elsewhere/bare.safetensors --num-heads 2 --top-k 1"
mkdir elsewhere
cp bare.safetensors elsewhere
try predict $bare a.ppm
cp names.json class_indices.json
try predict $bare a.ppm
sed s/one/beside/ names.json >elsewhere/class_indices.json
try predict $bare a.ppm
cp names2.json elsewhere/class_indices.json
try predict $bare a.ppm
rm class_indices.json
try predict $bare a.ppm
cp damaged.json elsewhere/class_indices.json
try predict $bare a.ppm
