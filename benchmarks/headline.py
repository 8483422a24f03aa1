"""Pre-training against training from scratch: a tiny BEiT on CIFAR-10, with all labels, 10 % and 1 % of them.

    python benchmarks/headline.py [--pretrained MODEL]

The pictures are those of ../shared/data/cifar10. Pre-trains by recipes/pretrain_cifar10_tiny.yaml, on the 50,000
training pictures without their labels, unless a model that it made is named; then trains 18 classifiers, three seeds of
each kind, which differ in nothing but where they start (about three hours of one core; stopped, it continues). The
10,000 test pictures are measured once, after each training. Writes results/headline.json and headline.png.
"""

import argparse
import sys
from pathlib import Path
from statistics import mean, stdev

from matplotlib.figure import Figure

from about import write_result
from peers import ROOT
from trainings import lines, train

PICTURES = ROOT.parent / "shared" / "data" / "cifar10"
RUNS = ROOT / "runs" / "headline"
RESULTS = Path(__file__).parent / "results"
SEEDS = (0, 1, 2)
# per share of the labels: labelled pictures per class, and steps
SHARES = {"100%": (5000, 300), "10%": (500, 240), "1%": (50, 160)}
ARMS = ("pretrained", "scratch")
COLOURS = {"pretrained": "tab:blue", "scratch": "tab:orange"}
NEW = ["--checkpoint=null", "--model.size=tiny", "--model.patch_size=4"]
# Milder than the recipe, whose run is ten times as long; no layer-wise decay, which would hold back a new model.
SETTINGS = {
    "mixing.cutmix": 0,
    "train.ema_decay": "null",
    "train.batch_size": 64,
    "optim.lr": 1e-3,
    "optim.layer_decay": 1.0,
    "optim.warmup_steps": 30,
    "run.precision": "bf16",
    "run.log_every": 10,
    "run.save_every": 50,
}


def pretrained_model():
    """Return the model of the recipe's run, after running it if need be."""
    folder, recipe = RUNS / "pretrain", "recipes/pretrain_cifar10_tiny.yaml"
    train([(folder, ["-m", "beit", "pretrain", recipe, f"--data.path={PICTURES / 'train.parquet'}"])])
    return folder / "model"


def classifier(share, seed, start):
    """Return the arguments of one training; `start` are those that say where it starts."""
    per_class, steps = SHARES[share]
    return [
        "-m", "beit", "finetune", "recipes/finetune_cifar10_tiny.yaml", *start,
        f"--data.path={PICTURES / 'train.parquet'}", f"--data.val_path={PICTURES / 'test.parquet'}",
        f"--data.per_class={per_class}", f"--train.max_steps={steps}", f"--run.seed={seed}",
        *(f"--{name}={value}" for name, value in SETTINGS.items()),
    ]  # fmt: skip


def folder_of(arm, share, seed):
    """Return the run folder of one training."""
    return RUNS / f"{arm}_{share.removesuffix('%')}_{seed}"


def spread(values):
    """Return mean and standard deviation of what the seeds gave, and what each gave, in their order."""
    return {"mean": mean(values), "std": stdev(values), "seeds": list(values)}


def smooth(values, width=3):
    """Return means over neighbours, as many as there are."""
    return [mean(values[max(0, i - width) : i + width + 1]) for i in range(len(values))]


def chart(labels):
    """Return a figure: test accuracy by share of the labels, and the training losses."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    first, *others = figure.subplots(1, 1 + len(SHARES))
    for arm, colour in COLOURS.items():
        kinds = [labels[share][arm] for share in SHARES]
        first.errorbar(list(SHARES), [100 * kind["mean"] for kind in kinds], [100 * kind["std"] for kind in kinds],
                       color=colour, marker="o", capsize=4, label=arm)  # fmt: skip
    first.set(title="test accuracy", xlabel="labels", ylabel="%")
    first.invert_xaxis()
    first.legend()
    for axes, share in zip(others, SHARES, strict=True):
        for arm, colour in COLOURS.items():
            for seed in SEEDS:
                training = lines(folder_of(arm, share, seed), "train")
                steps, losses = [line["step"] for line in training], [line["loss"] for line in training]
                axes.plot(steps, smooth(losses), color=colour, linewidth=1)
        axes.set(title=f"training loss, {share} of the labels", xlabel="step")
    for axes in (first, *others):
        axes.grid(alpha=0.3)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pretrained", type=Path, help="a model that the recipe made; default: it is run")
    model = parser.parse_args().pretrained or pretrained_model()
    kinds = [(arm, share, seed) for seed in SEEDS for share in SHARES for arm in ARMS]
    starts = {"pretrained": [f"--checkpoint={model}"], "scratch": NEW}
    runs = [(folder_of(*kind), classifier(*kind[1:], starts[kind[0]])) for kind in kinds]
    results = dict(zip(kinds, train(runs), strict=True))
    labels = {}
    for share in SHARES:
        for arm in ARMS:
            accuracies = [results[arm, share, seed]["accuracy"] for seed in SEEDS]
            labels.setdefault(share, {})[arm] = spread(accuracies)
    settings = {
        "seeds": SEEDS,
        "test_pictures": 10_000,
        "recipes": ["recipes/pretrain_cifar10_tiny.yaml", "recipes/finetune_cifar10_tiny.yaml"],
        "changed": SETTINGS,
        "per_class_and_steps": SHARES,
    }
    write_result(RESULTS / "headline.json", {"labels": labels, "settings": settings}, "torch", "numpy", "Pillow")
    chart(labels).savefig(RESULTS / "headline.png", dpi=80)
    print(f"{'labels':<8}{'pre-trained':>18}{'from scratch':>18}{'ahead':>10}")
    for share, arms in labels.items():
        shown = [f"{arms[arm]['mean']:.1%} ± {arms[arm]['std']:.1%}" for arm in ARMS]
        ahead = 100 * (arms["pretrained"]["mean"] - arms["scratch"]["mean"])
        print(f"{share:<8}{shown[0]:>18}{shown[1]:>18}{ahead:>+10.1f}")
    behind = [share for share, arms in labels.items() if arms["pretrained"]["mean"] <= arms["scratch"]["mean"]]
    return f"pre-training is not ahead with {', '.join(behind)} of the labels" if behind else 0


if __name__ == "__main__":
    sys.exit(main())
