"""Tokenizer of OpenAI's DALL-E at its published size against their package, in one run.

    python benchmarks/tokenizer.py [FOLDER]

Pixels of real pictures, 112 to a side, become visual tokens on a CPU in float32.
Both implementations hold the same random weights and take turns, each in a process and an environment of its own; the
median of several rounds counts, and the tokens must be identical. Ratios hold, times are those of one machine.
Recorded in results/bench. `--quick` leaves out the larger batch.
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

from peers import ROOT, Worker
from pictures import photographs
from ratios import parser, share, speed
from records import finish

ROUNDS, QUICK_ROUNDS = {8: 5, 32: 3}, {8: 4}  # of each size of batch
WANTED = 1.2
SIDE = 112
DALL_E = "0.1"
WORKER = Path(__file__).parent / "tokenizer_worker.py"


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
    """Return pixels (count, 3, SIDE, SIDE) in [0, 1]."""
    files = islice(cycle(sorted(folder.iterdir())), count)
    pictures = [np.asarray(Image.open(file).convert("RGB").resize((SIDE, SIDE))) for file in files]
    return np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32) / 255


def measure(pythons, folder, cores, batch, rounds):
    """Return the answers of both implementations, one per round, and in how many of how many tokens they differ."""
    workers = {name: Worker(python, WORKER, name, folder, cores) for name, python in pythons.items()}
    answers = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            answers[name].append(worker.ask(batch))
    for worker in workers.values():
        worker.close()
    tokens = {name: np.load(folder / f"{name}.npy") for name in workers}
    return answers, int((tokens["ours"] != tokens["dall_e"]).sum()), tokens["ours"].size


def compared(case, answers):
    """Return the ratios of one case: speed, and peak memory with the weights."""
    what, against = f"DALL-E's tokens, {case}", f"DALL-E {DALL_E}"
    seconds = ([answer["seconds"] for answer in answers[name]] for name in ("ours", "dall_e"))
    peaks = ([answers[name][-1]["peak"]] for name in ("ours", "dall_e"))  # of all rounds, weights included
    return speed(what, against, *seconds, WANTED), share(f"{what}: memory", against, *peaks, "MiB", 1.0)


def summary(given, batch):
    """Return the median and the extremes of one implementation's answers."""
    seconds = [answer["seconds"] for answer in given]
    return {
        "pictures_per_second": round(batch / statistics.median(seconds), 3),
        "seconds": round(statistics.median(seconds), 3),
        "spread": [round(min(seconds), 3), round(max(seconds), 3)],
        "peak": given[-1]["peak"],
    }


def main():
    options = parser(__doc__)
    options.add_argument("folder", nargs="?", type=Path, help="of pictures")
    given = options.parse_args()
    chosen, kind = (given.folder, "those named") if given.folder else photographs()
    rounds = QUICK_ROUNDS if given.quick else ROUNDS
    pythons = {"ours": sys.executable, "dall_e": python_of_dall_e()}
    ratios, cases = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "pixels.npy", pixels_of(chosen, max(rounds)))
        subprocess.run([pythons["dall_e"], WORKER, "make", folder, "2"], check=True)
        for cores in (1, 2):
            for batch in rounds:
                case = f"{cores} core{'s' * (cores > 1)}, batch of {batch}"
                answers, differing, tokens = measure(pythons, folder, cores, batch, rounds[batch])
                if differing:
                    raise SystemExit(f"{differing} of {tokens} tokens differ, so the times compare nothing")
                faster, smaller = compared(case, answers)
                print(faster, smaller, sep="\n", flush=True)
                measured = {name: summary(given, batch) for name, given in answers.items()}
                cases[case] = {
                    "ratio": round(faster.median, 2),
                    "memory": round(smaller.median, 2),
                    "differing": differing,
                    "measured": measured,
                }
                ratios += [faster, smaller]
    numbers = {"DALL-E": DALL_E, "rounds": rounds, "pixels": kind, "cases": cases}
    return finish(given, ratios, "tokenizer", numbers, "torch")


if __name__ == "__main__":
    sys.exit(main())
