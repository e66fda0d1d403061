# SPDX-License-Identifier: Apache-2.0
# Standard input, lists, folders.
try predict --weights model.pth --top-k 1 - <a.ppm
try predict --weights model.pth --top-k 1 --plot in.png - <a.ppm
head -c 4 in.png | tail -c 3
echo
try predict --weights model.pth --top-k 1 - </dev/null
try predict --weights model.pth --top-k 1 @list.txt
try predict --weights model.pth --top-k 1 @- <list.txt
try predict --weights model.pth @missing.txt
try predict --weights model.pth @pictures
: >empty.txt
try predict --weights model.pth @empty.txt
printf 'a.ppm\0b.ppm\n' >nul.txt
try predict --weights model.pth @nul.txt
try predict --weights model.pth empty
try predict --weights model.pth @- - <a.ppm
cp a.ppm @odd.ppm
try predict --weights model.pth --top-k 1 ./@odd.ppm
