"""Scaling of our model's cost: seconds and peak memory against tokens, pictures and layers.

    python benchmarks/cost.py

A classifier of width 192, forward and in a training step with AdamW, float32, on all cores. One size varies at a time
from the base point of 196 tokens, 8 pictures and 6 layers; every point is a process of its own, whose peak memory is
counted over what it held idle. A line is fitted to the logarithms: its slope is the exponent of the growth. Writes
results/cost.json and cost.png in about four minutes; `--quick` does the same.
"""

import statistics
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from about import write_result
from peers import ask
from ratios import parser
from records import hand_over

RESULTS = Path(__file__).parent / "results"
WORKER = Path(__file__).parent / "cost_worker.py"
PATCH = 16
BASE = {"tokens": 196, "batch": 8, "depth": 6}
AXES = {"tokens": (196, 400, 784, 1600), "batch": (1, 2, 4, 8, 16, 32, 64), "depth": (3, 6, 12, 24)}
KINDS = {"forward": "forward", "step": "training step"}
EXPECTED = {
    "tokens": "between 1, as the matrix products of the layers grow, and 2, as attention does",
    "batch": "1, and less where a part of the cost is the same for any batch, as the weights are",
    "depth": "1, and less where a part of the cost is the same for any depth, as what a forward keeps is",
}
COSTS = {"seconds": "seconds", "mebibytes": "peak MiB"}
COLOURS = {"forward": "tab:blue", "step": "tab:orange"}


def measured(kind, point, known):
    """Return median seconds and peak memory of one kind of work at one point, measured if not known."""
    key = (kind, *point.values())
    if key not in known:
        side = PATCH * round(point["tokens"] ** 0.5)
        answer = ask(sys.executable, WORKER, kind, str(side), str(point["batch"]), str(point["depth"]))
        known[key] = {"seconds": statistics.median(answer["seconds"]), "mebibytes": answer["peak"] / 2**20}
        print(f"{KINDS[kind]:<14} {point['tokens']:5} tokens {point['batch']:3} pictures {point['depth']:3} layers   "
              f"{known[key]['seconds']:8.3f} s {known[key]['mebibytes']:8.0f} MiB", flush=True)  # fmt: skip
    return known[key]


def fitted(sizes, costs):
    """Return the exponent of a power law and its standard error, and the law itself."""
    (slope, constant), covariance = np.polyfit(np.log(sizes), np.log(costs), 1, cov=True)
    line = np.exp(constant) * np.asarray(sizes, float) ** slope
    return {"exponent": round(float(slope), 3), "error": round(float(covariance[0, 0]) ** 0.5, 3)}, line


def sweep(known):
    """Return, by axis and kind, the sizes, what they cost and the fitted exponents."""
    costs_by_axis = {}
    for axis, sizes in AXES.items():
        for kind in KINDS:
            points = [measured(kind, BASE | {axis: size}, known) for size in sizes]
            costs = {cost: [point[cost] for point in points] for cost in COSTS}
            exponents = {cost: fitted(sizes, values)[0] for cost, values in costs.items()}
            costs_by_axis.setdefault(axis, {})[kind] = {"sizes": list(sizes), **costs, "exponents": exponents}
    return costs_by_axis


def report(costs_by_axis):
    """Print the exponents, and what they mean."""
    for axis, kinds in costs_by_axis.items():
        print(f"\n{axis}: the exponent should be {EXPECTED[axis]}")
        for kind, one in kinds.items():
            for cost, fit in one["exponents"].items():
                print(f"  {KINDS[kind]:<14} {cost:<10} {fit['exponent']:5.2f} ± {fit['error']:.2f}   twice the {axis} "
                      f"take {2 ** fit['exponent']:.2f} times the {cost}")  # fmt: skip


def draw(costs_by_axis, path):
    """Draw every cost against every axis, both logarithmic, with the fitted lines."""
    figure = Figure(figsize=(12, 7), layout="constrained")
    panels = figure.subplots(len(COSTS), len(costs_by_axis))
    for row, cost in zip(panels, COSTS, strict=True):
        for ax, (axis, kinds) in zip(row, costs_by_axis.items(), strict=True):
            for kind, one in kinds.items():
                fit, line = fitted(one["sizes"], one[cost])
                label = f"{KINDS[kind]}: {fit['exponent']:.2f} ± {fit['error']:.2f}"
                ax.plot(one["sizes"], one[cost], "o", color=COLOURS[kind])
                ax.plot(one["sizes"], line, color=COLOURS[kind], label=label)
            ax.set_xscale("log", base=2)
            ax.set_yscale("log")
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_formatter("")
            ax.set_xticks(one["sizes"], [str(size) for size in one["sizes"]])
            ax.set_xlabel(axis)
            ax.set_ylabel(COSTS[cost])
            ax.grid(alpha=0.3)
            ax.legend(title="exponent", fontsize=8)
    figure.savefig(path, dpi=110)


def main():
    given = parser(__doc__).parse_args()
    costs_by_axis = sweep({})
    report(costs_by_axis)
    write_result(RESULTS / "cost.json", {"base": BASE, "width": 192, "axes": costs_by_axis}, "torch")
    draw(costs_by_axis, RESULTS / "cost.png")
    hand_over(given, [], "torch")  # there is no peer


if __name__ == "__main__":
    main()
