"""Ablations of the paper's choices, one at a time: short pre-trainings on CIFAR-10, tuned with 10 % of the labels.

    python benchmarks/ablations.py [--tokenizer PATH]

Every variant is pre-trained by recipes/pretrain_cifar10_tiny.yaml for STEPS steps, but for one choice, and fine-tuned
with three seeds by short_classifiers.py with 10 % of the labels (about two hours of one core; stopped, it continues).
The discrete VAE is trained first unless one is named. The test pictures are read once, after all trainings. Writes
results/ablations.json.
"""

import argparse
import sys
from pathlib import Path

from about import write_result
from cifar10 import PER_CLASS, TRAIN, spread
from peers import ROOT
from short_classifiers import NEW, SEEDS, SETTINGS, classifier, measure_on_test
from short_classifiers import STEPS as TUNING_STEPS
from trainings import tokenizer, train

RUNS = ROOT / "runs" / "ablations"
RESULT = Path(__file__).parent / "results" / "ablations.json"
SHARE, STEPS = "10%", 300
TOKENS, PIXELS = ["-m", "beit", "pretrain"], ["benchmarks/pretrain_pixels.py"]
VARIANTS = {
    "BEiT": (TOKENS, []),
    "random masks instead of blocks": (TOKENS, ["--mask.kind=random"]),
    "pixels instead of visual tokens": (PIXELS, []),
    "absolute positions instead of relative": (TOKENS, ["--model.positions=absolute"]),
    "no layer scale": (TOKENS, ["--model.layer_scale_init_value=0"]),
}
NOTHING = "no pre-training"


def folder_of(name, *more):
    """Return the run folder of a pre-training, or of one that starts from it."""
    return RUNS / "_".join([*name.lower().split(), *map(str, more)])


def pretraining(name, tokens):
    """Return the arguments of a pre-training."""
    program, options = VARIANTS[name]
    return [
        *program, "recipes/pretrain_cifar10_tiny.yaml", f"--data.path={TRAIN}",
        f"--tokenizer.path={tokens}", f"--train.max_steps={STEPS}", "--run.precision=bf16", "--run.save_every=50",
        *options,
    ]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokenizer", type=Path, help="a trained tokenizer; default: one is trained first")
    tokens = parser.parse_args().tokenizer or tokenizer(RUNS / "tokenizer", TRAIN)
    losses = train([(folder_of(name), pretraining(name, tokens)) for name in VARIANTS])
    starts = {name: [f"--checkpoint={folder_of(name) / 'model'}"] for name in VARIANTS} | {NOTHING: NEW}
    kinds = [(name, seed) for seed in SEEDS for name in starts]
    train([(folder_of(*kind), classifier(SHARE, kind[1], starts[kind[0]])) for kind in kinds])
    accuracy = {kind: measure_on_test(folder_of(*kind)) for kind in kinds}
    rows = {name: spread([accuracy[name, seed] for seed in SEEDS]) for name in starts}
    for name, result in zip(VARIANTS, losses, strict=True):
        rows[name]["pretraining"] = result
    settings = {
        "pretraining_steps": STEPS,
        "per_class": PER_CLASS[SHARE],
        "steps": TUNING_STEPS[SHARE],
        "finetuning": SETTINGS,
    }
    write_result(RESULT, {"accuracy": rows, "settings": settings}, "torch", "numpy", "Pillow")
    print(f"{'':<42}{'test accuracy':>16}{'to BEiT':>10}")
    for name, row in rows.items():
        less = 100 * (row["mean"] - rows["BEiT"]["mean"])
        print(f"{name:<42}{row['mean']:>9.1%} ± {row['std']:.1%}{less:>+10.1f}")


if __name__ == "__main__":
    sys.exit(main())
