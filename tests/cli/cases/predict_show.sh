# SPDX-License-Identifier: Apache-2.0
# --show in terminals of several kinds, and where there is none.
# shellcheck disable=SC2086  # $plain and $option are lists
"$IN_TERMINAL" 80 24 '' true >probe 2>&1 || { echo "no terminal can be made here: $(cat probe)"; exit 77; }
unset KITTY_WINDOW_ID TERM_PROGRAM COLORTERM TMUX
TERM=xterm-256color
export TERM
plain="predict --weights model.pth --top-k 1 a.ppm"

# No terminal: a note, and the same bytes as without --show.
"$VITRO" $plain >without 2>err
for option in --show "--show-as kitty"; do
    "$VITRO" $plain $option >with 2>err
    echo "exit $?"
    cmp without with && cat err
done
try $plain --show --json
try $plain --show-as etching

# What is sent: the first bytes, and how many.
view() { # width height answer arguments...
    "$IN_TERMINAL" "$1" "$2" "$3" "$VITRO" $plain --show >shown 2>err
    echo "exit $?"
    cat err
    tr '\033' '^' <shown | tail -n +2 | cut -c 1-48 | head -n 3 | LC_ALL=C sed 's/[^ -~].*/.../'
}
echo "== blocks, 256 colours"
view 80 24 '?1;2c'
grep -c '48;5' shown
echo "== blocks, the terminal says nothing"
view 80 24 ''
echo "== blocks, 24 bits"
COLORTERM=truecolor view 80 24 '?1;2c'
echo "== sixel"
view 80 24 '?62;1;4;6c' | sed -E 's/[0-9]+;[0-9]+#.*/size/'
echo "== 64 and 40 are not 4"
view 80 24 '?64;40;14c'
echo "== kitty"
KITTY_WINDOW_ID=1 view 80 24 '' | sed 's/;iVBO.*/;iVBO/'
tail -c 3 shown | tr '\033' '^'
echo "== kitty, inside tmux"
KITTY_WINDOW_ID=1 TMUX=x view 80 24 '?62;4c' | sed -E 's/[0-9]+;[0-9]+#.*/size/'
echo "== dumb"
TERM=dumb view 80 24 ''
echo "== small"
view 4 3 '?1;2c'
