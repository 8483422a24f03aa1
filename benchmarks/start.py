"""Processor time until something happens: help, a mistake, a first answer, a new model.

    python benchmarks/start.py

Each command runs in a process of its own, and its processor seconds count: `beit --help`; `beit pretrain` and `beit
predict` with a path that is not there; `beit predict` of one picture by a tiny model, beside the import of torch alone;
a base model with random weights, beside transformers. Recorded in results/bench. `--quick` takes fewer rounds.
"""

import os
import resource
import subprocess
import sys
import tempfile

from peers import ROOT, TRANSFORMERS, python_of
from ratios import parser, share, speed
from records import finish

ROUNDS, QUICK_ROUNDS = 7, 3
HELP, MISTAKE = 0.5, 2.0  # seconds, at most
MOST_OF_TORCH = 2.0
TORCH = ("-c", "import torch")
TINY = (
    "from beit import BeitForImageClassification, BeitImageProcessor, preset;"
    "import sys; BeitForImageClassification(preset('tiny', num_labels=10)).save_pretrained(sys.argv[1]);"
    "BeitImageProcessor().save_pretrained(sys.argv[1])"
)
BUILD = "from {0} import BeitConfig, BeitForImageClassification as Model; Model(BeitConfig())"
LOAD = "from {0} import BeitConfig, BeitForImageClassification as Model"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}


def seconds(python, arguments, succeeds=True):
    """Return the processor seconds of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([python, *arguments], env=ENVIRONMENT, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if (done.returncode == 0) != succeeds:
        raise SystemExit(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr[-1000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def rounds_of(count, *calls):
    """Return the seconds of each call in each round, after one to warm up."""
    found = [[seconds(*call) for call in calls] for _ in range(1 + count)]
    return [list(times) for times in zip(*found[1:], strict=True)]


def built(python, package, count):
    """Return the seconds that a base model with random weights takes, without those of importing it."""
    both = rounds_of(count, (python, ("-c", BUILD.format(package))), (python, ("-c", LOAD.format(package))))
    return [max(whole - imported, 1e-3) for whole, imported in zip(*both, strict=True)]


def main():
    given = parser(__doc__).parse_args()
    count, own, peer = QUICK_ROUNDS if given.quick else ROUNDS, sys.executable, python_of(TRANSFORMERS[-1])
    beit = ("-m", "beit")
    with tempfile.TemporaryDirectory() as place:
        model, missing = f"{place}/model", f"{place}/missing"
        subprocess.run([own, "-c", TINY, model], env=ENVIRONMENT, check=True)
        photo = ROOT / "tests" / "golden" / "processor" / "images" / "rgba.png"
        shown, pretraining, predicting, answer, torch = rounds_of(
            count,
            (own, (*beit, "--help")),
            (own, (*beit, "pretrain", f"--data.path={missing}", f"--run.output={place}/run"), False),
            (own, (*beit, "predict", model, missing), False),
            (own, (*beit, "predict", model, str(photo))),
            (own, TORCH),
        )
        ours, theirs = built(own, "beit", count), built(peer, "transformers", count)
    limits = [[HELP] * count, [MISTAKE] * count]
    ratios = [
        share("beit --help", f"a limit of {HELP} s", shown, limits[0], "s", 1.0),
        share("beit pretrain, a missing path", f"a limit of {MISTAKE:.0f} s", pretraining, limits[1], "s", 1.0),
        share("beit predict, a missing path", f"a limit of {MISTAKE:.0f} s", predicting, limits[1], "s", 1.0),
        share("beit predict, one picture, tiny model", "import torch alone", answer, torch, "s", MOST_OF_TORCH),
        speed("base model with random weights", f"transformers {TRANSFORMERS[-1]}", ours, theirs, 1.0),
    ]
    print(*ratios, sep="\n")
    return finish(given, ratios, "start", {"processor_seconds": True})


if __name__ == "__main__":
    sys.exit(main())
