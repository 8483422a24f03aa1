"""The tokenizer of OpenAI's DALL-E at its published size against their package, in one run.

    python benchmarks/tokenizer.py [FOLDER]

Pixels of real pictures (random ones if there is no folder), 112 to a side, become visual tokens on a CPU in float32.
Both implementations hold the same random weights and take turns, each in a process and an environment of its own; the
median of several rounds counts, and the tokens must be identical. Ratios hold, times are those of one machine. Writes
results/tokenizer.json.
"""

import statistics
import subprocess
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from about import write_result
from peers import ROOT, Worker

ROUNDS = {8: 5, 32: 3}  # of each size of batch
WANTED = 1.2
SIDE = 112
DALL_E = "0.1"
RESULT = Path(__file__).parent / "results" / "tokenizer.json"
WORKER = Path(__file__).parent / "tokenizer_worker.py"
PICTURES = ROOT.parent / "shared" / "data" / "imagenet_samples"


def python_of_dall_e():
    """Return the interpreter of an environment with OpenAI's package and the same torch as ours."""
    folder = ROOT / ".interop" / "dall_e"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    if subprocess.run([python, "-c", "import dall_e, numpy"], capture_output=True).returncode:
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", "constraints.txt"]
        subprocess.run([*install, f"torch=={torch.__version__}", "numpy", "attrs", "requests"], check=True, cwd=ROOT)
        # it asks for torchvision, mypy and pytest as well, none of which its modules import
        subprocess.run([*install, "--no-deps", f"DALL-E=={DALL_E}"], check=True, cwd=ROOT)
    return python


def pixels_of(folder, count):
    """Return pixels (count, 3, SIDE, SIDE) in [0, 1], and what they are of."""
    if not folder.is_dir():
        return np.random.default_rng(0).random((count, 3, SIDE, SIDE), dtype=np.float32), "random pixels"
    files = islice(cycle(sorted(folder.iterdir())), count)
    pictures = [np.asarray(Image.open(file).convert("RGB").resize((SIDE, SIDE))) for file in files]
    return np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32) / 255, "real pictures"


def measure(pythons, folder, cores, batch):
    """Return what both implementations took and held, and in how many tokens they differ."""
    workers = {name: Worker(python, WORKER, name, folder, cores) for name, python in pythons.items()}
    answers = {name: [] for name in workers}
    for _ in range(ROUNDS[batch]):
        for name, worker in workers.items():
            answers[name].append(worker.ask(batch))
    for worker in workers.values():
        worker.close()
    tokens = {name: np.load(folder / f"{name}.npy") for name in workers}
    measured = {
        name: {
            "pictures_per_second": round(batch / statistics.median(answer["seconds"] for answer in given), 3),
            "seconds": round(statistics.median(answer["seconds"] for answer in given), 3),
            "spread": [round(min(a["seconds"] for a in given), 3), round(max(a["seconds"] for a in given), 3)],
            "peak": given[-1]["peak"],  # of all rounds, weights included
        }
        for name, given in answers.items()
    }
    return measured, int((tokens["ours"] != tokens["dall_e"]).sum()), tokens["ours"].size


def verdict(met):
    return "met" if met else "MISSED"


def main():
    chosen = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES
    pixels, kind = pixels_of(chosen, max(ROUNDS))
    pythons = {"ours": sys.executable, "dall_e": python_of_dall_e()}
    cases, missed = {}, False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "pixels.npy", pixels)
        subprocess.run([pythons["dall_e"], WORKER, "make", folder, "2"], check=True)
        for cores in (1, 2):
            for batch in ROUNDS:
                measured, differing, tokens = measure(pythons, folder, cores, batch)
                ours, theirs = measured["ours"], measured["dall_e"]
                ratio = round(theirs["seconds"] / ours["seconds"], 2)
                memory = round(ours["peak"] / theirs["peak"], 2)
                case = f"{cores} core{'s' * (cores > 1)}, batch of {batch}"
                print(
                    f"{case:<24}{ours['pictures_per_second']:.2f} pictures per second, {ratio:.2f}x DALL-E {DALL_E}   "
                    f"(wanted {WANTED}x: {verdict(ratio >= WANTED)})   seconds: ours {ours['spread']}, theirs "
                    f"{theirs['spread']}"
                )
                print(
                    f"{'':<24}peak memory with the weights: {ours['peak'] / 2**20:.0f} MiB, {memory:.2f} of theirs   "
                    f"(wanted at most 1: {verdict(memory <= 1)})   tokens that differ: {differing} of {tokens}",
                    flush=True,
                )
                missed |= bool(differing)
                cases[case] = {"ratio": ratio, "memory": memory, "differing": differing, "measured": measured}
    write_result(RESULT, {"DALL-E": DALL_E, "rounds": ROUNDS, "pixels": kind, "cases": cases}, "torch")
    if missed:
        raise SystemExit("the tokens differ, so the times compare nothing")


if __name__ == "__main__":
    main()
