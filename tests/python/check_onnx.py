#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check_onnx.py VITRO MAKE_ONNX: exports models as ONNX and runs them under ONNX Runtime.

- tests/golden/model/*.safetensors: against PyTorch's float64 outputs that lie in them;
- what tests/tools/make_onnx.c makes, a model for every argument that there is: against the outputs
  of the back end "ref" that it puts beside them;
- a model of vit_tiny_patch16_224's size with random weights, inside the file and beside it:
  against what `vitro predict` says of the same input.

Each file passes onnx.checker, takes any batch size, and gives logits within 1e-4 of their spread.
Exits with 77 where onnx, onnxruntime or numpy is missing."""
import glob
import json
import os
import sys
import tempfile

try:
    import numpy as np
    import onnx
    import onnxruntime
except ImportError as error:
    print(f"check_onnx: cannot run here: {error}")
    sys.exit(77)

from vitro_files import check, predict, random_vit, run, write_pictures, write_safetensors

LIMIT = 1e-4  # of the outputs' spread (standard deviation)
root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
vitro = os.path.abspath(sys.argv[1])


def read_safetensors(path):
    types = {"F32": np.float32, "F64": np.float64, "I32": np.int32}
    with open(path, "rb") as f:
        data = f.read()
    n = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8:8 + n]), data[8 + n:]
    header.pop("__metadata__", None)
    return {k: np.frombuffer(body[slice(*v["data_offsets"])], types[v["dtype"]]).reshape(v["shape"])
            for k, v in header.items()}


def convert(source, target, *options):
    run(vitro, "convert", source, target, *options)


def load(path):
    onnx.checker.check_model(path, full_check=True)
    model = onnx.load(path, load_external_data=False)
    assert model.opset_import[0].version == 17, model.opset_import
    assert model.producer_name == "vitro"
    return model, onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def check_golden(path, folder):
    t = read_safetensors(path)
    if "config" not in t:
        return  # another kind of fixture
    (_, patch, _, classes, _, _, heads, _, _, scale, _, _, eps, act) = t["config"].tolist()[:14]
    height, width = t["input"].shape[2:]
    weights, target = os.path.join(folder, "golden.safetensors"), os.path.join(folder, "golden.onnx")
    write_safetensors(weights, {k[2:]: v for k, v in t.items() if k.startswith("w.")})
    convert(weights, target, "--num-heads", int(heads), "--norm-eps", eps, "--qk-scale", scale,
            "--act", "gelu" if act == 1 else "gelu_tanh", "--img-size", f"{height}x{width}",
            "--patch-size", int(patch))
    model, session = load(target)
    output = session.get_outputs()[0]
    assert output.name == ("logits" if classes else "features"), output.name
    name, x = session.get_inputs()[0].name, t["input"]
    check(os.path.basename(path), session.run(None, {name: x})[0], t["output"], LIMIT)
    check("  one by one", np.concatenate([session.run(None, {name: x[i:i + 1]})[0]
                                          for i in range(len(x))]), t["output"], LIMIT)
    # the very tensors of the checkpoint
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
    for k, v in t.items():
        if k.startswith("w."):
            assert np.array_equal(constants[k[2:]], v), k


def check_tiny(folder):
    weights = os.path.join(folder, "tiny.safetensors")
    write_safetensors(weights, random_vit(192, 12, 16, 224, 224, 10, 1))
    names = os.path.join(folder, "names.json")
    with open(names, "w") as f:
        json.dump({str(i): f"Klasse {i} \u00e4" for i in range(10)}, f)
    images, expected = predict(vitro, weights, write_pictures(folder, 3, 240, 300), folder)
    target = os.path.join(folder, "tiny.onnx")
    for options in ([], ["--external-data"]):
        convert(weights, target, "--class-indices", names, "--mean", "0.5,0.4,0.3", *options)
        model, session = load(target)
        assert os.path.exists(target + ".data") == bool(options)
        found = session.run(None, {"images": images})[0]
        check("tiny, 224 x 224" + (", weights beside it" if options else ""), found, expected,
              LIMIT)
        says = {p.key: p.value for p in model.metadata_props}
        assert json.loads(says["class_names"])[9] == "Klasse 9 \u00e4", says
        assert json.loads(says["mean"]) == [0.5, 0.4, 0.3], says
        assert json.loads(says["input_size"]) == [3, 224, 224], says
        assert json.loads(says["vitro"])["config"]["num_heads"] == 3, says


def check_variants(folder):
    run(sys.argv[2], folder)
    models = sorted(glob.glob(os.path.join(folder, "*.onnx")))
    assert len(models) > 10, models
    for path in models:
        _, session = load(path)
        shape = [4, *session.get_inputs()[0].shape[1:]]
        x = np.fromfile(path[:-5] + ".in", np.float32).reshape(shape)
        y = np.fromfile(path[:-5] + ".out", np.float32).reshape(4, -1)
        check(os.path.basename(path), session.run(None, {"images": x})[0], y, LIMIT)
        os.remove(path)


with tempfile.TemporaryDirectory() as folder:
    check_variants(folder)
    fixtures = sorted(glob.glob(os.path.join(root, "tests/golden/model/*.safetensors")))
    assert len(fixtures) >= 5, fixtures
    for fixture in fixtures:
        check_golden(fixture, folder)
    check_tiny(folder)
print("check_onnx: passed")
