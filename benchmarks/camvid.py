"""Pre-training against training from scratch with equal total compute, on streets: a very small BEiT on CamVid.

    python benchmarks/camvid.py [--runs FOLDER]

Pre-trains without labels on the 367 training pictures of ../shared/data/camvid, 20 times each, and 8,000 of CIFAR-10,
by tokens of a k-means tokenizer; then trains two segmentation models that differ in where they start and in their
steps: the one from random weights has as many more as the pre-training and its tokenizer cost (two hours of one core
in all; stopped, it continues). The 101 validation pictures are measured once, after each training; what the trainings
hold out is of the training pictures. Writes results/camvid.json and camvid.png.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
import yaml
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from about import write_result
from beit import BeitConfig, BeitForSemanticSegmentation, Predictor
from beit.image import IGNORED
from beit.image.palette import coloured, overlaid, palette
from cifar10 import TRAIN
from headline_trainings import Pretraining
from peers import ROOT
from trainings import train

STREETS = ROOT.parent / "shared" / "data" / "camvid"
RESULTS = Path(__file__).parent / "results"
RECIPES = {
    "tokenizer": "recipes/kmeans_cifar10.yaml",
    "pretraining": "recipes/pretrain_cifar10_nano.yaml",
    "training": "recipes/segment_camvid_nano.yaml",
}
OTHERS, TIMES = 8000, 20  # pictures of CIFAR-10, and how often each of CamVid is among them
SIDE = 64  # of the pictures of the pre-training
# Where the pre-training differs from its recipe.
PRETRAINING = {
    "model.image_size": SIDE,
    "model.hidden_size": 128,
    "model.num_attention_heads": 4,
    "model.intermediate_size": 256,
    "augment.crop_scale": "[0.1,1.0]",
    "mask.count": 160,
    "train.max_steps": 2000,
}
HELD_OUT = 0.04  # of the training pictures, with which the trainings show how they get on
LEAST, SHOWN = 0.55, 8


def pictures(folder):
    """Return the folder of the pictures of both, after making it; those of CamVid are links."""
    if not folder.exists():
        unfinished = folder.with_suffix(".unfinished")
        (unfinished / "cifar10").mkdir(parents=True, exist_ok=True)
        table = pq.read_table(TRAIN, columns=["image"]).slice(0, OTHERS)
        for number, picture in enumerate(table.column("image").to_pylist()):
            (unfinished / "cifar10" / f"{number:05d}.png").write_bytes(picture["bytes"])
        for time in range(TIMES):
            place = unfinished / f"camvid_{time:02d}"
            place.mkdir(exist_ok=True)
            for path in (STREETS / "train" / "images").iterdir():
                (place / path.name).unlink(missing_ok=True)
                (place / path.name).symlink_to(path)
        unfinished.rename(folder)
    return folder


def pretraining(runs):
    """Return the pre-training, after running it and its tokenizer if need be."""
    both = f"--data.path={pictures(runs / 'pictures')}"
    tokens, folder = runs / "tokenizer", runs / "pretrain"
    train([(tokens, ["-m", "beit", "tokenizer", "cluster", RECIPES["tokenizer"], both, f"--image_size={SIDE}"])])
    options = [f"--{name}={value}" for name, value in PRETRAINING.items()]
    train([(folder, ["-m", "beit", "pretrain", RECIPES["pretraining"], both, f"--tokenizer.path={tokens / 'model'}",
                     *options])])  # fmt: skip
    return Pretraining(folder)


def crop_pflop(config, side):
    """Return the compute of one crop in a training step of the segmentation model, counted without computing."""
    size = {"image_size": side, "out_features": None, "out_indices": [2, 3, 4, 6], "num_labels": 11}
    with torch.device("meta"):
        model = BeitForSemanticSegmentation(BeitConfig.from_dict(config.to_dict() | size)).train()
        pixels = torch.empty(2, 3, side, side)
        labels = torch.zeros(2, side, side, dtype=torch.long)
    with FlopCounterMode(display=False) as counted:
        model(pixels, labels=labels).loss.backward()
    return counted.get_total_flops() / 2e15


def starts(before):
    """Return for each model the arguments that say where it starts and its steps, and all its compute in PFLOP."""
    recipe = yaml.safe_load((ROOT / RECIPES["training"]).read_text())
    steps = recipe["train"]["max_steps"]
    step = recipe["train"]["batch_size"] * crop_pflop(before.config, recipe["model"]["image_size"])
    more = round(before.pflop / step)
    names = ("size", "patch_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
             "layer_scale_init_value", "positions")  # fmt: skip
    new = [f"--model.{name}={before.recipe['model'][name]}" for name in names]
    return {
        "pretrained": ([f"--checkpoint={before.model}"], before.pflop + steps * step),
        "scratch": (["--checkpoint=null", *new, f"--train.max_steps={steps + more}"], (steps + more) * step),
    }


def segmentation(start):
    """Return the arguments of a training of a segmentation model; `start` are those that say where it starts."""
    places = {"data.path": "train/images", "label_maps.path": "train/masks", "label_maps.classes": "classes.txt"}
    return [
        "-m", "beit", "segment", RECIPES["training"], *start, "--data.val_path=null", "--label_maps.val_path=null",
        f"--data.val_share={HELD_OUT}",
        *(f"--{name}={STREETS / place}" for name, place in places.items()),
    ]  # fmt: skip


def measured(run):
    """Return the numbers that `beit evaluate` gives for a finished training on the validation pictures."""
    found = run / "validation.json"
    if not found.exists():
        command = ["-m", "beit", "evaluate", f"--model={run / 'model'}", f"--data.path={STREETS / 'val' / 'images'}",
                   f"--label_maps.path={STREETS / 'val' / 'masks'}", "--label_maps.ignored=[11]",
                   f"--output={found}"]  # fmt: skip
        subprocess.run([sys.executable, *command], check=True, cwd=ROOT)
    result = json.loads(found.read_text())
    return result["numbers"] | {f"iou_{one['name']}": one["iou"] for one in result["per_class"]}


def chart(results, runs):
    """Return a figure: some validation pictures, the classes that both models predict, the masks, every class's IoU."""
    models = [Predictor.from_pretrained(runs / name / "model") for name in results]
    classes = models[0].classes
    every = sorted((STREETS / "val" / "images").iterdir())
    chosen = [every[round(place)] for place in np.linspace(0, len(every) - 1, SHOWN)]
    figure = Figure(figsize=(2.2 * SHOWN, 11), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(3, 1.3))
    axes = upper.subplots(4, SHOWN)
    for column, path in enumerate(chosen):
        picture = Image.open(path).convert("RGB")
        mask = np.asarray(Image.open(STREETS / "val" / "masks" / f"{path.stem}.png")).astype(np.int64)
        mask[mask >= len(classes)] = IGNORED
        seen = [overlaid(picture, model.segment(picture)[0].labels, len(classes), 0.6) for model in models]
        for row, image in enumerate((picture, *seen, coloured(mask, len(classes)))):
            axes[row, column].imshow(image.resize((240, 180)))
            axes[row, column].set(xticks=[], yticks=[])
    for row, name in enumerate(("picture", "pre-trained", "from scratch", "mask")):
        axes[row, 0].set_ylabel(name)
    colours = [Patch(color=tuple(colour / 255)) for colour in palette(len(classes))]
    upper.legend(colours, classes, loc="outside lower center", ncols=len(classes))
    bars = lower.subplots()
    for shift, (name, result) in zip((-0.2, 0.2), results.items(), strict=True):
        values = [100 * result[f"iou_{label}"] for label in classes]
        bars.bar(np.arange(len(classes)) + shift, values, 0.4, label=f"{name}, mean {result['mean_iou']:.1%}")
    bars.set(title="IoU of the validation pictures, %", xticks=range(len(classes)), xticklabels=classes)
    bars.legend()
    bars.grid(axis="y", alpha=0.3)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "camvid", help="where everything is kept")
    runs = parser.parse_args().runs.resolve()
    before = pretraining(runs)
    arms = starts(before)
    train([(runs / name, segmentation(start)) for name, (start, _) in arms.items()])
    results = {name: measured(runs / name) for name in arms}
    record = {
        "validation": results,
        "pflop": {name: round(pflop, 3) for name, (_, pflop) in arms.items()},
        "pretraining": {"pflop": round(before.pflop, 3), "pictures_seen": before.pictures_seen},
        "settings": {
            "recipes": list(RECIPES.values()),
            "pretraining": {"pictures_of_cifar10": OTHERS, "times_camvid": TIMES, **PRETRAINING},
            "scratch": arms["scratch"][0],
        },
    }
    write_result(RESULTS / "camvid.json", record, "torch", "numpy", "Pillow")
    chart(results, runs).savefig(RESULTS / "camvid.png", dpi=70)
    ours, scratch = results.values()
    print(f"{'IoU':<14}{'pre-trained':>14}{'from scratch':>14}")
    for name in (name for name in ours if name.startswith("iou_")):
        print(f"{name.removeprefix('iou_'):<14}{ours[name]:>14.1%}{scratch[name]:>14.1%}")
    print(f"{'mean':<14}{ours['mean_iou']:>14.1%}{scratch['mean_iou']:>14.1%}   (wanted {LEAST:.0%} and to be ahead)")
    met = ours["mean_iou"] >= LEAST and ours["mean_iou"] > scratch["mean_iou"]
    return 0 if met else "the pre-trained model is not as good as wanted"


if __name__ == "__main__":
    sys.exit(main())
