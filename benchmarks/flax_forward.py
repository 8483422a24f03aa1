"""Flax model against that of transformers 4.37.2, the last series with Flax, and against our own torch path.

    python benchmarks/flax_forward.py

A base classifier at 224 pixels, float32, jitted, batch 1 and 8, all cores, with the same weights. The peer has an
environment of its own, with the jax of its time; the three take turns, a process each, and the median counts. Beside
it: the share of the rate that matrix products of the model's own sizes reach in jax here, the compile time, and a
training step of eight pictures in both of our frameworks. Recorded in results/bench. `--quick` takes fewer rounds.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from peers import ROOT, Worker
from ratios import parser, speed
from records import finish

WORKER = Path(__file__).parent / "flax_forward_worker.py"
PEER = ("transformers==4.37.2", "jax==0.4.23", "jaxlib==0.4.23", "flax==0.8.0", "numpy<2", "scipy<1.13")
LEAST_SPEED, LEAST_SHARE, LEAST_STEP = 1.2, 0.8, 1.0
ROUNDS = {"forward 1": 15, "forward 8": 9, "step": 5}
QUICK_ROUNDS = {"forward 1": 9, "forward 8": 5, "step": 3}
AGAINST = "transformers 4.37.2, jax 0.4.23"


def peer_python():
    """Return the interpreter of the peer's environment, made if need be."""
    folder = ROOT / ".interop" / "flax"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    if subprocess.run([python, "-c", "import transformers, flax"], capture_output=True).returncode:
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEER], check=True)
    return python


def rounds(workers, what, count):
    """Return the seconds that each worker takes for something, in turns."""
    names = [name for name in workers if what != "step" or name != "theirs"]
    times = {name: [] for name in names}
    for _ in range(count):
        for name in names:
            times[name].append(workers[name].ask(what)["seconds"])
    return times


def measure(counts):
    """Return each worker's report on its first calls, all seconds in turns, and the rate of matrix products."""
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, WORKER, "save", folder, str(cores)], check=True)
        pythons = {"ours": sys.executable, "theirs": peer_python(), "torch": sys.executable}
        workers = {name: Worker(python, WORKER, name, folder, cores) for name, python in pythons.items()}
        warm = {name: worker.ask("warm") for name, worker in workers.items()}
        times = {what: rounds(workers, what, count) for what, count in counts.items()}
        product = max(workers["ours"].ask("product")["rate"] for _ in range(5))
        for worker in workers.values():
            worker.close()
    return warm, times, product


def compared(warm, times, product):
    """Return the ratios: against the peer, matrix products alone, and our own torch path."""
    ratios = {}
    for batch in (1, 8):
        what, took = f"Flax forward, batch {batch}", times[f"forward {batch}"]
        alone = [batch * warm["ours"]["flops"] / product] * len(took["ours"])
        least = LEAST_SHARE if batch == 8 else None
        ratios[f"peer {batch}"] = speed(what, AGAINST, took["ours"], took["theirs"], LEAST_SPEED)
        ratios[f"products {batch}"] = speed(what, "its matrix products alone", took["ours"], alone, least)
        ratios[f"torch {batch}"] = speed(what, "our model in PyTorch", took["ours"], took["torch"])
    step = times["step"]
    ratios["step"] = speed(
        "Flax training step, batch 8", "our model in PyTorch", step["ours"], step["torch"], LEAST_STEP
    )
    return ratios


def main():
    given = parser(__doc__).parse_args()
    warm, times, product = measure(QUICK_ROUNDS if given.quick else ROUNDS)
    ratios = compared(warm, times, product)
    print(*ratios.values(), sep="\n")
    speeds = {batch: ratios[f"peer {batch}"].median for batch in (1, 8)}
    shares = {batch: ratios[f"products {batch}"].median for batch in (1, 8)}
    bounds = {batch: speeds[batch] / shares[batch] for batch in (1, 8)}
    print(f"with nothing but matrix products, at their rate in jax, it would be {bounds[1]:.2f}x and {bounds[8]:.2f}x")
    compiling = {name: warm[name]["compile"] for name in ("ours", "theirs")}
    print(f"first call at batch 8: ours {compiling['ours']:.1f} s, theirs {compiling['theirs']:.1f} s")
    difference = abs(warm["ours"]["sum"] - warm["theirs"]["sum"])
    print(f"sum of the absolute scores: differs by {difference:.1e} of {warm['theirs']['sum']:.2f}")
    medians = {
        what: {name: statistics.median(values) for name, values in named.items()} for what, named in times.items()
    }
    numbers = {
        "peer": list(PEER),
        "speed_ratio": {str(batch): round(value, 3) for batch, value in speeds.items()},
        "speed_ratio_of_products_alone": {str(batch): round(value, 3) for batch, value in bounds.items()},
        "share_of_product_rate": {str(batch): round(value, 3) for batch, value in shares.items()},
        "seconds": {what: {name: round(value, 4) for name, value in named.items()} for what, named in medians.items()},
        "first_call_seconds": compiling,
    }
    return finish(given, list(ratios.values()), "flax_forward", numbers, "jax", "flax", "torch")


if __name__ == "__main__":
    sys.exit(main())
