"""Ranks of six short pre-trainings on CIFAR-10 by the quality monitor, beside those of fine-tuning.

    python benchmarks/monitor_ranking.py

Each pre-training of recipes/pretrain_cifar10_nano.yaml is cut to 400 steps and has one setting changed; its model is
fine-tuned with 10 % of the labels, with equal settings. The accuracy on held-out training pictures is compared with the
monitor's best numbers (kNN and ridge probe of the best layer at the end of the pre-training) by Spearman's rank
correlation; the test pictures are not read. Stopped, it continues. Writes results/monitor_ranking.json.
"""

import argparse
import json
import sys
from pathlib import Path

from scipy.stats import spearmanr

from about import write_result
from cifar10 import TRAIN
from peers import ROOT
from short_classifiers import classifier
from trainings import train

RESULT = Path(__file__).parent / "results" / "monitor_ranking.json"
STEPS, WANTED = 400, 0.8
RUNS = {
    "as in the recipe": {},
    "a quarter of the steps": {"train.max_steps": STEPS // 4},
    "a tenth of the steps": {"train.max_steps": STEPS // 10},
    "AdamW": {"optim.name": "adamw", "optim.lr": 1.5e-3},
    "a hundredth of the rate": {"optim.lr": 6e-5},
    "half of the patches masked": {"mask.count": 32},
}
START = {"optim.name": "muon", "optim.lr": 6e-3, "optim.layer_decay": 0.9}  # of fine-tuning: what the headline takes


def pretraining(tokens, settings):
    """Return the arguments of one pre-training."""
    values = {
        "data.path": TRAIN,
        "tokenizer.path": tokens / "model",
        "train.max_steps": STEPS,
        "optim.warmup_steps": 20,
        "run.precision": "auto",
        "run.report": "false",
        **settings,
    }
    options = (f"--{name}={value}" for name, value in values.items())
    return ["-m", "beit", "pretrain", "recipes/pretrain_cifar10_nano.yaml", *options]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "monitor_ranking", help="where everything is kept")
    runs = parser.parse_args().runs.resolve()
    tokens = runs / "tokenizer"
    train([(tokens, ["-m", "beit", "tokenizer", "cluster", "recipes/kmeans_cifar10.yaml", f"--data.path={TRAIN}"])])
    folders = {name: runs / "_".join(name.replace(",", "").split()) for name in RUNS}
    watched = train((folders[name], pretraining(tokens, settings)) for name, settings in RUNS.items())
    start = [f"--{name}={value}" for name, value in START.items()]
    tuned = train(
        (folder.with_name(f"{folder.name}_tuned"),
         [*classifier("10%", 0, [f"--checkpoint={folder / 'model'}"]), *start])
        for folder in folders.values()
    )  # fmt: skip
    found = {
        name: {"knn": numbers["knn"], "ridge": numbers["ridge"], "fine_tuned": result["accuracy"]}
        for name, numbers, result in zip(RUNS, watched, tuned, strict=True)
    }
    reached = [one["fine_tuned"] for one in found.values()]
    ranks = {
        probe: float(spearmanr([one[probe] for one in found.values()], reached).statistic) for probe in ("knn", "ridge")
    }
    print(json.dumps({"runs": found, "spearman": ranks}, indent=1))
    write_result(RESULT, {"steps": STEPS, "runs": found, "spearman": ranks, "wanted": WANTED}, "torch", "scikit-learn")
    missed = [name for name, value in ranks.items() if value < WANTED]
    return f"wanted and not met: a rank correlation of {WANTED} by {', '.join(missed)}" if missed else 0


if __name__ == "__main__":
    sys.exit(main())
