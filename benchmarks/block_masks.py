"""How long do 1,024 block-wise masks take, together and one by one?

    python benchmarks/block_masks.py

The two are alternated in one process; ratios hold, times are those of one machine. Writes results/block_masks.json.
"""

import statistics
import time
from pathlib import Path

import numpy as np

from about import write_result
from beit.geometry import Grid, block_masks

GRID, COUNT, MASKS, ROUNDS = Grid(14, 14), 75, 1024, 7
RESULT = Path(__file__).parent / "results" / "block_masks.json"


def seconds(function):
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def generators():
    return [np.random.Generator(np.random.Philox(number)) for number in range(MASKS)]


def main():
    ways = {
        "one generator for all": lambda: block_masks(GRID, COUNT, np.random.default_rng(0), batch=MASKS),
        "one generator per mask": lambda: block_masks(GRID, COUNT, generators()),
        "one call per mask": lambda: [
            block_masks(GRID, COUNT, rng) for rng in map(np.random.default_rng, range(MASKS))
        ],
    }
    times = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, function in ways.items():
            times[name].append(seconds(function))
    medians = {name: statistics.median(values) for name, values in times.items()}
    slowest = medians["one call per mask"]
    for name, median in medians.items():
        print(f"{name:<24}{1000 * median:8.1f} ms for {MASKS} masks   {slowest / median:5.1f}x")
    milliseconds = {name: round(1000 * value, 1) for name, value in medians.items()}
    write_result(RESULT, {"milliseconds_median": milliseconds, "masks": MASKS, "rounds": ROUNDS}, "numpy")


if __name__ == "__main__":
    main()
