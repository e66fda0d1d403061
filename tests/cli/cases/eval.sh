# SPDX-License-Identifier: Apache-2.0
try eval --weights model.pth --data-path flowers 2>&1 | sed -E 's/^speed .*/speed/; /^\[eval\]/d'
try eval --weights model.pth --data-path flowers --split train --json --confusion c.csv |
    sed '/^\[eval\]/d' | hide_numbers
cat c.csv
"$VITRO" eval --weights model.pth --data-path flowers --json 2>/dev/null | "$JSON_LINES"
# A test batch alone is enough for --split val; its pictures have the model's size.
"$VITRO" eval --weights cifar.pth --data-path . --json 2>/dev/null | "$JSON_LINES"
# The matrix as a picture: the same bytes each time; nothing is left where it cannot be written.
for i in 1 2; do
    "$VITRO" eval --weights model.pth --data-path flowers --confusion-plot $i.png >/dev/null 2>&1
    echo "exit $?"
done
cmp 1.png 2.png && head -c 4 1.png | tail -c 3 && echo
try eval --weights model.pth --data-path flowers --confusion-plot no/where.png |
    sed '/^\[eval\]/d'
