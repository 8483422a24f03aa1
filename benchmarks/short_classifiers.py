"""Short trainings of a tiny classifier on CIFAR-10: a few hundred steps, minutes of one core."""

import json

from beit import BeitForImageClassification
from cifar10 import HELD_OUT, PER_CLASS, TRAIN, accuracy_of
from test_pictures import accuracy_on_test

SEEDS = (0, 1, 2)
STEPS = {"100%": 300, "10%": 240, "1%": 160}  # per share of the labels
NEW = ["--checkpoint=null", "--model.size=tiny", "--model.patch_size=4"]
# Milder than the recipe, whose run is ten times as long; no layer-wise decay, which would hold back a new model.
SETTINGS = {
    "mixing.cutmix": 0,
    "train.ema_decay": "null",
    "train.batch_size": 64,
    "optim.lr": 1e-3,
    "optim.layer_decay": 1.0,
    "optim.warmup_steps": 30,
    "run.precision": "auto",
    "run.log_every": 10,
    "run.save_every": 50,
}


def classifier(share, seed, start):
    """Return the arguments of one training; `start` are those that say where it starts."""
    return [
        "-m", "beit", "finetune", "recipes/finetune_cifar10_tiny.yaml", *start, f"--data.path={TRAIN}",
        f"--data.val_share={HELD_OUT}", f"--data.per_class={json.dumps(PER_CLASS[share])}",
        f"--train.max_steps={STEPS[share]}", f"--run.seed={seed}",
        *(f"--{name}={value}" for name, value in SETTINGS.items()),
    ]  # fmt: skip


def measure_on_test(folder):
    """Return the accuracy of a trained classifier on the test pictures."""
    model = BeitForImageClassification.from_pretrained(folder / "model").eval()
    return accuracy_on_test(folder, lambda *test: accuracy_of(lambda pixels: model(pixels).logits, *test))
