"""Time of 1,024 block-wise masks, drawn together and one by one.

    python benchmarks/block_masks.py

The ways take turns in one process; ratios hold, times are those of one machine. Recorded in results/bench.
"""

import statistics
import sys
import time

import numpy as np

from beit.geometry import Grid, block_masks
from ratios import parser, speed
from records import finish

GRID, COUNT, MASKS, ROUNDS = Grid(14, 14), 75, 1024, 7
SLOWEST = "one call per mask"


def seconds(function):
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def generators():
    return [np.random.Generator(np.random.Philox(number)) for number in range(MASKS)]


def main():
    given = parser(__doc__).parse_args()  # a second a round: --quick takes as many
    ways = {
        "one generator for all": lambda: block_masks(GRID, COUNT, np.random.default_rng(0), batch=MASKS),
        "one generator per mask": lambda: block_masks(GRID, COUNT, generators()),
        SLOWEST: lambda: [block_masks(GRID, COUNT, rng) for rng in map(np.random.default_rng, range(MASKS))],
    }
    times = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, function in ways.items():
            times[name].append(seconds(function))
    slowest = times[SLOWEST]
    ratios = [
        speed(f"1,024 masks, {name}", f"our own, {SLOWEST}", took, slowest)
        for name, took in times.items()
        if name != SLOWEST
    ]
    print(*ratios, sep="\n")
    milliseconds = {name: round(1000 * statistics.median(took), 1) for name, took in times.items()}
    numbers = {"milliseconds_median": milliseconds, "masks": MASKS, "rounds": ROUNDS}
    return finish(given, ratios, "block_masks", numbers, "numpy")


if __name__ == "__main__":
    sys.exit(main())
