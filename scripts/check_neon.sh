#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What only AArch64 compiles: the NEON kernels, their choice and the CPU's flags, by a cross compiler
# where there is one, without a warning; and each unit has the instruction that it is named for.
set -eu
cd "$(dirname "$0")/.."

cc=${VITRO_AARCH64_CC:-aarch64-linux-gnu-gcc}
if ! command -v "$cc" >/dev/null; then
    echo "check_neon: no $cc here (Debian: gcc-aarch64-linux-gnu)"
    exit 77
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

count=0
for file in src/base/cpu.c src/kernels/*.c src/kernels/arm/*.c; do
    "$cc" -std=c11 -O2 -D_GNU_SOURCE -Iinclude -Isrc -Wall -Wextra -Wshadow -Wstrict-prototypes \
        -Wmissing-prototypes -Wpointer-arith -Wvla -Werror -fno-math-errno -ffp-contract=off \
        -S "$file" -o "$out/$(basename "$file" .c).s"
    count=$((count + 1))
done

# file, and what its inner loop has once for each of the 24 sums of a 6x16 tile
while read -r file instruction; do
    found=$(grep -c "	$instruction	" "$out/$file.s" || true)
    if [ "$found" -lt 24 ]; then
        echo "check_neon: src/kernels/arm/$file.c has $found times $instruction, expected 24 or more"
        exit 1
    fi
done <<UNITS
variant_neon fmla
variant_neon sadalp
variant_neon_bf16 bfdot
variant_neon_i8mm usdot
variant_neon_sdot sdot
UNITS
echo "check_neon: $count files compile for AArch64"
