"""Worker for one point of cost.py: `cost_worker.py forward|step SIDE BATCH DEPTH`, or `cost_worker.py epoch PICTURES`.

It answers with one line of JSON: the seconds of its rounds, and the peak of memory over what it held idle, in bytes.
"""

import json
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from beit import BeitConfig, BeitForImageClassification
from beit.cli.process import keep_freed_memory
from beit.data import Augmentation, BatchOrder, Collate, ViewDataset, Views, open_source, training_batches
from beit.image import Preprocessing
from memory import forget_peak, peak, resident

WIDTH, HEADS, CLASSES, SMALL = 192, 3, 10, 32
LEAST_ROUNDS, LEAST_SECONDS = 5, 2.0
PICTURE, IN_CLASS, BATCH = 32, 1000, 256


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


def timed(kind, sizes):
    """Return the seconds of several rounds, and the peak over what was held idle."""
    work(kind, SMALL, 1, 1)()  # what the libraries load on first use is no part of the cost
    idle = resident()
    forget_peak()
    call, seconds = work(kind, *sizes), []
    while len(seconds) < 1 + LEAST_ROUNDS or sum(seconds[1:]) < LEAST_SECONDS:
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return seconds[1:], peak() - idle  # the first call is to warm


def fill(place, count):
    """Make so many pictures, in classes; those of a class are one file by several names."""
    pixels = np.random.default_rng(0).integers(0, 256, (PICTURE, PICTURE, 3), dtype=np.uint8)
    for first in range(0, count, IN_CLASS):
        folder = place / f"class_{first // IN_CLASS:06}"
        folder.mkdir()
        Image.fromarray(pixels).save(folder / "000.png")
        for number in range(1, min(IN_CLASS, count - first)):
            os.link(folder / "000.png", folder / f"{number:03}.png")


def epoch(place, count):
    """Read a folder through the loader once, in random order: listed, shuffled, decoded, cropped and stacked."""
    source = open_source(str(place))
    dataset = ViewDataset(
        source,
        Views(Preprocessing((PICTURE, PICTURE), (PICTURE, PICTURE)), Augmentation()),
        seed=0,
        replace_broken=True,
    )
    order = BatchOrder(count, BATCH, count // BATCH, seed=0)
    for _ in training_batches(dataset, order, Collate(0), workers=0):
        pass


def timed_epoch(count):
    """Return the seconds of an epoch, and the peak over what was held idle."""
    with TemporaryDirectory(dir=".") as place:
        os.environ["XDG_CACHE_HOME"] = f"{place}/cache"  # nothing is known from before
        for name, pictures in (("few", IN_CLASS), ("all", count)):
            folder = Path(place, name)
            folder.mkdir()
            fill(folder, pictures)
            idle = resident()
            forget_peak()
            began = time.perf_counter()
            epoch(folder, pictures)
            seconds = time.perf_counter() - began
        return [seconds], peak() - idle  # the few are to warm


def main():
    kind, *sizes = sys.argv[1], *map(int, sys.argv[2:])
    torch.manual_seed(0)
    keep_freed_memory()  # as the commands do
    seconds, most = timed_epoch(*sizes) if kind == "epoch" else timed(kind, sizes)
    print(json.dumps({"seconds": seconds, "peak": most}))


if __name__ == "__main__":
    main()
