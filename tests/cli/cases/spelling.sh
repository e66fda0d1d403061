# SPDX-License-Identifier: Apache-2.0
# '-' and '_' are the same, --name=value is --name value, the last of a repeated option wins, "--"
# ends the options, booleans have six spellings.
try predict --weights model.pth --top_k=1 a.ppm
try predict --weights=nowhere.pth --weights model.pth --top-k 3 --top-k 1 a.ppm
try predict a.ppm --weights model.pth b.ppm --top-k 1
cp a.ppm ./--json
try predict --weights model.pth --top-k 1 -- --json
for yes in true 1 yes TRUE; do
    try predict --weights model.pth --exif $yes --top-k 1 a.ppm
done
try predict --weights model.pth --json=true --json=false --top-k 1 a.ppm
try predict --weights model.pth --json no --top-k 1 a.ppm
