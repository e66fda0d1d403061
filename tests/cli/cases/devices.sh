# SPDX-License-Identifier: Apache-2.0
# A GPU that is not there is one line, and the CPU does it.
"$VITRO" predict --weights model.pth --device cuda:9 --top-k 1 a.ppm 2>note
echo "exit $?"
sed 's/(.*)/(...)/' note
try predict --weights model.pth --precision bf16 a.ppm
try predict --weights model.pth --precision int8 a.ppm
try predict --weights model.pth --precision fp64 --backend ref --top-k 1 a.ppm
try predict --weights model.pth --threads 1 --top-k 1 a.ppm
