# SPDX-License-Identifier: Apache-2.0
try predict --weights model.pth --json --logits --top-k 2 a.ppm b.ppm | hide_numbers
"$VITRO" predict --weights model.pth --json --top-k 99 a.ppm | "$JSON_LINES"
"$VITRO" predict --weights features.pth --json a.ppm | "$JSON_LINES"
# Names that need escapes, or are no UTF-8.
cp a.ppm 'quote".ppm'
cp a.ppm 'back\slash.ppm'
cp a.ppm "$(printf 'new\nline.ppm')"
cp a.ppm "$(printf 'latin\351.ppm')"
cp a.ppm "$(printf 'caf\303\251.ppm')"
"$VITRO" predict --weights model.pth --json --top-k 1 quote* back* new* latin* caf* |
    tee lines | "$JSON_LINES"
cut -d, -f1 lines
