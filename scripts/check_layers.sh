#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Dependencies point one way: reads the #include lines and fails on one that the table forbids.
set -eu
cd "$(dirname "$0")/.."

rules=$(cat <<'RULES'
# Who may include what. A room is a folder of src/; public headers (vitro/x.h) are named as such.
# room      rooms                                         public headers
base        base                                        : base
tensor      base tensor                                 : base checkpoint
kernels     base tensor kernels                         : base model
backend     base tensor kernels backend                 : base device model
nn          base tensor kernels backend nn              : base device model
model       base tensor backend nn model ckpt           : base device checkpoint image model
train       base tensor backend nn model ckpt data metrics image train : base device checkpoint image data model train
export      base tensor ckpt model export               : base checkpoint image model export
session     base model session                               : base device checkpoint image model session
hub         base data hub                                    : base checkpoint hub
image       base tensor image                           : base image
plot        base image plot                             : base image plot
data        base image data                             : base image data download
ckpt        base tensor ckpt                            : base checkpoint
metrics     base image metrics                          : base image train
info        base backend data info                      : base
cli         cli                                         : base device checkpoint image data download export hub model plot session train vitro
examples    examples                                    : base device checkpoint image data download export hub model plot session train vitro
# Libraries that only the named files may see.
library omp.h               src/backend/ src/kernels/
library jpeglib.h           src/image/ src/info/
library png.h               src/image/ src/info/
library webp/decode.h       src/image/ src/info/
library webp/demux.h        src/image/ src/info/
library cairo.h             src/plot/ src/info/
library jansson.h           src/info/ src/base/ src/ckpt/ src/model/ src/train/ src/export/ src/hub/
library onnx.pb-c.h         src/export/onnx_graph
library protobuf-c/protobuf-c.h  src/info/
library curl/curl.h         src/data/http
library archive.h           src/data/unpack
library archive_entry.h     src/data/unpack
library cuda_runtime.h      src/backend/cuda/
library cuda_runtime_api.h  src/backend/cuda/
library cuda_bf16.h         src/backend/cuda/
library cublasLt.h          src/backend/cuda/
RULES
)

find $(ls -d src cli examples 2>/dev/null) -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' | sort | xargs awk -v rules="$rules" '
BEGIN {
    count = split(rules, line, "\n")
    for (i = 1; i <= count; i++) {
        if (line[i] ~ /^#/)
            continue
        n = split(line[i], word, " ")
        if (word[1] == "library") {
            for (j = 3; j <= n; j++)
                homes[word[2]] = homes[word[2]] " " word[j]
            continue
        }
        room = word[1]
        rooms[room] = 1
        public = 0
        for (j = 2; j <= n; j++) {
            if (word[j] == ":")
                public = 1
            else
                allowed[room, public ? "vitro/" word[j] ".h" : word[j]] = 1
        }
    }
}
FNR == 1 {
    n = split(FILENAME, part, "/")
    room = part[1] == "src" ? part[2] : part[1]
    if (!(room in rooms)) {
        print FILENAME ": no rule for the room \"" room "\" (scripts/check_layers.sh)"
        bad = 1
    }
}
/^[ \t]*#[ \t]*include[ \t]*[<"]/ {
    seen++
    name = $0
    sub(/^[^<"]*[<"]/, "", name)
    sub(/[>"].*/, "", name)
    if (name in homes) {
        n = split(homes[name], home, " ")
        ok = 0
        for (j = 1; j <= n; j++)
            ok = ok || index(FILENAME, home[j]) == 1
        if (!ok)
            complain(name, "only" homes[name] " may")
    } else if ($0 ~ /"/) {
        if (name ~ /^vitro\//) {
            if (!((room, name) in allowed))
                complain(name, "a public header that \"" room "\" may not see")
        } else if (index(name, "/")) {
            target = substr(name, 1, index(name, "/") - 1)
            if (!((room, target) in allowed))
                complain(name, "\"" room "\" may not include \"" target "\"")
            if (name ~ /_int\.h$/ && target != room)
                complain(name, "a header of that room alone")
        } else if (room != "cli" && room != "examples")
            complain(name, "write it as \"room/file.h\"")
    }
}
function complain(name, why) {
    print FILENAME ":" FNR ": includes " name ": " why
    bad = 1
}
END {
    if (!seen) {
        print "check_layers: found no include line"
        exit 1
    }
    if (!bad)
        print "check_layers: " seen " include lines keep the order"
    exit bad
}'
