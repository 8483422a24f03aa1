"""Ablations of the paper's choices, one at a time, in short pre-trainings on CIFAR-10 of about equal compute.

    python benchmarks/ablations.py                       # a quarter of the headline's compute: many hours of one core
    python benchmarks/ablations.py --budget 0.0625       # a sixteenth
    python benchmarks/ablations.py --parts probes        # without fine-tuning
    python benchmarks/ablations.py --record              # write what is finished into results/ablations.json

Every variant is recipes/pretrain_cifar10_nano.yaml but for one choice, with three seeds, which draw the labelled
pictures too. Its features are judged with 10 % of the labels by the probes of headline.py, and by fine-tuning as there.
Relative positions are those of whole grids, so they stand beside a model whose encoder sees mask tokens, as the paper's
does; its steps cost more and are fewer. Tokens, and the size of the head, are no part of that: pixels, which need no
tokens and a smaller head, have as many steps as the recipe. Stopped, it continues. The test pictures are read when all
trainings are finished.
"""

import argparse
import json
import sys
from pathlib import Path

from about import write_result
from beit.tasks.pretrain.cost import training_flops
from cifar10 import TRAIN, spread
from headline import RESULT as HEADLINE
from headline import folder_of, judge_of, measure_on_test, run_probe
from headline_trainings import BATCH, CANDIDATES, RECIPES, Packaged, Pretraining, arguments
from peers import ROOT
from trainings import train

RESULT = Path(__file__).parent / "results" / "ablations.json"
SHARE, SEEDS, WARMUP = "10%", (0, 1, 2), 0.05
PROBES, TUNED = ("knn", "linear"), "fine_tuned"
TOKENS, PIXELS = ["-m", "beit", "pretrain"], ["benchmarks/pretrain_pixels.py"]
IN_ENCODER = {"decoder.layers": "null"}
VARIANTS = {  # title: (what it is compared with, program, settings)
    "the recipe": (None, TOKENS, {}),
    "blocks instead of random patches": ("the recipe", TOKENS, {"mask.kind": "block", "mask.exact": "true"}),
    "pixels instead of visual tokens": ("the recipe", PIXELS, {}),
    "with layer scale (0.1)": ("the recipe", TOKENS, {"model.layer_scale_init_value": 0.1}),
    "mask tokens in the encoder": ("the recipe", TOKENS, IN_ENCODER),
    "..., a relative bias in every layer": (
        "mask tokens in the encoder", TOKENS, {**IN_ENCODER, "model.positions": "relative_per_layer"}),
    "..., one relative bias for all layers": (
        "mask tokens in the encoder", TOKENS, {**IN_ENCODER, "model.positions": "relative"}),
}  # fmt: skip


def pretraining_of(runs, title, seed):
    """Return the run folder of a pre-training."""
    return runs / "_".join(["".join(c for c in title if c.isalnum() or c == " ").replace(" ", "_"), str(seed)])


def steps_of(settings, before, budget):
    """Return as many steps as cost this share of a pre-training that there is."""
    layers = 0 if "decoder.layers" in settings else before.recipe["decoder"]["layers"]
    step = BATCH * training_flops(before.config, before.recipe["mask"]["count"], layers)
    return round(budget * before.pflop * 1e15 / step)


def pretraining(title, seed, tokens, before, budget):
    """Return the arguments of a pre-training."""
    _, program, changed = VARIANTS[title]
    steps = steps_of(changed, before, budget)
    values = {
        "data.path": TRAIN,
        "tokenizer.path": tokens / "model",
        "train.max_steps": steps,
        "train.batch_size": BATCH,
        "optim.warmup_steps": round(WARMUP * steps),
        "run.seed": seed,
        "run.report": "false",
        "monitor.every": 0,
        "gallery.pictures": 0,
        **changed,
    }
    return [*program, RECIPES["pretraining"], *(f"--{name}={value}" for name, value in values.items())]


def tuned(runs, title, seed, budget):
    """Return the run folder and the arguments of a fine-tuning."""
    folder = pretraining_of(runs, title, seed)
    settings = CANDIDATES["pretrained"][0]
    return folder / TUNED, arguments("pretrained", SHARE, seed, settings, Pretraining(folder), budget)


def measure(runs, parts, budget):
    """Judge all pre-trainings, which are finished, in the parts that are asked for."""
    kinds = [(title, seed) for seed in SEEDS for title in VARIANTS]
    if "finetune" in parts:
        folders = [tuned(runs, *kind, budget) for kind in kinds]
        train(folders)
        for folder, _ in folders:
            measure_on_test(folder, judge_of("pretrained", folder / "model"))
    if "probes" in parts:
        for title, seed in kinds:
            folder = pretraining_of(runs, title, seed)
            for name in PROBES:
                run_probe(name, folder, SHARE, seed, Pretraining(folder), trial=False)


def reached(runs, title, judge):
    """Return the test accuracies of a variant by one judge; None where a seed is not measured."""
    folders = [pretraining_of(runs, title, seed) for seed in SEEDS]
    own = [
        folder / TUNED if judge == TUNED else folder_of(folder, judge, SHARE, seed)
        for folder, seed in zip(folders, SEEDS, strict=True)
    ]
    files = [folder / "test.json" for folder in own]
    if not all(file.exists() for file in files):
        return None
    return spread(json.loads(file.read_text())["accuracy"] for file in files)


def results(runs, before, budget):
    """Return the numbers of all that is measured."""
    rows = {
        title: {
            "compared_with": reference,
            "steps": steps_of(changed, before, budget),
            **{judge: reached(runs, title, judge) for judge in (*PROBES, TUNED)},
        }
        for title, (reference, _, changed) in VARIANTS.items()
    }
    settings = {
        "recipe": RECIPES["pretraining"],
        "budget": budget,
        "pflop": budget * before.pflop,
        "batch_size": BATCH,
        "seeds": SEEDS,
        "labels": SHARE,
        "changed": {title: changed for title, (_, _, changed) in VARIANTS.items()},
    }
    return {"variants": rows, "settings": settings}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=0.25, help="share of the headline's compute of pre-training")
    parser.add_argument("--parts", default="probes,finetune", help="some of %(default)s")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "ablations", help="where everything is kept")
    parser.add_argument("--record", action="store_true", help="only write the results of what is measured")
    given = parser.parse_args()
    runs, before = given.runs.resolve() / f"{given.budget:g}", Packaged(HEADLINE)
    if not given.record:
        tokens = runs / "tokenizer"
        train([(tokens, ["-m", "beit", "tokenizer", "cluster", RECIPES["tokenizer"], f"--data.path={TRAIN}"])])
        kinds = [(title, seed) for seed in SEEDS for title in VARIANTS]
        train((pretraining_of(runs, *kind), pretraining(*kind, tokens, before, given.budget)) for kind in kinds)
        measure(runs, given.parts.split(","), given.budget)
    write_result(RESULT, results(runs, before, given.budget), "torch", "numpy", "Pillow")


if __name__ == "__main__":
    sys.exit(main())
