# SPDX-License-Identifier: Apache-2.0
# Numbers are read strictly.
for value in '' x 0 -1 1.5 1e3 0x10 ' 5' 5x +5x 99999999999999999999 65537; do
    try predict --weights nowhere.pth --batch-size "$value" a.ppm
done
for value in '' nan inf -inf 1e999 1e-999 0.5x 0x1p-1 . 1,5 1.5 0 -0.1; do
    try predict --weights nowhere.pth --crop-pct "$value" a.ppm
done
for value in '' , 0.5, 0.5,,0.5 nan 0.5,x 0; do
    try predict --weights nowhere.pth --std "$value" a.ppm
done
for value in -1 9223372036854775808 1e3; do
    try eval --weights nowhere.pth --seed "$value"
done
# These are fine: the run goes on until the missing file.
for value in 1 +5 007 65536; do
    try predict --weights nowhere.pth --batch-size "$value" a.ppm
done
for value in 1 .5 1. 5e-1 +1; do
    try predict --weights nowhere.pth --crop_pct="$value" a.ppm
done
