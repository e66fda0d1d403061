# SPDX-License-Identifier: Apache-2.0
# The size of the batch and the number of readers do not show in the result.
all="a.ppm b.ppm grey.pgm pictures broken.ppm flowers/train flowers/val a.ppm"
"$VITRO" predict --weights model.pth --batch-size 1 --json $all >one 2>/dev/null
for size in 2 3 8 100; do
    for workers in 0 3; do
        "$VITRO" predict --weights model.pth --batch-size $size --workers $workers --json $all \
            >other 2>/dev/null
        echo "exit $?"
        # Products of another size may round otherwise: six digits must agree.
        sed -E 's/([0-9]\.[0-9]{5})[0-9]*/\1/g' one >one.short
        sed -E 's/([0-9]\.[0-9]{5})[0-9]*/\1/g' other >other.short
        cmp one.short other.short && echo same
    done
done
wc -l <one
