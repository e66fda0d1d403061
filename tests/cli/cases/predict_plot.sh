# SPDX-License-Identifier: Apache-2.0
# One picture: a file. Several: a folder, where equal names are kept apart.
try predict --weights model.pth --top-k 1 --plot one.png a.ppm
try predict --weights model.pth --top-k 1 --plot new/folder a.ppm pictures/one.ppm a.ppm
ls new/folder
try predict --weights model.pth --top-k 1 --plot pictures a.ppm
ls pictures
try predict --weights model.pth --plot one.png a.ppm b.ppm
try predict --weights model.pth --plot a.ppm/x.png a.ppm
for f in one.png new/folder/*.png; do head -c 4 "$f" | tail -c 3; echo " $f"; done
# Nor does a result take the place of what it is made from.
cp one.png pictures/drawn.png
ln -s model.pth link.pth
try predict --weights model.pth --plot pictures pictures/one.ppm pictures/drawn.png
try predict --weights model.pth --plot ./a.ppm a.ppm
try predict --weights model.pth --dump-input link.pth a.ppm
try predict --weights model.pth --dump-input x.png --plot x.png a.ppm
cmp one.png pictures/drawn.png
# What is no file is not replaced by one.
mkfifo pipe
try predict --weights model.pth --top-k 1 --plot pipe a.ppm
try predict --weights model.pth --top-k 1 --dump-input pipe a.ppm
try convert model.pth pipe
mkfifo pipe.pth
try convert model.pth pipe.pth
ls -F | grep pipe
