"""The Flax model against that of transformers 4.37.2, the last series with Flax, and against our own torch path.

    python benchmarks/flax_forward.py

A base classifier at 224 pixels, float32, jitted, batch 1 and 8, all cores, with the same weights. The peer has an
environment of its own, with the jax of its time; the three take turns, a process each, and the median counts. Beside
it: the share of the rate that matrix products of the model's own sizes reach in jax here, the compile time, and a
training step of eight pictures in both of our frameworks. Writes results/flax_forward.json.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from about import write_result
from peers import ROOT, Worker

RESULT = Path(__file__).parent / "results" / "flax_forward.json"
WORKER = Path(__file__).parent / "flax_forward_worker.py"
PEER = ("transformers==4.37.2", "jax==0.4.23", "jaxlib==0.4.23", "flax==0.8.0", "numpy<2", "scipy<1.13")
LEAST_SPEED, LEAST_SHARE = 1.2, 0.8
ROUNDS = {"forward 1": 15, "forward 8": 9, "step": 3}


def peer_python():
    """Return the interpreter of the peer's environment, made if need be."""
    folder = ROOT / ".interop" / "flax"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    if subprocess.run([python, "-c", "import transformers, flax"], capture_output=True).returncode:
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEER], check=True)
    return python


def rounds(workers, what):
    """Return the seconds that each worker takes for something, in turns."""
    names = [name for name in workers if what != "step" or name != "theirs"]
    times = {name: [] for name in names}
    for _ in range(ROUNDS[what]):
        for name in names:
            times[name].append(workers[name].ask(what)["seconds"])
    return times


def main():
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, WORKER, "save", folder, str(cores)], check=True)
        pythons = {"ours": sys.executable, "theirs": peer_python(), "torch": sys.executable}
        workers = {name: Worker(python, WORKER, name, folder, cores) for name, python in pythons.items()}
        warm = {name: worker.ask("warm") for name, worker in workers.items()}
        times = {what: rounds(workers, what) for what in ROUNDS}
        product = max(workers["ours"].ask("product")["rate"] for _ in range(5))
        for worker in workers.values():
            worker.close()
    medians = {what: {name: statistics.median(values) for name, values in told.items()} for what, told in times.items()}
    ratios, shares = {}, {}
    for batch in (1, 8):
        own = medians[f"forward {batch}"]
        ratios[batch] = own["theirs"] / own["ours"]
        shares[batch] = batch * warm["ours"]["flops"] / own["ours"] / product
        print(f"batch {batch}   ours {own['ours']:.3f} s, theirs {own['theirs']:.3f} s: {ratios[batch]:.2f}x (wanted "
              f"{LEAST_SPEED}x); our torch {own['torch']:.3f} s: {own['torch'] / own['ours']:.2f}x")  # fmt: skip
    bounds = {batch: ratios[batch] / shares[batch] for batch in (1, 8)}
    print(f"with nothing but matrix products, at their rate in jax, it would be {bounds[1]:.2f}x and {bounds[8]:.2f}x")
    print(f"of the rate of matrix products in jax   batch 1 {shares[1]:.2f}, batch 8 {shares[8]:.2f} (wanted "
          f"{LEAST_SHARE})")  # fmt: skip
    compiling = {name: warm[name]["compile"] for name in ("ours", "theirs")}
    print(f"first call at batch 8   ours {compiling['ours']:.1f} s, theirs {compiling['theirs']:.1f} s")
    step = medians["step"]
    print(f"a training step of 8   ours {step['ours']:.2f} s, our torch {step['torch']:.2f} s: "
          f"{step['torch'] / step['ours']:.2f}x")  # fmt: skip
    difference = abs(warm["ours"]["sum"] - warm["theirs"]["sum"])
    print(f"sum of the absolute scores   differs by {difference:.1e} of {warm['theirs']['sum']:.2f}")
    numbers = {
        "peer": list(PEER),
        "speed_ratio": {str(batch): round(value, 3) for batch, value in ratios.items()},
        "speed_ratio_of_products_alone": {str(batch): round(value, 3) for batch, value in bounds.items()},
        "share_of_product_rate": {str(batch): round(value, 3) for batch, value in shares.items()},
        "seconds": {what: {name: round(value, 4) for name, value in told.items()} for what, told in medians.items()},
        "first_call_seconds": compiling,
    }
    write_result(RESULT, numbers, "jax", "flax", "torch")
    met = min(ratios.values()) >= LEAST_SPEED and shares[8] >= LEAST_SHARE
    return 0 if met else "the Flax model is not as fast as wanted"


if __name__ == "__main__":
    sys.exit(main())
