#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains one small ViT twice, with `vitro train` and with PyTorch, on CIFAR-100 pickles, and compares
every loss, the epochs' records and the saved weights. A tool for developers; exit status 1 where a
limit is exceeded. Needs $VITRO_SHARED (reference/vit_model.py, data/cifar-100-binary), torch and
torchvision.

    tests/golden/parity_train.py --img-size 224 --patch-size 16
    tests/golden/parity_train.py --optimizer adamw --accumulate 3 --clip-grad 1 --epochs 2
"""
import argparse
import gzip
import json
import math
import os
import pickle
import subprocess
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from torchvision import transforms

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.join(here, "..", "..")
shared = os.environ.get("VITRO_SHARED", os.path.join(root, "..", "shared"))
sys.path.insert(0, os.path.join(shared, "reference"))
from vit_model import VisionTransformer  # noqa: E402

LOSS_LIMIT, WEIGHT_LIMIT = 2e-5, 5e-5


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--vitro", default=os.path.join(root, "build", "release", "vitro"))
    p.add_argument("--backend", default="auto")
    p.add_argument("--img-size", type=int, default=32)
    p.add_argument("--patch-size", type=int, default=4)
    p.add_argument("--embed-dim", type=int, default=64)
    p.add_argument("--depth", type=int, default=3)
    p.add_argument("--num-heads", type=int, default=4)
    p.add_argument("--representation-size", type=int, default=0)
    p.add_argument("--batch-size", type=int, default=16)
    p.add_argument("--epochs", type=int, default=1)
    p.add_argument("--train-images", type=int, default=24 * 16 - 7)
    p.add_argument("--max-steps", type=int, default=24)
    p.add_argument("--val-images", type=int, default=50)
    p.add_argument("--optimizer", default="sgd")
    p.add_argument("--lr", type=float, default=0.01)
    p.add_argument("--lrf", type=float, default=0.01)
    p.add_argument("--accumulate", type=int, default=1)
    p.add_argument("--clip-grad", type=float, default=0)
    p.add_argument("--label-smoothing", type=float, default=0)
    p.add_argument("--adam-eps", type=float, default=1e-5)
    p.add_argument("--freeze-layers", action="store_true")
    return p.parse_args()


def read_rows(name, count):
    with gzip.open(os.path.join(shared, "data", "cifar-100-binary", name)) as f:
        rows = np.frombuffer(f.read(count * 3074), dtype=np.uint8).reshape(-1, 3074)
    return rows[:, 2:], rows[:, 1]


def write_pickles(folder, splits):
    os.makedirs(folder)
    with open(os.path.join(shared, "data", "cifar-100-binary", "fine_label_names.txt")) as f:
        names = f.read().split()
    for split, (pixels, labels) in splits.items():
        with open(os.path.join(folder, split), "wb") as f:
            pickle.dump({"data": pixels.copy(), "fine_labels": [int(v) for v in labels]}, f,
                        protocol=2)
    with open(os.path.join(folder, "meta"), "wb") as f:
        pickle.dump({"fine_label_names": names}, f, protocol=2)


def to_tensor(pixels, size):
    steps = [transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
    if size != 32:
        steps = [transforms.Resize(int(size * 256 / 224)), transforms.CenterCrop(size)] + steps
    t = transforms.Compose(steps)
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return torch.stack([t(Image.fromarray(np.ascontiguousarray(i))) for i in images])


def make_model(a):
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=a.img_size, patch_size=a.patch_size, embed_dim=a.embed_dim, depth=a.depth,
        num_heads=a.num_heads, num_classes=100, representation_size=a.representation_size or None)
    if a.freeze_layers:
        for name, p in model.named_parameters():
            p.requires_grad_("head" in name or "pre_logits" in name)
    return model


def batches(x, y, size):
    return [(x[i:i + size], y[i:i + size]) for i in range(0, len(y), size)]


def train_epoch(a, model, opt, data, budget):
    """Returns (records of optimizer steps, train_loss, train_acc)."""
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=a.label_smoothing)
    steps, losses, hits, images, group_losses = [], [], 0, 0, []
    model.train()
    for b, (x, y) in enumerate(data):
        group = min(a.accumulate, len(data) - b // a.accumulate * a.accumulate)
        if b % a.accumulate == 0:
            opt.zero_grad()
        logits = model(x)
        loss = loss_of(logits, y)
        (loss / group).backward()
        losses.append(loss.item())
        group_losses.append(loss.item())
        hits += (logits.argmax(1) == y).sum().item()
        images += len(y)
        if b % a.accumulate == group - 1:
            if a.clip_grad:
                torch.nn.utils.clip_grad_norm_(model.parameters(), a.clip_grad)
            opt.step()
            steps.append((sum(group_losses) / len(group_losses), opt.param_groups[0]["lr"]))
            group_losses = []
            if len(steps) == budget:
                break
    return steps, sum(losses) / len(losses), hits / images


def validate(model, data):
    model.eval()
    losses, hits, images = [], 0, 0
    with torch.no_grad():
        for x, y in data:
            logits = model(x)
            losses.append(torch.nn.functional.cross_entropy(logits, y).item())
            hits += (logits.argmax(1) == y).sum().item()
            images += len(y)
    return sum(losses) / len(losses), hits / images


def train_pytorch(a, model, train, val):
    params = [p for p in model.parameters() if p.requires_grad]
    if a.optimizer == "sgd":
        opt = torch.optim.SGD(params, lr=a.lr, momentum=0.9, weight_decay=5e-5)
    else:
        opt = torch.optim.AdamW(params, lr=a.lr, weight_decay=5e-5, eps=a.adam_eps)
    sched = torch.optim.lr_scheduler.LambdaLR(
        opt, lambda x: ((1 + math.cos(x * math.pi / a.epochs)) / 2) * (1 - a.lrf) + a.lrf)
    steps, epochs = [], []
    while len(epochs) < a.epochs and len(steps) < a.max_steps:
        more, train_loss, train_acc = train_epoch(a, model, opt, train, a.max_steps - len(steps))
        steps += more
        sched.step()
        val_loss, val_acc = validate(model, val)
        epochs.append({"train_loss": train_loss, "train_acc": train_acc, "val_loss": val_loss,
                       "val_acc": val_acc, "learning_rate": opt.param_groups[0]["lr"]})
    return steps, epochs


def train_vitro(a, folder, init):
    metrics = os.path.join(folder, "metrics.jsonl")
    command = [
        a.vitro, "train", "--data-path", folder, "--init-weights", init, "--augment", "none",
        "--shuffle", "false", "--backend", a.backend, "--num-heads", a.num_heads, "--img-size",
        a.img_size, "--batch-size", a.batch_size, "--epochs", a.epochs, "--max-steps", a.max_steps,
        "--optimizer", a.optimizer, "--lr", a.lr, "--lrf", a.lrf, "--accumulate", a.accumulate,
        "--clip-grad", a.clip_grad, "--label-smoothing", a.label_smoothing, "--adam-eps",
        a.adam_eps, "--freeze-layers", str(a.freeze_layers).lower(), "--metrics-jsonl", metrics,
        "--output-dir", os.path.join(folder, "out"), "--log-dir", os.path.join(folder, "runs")]
    subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL)
    with open(metrics) as f:
        lines = [json.loads(line) for line in f]
    return [r for r in lines if "loss" in r], [r for r in lines if "train_loss" in r]


def check_weights(model, path):
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    mine = model.state_dict()
    worst = max((torch.max(torch.abs(theirs[k] - v)) / torch.max(torch.abs(v))).item()
                for k, v in mine.items())
    model.load_state_dict(theirs, strict=True)
    return worst


def check_events(folder, epochs):
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        print("tensorboard is not installed: its file is not read")
        return True
    events = EventAccumulator(folder)
    events.Reload()
    same = True
    for key in epochs[0]:
        values = [e.value for e in events.Scalars(key)]
        same &= np.allclose(values, [e[key] for e in epochs], rtol=1e-4, atol=1e-6)
    return same


def relative(got, want):
    return abs(got - want) / max(abs(want), 1e-12)


def main():
    a = parse()
    torch.set_num_threads(2)
    splits = {"train": read_rows("train_10k.bin.gz", a.train_images),
              "test": read_rows("test.bin.gz", a.val_images)}
    data = {k: batches(to_tensor(p, a.img_size), torch.from_numpy(y.astype(np.int64)),
                       a.batch_size) for k, (p, y) in splits.items()}
    with tempfile.TemporaryDirectory() as folder:
        write_pickles(os.path.join(folder, "cifar-100-python"), splits)
        model = make_model(a)
        init = os.path.join(folder, "init.pth")
        torch.save(model.state_dict(), init)
        my_steps, my_epochs = train_pytorch(a, model, data["train"], data["test"])
        steps, epochs = train_vitro(a, folder, init)
        last = os.path.join(folder, "out", "model-%d.pth" % (len(epochs) - 1))
        weights = check_weights(model, last)
        events = check_events(os.path.join(folder, "runs"), epochs)
    good = events and len(steps) == len(my_steps) and len(epochs) == len(my_epochs)
    loss = max(relative(r["loss"], m[0]) for r, m in zip(steps, my_steps))
    rate = max(relative(r["lr"], m[1]) for r, m in zip(steps, my_steps))
    good &= loss <= LOSS_LIMIT and rate <= 1e-12 and weights <= WEIGHT_LIMIT
    print(f"{len(steps)} steps: losses within {loss:.2g}, learning rates within {rate:.2g}, "
          f"weights within {weights:.2g}")
    for got, want in zip(epochs, my_epochs):
        off = {k: relative(got[k], want[k]) if want[k] else abs(got[k]) for k in want}
        good &= all(v <= LOSS_LIMIT for v in off.values())
        print(f"epoch {got['epoch']}: " + ", ".join(f"{k} {want[k]:.6g} (off {v:.2g})"
                                                    for k, v in off.items()))
    print("equal" if good else "DIFFERENT")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
