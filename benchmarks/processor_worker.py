"""Worker for one implementation of the image processor, started and instructed by `processor.py`.

    processor_worker.py ours|transformers FOLDER CORES

Reads one word per line, "decoded" or "files", and answers with one line of JSON.
"""

import json
import logging
import os
import sys
import time
from itertools import islice
from pathlib import Path

from memory import peak

BATCH = 32


def load(implementation):
    if implementation == "ours":
        from beit import BeitImageProcessor

        return BeitImageProcessor()
    import transformers

    return transformers.BeitImageProcessor()


def batches(items):
    items = iter(items)
    while batch := list(islice(items, BATCH)):
        if len(batch) == BATCH:
            yield batch


def main():
    implementation, folder, cores = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    from PIL import Image

    processor = load(implementation)
    files = sorted(folder.iterdir())[: 3 * BATCH]
    logging.disable()
    decoded = [Image.open(file).convert("RGB") for file in files]
    inside = 0.0
    resize = Image.Image.resize

    def timed(*arguments, **options):
        nonlocal inside
        began = time.perf_counter()
        try:
            return resize(*arguments, **options)
        finally:
            inside += time.perf_counter() - began

    Image.Image.resize = timed
    idle = peak()
    processor(decoded[:BATCH], return_tensors="np")  # warm
    for line in sys.stdin:
        what = line.strip()
        inside = 0.0
        began = time.perf_counter()
        if what == "decoded":
            for batch in batches(decoded):
                processor(batch, return_tensors="np")
        else:
            for batch in batches(files):
                # transformers takes no paths: there, the caller opens the files
                opened = batch if implementation == "ours" else [Image.open(file).convert("RGB") for file in batch]
                processor(opened, return_tensors="np")
        took = time.perf_counter() - began
        print(json.dumps({"seconds": took, "resize": inside / took / cores, "peak": peak() - idle}), flush=True)


if __name__ == "__main__":
    main()
