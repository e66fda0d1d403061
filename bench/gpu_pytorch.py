#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PyTorch's ViT on the GPU for gpu.sh: scaled_dot_product_attention, bf16 autocast, plain and compiled.

One JSON line for each of (model, mode, batch, plain or compiled): images a second, the median of runs
timed with the device's events. Images lie on the device, but for the lines with "copies": there each
batch comes from pinned memory and the logits go back, as `vitro bench` does it.
"""
import argparse
import json
import statistics
import time

import torch
from torch import nn
import torch.nn.functional as F

MODELS = {"vit_base_patch16_224": (768, 12, 12), "vit_large_patch16_224": (1024, 24, 16)}
WARM_UPS, MIN_RUNS = 5, 10


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        ctx = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, d)
        x = x + self.proj(ctx)
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Vit(nn.Module):
    def __init__(self, dim, depth, heads):
        super().__init__()
        self.patch = nn.Conv2d(3, dim, 16, 16)
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos = nn.Parameter(torch.randn(1, 197, dim) * 0.02)
        self.blocks = nn.Sequential(*[Block(dim, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, 1000)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls.expand(x.shape[0], -1, -1), x), 1) + self.pos
        return self.head(self.norm(self.blocks(x))[:, 0])


def median_ms(run, seconds):
    for _ in range(WARM_UPS):
        run()
    torch.cuda.synchronize()
    times, start = [], time.time()
    while len(times) < MIN_RUNS or time.time() - start < seconds:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def graphed(run):
    """run as a CUDA graph, for the latency of one image."""
    for _ in range(WARM_UPS):
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def measure(name, mode, batch, how, seconds):
    torch.manual_seed(0)
    torch.compiler.reset()
    model = Vit(*MODELS[name]).cuda().train(mode == "train")
    call = torch.compile(model) if how == "compiled" else model
    host = torch.randn(batch, 3, 224, 224).pin_memory()
    images, labels = host.cuda(), torch.arange(batch, device="cuda") % 1000
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9, weight_decay=5e-5)

    def forward():
        with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
            return call(images)

    def with_copies():
        images.copy_(host, non_blocking=True)
        return forward().float().cpu()

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16):
            loss = F.cross_entropy(call(images), labels)
        loss.backward()
        optimizer.step()

    run = {"train": step, "infer": forward, "infer with copies": with_copies}[mode]
    if how == "graph":
        run = graphed(run)
    ms = median_ms(run, seconds)
    print(json.dumps({"model": name, "mode": mode, "precision": "bf16", "batch_size": batch,
                      "how": how, "ms": ms, "images_per_second": 1e3 * batch / ms}), flush=True)


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--seconds", type=float, default=5)
    args.add_argument("--batches", default="1 256", help="of ViT-B/16; the last one trains")
    args.add_argument("--large", type=int, default=128, help="batch of ViT-L/16")
    a = args.parse_args()
    base, large = MODELS
    batches = [int(b) for b in a.batches.split()]
    for how in ("plain", "compiled"):
        for batch in batches:
            measure(base, "infer", batch, how, a.seconds)
            measure(base, "infer with copies", batch, how, a.seconds)
        measure(base, "train", batches[-1], how, a.seconds)
        measure(large, "train", a.large, how, a.seconds)
    measure(base, "infer", 1, "graph", a.seconds)


if __name__ == "__main__":
    main()
