# SPDX-License-Identifier: Apache-2.0
"""The module against the command, and against misuse. $VITRO_PROGRAM is the command."""
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import unittest

import numpy as np

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, ".."))
sys.path.insert(0, os.path.join(here, "..", "..", "tests", "python"))

import vitro  # noqa: E402
from vitro_files import random_vit, write_pictures, write_safetensors  # noqa: E402

PROGRAM = os.environ.get("VITRO_PROGRAM", "vitro")
NAMES = ["daisy", "red rose", "tulip \u00e4"]


def run(*command):
    return subprocess.run([PROGRAM, *map(str, command)], check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout


def read_ppm(path):
    with open(path, "rb") as f:
        kind, width, height, _ = f.readline().split()
        assert kind == b"P6"
        return np.frombuffer(f.read(), np.uint8).reshape(int(height), int(width), 3)


def resident_bytes():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class ModuleTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.raw = os.path.join(cls.folder.name, "raw.safetensors")
        cls.weights = os.path.join(cls.folder.name, "weights.safetensors")
        cls.headless = os.path.join(cls.folder.name, "headless.safetensors")
        names = os.path.join(cls.folder.name, "names.json")
        write_safetensors(cls.raw, random_vit(64, 2, 8, 32, 32, 3, 1))
        tensors = random_vit(64, 2, 8, 32, 32, 3, 1)
        write_safetensors(cls.headless, {k: v for k, v in tensors.items() if "head" not in k})
        with open(names, "w") as f:
            json.dump(NAMES, f)
        run("convert", cls.raw, cls.weights, "--num-heads", 4, "--class-indices", names,
            "--transform", "timm", "--mean", "0.5,0.4,0.3")
        run("convert", cls.headless, cls.headless, "--num-heads", 4, "--transform", "timm",
            "--mean", "0.5,0.4,0.3")
        cls.pictures = write_pictures(cls.folder.name, 5)
        cls.expected = [json.loads(line) for line in run(
            "predict", "--weights", cls.weights, "--device", "cpu", "--json", "--logits",
            "--dump-input", os.path.join(cls.folder.name, "input.npy"),
            *cls.pictures).splitlines()]
        cls.inputs = np.load(os.path.join(cls.folder.name, "input.npy"))
        cls.logits = np.array([r["logits"] for r in cls.expected], np.float32)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def open(self, path=None, **options):
        model = vitro.Model(path or self.weights, device="cpu", threads=2, **options)
        self.addCleanup(model.close)
        return model

    def test_describes_itself(self):
        model = self.open()
        self.assertEqual(model.input_shape, (3, 32, 32))
        self.assertEqual(model.num_classes, 3)
        self.assertEqual(model.num_features, 64)
        self.assertEqual(model.class_names, NAMES)
        self.assertEqual(model.config["num_heads"], 4)
        self.assertEqual(model.transform["mean"], [0.5, 0.4, 0.3])
        self.assertTrue(model.device.startswith("cpu"), model.device)
        self.assertIn("3x32x32", repr(model))
        self.assertIsNone(self.open(self.headless).class_names)
        self.assertEqual(vitro.library_version(), vitro.__version__)
        self.assertIn("jansson", vitro.build_info())

    def test_files_as_the_command(self):
        model = self.open(batch_size=2)
        prediction = model.predict(self.pictures, top_k=2)
        np.testing.assert_array_equal(prediction.logits, self.logits)
        for row, top in zip(self.expected, prediction.top):
            self.assertEqual(len(top), 2)
            self.assertEqual((top[0].index, top[0].name), (row["index"], row["class"]))
            self.assertAlmostEqual(top[0].prob, row["prob"], places=6)
        np.testing.assert_allclose(prediction.probs.sum(axis=1), 1, atol=1e-6)
        self.assertEqual(len(prediction), 5)

    def test_arrays_as_files(self):
        model = self.open()
        arrays = [read_ppm(p) for p in self.pictures]
        np.testing.assert_array_equal(model.preprocess(self.pictures), self.inputs)
        np.testing.assert_array_equal(model.preprocess(arrays), self.inputs)
        np.testing.assert_array_equal(model.logits(np.stack(arrays)), self.logits)
        np.testing.assert_array_equal(model.logits(self.inputs), self.logits)
        np.testing.assert_array_equal(model.logits(self.inputs.astype(np.float64)), self.logits)
        mixed = [arrays[0], self.pictures[1]]
        np.testing.assert_array_equal(model.logits(mixed), self.logits[:2])
        mirrored = model.preprocess([a[:, ::-1] for a in arrays])  # strides below zero
        np.testing.assert_array_equal(mirrored, model.preprocess(
            [np.ascontiguousarray(a[:, ::-1]) for a in arrays]))
        grey = arrays[0][:, :, 0]
        np.testing.assert_array_equal(model.preprocess([grey]), model.preprocess(
            [np.stack([grey] * 3, axis=2)]))

    def test_features_are_those_of_the_file_without_its_head(self):
        model, headless = self.open(batch_size=2), self.open(self.headless)
        features = model.features(self.pictures)
        self.assertEqual(features.shape, (5, 64))
        np.testing.assert_array_equal(features, headless.features(self.pictures))
        weights = random_vit(64, 2, 8, 32, 32, 3, 1)
        np.testing.assert_allclose(features @ weights["head.weight"].T + weights["head.bias"],
                                   self.logits, atol=1e-5)
        with self.assertRaisesRegex(ValueError, "no head"):
            headless.predict(self.pictures)

    def test_nothing_in_nothing_out(self):
        model = self.open()
        self.assertEqual(model.predict([]).logits.shape, (0, 3))
        self.assertEqual(model.features([]).shape, (0, 64))

    def test_errors(self):
        model = self.open()
        with self.assertRaises(vitro.Error) as caught:
            vitro.Model("missing.pth")
        self.assertEqual(caught.exception.status, "VITRO_E_IO")
        self.assertIn("missing.pth", str(caught.exception))
        with self.assertRaises(vitro.Error) as caught:
            vitro.Model(self.pictures[0])
        self.assertEqual(caught.exception.status, "VITRO_E_FORMAT")
        with self.assertRaisesRegex(vitro.Error, "fp13"):
            vitro.Model(self.weights, precision="fp13")
        with self.assertRaisesRegex(vitro.Error, "max_batch is 0"):
            vitro.Model(self.weights, batch_size=0)
        with self.assertRaisesRegex(vitro.Error, "no_such.jpg"):
            model.predict(["no_such.jpg"])
        with self.assertRaisesRegex(vitro.Error, "4 channels"):
            model.predict([np.zeros((8, 8, 4), np.uint8)])
        with self.assertRaisesRegex(TypeError, "put it in a list"):
            model.predict(self.pictures[0])
        with self.assertRaisesRegex(TypeError, "int32"):
            model.predict([np.zeros((8, 8, 3), np.int32)])
        with self.assertRaisesRegex(ValueError, "3, 32, 32"):
            model.predict(np.zeros((1, 3, 33, 32), np.float32))
        with self.assertRaisesRegex(ValueError, "count,height"):
            model.predict(np.zeros((8, 8, 3), np.uint8))
        with self.assertRaisesRegex(ValueError, "top_k"):
            model.predict(self.pictures, top_k=0)
        model.close()
        model.close()
        with self.assertRaisesRegex(ValueError, "closed"):
            model.predict(self.pictures)

    def test_threads(self):
        model, wrong = self.open(), []

        def work(i):
            try:
                for _ in range(10):
                    if not np.array_equal(model.logits([self.pictures[i]])[0], self.logits[i]):
                        wrong.append(i)
                    try:
                        model.logits([f"missing{i}.ppm"])
                    except vitro.Error as error:
                        if f"missing{i}.ppm" not in str(error):
                            wrong.append(str(error))
            except Exception as error:  # must reach the main thread
                wrong.append(error)
        threads = [threading.Thread(target=work, args=(i,)) for i in range(5)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(wrong, [])

    @unittest.skipUnless(os.path.exists("/proc/self/statm"), "needs /proc/self/statm")
    def test_memory_is_given_back(self):
        def use():
            with self.open(batch_size=64) as model:
                model.features(self.inputs)
        for _ in range(5):
            use()
        gc.collect()
        before = resident_bytes()
        for _ in range(60):
            use()
        gc.collect()
        self.assertLess(resident_bytes() - before, 16 << 20)

    def test_library_of_another_place(self):
        code = "import vitro"
        environment = {**os.environ, "PYTHONPATH": os.path.join(here, ".."),
                       "VITRO_LIBRARY": "/nowhere/libvitro.so"}
        done = subprocess.run([sys.executable, "-c", code], env=environment, text=True,
                              stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 1)
        self.assertIn("LibraryNotFound", done.stderr)
        self.assertIn("/nowhere/libvitro.so", done.stderr)


if __name__ == "__main__":
    unittest.main()
