"""Worker for one point of cost.py: `cost_worker.py forward|step SIDE BATCH DEPTH` answers with one line of JSON."""

import json
import sys
import time

import torch

from beit import BeitConfig, BeitForImageClassification
from memory import forget_peak, peak, resident

WIDTH, HEADS, CLASSES, SMALL = 192, 3, 10, 32
LEAST_ROUNDS, LEAST_SECONDS = 3, 0.5


def work(kind, side, batch, depth):
    """Return a forward or a training step of a new model on new pictures, as a function."""
    config = BeitConfig(
        image_size=side,
        num_hidden_layers=depth,
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH,
        num_labels=CLASSES,
        use_relative_position_bias=True,
        drop_path_rate=0.0,
    )
    model = BeitForImageClassification(config).train(kind == "step")
    pixels, labels = torch.randn(batch, 3, side, side), torch.arange(batch) % CLASSES
    if kind == "forward":
        return torch.inference_mode()(lambda: model(pixels))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step():
        model(pixels, labels=labels).loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def main():
    kind, size = sys.argv[1], map(int, sys.argv[2:])
    torch.manual_seed(0)
    work(kind, SMALL, 1, 1)()  # what the libraries load on first use is no part of the cost
    idle = resident()
    forget_peak()
    call, seconds = work(kind, *size), []
    while len(seconds) < 1 + LEAST_ROUNDS or sum(seconds[1:]) < LEAST_SECONDS:
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"seconds": seconds[1:], "peak": peak() - idle}))  # the first call is to warm


if __name__ == "__main__":
    main()
