"""Scaling of our model's cost with tokens, pictures and layers, and of the loader's with the size of a collection.

    python benchmarks/cost.py

A classifier of width 192, forward and in a training step with AdamW, float32, on all cores. One size varies at a time
from the base point of 196 tokens, 8 pictures and 6 layers; every point is a process of its own, whose peak memory is
counted over what it held idle. A collection is a folder of CIFAR's size of pictures, which is listed, shuffled, decoded
and stacked for one epoch. A line is fitted to the logarithms: its slope is the exponent of the growth, which stands
beside that of the operations. Writes results/cost.json and cost.png in about ten minutes; `--quick` leaves out the
million pictures, and takes about five.
"""

import statistics
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from about import write_result
from beit import BeitConfig
from beit.tasks.pretrain.cost import forward_flops, training_flops
from peers import ask
from ratios import parser
from records import hand_over

RESULTS = Path(__file__).parent / "results"
WORKER = Path(__file__).parent / "cost_worker.py"
PATCH = 16
WIDTH, HEADS = 192, 3
BASE = {"tokens": 196, "batch": 8, "depth": 6}
AXES = {"tokens": (196, 400, 784, 1600), "batch": (1, 2, 4, 8, 16, 32, 64), "depth": (2, 6, 12, 24)}
COLLECTIONS, QUICK = (10_000, 100_000, 1_000_000), (10_000, 30_000, 100_000)
KINDS = {"forward": "forward", "step": "training step", "epoch": "an epoch through the loader"}
FLOPS = {"forward": forward_flops, "step": training_flops}
COSTS = {"operations": "operations", "seconds": "seconds", "mebibytes": "peak MiB"}
DRAWN = ("seconds", "mebibytes")
COLOURS = {"forward": "tab:blue", "step": "tab:orange", "epoch": "tab:green"}


def side_of(tokens):
    """Return the pixels of a side of a picture of so many patches."""
    return PATCH * round(tokens**0.5)


def operations(kind, point):
    """Return the operations of matrix products at one point; for the loader the number of pictures."""
    if kind == "epoch":
        return float(point["pictures"])
    config = BeitConfig(image_size=side_of(point["tokens"]), num_hidden_layers=point["depth"], hidden_size=WIDTH,
                        num_attention_heads=HEADS, intermediate_size=4 * WIDTH)  # fmt: skip
    return point["batch"] * FLOPS[kind](config, 0)


def measured(kind, point, known):
    """Return operations, median seconds and peak memory of one kind of work at one point, measured if not known."""
    key = (kind, *point.values())
    if key not in known:
        sizes = [side_of(point["tokens"]), point["batch"], point["depth"]] if kind in FLOPS else [point["pictures"]]
        answer = ask(sys.executable, WORKER, kind, *map(str, sizes))
        seconds, mebibytes = statistics.median(answer["seconds"]), answer["peak"] / 2**20
        known[key] = {"operations": operations(kind, point), "seconds": seconds, "mebibytes": mebibytes}
        where = " ".join(f"{value:9,} {axis}" for axis, value in point.items())
        print(f"{KINDS[kind]:<28}{where}   {seconds:9.3f} s {mebibytes:6.0f} MiB", flush=True)
    return known[key]


def fitted(sizes, costs):
    """Return the exponent of a power law and its standard error, and the law itself."""
    (slope, constant), covariance = np.polyfit(np.log(sizes), np.log(costs), 1, cov=True)
    line = np.exp(constant) * np.asarray(sizes, float) ** slope
    return {"exponent": round(float(slope), 3), "error": round(float(covariance[0, 0]) ** 0.5, 3)}, line


def swept(kind, points, sizes, known):
    """Return the sizes, what they cost and the fitted exponents."""
    found = [measured(kind, point, known) for point in points]
    costs = {cost: [one[cost] for one in found] for cost in COSTS}
    return {"sizes": list(sizes), **costs, "exponents": {cost: fitted(sizes, costs[cost])[0] for cost in COSTS}}


def sweep(collections, known):
    """Return, by axis and kind, what was measured."""
    costs_by_axis = {
        axis: {kind: swept(kind, [BASE | {axis: size} for size in sizes], sizes, known) for kind in FLOPS}
        for axis, sizes in AXES.items()
    }
    points = [{"pictures": count} for count in collections]
    return {**costs_by_axis, "pictures": {"epoch": swept("epoch", points, collections, known)}}


def report(costs_by_axis):
    """Print the exponents."""
    for axis, kinds in costs_by_axis.items():
        for kind, one in kinds.items():
            fits = ((COSTS[cost], fit["exponent"], fit["error"]) for cost, fit in one["exponents"].items())
            exponents = ", ".join(f"{name} {exponent:.3f} ± {error:.3f}" for name, exponent, error in fits)
            print(f"{axis:<9}{KINDS[kind]:<28} exponents: {exponents}")


def draw(costs_by_axis, path):
    """Draw every cost against every axis, both logarithmic, with the fitted lines."""
    figure = Figure(figsize=(15, 7), layout="constrained")
    panels = figure.subplots(len(DRAWN), len(costs_by_axis))
    for row, cost in zip(panels, DRAWN, strict=True):
        for ax, (axis, kinds) in zip(row, costs_by_axis.items(), strict=True):
            for kind, one in kinds.items():
                fit, line = fitted(one["sizes"], one[cost])
                label = f"{KINDS[kind]}: {fit['exponent']:.2f} ± {fit['error']:.2f}"
                ax.plot(one["sizes"], one[cost], "o", color=COLOURS[kind])
                ax.plot(one["sizes"], line, color=COLOURS[kind], label=label)
            ax.set_xscale("log", base=10 if axis == "pictures" else 2)
            ax.set_yscale("log")
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_formatter("")
            ax.set_xticks(one["sizes"], [f"{size:,}" for size in one["sizes"]])
            ax.set_xlabel(axis)
            ax.set_ylabel(COSTS[cost])
            ax.grid(alpha=0.3)
            ax.legend(title="exponent", fontsize=8)
    figure.savefig(path, dpi=110)


def main():
    given = parser(__doc__).parse_args()
    costs_by_axis = sweep(QUICK if given.quick else COLLECTIONS, {})
    report(costs_by_axis)
    write_result(RESULTS / "cost.json", {"base": BASE, "width": WIDTH, "axes": costs_by_axis}, "torch")
    draw(costs_by_axis, RESULTS / "cost.png")
    hand_over(given, [], "torch")  # there is no peer


if __name__ == "__main__":
    main()
