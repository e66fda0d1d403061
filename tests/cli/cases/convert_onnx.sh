# SPDX-License-Identifier: Apache-2.0
# ONNX files: the same bytes again, weights inside or beside them; options that they have no use for.
"$VITRO" --version | grep -q '^protobuf-c not found' && { echo "no protobuf-c in this build"; exit 77; }
try convert model.pth a.onnx
"$VITRO" convert model.pth b.ONNX 2>/dev/null && cmp a.onnx b.ONNX && echo "the same again"
"$VITRO" convert model.pth c.safetensors 2>/dev/null && "$VITRO" convert c.safetensors b.onnx 2>/dev/null &&
    cmp a.onnx b.onnx && echo "the same from safetensors"
"$VITRO" convert --external-data model.pth d.onnx 2>/dev/null && ls d.onnx*
"$VITRO" convert --class-indices names.json model.pth b.onnx 2>/dev/null
try convert --dtype f16 model.pth b.onnx
try convert --names vitro model.pth b.onnx
try convert --external-data model.pth b.pth
try convert --depth 3 model.pth b.onnx
try convert a.onnx b.pth
