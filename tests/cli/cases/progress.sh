# SPDX-License-Identifier: Apache-2.0
# Where standard error is a terminal, a progress line is drawn in place and never wraps: the bar
# gives way, then the end of the line. Elsewhere a line per epoch, whole.
tiny="--model-name vit_tiny_patch4_32 --img-size 16 --patch-size 8 --embed-dim 16 --depth 1
    --num-heads 2 --epochs 1 --workers 0 --log-dir log"
script -qec true /dev/null </dev/null >probe 2>&1 ||
    { echo "script(1) can make no terminal here: $(cat probe)"; exit 77; }
on_terminal() {
    script -qec "stty cols $1; '$VITRO' train --data-path flowers $(echo $tiny) >/dev/null" /dev/null \
        </dev/null | tr '\r' '\n' | sed 's/\x1b\[K//g' | grep '^\[' >lines
    awk -v most=$(($1 - 1)) 'length > most { bad++ } length == most { full++ }
        END { print (NR > 2) ? "drawn" : "not drawn", bad + 0, "too long", full ? "cut" : "whole" }' lines
    sed -E -n '$p' lines | hide_numbers | sed -E 's/ *[0-9]+%/ N%/; s/[0-9]+:[0-9]+/T/g; s/\|#+\|/|#|/; s/#(it.s|s.it)/SPEED/'
}
on_terminal 160
on_terminal 80
on_terminal 30
"$VITRO" train --data-path flowers $tiny 2>&1 >/dev/null | grep -c '|##########| 1/1 \['
