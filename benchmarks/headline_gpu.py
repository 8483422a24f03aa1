"""The headline after ten minutes of pre-training on a GPU: the table of headline.py, of a larger model.

    python benchmarks/headline_gpu.py                                # 9 layers of 256, ten minutes, and the table
    python benchmarks/headline_gpu.py --size 12x192 --minutes 10     # the other size
    python benchmarks/headline_gpu.py --parts probes --shares 1,10   # some of the table, as headline.py takes it
    python benchmarks/headline_gpu.py --tiny --parts finetune        # all in small, also on a CPU

Batches of 1,024 in bf16, compiled; pictures are decoded once and cropped on the GPU, and everything random about one is
a function of (seed, epoch, index). Some steps measure the speed first, so that the pre-training takes as long as it is
given. Stopped, it continues.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import torch

import headline
from about import write_result
from cifar10 import TRAIN
from headline_trainings import RECIPES, pretraining
from peers import ROOT
from trainings import lines, train

RESULT = Path(__file__).parent / "results" / "headline_gpu.json"
SIZES = {  # layers, width, heads
    "9x256": (9, 256, 4),
    "12x192": (12, 192, 3),
}
BATCH, PILOT_STEPS = 1024, 100
WARMUP = 0.05  # of the steps
TINY = ["--model.num_hidden_layers=2", "--model.hidden_size=32", "--model.num_attention_heads=2", "--run.device=cpu",
        "--model.intermediate_size=64", "--train.batch_size=16", "--run.precision=fp32", "--train.compile=false",
        "--monitor.every=0", "--validation.every=0", "--data.workers=0", "--gallery.pictures=0"]  # fmt: skip
TINY_TOKENIZER = ["--clustering.windows=20000", "--clustering.epochs=1"]
TINY_STEPS, TINY_TRIAL = 4, ["--trial=0.001", "--shares=1"]


def arguments(size, tokenizer, steps, tiny):
    """Return the arguments of a pre-training of so many steps."""
    layers, width, heads = SIZES[size]
    options = {
        "data.path": TRAIN,
        "data.workers": "auto",
        "data.keep_decoded": "true",
        "augment.device": "model",
        "tokenizer.path": tokenizer,
        "model.num_hidden_layers": layers,
        "model.hidden_size": width,
        "model.num_attention_heads": heads,
        "model.intermediate_size": 4 * width,
        "optim.lr": "auto",
        "optim.warmup_steps": int(WARMUP * steps),
        "train.batch_size": BATCH,
        "train.max_steps": steps,
        "train.compile": "true",
        "run.precision": "bf16",
    }
    own = [f"--{name}={value}" for name, value in options.items()]
    return ["-m", "beit", "pretrain", RECIPES["pretraining"], *own, *(TINY if tiny else [])]


def pretrained(given):
    """Return the run folder of the pre-training, after running what is missing."""
    place, tokenizer = given.runs / given.size, given.tokenizer
    if tokenizer is None:
        clustering = ["-m", "beit", "tokenizer", "cluster", RECIPES["tokenizer"], f"--data.path={TRAIN}"]
        train([(place / "tokenizer", [*clustering, *(TINY_TOKENIZER if given.tiny else [])])])
        tokenizer = place / "tokenizer" / "model"
    pilot = TINY_STEPS if given.tiny else PILOT_STEPS
    train([(place / "pilot", arguments(given.size, tokenizer, pilot, given.tiny))])
    rate = last_line(place / "pilot")[0]["images_per_second"]
    steps = TINY_STEPS if given.tiny else max(1, round(60 * given.minutes * rate / BATCH))
    print(f"{rate:,.0f} pictures a second: {steps:,} steps in {given.minutes:g} minutes", flush=True)
    train([(place / "pretraining", arguments(given.size, tokenizer, steps, given.tiny))])
    return place / "pretraining"


def last_line(run):
    """Return the last line of a training's metrics, and its step."""
    line = lines(run, "train")[-1]
    return line, line["step"]


def options():
    """Return the parsed command line, and what is for headline.py."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="9x256", help="layers x width; default: %(default)s")
    parser.add_argument("--minutes", type=float, default=10.0, help="of pre-training; default: %(default)s")
    parser.add_argument("--tokenizer", help="folder or name of the tokenizer; default: one is fitted first")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "headline_gpu", help="where everything is kept")
    parser.add_argument("--tiny", action="store_true", help="all in small, also without a GPU; no test pictures")
    given, rest = parser.parse_known_args()
    if not given.tiny and not torch.cuda.is_available():
        parser.error("there is no GPU; --tiny runs everything in small on a CPU")
    given.runs = (given.runs / "tiny" if given.tiny else given.runs).resolve()
    return given, rest


def main():
    given, rest = options()
    before, runs = pretrained(given), given.runs / given.size
    table = [sys.executable, headline.__file__, f"--pretrained={before}", f"--runs={runs}", *rest]
    status = subprocess.run([*table, *(TINY_TRIAL if given.tiny else [])], cwd=ROOT).returncode
    if status or given.tiny:
        return status
    numbers = headline.report(runs, pretraining(before, runs))
    write_result(
        RESULT, {"gpu": torch.cuda.get_device_name(), "size": given.size, **numbers}, "torch", "numpy", "Pillow"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
