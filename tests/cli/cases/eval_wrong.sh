# SPDX-License-Identifier: Apache-2.0
try eval --data-path flowers
try eval --weights model.pth --data-path missing
try eval --weights model.pth --data-path empty
try eval --weights features.pth --data-path flowers
try eval --weights model.pth --data-path .
try eval --weights cifar.pth --data-path . --split train
try eval --weights model.pth --data-path flowers --confusion missing/c.csv 2>&1 | sed '/^\[eval\]/d'
try eval --weights model.pth --data-path flowers --confusion flowers 2>&1 | sed '/^\[eval\]/d'
try eval --weights model.pth --data-path flowers --confusion x.png --confusion-plot x.png
try eval --weights nan.pth --data-path flowers 2>&1 | sed '/^\[eval\]/d'
head -c 100 flowers/val/tulip/2.ppm >x
mv x flowers/val/tulip/2.ppm
try eval --weights model.pth --data-path flowers 2>&1 | sed '/^\[eval\]/d'
