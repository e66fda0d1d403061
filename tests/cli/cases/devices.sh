# SPDX-License-Identifier: Apache-2.0
# A GPU that is not there is one line, and the CPU does it.
"$VITRO" predict --weights model.pth --device cuda:9 --top-k 1 a.ppm 2>note
echo "exit $?"
sed 's/(.*)/(...)/' note
# Last digits, and a note that products are widened, depend on the CPU.
for precision in bf16 int8; do
    "$VITRO" predict --weights model.pth --precision $precision --top-k 1 a.ppm 2>/dev/null |
        sed 's/prob:.*/prob: N/'
done
# Which back ends have it depends on the build.
try predict --weights model.pth --precision bf16 --backend ref a.ppm | sed 's/that needs.*/.../'
"$VITRO" predict --weights model.pth --precision tf32 --device cpu a.ppm 2>&1 |
    sed 's/that needs.*/.../'
try train --data-path flowers --epochs 1 --precision int8
try predict --weights model.pth --precision fp64 --backend ref --top-k 1 a.ppm
try predict --weights model.pth --threads 1 --top-k 1 a.ppm
